// What the JavaScript programs of this folder have in common; see serve.py.
import { createInterface } from 'node:readline';

export const URL = process.env.GATEWAY_URL;
const text = { type: 'string' };
export const CODE = { type: 'object', properties: { code: text }, required: ['code'] };
export const CITY = { type: 'object', properties: { city: text }, required: ['city'] };
export const PYTHON = { type: 'function', function: { name: 'python', description: 'Run Python.', parameters: CODE } };
export const WEATHER = {
  type: 'function',
  function: { name: 'get_weather', description: 'The weather of a city.', parameters: CITY },
};

export async function serve(operations) {
  for await (const line of createInterface({ input: process.stdin })) {
    const { do: name, ...request } = JSON.parse(line);
    let answer;
    try {
      answer = await operations[name](request);
    } catch (error) {
      answer = { error: described(error) };
    }
    process.stdout.write(JSON.stringify(answer) + '\n');
  }
}

function described(error) {
  const classes = [];
  for (let kind = error.constructor; kind.name; kind = Object.getPrototypeOf(kind)) classes.push(kind.name);
  const status = error.status ?? error.statusCode ?? null;
  return { classes, status, code: error.code ?? null, message: String(error.message) };
}
