// Figures of usage in words.

const TYPES = { tts: "Speech", stt: "Transcription", voice_clone: "Voices", translation: "Translation", agent: "Conversation" };
export const TYPE_NAMES = Object.entries(TYPES);
export const typeName = (name) => TYPES[name] ?? name;

const COST = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 4 });
const DATE = new Intl.DateTimeFormat(undefined, { weekday: "short", day: "numeric", month: "short", timeZone: "UTC" });
export const date = (day) => DATE.format(new Date(`${day}T00:00:00Z`));

/** 3_723_000 → "1 h 2 min". */
export function duration(ms) {
  const seconds = Math.round(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min${minutes < 10 ? ` ${seconds % 60} s` : ""}`;
  return `${Math.floor(minutes / 60).toLocaleString()} h ${minutes % 60} min`;
}

const whole = (value) => value.toLocaleString();
/** What can be charted: its field, its name, how it is written, and how on an axis. */
export const MEASURES = [
  { field: "count", name: "Pieces of work", text: whole, short: whole },
  { field: "audioMs", name: "Audio", text: duration, short: (ms) => (ms < 3_600_000 ? `${Math.round(ms / 6000) / 10} min` : `${Math.round(ms / 360_000) / 10} h`) },
  { field: "tokens", name: "Tokens and characters", text: whole, short: (value) => Intl.NumberFormat(undefined, { notation: "compact" }).format(value) },
  { field: "cost", name: "Cost", text: (value) => COST.format(value), short: (value) => COST.format(value) },
];
