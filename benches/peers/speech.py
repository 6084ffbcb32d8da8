"""Voices: Piper read by piper-tts, Kokoro by kokoro-onnx."""

import asyncio
import tempfile
import time
from collections import deque
from pathlib import Path

import numpy
from common import MODELS, Row, Server, english_sentences, french_sentences, starting

COUNTS = [1, 5, 40]


def rows():
    yield from piper()
    yield from kokoro()


def spoken(server, voice, text):
    """Seconds until the first sound and until the last, and seconds of sound."""
    began = time.perf_counter()
    body = {"input": text, "voice": voice, "response_format": "wav"}
    answer = server.open("/v1/audio/speech", body)
    # Of a WAV the first 44 bytes are its head.
    sound = answer.read(44 + 2)
    first = time.perf_counter() - began
    sound += answer.read()
    return first, time.perf_counter() - began, sound


def length_of(sound):
    # The head of a stream does not know how long it is: 16 bits a sample, the rate in its head.
    return (len(sound) - 44) / 2 / int.from_bytes(sound[24:28], "little")


def pairs(server, voice, peer, sentences, theirs):
    """A row for all of the sound and one for the first of it, for each number of sentences."""
    for count in COUNTS:
        text = " ".join(sentences[:count])
        own, their = length_of(spoken(server, voice, text)[2]), theirs(text)[2]
        # The second row shows what was noted in the first one's runs.
        noted = {"ours": deque(), "theirs": deque()}

        def noting(side, first, total, _, noted=noted):
            noted[side].append(first)
            return total

        yield Row(
            f"speak {count} sentence{'s' if count > 1 else ''}, {voice}",
            peer,
            lambda text=text, note=noting: note("ours", *spoken(server, voice, text)),
            lambda text=text, note=noting: note("theirs", *theirs(text)),
            notes={"sound": f"{own:.1f} and {their:.1f} s"},
            sound=(own, their),
        )
        yield Row(
            f"first sound of {count} sentence{'s' if count > 1 else ''}, {voice}",
            peer,
            noted["ours"].popleft,
            noted["theirs"].popleft,
        )


def piper():
    name = "piper-en_US-joe-medium"
    server = Server("synthesis_audio_en", settings=[f"model.voice-en={name}"])
    with starting("piper-tts"):
        from piper import PiperVoice

        voice = PiperVoice.load(next((MODELS / name).glob("*.onnx")))

    def theirs(text):
        began, first, seconds = time.perf_counter(), None, 0.0
        for chunk in voice.synthesize(text):
            first = first or time.perf_counter() - began
            seconds += len(chunk.audio_int16_bytes) / 2 / chunk.sample_rate
        return first, time.perf_counter() - began, seconds

    yield from pairs(server, name, "piper-tts, same file", english_sentences(), theirs)


def kokoro():
    name = "kokoro-voice-ff_siwis"
    server = Server("synthesis_audio", settings=["target=fr", f"model.voice-fr={name}"])
    styles = numpy.fromfile(MODELS / name / "ff_siwis.bin", "float32").reshape(-1, 1, 256)
    voices = Path(tempfile.mkdtemp()) / "voices.npz"
    numpy.savez(voices, ff_siwis=styles)
    with starting("kokoro-onnx"):
        from kokoro_onnx import Kokoro

        kokoro = Kokoro(str(MODELS / "kokoro-82m-q8/model_quantized.onnx"), str(voices))

    def theirs(text):
        async def stream():
            began, first, seconds = time.perf_counter(), None, 0.0
            async for samples, rate in kokoro.create_stream(text, "ff_siwis", lang="fr-fr"):
                first = first or time.perf_counter() - began
                seconds += len(samples) / rate
            return first, time.perf_counter() - began, seconds

        return asyncio.run(stream())

    yield from pairs(server, name, "kokoro-onnx, same files", french_sentences(), theirs)
