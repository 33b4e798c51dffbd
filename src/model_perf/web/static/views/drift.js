// Has the input changed, in which columns, how far; and has the performance.

import { timeChart } from "../chart.js";
import { details, h, table } from "../dom.js";
import { ago, count, day, minute, number, percent, plain, pvalue, signed, things, time } from "../format.js";
import { badge, interval, pairedHistogram, stateWord } from "../marks.js";
import { metricChecks } from "./checks.js";
import { empty, facts, ofModel, slotHeading } from "./parts.js";

const FIRST = 30;
const WINDOWS = 500; // as the API sends at most
const QUESTIONS = { type: "another kind of values", absent: "the column is absent", distribution: "distribution (PSI)", missing: "missing values", out_of_range: "out of range", unseen: "names never seen" };

export const drift = ofModel({
  title: "Drift", path: "/views/drift",
  parameters: (query) => ({ model_type: query.get("model_type"), machine_id: query.get("machine_id"), days: query.get("days") ?? 365 }),
  render(view, page) {
    const { check } = view;
    const data = check?.data ?? null;
    const heading = slotHeading("drift", view, h("p", { class: "buttons" }, badge(data?.verdict ?? "insufficient_data")));
    return [heading,
      h("section", { class: "panel" }, h("h2", null, "Input"), data === null
        ? empty("The input was never checked", "Keep a reference with set_reference(), and judge windows of data with check_data_drift(): what they find is shown here.")
        : input(view, data, page)),
      view.alarm.length > 0 && h("section", { class: "panel" }, h("h2", null, "Alarm over time"), alarm(view)),
      check && h("section", { class: "panel" }, h("h2", null, "Performance"), h("p", { class: "lead" }, badge(check.verdict), " ", check.recommendation, check.window_end && [" Judged was the evaluation until ", time(check.window_end), "."]), metricChecks(check))];
  },
});

function input(view, data, page) {
  const window = data.window_end && [data.window_start ? `${minute(data.window_start)} to ` : "until ", minute(data.window_end)];
  const box = h("div");
  const draw = (n) => box.replaceChildren(
    h("ol", { class: "columns" }, data.columns.slice(0, n).map((column) => row(view, column, view.histograms.find((each) => each.column === column.column)))),
    ...(data.columns.length > n ? [h("p", { class: "buttons" }, h("button", { type: "button", onclick: () => draw(data.columns.length) }, `Show all ${count(data.columns.length)} columns`))] : []));
  draw(FIRST);
  return [h("p", { class: "lead" }, h("strong", { "data-number": "headline" }, data.headline), "."),
    facts([["Window", window, [ago(data.window_end)]], ["Rows", count(data.n_current), `reference ${count(data.n_reference)}`],
      ["Alarm", plain(data.alarm_value), `an alert opens at ${plain(data.alarm_limit)}`],
      data.added_columns.length > 0 && ["New columns", count(data.added_columns.length), data.added_columns.slice(0, 5).join(", ")]]),
    h("p", { class: "legend-line" }, h("span", { class: "swatch of-reference", "aria-hidden": "true" }), " reference ", h("span", { class: "swatch of-current", "aria-hidden": "true" }), " this window"),
    box,
    details("all checks", "Show as table", () => table("Every check of every column", ["Column", "Check", "Verdict", "Value", "Effect", "Interval", "Threshold", "p", "Why"],
      data.columns.flatMap((column) => column.checks.map((each) => [column.column, QUESTIONS[each.name], stateWord(each.verdict), number(each.statistic), number(each.effect_size), each.confidence_interval ? `${number(each.confidence_interval.low, 3)} to ${number(each.confidence_interval.high, 3)}` : "–", number(each.threshold), pvalue(each.pvalue), each.reason])), { numeric: [3, 4, 6, 7] }))];
}

const share = (column, name) => column.checks.find((each) => each.name === name)?.statistic ?? null;

