// Runs as rows of a list.

import { html } from "/vendor/lit-html/lit-html.js";
import { ago } from "/shared/el.js";
import { aboutRun, answeredAfter, verdict } from "./words.js";

export const chip = (run) => {
  const [kind, text] = verdict(run);
  return html`<span class="chip ${kind}">${text}</span>`;
};

export const runRows = (runs) => html`<ol class="run-rows">
  ${runs.map(
    (run) => html`<li><a class="run" href="/simulate/${run.id}">
      <span class="run-name">${run.agentName || "Unnamed"} <span class="small">version ${run.agentVersion}</span></span>
      ${chip(run)}
      <span class="small run-figures">${aboutRun(run)}${run.summary.ttfaP50Ms === null ? "" : ` · answers after ${answeredAfter(run.summary.ttfaP50Ms)}`}</span>
      <span class="small run-when">${ago(run.createdAt)}</span>
    </a></li>`,
  )}
</ol>`;
