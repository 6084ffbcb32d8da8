// Records a prompt in a real browser and watches the page fill.
//
// Runs against the binary named by BINARY_UNDER_TEST, with stub stages: what is tested is the
// page. Screenshots of every look land in screenshots/.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import axe from "axe-core";

import { freePort, launch, serve, stop, tone } from "./harness.js";

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

before(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "mega-browser-"));
  await mkdir(SCREENSHOTS, { recursive: true });
  await writeFile(path.join(folder, "prompt.wav"), tone(5));
  const port = await freePort();
  // On every interface, so that the page can also be opened from where recording is not allowed.
  server = await serve(folder, port, ["--stub", "--insecure-no-auth"], "0.0.0.0");
  address = `http://127.0.0.1:${port}`;
  browser = await launch(path.join(folder, "prompt.wav"));
});

after(async () => {
  await browser?.close();
  if (server) await stop(server);
  if (folder) await rm(folder, { recursive: true });
});

/** A fresh page that fails the test on any error in its console and any request to another host. */
async function open(options = {}, from = address, path = "/") {
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
  await page.goto(from + path);
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
  await page.getByRole("button", { name: "Try the bundled sample" }).waitFor();
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
  assert.equal(await page.locator(".needs-script:visible").count(), 0, "what needs a script is shown");
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

test("without an encoder of its own the browser sends the samples", async () => {
  const { page, row, close } = await open();
  await page.addInitScript(() => delete window.MediaRecorder);
  await page.reload();
  const before = await row.count();
  await page.getByRole("button", { name: "Record a prompt" }).click();
  await page.waitForFunction(() => document.getElementById("timer").textContent === "0:01");
  await page.getByRole("button", { name: "Stop and send" }).click();
  await page.waitForFunction((n) => document.querySelectorAll("tbody tr").length === n, before + 1);
  await finished(page);
  assert.equal(await row.first().locator(".name").innerText(), "recording.wav");
  const seconds = await row.first().locator("audio").first().evaluate(async (audio) => {
    audio.preload = "metadata";
    audio.load();
    await new Promise((resolve) => audio.addEventListener("loadedmetadata", resolve, { once: true }));
    return audio.duration;
  });
  assert.ok(seconds > 0.9 && seconds < 4, `${seconds} s`);
  await close();
});

test("the options have room for own words", async () => {
  const { page, row, close } = await open();
  const before = await row.count();
  await page.getByText("Options").click();
  await page.getByLabel("In your own words").fill("Answer as a pirate would.");
  await page.screenshot({ path: path.join(SCREENSHOTS, "options.png") });
  await page.getByLabel("Or choose an audio file").setInputFiles(path.join(folder, "prompt.wav"));
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.waitForFunction((n) => document.querySelectorAll("tbody tr").length === n, before + 1);
  await finished(page);
  await row.first().locator("a time").click();
  assert.equal(await page.getByLabel("In your own words").inputValue(), "Answer as a pirate would.");
  await close();
});

test("a file can be dropped anywhere", async () => {
  const { page, row, close } = await open();
  const before = await row.count();
  const bytes = [...tone(1)];
  await page.evaluate((all) => {
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(all)], "dropped.wav", { type: "audio/wav" }));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true, cancelable: true }));
  }, bytes);
  await page.waitForFunction((n) => document.querySelectorAll("tbody tr").length === n, before + 1);
  assert.equal(await row.first().locator(".name").innerText(), "dropped.wav");
  await close();
});

/** The page of the newest prompt, which is done. */
async function openNewest(options = {}) {
  const opened = await open(options);
  await finished(opened.page);
  await opened.row.first().locator("a time").click();
  await opened.page.locator("article#job").waitFor();
  return opened;
}

test("a job runs again from its page in another language, and the old version stays", async () => {
  const { page, close } = await openNewest();
  assert.equal(await page.locator("audio").count(), 3);
  await page.getByRole("combobox", { name: "Translate to" }).selectOption({ label: "Portuguese" });
  await page.getByRole("button", { name: "Run again" }).click();
  await page.locator("[data-part=translate_text] .text", { hasText: "[pt]" }).waitFor();
  await page.locator(".versions li").nth(1).waitFor();
  await page.getByRole("link", { name: "Version 1" }).click();
  await page.locator("[data-part=translate_text] .text", { hasText: "[fr]" }).waitFor();
  page.on("dialog", (dialog) => dialog.accept());
  await page.getByRole("link", { name: "Version 2" }).click();
  await page.getByRole("button", { name: "Delete this version" }).click();
  await page.waitForFunction(() => !document.querySelector(".versions"));
  await close();
});

