// Which view is shown, when it is asked for again, and what stands there while it is loading or cannot be shown.

import * as api from "./api.js";
import { forgetCharts } from "./chart.js";
import { dropQuestion, say } from "./dialog.js";
import { h } from "./dom.js";
import { now, setNow, touchAges, zoned } from "./format.js";
import { alerts } from "./views/alerts.js";
import { drift } from "./views/drift.js";
import { fleet } from "./views/fleet.js";
import { model } from "./views/model.js";
import { test, tests } from "./views/tests.js";
import { training } from "./views/training.js";

const VIEWS = { alerts, fleet, model, drift, tests, test, training };
const MENU = [["alerts", "Alerts"], ["fleet", "Fleet"], ["model", "Model"], ["drift", "Drift"], ["tests", "A/B tests"], ["training", "Training"]];
const POLL_S = 30;

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const freshness = document.getElementById("freshness");

let current = { name: null, query: null, text: null, controller: null, timer: null, data: null };
const notTimes = (key, value) => (["now", "since", "until"].includes(key) ? undefined : value);

function read() {
  const [, name, query] = /^#\/?([\w-]*)(?:\?(.*))?$/.exec(location.hash) ?? [];
  return { name: Object.hasOwn(VIEWS, name) ? name : "alerts", query: new URLSearchParams(query ?? "") };
}

function menu(name, query) {
  const slot = ["model_type", "machine_id"].filter((key) => query.has(key)).map((key) => [key, query.get(key)]);
  const keeps = new Set(["model", "drift", "training", "tests"]);
  const isFocused = nav.contains(document.activeElement);
  nav.replaceChildren(...MENU.map(([target, word]) => {
    const kept = keeps.has(target) && slot.length === 2 ? `?${new URLSearchParams(slot)}` : "";
    const isHere = target === name || (target === "tests" && name === "test");
    return h("a", { href: `#/${target}${kept}`, "aria-current": isHere ? "page" : null }, word);
  }));
  isFocused && nav.querySelector("[aria-current]").focus();
}

// The charts of before are ended first: what a view makes is new, whether it was asked for again or not.
function show(make) {
  forgetCharts();
  main.replaceChildren(...[make()].flat(Infinity).filter(Boolean));
}

function loading(view) {
  show(() => [h("h1", null, view.title), h("div", { class: "state", role: "status" }, h("p", null, "Loading …"),
    h("div", { class: "skeleton", "aria-hidden": "true" }, h("span"), h("span"), h("span")))]);
}

async function open({ isQuiet = false } = {}) {
  clearTimeout(current.timer);
  current.controller?.abort();
  const { name, query } = read();
  const view = VIEWS[name];
  const focus = isQuiet ? null : focusOf(name === current.name);
  const mine = { name, query, controller: new AbortController(), timer: null, text: isQuiet ? current.text : null, data: isQuiet ? current.data : null };
  current = mine;
  if (!isQuiet) {
    menu(name, query);
    document.title = `${view.title} – Model performance`;
    main.setAttribute("aria-busy", "true");
    loading(view);
  }
  try {
    const [path, parameters] = view.request(query);
    const data = await api.get(path, parameters, mine.controller.signal);
    if (mine === current) {
      accept(view, data, focus);
    }
  } catch (error) {
    if (mine === current) {
      refuse(view, error, isQuiet);
    }
  }
}

function accept(view, data, focus) {
  setNow(data.now);
  const text = `${JSON.stringify(data, notTimes)} ${view.depends?.(data) ?? ""}`;
  freshness.textContent = `Updated ${zoned(now())}`;
  freshness.classList.remove("stale");
  if (text !== current.text) {
    current.text = text;
    current.data = data;
    swap(() => show(() => view.render(data, context())), focus ?? focusOf(true));
  } else {
    touchAges(main);
  }
  main.removeAttribute("aria-busy");
  plan(view.poll?.(data) ?? POLL_S);
}

// What somebody has opened, focused or scrolled to stays as it was.
function swap(draw, focus = focusOf(true)) {
  const open = new Set([...main.querySelectorAll("details[open][data-key]")].map((each) => each.dataset.key));
  const wasFree = document.activeElement === document.body || main.contains(document.activeElement);
  const top = scrollY;
  draw();
  for (const each of main.querySelectorAll("details[data-key]")) {
    each.open = open.has(each.dataset.key) || each.open;
  }
  if (wasFree && focus !== null) {
    refocus(focus);
  }
  scrollTo(0, top);
}