function row(view, column, drawn) {
  const first = column.checks[0];
  const shares = [["missing", share(column, "missing")], ["unseen", share(column, "unseen")], ["out of range", share(column, "out_of_range")]].filter(([, value]) => value !== null);
  return h("li", { class: "column", "data-column": column.column },
    h("div", { class: "column-name" }, h("b", null, column.column), h("span", { class: "muted" }, ` ${column.kind ?? "empty"}`), h("div", null, badge(column.verdict))),
    drawn ? h("div", null, pairedHistogram(drawn, describe(column, drawn)), details(`cells ${column.column}`, "Show as table", () => cells(column, drawn))) : h("span", { class: "muted" }, view.histograms.length < 100 ? "no histogram" : "no histogram: kept of the first 100 columns only"),
    first && first.effect_size !== null && first.threshold ? h("div", null, h("div", { class: "muted" }, `${QUESTIONS[first.name]}: `, h("b", { "data-number": "effect" }, size(first, first.effect_size)), `${first.name === "distribution" ? " beyond chance" : " of the rows"}; counts from ${size(first, first.threshold)}`), effect(first)) : h("span"),
    h("div", { class: "column-why" }, column.reason, shares.length > 0 && h("div", { class: "muted" }, shares.map(([word, value], place) => `${place ? " · " : ""}${percent(value, 2)} ${word}`))));
}

const size = (check, value) => (check.name === "distribution" ? number(value, 3) : `${signed(value, (share) => percent(share, 2))}`);

function effect(check) {
  const interval_ = check.confidence_interval;
  const values = [0, check.effect_size, check.threshold, interval_?.low, interval_?.high].filter(Number.isFinite);
  const to = Math.min(Math.max(...values), 8 * check.threshold) * 1.05;
  return interval({ value: check.effect_size, low: interval_?.low ?? null, high: interval_?.high ?? null, from: Math.min(0, ...values), to, marks: [{ at: check.threshold, text: size(check, check.threshold) }],
    label: `Effect ${size(check, check.effect_size)}, threshold ${size(check, check.threshold)}` });
}

const write = (column) => (column.kind === "datetime" ? (value) => day(value / 1000) : (value) => number(value, 3));

function cellNames({ names, edges }, column) {
  const show = write(column);
  return names ?? edges.slice(0, -1).map((edge, place) => (place === 0 ? `up to ${show(edges[1])}` : place === edges.length - 2 ? `above ${show(edge)}` : `${show(edge)} to ${show(edges[place + 1])}`));
}

function shareOf(counts) {
  const total = counts.reduce((sum, each) => sum + each, 0);
  return counts.map((each) => (total ? each / total : null));
}

function describe(column, drawn) {
  const [old, recent] = [shareOf(drawn.reference), shareOf(drawn.current)];
  const names = cellNames(drawn, column);
  const most = old.map((each, place) => Math.abs((recent[place] ?? 0) - (each ?? 0))).reduce((best, each, place, all) => (each > all[best] ? place : best), 0);
  return `${column.column}: the share that changed most is ${names[most]}, ${percent(old[most], 2)} in the reference and ${percent(recent[most], 2)} in this window`;
}

function cells(column, drawn) {
  const [old, recent] = [shareOf(drawn.reference), shareOf(drawn.current)];
  return table(`Distribution of ${column.column}`, ["Values", "Reference", "Share", "Window", "Share"], cellNames(drawn, column).map((name, place) =>
    [name, count(drawn.reference[place]), percent(old[place], 2), count(drawn.current[place]), percent(recent[place], 2)]), { numeric: [1, 2, 3, 4] });
}

function alarm({ alarm: points }) {
  const last = points.at(-1);
  const [lowest, highest] = [0.1, 100 * last.alarm_limit]; // of the picture; the table has what it was
  return timeChart({
    title: "Alarm of the input", isLog: true, height: 200,
    summary: `${points.length < WINDOWS ? things(points.length, "window") : `The newest ${WINDOWS} windows`}; the alarm stands at ${plain(last.alarm_value)}, and opens an alert at ${plain(last.alarm_limit)}. While nothing changes it grows by 1 a window on average.`,
    series: [{ label: points.some((each) => each.alarm_value > highest) ? `alarm (drawn up to ${count(highest)})` : "alarm", points: points.map((each) => [new Date(each.window_end).getTime() / 1000, Math.min(highest, Math.max(lowest, each.alarm_value))]), isStep: true }],
    levels: [{ at: last.alarm_limit, colour: "critical", dash: [2, 3] }], include: [last.alarm_limit, 1],
    keys: [{ colour: "critical", label: "an alert opens", dash: [2, 3] }],
    table: { heads: ["Window end", "Version", "Verdict", "Columns drifted", "Alarm"], numeric: [1, 3, 4],
      rows: () => points.map((each) => [time(each.window_end), each.model_version, stateWord(each.verdict), `${each.n_drifted} of ${each.n_columns}`, number(each.alarm_value)]) },
  });
}
