// Scenarios as TOML (https://toml.io/en/v1.0.0), as a person would write it: a table for each scenario and line,
// everything below in one line.

const PLAIN = /^[A-Za-z0-9_-]+$/;

/** A text in quotes. What JSON escapes, TOML reads alike; DEL it wants escaped, too. */
const quoted = (text) => JSON.stringify(text).replaceAll("\u007f", "\\u007f");
const key = (name) => (PLAIN.test(name) ? name : quoted(name));

function value(given) {
  if (typeof given === "string") return quoted(given);
  if (Array.isArray(given)) return `[${given.map(value).join(", ")}]`;
  if (given !== null && typeof given === "object") return `{${Object.entries(given).map(([name, one]) => `${key(name)} = ${value(one)}`).join(", ")}}`;
  return String(given);
}

const members = (object, without = []) =>
  Object.entries(object)
    .filter(([name, one]) => !without.includes(name) && one !== undefined)
    .map(([name, one]) => `${key(name)} = ${value(one)}`);

/** The text of a tree. */
export function tomlOf({ defaults, scenario }) {
  const blocks = [];
  if (defaults) {
    const own = members(defaults, ["expect"]);
    if (own.length) blocks.push(["[defaults]", ...own]);
    if (defaults.expect) blocks.push(["[defaults.expect]", ...members(defaults.expect)]);
  }
  for (const one of scenario) {
    blocks.push(["[[scenario]]", ...members(one, ["line", "tool"])]);
    for (const tool of one.tool ?? []) blocks.push(["[[scenario.tool]]", ...members(tool)]);
    for (const line of one.line ?? []) blocks.push(["[[scenario.line]]", ...members(line)]);
  }
  return `${blocks.map((lines) => lines.join("\n")).join("\n\n")}\n`;
}
