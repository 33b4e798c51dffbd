// Training runs, the newest first: why, how long, what came of them, and how far those are that run.

import { details, h, table } from "../dom.js";
import { ago, count, duration, metricName, minute, modelName, now, number, percent, signed, words } from "../format.js";
import { badge, progress } from "../marks.js";
import { empty, filters, hasSlot, link, nothing, pages, retrain } from "./parts.js";

const isOpen = (run) => ["pending", "running"].includes(run.training_status);
const CAUSES = { manual: "by hand", scheduled: "scheduled", drift: "drift of the input", degradation: "degraded performance" };

export const training = {
  title: "Training",
  request: (query) => ["/views/training", Object.fromEntries(query)],
  poll: (data) => (data.runs.some(isOpen) ? 2 : 30),
  render(data, page) {
    const slot = hasSlot(page.query) ? { model_type: page.query.get("model_type"), machine_id: page.query.get("machine_id") } : null;
    const name = slot && data.runs[0] ? modelName(data.runs[0]) : slot && slot.model_type;
    return [h("div", { class: "heading" }, h("h1", null, "Training"), filters(page, "runs", data.runs[0]),
      h("p", { class: "buttons" }, !page.isReadOnly && h("button", { type: "button", class: "primary", "data-act": "Retrain", "data-focus": "retrain", onclick: () => retrain(page, slot, name) }, slot ? "Retrain" : "Retrain a model"))),
    data.runs.length === 0 ? empty(nothing(page, "training run"), "Start one here, or let the policy start one when performance degrades.")
      : h("ol", { class: "runs" }, data.runs.map((run) => line(run, data.notices[run.id]))),
    pages(page, data.next_cursor, "Show earlier runs")];
  },
};

function took(run) {
  if (run.training_start === null) {
    return null;
  }
  const end = run.training_end === null ? now() : new Date(run.training_end).getTime();
  return (end - new Date(run.training_start).getTime()) / 1000;
}

function line(run, notice) {
  const seconds = took(run);
  return h("li", { class: `run ${run.training_status}`, "data-run": run.id },
    h("div", { class: "run-head" }, badge(run.training_status), link("model", run, modelName(run)), run.model_version !== null && h("span", { class: "muted" }, `made version ${run.model_version}`),
      h("span", { class: "muted" }, "opened ", ago(run.created_at))),
    run.training_status === "running" && progress(run.progress, "Progress of the training"),
    run.training_status === "pending" && h("p", { class: "muted waiting", "data-fact": "waiting" }, notice ?? "queued, waits for a free worker"),
    h("p", { class: "meta" }, h("span", null, `cause: ${CAUSES[run.trigger_type]}`), run.triggered_by && h("span", null, `by ${run.triggered_by}`),
      seconds !== null && run.training_end !== null && h("span", { "data-number": "duration" }, `took ${duration(seconds)}`), run.training_end !== null && h("span", null, `ended ${minute(run.training_end)}`),
      run.attempt > 1 && h("span", null, `attempt ${run.attempt} of ${run.max_attempts}`), run.sample_count_known && h("span", null, `${count(run.sample_count)} rows`)),
    run.reason && h("p", { class: "message" }, run.reason),
    run.performance_improvement !== null && h("p", { class: "outcome" }, h("b", { "data-number": "improvement" }, signed(run.performance_improvement, (value) => percent(value, 3))), run.performance_improvement >= 0 ? " better than before" : " worse than before", beforeAndAfter(run)),
    run.error_message && h("p", { class: "problem" }, run.error_message),
    hasMore(run) && details(`run ${run.id}`, "Metrics and settings", () => more(run)));
}

function beforeAndAfter({ validation_metrics: found }) {
  const pairs = Object.keys(found).flatMap((name) => {
    const before = found[`${name}_of_previous_version`] ?? found[`previous_${name}`];
    return typeof before === "number" ? [`${metricName(name)} ${number(before)} → ${number(found[name])}`] : [];
  });
  return pairs.length > 0 && h("span", { class: "muted" }, ` (${pairs.join(", ")})`);
}

const hasMore = (run) => [run.training_metrics, run.validation_metrics, run.hyperparameters].some((each) => Object.keys(each).length > 0) || run.feature_names.length > 0;

function more(run) {
  const show = (value) => (typeof value === "number" ? number(value) : typeof value === "string" ? value : JSON.stringify(value));
  const rows = [["Validation", run.validation_metrics], ["Training", run.training_metrics], ["Setting", run.hyperparameters]].flatMap(([kind, found]) => Object.entries(found).map(([name, value]) => [kind, words(name), show(value)]));
  return [rows.length > 0 && table("Metrics and settings", ["Of", "Name", "Value"], rows, { numeric: [2] }), run.feature_names.length > 0 && h("p", { class: "muted" }, `Features: ${run.feature_names.join(", ")}`)].filter(Boolean).reduce((box, node) => { box.append(node); return box; }, h("div"));
}
