// How Blab's own pages get the short-lived key that opens a call.
// On the server's own machine it is given freely; elsewhere an API key buys it. That API key is
// held in memory only: a reload forgets it.

import { problems, responseProblem } from "./problems.js";

export class EphemeralKeys {
  /** @type {string | null} */
  #apiKey = null;
  #server;

  /** @param {string} server its origin */
  constructor(server) {
    this.#server = server;
  }

  /** The API key that the caller pasted.
   *  @param {string} apiKey */
  use(apiKey) {
    this.#apiKey = apiKey.trim() || null;
  }

  /** A fresh `ek_…` key; throws a Problem that says what is missing. `options`: the voices, languages and
   *  chat model of the server, where it says them.
   *  @param {AbortSignal} [signal]
   *  @returns {Promise<{ value: string, options: import("../blab.js").ServerOptions | null }>} */
  async fresh(signal) {
    const response = await (this.#apiKey ? this.#mint(signal) : post(`${this.#server}/demo/session`, {}, signal));
    if (!response.ok) {
      if ([401, 403].includes(response.status)) this.#apiKey = null;
      throw response.status === 404 ? problems.key() : await responseProblem(response, this.#server);
    }
    const { value, options } = await response.json();
    return { value, options: options ?? (this.#apiKey ? await this.#options(signal) : null) };
  }

  /** A key without the right to see voices or agents still makes calls.
   *  @param {AbortSignal} [signal] */
  async #options(signal) {
    const headers = { Authorization: `Bearer ${this.#apiKey}` };
    const [voices, agents] = await Promise.all(
      ["voices", "agents"].map(async (name) => {
        const response = await fetch(`${this.#server}/api/${name}?limit=100`, { headers, signal }).catch(() => null);
        return response?.ok ? (await response.json()).data : [];
      }),
    );
    const languages = voices.map((/** @type {{ language: string }} */ voice) => voice.language);
    return { voices, agents, languages: [...new Set(languages)].sort() };
  }

  /** @param {AbortSignal} [signal] */
  #mint(signal) {
    const body = JSON.stringify({ expires_after: { anchor: "created_at", seconds: 600 }, session: { type: "realtime" } });
    const headers = { "Content-Type": "application/json", Authorization: `Bearer ${this.#apiKey}` };
    return post(`${this.#server}/v1/realtime/client_secrets`, { body, headers }, signal);
  }
}

/** @param {string} url @param {RequestInit} options @param {AbortSignal} [signal] */
async function post(url, options, signal) {
  try {
    return await fetch(url, { method: "POST", cache: "no-store", signal, ...options });
  } catch (error) {
    throw signal?.aborted ? error : problems.unreachable();
  }
}
