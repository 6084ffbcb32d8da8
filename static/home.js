// The page with the recorder and the table: sends prompts, and keeps the table as the server's
// events say.

import {
  $,
  announce,
  ask,
  handleForms,
  listen,
  prepare,
  showProblem,
  showProgress,
  swapParts,
  words,
} from "./common.js";
import { Recording, explain, obstacle } from "./recorder.js";

const table = $("jobs");
const rows = table.tBodies[0];
const IDLE_HINT = $("hint").textContent;

// --- Rows -----------------------------------------------------------------

function parse(html) {
  // A template keeps table rows that stand alone, and runs nothing.
  const template = document.createElement("template");
  template.innerHTML = html;
  prepare(template.content);
  return template.content;
}

function showEmptiness() {
  table.hidden = rows.rows.length === 0;
  $("empty").hidden = !table.hidden;
}

/** Puts a freshly drawn row in place. */
function place(fresh) {
  const old = $(fresh.id);
  if (old) {
    old.dataset.state = fresh.dataset.state;
    swapParts(old, fresh);
    return;
  }
  // Older parts of the table do not get new rows. Ids sort by time.
  if (!("newest" in table.dataset)) return;
  const next = [...rows.rows].find((row) => row.dataset.job < fresh.dataset.job);
  rows.insertBefore(fresh, next ?? null);
  showEmptiness();
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
  prepare(page);
  $("readiness").replaceWith(page.getElementById("readiness"));
  const fresh = [...page.querySelectorAll("tr[data-job]")];
  const known = new Set(fresh.map((row) => row.id));
  for (const row of [...rows.rows]) if (!known.has(row.id)) row.remove();
  fresh.forEach(place);
  showEmptiness();
}

// --- Events ---------------------------------------------------------------

listen("/api/v1/events", {
  job({ job, state }) {
    refreshRow(job);
    // Those of the states that are worth a word.
    if (words[state]) announce(words[state]);
  },
  stage: ({ job }) => refreshRow(job),
  progress(event) {
    const row = $(`job-${event.job}`);
    if (row && !showProgress(row, event)) refreshRow(event.job);
  },
  deleted: ({ job }) => removeRow(job),
  resync: refreshAll,
  open: refreshAll,
});

// While models load there are no events; ask until they have.
setInterval(() => {
  if (document.querySelector("[data-loading]") && !document.hidden) refreshAll();
}, 2000);

handleForms((action, form) => {
  const id = form.closest("tr").dataset.job;
  if (action === "delete") removeRow(id);
  else refreshRow(id);
});

// --- Sending --------------------------------------------------------------

const form = $("upload");

/** Sends a form; true when the server has taken it. */
async function send(body) {
  showProblem(null);
  $("hint").textContent = words.sending;
  try {
    const response = await ask(form.action, { method: "POST", body });
    const { id } = await response.json();
    announce(words.sent);
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

// --- Dropping a file ------------------------------------------------------

const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", async (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  document.body.classList.remove("dropping");
  const files = event.dataTransfer.files;
  if (files.length !== 1) {
    showProblem(words.oneFile);
    return;
  }
  const body = new FormData(form);
  body.set("file", files[0], files[0].name);
  await send(body);
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
  mic.setAttribute("aria-label", on ? words.stop : words.record);
  $("hint").textContent = on ? words.recording : IDLE_HINT;
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
  $("hint").textContent = words.waitMic;
  try {
    recording = await Recording.start();
    showRecording(true);
    announce(words.recordingNow);
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
  announce(words.discarded);
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
prepare(document);
