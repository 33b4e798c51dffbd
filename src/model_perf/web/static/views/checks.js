// How the metrics of an evaluation were judged: the same on the pages of a model and of its drift.

import { h, table } from "../dom.js";
import { count, metricName, number, percent, pvalue, signed } from "../format.js";
import { badge, interval } from "../marks.js";

export function metricChecks(check) {
  if (check.metrics.length === 0) {
    return h("p", { class: "muted" }, check.recommendation);
  }
  const shares = check.metrics.flatMap((each) => [each.degradation, each.confidence_interval?.low, each.confidence_interval?.high]).filter(Number.isFinite);
  const [from, to] = [Math.max(-2, Math.min(-0.1, ...shares)), Math.min(5, Math.max(2 * check.threshold, 0.2, ...shares))];
  const draw = (each) => (each.degradation === null ? "–" : h("div", { class: "effect" }, signed(each.degradation, (value) => percent(value, 2)),
    interval({ value: each.degradation, low: each.confidence_interval?.low ?? null, high: each.confidence_interval?.high ?? null, from, to,
      marks: [{ at: 0, text: "0" }, { at: check.threshold, text: percent(check.threshold, 2) }],
      label: `Degradation ${percent(each.degradation, 2)}${each.confidence_interval ? `, interval ${percent(each.confidence_interval.low, 2)} to ${percent(each.confidence_interval.high, 2)}` : ""}; reported from ${percent(check.threshold, 2)}` })));
  return [table("How each metric was judged", ["Metric", "Verdict", "Value", "Baseline", "Critical from", "Degradation", "p (adjusted)", "Baseline of", "Why"],
    check.metrics.map((each) => [metricName(each.metric), badge(each.verdict), number(each.current_value), number(each.baseline_value), number(each.threshold_value), draw(each), pvalue(each.adjusted_pvalue), count(each.n_baseline), h("span", { class: "why" }, each.reason)]),
    { numeric: [2, 3, 4, 6, 7] }),
  check.notes.length > 0 && h("ul", { class: "notes" }, check.notes.map((note) => h("li", null, note)))];
}
