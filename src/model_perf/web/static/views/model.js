// One model over time: where its metric went, against what it is judged, and what happened meanwhile.

import { timeChart } from "../chart.js";
import { h, table } from "../dom.js";
import { ago, count, day, entry, metricName, minute, modelName, number, percent, pvalue, signed, things, time, words } from "../format.js";
import { badge, stateWord } from "../marks.js";
import { metricChecks } from "./checks.js";
import { empty, facts, link, ofModel, retrain, slotHeading, slotOf } from "./parts.js";

const PERIODS = [["7", "7 days"], ["30", "30 days"], ["90", "90 days"], ["365", "1 year"], ["3650", "10 years"]];
const TOWARDS = { degrading: "getting worse", improving: "getting better", stable: "too little to matter" };
const seconds = (moment) => new Date(moment).getTime() / 1000;
const FIXED = ["r_squared", "rmse", "mae", "mape", "precision", "recall", "f1_score"];
const valueOf = (point, metric) => (FIXED.includes(metric) ? point[metric] : entry(point.further_metrics, metric));
const isSame = (point) => (check) => check.model_id === point.model_id && check.model_version === point.model_version;
const [ALERTS, RUNS, TESTS, HAPPENINGS, MARKS] = [100, 20, 20, 50, 12]; // the first three as the API sends at most
const atMost = (found, most) => `${count(found.length)}${found.length < most ? "" : " or more"}`;

export const model = ofModel({
  title: "Model", path: "/views/model",
  parameters: (query) => ({ model_type: query.get("model_type"), machine_id: query.get("machine_id"), days: query.get("days") ?? 90, metric: query.get("metric") }),
  poll: (data) => (data.runs.some((run) => ["pending", "running"].includes(run.training_status)) ? 5 : 30),
  render(data, page) {
    const { summary, trend } = data;
    const name = modelName(summary);
    const newest = newestOf(data);
    const heading = slotHeading("model", summary, h("p", { class: "buttons" }, openAlerts(data), badge(newest?.verdict ?? "insufficient_data"),
      !page.isReadOnly && h("button", { type: "button", "data-act": "Retrain", "data-focus": "retrain", onclick: () => retrain(page, slotOf(summary), name) }, "Retrain")));
    if (!summary.has_model) {
      return [heading, empty("Not known", "No model of this type is known for this machine.", link("fleet", summary, "All models"))];
    }
    const check = newest && data.checks.find((each) => each.model_id === newest.id && each.model_version === newest.version);
    const isJudged = newest?.verdict !== "not_judged"; // else what was found is of an earlier evaluation
    return [heading, newest && h("p", { class: "lead" }, leadOf(newest, check, isJudged)), controls(data, page), headline(data, isJudged ? check : null),
      trend.metrics.length === 0 ? empty("No evaluation in this period", "Choose a longer period, or record evaluations.") : picture(data, name),
      check && h("section", { class: "panel" }, h("h2", null, isJudged ? "How the newest evaluation was judged" : "How an earlier evaluation was judged"),
        !isJudged && h("p", { class: "lead" }, badge(check.verdict), " ", check.recommendation, check.window_end && [" The evaluation until ", time(check.window_end), "; newer ones were not judged."]), metricChecks(check)),
      happenings(data), versions(data)];
  },
});

// The version evaluated last, as the fleet has it.
function newestOf({ summary, trend }) {
  const last = trend.metrics.at(-1);
  const evaluated = summary.versions.filter((each) => each.evaluation_date !== null).sort((a, b) => new Date(b.evaluation_date) - new Date(a.evaluation_date));
  return evaluated.find((each) => last && each.id === last.model_id && each.version === last.model_version) ?? evaluated[0] ?? null;
}

function leadOf(newest, check, isJudged) {
  const said = !isJudged ? "its newest evaluation was not judged." : check ? check.recommendation : "no verdict is kept.";
  return `Version ${newest.version}: ${said}`;
}

