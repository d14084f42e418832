// A connection that is lost: until when its call can be resumed, and when to try.

const RETRY_SECONDS = [0.2, 1, 2, 4, 8];

export class LostConnection {
  #attempts = 0;
  #until;

  /** @param {import("./connection.js").Connection} connection with a handle
   *  @param {number} window seconds for which the call can be resumed */
  constructor(connection, window) {
    this.connection = connection;
    this.#until = Date.now() + window * 1000;
  }

  get isOver() {
    return Date.now() >= this.#until;
  }

  /** Seconds until the next attempt; undefined if that is after the window. */
  nextAttempt() {
    const seconds = RETRY_SECONDS[Math.min(this.#attempts++, RETRY_SECONDS.length - 1)];
    return Date.now() + seconds * 1000 < this.#until ? seconds : undefined;
  }
}
