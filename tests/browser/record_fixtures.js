// Makes tests/fixtures/chromium-*: what a real browser's MediaRecorder gives for the sound of
// tests/support/sound.rs. Run by hand when the browser's recorder has changed:
//   node tests/browser/record_fixtures.js

import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";

import { chromium } from "playwright-core";

const TYPES = {
  "chromium-opus.webm": "audio/webm;codecs=opus",
  "chromium-opus.mp4": "audio/mp4;codecs=opus",
};

/** Plays the sound into a recorder; runs in the page. */
async function record(mimeType) {
  if (!MediaRecorder.isTypeSupported(mimeType)) return null;
  const context = new AudioContext({ sampleRate: 48000 });
  const buffer = context.createBuffer(1, 6 * 48000, 48000);
  const samples = buffer.getChannelData(0);
  const TAU = 2 * Math.PI;
  for (let n = 0; n < samples.length; n += 1) {
    const t = n / 48000;
    const turns = 120 * t - (30 / (TAU * 0.5)) * Math.cos(TAU * 0.5 * t);
    let voice = 0;
    for (let k = 1; k <= 20; k += 1) voice += Math.sin(TAU * k * turns) / k;
    let hiss = 0;
    for (let k = 0; k < 40; k += 1) {
      const frequency = 300 + 3000 * ((k * 0.618034) % 1);
      hiss += Math.sin(TAU * (frequency * t + k * 0.754878));
    }
    const syllables = 0.15 + 0.85 * Math.sin(TAU * 2 * t) ** 2;
    const ends = Math.min(Math.max(Math.min(t, 6 - t) / 0.05, 0), 1);
    samples[n] = (0.2 * voice + 0.004 * hiss) * syllables * ends;
  }
  const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(destination);
  const recorder = new MediaRecorder(destination.stream, { mimeType, audioBitsPerSecond: 32000 });
  const pieces = [];
  recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));
  const stopped = new Promise((resolve) => recorder.addEventListener("stop", resolve));
  await new Promise((resolve) => {
    recorder.addEventListener("start", resolve, { once: true });
    recorder.start();
  });
  source.start();
  await new Promise((resolve) => source.addEventListener("ended", resolve));
  // The last of it is still on its way to the recorder.
  await new Promise((resolve) => setTimeout(resolve, 60));
  recorder.stop();
  await stopped;
  return Array.from(new Uint8Array(await new Blob(pieces).arrayBuffer()));
}

// Recording is allowed on a local page only, and about:blank is none.
const server = createServer((_, response) => response.end("<!doctype html>")).listen(0, "127.0.0.1");
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"],
});
const page = await browser.newPage();
await page.goto(`http://127.0.0.1:${server.address().port}/`);
for (const [name, type] of Object.entries(TYPES)) {
  const bytes = await page.evaluate(record, type);
  console.log(name, bytes ? `${bytes.length} bytes` : "cannot be recorded by this browser");
  if (bytes) await writeFile(path.join(import.meta.dirname, "..", "fixtures", name), Buffer.from(bytes));
}
await browser.close();
server.close();
