// Reads a line of base64 each, and writes a line: what JSON.parse makes of those bytes as strict UTF-8, or null.
import { createInterface } from "node:readline";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
for await (const line of createInterface({ input: process.stdin })) {
  let told = null;
  try {
    const value = JSON.parse(strict.decode(Buffer.from(line, "base64")));
    const params = value.params ?? {};
    told = { method: value.method, id: value.id, name: params.name, uri: params.uri, members: Object.keys(params) };
  } catch {}
  process.stdout.write(JSON.stringify(told) + "\n");
}
