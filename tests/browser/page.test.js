// Records a prompt in a real browser and watches the page fill.
//
// Runs against the binary named by BINARY_UNDER_TEST, with stub stages: what is tested is the
// page. Screenshots of every look land in screenshots/.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

// Debian 12 has Node.js 18, which has no `import.meta.dirname`.
const SCREENSHOTS = fileURLToPath(new URL("screenshots", import.meta.url));
const HEADINGS = [
  "Audio Prompt",
  "Transcribed Audio",
  "Generated Text",
  "Synthesised Audio",
  "Translated Text",
  "Synthesised Audio",
];

let folder, server, browser, address;

/** A WAV file of a tone, 16 kHz mono. */
function tone(seconds) {
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

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

async function serve(port, host = "127.0.0.1") {
  const env = { ...process.env, MEGA_LISTEN: `${host}:${port}`, MEGA_DATA_DIR: path.join(folder, "data") };
  const child = spawn(process.env.BINARY_UNDER_TEST, ["serve", "--stub"], { env, stdio: ["ignore", "inherit", "inherit"] });
  for (;;) {
    if (child.exitCode !== null) throw new Error(`the server ended with ${child.exitCode}`);
    const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => null);
    if (answer?.ok) return child;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function stop(child) {
  child.kill("SIGTERM");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

before(async () => {
  assert.ok(process.env.BINARY_UNDER_TEST, "BINARY_UNDER_TEST names the binary to test");
  folder = await mkdtemp(path.join(tmpdir(), "mega-browser-"));
  await mkdir(SCREENSHOTS, { recursive: true });
  await writeFile(path.join(folder, "prompt.wav"), tone(5));
  const port = await freePort();
  // On every interface, so that the page can also be opened from where recording is not allowed.
  server = await serve(port, "0.0.0.0");
  address = `http://127.0.0.1:${port}`;
  browser = await chromium.launch({
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
      `--use-file-for-fake-audio-capture=${path.join(folder, "prompt.wav")}`,
    ],
  });
});

after(async () => {
  await browser?.close();
  if (server) await stop(server);
  if (folder) await rm(folder, { recursive: true });
});

/** A fresh page that fails the test on any error in its console and any request to another host. */
async function open(options = {}, from = address) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const problems = [];
  page.on("pageerror", (error) => problems.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(message.text());
  });
  context.on("request", (request) => {
    const url = new URL(request.url());
    if (url.protocol.startsWith("http") && url.origin !== from) problems.push(`asked ${url.origin}`);
  });
  await page.goto(from);
  return {
    page,
    row: page.locator("tbody tr"),
    async close() {
      await context.close();
      assert.deepEqual(problems, []);
    },
  };
}

/** Waits until the newest row is done, whatever it takes to get there. */
async function finished(page) {
  await page.locator("tbody tr:first-child[data-state=succeeded]").waitFor();
}

test("a recording from the microphone fills six cells, and they can be played", async () => {
  const { page, row, close } = await open();
  await page.getByText("Nothing here yet").waitFor();
  await page.screenshot({ path: path.join(SCREENSHOTS, "empty.png") });

  await page.getByRole("button", { name: "Record a prompt" }).click();
  await page.getByText("Recording: click to stop and send").waitFor();
  await page.waitForFunction(() => document.getElementById("timer").textContent === "0:01");
  await page.waitForFunction(() => document.getElementById("level").value > 0.1);
  await page.screenshot({ path: path.join(SCREENSHOTS, "recording.png") });
  await page.getByRole("button", { name: "Stop and send" }).click();
  await finished(page);

  assert.equal(await row.count(), 1);
  const cells = await row.locator("td").evaluateAll((all) => all.map((cell) => cell.dataset.heading));
  assert.deepEqual(cells, HEADINGS);
  assert.equal(await row.locator("audio").count(), 3);
  assert.match(await row.locator("[data-part=generate_text] .text").innerText(), /go on\.$/);
  assert.match(await row.locator("[data-part=translate_text] .text").innerText(), /^\[fr\]/);
  for (const index of [0, 1, 2]) {
    const seconds = await row.locator("audio").nth(index).evaluate(async (audio) => {
      await audio.play();
      await new Promise((resolve) => audio.addEventListener("timeupdate", resolve, { once: true }));
      const at = audio.currentTime;
      audio.pause();
      return at;
    });
    assert.ok(seconds >= 0);
  }
  await close();
});

