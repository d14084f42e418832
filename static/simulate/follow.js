// A simulation as it goes on: the stream is opened again where it was, until the simulation has ended.

import { eventsOf } from "/shared/event-stream.js";

const ENDS = ["completed", "failed", "cancelled"];
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;

/** Calls `changed(simulation)` with each state. Ends with the simulation; throws the ApiError of a refusal. */
export async function follow(access, id, changed) {
  let last = "";
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    try {
      const response = await access.fetch(`/api/simulations/${id}/events`, { headers: last ? { "Last-Event-ID": last } : {} });
      for await (const { id: number, name, data } of eventsOf(response)) {
        [last, wait] = [number ?? last, FIRST_WAIT_MS];
        changed(data);
        if (ENDS.includes(name)) return;
      }
    } catch (error) {
      if (error.status >= 400 && error.status < 500 && error.status !== 429) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}
