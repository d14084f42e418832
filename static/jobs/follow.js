// The events of a job as they happen: the stream is opened again where it was, until the job has ended.

import { eventsOf } from "/shared/event-stream.js";

const ENDS = new Set(["completed", "failed", "cancelled"]);
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/**
 * Calls `happened(name, data)` for each event, in order, each once. Ends after the event that ended the job, and
 * where `signal` aborts. Throws the ApiError of a refusal: the job is gone, or may not be seen.
 */
export async function follow(access, id, { signal, happened }) {
  let last = "";
  let wait = FIRST_WAIT_MS;
  while (!signal.aborted) {
    try {
      const headers = last ? { "Last-Event-ID": last } : {};
      const response = await access.fetch(`/api/jobs/${id}/events`, { signal, headers });
      for await (const { id: number, name, data } of eventsOf(response)) {
        last = number ?? last;
        wait = FIRST_WAIT_MS;
        happened(name, data);
        if (ENDS.has(name)) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
    }
    await paused(wait, signal);
    wait = Math.min(2 * wait, LONGEST_WAIT_MS);
  }
}

const paused = (ms, signal) =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
    signal.addEventListener("abort", resolve, { once: true });
  });
