// Requests to the host's API. They carry the host's cookies, and a token where somebody has given one.

const base = document.querySelector("meta[name=model-perf-api]").content.replace(/\/+$/, "");
const KEY = "model-perf-token";
const PATIENCE_MS = 60_000;

export const isReadOnly = document.querySelector("meta[name=model-perf-read-only]").content === "yes";

export class ApiError extends Error {
  constructor(message, { status = 0, isOurs = false, asksForToken = false } = {}) {
    super(message);
    this.status = status;
    this.isOurs = isOurs; // a problem of the library's own routes: a 404 of another is a route that is not there
    this.asksForToken = asksForToken;
  }
}

export const keepToken = (token) => sessionStorage.setItem(KEY, token);
export const forgetToken = () => sessionStorage.removeItem(KEY);
export const hasToken = () => sessionStorage.getItem(KEY) !== null;
export const TOKEN = String.raw`\s*[\x21-\x7e]+\s*`; // what a header takes

function headers() {
  const token = sessionStorage.getItem(KEY);
  return { accept: "application/json", ...(token === null ? {} : { authorization: `Bearer ${token}` }) };
}

function address(path, parameters) {
  const given = Object.entries(parameters ?? {}).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return `${base}${path}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

async function request(method, path, parameters, signal) {
  const patience = new AbortController();
  const timer = setTimeout(() => patience.abort(), PATIENCE_MS);
  signal?.addEventListener("abort", () => patience.abort());
  let response;
  let text;
  try {
    response = await fetch(address(path, parameters), {
      method, headers: headers(), credentials: "same-origin", cache: "no-store", redirect: "manual", signal: patience.signal,
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) {
      throw error;
    }
    const what = patience.signal.aborted ? `did not answer within ${PATIENCE_MS / 1000} s` : "cannot be reached";
    throw new ApiError(`The application ${what}. ${method === "POST" ? UNKNOWN : "Is it running, and are you online?"}`);
  } finally {
    clearTimeout(timer);
  }
  return read(response, text, method);
}

const UNKNOWN = "Whether it was done is not known: look before you repeat it.";

function read(response, text, method) {
  if (response.type === "opaqueredirect") {
    throw new ApiError("The application sends you elsewhere instead of data: your session may have ended.", { status: 401 });
  }
  const kind = response.headers.get("content-type") ?? "";
  let answer = null;
  try {
    answer = /\bjson\b/.test(kind) ? JSON.parse(text) : null;
  } catch {
    answer = null;
  }
  if (response.ok && answer !== null) {
    return answer;
  }
  if (response.ok) {
    throw new ApiError("The application answered with a page instead of data: your session may have ended.", { status: 401 });
  }
  const asksForToken = /\bbearer\b/i.test(response.headers.get("www-authenticate") ?? "");
  const isOurs = kind.includes("problem+json");
  const isOpen = method === "POST" && response.status >= 500 && !isOurs; // ours says it itself
  const said = reason(answer?.detail) || response.statusText || "no reason given";
  throw new ApiError(isOpen ? `${said}. ${UNKNOWN}` : said, { status: response.status, isOurs, asksForToken });
}

// A text, or what FastAPI says of the parameters of a host's own dependencies.
function reason(detail) {
  return Array.isArray(detail) ? detail.map((each) => each?.msg).filter(Boolean).join("; ") : typeof detail === "string" ? detail : "";
}

export const get = (path, parameters, signal) => request("GET", path, parameters, signal);
export const post = (path, parameters) => request("POST", path, parameters);
