// The caption screen. What a person writes is stored in the browser before it is sent, and stays until Label Studio has it.
//
//   queue    tasks that Label Studio has given to this person: the first is on the screen, the others are ready
//   outbox   decisions that are not sent yet, in their order; each may be sent twice, and is written once
//   past     the last decisions, for back and undo
//   written  the annotations that the decisions have become, by their unique_id
//   refused  captions that Label Studio did not take, to be read

const page = document.getElementById("captioning");
const part = (id) => document.getElementById(id);
const [field, picture, stage] = [part("caption"), part("picture"), part("stage")];
const STORE = `captionloop:${page.dataset.project}:${page.dataset.person}`;
const [READY, MOST_PAST, ASK_AGAIN_MS] = [2, 50, 2000];

const empty = { queue: [], outbox: [], past: [], written: {}, refused: [], drafts: {}, enterKeeps: false, kept: 0 };
const state = { ...empty, ...JSON.parse(localStorage.getItem(STORE) ?? "{}") };

function save() {
  const needed = new Set([...state.past, ...state.outbox].map(({ unique_id }) => unique_id));
  for (const id of Object.keys(state.written)) if (!needed.has(id)) delete state.written[id];
  localStorage.setItem(STORE, JSON.stringify(state));
}

let shown = null; // what is on the screen: { task, decision } — a decision is one of the past that is looked at again
let before = null; // what the field held before Esc, Tab or another caption, to bring it back
let typed = null; // how much of the field is the person's, while the rest is the model's to be taken
let since = 0; // when the task came on the screen
let nothing = false; // Label Studio has no further task at the moment
let stopped = ""; // why nothing is sent any more: signed out, or open elsewhere

// Asking the server ----------------------------------------------------------------------------------------------

const headers = { ...JSON.parse(document.body.getAttribute("hx-headers")), "Content-Type": "application/json", "HX-Request": "true" };

async function ask(what, body) {
  const answer = await fetch(`${page.dataset.address}/${what}`, { method: "POST", headers, body: JSON.stringify(body) }).catch(() => null);
  if (!answer || answer.status >= 500 || answer.status === 429) throw { away: true, message: (await told(answer)) ?? "The server does not answer." };
  if (answer.ok && !answer.redirected) return answer.json();
  if (answer.status === 409) throw { refused: true, message: await told(answer) };
  stop(answer.status === 400 ? "This page is out of date." : "You are signed out.");
  throw { away: true, message: stopped };
}

const told = async (answer) => (answer?.headers.get("Content-Type")?.includes("json") ? (await answer.json()).error : null);

// One at a time, in order; after a failure again in a moment.
function onlyOnce(work) {
  let running = false;
  return async function again() {
    if (running || stopped) return;
    running = true;
    try {
      await work();
      if (!state.outbox.length) away("");
    } catch (error) {
      if (!error.away) throw error;
      away(error.message);
      setTimeout(again, ASK_AGAIN_MS);
    } finally {
      running = false;
    }
  };
}

// Sending --------------------------------------------------------------------------------------------------------

const send = onlyOnce(async () => {
  while (state.outbox.length) {
    const entry = state.outbox[0];
    entry.isTried = true; // from now on it may be written, whatever is answered
    save();
    try {
      if (isPossible(entry)) await sendOne(entry);
    } catch (error) {
      if (!error.refused) throw error;
      if (entry.text) state.refused.push({ task: entry.task, text: entry.text, why: error.message });
      state.kept -= entry.what === "keep";
    }
    state.outbox.shift();
    nothing = false; // what was put off may come now
    save();
    tell();
  }
  fill();
});

// What was refused is not there to be changed.
const isPossible = ({ what, unique_id }) => ["keep", "skip"].includes(what) || unique_id in state.written;

async function sendOne(entry) {
  const answer = await ask(entry.what, bodyOf(entry));
  if (answer.annotation) state.written[entry.unique_id] = answer;
}

function bodyOf({ what, text, suggestion, lead_time_s, task, unique_id, draft, prediction, overlap, is_unclear }) {
  if (what === "keep") return { task, unique_id, lead_time_s, draft, prediction, suggestion, overlap, text };
  if (what === "skip") return { task, unique_id, lead_time_s, draft, overlap, is_unclear };
  const { annotation, updated_at } = state.written[unique_id];
  return what === "undo" ? { annotation, updated_at, task } : { annotation, updated_at, text, lead_time_s, suggestion };
}

