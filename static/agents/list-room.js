// The rooms with all agents (/agents), and with what a new one may begin as (/agents/new).

import { html, render } from "/vendor/lit-html/lit-html.js";
import { moment, plural } from "/shared/el.js";
import { languageName } from "./names.js";
import { TEMPLATES } from "./templates.js";

const MOST = 1000;

export async function openList(access, room) {
  const agents = await allAgents(access);
  let words = new URLSearchParams(location.search).get("q") ?? "";
  const search = (event) => {
    words = event.target.value;
    history.replaceState(null, "", words.trim() ? `/agents?${new URLSearchParams({ q: words })}` : "/agents");
    show();
  };
  const show = () => render(page(agents, words, search), room);
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.closest("input, select, textarea")) return;
    event.preventDefault();
    room.querySelector("[type=search]")?.focus();
  });
  show();
}

export async function openTemplates(room) {
  document.title = "New agent – Blab";
  render(
    html`<div class="narrow">
      <p class="back"><a href="/agents">All agents</a></p>
      <div class="head"><h1>What should it do?</h1></div>
      <p class="lead">Each is a complete agent that you can talk to at once. Everything can be changed afterwards.</p>
      ${cards()}
    </div>`,
    room,
  );
}

async function allAgents(access) {
  const found = [];
  let cursor;
  do {
    const { data, meta } = await access.list("/api/agents", { query: { limit: 100, cursor } });
    found.push(...data);
    cursor = meta?.hasMore ? meta.nextCursor : undefined;
  } while (cursor && found.length < MOST);
  return found.sort((a, b) => b.updatedAt.localeCompare(a.updatedAt));
}

function page(agents, words, search) {
  const wanted = words.trim().toLowerCase();
  const fits = (agent) => `${agent.name} ${agent.systemPrompt} ${agent.greeting}`.toLowerCase().includes(wanted);
  const found = agents.filter(fits);
  if (!agents.length) return nobody();
  return html`<div class="narrow">
    <div class="head">
      <h1>Agents</h1>
      <a class="button primary" href="/agents/new">New agent</a>
    </div>
    <input class="field search" type="search" maxlength="200" autocomplete="off" placeholder="Search names and instructions" aria-label="Search names and instructions" aria-keyshortcuts="/" .value=${words} @input=${search}>
    <p class="visually-hidden" role="status">${wanted ? plural(found.length, "agent") : ""}</p>
    <ul class="agent-rows">${found.map(row)}</ul>
    ${found.length ? "" : html`<p class="empty">No agent has these words.</p>`}
  </div>`;
}

function row(agent) {
  return html`<li>
    <a class="agent-row" href="/agents/${agent.id}">
      <span class="agent-name">${agent.name || "Unnamed"}</span>
      <span class="agent-about" dir="auto">${summary(agent)}</span>
      <span class="chips">
        <span class="chip">${agent.language ? languageName(agent.language) : "Any language"}</span>
        ${agent.isDefault ? html`<span class="chip" title="Answers where a call names no agent">Default</span>` : ""}
        ${agent.recording.enabled ? html`<span class="chip">Records</span>` : ""}
        ${agent.tools.length ? html`<span class="chip">${plural(agent.tools.length, "tool")}</span>` : ""}
      </span>
      <span class="agent-when">Version ${agent.version}<br>${moment(agent.updatedAt)}</span>
    </a>
  </li>`;
}

/** The first sentence of the instructions that says something. */
function summary({ systemPrompt }) {
  const line = systemPrompt.split("\n").find((one) => one.trim() && !one.startsWith("#"));
  return line?.trim() || "No instructions.";
}

function nobody() {
  return html`<div class="narrow">
    <div class="head"><h1>Your first agent</h1></div>
    <p class="lead">An agent answers calls: from a browser, a telephone, or your own web page. Choose what it should do; you can talk to it in a minute.</p>
    ${cards()}
  </div>`;
}

function cards() {
  return html`<ul class="templates">
    ${TEMPLATES.map(
      ({ id, title, about }) => html`<li><a class="card template" href="/agents/new?template=${id}"><b>${title}</b><span>${about}</span></a></li>`,
    )}
  </ul>`;
}
