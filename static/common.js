// What all pages share: asking the server, swapping in what it has drawn anew, and the
// buttons of jobs. The server draws everything; the scripts only put it in place.

export const $ = (id) => document.getElementById(id);

/** What the scripts say, in the language of the page. */
export const words = JSON.parse(document.body.dataset.words);

export function announce(text) {
  $("announcement").textContent = text;
}

export function showProblem(text) {
  $("problem").textContent = text ?? "";
  $("problem").hidden = !text;
}

/** Asks the server; gives the response, or throws an Error with a sentence. */
export async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { Accept: "application/json" } });
  } catch {
    throw new Error(words.unreachable);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  const { code, message } = body?.error ?? {};
  throw new Error(words.errors[code] ?? message ?? `${response.status} ${response.statusText}`);
}

// --- What the server has drawn --------------------------------------------

/** Makes what came from the server fit this browser: local time, running clocks, copy buttons. */
export function prepare(root) {
  for (const time of root.querySelectorAll("time")) {
    const moment = new Date(time.dateTime);
    time.textContent = moment.toLocaleString(document.documentElement.lang, {
      dateStyle: "medium",
      timeStyle: "short",
    });
  }
  // The server's clock and this one may differ: what counts is when the answer came.
  for (const clock of root.querySelectorAll("[data-elapsed]")) {
    clock.since = performance.now() - Number(clock.dataset.elapsed);
  }
  for (const button of root.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  for (const target of root.querySelectorAll("select[name=target]")) offerVoices(target.form);
}

/** Offers the voices of the chosen language only. */
function offerVoices(form) {
  const { target, voice } = form.elements;
  if (!voice) return;
  for (const option of voice.options) {
    const { language } = option.dataset;
    option.hidden = option.disabled = Boolean(language) && language !== target.value;
  }
  if (voice.selectedOptions[0]?.disabled) voice.value = "";
}

document.addEventListener("change", (event) => {
  if (event.target.name === "target") offerVoices(event.target.form);
});

setInterval(() => {
  for (const clock of document.querySelectorAll("[data-elapsed]")) {
    const seconds = Math.max(0, Math.floor((performance.now() - clock.since) / 1000));
    clock.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }
}, 500);

/** Swaps in the parts that have changed, and leaves alone the others: players go on playing. */
export function swapParts(old, fresh) {
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

/**
 * Shows how far a stage has come. False if something was missed, so that the server has to
 * draw it anew.
 */
export function showProgress(root, { stage, progress, offset }) {
  const cell = root.querySelector(`[data-part="${stage}"]`);
  const bar = cell?.querySelector("progress");
  // No bar: the part is being drawn, and will hold what this event tells.
  if (!bar) return true;
  if (progress.type === "fraction") {
    bar.max = progress.total;
    bar.value = progress.done;
    return true;
  }
  const text = cell.querySelector("[data-characters]");
  const have = Number(text.dataset.characters);
  if (offset > have) return false;
  const delta = [...progress.delta].slice(have - offset);
  // Whoever has scrolled up to read is left there.
  const follows = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
  text.append(delta.join(""));
  if (follows) text.scrollTop = text.scrollHeight;
  text.dataset.characters = have + delta.length;
  return true;
}

/** Listens for events for as long as the page is open. */
export function listen(path, handlers) {
  const events = new EventSource(path);
  for (const [name, handle] of Object.entries(handlers)) {
    if (name === "open") continue;
    events.addEventListener(name, ({ data }) => handle(JSON.parse(data)));
  }
  // Also at the first connection: something may have happened since the page was drawn.
  events.addEventListener("open", handlers.open);
  events.addEventListener("error", () => {
    // The browser gives up after some errors and would never come back by itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => listen(path, handlers), 3000);
  });
}

// --- Buttons ---------------------------------------------------------------

const QUESTIONS = {
  delete: words.confirmDelete,
  "delete-version": words.confirmDeleteVersion,
};

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.closest("[data-part]").querySelector(".text").textContent);
  announce(words.copied);
});

/** Sends the forms of jobs without leaving the page; `done` is called with the form's action. */
export function handleForms(done) {
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    const { action } = form.dataset;
    if (!action) return;
    event.preventDefault();
    if (QUESTIONS[action] && !confirm(QUESTIONS[action])) return;
    showProblem(null);
    event.submitter.disabled = true;
    try {
      await ask(form.getAttribute("action"), {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
      });
      if (action === "delete") announce(words.deleted);
      done(action, form);
    } catch (error) {
      showProblem(error.message);
    }
    event.submitter.disabled = false;
  });
}
