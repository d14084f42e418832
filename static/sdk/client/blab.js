// The client library: a call with a Blab server from a web page. `blab.d.ts` describes all of it.

export { Call } from "./call.js";
export { EphemeralKeys } from "./keys.js";
export { asProblem, Problem, problems } from "./problems.js";
export { serverState } from "./readiness.js";
export { devices, microphonePossible } from "./sound.js";
