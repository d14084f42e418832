// The Inspect panel: shows the call that is on, or the last one, and plays it again.

import { clockText, download } from "/shared/dom.js";
import { EventList } from "./event-list.js";
import { MARKS, Timeline } from "./timeline.js";

const REFRESH_MS = 100;

const $ = (id) => document.getElementById(id);

export class Panel {
  #call;
  #inspector;
  #refresh = null;
  #frame = 0;
  #tab = "events";
  #drawn = ""; // what the tab last showed
  #audio = new Audio();
  #wav = ""; // the URL of the recording that is played

  constructor(call, inspector) {
    this.#call = call;
    this.#inspector = inspector;
    this.timeline = new Timeline($("timeline"), inspector);
    this.events = new EventList({ scroll: $("event-scroll"), rows: $("event-rows"), filter: $("event-filter"), count: $("event-count"), detail: $("event-detail"), onSeek: (time) => this.#seek(time) });
    this.events.follow(inspector.journal);
    this.timeline.onSeek = (time) => this.#seek(time);
    this.#wire();
    call.on("connection_change", ({ state }) => {
      if (state === "ended") this.timeline.fit();
      this.#render();
    });
  }

  get isOpen() {
    return !$("inspector").hidden;
  }

  /** Another call: what was known of the one before is forgotten. */
  begin() {
    this.#audio.pause();
    this.#audio.removeAttribute("src");
    URL.revokeObjectURL(this.#wav);
    this.#wav = "";
    this.events.follow(this.#inspector.journal);
    this.timeline.reset();
  }

  #wire() {
    $("inspect-close").addEventListener("click", () => {
      this.toggle(false);
      $("inspect").focus();
    });
    $("inspector").addEventListener("keydown", (event) => event.key === "Escape" && $("inspect-close").click());
    $("zoom-in").addEventListener("click", () => this.timeline.zoom(1 / 1.6));
    $("zoom-out").addEventListener("click", () => this.timeline.zoom(1.6));
    $("zoom-fit").addEventListener("click", () => this.timeline.fit());
    $("export").addEventListener("click", () => download("blab-events.jsonl", this.#inspector.journal.lines(), "application/jsonl"));
    $("replay").addEventListener("click", () => this.#play());
    $("save-audio").addEventListener("click", () => download("blab-call.wav", [this.#inspector.recording.wav()], "audio/wav"));
    $("position").addEventListener("input", () => this.#seek(Number($("position").value)));
    for (const tab of document.querySelectorAll("[role=tab]")) {
      tab.addEventListener("click", () => this.#show(tab.dataset.tab));
      tab.addEventListener("keydown", (event) => this.#moveTab(event));
    }
    for (const name of ["play", "pause", "ended"]) this.#audio.addEventListener(name, () => this.#playing());
  }

  toggle(open) {
    $("inspector").hidden = !open;
    $("inspect").setAttribute("aria-expanded", String(open));
    document.body.classList.toggle("inspecting", open);
    if (open && this.#call.state === "ended") this.timeline.fit();
    if (open) this.#render();
    this.#run();
  }

  /** Draws while the panel is open and there is something new to see. */
  #run() {
    clearInterval(this.#refresh);
    const changing = ["live", "shaky", "retrying"].includes(this.#call.state);
    if (this.isOpen && changing) this.#refresh = setInterval(() => this.#draw(), REFRESH_MS);
  }

  #render() {
    const idle = ["idle", "ended", "loading"].includes(this.#call.state);
    const { isEmpty } = this.#inspector.recording;
    $("replay").disabled = $("save-audio").disabled = $("position").disabled = isEmpty || !idle;
    $("export").disabled = !this.#inspector.journal.events.length;
    this.#run();
    if (this.isOpen) this.#draw();
  }

  #draw() {
    this.timeline.draw();
    this.events.update();
    $("export").disabled = !this.#inspector.journal.events.length;
    const { recording, journal } = this.#inspector;
    $("position").max = String(recording.end.toFixed(2));
    $("position").min = String(recording.dropped);
    $("timeline").setAttribute("aria-label", `Time axis: ${clockText(recording.end)} of the call, ${journal.turns.length} turns, ${describe(journal.marks)}`);
    this.#drawTable();
  }

  /** The tables are made anew when something in them has changed. */
  async #drawTable() {
    const { journal } = this.#inspector;
    const { turns, network, tools } = journal;
    const state = `${this.#tab} ${turns.length} ${turns.at(-1)?.heardMs} ${network.length} ${tools.map(({ seconds }) => seconds)}`;
    if (this.#tab === "events" || state === this.#drawn) return;
    this.#drawn = state;
    const { TABLES } = await import("./tables.js");
    $(`pane-${this.#tab}`).replaceChildren(TABLES[this.#tab](journal, (time) => this.#seek(time)));
  }

  #show(name) {
    this.#tab = name;
    for (const tab of document.querySelectorAll("[role=tab]")) {
      const chosen = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      $(`pane-${tab.dataset.tab}`).hidden = !chosen;
    }
    this.#draw();
  }

  #moveTab(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const tabs = [...document.querySelectorAll("[role=tab]")];
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
    next.click();
    next.focus();
  }

  // ------------------------------------------------------------------ playing it again

  #seek(time) {
    this.timeline.playhead = time;
    if (!this.#audio.paused) this.#audio.currentTime = time - this.#inspector.recording.dropped;
    $("position").value = String(time);
    $("position").setAttribute("aria-valuetext", clockText(time));
    this.timeline.show(time);
  }

  async #play() {
    if (!this.#audio.paused) return this.#audio.pause();
    if (!this.#wav) {
      this.#wav = URL.createObjectURL(this.#inspector.recording.wav());
      this.#audio.src = this.#wav;
    }
    const { dropped, end } = this.#inspector.recording;
    const from = this.timeline.playhead ?? dropped;
    this.#audio.currentTime = from >= end - 0.1 ? 0 : from - dropped;
    return this.#audio.play().catch(() => {});
  }

  #playing() {
    const playing = !this.#audio.paused;
    $("replay").setAttribute("aria-pressed", String(playing));
    $("replay-label").textContent = playing ? "Pause" : "Play again";
    cancelAnimationFrame(this.#frame);
    const move = () => {
      this.timeline.playhead = this.#inspector.recording.dropped + this.#audio.currentTime;
      $("position").value = String(this.timeline.playhead);
      this.timeline.show(this.timeline.playhead);
      this.#frame = requestAnimationFrame(move);
    };
    if (playing) move();
  }
}

/** "2 interruptions, 1 backchannel". */
function describe(marks) {
  const counts = Object.keys(MARKS).map((kind) => [MARKS[kind].toLowerCase(), marks.filter((mark) => mark.kind === kind).length]);
  const parts = counts.filter(([, count]) => count).map(([name, count]) => `${name}: ${count}`);
  return parts.join(", ") || "no interruption";
}