const fill = onlyOnce(async () => {
  let again = 0; // how often a task came that is here already: one that was taken back, or all others are done
  while (!nothing && state.queue.length <= READY) {
    const { task } = await ask("next", {});
    const known = task && [...state.queue, ...state.outbox].find((known) => known.task === task.task);
    if (known) known.draft = task.draft;
    again += Boolean(known);
    nothing = !task || again > 1;
    if (task && !known) {
      state.queue.push(task);
      prepare(task);
    }
    save();
    if (!shown) show();
  }
});

async function resume() {
  if (state.queue.length) {
    const drafts = Object.fromEntries(state.queue.map(({ task, draft }) => [task, draft]));
    const found = new Map((await ask("resume", { tasks: drafts })).tasks.map((task) => [task.task, task]));
    state.queue = state.queue.filter(({ task }) => found.has(task));
    state.queue.forEach((task) => prepare(Object.assign(task, found.get(task.task), { text: task.text })));
    save();
    if (!state.queue.includes(current())) show();
  }
}

const begin = onlyOnce(async () => {
  if (state.queue.length && !shown) show();
  await resume();
  send();
});

// Pictures and other captions are there before they are needed.
const pictures = new Map();

function prepare(task) {
  if (!task.picture) return;
  const image = new Image();
  image.src = page.dataset.images.replace("HASH", task.picture);
  pictures.set(task.task, image);
  ask("others", { picture: task.picture, text: task.suggestion })
    .then(({ captions }) => {
      task.others = captions;
      if (current() === task) showOthers(captions);
    })
    .catch(() => {}); // without them everything else works
}

// The screen -----------------------------------------------------------------------------------------------------

const current = () => shown?.task ?? null;

function show(decision = null) {
  const task = decision ?? state.queue[0] ?? null;
  shown = task && { task, decision };
  [before, typed, since] = [null, null, performance.now()];
  field.disabled = !task;
  field.value = !task ? "" : decision ? decision.text ?? "" : state.drafts[task.task] ?? task.text;
  part("note-form").hidden = true;
  part("note").value = task?.note ?? "";
  showPicture(task);
  showOthers(task?.others ?? []);
  part("place").textContent = task ? `Task ${task.task}${decision ? ", kept before" : ""}` : "";
  tell();
  if (task) field.focus({ preventScroll: true });
  field.setSelectionRange(field.value.length, field.value.length);
  changed();
}

function showPicture(task) {
  const none = part("no-picture");
  picture.hidden = !task?.picture;
  none.hidden = !picture.hidden;
  none.textContent = !task ? (nothing ? "Everything is captioned. New pictures are shown when there are any." : "Looking for the next picture…") : task.problem;
  if (task?.picture) picture.src = page.dataset.images.replace("HASH", task.picture);
  pictures.delete(task?.task);
  zoom(0);
}

function showOthers(captions) {
  part("others-part").hidden = !captions.length;
  part("others").replaceChildren(...captions.map((caption, place) => {
    const [row, button, key, text] = ["li", "button", "kbd", "bdi"].map((name) => document.createElement(name));
    Object.assign(button, { type: "button", onclick: () => take(caption) });
    Object.assign(button.dataset, { key: `Alt+${place + 1}`, says: "take this caption" });
    key.textContent = `Alt ${place + 1} `;
    text.textContent = caption;
    button.append(key, text);
    row.append(button);
    return row;
  }));
}

function changed() {
  const task = current();
  const isModels = Boolean(task?.suggestion) && field.value === task.suggestion;
  field.classList.toggle("of-model", isModels);
  field.classList.toggle("with-rest", typed !== null);
  part("origin").textContent = !task?.suggestion ? "" : isModels ? `suggested by ${task.version}` : `suggested: ${task.suggestion}`;
  if (task && !shown.decision) {
    if (field.value === task.text) delete state.drafts[task.task];
    else state.drafts[task.task] = field.value;
    save();
  }
}

function say(text) {
  part("said").textContent = text;
}

function tell() {
  part("count").textContent = state.kept ? `${state.kept} kept` : "";
  part("refused-part").hidden = !state.refused.length;
  part("refused").replaceChildren(...state.refused.map(({ task, text, why }) => {
    const [row, quote] = ["li", "q"].map((name) => document.createElement(name));
    quote.textContent = text;
    quote.dir = "auto";
    row.append(`Task ${task}: ${why}`, quote);
    return row;
  }));
}

