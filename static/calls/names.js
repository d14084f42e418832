// How calls, and what ended them, are called on this page.

const CHANNELS = { websocket: "WebSocket", webrtc: "WebRTC", audiosocket: "AudioSocket", rest: "REST" };
const REASONS = {
  client_hangup: "caller hung up", hangup: "hung up", ended: "ended", peer_gone: "connection closed", peer_lost: "connection lost",
  max_duration: "longest duration reached", server_shutdown: "server stopped", node_lost: "node lost", internal_error: "internal error",
  slow_reader: "client too slow", moved: "moved to another node", resumed_elsewhere: "resumed elsewhere",
};
export const REASON_NAMES = Object.entries(REASONS);

export const channelName = (name) => CHANNELS[name] ?? name.charAt(0).toUpperCase() + name.slice(1);
export const reasonName = (name) => REASONS[name] ?? name.replaceAll("_", " ");
export const agentName = (call) => call.agentName ?? (call.agentId ? "Deleted agent" : "No agent");
