// Jobs in plain words.

export const TYPES = { tts: "Speech", stt: "Transcript", voice_clone: "Voice", dubbing: "Dub", batch: "Batch", webhook: "Delivery", cleanup: "Clean-up" };
export const STATUSES = { queued: "Waiting", running: "Running", completed: "Done", failed: "Failed", cancelled: "Cancelled" };
export const ACTIVE = ["queued", "running"];
/** Work of the server itself, not of somebody. */
export const OWN = ["webhook", "cleanup"];
const KINDS = { completed: "good", failed: "bad" };

export const statusKind = (status) => KINDS[status] ?? "";
export const isActive = (job) => ACTIVE.includes(job.status);

/** What a job is about, as far as it says so. */
export function summary(job) {
  const made = job.output;
  if (job.error) return job.error.message;
  if (!made) return "";
  switch (job.type) {
    case "tts":
      return made.script;
    case "stt":
      return made.text || "Nothing was said.";
    case "voice_clone":
      return made.name;
    case "dubbing":
      return `${made.fileName} → ${languageName(made.targetLanguage)}`;
    case "batch":
      return `${made.completed} of ${made.total} texts spoken`;
    case "webhook":
      return made.event;
    default:
      return "";
  }
}

const ADVICE = {
  VALIDATION_ERROR: "What it was given is the reason: make a new job with something else.",
  NOT_FOUND: "Something that it needs has been deleted: make a new job.",
  MODEL_UNAVAILABLE: "No engine of this server can do that now. Retry when one can; “blab doctor” says what is missing.",
  PROVIDER_ERROR: "An engine failed, or another server did. Retry; if it fails again, the server’s log says why.",
  INTERNAL: "This is a fault of Blab itself. Retry; if it fails again, the server’s log says why.",
};

/** What to do about a job's error. */
export function advice(job) {
  const reason = job.error.details?.reason;
  if (reason === "undelivered") return "The receiver did not accept it: see the webhook’s deliveries, and send it again from there.";
  if (reason === "webhook_disabled") return "Switch the webhook on, then retry.";
  return ADVICE[job.error.code] ?? "";
}

let names;
/** "Portuguese" for `pt`. */
export function languageName(tag) {
  try {
    names ??= new Intl.DisplayNames([navigator.language, "en"], { type: "language" });
    return names.of(tag);
  } catch {
    return tag;
  }
}

/** Signed addresses begin with the server's public name: a page may load from its own only. */
export function local(url) {
  const { pathname, search } = new URL(url, location.href);
  return pathname + search;
}
