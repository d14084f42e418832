/**
 * The client library of Blab: a call from a web page, over WebRTC or WebSocket.
 *
 * Events and methods have the names of `@openai/agents` (RealtimeSession) where that has one for the
 * same thing; a listener gets one object. All others are Blab's own.
 */

/** What the connection of a call does. `loading`: waiting until the server answers calls; `shaky`: the
 *  server has been silent for 2.5 s; `retrying`: waiting for the next attempt, the server or a free line. */
export type CallState = "idle" | "loading" | "opening" | "live" | "shaky" | "retrying" | "ended";

/** The same in the words of `@openai/agents`. */
export type ConnectionStatus = "disconnected" | "connecting" | "connected";

/** What the agent does. `held`: it has paused, because the caller makes a sound. */
export type AgentState = "listening" | "hearing" | "thinking" | "speaking" | "held";

/** `full`: every line is in use; `warming`: the server's models are loading. */
export type ServerState = "ready" | "full" | "warming" | "unreachable";

/** A server event of the realtime protocol; see docs/realtime.md. */
export interface ServerEvent {
  type: string;
  [field: string]: any;
}

/** A client event of the realtime protocol; see docs/realtime.md. */
export interface ClientEvent {
  type: string;
  [field: string]: any;
}

/** Something that the caller must know, in words that they can act on. */
export interface Problem extends Error {
  /** "key", "refused", "unreachable", "unsupported", "insecure", "media", "closed", "lost", "gone", "full",
   *  "warming", "mic-refused", "mic-missing", "mic-busy", "mic" or "fault". */
  kind: string;
  title: string;
  advice: string;
  /** What the caller can do: try again, give another key, or nothing. */
  action: "retry" | "key" | "none";
  /** The call tries again by itself. */
  again: boolean;
}

export interface Device {
  id: string;
  label: string;
}

export interface Devices {
  microphones: Device[];
  speakers: Device[];
  canChooseSpeaker: boolean;
}

export interface HistoryItem {
  itemId: string;
  type: "message";
  role: "user" | "assistant";
  /** Of a reply that was cut off, only what the caller heard. */
  text: string;
  /** `incomplete`: a reply that was cut off. */
  status: "in_progress" | "completed" | "incomplete";
}

/** What a server offers to its own call page. */
export interface ServerOptions {
  voices?: { id: string; name?: string; language?: string }[];
  languages?: string[];
  chat?: { model: string; note?: string };
  agents?: { id: string; name: string }[];
}

export interface CallOptions {
  /** The server's origin, such as "https://voice.example.com". By default the one that this script came
   *  from. */
  server?: string;
  /** An ephemeral key (`ek_…`), or a function that fetches a fresh one; it is called for every attempt to
   *  connect, and once more if the key has expired. */
  key?: string | ((signal: AbortSignal) => string | Promise<string>);
  /** The id of the agent that answers. By default the one of the key, or of the workspace. */
  agent?: string;
  /** WebRTC survives lost packets; WebSocket works wherever web pages do. By default "webrtc". */
  transport?: "webrtc" | "websocket";
  /** A session object of the realtime protocol: instructions, voice, language, tools … */
  session?: object;
  /** A device's id, or a stream of the page's own. By default the system's microphone. */
  microphone?: string | MediaStream;
  /** A device's id. By default the system's loudspeaker. */
  speaker?: string;
  /** Plays what arrives over WebRTC. By default an element that is not on the page. */
  audioElement?: HTMLAudioElement;
  /** By default each call opens its own, and closes it. */
  audioContext?: AudioContext;
}

export interface ConnectionChange {
  state: CallState;
  from: CallState;
  status: ConnectionStatus;
  /** `live`: the call goes on where the lost connection left it. */
  resumed?: boolean;
  /** `live`: the call was lost, and this is a new conversation. `retrying`: the call was open before. */
  again?: boolean;
  /** `opening`, `retrying`: this is to resume a call. */
  resumes?: boolean;
  /** `retrying`, `ended`: why. */
  problem?: Problem;
  /** `retrying`: until the next attempt. `ended`: that the call lasted. */
  seconds?: number;
  /** `retrying`: which attempt is next, and of how many. */
  attempt?: number;
  attempts?: number;
  /** `ended`: by whom. */
  reason?: "hung_up" | "server" | "problem";
  /** `idle`, after `load`. */
  server?: ServerState;
}

export interface Latency {
  /** The `blab.latency` event: the server's stages in ms, by `response_id`. */
  event: ServerEvent;
  /** ms that the network adds; null while unknown. */
  networkMs: number | null;
  /** ms from the caller's last sound at this microphone to the first sound of the answer at this
   *  loudspeaker; null while unknown, or where it was not measured (no microphone, a page in the
   *  background). */
  heardMs: number | null;
}

export interface ToolUse {
  callId: string;
  itemId?: string;
  name?: string;
  arguments?: string;
  output?: string;
  error?: object | null;
}