test("a time in the transcript moves the player there", async () => {
  const { page, close } = await openNewest();
  await page.getByText("With times").click();
  await page.locator(".segments a").first().click();
  await page.waitForFunction(() => document.getElementById("prompt").currentTime > 0);
  await close();
});

test("everything of a job is saved in one file", async () => {
  const { page, row, close } = await open();
  const download = page.waitForEvent("download");
  await row.first().getByRole("link", { name: "Save all" }).click();
  assert.match((await download).suggestedFilename(), /^mega-pipeline-.*\.zip$/);
  await close();
});

test("a text is copied", async () => {
  const { page, row, close } = await open({ permissions: ["clipboard-read", "clipboard-write"] });
  await row.first().locator("[data-part=generate_text]").getByRole("button", { name: "Copy" }).click();
  await page.waitForFunction(() => document.getElementById("announcement").textContent === "Copied.");
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /go on\.$/);
  await close();
});

test("a search shows what it finds", async () => {
  const { page, row, close } = await open();
  await page.getByRole("searchbox").fill("dropped");
  await page.getByRole("button", { name: "Search" }).click();
  await page.waitForURL(/q=dropped/);
  assert.equal(await row.count(), 1);
  await close();
});

test("who asks for French reads French", async () => {
  const { page, close } = await open({ locale: "fr-FR" });
  await page.getByText("Cliquez sur le micro pour enregistrer un message").waitFor();
  await page.getByRole("button", { name: "Enregistrer un message" }).click();
  await page.getByText("Enregistrement : cliquez pour arrêter").waitFor();
  await page.keyboard.press("Escape");
  await close();
});

const PAGES = { home: "/", job: null, models: "/models", status: "/status" };

/** Opens a page by its name in PAGES. */
function openByName(name, options) {
  return name === "job" ? openNewest(options) : open(options, address, PAGES[name]);
}

for (const name of Object.keys(PAGES)) {
  test(`nothing on the page ${name} moves once it is drawn`, async () => {
    const { page, close } = await openByName(name);
    const moved = await page.evaluate(
      () =>
        new Promise((resolve) => {
          let moved = 0;
          const count = (entries) => {
            for (const { value, sources } of entries) {
              // What stands inside the browser's own player has no node here.
              if (sources.some(({ node }) => node)) moved += value;
            }
          };
          const observer = new PerformanceObserver((list) => count(list.getEntries()));
          observer.observe({ type: "layout-shift", buffered: true });
          // Two frames: what the scripts have changed is drawn, and measured.
          requestAnimationFrame(() =>
            requestAnimationFrame(() => {
              count(observer.takeRecords());
              resolve(moved);
            }),
          );
        }),
    );
    assert.equal(moved, 0);
    await close();
  });
  for (const colorScheme of ["light", "dark"]) {
    test(`the page ${name} in ${colorScheme} has no barrier that axe finds`, async () => {
      const { page, close } = await openByName(name, { colorScheme });
      await page.evaluate(axe.source);
      const { violations } = await page.evaluate(() => window.axe.run());
      const told = violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.map((it) => it.html).join(" | ")}`);
      assert.deepEqual(told, []);
      await close();
    });
    for (const [look, width, height] of [["phone", 390, 844], ["tablet", 820, 1180], ["desktop", 1440, 900]]) {
      test(`the page ${name} on a ${look} in ${colorScheme} is not too wide`, async () => {
        const { page, close } = await openByName(name, { viewport: { width, height }, colorScheme });
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        const file = `${name}-${look}-${colorScheme}.png`;
        await page.screenshot({ path: path.join(SCREENSHOTS, file), fullPage: true });
        assert.ok(overflow <= 0, `${overflow} pixels too wide`);
        await close();
      });
    }
  }
}
