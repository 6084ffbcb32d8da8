"""The `openai` package against the running server: on stub stages, then on small real models."""

import io
import unittest
import wave

import openai

from servers import SMALL, Pipeline


def tone(seconds=1):
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16000)
        sound.writeframes(bytes(range(256)) * 125 * seconds)
    file.seek(0)
    file.name = "tone.wav"
    return file


class OnStubs(Pipeline):
    token = "tests=a-token-of-the-tests"

    def setUp(self):
        self.client = openai.OpenAI(
            base_url=f"{self.root}/v1", api_key="a-token-of-the-tests", max_retries=0
        )

    def test_models_are_listed(self):
        self.assertIn("stub", [model.id for model in self.client.models.list()])
        self.assertEqual(self.client.models.retrieve("stub").object, "model")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("gpt-99")

    def test_a_conversation_is_answered(self):
        answer = self.client.chat.completions.create(
            model="any", messages=[{"role": "user", "content": "Hello there."}], max_tokens=50
        )
        self.assertEqual(answer.choices[0].message.content, "You said: Hello there.")
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(
            answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens
        )

    def test_an_answer_is_streamed_with_its_usage(self):
        pieces = list(
            self.client.chat.completions.create(
                model="any",
                messages=[{"role": "user", "content": "Hello there."}],
                stream=True,
                stream_options={"include_usage": True},
            )
        )
        text = "".join(it.choices[0].delta.content or "" for it in pieces if it.choices)
        self.assertEqual(text, "You said: Hello there.")
        self.assertGreater(pieces[-1].usage.completion_tokens, 0)

    def test_what_is_not_served_is_an_error_of_the_client(self):
        with self.assertRaises(openai.UnprocessableEntityError) as refused:
            self.client.chat.completions.create(
                model="any", messages=[{"role": "user", "content": "Hi."}], n=2
            )
        self.assertEqual(refused.exception.param, "n")
        self.assertEqual(refused.exception.type, "invalid_request_error")
        strangers = openai.OpenAI(base_url=f"{self.root}/v1", api_key="wrong", max_retries=0)
        with self.assertRaises(openai.AuthenticationError):
            strangers.models.list()

    def test_a_recording_is_transcribed_in_every_form(self):
        transcribe = self.client.audio.transcriptions.create
        self.assertEqual(transcribe(model="whisper-1", file=tone()).text, "This is a stub transcript.")
        verbose = transcribe(model="whisper-1", file=tone(), response_format="verbose_json")
        self.assertEqual((verbose.language, verbose.segments[0].end), ("english", 0.4))
        for form in ["text", "srt", "vtt"]:
            text = transcribe(model="whisper-1", file=tone(), response_format=form)
            self.assertIn("This is a stub transcript.", text)
        events = list(transcribe(model="gpt-4o-transcribe", file=tone(), stream=True))
        self.assertEqual(events[-1].type, "transcript.text.done")
        self.assertEqual(events[0].delta, events[-1].text)

    def test_a_text_is_spoken_and_streamed(self):
        beginnings = {"mp3": b"\xff", "wav": b"RIFF", "opus": b"OggS", "pcm": b""}
        for form, beginning in beginnings.items():
            speech = self.client.audio.speech.create(
                model="tts-1", voice="alloy", input="One. Two.", response_format=form
            )
            self.assertTrue(speech.content.startswith(beginning), form)
        with self.client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input="One. Two.", response_format="wav"
        ) as speech:
            self.assertGreater(len(b"".join(speech.iter_bytes())), 10_000)


class OnRealModels(Pipeline):
    options = SMALL

    def setUp(self):
        self.client = openai.OpenAI(base_url=f"{self.root}/v1", api_key="none", max_retries=0)

    def test_what_is_spoken_is_understood_again(self):
        sentence = "A container holds a program together with everything it needs to run."
        for form in ["wav", "mp3"]:
            speech = self.client.audio.speech.create(
                model="piper", voice="nova", input=sentence, response_format=form
            )
            file = io.BytesIO(speech.content)
            file.name = f"speech.{form}"
            heard = self.client.audio.transcriptions.create(
                model="whisper", file=file, language="en"
            ).text
            words = set(heard.lower().replace(".", "").split())
            wanted = set(sentence.lower().replace(".", "").split())
            # The voice draws its noise anew each time: mostly one word is misheard, now and
            # then four. A wrong form, rate or language would leave next to none.
            self.assertGreater(len(words & wanted), len(wanted) / 2, heard)

    def test_a_conversation_is_answered_and_repeatable(self):
        ask = lambda **more: self.client.chat.completions.create(
            model="smollm2",
            messages=[
                {"role": "system", "content": "Answer in one short sentence."},
                {"role": "user", "content": "What is a container in software?"},
            ],
            max_tokens=24,
            temperature=0,
            **more,
        )
        whole = ask().choices[0].message.content
        self.assertGreater(len(whole.split()), 4, whole)
        pieces = [it.choices[0].delta.content or "" for it in ask(stream=True) if it.choices]
        self.assertEqual("".join(pieces), whole)
        self.assertGreater(len(pieces), 4)
        with self.assertRaises(openai.BadRequestError) as refused:
            self.client.chat.completions.create(
                model="any", messages=[{"role": "user", "content": "word " * 20_000}]
            )
        self.assertEqual(refused.exception.code, "too_long")


if __name__ == "__main__":
    unittest.main()
