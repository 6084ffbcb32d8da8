// The `openai` package of npm against a running server, whose address is in SERVER_UNDER_TEST.

import assert from "node:assert/strict";
import { test } from "node:test";

import OpenAI, { toFile } from "openai";

const client = new OpenAI({
  baseURL: `${process.env.SERVER_UNDER_TEST}/v1`,
  apiKey: "none",
  maxRetries: 0,
});
const messages = [{ role: "user", content: "Hello there." }];

test("models are listed", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes("stub"), ids);
});

test("a conversation is answered, whole and in pieces", async () => {
  const answer = await client.chat.completions.create({ model: "any", messages });
  assert.equal(answer.choices[0].message.content, "You said: Hello there.");
  let text = "";
  for await (const piece of await client.chat.completions.create({ model: "any", messages, stream: true })) {
    text += piece.choices[0]?.delta?.content ?? "";
  }
  assert.equal(text, "You said: Hello there.");
});

test("a text is spoken, and the speech is taken for transcription", async () => {
  const speech = await client.audio.speech.create({
    model: "tts-1", voice: "alloy", input: "One. Two.", response_format: "wav",
  });
  const bytes = Buffer.from(await speech.arrayBuffer());
  assert.equal(bytes.subarray(0, 4).toString(), "RIFF");
  const file = await toFile(bytes, "speech.wav");
  const heard = await client.audio.transcriptions.create({ model: "whisper-1", file });
  assert.equal(heard.text, "This is a stub transcript.");
  const told = [];
  const stream = await client.audio.transcriptions.create({ model: "any", file, stream: true });
  for await (const event of stream) told.push(event.type);
  assert.deepEqual(told, ["transcript.text.delta", "transcript.text.done"]);
});

test("what is not served is told as an error of the client", async () => {
  const refused = client.chat.completions.create({ model: "any", messages, n: 2 });
  await assert.rejects(refused, (error) => error.status === 422 && error.param === "n");
});