function away(message) {
  const waiting = state.outbox.length;
  part("unsent-part").hidden = !message && !stopped;
  const kept = waiting ? ` ${waiting} decision${waiting === 1 ? " is" : "s are"} kept in this browser and sent when it is back.` : "";
  part("unsent").textContent = (stopped || message) + kept;
  if (stopped) {
    const again = Object.assign(document.createElement("a"), { href: page.dataset.login, textContent: "Go on here" });
    part("unsent").append(" ", again);
  }
}

function stop(why) {
  stopped = why;
  field.disabled = true;
  away("");
}

// Decisions ------------------------------------------------------------------------------------------------------

const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
const seconds = () => Math.ceil(performance.now() - since) / 1000;

function decide(what, more) {
  const { task, draft, prediction, suggestion, overlap, picture, problem, version, note, others } = current();
  const decision = { task, draft, prediction, suggestion, overlap, picture, problem, version, note, others, unique_id: newId(), ...more };
  state.outbox.push({ what, ...decision, lead_time_s: seconds() });
  state.past = [...state.past, decision].slice(-MOST_PAST);
  state.queue.shift();
  delete state.drafts[task];
  state.kept += what === "keep";
}

function next(said) {
  save();
  show();
  say(said);
  send();
}

function keep() {
  if (!shown || stopped) return;
  const text = field.value.trim().replace(/\s+/g, " ");
  if (!text) return say("Nothing is written. A picture without a caption is skipped: Alt S.");
  if (shown.decision) return change(shown.decision, text);
  decide("keep", { text });
  next("Kept.");
}

function change(decision, text) {
  const unsent = state.outbox.find((entry) => entry.unique_id === decision.unique_id && !entry.isTried);
  if (unsent) unsent.text = text;
  else if (text !== decision.text) state.outbox.push({ ...decision, what: "change", text, lead_time_s: seconds() });
  decision.text = text;
  next("Changed.");
}

function skip(isUnclear) {
  if (!shown || stopped) return;
  if (shown.decision) return say("This one is kept. Undo takes it back, then it can be skipped.");
  decide("skip", { is_unclear: isUnclear });
  next(isUnclear ? "Skipped as unclear." : "Skipped.");
}

// Whether a decision is written, or will be.
const isThere = ({ unique_id }) => unique_id in state.written || state.outbox.some((entry) => entry.unique_id === unique_id);

function back() {
  const kept = state.past.filter((decision) => decision.text && isThere(decision));
  const at = shown?.decision ? kept.indexOf(shown.decision) : kept.length;
  if (at <= 0) return say("There is nothing before this.");
  show(kept[at - 1]);
  say("Keep writes what you change here.");
}

function undo() {
  const decision = state.past.pop();
  if (!decision) return say("There is nothing to undo.");
  const { text, unique_id, is_unclear, ...task } = decision;
  const unsent = state.outbox.findIndex((entry) => entry.unique_id === unique_id && !entry.isTried);
  if (isThere(decision)) state.kept -= Boolean(text);
  if (unsent >= 0) state.outbox.splice(unsent, 1);
  else if (isThere(decision)) state.outbox.push({ ...decision, what: "undo", text: "" });
  state.queue.unshift({ ...task, draft: unsent >= 0 ? task.draft : null, text: task.suggestion });
  if (text) state.drafts[task.task] = text;
  next("Taken back.");
}

function note() {
  const form = part("note-form");
  form.hidden = !form.hidden;
  (form.hidden ? field : part("note")).focus();
}

part("note-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const task = current();
  const text = part("note").value;
  try {
    await ask("note", { task: task.task, text });
  } catch (error) {
    return say(`The note is not saved. ${error.message}`);
  }
  task.note = text;
  save();
  note();
  say("The note is saved.");
});

// What the field holds -------------------------------------------------------------------------------------------

function put(text) {
  before = field.value;
  field.value = text;
  field.setSelectionRange(text.length, text.length);
  typed = null;
  changed();
}

function take(caption) {
  put(caption);
  field.focus();
  say("Esc brings back what was here.");
}

function takeBack() {
  if (document.activeElement === part("note")) note();
  else if (typed !== null) {
    const place = typed;
    put(before);
    field.setSelectionRange(place, place);
  } else if (shown?.decision) show();
  else if (before !== null) put(before);
  else if (current() && field.value !== current().suggestion) {
    put(current().suggestion);
    say("This is the suggestion. Esc brings yours back.");
  }
}

