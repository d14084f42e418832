// A transcript that is read while its recording plays: the word that is said is lit, a word that is clicked
// is heard. Exported in every format.

import { clock, el, parts, plural } from "/shared/el.js";
import { download } from "/shared/dom.js";
import { Playback } from "/shared/playback.js";
import { timedWords } from "/shared/words.js";
import { languageName } from "./voice-list.js";
import { Wave } from "./wave.js";

const EXPORTS = { txt: "Text", srt: "SRT", vtt: "VTT", json: "JSON" };
const TYPES = { txt: "text/plain", srt: "application/x-subrip", vtt: "text/vtt", json: "application/json" };
const LINGERS_MS = 60; // a word stays lit so long after its end
const STEP_MS = 3000;
const DRAWN_MS = 600_000; // decoding ten minutes takes 60 MB for a moment

/** The pieces of a segment: words with times, and what is between them. Times in ms. */
export function piecesOf(segment) {
  if (!segment.words.length) return timedWords(segment.text, segment.start * 1000, segment.end * 1000);
  const pieces = [];
  let at = 0;
  for (const { word, start, end, confidence } of segment.words) {
    const found = segment.text.indexOf(word, at);
    if (found > at) pieces.push({ text: segment.text.slice(at, found) });
    if (found < 0) pieces.push({ text: " " });
    else at = found + word.length;
    pieces.push({ text: word, fromMs: start * 1000, toMs: end * 1000, confidence });
  }
  if (at < segment.text.length) pieces.push({ text: segment.text.slice(at) });
  return pieces;
}

export class TranscriptView {
  #access;
  #job;
  #view = parts("transcript");
  #playback = new Playback();
  #words = []; // {fromMs, toMs, node}, in order
  #said = null;

  /** `segments`: as in the job's output. */
  constructor(access, job, segments) {
    [this.#access, this.#job] = [access, job];
    this.root = this.#view.root;
    this.#fill(segments);
    this.#wire();
  }

  /** Takes the recording: a Blob or its address. */
  async open(recording) {
    const view = this.#view;
    try {
      if (!recording) throw new Error("It was deleted, or made before recordings were kept with their transcripts.");
      const source = recording instanceof Blob ? recording : new URL(recording, location.href);
      await this.#playback.open(source instanceof URL ? source.pathname + source.search : source);
      this.#picture(recording);
      view.length.textContent = clock(this.#job.output.durationMs, 0);
      view.seek.max = this.#job.output.durationMs;
      view.transport.hidden = false;
      this.root.dataset.sound = "ready";
    } catch (error) {
      view.noSound.hidden = false;
      view.noSound.textContent = `The recording cannot be played here. ${error.message}`;
    }
  }

  close() {
    this.#playback.close();
  }

  /** Draws the wave, unless it would take too much memory. */
  async #picture(recording) {
    const [view, { durationMs }] = [this.#view, this.#job.output];
    if (durationMs > DRAWN_MS) return;
    view.wave.hidden = false;
    const wave = new Wave(view, durationMs, this.#words, (ms) => (this.#playback.ms = ms));
    try {
      await wave.read(recording instanceof Blob ? await recording.arrayBuffer() : await this.#access.file(recording));
      this.#playback.addEventListener("move", () => (wave.ms = this.#playback.ms));
      wave.ms = this.#playback.ms;
    } catch {
      view.wave.hidden = true; // the words and the slider say as much
    }
  }

  #fill(segments) {
    const [view, { output, warnings }] = [this.#view, this.#job];
    view.title.textContent = output.label || output.fileName;
    view.about.textContent = [output.language ? languageName(output.language) : "Language unknown", clock(output.durationMs, 0), plural(output.wordCount, "word"), output.model, ...warnings.map((warning) => warning.message)].join(" · ");
    const estimated = segments.some((segment) => !segment.words.length);
    view.words.append(...segments.map((segment) => el("p", { class: "segment", dir: "auto" }, ...piecesOf(segment).map((piece) => this.#piece(piece)))));
    if (!segments.length) view.words.append(el("p", { class: "empty" }, "No speech was found in this recording."));
    view.hint.textContent = estimated ? "The engine gave no times for some of these words: within a sentence, they are estimated by their letters. Click a word to hear it." : segments.length ? "Click a word to hear it. Space plays and pauses, the arrow keys go 3 seconds back and on." : "";
    view.exports.append(...Object.entries(EXPORTS).map(([format, name]) => {
      const button = el("button", { class: "button small", type: "button", title: `Download ${name}` }, name);
      button.addEventListener("click", () => this.#export(format));
      return button;
    }));
    this.#text = segments.map((segment) => segment.text).join("\n");
    view.copy.disabled = !segments.length;
  }

  #text = "";

  #piece({ text, fromMs, toMs, confidence }) {
    if (fromMs === undefined) return text;
    const node = el("span", { class: "word", data: { ms: Math.round(fromMs), to: Math.round(toMs) } }, text);
    if (confidence !== undefined && confidence < 0.5) node.classList.add("unsure");
    this.#words.push({ fromMs, toMs, node });
    return node;
  }

  #wire() {
    const [view, playback] = [this.#view, this.#playback];
    view.play.addEventListener("click", () => playback.toggle());
    view.seek.addEventListener("input", () => (playback.ms = Number(view.seek.value)));
    view.speed.addEventListener("change", () => (playback.speed = Number(view.speed.value)));
    playback.addEventListener("move", () => this.#moved());
    playback.addEventListener("change", () => {
      view.play.dataset.shows = playback.playing ? "pause" : "play";
      view.play.setAttribute("aria-label", playback.playing ? "Pause" : "Play");
    });
    view.words.addEventListener("click", ({ target }) => {
      const word = target.closest(".word");
      if (word && !String(getSelection())) playback.play(Number(word.dataset.ms));
    });
    view.root.addEventListener("keydown", (event) => {
      if (event.target.closest("button, input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === " ") playback.toggle();
      else if (event.key === "ArrowLeft") playback.ms -= STEP_MS;
      else if (event.key === "ArrowRight") playback.ms += STEP_MS;
      else return;
      event.preventDefault();
    });
    view.copy.addEventListener("click", () => this.#copy());
  }

  #moved() {
    const [view, { ms }] = [this.#view, this.#playback];
    view.position.textContent = clock(ms);
    view.seek.value = ms;
    view.seek.setAttribute("aria-valuetext", clock(ms, 0));
    const word = this.#words.findLast((one) => one.fromMs <= ms + 1);
    const node = word && ms < word.toMs + LINGERS_MS ? word.node : null;
    if (node === this.#said) return;
    this.#said?.classList.remove("said");
    node?.classList.add("said");
    this.#said = node;
    if (node && this.#playback.playing) node.scrollIntoView({ block: "nearest" });
  }

  async #copy() {
    const { copy } = this.#view;
    try {
      await navigator.clipboard.writeText(this.#text);
      copy.textContent = "Copied";
    } catch {
      copy.textContent = "Not copied: select the text instead";
    }
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  }

  async #export(format) {
    const view = this.#view;
    try {
      const file = await this.#access.file(`/api/stt/${this.#job.id}/export?format=${format}`);
      download(`${this.#job.output.fileName.replace(/\.[^.]+$/, "")}.${format}`, [file], TYPES[format]);
    } catch (error) {
      view.noSound.hidden = false;
      view.noSound.textContent = `It cannot be exported: ${error.message}`;
    }
  }
}
