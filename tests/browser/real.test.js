// One prompt from a real browser's microphone through real models, the smallest there are.
//
// Runs against the binary named by BINARY_UNDER_TEST, on the weights that script/test has pulled.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { freePort, launch, serve, stop } from "./harness.js";

const PROMPT = fileURLToPath(new URL("../../samples/prompt.flac", import.meta.url));
const SMALL = ["model.speech-to-text=whisper-tiny", "model.text-generation=smollm2-135m-instruct"];
const MINUTE = 60_000;

let folder, server, browser, address;

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "mega-browser-"));
  const sound = path.join(folder, "prompt.wav");
  execFileSync("ffmpeg", ["-nostdin", "-loglevel", "error", "-i", PROMPT, sound]);
  const port = await freePort();
  address = `http://127.0.0.1:${port}`;
  server = await serve(folder, port, SMALL.flatMap((setting) => ["--set", setting]));
  browser = await launch(sound);
});

after(async () => {
  await browser?.close();
  if (server) await stop(server);
  if (folder) await rm(folder, { recursive: true });
});

async function record(page, seconds) {
  await page.getByText("Options").click();
  await page.getByLabel("Translate to").selectOption({ label: "Portuguese" });
  await page.getByRole("button", { name: "Record a prompt" }).click();
  await page.waitForFunction((time) => document.getElementById("timer").textContent === time, `0:0${seconds}`);
  await page.getByRole("button", { name: "Stop and send" }).click();
}

test("what is said is transcribed, continued, translated and spoken, across a reload", async () => {
  const page = await browser.newPage();
  page.setDefaultTimeout(2 * MINUTE);
  await page.goto(address);
  await record(page, 8);
  await page.locator("[data-part=transcribe_audio] .text").waitFor();
  // In the middle: whoever comes now sees what there is, and the rest as it comes.
  await page.reload();
  assert.match(await page.locator("[data-part=transcribe_audio] .text").innerText(), /software|server|program/i);
  await page.locator("tbody tr[data-state=succeeded]").waitFor();
  for (const stage of ["generate_text", "translate_text"]) {
    assert.ok((await page.locator(`[data-part=${stage}] .text`).innerText()).length > 20, stage);
  }
  for (const index of [0, 1, 2]) {
    const at = await page.locator("audio").nth(index).evaluate(async (audio) => {
      await audio.play();
      while (audio.currentTime < 0.2) await new Promise((resolve) => audio.addEventListener("timeupdate", resolve, { once: true }));
      audio.pause();
      return audio.currentTime;
    });
    assert.ok(at >= 0.2);
  }
  await page.close();
});

test("a job is canceled while it runs, and tried again", async () => {
  const page = await browser.newPage();
  page.setDefaultTimeout(2 * MINUTE);
  await page.goto(address);
  await record(page, 5);
  const row = page.locator("tbody tr").first();
  await page.locator("tbody tr:first-child[data-state=running]").waitFor();
  await row.getByRole("button", { name: "Cancel" }).click();
  await page.locator("tbody tr:first-child[data-state=canceled]").waitFor();
  // The worker may need a moment to notice; until then the server says so.
  for (;;) {
    await row.getByRole("button", { name: "Try again" }).click();
    const began = page.locator("tbody tr:first-child:not([data-state=canceled])").waitFor().then(() => true);
    const refused = page.getByText("still being stopped").waitFor().then(() => false);
    if (await Promise.race([began, refused])) break;
  }
  await page.locator("tbody tr:first-child[data-state=succeeded]").waitFor();
  await page.close();
});
