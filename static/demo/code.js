// The caller's set-up as programs: the same session, for a page, a program, and a key of one's own.

const indented = (value, indent) => JSON.stringify(value, null, 2).replaceAll("\n", `\n${indent}`);

/** JSON as a Python literal. */
function python(value, indent) {
  const text = indented(value, indent);
  // Outside of strings only: a string is matched as a whole and kept.
  return text.replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, (word) => ({ true: "True", false: "False", null: "None" })[word] ?? word);
}

function javascript(session, agent) {
  const options = [
    "// An address of your own server, which makes an ephemeral key: see curl.",
    'key: async () => (await (await fetch("/key")).json()).value,',
    ...(agent ? [`agent: ${JSON.stringify(agent)},`] : []),
    ...(Object.keys(session).length ? [`session: ${indented(session, "  ")},`] : []),
  ];
  return `import { Call } from "${location.origin}/sdk/blab.js";

const call = new Call({
${options.map((option) => `  ${option}`).join("\n")}
});
call.on("history_updated", (history) => console.log(history.at(-1).text));
await call.connect();
`;
}

function pythonProgram(session, agent) {
  const given = { type: "realtime", ...session };
  const query = agent ? `, extra_query={"agent_id": ${JSON.stringify(agent)}}` : "";
  return `import asyncio

from openai import AsyncOpenAI

client = AsyncOpenAI(base_url="${location.origin}/v1")  # the key is in OPENAI_API_KEY
session = ${python(given, "")}


async def main() -> None:
    async with client.realtime.connect(model="default"${query}) as call:
        await call.session.update(session=session)
        async for event in call:
            print(event.type)


asyncio.run(main())
`;
}

function curl(session, agent) {
  const body = { session: { type: "realtime", ...session }, ...(agent && { agent_id: agent }) };
  const text = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  return `curl -s ${location.origin}/v1/realtime/client_secrets \\
  -H "Authorization: Bearer $BLAB_KEY" -H "Content-Type: application/json" \\
  -d '${text}'
`;
}

export const CODE = { javascript, python: pythonProgram, curl };
