"""The whole chain by a plain Python program with a good library for each step: in one process, as
five processes, and beside `mega-pipeline run` and a server that is warm."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy
from common import MEGA, MODELS, ROOT, THREADS, Row, Server

PROMPT = ROOT / "samples/prompt.flac"
# The weights that the Python program has, whatever else is there.
WEIGHTS = [
    "model.speech-to-text=whisper-base.en",
    "model.text-generation=qwen2.5-coder-1.5b-instruct",
    "model.voice-en=piper-en_US-joe-medium",
    "model.translation-en-fr=llm",
    "model.voice-fr=kokoro-voice-ff_siwis",
]
CONTINUE = "Continue the text in a few sentences. Write nothing but the continuation."
FRENCH = "Translate the text to French. Write nothing but the translation."


def load(step):
    """A function from the step's input file to its output file, its model loaded."""
    if step == "transcribe":
        from pywhispercpp.model import Model

        model = MODELS / "whisper-base.en/ggml-base.en.bin"
        whisper = Model(str(model), n_threads=THREADS, print_progress=False, print_realtime=False)
        return lambda source, out: out.write_text(hear(whisper, source))
    if step in ("generate", "translate"):
        from llama_cpp import Llama

        file = next((MODELS / "qwen2.5-coder-1.5b-instruct").glob("*.gguf"))
        llama = Llama(
            str(file), n_ctx=2048, n_threads=THREADS, n_threads_batch=THREADS, verbose=False
        )
        return writer(llama, step)
    if step == "speak_en":
        from piper import PiperVoice

        voice = PiperVoice.load(next((MODELS / "piper-en_US-joe-medium").glob("*.onnx")))
        return lambda source, out: say_piper(voice, source, out)
    from kokoro_onnx import Kokoro

    styles = numpy.fromfile(MODELS / "kokoro-voice-ff_siwis/ff_siwis.bin", "float32")
    voices = Path(tempfile.mkdtemp()) / "voices.npz"
    numpy.savez(voices, ff_siwis=styles.reshape(-1, 1, 256))
    kokoro = Kokoro(str(MODELS / "kokoro-82m-q8/model_quantized.onnx"), str(voices))
    return lambda source, out: say_kokoro(kokoro, source, out)


def hear(whisper, source):
    import soundfile
    from scipy.signal import resample_poly

    samples, rate = soundfile.read(source, dtype="float32")
    samples = resample_poly(samples, 16_000, rate).astype("float32")
    return " ".join(part.text for part in whisper.transcribe(samples, language="en"))


def writer(llama, step):
    task = CONTINUE if step == "generate" else FRENCH

    def write(source, out):
        messages = [
            {"role": "system", "content": task},
            {"role": "user", "content": source.read_text()},
        ]
        answer = llama.create_chat_completion(messages, max_tokens=160, temperature=0)
        out.write_text(answer["choices"][0]["message"]["content"])

    return write


def say_piper(voice, source, out):
    import wave

    with wave.open(str(out), "wb") as file:
        voice.synthesize_wav(source.read_text(), file)


def say_kokoro(kokoro, source, out):
    import soundfile

    samples, rate = kokoro.create(source.read_text(), "ff_siwis", lang="fr-fr")
    soundfile.write(out, samples, rate)


STEPS = [
    ("transcribe", "prompt", "transcript.txt"),
    ("generate", "transcript.txt", "text.txt"),
    ("speak_en", "text.txt", "en.wav"),
    ("translate", "text.txt", "fr.txt"),
    ("speak_fr", "fr.txt", "fr.wav"),
]


def once(steps, folder):
    """Runs the chain, and gives characters that were spoken."""
    for step, source, out in STEPS:
        steps[step](PROMPT if source == "prompt" else folder / source, folder / out)
    return characters(folder / "text.txt") + characters(folder / "fr.txt")


def characters(path):
    return len(path.read_text())


def all_steps():
    steps = {step: load(step) for step, _, _ in STEPS if step != "translate"}
    # One copy of the language model does both of its steps.
    llama = steps["generate"].__closure__[0].cell_contents
    return steps | {"translate": writer(llama, "translate")}


def rows():
    server = Server(settings=WEIGHTS)
    steps = all_steps()
    folder = Path(tempfile.mkdtemp())
    out = Path(tempfile.mkdtemp())
    spoken = {}

    def warm_python():
        spoken["theirs"] = once(steps, folder)

    def warm_server():
        job = server.upload("/api/v1/jobs", PROMPT)["id"]
        server.open(f"/api/v1/jobs/{job}/events").read()
        texts = [server.open(f"/api/v1/jobs/{job}/artifacts/{it}").read() for it in
                 ("generate_text", "translate_text")]  # fmt: skip
        spoken["ours"] = sum(len(text.decode()) for text in texts)

    def cold(*command):
        began = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - began

    def run():
        return cold(
            MEGA, "--models-dir", str(MODELS), f"--threads={THREADS}",
            *(f"--set={setting}" for setting in WEIGHTS), "run", str(PROMPT), "--out", str(out),
        )  # fmt: skip

    def processes():
        return sum(cold(sys.executable, __file__, step, str(folder)) for step, _, _ in STEPS)

    warm_python()
    warm_server()
    notes = {"characters spoken": f"{spoken['ours']} and {spoken['theirs']}"}
    yield Row("sample prompt, warm", "Python, one process", warm_server, warm_python, notes=notes)
    yield Row(
        "sample prompt, from the start of the process",
        "Python, one process",
        run,
        lambda: cold(sys.executable, __file__, "all", str(folder)),
        notes=notes,
    )
    yield Row(
        "sample prompt, from the start of the process",
        "Python, five processes",
        run,
        processes,
        notes=notes,
    )


if __name__ == "__main__":
    wanted, place = sys.argv[1], Path(sys.argv[2])
    if wanted == "all":
        once(all_steps(), place)
    else:
        _, read, written = next(row for row in STEPS if row[0] == wanted)
        load(wanted)(PROMPT if read == "prompt" else place / read, place / written)
