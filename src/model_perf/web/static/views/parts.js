// What several views have in common: the picker of a model, its heading, and the acts that concern it.

import * as api from "../api.js";
import { ask } from "../dialog.js";
import { h } from "../dom.js";
import { ago, count, machineName, modelName, slotQuery } from "../format.js";
import { badge } from "../marks.js";

export const hasSlot = (query) => query.has("model_type") && query.has("machine_id");
export const slotOf = (row) => ({ model_type: row.model_type, machine_id: row.machine_id });
export const link = (view, row, ...children) => h("a", { href: `#/${view}?${slotQuery(row)}` }, ...children);

// A view of one model asks which, where it was not told.
export function ofModel({ title, path, parameters, render, poll }) {
  return {
    title,
    poll: (data) => ("models" in data ? 60 : poll?.(data)),
    request: (query) => (hasSlot(query) ? [path, parameters(query)] : ["/views/fleet", {}]),
    render: (data, page) => ("models" in data ? picker(title, data) : render(data, page)),
  };
}

const PICKED = 200;

let wanted = ""; // stays when the models are asked for again

function picker(title, { models, next_cursor }) {
  const list = h("ul", { class: "picker" });
  const byName = [...models].sort((a, b) => modelName(a).localeCompare(modelName(b), "en", { numeric: true }));
  const line = (row) => h("li", null, link(title.toLowerCase(), row, badge(row.verdict), h("span", null, modelName(row)), h("span", { class: "muted" }, ago(row.evaluation_date))));
  const show = (text) => {
    wanted = text;
    const found = byName.filter((row) => modelName(row).toLowerCase().includes(wanted.toLowerCase()));
    const more = found.length - PICKED;
    list.replaceChildren(...found.slice(0, PICKED).map(line), ...(more > 0 ? [h("li", { class: "muted" }, `and ${count(more)} more: search for them`)] : []));
  };
  show(wanted);
  return [h("h1", null, title), models.length === 0 ? empty("No model yet", "Record an evaluation, or register a model, and it is shown here.")
    : h("section", { class: "panel" }, h("h2", null, "Which model?"),
      h("input", { type: "search", placeholder: "Machine or model type", "aria-label": "Search models", "data-focus": "search", value: wanted, oninput: (event) => show(event.target.value) }), list, h("p", { class: "muted" }, missing(models, next_cursor)))];
}

const missing = (models, next) => (next ? `Only the first ${count(models.length)} models are listed here; the fleet leads to all of them.` : null);

export const empty = (heading, text, ...more) => h("div", { class: "state" }, h("h2", null, heading), h("p", null, text), ...more);

export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([term, value, note]) =>
    h("div", null, h("dt", null, term), h("dd", { "data-fact": term }, value), note && h("dd", { class: "note" }, note))));
}

export function slotHeading(view, row, ...more) {
  const others = [["model", "Model"], ["drift", "Drift"], ["tests", "A/B tests"], ["training", "Training"]];
  return h("div", { class: "heading" }, h("h1", { "data-model": modelName(row) }, h("span", null, machineName(row)), h("small", null, row.model_type)),
    h("p", { class: "also" }, others.filter(([name]) => name !== view).map(([name, word]) => link(name, row, word))), ...more);
}

const isPart = (page) => page.query.has("machine_id") || page.query.has("model_type");

// What is left out is said, and shown at a click; any row of what is there has the name.
export function filters(page, kept, row) {
  const name = !row ? page.query.get("model_type") : page.query.has("machine_id") ? modelName(row) : row.model_type;
  return isPart(page) && h("p", { class: "buttons also" }, h("span", { "data-filter": "" }, `of ${name ?? "one machine"}`),
    h("button", { type: "button", "data-focus": "all", onclick: () => page.go({ model_type: null, machine_id: null, cursor: null }) }, `Show all ${kept}`));
}

export const nothing = (page, word) => (page.query.has("cursor") ? `No further ${word}` : isPart(page) ? `No ${word} of this model yet` : `No ${word} yet`);

export function pages(page, next, word) {
  const button = (cursor, text) => h("button", { type: "button", "data-focus": text, onclick: () => page.go({ cursor }) }, text);
  return h("p", { class: "buttons" }, page.query.has("cursor") && button(null, "Back to the first"), next && button(next, word));
}

const TRIGGERS = [["manual", "By hand"], ["drift", "Drift of the input"], ["degradation", "Degraded performance"], ["scheduled", "Scheduled"]];

// Pressed again, what is under way goes on, and is not begun twice.
export function once(act) {
  let underWay = null;
  return (...given) => (underWay ??= act(...given).finally(() => { underWay = null; }));
}

export const retrain = once(async (page, slot, name) => {
  let choose;
  try {
    choose = slot === null ? [await slotField()] : [];
  } catch (error) {
    page.say(error.message);
    return;
  }
  const answer = await ask({
    title: name ? `Retrain ${name}` : "Retrain a model", confirm: "Start retraining",
    text: "Opens a training run, which the next free worker takes up. One that is under way already is not doubled.",
    fields: [...choose, { name: "trigger_type", label: "Cause", kind: "select", value: "manual", options: TRIGGERS }, { name: "reason", label: "Reason", kind: "comment" }],
    act: ({ slot: chosen, trigger_type, reason }) => api.post("/retrain/trigger", { ...(slot ?? JSON.parse(chosen)), trigger_type, reason }),
  });
  if (answer) {
    page.say(answer.triggered ? "The training run is queued." : `Nothing was started: ${answer.reason}`);
    page.refresh();
  }
});

export async function slotField(onchange) {
  const asked = location.hash;
  const { models, next_cursor } = await api.get("/views/fleet", {});
  if (location.hash !== asked) {
    throw new Error("The question was dropped: you have gone on to another view.");
  }
  const options = models.map((row) => [JSON.stringify(slotOf(row)), modelName(row)]);
  return { name: "slot", label: "Model", kind: "select", options: [["", "Choose …"], ...options], isAskedFor: true, onchange, hint: missing(models, next_cursor) };
}
