// What jobs of each type made: to hear, to read, to take along.

import { download } from "/shared/dom.js";
import { clock, el } from "/shared/el.js";
import { STATUSES, languageName, local, statusKind } from "./words.js";

/** Segments shown at most: who needs more takes the file along. */
const SHOWN = 400;

/** Elements for the result of a job; none while there is nothing. */
export async function results(access, job) {
  if (job.type === "batch") return [await batch(access, job)];
  if (!job.output) return [];
  const kind = { tts: speech, stt: transcript, voice_clone: voice, dubbing: dub, webhook: delivery, cleanup }[job.type];
  return kind ? [await kind(access, job)] : [];
}

function speech(_, { output }) {
  return section(
    "What was spoken",
    player(output.audioUrl, "The speech"),
    el("p", { class: "script", dir: "auto", lang: output.language }, output.script),
    facts([["Voice", output.voice], ["Language", languageName(output.language)], ["Length", clock(output.durationMs)], ["Characters", output.characters.toLocaleString()], ["Format", output.format]]),
  );
}

async function transcript(access, { id, output }) {
  const segments = output.segments ?? (output.transcriptUrl ? await stored(access, output.transcriptUrl) : []);
  const exports = ["txt", "srt", "vtt", "json"].map((format) => {
    const button = el("button", { class: "button small", type: "button" }, format.toUpperCase());
    button.addEventListener("click", async () => {
      const response = await access.fetch(`/api/stt/${id}/export?format=${format}`);
      download(`${output.fileName.replace(/\.\w+$/, "")}.${format}`, [await response.arrayBuffer()], "application/octet-stream");
    });
    return button;
  });
  return section(
    "Transcript",
    facts([["Of", output.fileName], ["Language", output.language && languageName(output.language)], ["Length", clock(output.durationMs)], ["Words", output.wordCount.toLocaleString()]]),
    lines(segments.map((one) => [one.start * 1000, one.text])),
    el("div", { class: "actions", role: "group", "aria-label": "Download the transcript" }, ...exports),
  );
}

function voice(_, { output }) {
  return section(
    `The voice “${output.name}”`,
    output.previewUrl && player(output.previewUrl, "How it sounds"),
    facts([["Alike", `${Math.round(output.similarity * 100)} % (the default voice: ${Math.round(output.baseSimilarity * 100)} %)`], ["Id", output.voiceId]]),
  );
}

async function dub(access, { output }) {
  const segments = output.segments ?? (output.segmentsUrl ? await stored(access, output.segmentsUrl) : []);
  const links = [["SRT, original", output.sourceSrtUrl], ["SRT, dubbed", output.targetSrtUrl], ["VTT, original", output.sourceVttUrl], ["VTT, dubbed", output.targetVttUrl]];
  return section(
    `${output.fileName} in ${languageName(output.targetLanguage)}`,
    output.videoUrl ? el("video", { class: "player", controls: true, preload: "metadata", src: local(output.videoUrl), "aria-label": "The dubbed recording" }) : player(output.audioUrl, "The dubbed recording"),
    facts([
      ["From", output.sourceLanguage && languageName(output.sourceLanguage)],
      ["Voice", output.voice],
      ["Length", clock(output.durationMs)],
      ["Translated by", output.translation.model + (output.translation.draft ? " (a draft: read it before you use it)" : "")],
    ]),
    segments.length > 0 && el("div", { class: "table-scroll", tabIndex: 0, role: "group", "aria-label": "Lines" }, dubbed(segments, output)),
    el("div", { class: "actions" }, ...links.filter(([, url]) => url).map(([text, url]) => el("a", { class: "button small", href: local(url), download: "" }, text))),
  );
}

function dubbed(segments, output) {
  const row = (one) =>
    el("tr", {}, el("td", { class: "note" }, clock(one.start * 1000)), el("td", { dir: "auto", lang: output.sourceLanguage }, one.sourceText), el("td", { dir: "auto" }, el("span", { lang: output.targetLanguage }, one.targetText), one.problem && el("span", { class: "note problem" }, one.problem)));
  const head = ["At", "Original", "Dubbed"].map((name) => el("th", { scope: "col" }, name));
  return el("table", { class: "table" }, el("caption", { class: "visually-hidden" }, "Lines"), el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...segments.slice(0, SHOWN).map(row)));
}

async function batch(access, job) {
  const { output } = await access.get(`/api/batch/${job.id}`);
  const items = output?.items ?? [];
  const row = (item) =>
    el(
      "li",
      { class: "item" },
      el("span", { class: "note" }, String(item.index + 1)),
      el("span", { class: "script", dir: "auto" }, item.script ?? item.error?.message ?? (item.errors ?? []).map((one) => one.message).join(" ")),
      item.audioUrl ? player(item.audioUrl, `Text ${item.index + 1}`, "none") : el("span", { class: `chip ${statusKind(item.status === "refused" ? "failed" : item.status)}` }, item.status === "refused" ? "Refused" : STATUSES[item.status]),
    );
  return section("Texts", el("ol", { class: "items" }, ...items.map(row)));
}

const delivery = (_, { output }) => section("Where it went", el("p", {}, el("a", { href: `/webhooks/${output.webhookId}` }, "The webhook and its deliveries")), facts([["Event", output.event], ["Attempts", output.attempts], ["Answer", output.responseStatus && `HTTP ${output.responseStatus}`]]));

const WORDS = { idempotencyKeys: "kept answers", queueLog: "lines of the queue’s log", deliveries: "records of deliveries", calls: "calls", turns: "turns", recordings: "recordings", jobs: "jobs", uploads: "uploads", orphans: "files without a record" };
const cleanup = (_, { output }) => section("What was deleted", facts(Object.entries(output).map(([name, count]) => [WORDS[name] ?? name, Number(count).toLocaleString()])));

// ---------------------------------------------------------------- parts

const section = (title, ...children) => el("section", { class: "result" }, el("h2", { dir: "auto" }, title), ...children.filter(Boolean));

const facts = (pairs) => el("dl", { class: "facts" }, ...pairs.filter(([, value]) => value !== undefined && value !== null && value !== "").map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))));

/** Sound with its controls and a link to the file. */
function player(url, name, preload = "metadata") {
  return el("div", { class: "sound" }, el("audio", { controls: true, preload, src: local(url), "aria-label": name }), el("a", { class: "button small", href: local(url), download: "", "aria-label": `Download: ${name}` }, "Download"));
}

const lines = (timed) => el("ol", { class: "lines" }, ...timed.slice(0, SHOWN).map(([at, text]) => el("li", {}, el("span", { class: "note" }, clock(at)), el("span", { dir: "auto" }, text))));

async function stored(access, url) {
  const found = JSON.parse(new TextDecoder().decode(await access.file(url)));
  return Array.isArray(found) ? found : (found.segments ?? []);
}
