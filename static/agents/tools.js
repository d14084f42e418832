// The tools of an agent: HTTP requests and MCP servers, each with a button to try what is saved.

import { html } from "/vendor/lit-html/lit-html.js";
import { span } from "/shared/el.js";
import { inputsOf, keepsSecrets, rowsOf, schemaOf, toolDraft } from "./draft.js";
import { area, check, live, number, select, text } from "./field.js";

const METHODS = ["POST", "GET", "PUT", "PATCH", "DELETE"].map((one) => [one, one]);
const TYPES = [["string", "Text"], ["number", "Number"], ["integer", "Whole number"], ["boolean", "Yes or no"]];
const MOST = 64;

export class Tools {
  #access;
  #changed;
  #tries = new Map(); // by tool and what is tried: {values, busy, result}
  #offered = new Map(); // by server: {busy, result}

  constructor(access, changed) {
    this.#access = access;
    this.#changed = changed;
  }

  /** The section. `room`: `{draft, faults, set, agentId, saved(tool)}`; `saved`: whether a tool is as it is stored. */
  view(room) {
    const { draft, faults, set } = room;
    const add = (tool) => () => {
      set("tools", [...draft.tools, { ...tool, open: true }]);
    };
    return html`<section class="card section" aria-labelledby="tools-title">
      <h2 id="tools-title">Tools</h2>
      <p class="hint">What it may do during a call: ask your own systems, or use the tools of an MCP server.</p>
      <p class="fault" role="alert">${faults.of("tools")}</p>
      <div class="tool-list">${draft.tools.map((tool, at) => this.#tool(room, tool, at))}</div>
      <div class="actions">
        <button class="button small" type="button" ?disabled=${draft.tools.length >= MOST} @click=${add(toolDraft({ type: "blab.http" }))}>Add an HTTP tool</button>
        <button class="button small" type="button" ?disabled=${draft.tools.length >= MOST} @click=${add(toolDraft({ type: "mcp" }))}>Add an MCP server</button>
      </div>
    </section>`;
  }

