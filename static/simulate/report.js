// One run (/simulate/ID): how far it is, what came of each call, and what can be done with it. With another one
// beside it (?with=ID): what is better or worse.

import { html, render } from "/vendor/lit-html/lit-html.js";
import { confirmed } from "/shared/confirm.js";
import { moment, plural, span } from "/shared/el.js";
import { comparison } from "./comparison.js";
import { follow } from "./follow.js";
import { chip } from "./runs.js";
import { takeAlong } from "./take-along.js";
import { CALL_STATES, answeredAfter, checkWords, isActive, stageWords } from "./words.js";

export async function openReport(access, room, id) {
  const other = new URLSearchParams(location.search).get("with");
  const run = await access.get(`/api/simulations/${id}`);
  const beside = other && other !== id ? await access.get(`/api/simulations/${other}`) : null;
  await new Report(access, room, run, beside).open();
}

class Report {
  #access;
  #room;
  #run;
  #beside;
  #others = []; // runs of the same agent
  #fault = "";
  #busy = false;
  #opened = new Map(); // position of a call → whether somebody opened or closed it

  constructor(access, room, run, beside) {
    this.#access = access;
    this.#room = room;
    this.#run = run;
    this.#beside = beside;
  }

  async open() {
    const { data } = await this.#access.list("/api/simulations", { query: { agentId: this.#run.agentId, limit: 50 } });
    this.#others = data.filter(({ id }) => id !== this.#run.id);
    this.#draw();
    this.#follow(this.#run.id, (run) => (this.#run = run));
    if (this.#beside) this.#follow(this.#beside.id, (run) => (this.#beside = run));
  }

  async #follow(id, set) {
    const of = () => (this.#run.id === id ? this.#run : this.#beside);
    if (!isActive(of())) return;
    try {
      await follow(this.#access, id, (state) => {
        const fresh = state.results.some(({ status, position }) => ["passed", "failed"].includes(status) && !of().results[position].checks.length);
        set({ ...of(), ...state, results: state.results.map((call, at) => (call.status === of().results[at].status ? of().results[at] : call)) });
        this.#draw();
        if (fresh) this.#reload(id, set);
      });
      await this.#reload(id, set);
    } catch (error) {
      this.#fault = error.status === 404 ? "This run has been deleted." : error.message;
      this.#draw();
    }
  }

  async #reload(id, set) {
    set(await this.#access.get(`/api/simulations/${id}`));
    this.#draw();
  }

