// The TypeScript SDK in its first generation, which most of today's agents are built on. It knows sessions only.

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { CreateMessageRequestSchema, ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { address, capabilities, elicit, rounds, sample } from "./rounds.mjs";

const client = new Client({ name: "typescript-1", version: "1" }, { capabilities });
client.setRequestHandler(ElicitRequestSchema, elicit);
client.setRequestHandler(CreateMessageRequestSchema, sample);
await rounds(client, new StreamableHTTPClientTransport(address));
