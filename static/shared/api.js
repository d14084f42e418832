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
  get(path, { query = {}, signal } = {}) {
    const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
    return this.#request("GET", given.length ? `${path}?${new URLSearchParams(given)}` : path, { signal });
  }

  post(path, body, { signal } = {}) {
    return this.#request("POST", path, { body, signal });
  }

  patch(path, body, { signal } = {}) {
    return this.#request("PATCH", path, { body, signal });
  }

  delete(path, { signal } = {}) {
    return this.#request("DELETE", path, { signal });
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
    if (response.ok) return envelope.data;
    throw new ApiError(envelope.error ?? { code: "UNKNOWN", message: `HTTP ${response.status}` }, response.status);
  }
}
