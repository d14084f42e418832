// The room in which scenarios are written and run (/simulate), with the earlier runs below.

import { html, render } from "/vendor/lit-html/lit-html.js";
import { live } from "/agents/field.js";
import { plural } from "/shared/el.js";
import { runRows } from "./runs.js";
import { ScenarioForm } from "./scenario-form.js";
import { tomlOf } from "./toml.js";
import { example, newScenario, recordingsOf, secondsOf } from "./tree.js";

const RUNS = 20;
const MOST_AGENTS = 500;
const MOST_VERSIONS = 200; // of an agent are kept

export async function openEditor(access, room) {
  const { data: agents } = await access.list("/api/agents", { query: { limit: MOST_AGENTS } });
  await new Editor(access, room, agents.sort((a, b) => b.updatedAt.localeCompare(a.updatedAt))).open();
}

class Editor {
  #access;
  #room;
  #agents;
  #agent;
  #version = null; // null: the newest
  #compares = false; // with the version before
  #tree = example();
  #recordings = {};
  #from = null; // the run whose scenarios these are
  #text = null; // of the scenarios, while they are shown as text
  #repeat = 1;
  #atOnce = 1;
  #runs = [];
  #cursor = null;
  #faults = []; // {path, message}
  #busy = false;
  #touched = false;
  #leaving = false;
  #form;

  constructor(access, room, agents) {
    this.#access = access;
    this.#room = room;
    this.#agents = agents;
    this.#form = new ScenarioForm(access, (touched) => this.#changed(touched));
  }

  async open() {
    if (!this.#agents.length) return render(nobody(), this.#room);
    const given = new URLSearchParams(location.search);
    addEventListener("beforeunload", (event) => this.#touched && !this.#leaving && event.preventDefault());
    await this.#loadRuns();
    const again = given.get("again");
    const wanted = given.get("agent") ?? this.#runs[0]?.agentId;
    this.#agent = this.#agents.find(({ id }) => id === wanted) ?? this.#agents[0];
    if (again) await this.#takeFrom(again);
    else await this.#takeLatest();
    this.#draw();
  }

  async #loadRuns() {
    const { data, meta } = await this.#access.list("/api/simulations", { query: { limit: RUNS, cursor: this.#cursor } });
    this.#runs.push(...data);
    this.#cursor = meta.hasMore ? meta.nextCursor : null;
  }

  /** The scenarios of the agent's latest run, or the example. */
  async #takeLatest() {
    const { data } = await this.#access.list("/api/simulations", { query: { agentId: this.#agent.id, limit: 1 } });
    if (data.length) return this.#takeFrom(data[0].id);
    this.#reset();
  }

