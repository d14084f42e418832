// How the page gets the short-lived key a call is opened with.
// On the server's own machine it is given freely; elsewhere an API key buys it. That API key is
// held in memory only: a reload forgets it.

import { problems, responseProblem } from "./problems.js";

export class EphemeralKeys {
  #apiKey = null;

  /** The API key the caller pasted. */
  use(apiKey) {
    this.#apiKey = apiKey.trim() || null;
  }

  /** A fresh `ek_…` key, `{value, options}`; throws a Problem that says what is missing. `options`: the
   *  voices, languages and chat model of the server, where it tells them. */
  async fresh(signal) {
    const response = await (this.#apiKey ? this.#mint(signal) : post("/demo/session", {}, signal));
    if (!response.ok) {
      if ([401, 403].includes(response.status)) this.#apiKey = null;
      throw response.status === 404 ? problems.key() : await responseProblem(response);
    }
    const { value, options } = await response.json();
    return { value, options: options ?? (this.#apiKey && (await this.#options(signal))) };
  }

  async #options(signal) {
    const headers = { Authorization: `Bearer ${this.#apiKey}` };
    const response = await fetch("/api/voices?limit=100", { headers, signal }).catch(() => null);
    const voices = response?.ok ? (await response.json()).data : [];
    return { voices, languages: [...new Set(voices.map(({ language }) => language))].sort() };
  }

  #mint(signal) {
    const body = JSON.stringify({ expires_after: { anchor: "created_at", seconds: 600 }, session: { type: "realtime" } });
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${this.#apiKey}` };
    return post("/v1/realtime/client_secrets", { body, headers }, signal);
  }
}

async function post(url, options, signal) {
  try {
    return await fetch(url, { method: "POST", cache: "no-store", signal, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw problems.unreachable();
  }
}
