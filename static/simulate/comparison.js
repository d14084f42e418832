// Two runs side by side: what has become better or worse from the one to the other.

import { html } from "/vendor/lit-html/lit-html.js";
import { median, plural, span } from "/shared/el.js";
import { answeredAfter, checkWords, isActive } from "./words.js";

const LEAST_MS = 150;
const LEAST_SHARE = 0.15;
/** A difference in time that is smaller than both says nothing. */
const differs = (before, after) => Math.abs(after - before) >= Math.max(LEAST_MS, LEAST_SHARE * before);

/** `[before, after]` of each scenario that both have, by its name. */
export function pairs(before, after) {
  const of = (run) => Map.groupBy ? Map.groupBy(run.results, ({ scenario }) => scenario) : grouped(run.results);
  const [one, other] = [of(before), of(after)];
  return [...other].filter(([name]) => one.has(name)).map(([name, calls]) => [name, figures(one.get(name)), figures(calls)]);
}

function grouped(results) {
  const found = new Map();
  for (const call of results) found.set(call.scenario, [...(found.get(call.scenario) ?? []), call]);
  return found;
}

function figures(calls) {
  const over = calls.filter(({ status }) => status === "passed" || status === "failed");
  const times = over.flatMap(({ lines }) => lines.map(({ ttfaMs }) => ttfaMs)).filter((ms) => ms !== null && ms !== undefined);
  const failed = over.flatMap(({ lines, checks }) => [...lines.flatMap((line) => line.checks), ...checks]).filter(({ passed }) => !passed);
  return { calls: over.length, passed: over.filter(({ status }) => status === "passed").length, ttfa: times.length ? median(times) : null, failed };
}

/** `better`, `worse` or `same`, and why. */
export function change(before, after) {
  if (!before.calls || !after.calls) return ["", "–"];
  const [was, is] = [before.passed / before.calls, after.passed / after.calls];
  if (is !== was) return is > was ? ["good", "Better"] : ["bad", "Worse"];
  const names = (one) => new Set(one.failed.map(({ name }) => name));
  const [gone, come] = [names(before), names(after)];
  if (gone.size !== come.size) return come.size < gone.size ? ["good", "Fewer faults"] : ["bad", "More faults"];
  if (before.ttfa !== null && after.ttfa !== null && differs(before.ttfa, after.ttfa)) {
    const text = span(Math.abs(after.ttfa - before.ttfa));
    return ["", after.ttfa < before.ttfa ? `${text} faster` : `${text} slower`];
  }
  return ["", "Same"];
}

/** The table. `before` and `after`: runs. */
export function comparison(before, after) {
  const found = pairs(before, after);
  const active = isActive(before) || isActive(after);
  const changes = found.map(([, one, other]) => change(one, other)[0]);
  const better = changes.filter((kind) => kind === "good").length;
  const worse = changes.filter((kind) => kind === "bad").length;
  const sum = active ? "Both runs are not over yet." : !found.length ? "The two runs have no caller in common." : worse || better ? `${better ? `${plural(better, "caller")} better` : ""}${better && worse ? ", " : ""}${worse ? `${plural(worse, "caller")} worse` : ""}` : "Nothing has become better or worse.";
  const name = (run) => `Version ${run.agentVersion}`;
  return html`<section class="card block" aria-labelledby="comparison-title">
    <h2 id="comparison-title">Compared</h2>
    <p role="status">${sum}</p>
    <div class="table-scroll" tabindex="0" role="region" aria-label="Comparison">
      <table class="table stacked compared">
        <thead><tr><th scope="col">Caller</th><th scope="col"><a href="/simulate/${before.id}">${name(before)}, before</a></th><th scope="col">${name(after)}, now</th><th scope="col">Change</th></tr></thead>
        <tbody>${found.map(([scenario, one, other]) => {
          const [kind, text] = change(one, other);
          return html`<tr><td class="whole">${scenario}</td><td data-label="Before">${cell(one)}</td><td data-label="Now">${cell(other)}</td><td data-label="Change"><span class="chip ${kind}">${text}</span></td></tr>`;
        })}</tbody>
      </table>
    </div>
  </section>`;
}

function cell({ calls, passed, ttfa, failed }) {
  if (!calls) return html`<span class="small">Not called</span>`;
  const verdict = calls === 1 ? (passed ? "Passed" : "Failed") : `${passed} of ${calls} passed`;
  const names = [...new Set(failed.map((check) => checkWords(check).label))];
  return html`<span class=${passed === calls ? "good" : "bad"}>${verdict}</span>${ttfa === null ? "" : html`<span class="small"> after ${answeredAfter(ttfa)}</span>`}${names.map((one) => html`<span class="failed-check small">✗ ${one}</span>`)}`;
}
