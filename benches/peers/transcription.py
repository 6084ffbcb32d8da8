"""Recorded speech and our voices with known text, read by whisper.cpp and faster-whisper."""

import os
import tempfile
from pathlib import Path

import numpy
import soundfile
from common import MODELS, THREADS, Row, Server, english_sentences, starting, word_errors

RATE = 16_000
VOICES = ["kokoro-voice-af_heart", "piper-en_US-joe-medium"]
MODEL = MODELS / "whisper-base.en/ggml-base.en.bin"


def recordings():
    """Clips joined until they are long enough: what it is, samples, text."""
    folder = Path(os.environ["CLIPS"])
    clips = [
        (soundfile.read(path, dtype="float32")[0], path.with_suffix(".txt").read_text().strip())
        for path in sorted(folder.glob("*.wav"))
        if path.with_suffix(".txt").exists()
    ]
    clips.sort(key=lambda clip: len(clip[0]))
    for wanted in [5, 11, 30, 120]:
        samples, texts = [], []
        # From the one whose length fits best on, so that short ones are not always the same.
        start = min(range(len(clips)), key=lambda at: abs(len(clips[at][0]) / RATE - wanted))
        at = start
        while not samples or sum(map(len, samples)) < 0.9 * wanted * RATE:
            samples += [clips[at % len(clips)][0], numpy.zeros(RATE // 3, "float32")]
            texts.append(clips[at % len(clips)][1])
            at += 1
        samples = numpy.concatenate(samples)
        yield f"{len(samples) / RATE:.0f} s", [samples], " ".join(texts)


def sentences_said(folder):
    """Twenty sentences, each a recording of its own, by voices in turn: as `recordings`."""
    from faster_whisper import decode_audio

    server = Server("synthesis_audio_en")
    texts = [text for text in english_sentences() if len(text.split()) >= 6][:60:3]
    recordings = []
    for at, text in enumerate(texts):
        body = {"input": text, "voice": VOICES[at % len(VOICES)], "response_format": "wav"}
        path = folder / "said.wav"
        path.write_bytes(server.open("/v1/audio/speech", body).read())
        recordings.append(decode_audio(str(path), sampling_rate=RATE))
    server.stop()
    seconds = sum(map(len, recordings)) / RATE
    yield f"{len(texts)} sentences of two voices, {seconds:.0f} s", recordings, " ".join(texts)


def rows():
    server = Server("transcribe_audio", settings=["model.speech-to-text=whisper-base.en"])
    with starting("whisper.cpp"):
        from pywhispercpp.model import Model

        cpp = Model(str(MODEL), n_threads=THREADS, print_progress=False, print_realtime=False)
    with starting("faster-whisper"):
        from faster_whisper import WhisperModel

        faster = WhisperModel(
            os.environ["WHISPER_BASE"], device="cpu", compute_type="int8", cpu_threads=THREADS
        )
    folder = Path(tempfile.mkdtemp())
    for what, recorded, text in [*recordings(), *sentences_said(folder)]:
        paths = [folder / f"{what}-{at}.wav" for at in range(len(recorded))]
        for path, samples in zip(paths, recorded):
            soundfile.write(path, samples, RATE)

        def ours(paths=paths):
            address = "/v1/audio/transcriptions"
            return " ".join(server.upload(address, path, language="en")["text"] for path in paths)

        def whisper_cpp(recorded=recorded):
            parts = [cpp.transcribe(samples, language="en") for samples in recorded]
            return " ".join(part.text for part in sum(parts, []))

        def faster_whisper(recorded=recorded):
            parts = [faster.transcribe(samples, language="en")[0] for samples in recorded]
            return "".join(part.text for part in sum(map(list, parts), []))

        seconds = sum(map(len, recorded)) / RATE
        own_errors = word_errors(text, ours())
        for name, theirs in [
            ("whisper.cpp, same file", whisper_cpp),
            ("faster-whisper, base int8, beam 5", faster_whisper),
        ]:
            yield Row(
                f"transcribe {what}",
                name,
                lambda run=ours: run() and None,
                lambda run=theirs: run() and None,
                notes={"word errors %": f"{own_errors} and {word_errors(text, theirs())}"},
                sound=(seconds, seconds),
            )
