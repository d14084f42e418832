// Waiting for something that may not come.

/** Settles as `begin` does; rejects with `late()` after `ms`, and with the signal's reason when that is
 *  aborted. No timer and no listener is left: those of `begin` belong to the scope that it gets.
 *  @template T
 *  @param {(resolve: (value: T) => void, reject: (reason: unknown) => void, scope: AbortSignal) => void} begin
 *  @param {{ signal?: AbortSignal, ms?: number, late?: () => unknown }} limits
 *  @returns {Promise<T>} */
export function settled(begin, { signal, ms, late = () => new DOMException("It took too long.", "TimeoutError") }) {
  const scope = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {Promise<T>} */
  const promise = new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    if (ms !== undefined) timer = setTimeout(() => reject(late()), ms);
    signal?.addEventListener("abort", () => reject(signal.reason), { signal: scope.signal });
    return begin(resolve, reject, scope.signal);
  });
  return promise.finally(() => {
    clearTimeout(timer);
    scope.abort();
  });
}

/** Resolves after `ms`, or when the signal is aborted.
 *  @param {number} ms @param {AbortSignal} signal */
export const pause = (ms, signal) => settled(() => {}, { signal, ms, late: () => null }).catch(() => null);