  async #cancel() {
    this.#busy = true;
    this.#draw();
    try {
      const active = [this.#run, this.#beside].filter((one) => one && isActive(one));
      await Promise.all(active.map(({ id }) => this.#access.post(`/api/simulations/${id}/cancel`)));
    } catch (error) {
      this.#fault = error.message;
    }
    this.#busy = false;
    this.#draw();
  }

  async #delete() {
    const path = `/api/simulations/${this.#run.id}`;
    const text = "Its report is deleted. The calls stay among the calls.";
    if (await confirmed({ title: "Delete this run?", text, action: "Delete the run", work: () => this.#access.delete(path) })) location.assign("/simulate");
  }

  // ---------------------------------------------------------------------- shown

  #draw() {
    document.title = `${this.#run.agentName || "Run"} – Simulated callers – Blab`;
    render(this.#view(), this.#room);
  }

  #view() {
    const run = this.#run;
    const active = isActive(run);
    return html`
      <p class="back"><a href="/simulate">All runs</a></p>
      <div class="head">
        <h1><a class="plain" href="/agents/${run.agentId}">${run.agentName || "Unnamed"}</a> <span class="chip">Version ${run.agentVersion}</span> ${chip(run)}</h1>
        <div class="actions">
          ${active
            ? html`<button class="button" type="button" ?disabled=${this.#busy} @click=${() => this.#cancel()}>${this.#beside && isActive(this.#beside) ? "Cancel both" : "Cancel"}</button>`
            : html`<a class="button primary" href="/simulate?again=${run.id}">Change or run again</a>
                <button class="button" type="button" @click=${() => takeAlong(run)}>Copy as command</button>
                <button class="button danger" type="button" @click=${() => this.#delete()}>Delete</button>`}
        </div>
      </div>
      <p class="fault" role="alert">${this.#fault}</p>
      ${this.#state(run, active)}
      ${tiles(run)}
      ${this.#choice()}
      ${this.#beside ? comparison(this.#beside, run) : ""}
      <ol class="calls">${run.results.map((call) => this.#call(call))}</ol>
    `;
  }

  #state(run, active) {
    if (run.error) return html`<p class="card block fault" role="alert">${run.error.message}</p>`;
    if (!active) return html`<p class="note">${moment(run.createdAt)}, ${plural(run.summary.calls, "call")}${run.startedAt && run.finishedAt ? ` in ${span(new Date(run.finishedAt) - new Date(run.startedAt))}` : ""}</p>`;
    const now = run.results.filter(({ status }) => status === "calling").map(({ scenario }) => scenario);
    const text = run.status === "queued" ? "Waits for its turn" : now.length ? `On the telephone: ${now.join(", ")}` : "Calling, as soon as there is a free line";
    return html`<div class="progress" role="status"><progress max=${run.calls} value=${run.summary.calls} aria-label="Calls made"></progress> <span class="note">${text}</span></div>`;
  }

  #choice() {
    if (!this.#others.length) return "";
    const choose = (event) => location.assign(event.target.value ? `/simulate/${this.#run.id}?with=${event.target.value}` : `/simulate/${this.#run.id}`);
    const name = (one) => `Version ${one.agentVersion}, ${moment(one.createdAt)}`;
    return html`<div class="fields compare"><label>Compare with <select @change=${choose}>
      <option value="">Nothing</option>
      ${this.#others.map((one) => html`<option value=${one.id} ?selected=${one.id === this.#beside?.id}>${name(one)}</option>`)}
    </select></label></div>`;
  }

  #call(call) {
    const over = call.status === "passed" || call.status === "failed";
    const opened = this.#opened.get(call.position) ?? (call.status === "failed" || this.#run.calls === 1);
    const title = html`<span class="mark" data-status=${call.status} aria-hidden="true"></span>
      <span class="call-name">${call.scenario}${call.repetition > 1 ? ` (${call.repetition})` : ""}</span>
      <span class="small">${CALL_STATES[call.status]}${over ? afterWords(call) : ""}</span>`;
    if (!over || !(call.checks.length || call.lines.length)) return html`<li class="card call"><div class="call-head">${title}${this.#link(call)}</div></li>`;
    return html`<li class="card call">
      <details ?open=${opened} @toggle=${(event) => this.#opened.set(call.position, event.target.open)}>
        <summary class="call-head">${title}</summary>
        <div class="call-body">
          ${call.lines.map(lineView)}
          ${whole(call)}
          ${this.#link(call)}
        </div>
      </details>
    </li>`;
  }

  #link({ callId, status }) {
    if (!callId) return "";
    const text = status === "calling" ? "Listen in" : "Open the call";
    return html`<a class="button small call-link" href=${status === "calling" ? "/calls" : `/calls/${callId}`}>${text}</a>`;
  }
}

function tiles({ summary, calls }) {
  const { callsPassed, checks, checksPassed, ttfaP50Ms, ttfaP95Ms, cutOffs, interruptedP50Ms } = summary;
  if (!summary.calls) return "";
  const all = [
    ["Calls passed", `${callsPassed} of ${calls}`, callsPassed < summary.calls],
    ["Checks passed", `${checksPassed} of ${checks}`, checksPassed < checks],
    ["Answers after", answeredAfter(ttfaP50Ms), false, ttfaP95Ms === null ? "" : `95 % within ${span(ttfaP95Ms)}`],
    ["Callers cut off", String(cutOffs), cutOffs > 0],
    ...(interruptedP50Ms === null ? [] : [["Falls silent after", span(interruptedP50Ms), false]]),
  ];
  return html`<dl class="tiles">${all.map(([name, value, bad, note]) => html`<div class="tile" data-bad=${String(Boolean(bad))}><dt>${name}</dt><dd>${value}</dd>${note ? html`<dd class="small">${note}</dd>` : ""}</div>`)}</dl>`;
}

/** After how long the lines were answered. */
function afterWords({ lines }) {
  const times = lines.map(({ ttfaMs }) => ttfaMs).filter((ms) => ms !== null);
  return times.length ? `, answered after ${times.map(span).join(", ")}` : "";
}

const PLAIN = ["call completed", "no_fault"];
/** The checks of the call itself; those that every call has are left out where they passed. */
function whole({ checks: all, lines }) {
  const shown = all.filter(({ name, passed }) => !passed || !lines.length || !PLAIN.includes(name));
  return shown.length ? html`<section class="whole"><h2 class="small">The call as a whole</h2>${checks(shown)}</section>` : "";
}

function lineView(line) {
  const heard = line.transcripts.join(" … ");
  const differs = line.said && heard.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim() !== line.said.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ").trim();
  const where = stageWords(line.stages);
  return html`<section class="turn">
    <p class="you"><b>Caller</b> <span dir="auto">${line.said || "(a recording)"}</span></p>
    ${differs || !line.said ? html`<p class="heard small">Heard: <span dir="auto">${heard || "nothing"}</span></p>` : ""}
    <p class="blab"><b>Agent</b> <span dir="auto">${line.reply || "(said nothing)"}</span>${line.ttfaMs === null ? "" : html` <span class="took" title=${where}>${span(line.ttfaMs)}</span>`}</p>
    ${line.tools.map(({ name, arguments: given }) => html`<p class="small">Used the tool ${name} ${JSON.stringify(given)}</p>`)}
    ${checks(line.checks)}
  </section>`;
}

function checks(all) {
  const sorted = [...all].sort((a, b) => a.passed - b.passed);
  return html`<ul class="checks">${sorted.map((check) => {
    const { label, found } = checkWords(check);
    return html`<li data-passed=${String(check.passed)}><span class="visually-hidden">${check.passed ? "Passed: " : "Failed: "}</span><span class="check-label" dir="auto">${label}</span>${found ? html`<span class="found" dir="auto">${found}</span>` : ""}</li>`;
  })}</ul>`;
}
