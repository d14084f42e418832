// Whether a call would be answered: polls /readyz until it says so.

const EVERY_MS = 1000;

/** Calls `onState` with "warming", "unreachable" or "ready" and resolves once it is ready. */
export async function untilReady(onState, signal) {
  while (!signal.aborted) {
    const { state, detail } = await probe();
    if (signal.aborted) return;
    onState(state, detail);
    if (state === "ready") return;
    await pause(signal);
  }
}

async function probe() {
  try {
    const response = await fetch("/readyz", { cache: "no-store" });
    // A server without that address has nothing to wait for.
    if (response.ok || response.status === 404) return { state: "ready" };
    return { state: "warming", detail: await detailOf(response) };
  } catch {
    return { state: "unreachable" };
  }
}

async function detailOf(response) {
  try {
    const body = await response.json();
    const detail = body.detail ?? body.error?.message ?? body.message ?? body.waiting;
    return Array.isArray(detail) ? detail.join(", ") : typeof detail === "string" ? detail : "";
  } catch {
    return "";
  }
}

function pause(signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, EVERY_MS);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
