// A/B tests: how many were counted and whether the split is right, then the effect, then the decision.

import * as api from "../api.js";
import { timeChart } from "../chart.js";
import { ask } from "../dialog.js";
import { h, table } from "../dom.js";
import { ago, count, entry, metricName, minute, modelName, number, percent, pvalue, signed, time, words } from "../format.js";
import { badge, interval, stateWord } from "../marks.js";
import { empty, facts, filters, hasSlot, link, nothing, once, pages, slotField } from "./parts.js";

const LOOKS = 200; // as the API sends at most

export const tests = {
  title: "A/B tests",
  request: (query) => ["/views/ab-tests", Object.fromEntries(query)],
  poll: (data) => (data.tests.some((each) => each.test_status === "running") ? 15 : 30),
  render(data, page) {
    const start = !page.isReadOnly && h("button", { type: "button", class: "primary", "data-act": "Start a test", "data-focus": "start", onclick: () => startTest(page) }, "Start a test");
    return [h("div", { class: "heading" }, h("h1", null, "A/B tests"), filters(page, "tests", data.tests[0]), h("p", { class: "buttons" }, start)),
      data.tests.length === 0 ? empty(nothing(page, "test"), "Compare a new version with the one in service: start a test, and tell it what both come to.")
        : h("section", { class: "panel" }, table("A/B tests", ["Test", "Model", "State", "Versions", "Metric", "Decision", "Started", "Ends or ended"], data.tests.map((each) => [
          h("a", { href: `#/test?id=${each.id}` }, each.test_name), link("model", each, modelName(each)), badge(each.test_status), `v${each.model_a_version} and v${each.model_b_version}`,
          metricName(each.metric), each.decision ? badge(each.decision) : h("span", { class: "muted" }, "–"), minute(each.test_start), minute(each.decided_at ?? each.test_end)]))),
      pages(page, data.next_cursor, "Show further tests")];
  },
};

const startTest = once(async (page) => {
  const versions = [["", "Choose the model first"]];
  const arm = (letter, label) => ({ name: `model_${letter}`, label, kind: "select", options: versions, isAskedFor: true });
  let slot;
  try {
    slot = await slotField((event) => event.target.value && offer(page, JSON.parse(event.target.value)));
  } catch (error) {
    page.say(error.message);
    return;
  }
  if (hasSlot(page.query)) {
    slot.value = JSON.stringify({ model_type: page.query.get("model_type"), machine_id: page.query.get("machine_id") });
    setTimeout(() => offer(page, JSON.parse(slot.value)));
  }
  const answer = await ask({
    title: "Start a test", confirm: "Start the test",
    text: "Only one test runs for a model at a time. Equal versions are told apart in 5% of tests at most, however often you look.",
    fields: [{ name: "test_name", label: "Name", isAskedFor: true, maxlength: 200 }, slot, arm("a", "a, the one in service"), arm("b", "b, the new one"),
      { name: "metric", label: "Metric", hint: "Empty: the primary metric of both." },
      { name: "direction", label: "Better is", kind: "select", value: "", options: [["", "as the policy knows the metric"], ["lower", "lower"], ["higher", "higher"]] }, { name: "duration_hours", label: "Hours", kind: "number", value: "168", min: "0.001", step: "any", isAskedFor: true },
      { name: "traffic_split", label: "Share of b", kind: "number", value: "0.5", min: "0.001", max: "0.999", step: "any", isAskedFor: true },
      { name: "planned_n", label: "Planned observations", kind: "number", min: "2", step: "1" }],
    act: ({ slot: chosen, model_a, model_b, ...rest }) => api.post("/ab-test/start", { ...JSON.parse(chosen), ...armOf("a", model_a), ...armOf("b", model_b), ...rest }),
  });
  if (answer) {
    page.say("The test has started.");
    location.hash = `#/test?id=${answer.test_id}`;
  }
});

