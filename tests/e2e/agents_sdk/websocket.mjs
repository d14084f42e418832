// node websocket.mjs URL KEY: a call over WebSocket; what is learned goes to stdout, a line each.
import { OpenAIRealtimeWebSocket } from '@openai/agents/realtime';
import { answer, interrupted, makeSession } from './conversation.mjs';

const [url, apiKey] = process.argv.slice(2);
const RATE = 24000;
const tell = (fact) => process.stdout.write(JSON.stringify(fact) + '\n');

// PCM16: a tone for the ears of the scripted server, then silence.
function speech(seconds, silence) {
  const pcm = new Int16Array(RATE * (seconds + silence));
  for (let n = 0; n < RATE * seconds; n++) pcm[n] = 8192 * Math.sin((n * 2 * Math.PI * 440) / RATE);
  return pcm.buffer;
}

const session = makeSession(new OpenAIRealtimeWebSocket({ url }), tell);
let audio = 0;
session.on('audio', ({ data }) => (audio += data.byteLength));
try {
  await session.connect({ apiKey, url });
  tell({ what: 'typed', words: await answer(session, () => session.sendMessage('Hello.')), audio });
  tell({ what: 'spoken', words: await answer(session, () => session.sendAudio(speech(0.6, 1))) });
  const asked = session.history.filter((item) => item.role === 'user').at(-1);
  tell({ what: 'heard', words: asked.content[0].transcript });
  const told = answer(session, () => session.sendMessage('What is the weather in Paris?'));
  tell({ what: 'called', words: await told });
  const byHand = await interrupted(session, () => session.interrupt());
  tell({ what: 'interrupted', ...byHand });
  const byVoice = await interrupted(session, () => session.sendAudio(speech(1, 0)));
  tell({ what: 'spoken over', ...byVoice });
  const after = answer(session, () => session.sendAudio(speech(0.1, 1)));
  tell({ what: 'after', words: await after });
} catch (error) {
  tell({ what: 'failed', error: String(error?.stack ?? error) });
}
session.close();
