// The page: sends prompts, and keeps the table as the server's events say.
// The server draws every row; this script only swaps in what has changed.

import { Recording, explain, obstacle } from "./recorder.js";

const $ = (id) => document.getElementById(id);
const table = $("jobs");
const rows = table.tBodies[0];
const IDLE_HINT = $("hint").textContent;

// --- Messages -------------------------------------------------------------

function announce(text) {
  $("status").textContent = text;
}

function showProblem(text) {
  $("problem").textContent = text ?? "";
  $("problem").hidden = !text;
}

/** Asks the server; gives the response, or throws an Error with a sentence. */
async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { Accept: "application/json" } });
  } catch {
    throw new Error("The server cannot be reached. Is it still running?");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new Error(body?.error?.message ?? `The server answered ${response.status}.`);
}

// --- Rows -----------------------------------------------------------------

function parse(html) {
  // A template keeps table rows that stand alone, and runs nothing.
  const template = document.createElement("template");
  template.innerHTML = html;
  localise(template.content);
  return template.content;
}

function localise(root) {
  for (const time of root.querySelectorAll("time")) {
    const moment = new Date(time.dateTime);
    time.textContent = moment.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  }
}

function showEmptiness() {
  table.hidden = rows.rows.length === 0;
  $("empty").hidden = !table.hidden;
}

/** Puts a freshly drawn row in place, and leaves alone what has not changed: players go on playing. */
function place(fresh) {
  const old = $(fresh.id);
  if (!old) {
    // Older parts of the table do not get new rows. Ids sort by time.
    if (!("newest" in table.dataset)) return;
    const next = [...rows.rows].find((row) => row.dataset.job < fresh.dataset.job);
    rows.insertBefore(fresh, next ?? null);
    showEmptiness();
    return;
  }
  old.dataset.state = fresh.dataset.state;
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const { part: name, key } = part.dataset;
    const current = old.querySelector(`[data-part="${name}"]`);
    if (current.dataset.key !== key || written(current) < written(part)) {
      const hadFocus = current.contains(document.activeElement);
      current.replaceWith(part);
      if (hadFocus) part.querySelector("button, a, audio, [tabindex]")?.focus();
    }
  }
}

/** Characters of a text in the making; NaN, which is below nothing, where there is none. */
function written(part) {
  return Number(part.querySelector("[data-characters]")?.dataset.characters);
}

function removeRow(id) {
  $(`job-${id}`)?.remove();
  showEmptiness();
}

const refreshing = new Map();

/** Draws a row anew. Requests that come while one is under way become one more. */
async function refreshRow(id) {
  if (refreshing.has(id)) {
    refreshing.set(id, true);
    return;
  }
  refreshing.set(id, false);
  try {
    const response = await fetch(`/jobs/${id}/row`);
    if (response.ok) place(parse(await response.text()).querySelector("tr"));
    if (response.status === 404) removeRow(id);
  } catch {
    // The stream of events will notice that the server is gone, and refresh when it is back.
  }
  const again = refreshing.get(id);
  refreshing.delete(id);
  if (again) await refreshRow(id);
}

/** Draws everything anew, after events were missed. */
async function refreshAll() {
  let page;
  try {
    const response = await fetch(location.href);
    if (!response.ok) return;
    page = new DOMParser().parseFromString(await response.text(), "text/html");
  } catch {
    return;
  }
  localise(page);
  $("readiness").replaceWith(page.getElementById("readiness"));
  const fresh = [...page.querySelectorAll("tr[data-job]")];
  const known = new Set(fresh.map((row) => row.id));
  for (const row of [...rows.rows]) if (!known.has(row.id)) row.remove();
  fresh.forEach(place);
  showEmptiness();
}

// --- Events ---------------------------------------------------------------

const OUTCOMES = {
  succeeded: "A prompt is done.",
  failed: "A prompt failed.",
  canceled: "A prompt was canceled.",
};

function onProgress({ job, stage, progress, offset }) {
  const cell = $(`job-${job}`)?.querySelector(`[data-part="${stage}"]`);
  const bar = cell?.querySelector("progress");
  // No bar: the row is being drawn, and will hold what this event tells.
  if (!bar) return;
  if (progress.type === "fraction") {
    bar.max = progress.total;
    bar.value = progress.done;
    return;
  }
  const text = cell.querySelector("[data-characters]");
  const have = Number(text.dataset.characters);
  if (offset > have) {
    refreshRow(job);
    return;
  }
  const delta = [...progress.delta].slice(have - offset);
  // Whoever has scrolled up to read is left there.
  const follows = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
  text.append(delta.join(""));
  if (follows) text.scrollTop = text.scrollHeight;
  text.dataset.characters = have + delta.length;
}

