// Requests to the REST platform: the credential goes along, the envelope is opened, a refusal is thrown.

/** What the server refused, or that it could not be reached (`code` UNREACHABLE, `status` 0). */
export class ApiError extends Error {
  constructor({ code, message, details }, status) {
    super(message);
    Object.assign(this, { name: "ApiError", code, details, status });
  }
}

export class Api {
  #headersOf;

  /** `headersOf(method)`: the headers by which a request proves who sends it. */
  constructor(headersOf = () => ({})) {
    this.#headersOf = headersOf;
  }

  /** The `data` of the answer; `query`: an object, whose empty values are left out. */
  async get(path, options) {
    return (await this.list(path, options)).data;
  }

  /** A page of a list: the answer's `data` with its `meta` (`hasMore`, `nextCursor`). */
  list(path, { query = {}, signal } = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
    return this.#envelope("GET", given.length ? `${path}?${new URLSearchParams(given)}` : path, undefined, signal);
  }

  /** Any other method; `body`: what becomes JSON. */
  async send(method, path, body, { signal } = {}) {
    return (await this.#envelope(method, path, body, signal)).data;
  }

  /** The answer, once it is no refusal; for uploads, files and streams. `init`: as of the browser's fetch. */
  async fetch(path, init = {}) {
    const headers = { ...this.#headersOf(init.method ?? "GET"), ...init.headers };
    let response;
    try {
      response = await fetch(path, { cache: "no-store", ...init, headers });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw new ApiError({ code: "UNREACHABLE", message: "Blab cannot be reached." }, 0);
    }
    if (response.ok) return response;
    const { error } = await response.json().catch(() => ({}));
    throw new ApiError(error ?? { code: "UNKNOWN", message: `HTTP ${response.status}` }, response.status);
  }

  async #envelope(method, path, body, signal) {
    const init = body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
    return (await this.fetch(path, { method, signal, ...init })).json();
  }
}
