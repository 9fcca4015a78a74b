// A client of /mcp: runs a program, tells its progress as it comes, goes on in its session, reads a file.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [url, key] = process.argv.slice(2);
const client = new Client({ name: "test", version: "1" });
await client.connect(
  new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { authorization: `Bearer ${key}` } } }),
);
const tools = (await client.listTools()).tools.map((tool) => tool.name);
const progress = [];
const call = (name, args, options) => client.callTool({ name, arguments: args }, undefined, options);
const first = await call(
  "run_code",
  { code: "x = 6\nprint('begun', flush=True)\nopen('a.txt', 'w').write('kept')" },
  { onprogress: (told) => progress.push(told.message) },
);
const session = first.structuredContent.session;
const second = await call("run_code", { code: "x * 7", session });
const file = await call("read_file", { session, path: "a.txt" });
const missing = await call("read_file", { session, path: "b.txt" });
await client.close();
console.log(
  JSON.stringify({
    tools,
    progress,
    first: first.content[0].text,
    second: second.content[0].text,
    file: file.content[0].text,
    missing: missing.isError,
    session,
  }),
);
