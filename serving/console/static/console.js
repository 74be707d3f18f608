// Every state of the page is an address. This fetches the next one and swaps the parts that differ, so that what is
// being typed stays, the lists are seen to move, and the page works without it too, only slower.
"use strict";

const form = document.getElementById("ask");
const quiet = matchMedia("(prefers-reduced-motion: reduce)");
let asking = null;
let typing = 0;

const weights = () => [...document.querySelectorAll('input[type="range"]')];
const switches = () => [...document.querySelectorAll('input[name="task"]')];

/** The address of the form's current values; default values are left out. */
function address() {
  const data = new FormData(form);
  const chosen = document.getElementById("learned").dataset.chosen;
  const all = switches().every((box) => box.checked);
  const pairs = [...data].filter(([name, value]) =>
    value !== "" && !(name === "task" && all) && !(name.startsWith("weight.") && !chosen));
  const text = new URLSearchParams(pairs).toString();
  return text ? `/?${text}` : "/";
}

/** Fetch an address, swap the regions, and put it into the history; the last call wins. */
async function go(url, { push = true, then = null, sent = false } = {}) {
  asking?.abort();
  const mine = (asking = new AbortController());
  document.body.classList.add("waiting");
  try {
    const response = await fetch(url, { signal: mine.signal });
    const text = await response.text();
    const replied = performance.now();
    if (push && url !== location.pathname + location.search) history.pushState(null, "", url);
    swap(new DOMParser().parseFromString(text, "text/html"), then);
    if (sent) for (const field of document.querySelectorAll("[data-once]")) field.value = "";
    requestAnimationFrame(() => performance.measure("redraw", { start: replied, end: performance.now() }));
  } catch (error) {
    if (error.name !== "AbortError") say("The console is unavailable. Start it again: polytask console");
  } finally {
    if (asking === mine) document.body.classList.remove("waiting");
  }
}

function say(text) {
  document.getElementById("status").textContent = text;
}

/** Put the regions of a page into this one; keep the focus, and the values of fields that are being used. */
function swap(page, then) {
  const focused = document.activeElement?.id;
  const before = places();
  for (const region of document.querySelectorAll("[data-region]")) {
    region.replaceWith(document.adoptNode(page.getElementById(region.id)));
  }
  for (const field of document.querySelectorAll("input[id], select[id]")) {
    const other = page.getElementById(field.id);
    if (other === null || (field.id === focused && field.type !== "checkbox")) continue;
    if (field.type === "checkbox") field.checked = other.checked;
    else field.value = other.value;
  }
  for (const output of document.querySelectorAll("output")) {
    output.value = Number(document.getElementById(output.htmlFor.value).value).toFixed(2);
  }
  document.title = page.title;
  document.getElementById("status").replaceChildren(...page.getElementById("status").childNodes);
  if (focused && document.activeElement?.id !== focused) {
    const next = [focused, then, "results"].map((id) => id && document.getElementById(id)).find(Boolean);
    next?.focus({ preventScroll: true });
  }
  glide(before);
}

/** Where each entry stands on the screen, by its key. */
function places() {
  return new Map([...document.querySelectorAll("[data-key]")].map((row) => [row.dataset.key, row.getBoundingClientRect().top]));
}

/** Let entries glide from where they stood to where they stand. */
function glide(before) {
  if (quiet.matches) return;
  for (const row of document.querySelectorAll("[data-key]")) {
    const from = before.get(row.dataset.key);
    const distance = from === undefined ? null : from - row.getBoundingClientRect().top;
    if (distance === null) row.animate([{ opacity: 0 }, { opacity: 1 }], 250);
    else if (distance) row.animate([{ transform: `translateY(${distance}px)` }, { transform: "none" }], { duration: 250, easing: "ease-out" });
  }
}

async function suggest(field) {
  const response = await fetch(`/suggest/${field.dataset.suggest}?${new URLSearchParams({ text: field.value })}`);
  const options = (await response.json()).map((thing) => {
    const option = document.createElement("option");
    option.value = thing.id;
    option.label = [thing.title, thing.about].filter(Boolean).join(", ");
    return option;
  });
  field.list.replaceChildren(...options);
}

/** Send the request of the form; a field that adds to a list is emptied by the response. */
function ask() {
  clearTimeout(typing);
  go(address(), { sent: true });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});

document.addEventListener("input", (event) => {
  const field = event.target;
  if (field.type === "range") document.getElementById("learned").dataset.chosen = "yes";
  if (field.type === "range") field.nextElementSibling.value = Number(field.value).toFixed(2);
  clearTimeout(typing);
  if (field.dataset.suggest) typing = setTimeout(() => suggest(field).catch(() => {}), 120); // no suggestions are no fault
  else if (field.id === "query" || field.type === "range") typing = setTimeout(ask, 180);
});

document.addEventListener("change", (event) => {
  const field = event.target;
  // At least one task: a request without any returns nothing.
  if (field.name === "task" && !switches().some((box) => box.checked)) field.checked = true;
  if (field.form === form && field.type !== "range" && field.id !== "query") ask();
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-go]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  clearTimeout(typing);
  go(link.getAttribute("href"), { then: link.dataset.then });
});

addEventListener("popstate", () => go(location.pathname + location.search, { push: false }));
