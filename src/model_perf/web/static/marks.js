// Small pictures: badges with a shape for each verdict, sparklines, paired histograms, intervals.

import { h, s } from "./dom.js";
import { number, words } from "./format.js";

// A shape and a word for each state, so that nothing is told by colour alone.
const SHAPES = {
  ok: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zm3.2 4.3-4 4.2-2.2-2.1.9-1 1.3 1.2 3.1-3.3z",
  warning: "M8 1.5 15 14H1zM7.3 6v4h1.4V6zm0 5v1.5h1.4V11z",
  critical: "M5.2 1.5h5.6l3.7 3.7v5.6l-3.7 3.7H5.2l-3.7-3.7V5.2zM7.2 4v5h1.6V4zm0 6.2v1.7h1.6v-1.7z",
  unknown: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zm0 1.4a4.6 4.6 0 1 1 0 9.2 4.6 4.6 0 0 1 0-9.2zM6 6.4C6 5.3 6.9 4.7 8 4.7s2 .7 2 1.7c0 1.4-1.4 1.5-1.4 2.6H7.4c0-1.7 1.3-1.8 1.3-2.5 0-.4-.3-.6-.7-.6s-.7.2-.7.6zM7.3 9.8h1.4v1.4H7.3z",
  info: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM7.3 4.5h1.4V6H7.3zm0 2.5h1.4v4.5H7.3z",
  none: "M3 7.3h10v1.4H3z",
};

const STATES = {
  ok: ["ok", "OK"], warning: ["warning", "Warning"], critical: ["critical", "Critical"],
  insufficient_data: ["unknown", "Unknown"], not_judged: ["unknown", "Not judged"], info: ["info", "Info"],
  superior_a: ["ok", "a is better"], superior_b: ["ok", "b is better"], equivalent: ["ok", "Equivalent"],
  undecided: ["unknown", "Undecided"], invalid: ["critical", "Invalid"],
  planned: ["none", "Planned"], running: ["info", "Running"], completed: ["ok", "Completed"],
  cancelled: ["none", "Cancelled"], pending: ["info", "Queued"], failed: ["critical", "Failed"],
  improving: ["ok", "Improving"], stable: ["ok", "Stable"], degrading: ["critical", "Degrading"],
  inconclusive: ["unknown", "Inconclusive"],
};

export const stateWord = (name) => STATES[name]?.[1] ?? words(name);

export function badge(name, title) {
  const [kind, word] = STATES[name] ?? ["none", words(name)];
  return h("span", { class: `badge ${kind}`, "data-state": name, title },
    s("svg", { viewBox: "0 0 16 16", width: 14, height: 14, "aria-hidden": "true" },
      s("path", { d: SHAPES[kind], "fill-rule": "evenodd" })), word);
}

function scale(values, low, high, from, to) {
  const span = high - low;
  return values.map((value) => (span > 0 ? from + ((value - low) / span) * (to - from) : (from + to) / 2));
}

export function sparkline(values, label) {
  const [width, height, pad] = [96, 24, 3];
  const picture = s("svg", { class: "sparkline", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  if (values.length < 2) {
    return values.length ? fillDot(picture, width - pad, height / 2) : h("span", { class: "muted" }, "no values");
  }
  const ys = scale(values, Math.min(...values), Math.max(...values), height - pad, pad);
  const xs = values.map((_, place) => pad + (place * (width - 2 * pad)) / (values.length - 1));
  picture.append(s("polyline", { points: xs.map((x, place) => `${x.toFixed(1)},${ys[place].toFixed(1)}`).join(" ") }));
  return fillDot(picture, xs.at(-1), ys.at(-1));
}

function fillDot(picture, x, y) {
  picture.append(s("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: 2.2 }));
  return picture;
}

const shares = (counts) => {
  const total = counts.reduce((sum, each) => sum + each, 0);
  return counts.map((each) => (total ? each / total : 0));
};

// Two bars to a cell: the reference's outlined, the window's filled; heights are shares of all values.
export function pairedHistogram({ reference, current }, label) {
  const [width, height] = [220, 56];
  const [old, recent] = [shares(reference), shares(current)];
  const top = Math.max(...old, ...recent, 1e-9);
  const cell = width / old.length;
  const bar = (share, place, offset, kind) => {
    const tall = share === 0 ? 0 : Math.max(1, (share / top) * (height - 4));
    return s("rect", { class: kind, x: (place * cell + offset).toFixed(2), y: (height - 1 - tall).toFixed(2),
      width: Math.max(1, cell * 0.42 - 0.5).toFixed(2), height: tall.toFixed(2) });
  };
  return s("svg", { class: "histogram", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, preserveAspectRatio: "none" },
    old.map((share, place) => bar(share, place, cell * 0.07, "of-reference")),
    recent.map((share, place) => bar(share, place, cell * 0.51, "of-current")),
    s("line", { class: "base", x1: 0, x2: width, y1: height - 0.5, y2: height - 0.5 }));
}

// An effect with its interval on a common scale; zero and the thresholds are marked, and named where there is room.
export function interval({ value, low, high, marks = [], from, to, label }) {
  const [width, height] = [260, 34];
  const at = (x) => (8 + ((Math.min(Math.max(x, from), to) - from) / (to - from)) * (width - 16)).toFixed(1);
  const isCovered = (mark) => marks.some((other) => other.at > mark.at && at(other.at) - at(mark.at) < 24);
  return s("svg", { class: "interval", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    s("line", { class: "base", x1: 8, x2: width - 8, y1: 14, y2: 14 }),
    marks.map((mark) => [
      s("line", { class: mark.kind ?? "mark", x1: at(mark.at), x2: at(mark.at), y1: 4, y2: 24 }),
      !isCovered(mark) && s("text", { x: at(mark.at), y: 33, "text-anchor": "middle" }, mark.text ?? number(mark.at, 3)),
    ]),
    low !== null && high !== null && s("line", { class: "range", x1: at(low), x2: at(high), y1: 14, y2: 14 }),
    value !== null && s("circle", { cx: at(value), cy: 14, r: 4.5 }));
}

export function progress(share, label) {
  const known = share !== null;
  return h("span", { class: "progress-line" },
    h("progress", known ? { value: share, max: 1, "aria-label": label } : { "aria-label": label }),
    known ? `${Math.floor(100 * share)}%` : "in progress");
}