function armOf(letter, text) {
  const [id, version] = text.split(" ");
  return { [`model_${letter}_id`]: id, [`model_${letter}_version`]: version };
}

async function offer(page, slot) {
  let summary;
  try {
    summary = await api.get("/summary", slot);
  } catch (error) {
    page.say(error.message);
    return;
  }
  if (document.getElementById("field-slot")?.value !== JSON.stringify(slot)) {
    return; // another model was chosen meanwhile
  }
  const options = (isFirst) => summary.versions.map((each) => h("option", { value: `${each.id} ${each.version}`, selected: each.is_active === isFirst }, `v${each.version}${each.version_label ? ` (${each.version_label})` : ""}${each.is_active ? ", in service" : ""}`));
  document.getElementById("field-model_a")?.replaceChildren(...options(true));
  document.getElementById("field-model_b")?.replaceChildren(...options(false));
}

export const test = {
  title: "A/B test",
  request: (query) => [`/views/ab-tests/${encodeURIComponent(query.get("id") ?? "")}`, {}],
  poll: ({ test: each }) => (each.test_status === "running" ? 10 : 60),
  render({ test: each, result }, page) {
    const isOver = each.test_status !== "running";
    return [
      h("div", { class: "heading" }, h("h1", null, h("span", null, each.test_name), h("small", null, link("model", each, modelName(each)))),
        h("p", { class: "also" }, h("a", { href: "#/tests" }, "All tests")),
        h("p", { class: "buttons" }, badge(each.test_status), !isOver && !page.isReadOnly && h("button", { type: "button", "data-act": "Conclude", "data-focus": "conclude", onclick: () => conclude(each, result, page) }, "Conclude now"))),
      h("p", { class: "lead" }, badge(result.decision), " ", h("span", { "data-fact": "recommendation" }, result.recommendation)),
      counts(each, result), effect(each, result), result.looks.length > 0 && h("section", { class: "panel" }, looks(each, result)),
      means(each, result), result.notes.length > 0 && h("section", { class: "panel" }, h("h2", null, "What it assumes"), h("ul", { class: "notes" }, result.notes.map((note) => h("li", null, note)))),
    ];
  },
};

function counts(each, result) {
  const isObserved = result.source === "observations";
  const [a, b] = isObserved ? [result.n_a, result.n_b] : [result.n_evaluations_a, result.n_evaluations_b];
  const ratio = result.sample_ratio_pvalue;
  return h("section", { class: "panel" }, h("h2", null, "Counts and split"), facts([
    [`a: v${each.model_a_version}`, count(a), isObserved ? "observations" : "evaluations"], [`b: v${each.model_b_version}`, count(b), isObserved ? "observations" : "evaluations"],
    !isObserved && ["Common windows", count(result.n_windows)],
    ["Share of b", a + b ? percent(b / (a + b), 3) : "–", `planned ${percent(each.traffic_split, 3)}`],
    isObserved && ["Split", ratio === null ? badge("insufficient_data") : badge(ratio < 0.001 ? "invalid" : "ok"), ratio !== null && `p ${pvalue(ratio)}; invalid below 0.001`],
    ["Started", time(each.test_start), each.created_by && `by ${each.created_by}`], [each.decided_at ? "Decided" : "Ends", each.decided_at ? time(each.decided_at) : ago(each.test_end), each.decided_by ? `by ${each.decided_by}` : minute(each.test_end)]]));
}

function effect(each, result) {
  const range = result.confidence_interval;
  const values = [0, result.effect, range?.low, range?.high].filter(Number.isFinite);
  const room = (Math.max(...values) - Math.min(...values) || 1) * 0.1;
  return h("section", { class: "panel" }, h("h2", null, "Effect"), result.effect === null ? h("p", { class: "muted" }, `Not known yet: ${result.reason}.`) : [
    facts([[`b − a in ${metricName(result.metric)}`, signed(result.effect), range ? `between ${number(range.low)} and ${number(range.high)}` : "without an interval yet"],
      ["p", pvalue(result.pvalue), result.source === "observations" ? "valid however often you look" : "decides once, at the end"], ["Confidence", confidence(result), "1 − p; not a probability of being right"]]),
    interval({ value: result.effect, low: range?.low ?? null, high: range?.high ?? null, from: Math.min(...values) - room, to: Math.max(...values) + room, marks: [{ at: 0, text: "no difference" }], label: `Effect ${number(result.effect)}${range ? `, between ${number(range.low)} and ${number(range.high)}` : ""}` })],
  h("p", { class: "muted" }, result.reason));
}

