// Elements from plain values. Text is always a text node: nothing that anybody has written is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) {
      continue;
    }
    if (name.startsWith("on")) {
      element.addEventListener(name.slice(2), value);
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) {
      element.append(child instanceof Node ? child : String(child));
    }
  }
  return element;
}

export const h = (tag, properties, ...children) => fill(document.createElement(tag), properties, children);
export const s = (tag, properties, ...children) => fill(document.createElementNS(SVG, tag), properties, children);

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export function table(caption, heads, rows, { numeric = [] } = {}) {
  const kind = (place, cell) => (numeric.includes(place) ? "number" : typeof cell === "string" && cell.length > 28 ? "long" : null);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", { class: "plain" },
      h("caption", { class: "unseen" }, caption),
      h("thead", null, h("tr", null, heads.map((head, place) => h("th", { scope: "col", class: kind(place) }, head)))),
      h("tbody", null, rows.map((row) =>
        h("tr", null, row.map((cell, place) => h("td", { class: kind(place, cell) }, cell)))))));
}

// What is behind a summary is made when somebody opens it.
export function details(key, summary, make) {
  const box = h("details", { "data-key": key, ontoggle: () => {
    if (box.open && box.childElementCount === 1) {
      box.append(make());
    }
  } }, h("summary", null, summary));
  return box;
}
