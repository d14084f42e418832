// In a browser: a call over WebRTC with the page's microphone; what is learned goes to `tell`.
import { OpenAIRealtimeWebRTC } from '@openai/agents/realtime';
import { answer, interrupted, makeSession, next } from './conversation.mjs';

const { server, tell } = globalThis;
const { value: apiKey } = await (await fetch('/key')).json();
const transport = new OpenAIRealtimeWebRTC({ baseUrl: `${server}/v1/realtime/calls` });
const session = makeSession(transport, tell);
try {
  const heard = next(transport, 'conversation.item.input_audio_transcription.completed');
  await session.connect({ apiKey });
  tell({ what: 'connected', call: transport.callId });
  const spoken = next(session, 'agent_end');
  const [{ transcript }] = await heard;
  tell({ what: 'heard', words: transcript });
  tell({ what: 'spoken', words: (await spoken)[2] });
  const told = answer(session, () => session.sendMessage('What is the weather in Paris?'));
  tell({ what: 'called', words: await told });
  const byHand = await interrupted(session, () => session.interrupt());
  tell({ what: 'interrupted', ...byHand });
  tell({ what: 'after', words: await answer(session, () => session.sendMessage('Hello.')) });
} catch (error) {
  tell({ what: 'failed', error: String(error?.stack ?? error) });
}
session.close();
tell({ what: 'done' });
