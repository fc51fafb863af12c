// What both generations of the TypeScript SDK share: a person who answers, and the calls that make a server ask.

const { url, era, servers, answers } = JSON.parse(process.argv[2]);
const asked = [];

export { era };
export const address = new URL(url);
export const capabilities = { elicitation: { form: {} }, sampling: {} };

export function elicit({ params }) {
  asked.push(params.message);
  return answers.elicitation;
}

export function sample({ params }) {
  asked.push(params.messages[0].content.text);
  return answers.sampling;
}

// Connects, has each server ask each question, and prints what was asked and what the server got for an answer.
export async function rounds(client, transport) {
  await client.connect(transport);
  const told = [];
  for (const server of servers) {
    for (const kind of Object.keys(answers)) {
      const { structuredContent } = await client.callTool({ name: `${server}__ask`, arguments: { kind } });
      told.push({ server, kind, asked: asked.splice(0), answer: structuredContent?.answer });
    }
  }
  await client.close();
  console.log(JSON.stringify(told));
}
