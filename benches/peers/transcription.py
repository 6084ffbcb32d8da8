"""Recorded speech with known text, read by whisper.cpp and faster-whisper."""

import os
import tempfile
from pathlib import Path

import numpy
import soundfile
from common import MODELS, THREADS, Row, Server, word_errors

RATE = 16_000
MODEL = MODELS / "whisper-base.en/ggml-base.en.bin"


def recordings():
    """Clips joined until they are long enough: seconds, samples, text."""
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
        yield numpy.concatenate(samples), " ".join(texts)


def rows():
    from faster_whisper import WhisperModel
    from pywhispercpp.model import Model

    server = Server("transcribe_audio", settings=["model.speech-to-text=whisper-base.en"])
    cpp = Model(str(MODEL), n_threads=THREADS, print_progress=False, print_realtime=False)
    faster = WhisperModel(
        os.environ["WHISPER_BASE"], device="cpu", compute_type="int8", cpu_threads=THREADS
    )
    folder = Path(tempfile.mkdtemp())
    for samples, text in recordings():
        seconds = len(samples) / RATE
        path = folder / f"{seconds:.0f}.wav"
        soundfile.write(path, samples, RATE)

        def ours(path=path):
            return server.upload("/v1/audio/transcriptions", path, language="en")["text"]

        def whisper_cpp(samples=samples):
            return " ".join(part.text for part in cpp.transcribe(samples, language="en"))

        def faster_whisper(samples=samples):
            return "".join(part.text for part in faster.transcribe(samples, language="en")[0])

        own_errors = word_errors(text, ours())
        for name, theirs in [
            ("whisper.cpp, same file", whisper_cpp),
            ("faster-whisper, base int8, beam 5", faster_whisper),
        ]:
            yield Row(
                f"transcribe {seconds:.0f} s",
                name,
                lambda run=ours: run() and None,
                lambda run=theirs: run() and None,
                notes={"word errors %": f"{own_errors} and {word_errors(text, theirs())}"},
            )