// The verdict is that of the version evaluated last; an alert may be of another one.
function openAlerts({ alerts, summary }) {
  const open = alerts.filter((alert) => !alert.is_resolved);
  const worst = ["critical", "warning", "info"].find((severity) => open.some((alert) => alert.severity === severity));
  return open.length > 0 && link("alerts", summary, badge(worst), ` ${atMost(open, ALERTS)} open ${open.length === 1 ? "alert" : "alerts"}`);
}

const metricsIn = (points) => [...new Set(points.flatMap((point) => [...FIXED.filter((name) => point[name] !== null), ...Object.keys(point.further_metrics)]))];

function controls({ trend }, page) {
  const names = metricsIn(trend.metrics);
  const days = page.query.get("days") ?? "90";
  return h("p", { class: "controls" },
    names.length > 0 && h("label", null, "Metric ", h("select", { "data-focus": "metric", onchange: (event) => page.go({ metric: event.target.value }) },
      !names.includes(trend.metric) && h("option", { value: "", selected: true }, "Choose …"),
      names.map((name) => h("option", { value: name, selected: name === trend.metric }, metricName(name))))),
    h("label", null, "Period ", h("select", { "data-focus": "days", onchange: (event) => page.go({ days: event.target.value }) },
      (PERIODS.some(([key]) => key === days) ? PERIODS : [[days, `${days} days`], ...PERIODS]).map(([key, word]) => h("option", { value: key, selected: key === days }, word)))));
}

function headline({ trend, summary }, check) {
  const newest = trend.metrics.at(-1);
  const own = check?.metrics.find((each) => each.metric === trend.metric);
  const rate = trend.degradation_rate;
  return facts([
    [`Latest ${trend.metric === null ? "value" : metricName(trend.metric)}`, number(newest ? valueOf(newest, trend.metric) : null), own && own.baseline_value !== null && `baseline ${number(own.baseline_value)}`],
    ["Degradation", own && own.degradation !== null ? signed(own.degradation, (value) => percent(value, 2)) : "–", own && own.threshold_value !== null && `critical ${beyond(own)}`],
    ["Trend", badge(trend.trend_direction), trend.pvalue !== null && `p ${pvalue(trend.pvalue)}, ${things(trend.n_evaluations, "evaluation")}`],
    ["Change", rate === null ? "–" : `${signed(rate, (value) => number(value, 3))}% a day`, rate !== null && (TOWARDS[trend.trend_direction] ?? "not told from chance; + is worse")],
    trend.days_to_threshold !== null && ["Threshold in", `${number(trend.days_to_threshold, 2)} days`, "if it goes on like this"],
    ["Evaluations", count(trend.metrics.length), newest && ["last ", ago(newest.evaluation_date)]],
    ["In service", summary.model_version === null ? "–" : `v${summary.model_version}`, summary.versions.find((each) => each.is_active)?.version_label],
  ]);
}

const beyond = (check) => `${check.direction === "higher_is_better" ? "below" : "above"} ${number(check.threshold_value)}`;