test("Escape throws a recording away", async () => {
  const { page, row, close } = await open();
  const before = await row.count();
  await page.getByRole("button", { name: "Record a prompt" }).click();
  await page.getByText("Recording: click to stop and send").waitFor();
  await page.keyboard.press("Escape");
  await page.getByText("Click the mic to record a prompt").waitFor();
  assert.equal(await row.count(), before);
  assert.equal(await page.evaluate(() => document.activeElement.id), "mic");
  await close();
});

test("a chosen file is sent with its options, and another window sees it come", async () => {
  const other = await open();
  const { page, row, close } = await open();
  const before = await row.count();
  await page.getByText("Options").click();
  await page.getByLabel("Translate to").selectOption({ label: "Portuguese" });
  await page.getByLabel("Or choose an audio file").setInputFiles(path.join(folder, "prompt.wav"));
  await page.getByRole("button", { name: "Send", exact: true }).click();
  for (const window of [page, other.page]) {
    await window.waitForFunction((n) => document.querySelectorAll("tbody tr").length === n, before + 1);
    await finished(window);
    const first = window.locator("tbody tr").first();
    assert.equal(await first.locator(".name").innerText(), "prompt.wav");
    assert.match(await first.locator("[data-part=translate_text] .text").innerText(), /^\[pt\]/);
  }
  await other.close();
  await close();
});

test("a file that is no recording is refused with a sentence", async () => {
  const { page, row } = await open();
  const before = await row.count();
  const web = { name: "prompt.wav", mimeType: "audio/wav", buffer: Buffer.from("<!doctype html><p>Hello") };
  await page.getByLabel("Or choose an audio file").setInputFiles(web);
  await page.getByRole("button", { name: "Send", exact: true }).click();
  const problem = page.getByRole("alert");
  await problem.waitFor();
  assert.match(await problem.innerText(), /not a recording/);
  assert.equal(await row.count(), before);
  await page.screenshot({ path: path.join(SCREENSHOTS, "refused.png") });
  // The browser itself reports the refused request in its console.
  await page.context().close();
});

test("without JavaScript the form still sends", async () => {
  const { page, row, close } = await open({ javaScriptEnabled: false });
  const before = await row.count();
  await page.getByLabel("Or choose an audio file").setInputFiles(path.join(folder, "prompt.wav"));
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.waitForURL(`${address}/`);
  assert.equal(await row.count(), before + 1);
  await close();
});

test("a page from another machine without HTTPS says why the microphone is off", async () => {
  const own = Object.values(networkInterfaces()).flat().find((it) => it.family === "IPv4" && !it.internal);
  assert.ok(own, "this machine has no address but its own loopback");
  const from = `http://${own.address}:${new URL(address).port}`;
  const { page, close } = await open({}, from);
  await page.getByText("The microphone is off").waitFor();
  assert.ok(await page.getByRole("button", { name: "Record a prompt" }).isHidden());
  await close();
});

test("a prompt can be deleted", async () => {
  const { page, row, close } = await open();
  const before = await row.count();
  page.on("dialog", (dialog) => dialog.accept());
  await row.first().getByRole("button", { name: "Delete" }).click();
  await page.waitForFunction((n) => document.querySelectorAll("tbody tr").length === n, before - 1);
  await close();
});

for (const [look, width, height] of [["phone", 390, 844], ["desktop", 1440, 900]]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`on a ${look} in ${colorScheme} nothing is cut off`, async () => {
      const { page, close } = await open({ viewport: { width, height }, colorScheme });
      await finished(page);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(overflow <= 0, `${overflow} pixels too wide`);
      await page.screenshot({ path: path.join(SCREENSHOTS, `${look}-${colorScheme}.png`), fullPage: true });
      await close();
    });
  }
}