function listen() {
  const events = new EventSource("/api/v1/events");
  const on = (name, handle) =>
    events.addEventListener(name, ({ data }) => handle(JSON.parse(data)));
  on("job", ({ job, state }) => {
    refreshRow(job);
    if (OUTCOMES[state]) announce(OUTCOMES[state]);
  });
  on("stage", ({ job }) => refreshRow(job));
  on("progress", onProgress);
  on("deleted", ({ job }) => removeRow(job));
  on("resync", refreshAll);
  // Also at the first connection: something may have happened since the page was drawn.
  events.addEventListener("open", refreshAll);
  events.addEventListener("error", () => {
    // The browser gives up after some errors and would never come back by itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 3000);
  });
}

// While models load there are no events; ask until they have.
setInterval(() => {
  if (document.querySelector("[data-loading]") && !document.hidden) refreshAll();
}, 2000);

// --- Buttons in rows ------------------------------------------------------

table.addEventListener("submit", async (event) => {
  const { action } = event.target.dataset;
  if (!action) return;
  event.preventDefault();
  const id = event.target.closest("tr").dataset.job;
  if (action === "delete" && !confirm("Delete this prompt and everything made of it?")) return;
  event.submitter.disabled = true;
  try {
    if (action === "delete") {
      await ask(`/api/v1/jobs/${id}`, { method: "DELETE" });
      removeRow(id);
      announce("The prompt was deleted.");
    } else {
      await ask(`/api/v1/jobs/${id}/cancel`, { method: "POST" });
    }
  } catch (error) {
    showProblem(error.message);
    event.submitter.disabled = false;
    refreshRow(id);
  }
});

// --- Sending --------------------------------------------------------------

const form = $("upload");

/** Sends a form; true when the server has taken it. */
async function send(body) {
  showProblem(null);
  $("hint").textContent = "Sending…";
  try {
    const response = await ask(form.action, { method: "POST", body });
    const { id } = await response.json();
    announce("The prompt was sent.");
    if (!("newest" in table.dataset)) location.assign("/");
    await refreshRow(id);
    return true;
  } catch (error) {
    showProblem(error.message);
    return false;
  } finally {
    $("hint").textContent = IDLE_HINT;
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  event.submitter.disabled = true;
  if (await send(new FormData(form))) $("file").value = "";
  event.submitter.disabled = false;
});

let unsent = null;

async function sendRecording(blob) {
  const body = new FormData(form);
  const extension = /^audio\/(\w+)/.exec(blob.type)?.[1] ?? "webm";
  body.set("file", blob, `recording.${extension}`);
  // A recording cannot be made twice: it is kept until the server has it.
  unsent = (await send(body)) ? null : blob;
  $("again").hidden = !unsent;
}

$("retry").addEventListener("click", () => unsent && sendRecording(unsent));

// --- The microphone -------------------------------------------------------

const mic = $("mic");
let recording = null;

function showRecording(on) {
  $("recorder").classList.toggle("on", on);
  $("take").hidden = !on;
  mic.setAttribute("aria-label", on ? "Stop and send" : "Record a prompt");
  $("hint").textContent = on ? "Recording: click to stop and send, Esc to cancel" : IDLE_HINT;
}

function watch() {
  if (!recording) return;
  const seconds = Math.floor((performance.now() - recording.startedAt) / 1000);
  $("timer").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  const level = recording.level();
  $("level").value = level;
  mic.style.setProperty("--level", level.toFixed(3));
  requestAnimationFrame(watch);
}

async function start() {
  showProblem(null);
  mic.disabled = true;
  $("hint").textContent = "Waiting for the microphone…";
  try {
    recording = await Recording.start();
    showRecording(true);
    announce("Recording.");
    watch();
  } catch (error) {
    showRecording(false);
    showProblem(explain(error));
  }
  mic.disabled = false;
  mic.focus();
}

async function stop() {
  const finished = recording;
  recording = null;
  showRecording(false);
  await sendRecording(await finished.stop());
}

function discard() {
  recording.discard();
  recording = null;
  showRecording(false);
  announce("The recording was canceled.");
  mic.focus();
}

mic.addEventListener("click", () => (recording ? stop() : start()));
$("discard").addEventListener("click", discard);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && recording) discard();
});

const reason = obstacle();
$("recorder").hidden = Boolean(reason);
$("no-mic").hidden = !reason;
$("no-mic").textContent = reason ?? "";
if (reason) $("hint").hidden = true;
localise(document);
listen();
