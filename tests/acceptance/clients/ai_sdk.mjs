// Vercel's AI SDK with its provider for OpenAI, on chat completions and on Responses.
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, isStepCount, jsonSchema, streamText, tool } from 'ai';
import { CITY, CODE, URL, serve } from './serve.mjs';

const provider = (key) => createOpenAI({ baseURL: URL, apiKey: key });
const python = tool({ description: 'Run Python.', inputSchema: jsonSchema(CODE) });

async function answered(stream, request) {
  const asked = { ...request, maxRetries: 0, stopWhen: isStepCount(3) };
  if (!stream) return await generateText(asked);
  let failure;
  const result = streamText({ ...asked, onError: ({ error }) => (failure = error) });
  await result.consumeStream();
  if (failure) throw failure;
  return {
    text: await result.text,
    steps: await result.steps,
    totalUsage: await result.totalUsage,
  };
}

async function chat({ model, prompt, stream, key }) {
  const result = await answered(stream, { model: provider(key).chat(model), prompt, tools: { python } });
  const calls = result.steps.flatMap((step) => step.toolCalls);
  return { text: result.text, calls, tokens: result.totalUsage.totalTokens };
}

async function converse({ model, prompt, stream, key }) {
  const cities = [];
  const get_weather = tool({
    description: 'The weather of a city.',
    inputSchema: jsonSchema(CITY),
    execute: ({ city }) => {
      cities.push(city);
      return 'sunny';
    },
  });
  const tools = { python, get_weather };
  const { text } = await answered(stream, { model: provider(key).chat(model), prompt, tools });
  return { text, cities };
}

async function leave({ model, prompt, key }) {
  const leaving = new AbortController();
  const asked = { model: provider(key).chat(model), prompt, tools: { python }, abortSignal: leaving.signal };
  let seen = '';
  for await (const text of streamText({ ...asked, maxRetries: 0 }).textStream) {
    seen ||= text;
    leaving.abort();
  }
  return { text: seen };
}

async function respond({ model, prompt, stream, key }) {
  const openai = provider(key);
  const tools = { code_interpreter: openai.tools.codeInterpreter({}) };
  const { text, steps } = await answered(stream, { model: openai.responses(model), prompt, tools });
  const parts = steps.flatMap((step) => step.content);
  const results = parts.filter((part) => part.type === 'tool-result');
  const sources = parts.filter((part) => part.type === 'source');
  return {
    text,
    code: parts.filter((part) => part.type === 'tool-call').map((part) => part.input.code),
    logs: results.flatMap((part) => part.output.outputs.map((output) => output.logs)),
    files: Object.fromEntries(sources.map((source) => [source.filename, null])),
  };
}

await serve({ chat, converse, leave, respond });
