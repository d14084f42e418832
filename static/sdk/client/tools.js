// The tool uses of a call, under the names that @openai/agents has for them.

/** The events that a server event amounts to. A function is the client's to run and to answer; the others
 *  the server runs.
 *  @param {import("../blab.js").ServerEvent} event
 *  @returns {[name: string, payload: object][]} */
export function toolEvents({ type, item }) {
  if (type === "response.output_item.done" && item?.type === "function_call") {
    const use = { callId: item.call_id, itemId: item.id, name: item.name, arguments: item.arguments };
    return [["agent_tool_start", use], ["function_call", use]];
  }
  if (type === "response.output_item.done" && item?.type === "mcp_call") {
    return [["agent_tool_start", { callId: item.id, itemId: item.id, name: item.name, arguments: item.arguments }]];
  }
  if (type === "conversation.item.done" && item?.type === "mcp_call") {
    return [["agent_tool_end", { callId: item.id, itemId: item.id, name: item.name, output: item.output, error: item.error }]];
  }
  return [];
}
