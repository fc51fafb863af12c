// The TypeScript SDK of both eras.

import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { address, capabilities, elicit, era, rounds, sample } from "./rounds.mjs";

const versionNegotiation = { mode: era === "modern" ? { pin: "2026-07-28" } : "legacy" };
const client = new Client({ name: "typescript", version: "1" }, { capabilities, versionNegotiation });
client.setRequestHandler("elicitation/create", elicit);
client.setRequestHandler("sampling/createMessage", sample);
await rounds(client, new StreamableHTTPClientTransport(address));
