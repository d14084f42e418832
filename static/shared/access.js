// What a page may do, and by which credential: on the server's own machine a short-lived key is given
// freely, elsewhere somebody pastes an API key, which is kept until the tab is closed.

import { Api, ApiError } from "./api.js";

const KEPT = "blab.key";

/** Nothing can be done without a key; `message` says why. */
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

  /** A key that holds now, for a WebSocket; throws KeyNeeded. */
  async key() {
    if (this.#pasted) return this.#pasted;
    if (!this.#given) this.#given = await freeKey();
    return this.#given;
  }

  get = (path, options) => this.#ask((api) => api.get(path, options));
  list = (path, options) => this.#ask((api) => api.list(path, options));
  post = (path, body, options) => this.#ask((api) => api.send("POST", path, body, options));
  patch = (path, body, options) => this.#ask((api) => api.send("PATCH", path, body, options));
  put = (path, body, options) => this.#ask((api) => api.send("PUT", path, body, options));
  delete = (path, options) => this.#ask((api) => api.send("DELETE", path, undefined, options));

  /** A Response that is no refusal: for uploads (`init.body` a FormData) and streams. */
  fetch = (path, init) => this.#ask((api) => api.fetch(path, init));

  /** The bytes of a file. Signed addresses begin with the server's public name: a page may fetch from its own only. */
  async file(path) {
    const { pathname, search } = new URL(path, location.href);
    return (await this.fetch(pathname + search)).arrayBuffer();
  }

  /** Asks once more with a new key where the one that was given has expired. */
  async #ask(work) {
    const api = new Api(() => ({ Authorization: `Bearer ${this.#pasted || this.#given}` }));
    try {
      await this.key();
      return await work(api);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
      if (this.#pasted) {
        this.paste("");
        throw new KeyNeeded(error.message);
      }
      this.#given = await freeKey();
      return work(api);
    }
  }
}

async function freeKey() {
  try {
    return (await (await new Api().fetch("/studio/session", { method: "POST" })).json()).value;
  } catch (error) {
    throw error.status ? new KeyNeeded(error.message) : error;
  }
}
