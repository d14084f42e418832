// What things are called on this page.

/** What the browser's user calls a language: "Spanish" for `es`. */
export function languageName(tag) {
  try {
    return new Intl.DisplayNames([navigator.language, "en"], { type: "language" }).of(tag);
  } catch {
    return tag;
  }
}

/** A tool's name, an MCP server's label. */
export const toolName = (tool) => (tool.type === "mcp" ? tool.server_label : tool.name) ?? "";

export const EAGERNESS = [
  ["auto", "By itself, from words and melody"],
  ["high", "Quickly: it may cut in on slow speakers"],
  ["medium", "At a usual pace"],
  ["low", "Patiently: for callers who think aloud"],
];

/** Who made a version. */
export function authorName({ kind, name }) {
  if (kind === "user" || kind === "api_key") return name ?? (kind === "user" ? "A former user" : "A deleted API key");
  return kind === "page" ? "This page" : "The server";
}
