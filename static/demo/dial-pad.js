// The dial pad: a telephone's keys, for agents that take them. What is pressed goes to the server key by key, and
// is said to the agent once it makes an answer, as on a telephone with `blab_keys` = answer.

import { node } from "/shared/dom.js";

const KEYS = [..."123456789*0#"];
const ROWS = [697, 770, 852, 941]; // Hz
const COLUMNS = [1209, 1336, 1477];
const TONE_SECONDS = 0.13;
const LOUDNESS = 0.06;
const PAUSE_MS = 2_000;
const MOST_KEYS = 32;
const SHOWN = 14; // as many as fit
const ARROWS = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -3, ArrowDown: 3 };

export class DialPad {
  #call;
  #say;
  #shown = node("output", "dialled");
  #keys = ""; // pressed, and not yet an answer
  #timer = 0;
  #audio = null;

  /** `button` opens it; `say(text)`: what is pressed, as the caller's words. */
  constructor(call, button, say) {
    this.#call = call;
    this.#say = say;
    const buttons = KEYS.map((key, place) => {
      const one = Object.assign(node("button", "dial-key", key), { type: "button" });
      one.addEventListener("click", () => this.#press(place));
      return one;
    });
    buttons[0].autofocus = true;
    const hint = node("p", "hint", "The agent answers after #, or two seconds without a key.");
    this.element = node("div", "dial-pad", this.#shown, node("div", "dial-keys", ...buttons), hint);
    Object.assign(this.element, { popover: "auto", role: "dialog", ariaLabel: "Dial pad" });
    this.element.addEventListener("keydown", (event) => this.#typed(event, buttons));
    this.element.addEventListener("toggle", ({ newState }) => (newState === "open" ? this.#place(button) : this.#silence()));
    call.on("connection_change", ({ state }) => ["live", "shaky"].includes(state) || this.#reset());
    button.after(this.element);
    button.popoverTargetElement = this.element;
  }

  #typed(event, buttons) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const place = KEYS.indexOf(event.key);
    const at = buttons.indexOf(document.activeElement);
    if (place >= 0) buttons[place].focus();
    if (place >= 0 && !event.repeat) this.#press(place);
    else if (event.key in ARROWS && at >= 0) buttons[at + ARROWS[event.key]]?.focus();
    else if (place < 0) return;
    event.preventDefault();
  }

  #press(place) {
    clearTimeout(this.#timer);
    this.#call.pressKey(KEYS[place]);
    this.#sound(ROWS[Math.floor(place / 3)], COLUMNS[place % 3]);
    this.#keys += KEYS[place];
    this.#shown.textContent = this.#keys.slice(-SHOWN);
    if (KEYS[place] === "#" || this.#keys.length >= MOST_KEYS) this.#answer();
    else this.#timer = setTimeout(() => this.#answer(), PAUSE_MS);
  }

  #answer() {
    this.#say(`(I pressed ${this.#keys} on my telephone.)`);
    this.#keys = "";
  }

  #reset() {
    clearTimeout(this.#timer);
    this.#keys = this.#shown.textContent = "";
    this.element.hidePopover();
  }

  /** Both tones of a key (ITU-T Q.23), for the caller's ear only: the server gets the event. */
  #sound(...frequencies) {
    this.#audio ??= new AudioContext();
    const { currentTime, destination } = this.#audio;
    const gain = new GainNode(this.#audio, { gain: LOUDNESS });
    gain.gain.setTargetAtTime(0, currentTime + TONE_SECONDS - 0.02, 0.005);
    gain.connect(destination);
    for (const frequency of frequencies) {
      const tone = new OscillatorNode(this.#audio, { frequency });
      tone.connect(gain);
      tone.start();
      tone.stop(currentTime + TONE_SECONDS);
    }
  }

  #silence() {
    this.#audio?.close();
    this.#audio = null;
  }

  /** Above the button where there is room, and inside the window. */
  #place(button) {
    const { left, top, width } = button.getBoundingClientRect();
    const { offsetWidth, offsetHeight, style } = this.element;
    style.left = `${Math.max(8, Math.min(left + width / 2 - offsetWidth / 2, innerWidth - offsetWidth - 8))}px`;
    style.top = `${Math.max(8, top - offsetHeight - 10)}px`;
  }
}
