// Whether a call would be answered, by /readyz. Its 503 has several meanings; the body's reasons tell
// them apart, never the status alone.

const EVERY_MS = 1000;

/** Asks once: `{state, detail}`, state "ready", "full" (every line is in use), "warming" (it lives but
 *  would not answer yet) or "unreachable". */
export async function serverState() {
  let response;
  try {
    response = await fetch("/readyz", { cache: "no-store", signal: AbortSignal.timeout(5000) });
  } catch {
    return { state: "unreachable", detail: "" };
  }
  // A server without that address has nothing to wait for.
  if (response.ok || response.status === 404) return { state: "ready", detail: "" };
  const body = await response.json().catch(() => ({}));
  const reasons = Object.keys(body.reasons ?? {});
  const full = reasons.length > 0 && reasons.every((reason) => reason === "admission");
  return { state: full ? "full" : "warming", detail: typeof body.detail === "string" ? body.detail : "" };
}

/** Calls `onState` with each state until one of `enough` is met; resolves with it, or with null when
 *  `signal` is aborted. */
export async function untilReady(onState, signal, enough = ["ready"]) {
  while (!signal.aborted) {
    const { state, detail } = await serverState();
    if (signal.aborted) return null;
    onState(state, detail);
    if (enough.includes(state)) return state;
    await pause(signal);
  }
  return null;
}

function pause(signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, EVERY_MS);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
