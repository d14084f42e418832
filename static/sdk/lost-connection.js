// A call that has lost its connection: until when it can be resumed, and when to try.

const RETRY_SECONDS = [0.2, 1, 2, 4, 8];

export class LostCall {
  #attempts = 0;
  #until;

  /** `call`: a Call with a handle, which has let go of its connection. */
  constructor(call) {
    this.call = call;
    this.#until = Date.now() + call.resumption.window * 1000;
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