async function complete() {
  if (typed !== null) return acceptUntil(field.value.length);
  const [task, whole, beginning] = [current(), field.value, field.value.slice(0, field.selectionStart)];
  if (!task?.picture) return;
  let rest = "";
  try {
    rest = (await ask("complete", { picture: task.picture, text: beginning })).rest;
  } catch (error) {
    return say(error.message);
  }
  if (current() !== task || field.value !== whole) return; // the person went on typing
  if (!rest) return say("The model has nothing to add.");
  before = whole;
  typed = beginning.length;
  field.value = beginning + rest;
  field.setSelectionRange(typed, field.value.length);
  changed();
}

function acceptUntil(place) {
  typed = place < field.value.length ? place : null;
  field.setSelectionRange(place, field.value.length);
  changed();
}

function acceptWord() {
  const word = /^\s*\S+/.exec(field.value.slice(typed));
  acceptUntil(typed + (word?.[0].length ?? 0));
}

field.addEventListener("input", () => {
  typed = null;
  before = null;
  changed();
});

// Zoom -----------------------------------------------------------------------------------------------------------

let view = { scale: 1, x: 0, y: 0 };

function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const scale = factor ? Math.min(Math.max(view.scale * factor, 1), 12) : 1;
  const by = scale / view.scale;
  move({ scale, x: x - (x - view.x) * by, y: y - (y - view.y) * by });
}

function move({ scale, x, y }) {
  const within = (value, size) => Math.min(Math.max(value, size * (1 - scale)), 0);
  view = { scale, x: within(x, stage.clientWidth), y: within(y, stage.clientHeight) };
  picture.style.transform = `translate(${view.x}px, ${view.y}px) scale(${scale})`;
}

stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  const { left, top } = stage.getBoundingClientRect();
  zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.clientX - left, event.clientY - top);
}, { passive: false });
stage.addEventListener("pointerdown", (event) => {
  if (event.target.closest("button")) return;
  event.preventDefault(); // the caret stays in the field
  stage.classList.add("dragging");
  stage.setPointerCapture(event.pointerId);
});
stage.addEventListener("pointermove", (event) => {
  if (stage.classList.contains("dragging")) move({ ...view, x: view.x + event.movementX, y: view.y + event.movementY });
});
for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => stage.classList.remove("dragging"));

// Keys -----------------------------------------------------------------------------------------------------------

const actions = {
  keep, back, undo, note,
  skip: () => skip(false),
  unclear: () => skip(true),
  larger: () => zoom(1.5),
  smaller: () => zoom(1 / 1.5),
  whole: () => zoom(0),
};
const NAMES = { Equal: "+", Minus: "-", NumpadAdd: "+", NumpadSubtract: "-" };
const nameOfKey = ({ code }) => NAMES[code] ?? code.replace(/^(Key|Digit|Numpad)/, "");

function pressed(event) {
  if (event.isComposing || document.querySelector("dialog[open]")) return;
  const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
  const inField = event.target === field;
  const wanted = () => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return keep;
    if (event.key === "Enter" && isPlain && !event.shiftKey && inField && state.enterKeeps) return keep;
    if (event.altKey && !event.ctrlKey && !event.getModifierState("AltGraph")) {
      const button = page.querySelector(`[data-key="Alt+${nameOfKey(event)}"]`);
      return button && (() => button.click());
    }
    if (event.key === "Escape" && isPlain) return takeBack;
    if (event.key === "Tab" && isPlain && !event.shiftKey && inField) return complete;
    if (event.key === "ArrowRight" && isPlain && inField && typed !== null) return acceptWord;
    return null;
  };
  const act = wanted();
  if (!act) return;
  event.preventDefault();
  act();
}

document.addEventListener("keydown", pressed);
page.addEventListener("click", (event) => actions[event.target.closest("[data-do]")?.dataset.do]?.());
part("enter-keeps").checked = state.enterKeeps;
part("enter-keeps").addEventListener("change", (event) => {
  state.enterKeeps = event.target.checked;
  save();
  tellKey();
  field.focus();
});

function tellKey() {
  part("keep-key").textContent = state.enterKeeps ? "Enter" : "Ctrl Enter";
}

// Two tabs of one person would send each other's decisions: the newest has the work, the others stop.
const tab = newId();
localStorage.setItem(`${STORE}:tab`, tab);
addEventListener("storage", ({ key, newValue }) => {
  if (key === `${STORE}:tab` && newValue !== tab) stop("This is open in another tab.");
});
// Label Studio may have new pictures, and an unsent decision need not wait.
addEventListener("online", () => send());
setInterval(() => {
  if (!shown && !stopped) {
    nothing = false;
    fill();
  }
}, 10 * ASK_AGAIN_MS);

page.hidden = false;
tellKey();
tell();
begin();
