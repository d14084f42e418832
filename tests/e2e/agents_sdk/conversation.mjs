// What a program does with a RealtimeSession of @openai/agents: turns, a tool, interruptions.
// Everything that is learned goes to `tell` as a plain object.
import { RealtimeAgent, RealtimeSession, tool } from '@openai/agents/realtime';
import { z } from 'zod';

const SECONDS = 15;

export function makeSession(transport, tell) {
  const weather = tool({
    name: 'weather',
    description: 'The weather in a city.',
    parameters: z.object({ city: z.string() }),
    execute: async ({ city }) => {
      tell({ what: 'tool', city });
      return `sunny in ${city}`;
    },
  });
  const agent = new RealtimeAgent({
    name: 'Guide',
    instructions: 'Answer in one sentence.',
    tools: [weather],
  });
  const session = new RealtimeSession(agent, { transport, tracingDisabled: true });
  session.on('error', (error) => tell({ what: 'error', error: JSON.stringify(error) }));
  session.transport.on('*', (event) => tell({ what: 'event', type: event.type }));
  return session;
}

// The `count`-th event `name` from now on that `fits`; call it before what causes it.
export function next(emitter, name, { fits = () => true, count = 1 } = {}) {
  return new Promise((resolve, reject) => {
    const take = (...given) => {
      if (!fits(...given) || --count > 0) return;
      emitter.off(name, take);
      clearTimeout(timer);
      resolve(given);
    };
    const late = () => reject(new Error(`no ${name} within ${SECONDS} s`));
    const timer = setTimeout(late, SECONDS * 1000);
    emitter.on(name, take);
  });
}

// The next answer's words; a response that only calls a tool has none.
export async function answer(session, ask) {
  const ended = next(session, 'agent_end', { fits: (_context, _agent, text) => text });
  ask();
  return (await ended)[2];
}

// A long answer that is cut by `cut` in its second sentence; the history then holds what was heard.
export async function interrupted(session, cut) {
  const sentence = 'response.output_audio_transcript.delta';
  const second = next(session.transport, sentence, { count: 2 });
  session.sendMessage('Tell me a story.');
  await second;
  const done = next(session.transport, 'turn_done');
  const truncated = next(session.transport, 'conversation.item.truncated');
  const updated = next(session.transport, 'conversation.item.retrieved');
  cut();
  const [{ item_id: id }] = await truncated;
  await Promise.all([done, updated]);
  const item = session.history.find((one) => one.itemId === id);
  return { status: item.status, words: item.content[0].transcript };
}