export interface CallEvents {
  /** The state has changed. */
  connection_change: ConnectionChange;
  /** The connection is lost. If the call is not `resumable`, what follows is a new conversation. */
  connection_lost: { problem: Problem; resumable: boolean };
  /** The server was asked whether it would answer. `again`: the call was open before. */
  waiting: { server: ServerState; detail: string; again?: boolean };
  /** The browser now asks the caller for the microphone. */
  microphone_requested: object;
  /** The agent does something else. */
  agent_state: { state: AgentState };
  /** Every server event, as it came. */
  transport_event: ServerEvent;
  /** Every client event but pings, as it was sent. */
  client_event: ClientEvent;
  agent_start: { responseId: string };
  /** `output`: the text of the reply, as far as it was heard. */
  agent_end: { responseId: string; status: string; output: string };
  /** The caller begins, and ceases, to hear the agent. */
  audio_start: object;
  audio_stopped: object;
  /** The caller has cut in, or makes a sound that may become that. */
  audio_interrupted: object;
  audio_transcript_delta: { itemId: string; responseId: string; delta: string };
  /** The model calls a function of this client: answer with `sendFunctionCallOutput`. */
  function_call: ToolUse;
  agent_tool_start: ToolUse;
  agent_tool_end: ToolUse;
  history_added: HistoryItem;
  history_updated: HistoryItem[];
  /** Where the waiting time of a turn went: once as the server knows it, and again when this end has
   *  measured its part. */
  latency: Latency;
  /** The server refused something; the call goes on. */
  error: { type: "error"; error: { code?: string; message?: string; param?: string | null } };
}

/** A call, from its first connection to its end. It can be made again afterwards. */
export class Call {
  constructor(options?: CallOptions);

  readonly state: CallState;
  readonly agentState: AgentState;
  /** "WebRTC" or "WebSocket"; null without a connection. */
  readonly transport: string | null;
  /** Since the call was opened. */
  readonly seconds: number;
  readonly hasMicrophone: boolean;
  readonly muted: boolean;
  /** The latest 500 messages. */
  readonly history: HistoryItem[];
  /** How many messages wait for a connection: at most 16, then the oldest is dropped. */
  readonly pending: number;
  /** What the microphone hears, and what the agent says: for meters. Null without a call. */
  readonly input: AnalyserNode | null;
  readonly output: AnalyserNode | null;
  /** ms of the newest round trip to the server; null while unknown. */
  readonly roundTripMs: number | null;

  on<Name extends keyof CallEvents>(name: Name, listener: (event: CallEvents[Name]) => void): this;
  once<Name extends keyof CallEvents>(name: Name, listener: (event: CallEvents[Name]) => void): this;
  off<Name extends keyof CallEvents>(name: Name, listener: (event: CallEvents[Name]) => void): this;

  /** Waits until the server would answer a call, or all its lines are busy; null if `connect` came first. */
  load(): Promise<ServerState | null>;
  /** Calls. Resolves when the call is open; rejects with a Problem when it has come to nothing. Waits for
   *  a server that loads, and for a free line. `microphone: false`: a typed conversation. */
  connect(options?: { microphone?: boolean }): Promise<void>;
  /** Tries at once what `retrying` waits for. */
  retry(): void;
  /** Hangs up, or stops trying. */
  close(): void;
  /** Changes options for the next attempt to connect. */
  configure(changes: Partial<CallOptions>): void;

  /** Says `text` for the caller, and interrupts the agent; waits for the connection. Gives the item's id. */
  sendMessage(text: string): string;
  dropPending(): void;
  /** Stops what the agent is saying. */
  interrupt(): void;
  /** Presses a telephone's key: "0" to "9", "*", "#", "A" to "D". The agent does not see it by itself. */
  pressKey(digit: string): void;
  mute(muted: boolean): void;
  /** Ends the caller's turn, where `turn_detection` is null (push to talk). */
  commit(): void;
  /** Changes the session, now and for the next attempt to connect. */
  updateSession(session: object): void;
  sendFunctionCallOutput(callId: string, output: string, options?: { respond?: boolean }): void;
  /** Sends any client event; dropped without a connection. */
  sendEvent(event: ClientEvent): void;

  /** Opens another microphone, or the first one of a typed conversation. Rejects with a Problem. */
  useMicrophone(which?: string | MediaStream): Promise<void>;
  useSpeaker(id: string): Promise<void>;
  /** `RTCStats` of the connection; empty over WebSocket. */
  stats(): Promise<any[]>;
}

/** Keys for Blab's own pages: given freely on the server's own machine, bought with an API key elsewhere. */
export class EphemeralKeys {
  constructor(server: string);
  use(apiKey: string): void;
  fresh(signal?: AbortSignal): Promise<{ value: string; options: ServerOptions | null }>;
}

export class Problem extends Error {
  constructor(kind: string, title: string, advice: string, options?: { action?: "retry" | "key" | "none"; again?: boolean });
}

/** A Problem for whatever was thrown. */
export function asProblem(error: unknown): Problem;
export const problems: Record<string, (message?: string) => Problem>;
export function serverState(server: string): Promise<{ state: ServerState; detail: string }>;
/** Browsers give names, and more than one device of a kind, only to pages that may use the microphone. */
export function devices(): Promise<Devices>;
/** Whether this page may ask for a microphone at all: https, or localhost. */
export function microphonePossible(): boolean;
