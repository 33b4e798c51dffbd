// A time series by uPlot, with a summary in words, a cursor for the keyboard, and all of it as a table.

import uPlot from "./vendor/uplot/uPlot.esm.js";
import { colour, details, h, table } from "./dom.js";
import { day, minute, number } from "./format.js";

const live = new Set();

export function forgetCharts() {
  for (const chart of live) {
    chart.stop();
  }
  live.clear();
}

const SERIES = ["series-1", "series-2", "series-3", "series-4"];
const DASHES = [[], [6, 3], [2, 3], [9, 3, 2, 3]];

// What is drawn under and over the lines, in the units of the axes.
function paint(u, { bands = [], areas = [], levels = [], marks = [] }) {
  const { ctx, bbox } = u;
  const ratio = devicePixelRatio || 1;
  const y = (value) => u.valToPos(value, "y", true);
  const x = (value) => u.valToPos(value, "x", true);
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const area of areas) {
    ctx.fillStyle = colour(area.colour);
    ctx.beginPath();
    area.low.forEach(([t, v], place) => (place ? ctx.lineTo(x(t), y(v)) : ctx.moveTo(x(t), y(v))));
    [...area.high].reverse().forEach(([t, v]) => ctx.lineTo(x(t), y(v)));
    ctx.fill();
  }
  for (const band of bands) {
    const edge = y(band.at);
    const isBelow = band.side === "below";
    ctx.fillStyle = colour("band");
    ctx.fillRect(x(band.from), isBelow ? edge : bbox.top, x(band.to) - x(band.from), isBelow ? bbox.top + bbox.height - edge : edge - bbox.top);
  }
  ctx.lineWidth = ratio;
  for (const level of levels) {
    ctx.strokeStyle = colour(level.colour);
    ctx.setLineDash(level.dash.map((each) => each * ratio));
    ctx.beginPath();
    ctx.moveTo(level.from === undefined ? bbox.left : x(level.from), y(level.at));
    ctx.lineTo(level.to === undefined ? bbox.left + bbox.width : x(level.to), y(level.to_at ?? level.at));
    ctx.stroke();
  }
  for (const mark of marks) {
    const left = Math.round(x(mark.t));
    ctx.strokeStyle = colour(mark.colour);
    ctx.fillStyle = colour(mark.colour);
    ctx.setLineDash([3 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(left, bbox.top);
    ctx.lineTo(left, bbox.top + bbox.height);
    ctx.stroke();
    ctx.font = `${11 * ratio}px system-ui, sans-serif`;
    const isFarRight = left > bbox.left + bbox.width - 60 * ratio;
    ctx.textAlign = isFarRight ? "right" : "left";
    ctx.setLineDash([]);
    ctx.strokeStyle = colour("surface");
    ctx.lineWidth = 4 * ratio;
    ctx.lineJoin = "round";
    const place = [left + (isFarRight ? -4 : 4) * ratio, bbox.top + (11 + 14 * (mark.row ?? 0)) * ratio];
    ctx.strokeText(mark.text, ...place);
    ctx.lineWidth = ratio;
    ctx.fillText(mark.text, ...place);
  }
  ctx.restore();
}

// series: [{label, points: [[seconds, value], ...], is_step}]; all share one axis.
function align(series) {
  const times = [...new Set(series.flatMap((one) => one.points.map(([t]) => t)))].sort((a, b) => a - b);
  const place = new Map(times.map((t, index) => [t, index]));
  const columns = series.map((one) => {
    const column = new Array(times.length).fill(null);
    one.points.forEach(([t, value]) => { column[place.get(t)] = value; });
    return column;
  });
  return [times, ...columns];
}

// Marks have their words above the lines.
function withRoom(values, { isLog, marks = [] }) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (isLog) {
    return [low / 1.5, high * 1.5];
  }
  const size = Math.max(Math.abs(low), Math.abs(high));
  const span = high - low > 1e-6 * size ? high - low : size || 1; // no grid fits into the last digits of a number
  const room = span * 0.08;
  return [low - room, high + room * (marks.length ? 4 : 1)];
}

const DAY_S = 86_400;
const format = (parts) => new Intl.DateTimeFormat("en-GB", parts);
const SHORT = format({ day: "numeric", month: "short" });
const LONG = format({ month: "short", year: "numeric" });
const CLOCK = format({ hour: "2-digit", minute: "2-digit" });
const SECONDS = format({ hour: "2-digit", minute: "2-digit", second: "2-digit" });

// The year, or the day, is said where it begins.
function timeLabels(splits, step) {
  const write = step >= 28 * DAY_S ? LONG : step >= DAY_S ? SHORT : step >= 60 ? CLOCK : SECONDS;
  const of = write === LONG ? () => null : write === SHORT ? (t) => t.getFullYear() : (t) => SHORT.format(t);
  const wholes = splits.map((split) => of(new Date(split * 1000)));
  return splits.map((split, place) => {
    const said = write.format(new Date(split * 1000));
    return wholes[place] !== null && wholes[place] !== wholes[place - 1] ? `${said}\n${wholes[place]}` : said;
  });
}