function picture(data, name) {
  const { trend, checks } = data;
  const drawn = byVersion(data).map(([version, points]) => [version, points.filter((point) => valueOf(point, trend.metric) !== null)]).filter(([, points]) => points.length > 0);
  if (drawn.length === 0) {
    return empty("No value of this metric", "The evaluations of this period have others: choose one above.");
  }
  const series = drawn.map(([version, points]) => ({ label: version, points: points.map((point) => [seconds(point.evaluation_end), valueOf(point, trend.metric)]) }));
  const judged = drawn.flatMap(([version, points]) => {
    const own = checks.find(isSame(points[0]))?.metrics.find((each) => each.metric === trend.metric);
    return own ? [{ version, own, from: seconds(points[0].evaluation_end), to: seconds(points.at(-1).evaluation_end) }] : [];
  });
  const levels = judged.flatMap(({ own, from, to }) => [
    own.baseline_value !== null && { at: own.baseline_value, from, to, colour: "muted", dash: [4, 3] },
    own.threshold_value !== null && { at: own.threshold_value, from, to, colour: "critical", dash: [2, 3] },
  ].filter(Boolean));
  const last = drawn.find(([, points]) => isSame(trend.metrics.at(-1))(points[0]));
  const newest = judged.find(({ own, version }) => own.threshold_value !== null && version === last?.[0]);
  const line = trendLine(trend, last?.[1] ?? []);
  const marks = annotations(data, drawn);
  return h("section", { class: "panel" }, timeChart({
    title: `${metricName(trend.metric)} of ${name}`, summary: summaryOf(data, drawn, newest),
    series, levels: [...levels, ...line.levels], areas: line.areas, marks, include: levels.map((level) => level.at),
    bands: judged.filter(({ own }) => own.threshold_value !== null)
      .map(({ own, from, to }) => ({ at: own.threshold_value, from, to, side: own.direction === "higher_is_better" ? "below" : "above" })),
    keys: [judged.some(({ own }) => own.baseline_value !== null) && { colour: "muted", label: "baseline", dash: [4, 3] },
      newest && { colour: "critical", label: "critical beyond", dash: [2, 3] }, line.levels.length > 0 && { colour: "trend", label: "trend with its interval", dash: [6, 3] }].filter(Boolean),
    table: { heads: ["Window end", "Version", metricName(trend.metric), "Verdict", "Degradation", "Samples"], numeric: [1, 2, 4, 5],
      rows: () => trend.metrics.map((point) => [time(point.evaluation_end), versionName(data, point).slice(1), number(valueOf(point, trend.metric), 6), stateWord(point.verdict),
        point.drift_score_known ? percent(point.drift_score, 3) : "unknown", point.sample_count_known ? count(point.sample_count) : "unknown"]) },
  }));
}

// A host may give each new model an id of its own: then a number alone does not tell them apart.
function versionName({ summary }, { model_id, model_version }) {
  const isAlone = summary.versions.every((each) => each.version !== model_version || each.id === model_id);
  return `v${model_version}${isAlone ? "" : ` of ${model_id}`}`;
}

function byVersion(data) {
  const found = new Map();
  for (const point of data.trend.metrics) {
    const name = versionName(data, point);
    found.has(name) ? found.get(name).push(point) : found.set(name, [point]);
  }
  return [...found];
}

const median = (values) => {
  const ordered = [...values].sort((a, b) => a - b);
  const middle = ordered.length >> 1;
  return ordered.length % 2 ? ordered[middle] : (ordered[middle - 1] + ordered[middle]) / 2;
};

// Theil and Sen's line through the medians, turned about the middle of the period by the slope's interval.
function trendLine(trend, own) {
  if (trend.slope_per_day === null || own.length < 3) {
    return { levels: [], areas: [] };
  }
  const days = own.map((point) => seconds(point.evaluation_end) / 86400);
  const level = median(own.map((point, place) => valueOf(point, trend.metric) - trend.slope_per_day * days[place]));
  const middle = median(days);
  const at = (x, slope) => level + trend.slope_per_day * middle + slope * (x - middle);
  const ends = [days[0], days.at(-1)];
  const edge = (slopes, pick) => [ends[0], middle, ends[1]].map((x) => [x * 86400, pick(...slopes.map((slope) => at(x, slope)))]);
  const { low, high } = trend.slope_interval ?? { low: trend.slope_per_day, high: trend.slope_per_day };
  return {
    levels: [{ at: at(ends[0], trend.slope_per_day), to_at: at(ends[1], trend.slope_per_day), from: ends[0] * 86400, to: ends[1] * 86400, colour: "trend", dash: [6, 3] }],
    areas: [{ low: edge([low, high], Math.min), high: edge([low, high], Math.max), colour: "fan" }],
  };
}

