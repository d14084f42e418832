// What a webhook can listen to, in words.

const KINDS = [["tts", "Speech"], ["stt", "Transcript"], ["voice_clone", "Voice"], ["dubbing", "Dub"], ["batch", "Batch"], ["job", "Any job"]];
const ENDS = [["completed", "finished"], ["failed", "failed"]];
const NAMES = new Map(KINDS.flatMap(([kind, name]) => ENDS.map(([end, how]) => [`${kind}.${end}`, `${name} ${how}`])));
NAMES.set("webhook.test", "Test event").set("*", "Everything");

export { ENDS, KINDS };
export const eventName = (event) => NAMES.get(event) ?? event;
export const eventNames = (events) => (events.includes("*") ? "Everything" : events.map(eventName).join(", ") || "Nothing");
