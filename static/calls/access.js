// What this page may read, and by which key: on the server's own machine a short-lived one is given
// freely, elsewhere somebody pastes an API key, which is kept until the tab is closed.

import { Api, ApiError } from "/shared/api.js";

const KEPT = "blab.calls.key";

/** Nothing can be read without a key; `message` says why. */
export class KeyNeeded extends Error {}

export class Access {
  #pasted = sessionStorage.getItem(KEPT) ?? "";
  #given = "";

  /** Takes an API key from its owner; empty: forgets it. */
  paste(key) {
    this.#pasted = key.trim();
    if (this.#pasted) sessionStorage.setItem(KEPT, this.#pasted);
    else sessionStorage.removeItem(KEPT);
  }

  /** Whether the key was pasted here. */
  get pasted() {
    return Boolean(this.#pasted);
  }

  /** A key that holds now; throws KeyNeeded. */
  async key() {
    if (this.#pasted) return this.#pasted;
    if (!this.#given) this.#given = await freeKey();
    return this.#given;
  }

  get = (path, options) => this.#ask((api) => api.get(path, options));
  list = (path, options) => this.#ask((api) => api.list(path, options));
  post = (path, body) => this.#ask((api) => api.post(path, body));
  delete = (path) => this.#ask((api) => api.delete(path));

  /** The bytes of a file; `path`: below /api, or a signed address of this server. */
  file(path) {
    return this.#ask((_, key) => bytes(path, key));
  }

  /** Asks once more with a new key where the one that was given has expired. */
  async #ask(work) {
    try {
      const key = await this.key();
      return await work(new Api(key), key);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      if (this.#pasted) {
        this.paste("");
        throw new KeyNeeded(error.message);
      }
      this.#given = await freeKey();
      return work(new Api(this.#given), this.#given);
    }
  }
}

async function freeKey() {
  try {
    const response = await fetch("/calls/session", { method: "POST", cache: "no-store" });
    if (response.ok) return (await response.json()).value;
    const { error } = await response.json().catch(() => ({}));
    throw new KeyNeeded(error?.message ?? "Paste an API key.");
  } catch (error) {
    throw error instanceof KeyNeeded ? error : new ApiError({ code: "UNREACHABLE", message: "Blab cannot be reached." }, 0);
  }
}

/** Signed addresses begin with the server's public name: this page may fetch from its own only. */
async function bytes(path, key) {
  const { pathname, search } = new URL(path, location.href);
  const headers = pathname.startsWith("/api/") ? { Authorization: `Bearer ${key}` } : {};
  const response = await fetch(pathname + search, { headers });
  if (response.ok) return response.arrayBuffer();
  const { error } = await response.json().catch(() => ({}));
  throw new ApiError(error ?? { code: "UNKNOWN", message: `HTTP ${response.status}` }, response.status);
}