function decades(low, high) {
  const [first, last] = [Math.ceil(Math.log10(low)), Math.floor(Math.log10(high))];
  const step = Math.max(1, Math.ceil((last - first) / 6));
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, place) => 10 ** (first + place * step));
}

function options(chart, width) {
  const axis = { stroke: () => colour("muted"), grid: { stroke: () => colour("grid"), width: 1 }, ticks: { stroke: () => colour("grid"), width: 1, size: 4 }, font: "11px system-ui, sans-serif" };
  const shown = [...chart.series.flatMap((one) => one.points.map(([, value]) => value)), ...(chart.include ?? [])];
  const range = withRoom(shown.filter(Number.isFinite), chart);
  const times = chart.data[0];
  const room = (times.at(-1) - times[0]) * 0.02 || 43_200;
  return {
    width, height: chart.height ?? 260,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 7 } },
    scales: {
      x: { time: true, range: () => chart.period ?? [times[0] - room, times.at(-1) + room] },
      y: { range: () => range, distr: chart.isLog ? 3 : 1 },
    },
    axes: [
      { ...axis, space: 72, values: (u, splits, index, space, step) => timeLabels(splits, step) },
      { ...axis, size: 58, values: (u, splits) => splits.map((v) => (v === null ? "" : number(v, 4))),
        ...(chart.isLog ? { splits: (u, index, low, high) => decades(low, high) } : {}) },
    ],
    series: [{}, ...chart.series.map((one, place) => ({
      label: one.label, spanGaps: true, width: 1.75, dash: DASHES[place % DASHES.length],
      stroke: () => colour(one.colour ?? SERIES[place % SERIES.length]),
      points: { show: one.points.length < 150, size: 5, fill: () => colour("surface") },
      ...(one.isStep ? { paths: uPlot.paths.stepped({ align: 1 }) } : {}),
    }))],
    hooks: {
      drawClear: [(u) => paint(u, { bands: chart.bands, areas: chart.areas })],
      draw: [(u) => paint(u, { levels: chart.levels, marks: chart.marks })],
      setCursor: [(u) => chart.read(u.cursor.idx)],
    },
  };
}

function legend(chart) {
  const entry = (name, word, dash) => h("li", null, h("span", { class: `swatch ${name}${dash?.length ? " dashed" : ""}`, "aria-hidden": "true" }), word);
  return h("ul", { class: "legend" },
    chart.series.map((one, place) => entry(one.colour ?? SERIES[place % SERIES.length], one.label, DASHES[place % DASHES.length])),
    (chart.keys ?? []).map((key) => entry(key.colour, key.label, key.dash)));
}

export function timeChart(chart) {
  const readout = h("p", { class: "readout", "aria-live": "polite" }, "Move over the chart, or use the arrow keys, to read it.");
  const plot = h("div", { class: "plot", tabindex: "0", role: "img", "aria-label": `${chart.title}. ${chart.summary}` });
  chart.data = align(chart.series);
  const times = chart.data[0];
  chart.read = (place) => {
    if (place === null || place === undefined) {
      return;
    }
    const said = chart.series.flatMap((one, index) => {
      const value = chart.data[index + 1][place];
      return value === null ? [] : [`${one.label} ${number(value)}`];
    });
    readout.textContent = `${(chart.isDaily ? day : minute)(times[place] * 1000)}: ${said.join(", ")}`;
  };
  const figure = h("figure", { class: "chart", "data-chart": chart.title },
    h("figcaption", null, h("strong", null, chart.title), " ", h("span", { class: "summary" }, chart.summary)),
    legend(chart), plot, readout,
    details(`table ${chart.title}`, "Show as table", () => table(chart.title, chart.table.heads, chart.table.rows(), { numeric: chart.table.numeric })));
  live.add(start(chart, plot));
  return figure;
}

function start(chart, plot) {
  let u = null;
  const observer = new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width < 50) {
      return;
    }
    if (u === null) {
      u = new uPlot(options(chart, width), chart.data, plot);
    } else {
      u.setSize({ width, height: chart.height ?? 260 });
    }
  });
  observer.observe(plot);
  const redraw = () => u?.redraw(false);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", redraw);
  plot.addEventListener("keydown", (event) => moveCursor(event, u, chart));
  return { stop() { observer.disconnect(); scheme.removeEventListener("change", redraw); u?.destroy(); } };
}

function moveCursor(event, u, chart) {
  const last = chart.data[0].length - 1;
  const at = u?.cursor.idx ?? -1;
  const target = { ArrowLeft: Math.max(0, at - 1), ArrowRight: Math.min(last, at + 1), Home: 0, End: last }[event.key];
  if (u === null || target === undefined) {
    return;
  }
  event.preventDefault();
  const value = chart.data.slice(1).map((column) => column[target]).find((each) => each !== null);
  u.setCursor({ left: u.valToPos(chart.data[0][target], "x"), top: u.valToPos(value, "y") });
  chart.read(target);
}
