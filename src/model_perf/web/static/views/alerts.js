// The inbox: what is wrong, how long, who looks after it; and the acts that answer it.

import * as api from "../api.js";
import { ask, comment } from "../dialog.js";
import { details, h, table } from "../dom.js";
import { ago, count, minute, modelName, now, number, time, words } from "../format.js";
import { badge } from "../marks.js";
import { empty, filters, link, pages } from "./parts.js";

const missing = new Set(); // routes that this host's release does not have

const isSnoozed = (alert) => alert.snoozed_until !== null && new Date(alert.snoozed_until).getTime() > now();
const RESOLVED = 20; // as the API sends at most

export const alerts = {
  title: "Alerts",
  depends: (data) => data.alerts.filter(isSnoozed).length, // a snooze ends without a change of the data
  request: (query) => ["/views/alerts", Object.fromEntries(query)],
  render(data, page) {
    const open = data.alerts.filter((alert) => !isSnoozed(alert));
    const asleep = data.alerts.filter(isSnoozed);
    const filter = page.query.get("severity");
    return [
      h("div", { class: "heading" }, h("h1", null, "Alerts"), filters(page, "alerts", data.alerts[0] ?? data.resolved[0]), severities(filter, page)),
      tally(open, asleep, data, page),
      open.length ? h("ul", { class: "inbox", "aria-label": "Open alerts" }, open.map((alert) => card(alert, page)))
        : empty(...nothingOpen(asleep, data, page)),
      pages(page, data.next_cursor, "Show further alerts"),
      asleep.length > 0 && h("section", null, h("h2", null, `Snoozed (${asleep.length})`), h("ul", { class: "inbox quiet", "aria-label": "Snoozed alerts" }, asleep.map((alert) => card(alert, page)))),
      data.resolved.length > 0 && h("section", null, h("h2", null, `Resolved in the last 7 days${data.resolved.length < RESOLVED ? "" : `, the newest ${RESOLVED}`}`), resolved(data.resolved)),
    ];
  },
};

function severities(chosen, page) {
  return h("p", { class: "chips", role: "group", "aria-label": "Severity" }, [[null, "All"], ["critical", "Critical"], ["warning", "Warning"], ["info", "Info"]].map(([key, word]) =>
    h("button", { type: "button", "aria-pressed": String(key === chosen), "data-focus": `severity ${key}`, onclick: () => page.go({ severity: key, cursor: null }) }, word)));
}

const isPage = (data, page) => data.next_cursor !== null || page.query.has("cursor");

function tally(open, asleep, data, page) {
  const of = (severity) => open.filter((alert) => alert.severity === severity).length;
  const filter = page.query.get("severity");
  return h("p", { class: "tally" }, h("strong", { "data-number": "open" }, count(open.length)), isPage(data, page) ? " on this page" : " open",
    filter ? ` of severity ${filter}` : `: ${of("critical")} critical, ${of("warning")} warning, ${of("info")} info`, asleep.length > 0 && `; ${asleep.length} snoozed`);
}

// Only where all was asked for, and nothing sleeps, there is nothing.
function nothingOpen(asleep, data, page) {
  const filter = page.query.get("severity");
  const isOfModel = page.query.has("model_type") || page.query.has("machine_id");
  if (isPage(data, page)) {
    return ["Nothing on this page needs you", asleep.length > 0 ? "What it has is snoozed. Other pages have more." : "Other pages have more."];
  }
  const sleeping = asleep.length > 0 ? "What is open is snoozed, and stands below." : null;
  if (filter || isOfModel) {
    return [`No open ${filter ? `${filter} ` : ""}alert${isOfModel ? " of this model" : ""}${sleeping ? " needs you now" : ""}`, sleeping ?? "Others may be open: show all."];
  }
  return sleeping ? ["Nothing needs you now", sleeping] : ["Nothing needs you", "No alert is open. New ones appear here by themselves."];
}

function card(alert, page) {
  return h("li", { class: `alert ${alert.severity}`, "data-alert": alert.id },
    h("div", { class: "alert-head" }, badge(alert.severity), h("span", { class: "kind" }, words(alert.alert_type)),
      link("model", alert, modelName(alert)), alert.model_version !== null && h("span", { class: "muted" }, `version ${alert.model_version}`)),
    h("p", { class: "message" }, alert.alert_message),
    h("p", { class: "meta" }, h("span", null, "opened ", ago(alert.alert_timestamp)),
      h("span", { "data-number": "occurrences" }, `${count(alert.occurrences)} ${alert.occurrences === 1 ? "occurrence" : "occurrences"}`),
      alert.occurrences > 1 && h("span", null, "last ", ago(alert.last_seen_at)), values(alert),
      alert.auto_action_reason && h("span", null, `by itself: ${alert.auto_action_reason}`),
      alert.acknowledged_at !== null && h("span", { class: "done" }, `acknowledged by ${alert.acknowledged_by} `, ago(alert.acknowledged_at), alert.acknowledgement_notes && `: ${alert.acknowledgement_notes}`),
      alert.snoozed_until !== null && h("span", { class: "done" }, "snoozed until ", time(alert.snoozed_until), alert.snoozed_by && ` by ${alert.snoozed_by}`, alert.snooze_notes && `: ${alert.snooze_notes}`)),
    h("div", { class: "acts" }, !page.isReadOnly && acts(alert, page), history(alert)));
}

