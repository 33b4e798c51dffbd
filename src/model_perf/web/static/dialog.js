// A question before an act: what will happen, a comment, and what went wrong if it did not.

import { h } from "./dom.js";

const dialog = document.getElementById("dialog");

// fields: [{name, label, kind, value, options, isAskedFor, hint}]; act(values) is awaited, and its answer is given back.
export function ask({ title, text, fields = [], confirm, isGrave = false, act }) {
  return new Promise((resolve) => {
    let answer = null;
    const problem = h("p", { class: "problem", role: "alert", hidden: true });
    const button = h("button", { type: "submit", class: isGrave ? "primary grave" : "primary" }, confirm);
    const form = h("form", { method: "dialog", onsubmit: async (event) => {
      event.preventDefault();
      const values = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value).trim()]));
      button.disabled = true;
      problem.hidden = true;
      try {
        answer = (await act(values)) ?? values;
        dialog.close();
      } catch (error) {
        problem.textContent = explain(error);
        problem.hidden = false;
      } finally {
        button.disabled = false;
      }
    } },
    h("h2", { id: "dialog-title" }, title),
    text && h("p", null, text),
    fields.map(field), problem,
    h("p", { class: "buttons" },
      h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"), button));
    dialog.replaceChildren(form);
    dialog.addEventListener("close", () => { dialog.replaceChildren(); resolve(answer); }, { once: true });
    dialog.showModal();
  });
}

function explain(error) {
  if (error.status === 401) {
    return "You are logged in no longer: log in again, in another tab if need be, and repeat.";
  }
  return error.status === 403 ? `You may not do this: ${error.message}` : error.message;
}

function field({ name, label, kind = "text", value, options, isAskedFor, hint, onchange, ...more }) {
  const own = { name, id: `field-${name}`, required: isAskedFor, onchange };
  let control;
  if (kind === "select") {
    control = h("select", own, options.map(([key, word]) => h("option", { value: key, selected: key === value }, word)));
  } else if (kind === "comment") {
    control = h("textarea", { ...own, rows: 3, maxlength: 10_000 }, value ?? "");
  } else {
    control = h("input", { ...own, type: kind, value, ...more });
  }
  return h("p", { class: "field" }, h("label", { for: own.id }, label, !isAskedFor && kind !== "select" && h("span", { class: "muted" }, " (optional)")),
    control, hint && h("small", { class: "muted" }, hint));
}

export const comment = (label = "Comment") => ({ name: "notes", label, kind: "comment" });
