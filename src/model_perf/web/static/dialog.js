// A question before an act: what will happen, a comment, and what went wrong if it did not.

import { hasToken } from "./api.js";
import { h } from "./dom.js";

const dialog = document.getElementById("dialog");
const notice = document.getElementById("notice");

export function say(text) {
  notice.textContent = text;
  notice.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => { notice.hidden = true; }, 8000);
}

export const dropQuestion = () => dialog.close();

// fields: [{name, label, kind, value, options, isAskedFor, hint}]; act(values) is awaited, and its answer is given back.
// An act that is under way when the dialog is closed goes on: what came of it is given back all the same, or said.
export function ask({ title, text, fields = [], confirm, isGrave = false, act }) {
  if (dialog.open) {
    return Promise.resolve(null);
  }
  return new Promise((resolve) => {
    let doing = null;
    const from = document.activeElement?.dataset.focus;
    const cancel = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
    const problem = h("p", { class: "problem", role: "alert", hidden: true });
    const button = h("button", { type: "submit", class: isGrave ? "primary grave" : "primary" }, confirm);
    const form = h("form", { method: "dialog", onsubmit: async (event) => {
      event.preventDefault();
      const values = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, String(value).trim()]));
      button.disabled = true;
      cancel.textContent = "Close";
      problem.hidden = true;
      doing = Promise.resolve(act(values)).then((answer) => answer ?? values);
      try {
        await doing;
        form.isConnected && dialog.close();
      } catch (error) {
        doing = null;
        problem.textContent = explain(error);
        problem.hidden = false;
        form.isConnected || say(`${title}: ${problem.textContent}`);
      } finally {
        button.disabled = false;
        cancel.textContent = "Cancel";
      }
    } },
    h("h2", { id: "dialog-title" }, title),
    text && h("p", null, text),
    fields.map(field), problem,
    h("p", { class: "buttons" }, cancel, button));
    dialog.replaceChildren(form);
    dialog.addEventListener("close", () => {
      dialog.replaceChildren();
      if (document.activeElement === document.body && from) { // the button was drawn anew meanwhile
        document.querySelector(`#main [data-focus="${CSS.escape(from)}"]`)?.focus({ preventScroll: true });
      }
      resolve(doing?.catch(() => null) ?? null);
    }, { once: true });
    dialog.showModal();
  });
}

function explain(error) {
  if (error.status === 401) {
    return hasToken() ? "The token is refused: cancel, give it again, and repeat." : "You are logged in no longer: log in again, in another tab if need be, and repeat.";
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