function values(alert) {
  const { current_metric_value: value, baseline_metric_value: baseline, threshold_value: threshold } = alert;
  return value !== null && h("span", null, `value ${number(value)}`, baseline !== null && `, baseline ${number(baseline)}`, threshold !== null && `, threshold ${number(threshold)}`);
}

const SNOOZES = [["1", "1 hour"], ["4", "4 hours"], ["24", "1 day"], ["72", "3 days"], ["168", "1 week"]];
const RESOLUTIONS = [["manual", "Dealt with"], ["retrained", "Retrained"], ["recovered", "Recovered by itself"]];

function acts(alert, page) {
  const path = (act) => `/alerts/${alert.id}/${act}`;
  const button = (act, word, question) => !missing.has(act) && h("button", { type: "button", "data-act": word, "data-focus": `${alert.id} ${word}`, onclick: () => perform(alert, page, act, question) }, word);
  return h("p", { class: "buttons" },
    alert.acknowledged_at === null && button("acknowledge", "Acknowledge", {
      title: "Acknowledge this alert", text: "Says that you look after it. It stays open.", confirm: "Acknowledge", fields: [comment()],
      act: ({ notes }) => api.post(path("acknowledge"), { notes }), done: "Acknowledged.",
    }),
    button("snooze", "Snooze", {
      title: "Snooze this alert", text: "It stays open, and out of the way for a while.", confirm: "Snooze",
      fields: [{ name: "hours", label: "For", kind: "select", value: "24", options: SNOOZES }, comment()],
      act: ({ hours, notes }) => api.post(path("snooze"), { hours, notes }), done: "Snoozed.",
    }),
    button("resolve", "Resolve", {
      title: "Resolve this alert", text: "Closes it. If the condition comes back, a new alert is opened.", confirm: "Resolve",
      fields: [{ name: "resolution", label: "Because", kind: "select", value: "manual", options: RESOLUTIONS }, comment()],
      act: ({ resolution, notes }) => api.post(path("resolve"), { resolution, notes }), done: "Resolved.",
    }),
    button("resolve", "False positive", {
      title: "This was a false alarm", text: "Closes it, and counts it against this kind of alert.", confirm: "Resolve as a false positive",
      fields: [comment("Why it was none")],
      act: ({ notes }) => api.post(path("resolve"), { resolution: "false_positive", notes }), done: "Resolved as a false positive.",
    }));
}

async function perform(alert, page, act, { done, act: call, ...question }) {
  const answer = await ask({ ...question, text: [question.text, h("q", { class: "quoted" }, alert.alert_message)], act: async (given) => {
    try {
      return await call(given);
    } catch (error) {
      if (error.status === 404 && !error.isOurs) {
        missing.add(act);
        page.redraw();
        throw new Error("This installation cannot do that yet: it needs a newer release.");
      }
      throw error;
    }
  } });
  if (answer) {
    page.say(done);
  }
  page.refresh(); // also when somebody else was first
}

function history(alert) {
  if (missing.has("events")) {
    return null;
  }
  return details(`history ${alert.id}`, "History", () => {
    const box = h("div", null, "Loading …");
    api.get(`/alerts/${alert.id}/events`).then(
      (events) => box.replaceChildren(eventList(events)),
      (error) => {
        if (error.status === 404 && !error.isOurs) {
          missing.add("events");
        }
        box.replaceChildren(h("p", { class: "muted" }, error.status === 404 ? "No history is kept here." : error.message));
      });
    return box;
  });
}

function eventList(events) {
  return table("What happened", ["When", "What", "Who", "Comment"], events.map((each) =>
    [minute(each.occurred_at), words(each.event), each.actor ?? "–", each.notes ?? "–"]));
}

function resolved(rows) {
  return table("Resolved in the last 7 days", ["Alert", "Model", "Resolution", "By", "When", "Comment"], rows.map((alert) =>
    [h("span", { class: "clip" }, badge(alert.severity), " ", alert.alert_message), link("model", alert, modelName(alert)),
      words(alert.resolution ?? "–"), alert.resolved_by ?? "–", ago(alert.resolved_timestamp), alert.resolution_notes ?? "–"]));
}
