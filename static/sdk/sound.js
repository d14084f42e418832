// Opening the caller's microphone.

import { microphoneProblem, problems } from "./problems.js";

/** Whether this page may ask for a microphone at all. */
export const microphonePossible = () => isSecureContext && Boolean(navigator.mediaDevices?.getUserMedia);

/** The microphone with the browser's own echo cancellation; throws a Problem. `deviceId`: which one, if it
 *  is still there; empty: the system's own. */
export async function openMicrophone(deviceId = "") {
  if (!microphonePossible()) throw problems.insecure();
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, ...(deviceId && { deviceId: { ideal: deviceId } }) },
    });
  } catch (error) {
    throw microphoneProblem(error);
  }
}

/** Gives the microphone back, so that the browser's recording sign goes out. */
export function closeMicrophone(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
