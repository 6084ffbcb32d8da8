// What the tests in the browser share: a server of their own, and a Chromium whose microphone
// plays a file.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";

import { chromium } from "playwright-core";

/** A WAV file of a tone, 16 kHz mono. */
export function tone(seconds) {
  const samples = Int16Array.from({ length: 16000 * seconds }, (_, n) => 8000 * Math.sin(n / 6));
  const header = Buffer.alloc(44);
  header.write("RIFF", 0);
  header.writeUInt32LE(36 + samples.byteLength, 4);
  header.write("WAVEfmt ", 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(1, 20);
  header.writeUInt16LE(1, 22);
  header.writeUInt32LE(16000, 24);
  header.writeUInt32LE(32000, 28);
  header.writeUInt16LE(2, 32);
  header.writeUInt16LE(16, 34);
  header.write("data", 36);
  header.writeUInt32LE(samples.byteLength, 40);
  return Buffer.concat([header, Buffer.from(samples.buffer)]);
}

export async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

/** A server with its data in `folder`, once it is ready. */
export async function serve(folder, port, options, host = "127.0.0.1") {
  assert.ok(process.env.BINARY_UNDER_TEST, "BINARY_UNDER_TEST names the binary to test");
  const env = { ...process.env, MEGA_LISTEN: `${host}:${port}`, MEGA_DATA_DIR: `${folder}/data` };
  const child = spawn(process.env.BINARY_UNDER_TEST, ["serve", ...options], { env, stdio: ["ignore", "inherit", "inherit"] });
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => null);
    if (answer?.ok) return child;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export async function stop(child) {
  child.kill("SIGTERM");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

/** A Chromium whose microphone plays the WAV file `sound`. */
export function launch(sound) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--autoplay-policy=no-user-gesture-required",
      "--use-fake-device-for-media-stream",
      "--use-fake-ui-for-media-stream",
      `--use-file-for-fake-audio-capture=${sound}`,
    ],
  });
}
