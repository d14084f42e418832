// What the page shows in each phase of a call and for each thing that the agent does.

/** Where each phase may lead. `retrying` is every wait for a call that is to come by itself: after a
 *  loss, for a server that loads, for a line that is free. */
export const PHASES = {
  loading: ["idle", "starting"],
  idle: ["starting"],
  starting: ["live", "retrying", "idle"],
  live: ["idle", "retrying", "live"],
  retrying: ["starting", "idle", "retrying"],
};
export const STATES = {
  listening: ["Listening", "Speak whenever you like."],
  hearing: ["Hearing you", "Take your time, pauses are fine."],
  thinking: ["Thinking…", ""],
  speaking: ["Speaking", "Cut in whenever you like."],
  held: ["Go on", "Blab paused to listen."],
};
export const LABELS = { loading: "Start talking", idle: "Start talking", starting: "Cancel", live: "Hang up", retrying: "Stop waiting" };
