// Server-sent events over fetch, which unlike EventSource can send a credential and a body; and the
// events of a job, followed until it has ended.

const ATTEMPTS = 5; // in a row without an event
const PAUSE_MS = 500;

/** The events of a Response as they come: `{id, name, data}`, `data` read as JSON. */
export async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const fields = Object.fromEntries(block.split("\n").map((line) => line.match(/^(\w+): ?(.*)$/)?.slice(1) ?? ["", ""]));
        if (fields.data !== undefined) yield { id: fields.id, name: fields.event ?? "message", data: JSON.parse(fields.data) };
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

const OVER = ["completed", "failed", "cancelled"];

/** Resolves with the job once it has ended, however it did; `progress(percent)` meanwhile. Lost connections are resumed. */
export async function jobEnded(access, id, progress, signal) {
  for (let last, failures = 0; ; ) {
    try {
      const headers = last === undefined ? {} : { "Last-Event-ID": last };
      for await (const event of eventsOf(await access.fetch(`/api/jobs/${id}/events`, { headers, signal }))) {
        [last, failures] = [event.id ?? last, 0];
        if (typeof event.data.progress === "number") progress?.(event.data.progress);
        if (OVER.includes(event.name)) return access.get(`/api/jobs/${id}`, { signal });
      }
      const job = await access.get(`/api/jobs/${id}`, { signal });
      if (OVER.includes(job.status)) return job;
    } catch (error) {
      if (signal?.aborted || (error.status >= 400 && error.status < 500) || failures >= ATTEMPTS) throw error;
    }
    failures++;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * failures));
  }
}
