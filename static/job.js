// The page of one job: keeps it as the server's events say, and seeks the player.

import { $, handleForms, listen, prepare, showProgress, swapParts } from "./common.js";

const job = $("job");
const { job: id } = job.dataset;
let isDrawing = false;
let isDue = false;

/** Draws the page anew. Requests that come while one is under way become one more. */
async function refresh() {
  if (isDrawing) {
    isDue = true;
    return;
  }
  isDrawing = true;
  try {
    const response = await fetch(location.href);
    if (response.status === 404) location.assign("/");
    if (response.ok) {
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      prepare(page);
      swapParts(job, page.getElementById("job"));
    }
  } catch {
    // The stream of events will notice that the server is gone, and refresh when it is back.
  }
  isDrawing = false;
  if (isDue) {
    isDue = false;
    await refresh();
  }
}

handleForms((action) => {
  if (action === "delete") location.assign("/");
  // What runs again is a new version, which has the plain address.
  else if (location.search) location.assign(`/jobs/${id}`);
  else refresh();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("[data-seek]");
  if (!link) return;
  event.preventDefault();
  const player = $("prompt");
  player.currentTime = Number(link.dataset.seek);
  player.play();
});

prepare(document);
if ("live" in job.dataset) {
  listen(`/api/v1/jobs/${id}/events`, {
    job: refresh,
    stage: refresh,
    progress: (event) => showProgress(job, event) || refresh(),
    deleted: () => location.assign("/"),
    resync: refresh,
    open: refresh,
  });
}
