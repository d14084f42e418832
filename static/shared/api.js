// Requests to the REST platform: the key goes along, the envelope is opened, a refusal is thrown.

/** What the server refused, or that it could not be reached (`code` UNREACHABLE, `status` 0). */
export class ApiError extends Error {
  constructor({ code, message, details }, status) {
    super(message);
    Object.assign(this, { name: "ApiError", code, details, status });
  }
}

export class Api {
  #key;

  /** `key`: an API key, kept in memory only; empty where the server needs none. */
  constructor(key = "") {
    this.#key = key;
  }

  /** The `data` of the answer; `query`: an object, whose empty values are left out. */
  async get(path, options) {
    return (await this.list(path, options)).data;
  }

  /** A page of a list: the answer's `data` with its `meta` (`hasMore`, `nextCursor`). */
  list(path, { query = {}, signal } = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
    return this.#request("GET", given.length ? `${path}?${new URLSearchParams(given)}` : path, { signal });
  }

  async post(path, body, { signal } = {}) {
    return (await this.#request("POST", path, { body, signal })).data;
  }

  async patch(path, body, { signal } = {}) {
    return (await this.#request("PATCH", path, { body, signal })).data;
  }

  async delete(path, { signal } = {}) {
    return (await this.#request("DELETE", path, { signal })).data;
  }

  async #request(method, path, { body, signal }) {
    const headers = this.#key ? { Authorization: `Bearer ${this.#key}` } : {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    let response;
    try {
      response = await fetch(path, { method, headers, signal, cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body) });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError({ code: "UNREACHABLE", message: "Blab cannot be reached." }, 0);
    }
    const envelope = await response.json().catch(() => ({}));
    if (response.ok) return envelope;
    throw new ApiError(envelope.error ?? { code: "UNKNOWN", message: `HTTP ${response.status}` }, response.status);
  }
}
