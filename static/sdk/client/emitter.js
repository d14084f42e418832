// Named events, as EventEmitter has them: on, once, off.

/** @typedef {(payload: any) => void} Listener */

export class Emitter {
  /** @type {Map<string, Map<Listener, Listener>>} */
  #listeners = new Map();

  /** @param {string} name @param {Listener} listener */
  on(name, listener) {
    this.#of(name).set(listener, listener);
    return this;
  }

  /** @param {string} name @param {Listener} listener */
  once(name, listener) {
    this.#of(name).set(listener, (/** @type {any} */ payload) => {
      this.off(name, listener);
      listener(payload);
    });
    return this;
  }

  /** @param {string} name @param {Listener} listener */
  off(name, listener) {
    this.#listeners.get(name)?.delete(listener);
    return this;
  }

  /** A listener that throws is reported as the page's error; the others and the call go on.
   *  @param {string} name @param {unknown} payload */
  emit(name, payload) {
    for (const listener of [...(this.#listeners.get(name)?.values() ?? [])]) {
      try {
        listener(payload);
      } catch (error) {
        reportError(error);
      }
    }
  }

  /** @param {string} name */
  #of(name) {
    /** @type {Map<Listener, Listener>} */
    const known = this.#listeners.get(name) ?? new Map();
    this.#listeners.set(name, known);
    return known;
  }
}
