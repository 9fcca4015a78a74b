// openai-node.
import OpenAI from 'openai';
import { PYTHON, URL, WEATHER, serve } from './serve.mjs';

const client = (key) => new OpenAI({ baseURL: URL, apiKey: key, maxRetries: 0, timeout: 60_000 });

async function complete(key, stream, request) {
  const api = client(key).chat.completions;
  if (!stream) return await api.create(request);
  return await api.stream({ ...request, stream_options: { include_usage: true } }).finalChatCompletion();
}

async function chat({ model, prompt, stream, key }) {
  const messages = [{ role: 'user', content: prompt }];
  const answer = await complete(key, stream, { model, messages, tools: [PYTHON] });
  const { content, tool_calls } = answer.choices[0].message;
  return { text: content, calls: tool_calls ?? [], tokens: answer.usage.total_tokens };
}

async function converse({ model, prompt, stream, key }) {
  const messages = [{ role: 'user', content: prompt }];
  const cities = [];
  for (;;) {
    const { message } = (await complete(key, stream, { model, messages, tools: [PYTHON, WEATHER] })).choices[0];
    if (!message.tool_calls?.length) return { text: message.content, cities };
    messages.push(message);
    for (const call of message.tool_calls) {
      cities.push(JSON.parse(call.function.arguments).city);
      messages.push({ role: 'tool', tool_call_id: call.id, content: 'sunny' });
    }
  }
}

async function leave({ model, prompt, key }) {
  const messages = [{ role: 'user', content: prompt }];
  const stream = await client(key).chat.completions.create({ model, messages, tools: [PYTHON], stream: true });
  for await (const chunk of stream) {
    const text = chunk.choices[0].delta.content;
    if (text) return { text }; // leaving the loop aborts the request
  }
}

async function respond({ model, prompt, stream, key }) {
  const api = client(key);
  const request = {
    model,
    input: prompt,
    tools: [{ type: 'code_interpreter', container: { type: 'auto' } }],
    include: ['code_interpreter_call.outputs'],
  };
  const response = stream
    ? await api.responses.stream(request).finalResponse()
    : await api.responses.create(request);
  const calls = response.output.filter((item) => item.type === 'code_interpreter_call');
  const parts = response.output.filter((item) => item.type === 'message').flatMap((item) => item.content);
  const files = {};
  for (const cited of parts.flatMap((part) => part.annotations)) {
    const content = await api.containers.files.content.retrieve(cited.file_id, { container_id: cited.container_id });
    files[cited.filename] = await content.text();
  }
  return {
    text: response.output_text,
    code: calls.map((call) => call.code),
    logs: calls.flatMap((call) => call.outputs.map((output) => output.logs)),
    files,
  };
}

await serve({ chat, converse, leave, respond });
