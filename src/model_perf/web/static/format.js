// Numbers, times and words as they are shown. What is not known is a dash, never a zero.

import { h } from "./dom.js";

const NONE = "–";

export function number(value, digits = 4) {
  if (value === null || value === undefined) {
    return NONE;
  }
  const size = Math.abs(value);
  if (size !== 0 && (size >= 1e9 || size < 1e-4)) {
    return Number(value.toPrecision(digits - 1)).toExponential().replace("e+", "e").replace(/^-/, "−");
  }
  const rounded = Number(value.toPrecision(digits));
  return rounded.toLocaleString("en", { maximumFractionDigits: 10 }).replace("-", "−");
}

// A quantity whose exact size tells nothing any more from a million on.
export const plain = (value) => (value >= 1e6 ? "more than a million" : number(value, 3));

export const count = (value) => (value === null || value === undefined ? NONE : value.toLocaleString("en"));

export const percent = (value, digits = 3) => (value === null || value === undefined ? NONE : `${number(100 * value, digits)}%`);

export const signed = (value, write = number) => (value > 0 ? `+${write(value)}` : write(value));

export const pvalue = (value) => (value === null ? NONE : value < 0.0001 ? "< 0.0001" : number(value, 2));

const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });

export const day = (moment) => DAY.format(new Date(moment));
export const minute = (moment) => MINUTE.format(new Date(moment));

const ZONED = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });

// Said once on the page: all its times are of the browser's zone.
export const zoned = (moment) => ZONED.format(new Date(moment));

export function duration(seconds) {
  if (seconds === null || !Number.isFinite(seconds)) {
    return NONE;
  }
  const [size, unit] = seconds < 90 ? [1, "s"] : seconds < 5400 ? [60, "min"] : seconds < 172800 ? [3600, "h"] : [86400, "days"];
  return `${Math.round(seconds / size)} ${unit}`;
}

let clock = { server: Date.now(), page: Date.now() };

// The tracker's time is what ages are counted from: a browser's clock may be wrong, and a demo's past is long gone.
export function setNow(moment) {
  clock = { server: new Date(moment).getTime(), page: Date.now() };
}

export const now = () => clock.server + Date.now() - clock.page;

const since = (moment) => {
  const seconds = (now() - new Date(moment).getTime()) / 1000;
  return seconds < 0 ? `in ${duration(-seconds)}` : seconds < 10 ? "just now" : `${duration(seconds)} ago`;
};

export const ago = (moment) =>
  moment === null ? NONE : h("time", { datetime: moment, title: `${minute(moment)} (${moment})`, "data-ago": moment }, since(moment));

export function touchAges(root) {
  for (const time of root.querySelectorAll("time[data-ago]")) {
    time.textContent = since(time.dataset.ago);
  }
}

export const time = (moment, write = minute) =>
  moment === null ? NONE : h("time", { datetime: moment, title: moment }, write(moment));

export const words = (name) => {
  const text = name.replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
};

const METRICS = { r_squared: "R²", rmse: "RMSE", mae: "MAE", mape: "MAPE", f1_score: "F1", roc_auc: "ROC AUC" };

// By a name that somebody has given, which may be that of a member of every object.
export const entry = (found, name) => (Object.hasOwn(found, name) ? found[name] : null);

export const metricName = (name) => (name === null ? NONE : entry(METRICS, name) ?? name.replaceAll("_", " "));

const NO_MACHINE = "00000000-0000-0000-0000-000000000000";

export const machineName = (row) => (row.machine_name === NO_MACHINE ? "no machine" : row.machine_name);

export const modelName = (row) => `${machineName(row)} · ${row.model_type}`;

export const things = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

export const slotQuery = (row) => new URLSearchParams({ model_type: row.model_type, machine_id: row.machine_id });