const FOCUSABLE = "a[href], button, select, input, summary, [tabindex]";
const nameOf = (node) => node.dataset.focus ?? node.parentElement.dataset.key ?? `${node.tagName} ${node.getAttribute("href") ?? node.getAttribute("aria-label")}`;
const named = (name) => [...main.querySelectorAll(FOCUSABLE)].filter((each) => nameOf(each) === name);

// What of the content has the focus; in another view, only that something of it had.
function focusOf(isSameView) {
  const node = document.activeElement;
  if (node === main || !main.contains(node)) {
    return null;
  }
  return isSameView ? { name: nameOf(node), place: named(nameOf(node)).indexOf(node), caret: node.selectionStart } : { name: null };
}

function refocus({ name, place, caret }) {
  const same = named(name);
  const node = same[place] ?? same.at(-1) ?? main;
  node.focus({ preventScroll: true });
  if (Number.isInteger(caret)) {
    node.setSelectionRange?.(caret, caret);
  }
}

function refuse(view, error, isQuiet) {
  main.removeAttribute("aria-busy");
  if (!(error instanceof api.ApiError)) { // a fault of ours: said on the page, and in full on the console
    show(() => [h("h1", null, view.title), failure(new api.ApiError(`The page has a fault: ${error.message}`))]);
    throw error;
  }
  if (error.status === 401) {
    forget();
    show(() => [h("h1", null, view.title), login(error)]);
    return;
  }
  if (isQuiet && current.data !== null && error.status !== 404) {
    freshness.textContent = `Could not be refreshed: ${error.message}`;
    freshness.classList.add("stale");
  } else {
    forget();
    show(() => [h("h1", null, view.title), failure(error)]);
  }
  plan(POLL_S);
}

function forget() {
  current.text = null;
  current.data = null;
  freshness.textContent = "";
}

function failure(error) {
  const heading = error.status === 403 ? "You may not see this" : error.status === 404 ? "This is not there" : "This cannot be shown now";
  return h("div", { class: "state error", role: "alert" }, h("h2", null, heading), h("p", null, error.message),
    h("p", { class: "buttons" }, h("button", { type: "button", onclick: () => open() }, "Try again"), h("a", { href: "#/fleet" }, "All models")));
}

function login(error) {
  const wasGiven = api.hasToken();
  api.forgetToken();
  const field = h("input", { id: "token", type: "password", required: true, autocomplete: "off", pattern: api.TOKEN, title: "Letters, digits and signs, without a space" });
  const form = h("form", { onsubmit: (event) => { event.preventDefault(); api.keepToken(field.value.trim()); open(); } },
    h("label", { for: "token" }, "Token"), field, h("button", { type: "submit", class: "primary" }, "Go on"),
    h("small", { class: "muted" }, "Kept until this tab is closed, and sent to this application only."));
  return h("div", { class: "state error", role: "alert" }, h("h2", null, "Log in first"),
    h("p", null, wasGiven ? "The token was refused: it is wrong, or too old." : `The application says: ${error.message}`),
    h("p", null, error.asksForToken ? "Log in to the application, and come back to this page; or give a token." : "Log in to the application, and come back to this page."),
    error.asksForToken && form,
    h("p", { class: "buttons" }, h("button", { type: "button", onclick: () => open() }, "Try again")));
}

function plan(seconds) {
  clearTimeout(current.timer);
  if (!document.hidden) {
    current.timer = setTimeout(() => open({ isQuiet: true }), seconds * 1000);
  }
}

function context() {
  const { name, query } = current;
  return {
    query, say, isReadOnly: api.isReadOnly,
    refresh: () => open({ isQuiet: true }),
    redraw: () => swap(() => show(() => VIEWS[name].render(current.data, context()))),
    go: (changes) => {
      const next = read().query; // what the view has kept in the address among it
      for (const [key, value] of Object.entries(changes)) {
        value === null || value === "" ? next.delete(key) : next.set(key, value);
      }
      location.hash = `#/${name}${next.size ? `?${next}` : ""}`;
    },
  };
}

document.getElementById("skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(current.timer);
  } else {
    open({ isQuiet: current.data !== null });
  }
});
if (api.isReadOnly) {
  freshness.before(h("p", { class: "mode", title: "Whoever serves this page has switched acts off" }, "Read-only"));
}
addEventListener("hashchange", () => { dropQuestion(); open(); scrollTo(0, 0); });
open();
