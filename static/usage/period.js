// What was used in a period: whole days in UTC, as the server counts them.

const DAY_MS = 86_400_000;
export const MOST_DAYS = 365;
const FIELDS = ["count", "tokens", "audioMs", "cost"];

/** "2026-11-01" of a moment, in UTC. */
export const dayOf = (moment) => new Date(moment).toISOString().slice(0, 10);
export const daysAgo = (days) => dayOf(Date.now() - days * DAY_MS);
const daysFrom = (day) => Math.round((Date.parse(daysAgo(0)) - Date.parse(day)) / DAY_MS) + 1;

/**
 * `{byDay, byModel, byType, total}` from `from` to `to`, both included. The server answers for days up to today:
 * what came after `to` is taken off. Throws the ApiError of a refusal.
 */
export async function usageIn(access, from, to) {
  const breakdown = (days) => access.get("/api/usage/breakdown", { query: { days } });
  const after = daysFrom(to) - 1;
  const [whole, later] = await Promise.all([breakdown(daysFrom(from)), after > 0 ? breakdown(after) : null]);
  const byDay = whole.byDay.filter(({ day }) => day >= from && day <= to);
  const total = Object.fromEntries(FIELDS.map((name) => [name, byDay.reduce((sum, one) => sum + one[name], 0)]));
  return { byDay, total, byModel: less(whole.byModel, later?.byModel), byType: less(whole.byType, later?.byType) };
}

/** Buckets by name without what `later` has of them; none that is empty. */
function less(whole, later = {}) {
  const rest = Object.entries(whole).map(([name, one]) => [name, Object.fromEntries(FIELDS.map((field) => [field, one[field] - (later[name]?.[field] ?? 0)]))]);
  return Object.fromEntries(rest.filter(([, one]) => one.count > 0));
}
