// The official Node client against a server: node client.mjs URL MODEL. Prints one JSON object.
import OpenAI from "openai";

const [url, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Hello Ana, the parcel will arrive on Friday." }];
const whole = await client.chat.completions.create({ model, messages, max_tokens: 8, temperature: 0 });
const stream = await client.chat.completions.create({
  model, messages, max_tokens: 8, temperature: 0, stream: true, stream_options: { include_usage: true },
});
let text = "", usage = null;
for await (const chunk of stream) {
  text += chunk.choices[0]?.delta?.content ?? "";
  usage = chunk.usage ?? usage;
}
let missing = 0;
try {
  await client.chat.completions.create({ model: "nope", messages });
} catch (error) {
  missing = error instanceof OpenAI.NotFoundError ? error.status : -1;
}
const models = [];
for await (const one of client.models.list()) models.push(one.id);
console.log(JSON.stringify({
  whole: whole.choices[0].message.content, model: whole.model, counted: whole.usage.completion_tokens,
  streamed: text, usage, missing, models,
}));
