// Keys, live values, local times and the theme. The pages work without it.
//
//   data-key="j"        this link or button is pressed by that key (data-says tells what it does in the list of keys)
//   data-live="URL"     server-sent events: `run` exchanges the content, `over` fetches the page anew
//   data-pulse="URL"     asked every ten seconds; when the answer is another than data-known, the page is fetched anew
//   data-sends          a field whose form is sent by Ctrl+Enter
//   data-at-once         a form that is sent as soon as one of its fields has changed
//   data-drop           a form whose .drop takes a dropped picture and sends it
//   <time datetime>     shown as "12 min ago", with data-since as "since 14:05"; exact on hover

const each = (selector, act, root = document) => root.querySelectorAll(selector).forEach(act);

// Times ---------------------------------------------------------------------------------------------------------

const UNITS = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

function ago(moment) {
  const seconds = (moment - Date.now()) / 1000;
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) ?? ["minute", 60];
  return Math.abs(seconds) < 60 ? "just now" : relative.format(Math.round(seconds / size), unit);
}

const isSameDay = (one, other) => one.toDateString() === other.toDateString();

function since(moment) {
  const [now, week] = [new Date(), 6 * 86400e3];
  if (isSameDay(moment, now)) return `since ${moment.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false })}`;
  if (now - moment < week) return `since ${moment.toLocaleDateString("en", { weekday: "long" })}`;
  const year = moment.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return `since ${moment.toLocaleDateString("en-GB", { day: "numeric", month: "long", year })}`;
}

function tellTimes(root = document) {
  each("time[datetime]", (time) => {
    const moment = new Date(time.dateTime);
    time.textContent = "since" in time.dataset ? since(moment) : ago(moment);
    time.title = moment.toLocaleString();
  }, root);
}

// Keys ----------------------------------------------------------------------------------------------------------

const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]") !== null;
const nameOf = (key) => ({ ArrowLeft: "←", ArrowRight: "→", ArrowDown: "↓", ArrowUp: "↑" })[key] ?? key;

function press(event) {
  if (event.key === "Escape") each(".confirm[open], .menu[open]", (details) => (details.open = false));
  const sends = event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.closest("[data-sends]");
  if (sends) sends.form.requestSubmit();
  if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const wanted = [...document.querySelectorAll("[data-key]")].find((item) => item.dataset.key.split(" ").includes(event.key));
  if (!wanted) return;
  event.preventDefault();
  wanted.focus({ preventScroll: true });
  wanted.click();
}

function showKeys() {
  const dialog = document.querySelector("dialog.keys");
  const list = dialog.querySelector("dl");
  list.replaceChildren();
  each("[data-key]", (item) => {
    const key = document.createElement("dt");
    const does = document.createElement("dd");
    key.textContent = item.dataset.key.split(" ").map(nameOf).join(" or ");
    does.textContent = item.dataset.says ?? item.getAttribute("aria-label") ?? item.title ?? item.textContent.trim();
    if (!does.textContent) does.textContent = item.textContent.trim();
    list.append(key, does);
  });
  dialog.showModal();
}

// Live values ---------------------------------------------------------------------------------------------------

const streams = new Map();
const statesIn = (part) => [...part.querySelectorAll("[data-state]")].map((run) => run.dataset.state).join(" ");

function follow(part) {
  if (streams.has(part)) return;
  const stream = new EventSource(part.dataset.live);
  streams.set(part, stream);
  stream.addEventListener("run", (event) => {
    const before = statesIn(part);
    part.innerHTML = event.data;
    // "The run is queued" is no longer true.
    if (statesIn(part) !== before) each(".said-now", (said) => said.remove());
    tellTimes(part);
  });
  stream.addEventListener("over", () => {
    stream.close();
    fetchAnew();
  });
}

const fetchAnew = () =>
  htmx.ajax("GET", location.href, { target: "#main", select: "#main", selectOOB: "#waiting", swap: "outerHTML show:none" });

// Whoever types, or reads what a button is about to do, is not disturbed.
const isAtWork = () => isTyping(document.activeElement) || document.querySelector("dialog[open], details.confirm[open]") !== null;

async function lookForNews() {
  const part = document.querySelector("[data-pulse]");
  if (!part || document.hidden || isAtWork()) return;
  const answer = await fetch(part.dataset.pulse).catch(() => null); // the next look will tell
  if (!answer?.ok || answer.redirected) return;
  const pulse = await answer.text();
  if (part.isConnected && pulse !== part.dataset.known && !isAtWork()) fetchAnew();
}

function forgetGone() {
  for (const [part, stream] of streams) {
    if (!part.isConnected) {
      stream.close();
      streams.delete(part);
    }
  }
}

// Dropping a picture --------------------------------------------------------------------------------------------

const dropPlace = (event) => event.target.closest?.("[data-drop] .drop");

function dragOver(event) {
  each(".drop.over", (place) => place.classList.remove("over"));
  const place = dropPlace(event);
  if (!place) return;
  event.preventDefault();
  place.classList.add("over");
}

function drop(event) {
  const place = dropPlace(event);
  if (!place) return;
  event.preventDefault();
  place.classList.remove("over");
  if (!event.dataTransfer.files.length) return;
  place.querySelector("input[type=file]").files = event.dataTransfer.files;
  place.closest("form").requestSubmit();
}

// Theme ---------------------------------------------------------------------------------------------------------

function toggleTheme() {
  const root = document.documentElement;
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
}

function begin(root = document) {
  tellTimes(root);
  forgetGone();
  each("[data-live]", follow, root);
}

document.addEventListener("keydown", press);
document.addEventListener("dragover", dragOver);
document.addEventListener("drop", drop);
document.addEventListener("htmx:beforeSwap", (event) => {
  if ([413, 422].includes(event.detail.xhr.status)) event.detail.shouldSwap = true; // what is wrong is said in the part itself
});
document.addEventListener("htmx:load", (event) => begin(event.detail.elt));
document.addEventListener("click", (event) => {
  if (event.target.closest("[data-keys-help]")) showKeys();
  if (event.target.closest("[data-theme-toggle]")) toggleTheme();
});
document.addEventListener("change", (event) => event.target.closest("form[data-at-once]")?.requestSubmit());
// Whoever opens a form with one field wants to type. (`toggle` does not bubble.)
document.addEventListener("toggle", (event) => event.target.open && event.target.querySelector("[data-first]")?.focus(), true);
each("[data-keys-help], [data-theme-toggle]", (button) => (button.hidden = false));
each("nav a[aria-current=page]", (tab) => tab.scrollIntoView({ block: "nearest", inline: "center" })); // on a phone
begin();
setInterval(tellTimes, 30000);
setInterval(lookForNews, 10000);
