// A row for each model, the worst first.

import { h } from "../dom.js";
import { ago, count, machineName, metricName, modelName, number, percent } from "../format.js";
import { badge, sparkline, stateWord } from "../marks.js";
import { empty, link, pages } from "./parts.js";

const RANK = { critical: 0, warning: 1, insufficient_data: 2, not_judged: 3, ok: 4 };
const VERDICTS = ["critical", "warning", "insufficient_data", "not_judged", "ok"];

const COLUMNS = [
  { key: "verdict", word: "Verdict", of: (row) => RANK[row.verdict] },
  { key: "model", word: "Model", of: (row) => modelName(row).toLowerCase() },
  { key: "metric", word: "Key metric", of: (row) => row.metric_value ?? Infinity },
  { key: "trend", word: "Recent values" },
  { key: "score", word: "Degradation", isFalling: true, of: (row) => (row.drift_score_known ? -row.drift_score : Infinity) },
  { key: "age", word: "Last evaluation", of: (row) => row.evaluation_date ?? "" },
  { key: "alerts", word: "Alerts", isFalling: true, of: (row) => -row.n_open_alerts },
  { key: "open", word: "Under way" },
];

export const fleet = {
  title: "Fleet",
  request: (query) => ["/views/fleet", { cursor: query.get("cursor") }],
  render(data, page) {
    if (data.models.length === 0 && !page.query.has("cursor")) {
      return [h("h1", null, "Fleet"), empty("No model yet", "Record an evaluation, or register a model, and it is shown here.")];
    }
    const body = h("tbody");
    const told = h("p", { class: "tally", role: "status" });
    const state = { text: page.query.get("text") ?? "", type: page.query.get("type") ?? "", verdict: page.query.get("verdict") ?? "", sort: page.query.get("sort") ?? "verdict" };
    const heads = h("tr");
    const draw = () => {
      const rows = sorted(data.models.filter((row) => fits(row, state)), state.sort);
      body.replaceChildren(...rows.map(line));
      told.replaceChildren(h("strong", { "data-number": "shown" }, count(rows.length)), ` of ${count(data.models.length)} models${data.next_cursor || page.query.has("cursor") ? " on this page" : ""}`);
      heads.replaceChildren(...COLUMNS.map((column) => head(column, state, change)));
    };
    const change = (changes) => {
      Object.assign(state, changes);
      draw();
      keep(state);
    };
    draw();
    return [h("div", { class: "heading" }, h("h1", null, "Fleet")), tiles(data.models, state, change), controls(data.models, state, change), told,
      h("table", { class: "fleet" }, h("caption", { class: "unseen" }, "Every model"), h("thead", null, heads), body),
      pages(page, data.next_cursor, "Show further models")];
  },
};

// In the address, so that it can be sent on and survives a refresh, without asking again.
function keep(state) {
  const query = new URLSearchParams(location.hash.split("?")[1] ?? "");
  for (const [key, value] of Object.entries(state)) {
    value === "" || (key === "sort" && value === "verdict") ? query.delete(key) : query.set(key, value);
  }
  history.replaceState(null, "", `#/fleet${query.size ? `?${query}` : ""}`);
}

const fits = (row, { text, type, verdict }) =>
  (text === "" || modelName(row).toLowerCase().includes(text.toLowerCase())) && (type === "" || row.model_type === type) && (verdict === "" || row.verdict === verdict);

function sorted(rows, key) {
  const of = COLUMNS.find((column) => column.key === key)?.of ?? COLUMNS[0].of;
  const keyed = rows.map((row) => [of(row), row.drift_score, row]);
  keyed.sort(([a, x], [b, y]) => (a < b ? -1 : a > b ? 1 : y - x));
  return keyed.map(([, , row]) => row);
}

function head(column, state, change) {
  if (!column.of) {
    return h("th", { scope: "col" }, column.word);
  }
  const isChosen = state.sort === column.key;
  return h("th", { scope: "col", "aria-sort": isChosen ? (column.isFalling ? "descending" : "ascending") : null },
    h("button", { type: "button", class: "sort", "data-focus": `sort ${column.key}`, onclick: () => change({ sort: column.key }) }, column.word, isChosen && h("span", { "aria-hidden": "true" }, " ▾")));
}

function tiles(models, state, change) {
  const box = h("div", { class: "tiles", role: "group", "aria-label": "Models by verdict" });
  const draw = () => box.replaceChildren(...VERDICTS.map((verdict) => {
    const n = models.filter((row) => row.verdict === verdict).length;
    return h("button", { type: "button", class: `tile ${n ? "" : "none"}`, "aria-pressed": String(state.verdict === verdict), "data-tile": verdict, "data-focus": `tile ${verdict}`,
      onclick: () => { change({ verdict: state.verdict === verdict ? "" : verdict }); draw(); box.querySelector(`[data-tile="${verdict}"]`).focus(); } },
    h("strong", null, count(n)), badge(verdict));
  }));
  draw();
  return box;
}

function controls(models, state, change) {
  const types = [...new Set([...models.map((row) => row.model_type), ...(state.type ? [state.type] : [])])].sort();
  return h("p", { class: "controls" },
    h("input", { type: "search", value: state.text, placeholder: "Machine or model type", "aria-label": "Search models", "data-focus": "search", oninput: (event) => change({ text: event.target.value }) }),
    types.length > 1 && h("select", { "aria-label": "Model type", "data-focus": "type", onchange: (event) => change({ type: event.target.value }) },
      h("option", { value: "" }, "All model types"), types.map((type) => h("option", { value: type, selected: type === state.type }, type))));
}

function line(row) {
  const cell = (key, ...children) => h("td", { "data-label": COLUMNS.find((column) => column.key === key).word, class: `cell-${key}` }, ...children);
  return h("tr", { "data-machine": row.machine_id, "data-type": row.model_type },
    cell("verdict", badge(row.verdict)),
    cell("model", link("model", row, h("b", null, machineName(row))), h("span", { class: "muted" }, ` ${row.model_type} · v${row.version_label ?? row.model_version}`)),
    cell("metric", row.metric === null ? h("span", { class: "muted" }, "–") : [h("span", { class: "muted" }, `${metricName(row.metric)} `), h("b", null, number(row.metric_value))]),
    cell("trend", sparkline(row.recent_values, `${metricName(row.metric)}: the newest ${row.recent_values.length} values, ${row.recent_values.map((value) => number(value, 3)).slice(-5).join(", ")} last`)),
    cell("score", row.drift_score_known ? percent(row.drift_score, 2) : h("span", { class: "muted" }, "unknown")),
    cell("age", row.evaluation_date === null ? h("span", { class: "muted" }, "never") : ago(row.evaluation_date)),
    cell("alerts", row.n_open_alerts ? [badge(row.worst_severity), ` ${count(row.n_open_alerts)}`] : h("span", { class: "muted" }, "none")),
    cell("open", row.test_id && h("a", { href: `#/test?id=${row.test_id}`, title: row.test_name }, "test"), row.test_id && row.training_job_id && ", ",
      row.training_job_id && link("training", row, `training ${stateWord(row.training_status).toLowerCase()}`), !row.test_id && !row.training_job_id && h("span", { class: "muted" }, "–")));
}