  #tool(room, tool, at) {
    const { draft, faults, set } = room;
    const path = `tools[${at}]`;
    const change = (changes) => {
      Object.assign(tool, changes);
      for (const name of Object.keys(changes)) faults.settle(`${path}.${name}`);
      faults.settle("tools");
      set("tools", draft.tools);
    };
    const mcp = tool.kind === "mcp";
    const url = mcp ? "server_url" : "url";
    return html`<details class="tool" ?open=${tool.open} @toggle=${(event) => (tool.open = event.target.open)}>
      <summary><b>${tool.name || "Unnamed"}</b> <span class="note">${mcp ? "MCP server" : `HTTP ${tool.method}`}</span></summary>
      <div class="stack">
        <div class="fields">
          ${text(faults, { path: `${path}.name`, label: mcp ? "Label" : "Name", hint: "Letters, digits, _ and -." }, tool.name, (name) => change({ name }), { max: 64, mono: true })}
          ${number(faults, { path: `${path}.timeout_ms`, label: "Gives up after (seconds)" }, tool.seconds, (seconds) => change({ seconds: seconds ?? 15 }), { max: 60 })}
        </div>
        ${text(faults, { path: `${path}.${url}`, label: "Address" }, tool.url, (value) => (faults.settle(`${path}.${url}`), change({ url: value })), { type: "url", max: 2048, placeholder: mcp ? "https://example.com/mcp" : "https://example.com/orders", mono: true })}
        ${mcp ? "" : this.#request(room, tool, path, change)}
        ${this.#headers(tool, change, path, faults)}
        ${mcp ? check("Each use needs the caller's approval", tool.asks, (asks) => change({ asks }), "Only clients that can answer, such as an app of yours, are asked.") : ""}
        ${mcp ? this.#server(room, tool, change) : this.#try(room, { tool, name: tool.name, rows: tool.rows ?? inputsOf(parsed(tool.schema)) })}
        <div><button class="button small danger" type="button" @click=${() => set("tools", draft.tools.filter((one) => one !== tool))}>Remove this ${mcp ? "server" : "tool"}</button></div>
      </div>
    </details>`;
  }

  #request(room, tool, path, change) {
    const { faults } = room;
    const edit = (row, changes) => {
      Object.assign(row, changes);
      change({ rows: tool.rows });
    };
    return html`
      ${area(faults, { path: `${path}.description`, label: "What it is for", hint: "The agent decides by this when to use it." }, tool.description, (description) => change({ description }), { rows: 2, max: 2000 })}
      <div class="fields">${select(faults, { path: `${path}.method`, label: "Request" }, METHODS, tool.method, (method) => change({ method }))}</div>
      ${tool.rows
        ? html`<fieldset class="rows">
            <legend>What it must find out first</legend>
            ${tool.rows.map(
              (row) => html`<div class="row-of-fields">
                <input class="mono" aria-label="Name of the value" placeholder="order" maxlength="64" spellcheck="false" .value=${live(row.name)} @input=${(event) => edit(row, { name: event.target.value })}>
                <select aria-label="Kind of value" @change=${(event) => edit(row, { type: event.target.value })}>${TYPES.map(([value, name]) => html`<option value=${value} ?selected=${value === row.type}>${name}</option>`)}</select>
                <input aria-label="What the value is" placeholder="The number of the order" maxlength="500" .value=${live(row.description)} @input=${(event) => edit(row, { description: event.target.value })}>
                <label class="check"><input type="checkbox" .checked=${live(row.required)} @change=${(event) => edit(row, { required: event.target.checked })}> Required</label>
                <button class="icon-button small" type="button" aria-label="Remove this value" @click=${() => change({ rows: tool.rows.filter((one) => one !== row) })}><svg viewBox="0 0 24 24" width="16" height="16" aria-hidden="true"><path d="M6 6l12 12M18 6 6 18"/></svg></button>
              </div>`,
            )}
            <div class="actions">
              <button class="button small" type="button" @click=${() => change({ rows: [...tool.rows, { name: "", type: "string", description: "", required: true }] })}>Add a value</button>
              <button class="button small quiet" type="button" @click=${() => change({ schema: JSON.stringify(schemaOf(tool.rows), null, 2), rows: null })}>Edit as JSON schema</button>
            </div>
          </fieldset>`
        : html`${area(faults, { path: `${path}.parameters`, label: "What it must find out first (JSON schema)" }, tool.schema, (schema) => change({ schema }), { rows: 8, max: 100_000, mono: true })}
            <div><button class="button small quiet" type="button" ?disabled=${!asRows(tool.schema)} @click=${() => change({ rows: asRows(tool.schema), schema: "" })}>Edit as a list</button></div>`}
    `;
  }

  #headers(tool, change, path, faults) {
    const renamed = tool.keeps && tool.secrets.length && tool.name !== tool.storedName;
    if (keepsSecrets(tool)) {
      return html`<div class="field-block"><span class="label">Headers</span>
        <p class="small">${tool.secrets.join(", ")}: stored, and shown to nobody.</p>
        <div><button class="button small" type="button" @click=${() => change({ keeps: false })}>Replace them</button></div>
        <p class="fault">${faults.of("keepToolSecrets[0]")}</p>
      </div>`;
    }
    const edit = (row, at, value) => {
      row[at] = value;
      change({ headers: tool.headers });
    };
    return html`<fieldset class="rows">
      <legend>Headers</legend>
      <p class="hint">${renamed ? "It has another name now: enter its headers again." : "Such as Authorization. They are stored sealed, and never shown again."}</p>
      ${tool.headers.map(
        (row) => html`<div class="row-of-fields">
          <input class="mono" aria-label="Name of the header" placeholder="Authorization" maxlength="128" spellcheck="false" .value=${live(row[0])} @input=${(event) => edit(row, 0, event.target.value)}>
          <input class="mono" aria-label="Value of the header" type="password" autocomplete="off" maxlength="8192" .value=${live(row[1])} @input=${(event) => edit(row, 1, event.target.value)}>
          <button class="icon-button small" type="button" aria-label="Remove this header" @click=${() => change({ headers: tool.headers.filter((one) => one !== row) })}><svg viewBox="0 0 24 24" width="16" height="16" aria-hidden="true"><path d="M6 6l12 12M18 6 6 18"/></svg></button>
        </div>`,
      )}
      <div class="actions">
        <button class="button small" type="button" @click=${() => change({ headers: [...tool.headers, ["", ""]] })}>Add a header</button>
        ${tool.secrets.length && !renamed ? html`<button class="button small quiet" type="button" @click=${() => change({ keeps: true, headers: [] })}>Keep the stored ones</button>` : ""}
      </div>
    </fieldset>`;
  }

  // ---------------------------------------------------------------------- an MCP server

  #server(room, tool, change) {
    const saved = room.saved(tool);
    const { busy, result } = this.#offered.get(tool.name) ?? {};
    const list = async () => {
      this.#offered.set(tool.name, { busy: true });
      this.#changed();
      this.#offered.set(tool.name, { result: await this.#post(room, "list", { server: tool.name }) });
      this.#changed();
    };
    return html`<div class="field-block">
      <div class="beside"><button class="button small" type="button" ?disabled=${!saved || busy} @click=${list}>${busy ? "Asking…" : "See what it offers"}</button>${saved ? "" : html`<span class="note">Save first.</span>`}</div>
      <div role="status">
        ${result?.failed ? html`<p class="fault">${result.message}</p>` : ""}
        ${result && !result.failed ? html`<p class="small">${result.tools.length} offered, in ${span(result.durationMs)}.</p>` : ""}
      </div>
      ${result?.tools.map((one) => this.#offeredTool(room, tool, one, result.tools, change)) ?? ""}
    </div>`;
  }

  #offeredTool(room, tool, one, all, change) {
    const allowed = tool.allowed === null || tool.allowed.includes(one.name);
    const allow = (on) => {
      const before = tool.allowed ?? all.map(({ name }) => name);
      const now = on ? [...before, one.name] : before.filter((name) => name !== one.name);
      change({ allowed: all.every(({ name }) => now.includes(name)) ? null : now });
    };
    return html`<details class="tool offered">
      <summary><b>${one.name}</b> <span class="note">${one.description}</span></summary>
      <div class="stack">
        ${check("The agent may use it", allowed, allow)}
        ${one.allowed ? this.#try(room, { tool, server: tool.name, name: one.name, rows: inputsOf(one.parameters) }) : html`<p class="note">Allow it and save, then try it.</p>`}
      </div>
    </details>`;
  }

  // ---------------------------------------------------------------------- trying

  #try(room, { tool, server, name, rows }) {
    const key = JSON.stringify([server ?? "", name]);
    const state = this.#tries.get(key) ?? { values: {}, json: "{}" };
    this.#tries.set(key, state);
    const saved = room.saved(tool);
    const attempt = async () => {
      const given = rows ? argumentsOf(rows, state.values) : parsed(state.json);
      if (given === null) {
        state.result = { failed: true, output: "The values are no JSON object.", durationMs: 0 };
        return this.#changed();
      }
      state.busy = true;
      this.#changed();
      state.result = await this.#post(room, "try", { name, ...(server && { server }), arguments: given });
      state.busy = false;
      this.#changed();
    };
    const named = rows?.filter((row) => row.name.trim()) ?? [];
    return html`<fieldset class="rows trial">
      <legend>Try it</legend>
      ${rows
        ? html`<div class="fields">${named.map((row) => html`<label>${row.name}<input .value=${live(state.values[row.name] ?? "")} placeholder=${row.description} maxlength="2000" @input=${(event) => (state.values[row.name] = event.target.value)}></label>`)}</div>`
        : html`<label>Values (JSON)<textarea class="mono" rows="3" spellcheck="false" .value=${live(state.json)} @input=${(event) => (state.json = event.target.value)}></textarea></label>`}
      <div class="beside">
        <button class="button small" type="button" ?disabled=${!saved || state.busy} @click=${attempt}>${state.busy ? "Trying…" : "Try now"}</button>
        <span class="note">${saved ? "This runs the tool for real." : "Save first: what is saved is tried."}</span>
      </div>
      <div role="status">
        ${state.result ? html`<p class=${state.result.failed ? "fault" : "small"}>${state.result.failed ? "Failed" : "Answered"} after ${span(state.result.durationMs)}</p><pre tabindex="0">${state.result.output}</pre>` : ""}
      </div>
    </fieldset>`;
  }

  async #post(room, what, body) {
    try {
      return await this.#access.post(`/api/agents/${room.agentId}/tools/${what}`, body);
    } catch (error) {
      return { failed: true, output: error.message, message: error.message, tools: [], durationMs: 0 };
    }
  }
}

function parsed(json) {
  try {
    const value = JSON.parse(json || "{}");
    return value && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

const asRows = (schema) => {
  const value = parsed(schema);
  return value && rowsOf(value);
};

/** What was written, as the kinds of values want it; what is empty is left out. */
function argumentsOf(rows, values) {
  const given = rows.map(({ name, type }) => [name, type, values[name] ?? ""]).filter(([name, , value]) => name.trim() && value !== "");
  return Object.fromEntries(
    given.map(([name, type, value]) => {
      if (type === "boolean") return [name, /^(yes|true|1)$/i.test(value.trim())];
      if (type === "string" || Number.isNaN(Number(value))) return [name, value];
      return [name, Number(value)];
    }),
  );
}
