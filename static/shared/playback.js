// An <audio> element with a position in ms that can be followed, stretches that stop by themselves, and
// a speed that keeps the pitch. Events: `change` (plays or not), `move` (the position).

export class Playback extends EventTarget {
  audio = new Audio();
  #stopAt = null; // seconds
  #frame = 0;
  #wanted = 0; // ms: where to begin, until it is loaded
  #url = null;

  constructor() {
    super();
    this.audio.preservesPitch = true;
    for (const name of ["play", "pause", "ended", "ratechange"]) this.audio.addEventListener(name, () => this.#changed());
    this.audio.addEventListener("seeking", () => this.#moved());
  }

  /** Takes a Blob or an address; resolves when it can be played, throws where the browser cannot. */
  async open(source) {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = source instanceof Blob ? URL.createObjectURL(source) : null;
    this.audio.src = this.#url ?? source;
    await new Promise((resolve, reject) => {
      this.audio.addEventListener("loadedmetadata", resolve, { once: true });
      this.audio.addEventListener("error", () => reject(new Error("The browser cannot play this recording.")), { once: true });
    });
    this.audio.currentTime = this.#wanted / 1000;
  }

  get loaded() {
    return this.audio.readyState > 0;
  }

  get playing() {
    return !this.audio.paused;
  }

  get ms() {
    return this.loaded ? this.audio.currentTime * 1000 : this.#wanted;
  }

  set ms(value) {
    this.#stopAt = null;
    this.#wanted = Math.max(0, value);
    if (this.loaded) this.audio.currentTime = Math.min(this.#wanted / 1000, this.audio.duration);
    this.#moved();
  }

  /** Plays from where it is, or a stretch only. */
  async play(fromMs, toMs) {
    if (!this.loaded) return;
    if (fromMs !== undefined) this.ms = fromMs;
    this.#stopAt = toMs === undefined ? null : toMs / 1000;
    await this.audio.play().catch(() => {}); // paused again before it began
  }

  pause() {
    this.audio.pause();
  }

  toggle() {
    return this.playing ? this.pause() : this.play(this.audio.ended ? 0 : undefined);
  }

  set speed(value) {
    this.audio.playbackRate = value;
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.pause();
    if (this.#url) URL.revokeObjectURL(this.#url);
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
    cancelAnimationFrame(this.#frame);
    if (this.playing) this.#follow();
    else this.#moved();
  }

  #follow() {
    if (this.#stopAt !== null && this.audio.currentTime >= this.#stopAt) {
      this.#stopAt = null;
      return this.pause();
    }
    this.#moved();
    this.#frame = requestAnimationFrame(() => this.#follow());
  }

  #moved() {
    this.dispatchEvent(new Event("move"));
  }
}
