// The room of one call (/calls/ID), and of two side by side (/calls/compare?a=ID&b=ID).

import { clock, el, moment } from "/shared/el.js";
import { agentName } from "./names.js";
import { Panel } from "./panel.js";

const ABSENT = {
  live: "This call is in progress. It can be heard here when it has ended; listen in from the list of calls.",
  none: "This call was not recorded, so there is no audio: its agent did not record calls. Recording is switched on where the agent is written.",
  pending: "The recording of this call is still being stored, or was lost with the node that wrote it. Reload in a moment.",
  damaged: "The timeline of this call cannot be read",
};

/** The panel of a call, without its sound. */
async function panelOf(access, id) {
  const call = await access.get(`/api/calls/${encodeURIComponent(id)}`);
  let [timeline, why] = [null, null];
  if (!call.recording) why = call.status === "live" ? ABSENT.live : ABSENT.none;
  else if (!call.parts.some((part) => part.eventsUrl)) why = call.status === "live" ? ABSENT.live : ABSENT.pending;
  else {
    try {
      timeline = await access.get(`/api/calls/${encodeURIComponent(id)}/timeline`);
      if (call.recording.state === "incomplete") why = "A part of this recording is missing: it was not stored, or breaks off.";
    } catch (error) {
      if (!error.status || error.status === 401) throw error;
      why = `${ABSENT.damaged}: ${error.message}`;
    }
  }
  return new Panel(access, call, timeline, why);
}

export async function openCall(access, room, id) {
  const panel = await panelOf(access, id);
  const { call, view } = panel;
  document.title = `${agentName(call)}, ${moment(call.startedAt)} – Blab`;
  room.replaceChildren(panel.root);
  view.actions.hidden = false;
  view.compare.href = `/calls?compare=${id}`;
  view.export.addEventListener("click", () => exportCall(access, call, view));
  wireDeletion(access, call, view);
  if (panel.timeline) {
    const wanted = Number(new URLSearchParams(location.search).get("t"));
    if (wanted > 0) panel.seek(wanted * 1000);
    for (const name of ["seek", "change"]) panel.addEventListener(name, () => name === "change" && panel.playing ? null : remember(panel.ms));
  }
  wireKeys(() => panel);
  await panel.load();
}

export async function openComparison(access, room) {
  const query = new URLSearchParams(location.search);
  const panels = await Promise.all(["a", "b"].map((name) => panelOf(access, query.get(name) ?? "")));
  document.title = "Two calls – Blab";
  let active = panels[0];
  panels.forEach((panel, i) => {
    const other = panels[1 - i];
    panel.root.classList.add("compared");
    panel.view.link.hidden = false;
    for (const part of [panel.view.studio, panel.view.said]) part.setAttribute("aria-label", `${part.getAttribute("aria-label")} ${"AB"[i]}`);
    panel.view.link.href = `/calls/${panel.call.id}`;
    panel.addEventListener("change", () => {
      if (!panel.playing) return;
      active = panel;
      other.pause();
    });
    for (const name of ["pointerdown", "focusin"]) panel.root.addEventListener(name, () => (active = panel));
    if (!panel.axis || !other.axis) return;
    panel.addEventListener("view", () => {
      if (active === panel) other.axis.follow(panel.axis);
    });
  });
  room.replaceChildren(el("div", { class: "comparison" }, el("h1", { class: "visually-hidden" }, "Two calls side by side"), ...panels.map((panel) => panel.root)));
  const [a, b] = panels.map((panel) => panel.axis);
  if (a && b) {
    const longest = Math.max(a.durationMs, b.durationMs);
    for (const axis of [a, b]) axis.scale(longest);
  }
  wireKeys(() => active);
  await Promise.all(panels.map((panel) => panel.load()));
}

function remember(ms) {
  const query = new URLSearchParams(location.search);
  query.set("t", (ms / 1000).toFixed(1));
  history.replaceState(null, "", `${location.pathname}?${query}`);
}

function wireKeys(panel) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input, select, textarea, pre")) return;
    if (event.key === " " && event.target.closest("button, a, summary")) return;
    if (panel().press(event.key)) event.preventDefault();
  });
}

async function exportCall(access, call, view) {
  view.export.disabled = true;
  view.status.textContent = "Making the ZIP…";
  try {
    const url = URL.createObjectURL(new Blob([await access.file(`/api/calls/${call.id}/export`)], { type: "application/zip" }));
    el("a", { href: url, download: `call-${call.startedAt.slice(0, 16).replace(":", "-")}-${call.id}.zip` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
    view.status.textContent = "";
  } catch (error) {
    view.status.textContent = `It cannot be exported: ${error.message}`;
  }
  view.export.disabled = false;
}

/** Waits until a deleted call is gone: a worker does that. If it is busy, the list shows the call a little longer. */
async function gone(access, id) {
  for (let times = 0; times < 15; times++) {
    try {
      await access.get(`/api/calls/${id}`);
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function wireDeletion(access, call, view) {
  const dialog = document.getElementById("deletion");
  view.delete.hidden = call.status === "live";
  view.delete.addEventListener("click", () => {
    document.getElementById("deletion-text").textContent = `The call of ${moment(call.startedAt)} (${agentName(call)}, ${clock(call.durationMs, 0)}): recording, transcript and event log. This cannot be undone.`;
    document.getElementById("deletion-fault").textContent = "";
    dialog.showModal();
  });
  document.getElementById("deletion-form").addEventListener("submit", async (event) => {
    if (event.submitter.value !== "delete") return;
    event.preventDefault();
    event.submitter.disabled = true;
    try {
      await access.delete(`/api/calls/${call.id}`);
      event.submitter.textContent = "Deleting…";
      await gone(access, call.id);
      location.assign("/calls");
    } catch (error) {
      document.getElementById("deletion-fault").textContent = error.message;
      event.submitter.disabled = false;
    }
  });
}