// Zero stands for none where nothing was found; and nothing is certain.
function confidence({ confidence: found, decision, pvalue: p }) {
  return p === null || ["invalid", "insufficient_data"].includes(decision) ? "–" : found > 0.9999 ? "> 99.99%" : percent(found, 4);
}

function looks(each, result) {
  const at = (look) => new Date(look.look_at).getTime() / 1000;
  const known = result.looks.filter((look) => look.effect !== null && look.confidence_interval !== null);
  if (known.length === 0) {
    return h("p", { class: "muted" }, `${count(result.looks.length)} looks so far; none has an interval yet.`);
  }
  const edges = known.flatMap((look) => [look.confidence_interval.low, look.confidence_interval.high]);
  const late = known.slice(Math.min(2, known.length - 1)).flatMap((look) => [look.confidence_interval.low, look.confidence_interval.high]);
  const last = known.at(-1);
  return timeChart({
    title: "Effect over time", height: 240, include: [0, ...(known.length > 4 ? late : edges)],
    summary: `${result.looks.length < LOOKS ? count(result.looks.length) : `The newest ${LOOKS}`} looks. At the last, b − a is ${number(last.effect)}, between ${number(last.confidence_interval.low)} and ${number(last.confidence_interval.high)}: ${stateWord(last.decision).toLowerCase()}.`,
    series: [{ label: "b − a", points: known.map((look) => [at(look), look.effect]) }],
    areas: [{ low: known.map((look) => [at(look), look.confidence_interval.low]), high: known.map((look) => [at(look), look.confidence_interval.high]), colour: "fan" }],
    levels: [{ at: 0, colour: "muted", dash: [4, 3] }], keys: [{ colour: "fan", label: "confidence sequence" }, { colour: "muted", label: "no difference", dash: [4, 3] }],
    table: { heads: ["Look", "n of a", "n of b", "b − a", "From", "To", "p", "Finding"], numeric: [1, 2, 3, 4, 5, 6],
      rows: () => result.looks.map((look) => [time(look.look_at), count(look.n_a), count(look.n_b), number(look.effect), number(look.confidence_interval?.low), number(look.confidence_interval?.high), pvalue(look.pvalue), stateWord(look.decision)]) },
  });
}

function means(each, result) {
  const names = [...new Set([...Object.keys(result.model_a_metrics), ...Object.keys(result.model_b_metrics)])];
  return names.length > 0 && h("section", { class: "panel" }, h("h2", null, "Means"), table("Means of both", ["Metric", `a: v${each.model_a_version}`, `b: v${each.model_b_version}`],
    names.map((name) => [metricName(name), number(entry(result.model_a_metrics, name)), number(entry(result.model_b_metrics, name))]), { numeric: [1, 2] }));
}

async function conclude(each, result, page) {
  const isEarly = result.decision === "undecided" || result.decision === "insufficient_data";
  const answer = await ask({
    title: `Conclude ${each.test_name}`, confirm: "Conclude the test", isGrave: isEarly,
    text: isEarly ? `Nothing is decided yet (${result.reason}): ended now, the test has no winner. It cannot be taken up again.` : `Ends the test with what was found: ${words(result.decision)}. It cannot be taken up again.`,
    act: () => api.post(`/ab-test/${each.id}/conclude`),
  });
  if (answer) {
    page.say("The test is concluded.");
    page.refresh();
  }
}