function annotations({ trend, alerts, runs }, drawn) {
  const inside = (moment) => moment !== null && new Date(moment) >= new Date(trend.since);
  const versions = drawn.slice(1).map(([version, points]) => ({ t: seconds(points[0].evaluation_end), text: version.slice(0, 16), colour: "muted" }));
  const opened = newestFirst(alerts, "alert_timestamp").filter((alert) => inside(alert.alert_timestamp)).slice(0, MARKS).map((alert) => ({ t: seconds(alert.alert_timestamp), text: `${alert.severity} alert`, colour: alert.severity === "info" ? "muted" : alert.severity, row: 1 }));
  const trained = runs.filter((run) => run.training_status === "completed" && inside(run.training_end)).slice(0, MARKS).map((run) => ({ t: seconds(run.training_end), text: "retrained", colour: "accent", row: 2 }));
  const changed = trend.change_point?.significant ? [{ t: seconds(trend.change_point.evaluation_date), text: "level changed", colour: "trend", row: 3 }] : [];
  return [...versions, ...opened, ...trained, ...changed];
}

const newestFirst = (rows, key) => [...rows].sort((a, b) => new Date(b[key]) - new Date(a[key]));

function summaryOf({ trend, alerts }, drawn, newest) {
  const n = drawn.reduce((sum, [, points]) => sum + points.length, 0);
  const points = drawn.flatMap(([, each]) => each);
  const within = newest ? ` Critical ${beyond(newest.own)}.` : "";
  return `${things(n, "evaluation")} of ${things(drawn.length, "version")}, ${day(points[0].evaluation_end)} to ${day(points.at(-1).evaluation_end)}; the last is ${number(valueOf(trend.metrics.at(-1), trend.metric))}.${within} `
    + `${stateWord(trend.trend_direction)}: ${trend.trend_reason}. ${atMost(alerts, ALERTS)} ${alerts.length === 1 ? "alert" : "alerts"}${alerts.length > MARKS ? `, of which at most ${MARKS} are marked` : ""}.`;
}

function happenings({ alerts, runs, tests }) {
  const all = [
    ...alerts.map((alert) => [alert.alert_timestamp, [badge(alert.severity), " ", words(alert.alert_type)], alert.alert_message, alert.is_resolved ? `resolved: ${words(alert.resolution)}${alert.resolved_by ? ` by ${alert.resolved_by}` : ""}` : "open"]),
    ...runs.map((run) => [run.created_at, [badge(run.training_status), " Training"], run.reason ?? words(run.trigger_type), run.performance_improvement === null ? "–" : `${signed(run.performance_improvement, (value) => percent(value, 2))} improvement`]),
    ...tests.map((test) => [test.test_start, [badge(test.test_status), " ", h("a", { href: `#/test?id=${test.id}` }, "A/B test")], test.test_name, test.decision ? stateWord(test.decision) : "–"]),
  ].sort(([a], [b]) => new Date(b) - new Date(a));
  const rows = all.slice(0, HAPPENINGS);
  const isCut = all.length > HAPPENINGS || alerts.length >= ALERTS || runs.length >= RUNS || tests.length >= TESTS;
  return rows.length > 0 && h("section", { class: "panel" }, h("h2", null, "What happened"),
    table("What happened", ["When", "What", "Why", "Outcome"], rows.map(([moment, ...rest]) => [time(moment), ...rest])),
    isCut && h("p", { class: "muted" }, `Not all of it: the newest ${HAPPENINGS} of up to ${ALERTS} alerts, ${RUNS} training runs and ${TESTS} tests.`));
}

function versions({ summary }) {
  return h("section", { class: "panel" }, h("h2", null, "Versions"), table("Versions", ["Version", "Label", "Verdict", "R²", "RMSE", "Last evaluation", "Trained on", "First seen"],
    summary.versions.map((each) => [[versionName({ summary }, { model_id: each.id, model_version: each.version }), each.is_active && h("span", { class: "tag" }, "in service")], each.version_label ?? "–", badge(each.verdict), number(each.r_squared), number(each.rmse),
      each.evaluation_date === null ? "never" : minute(each.evaluation_date), each.training_samples === null ? "–" : `${count(each.training_samples)} rows`, day(each.created_at)]), { numeric: [3, 4] }));
}