  #reset() {
    this.#take(example(), {}, null);
    this.#draw();
  }

  async #takeFrom(id) {
    const run = await this.#access.get(`/api/simulations/${id}`);
    this.#agent = this.#agents.find((one) => one.id === run.agentId) ?? this.#agent;
    this.#repeat = run.repeat;
    this.#atOnce = run.atOnce;
    this.#take(run.scenarios, run.recordings, run);
  }

  #take(tree, recordings, from) {
    this.#tree = tree;
    this.#recordings = recordings;
    this.#from = from;
    this.#text = null;
    this.#faults = [];
    this.#touched = false;
  }

  #changed(touched = true) {
    this.#touched ||= touched;
    this.#draw();
  }

  // ---------------------------------------------------------------------- form and text

  async #showText(text) {
    if (text === (this.#text !== null)) return;
    if (text) {
      this.#text = tomlOf(this.#tree);
    } else {
      try {
        const { scenarios } = await this.#access.post("/api/simulations/check", { source: this.#text, recordings: this.#recordings });
        this.#tree = scenarios;
        this.#text = null;
        this.#faults = [];
      } catch (error) {
        this.#refused(error);
      }
    }
    this.#draw();
  }

  #refused(error) {
    const { errors = [], path = "" } = error.details ?? {};
    this.#faults = errors.length ? errors : [{ path, message: error.message }];
  }

  get #source() {
    return this.#text ?? tomlOf(this.#tree);
  }

  async #run() {
    if (this.#busy) return;
    this.#busy = true;
    this.#faults = [];
    this.#draw();
    const used = new Set(this.#tree.scenario.flatMap(({ line }) => line.flatMap(recordingsOf)));
    const recordings = Object.fromEntries(Object.entries(this.#recordings).filter(([name]) => this.#text !== null || used.has(name)));
    const body = { agentId: this.#agent.id, source: this.#source, recordings, repeat: this.#repeat, atOnce: this.#atOnce };
    const version = this.#version ?? this.#agent.version;
    try {
      const made = await this.#access.post("/api/simulations", { ...body, agentVersion: version });
      const before = this.#compares && version > 1 ? await this.#other(made, { ...body, agentVersion: version - 1 }) : null;
      this.#leaving = true;
      location.assign(`/simulate/${made.id}${before ? `?with=${before.id}` : ""}`);
    } catch (error) {
      this.#busy = false;
      this.#refused(error);
      this.#draw();
      document.getElementById("faults")?.scrollIntoView({ block: "nearest" });
    }
  }

  /** The run beside another one, which is cancelled where there can be none. */
  async #other({ id }, body) {
    try {
      return await this.#access.post("/api/simulations", body);
    } catch (error) {
      await this.#access.post(`/api/simulations/${id}/cancel`).catch(() => {});
      throw error;
    }
  }

  // ---------------------------------------------------------------------- shown

  #draw() {
    if (this.#agent) render(this.#view(), this.#room);
  }

  #view() {
    return html`
      <div class="head"><h1>Simulated callers</h1></div>
      <p class="lead">They call your agent, say what you write, listen to the answers, and check them. Run them again after each change of the agent.</p>
      <form novalidate @submit=${(event) => (event.preventDefault(), this.#run())}>
        ${this.#called()}
        <section aria-labelledby="says-title">
          <div class="head">
            <h2 id="says-title">Who calls, and what they say</h2>
            <div class="segments" role="group" aria-label="Shown as">
              <button type="button" aria-pressed=${String(this.#text === null)} @click=${() => this.#showText(false)}>Form</button>
              <button type="button" aria-pressed=${String(this.#text !== null)} @click=${() => this.#showText(true)}>Text</button>
            </div>
          </div>
          ${this.#origin()}
          ${this.#text === null ? this.#scenarios() : this.#asText()}
        </section>
        ${this.#bar()}
      </form>
      <section class="runs" aria-labelledby="runs-title">
        <h2 id="runs-title">Earlier runs</h2>
        ${this.#runs.length ? runRows(this.#runs) : html`<p class="note">None yet. Each run is kept here with its report, to be compared with the next one.</p>`}
        ${this.#cursor ? html`<button class="button" type="button" @click=${async () => (await this.#loadRuns(), this.#draw())}>More runs</button>` : ""}
      </section>
    `;
  }

  #called() {
    const { version } = this.#agent;
    const chosen = this.#version ?? version;
    const versions = Array.from({ length: Math.min(version, MOST_VERSIONS) }, (_, at) => version - at);
    const choose = async (event) => {
      this.#agent = this.#agents.find(({ id }) => id === event.target.value);
      this.#version = null;
      history.replaceState(null, "", `/simulate?agent=${this.#agent.id}`);
      if (!this.#touched) await this.#takeLatest();
      this.#draw();
    };
    return html`<section class="card block" aria-labelledby="called-title">
      <h2 id="called-title">Who is called</h2>
      <div class="fields">
        <label>Agent <select name="agent" @change=${choose}>${this.#agents.map(({ id, name }) => html`<option value=${id} ?selected=${id === this.#agent.id}>${name || "Unnamed"}</option>`)}</select></label>
        <label>Version <select name="version" .value=${live(String(chosen))} @change=${(event) => ((this.#version = Number(event.target.value)), this.#draw())}>${versions.map((one) => html`<option value=${one} ?selected=${one === chosen}>${one}${one === version ? " (newest)" : ""}</option>`)}</select></label>
        <label>Each call <select name="repeat" .value=${live(String(this.#repeat))} @change=${(event) => ((this.#repeat = Number(event.target.value)), this.#draw())}>${[1, 2, 3, 5, 10].map((one) => html`<option value=${one} ?selected=${one === this.#repeat}>${one === 1 ? "once" : `${one} times`}</option>`)}</select></label>
        <label>Calls at once <select name="atOnce" .value=${live(String(this.#atOnce))} @change=${(event) => ((this.#atOnce = Number(event.target.value)), this.#draw())}>${[1, 2, 3, 4].map((one) => html`<option value=${one} ?selected=${one === this.#atOnce}>${one}</option>`)}</select></label>
      </div>
      ${chosen > 1 ? html`<label class="check"><input type="checkbox" name="compares" .checked=${live(this.#compares)} @change=${(event) => ((this.#compares = event.target.checked), this.#draw())}> <span>Call version ${chosen - 1} too, and show what has become better or worse</span></label>` : ""}
    </section>`;
  }

  #origin() {
    if (this.#touched) return "";
    if (this.#from) {
      return html`<p class="note">As in the latest run of this agent. <button class="link" type="button" @click=${() => this.#reset()}>Begin with the example</button></p>`;
    }
    return html`<p class="note">An example that suits any agent. Change it, or run it as it is. <code>[700 ms]</code> within a line is a pause.</p>`;
  }

  #scenarios() {
    const { scenario } = this.#tree;
    const add = () => {
      scenario.push(newScenario(this.#tree));
      this.#changed();
      document.querySelector(".scenario:last-child input")?.select();
    };
    return html`
      ${this.#form.common(this.#tree)}
      <ol class="scenarios">
        ${scenario.map((_, at) => html`<li class="scenario card block">${this.#form.view(this.#tree, at, this.#recordings, this.#faults)}</li>`)}
      </ol>
      <button class="button" type="button" @click=${add}>Add a caller</button>
    `;
  }

  #asText() {
    return html`<textarea class="toml" rows="24" spellcheck="false" dir="ltr" aria-label="Scenarios as TOML" aria-describedby="toml-hint" maxlength="100000" .value=${live(this.#text)} @input=${(event) => ((this.#text = event.target.value), this.#changed())}></textarea>
      <p class="note" id="toml-hint">The file of <code>blab simulate</code>, in TOML. It has more than the form: tools, regular expressions, noise, voices.</p>`;
  }

  #bar() {
    const count = this.#tree.scenario.length * this.#repeat * (this.#compares ? 2 : 1);
    const seconds = secondsOf(this.#tree, this.#repeat, this.#atOnce) * (this.#compares ? 2 : 1);
    const about = seconds < 90 ? `about ${Math.max(10, Math.round(seconds / 10) * 10)} seconds` : `about ${Math.round(seconds / 60)} minutes`;
    const own = this.#text === null ? this.#faults.filter(({ path }) => !/^scenario\[\d+\]/.test(path)) : this.#faults;
    const within = this.#faults.length - own.length;
    return html`<div class="run-bar card" id="faults">
      <div class="run-state" role=${this.#faults.length ? "alert" : "status"}>
        ${own.length ? html`<ul class="fault">${own.map(({ message }) => html`<li>${message}</li>`)}</ul>` : ""}
        ${within ? html`<p class="fault">Please look at what is marked above.</p>` : ""}
        ${this.#faults.length ? "" : this.#busy ? "Starting…" : this.#text === null ? `${plural(count, "call")}, ${about}` : ""}
      </div>
      <button class="button primary" type="submit" ?disabled=${this.#busy || !this.#tree.scenario.length}>Run</button>
    </div>`;
  }
}

const nobody = () => html`
  <div class="head"><h1>Simulated callers</h1></div>
  <p class="lead">They call an agent, say what you write, listen to the answers, and check them. For that there must be an agent.</p>
  <div class="actions"><a class="button primary" href="/agents/new">Make an agent</a></div>
`;
