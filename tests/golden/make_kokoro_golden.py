#!/usr/bin/env python3
"""Makes tests/golden/kokoro.json: symbols of Kokoro's own front end, and sound of kokoro-onnx.

Symbols: misaki's EspeakG2P, and for English its EspeakFallback, of the sentences in
benches/quality and then those in kokoro_sentences.tsv, which make them about a hundred in each
language. Tokens: what kokoro-onnx makes of the symbols, of which the beginning of a SHA-256 is
kept. The sound of one short sentence for each voice lies beside it: kokoro-onnx with the same
weights, symbols and speed.

    pip install misaki phonemizer-fork espeakng-loader kokoro-onnx soundfile
    python tests/golden/make_kokoro_golden.py MODELS_DIR --sound

Without --sound the sound is left as it is, and the first three packages do.

kokoro_ff_siwis_avx2.wav is what it makes of that voice on a processor with AVX2 and no AVX-512, on
which ONNX Runtime 1.32.0 computes otherwise: the two correlate by 0.87. The other voice is
the same on both.

Made with misaki 0.9.4, phonemizer-fork 3.3.2, espeakng-loader 0.2.4 (espeak-ng 1.52), kokoro-onnx
0.6.1.
"""

import argparse
import hashlib
import importlib.util
import json
import re
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).parent
QUALITY = HERE.parent.parent / "benches" / "quality"
GOLDEN = HERE / "kokoro.json"

# The package as a whole wants far more than this one file needs.
found = importlib.util.find_spec("misaki")
spec = importlib.util.spec_from_file_location(
    "espeak", Path(found.submodule_search_locations[0]) / "espeak.py"
)
espeak = importlib.util.module_from_spec(spec)
spec.loader.exec_module(espeak)

LANGUAGES = {"en": "en-us", "fr": "fr-fr", "pt": "pt-br", "es": "es", "it": "it", "hi": "hi"}
SPOKEN = {
    "ff_siwis": ("fr", "Bonjour à tous et bienvenue."),
    "pf_dora": ("pt", "Bom dia a todos."),
}


def sentences(language: str) -> list[str]:
    quality = QUALITY / ("en-fr.tsv" if language == "en" else f"en-{language}.tsv")
    lines = quality.read_text(encoding="utf-8").splitlines() if quality.exists() else []
    # Numbers are put into words before the phonemes are made, in words of our own.
    texts = [line.split("\t") for line in lines if not re.search(r"\d", line)]
    texts = [english if language == "en" else other for english, other in texts]
    more = (HERE / "kokoro_sentences.tsv").read_text(encoding="utf-8").splitlines()
    return texts + [text for of, text in (line.split("\t") for line in more) if of == language]


def front_end(language: str):
    if language != "en":
        made = espeak.EspeakG2P(LANGUAGES[language])
        # The Hindi full stop, which has no symbol, is a pause all the same.
        return lambda text: made(text.replace("।", "."))[0]
    made = espeak.EspeakFallback(british=False)
    return lambda text: made(SimpleNamespace(text=text))[0]


def symbols(language: str, vocabulary: dict[str, int]) -> list[dict]:
    say = front_end(language)
    made = []
    for text in sentences(language):
        # French writes a space before some marks; it is no sound, nor are the Spanish marks that
        # have no symbol.
        said = re.sub(r" (?=[?!:;])", "", say(text)).translate({ord("¿"): None, ord("¡"): None})
        tokens = [vocabulary[symbol] for symbol in said if symbol in vocabulary]
        digest = hashlib.sha256(json.dumps(tokens, separators=(",", ":")).encode()).hexdigest()
        made.append({"text": text, "symbols": said, "tokens": digest[:16]})
    return made


def sound(models: Path) -> list[dict]:
    # Symbols and tokens are made without these.
    import numpy
    import soundfile
    from kokoro_onnx import Kokoro

    vocabulary = str(models / "kokoro-config" / "config.json")
    # kokoro-onnx reads voices from one archive.
    voices = {}
    for voice in SPOKEN:
        styles = numpy.fromfile(models / f"kokoro-voice-{voice}" / f"{voice}.bin", numpy.float32)
        voices[voice] = styles.reshape(-1, 1, 256)
    archive = HERE / "voices.npz"
    numpy.savez(archive, **voices)
    kokoro = Kokoro(
        str(models / "kokoro-82m-q8" / "model_quantized.onnx"), str(archive), vocab_config=vocabulary
    )
    spoken = []
    for voice, (language, text) in SPOKEN.items():
        said, _ = espeak.EspeakG2P(LANGUAGES[language])(text)
        samples, rate = kokoro.create(said, voice, speed=1.0, is_phonemes=True, trim=False)
        again, _ = kokoro.create(said, voice, speed=1.0, is_phonemes=True, trim=False)
        print(voice, len(samples) / rate, "s; again:", numpy.corrcoef(samples, again)[0, 1])
        soundfile.write(HERE / f"kokoro_{voice}.wav", samples, rate, subtype="PCM_16")
        spoken.append({"voice": voice, "language": language, "text": text})
    archive.unlink()
    return spoken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, help="where mega-pipeline keeps models")
    parser.add_argument("--sound", action="store_true", help="make the sound, too")
    arguments = parser.parse_args()
    config = (arguments.models / "kokoro-config" / "config.json").read_text(encoding="utf-8")
    vocabulary = json.loads(config)["vocab"]
    golden = {"symbols": {language: symbols(language, vocabulary) for language in LANGUAGES}}
    if arguments.sound:
        golden["spoken"] = sound(arguments.models)
    else:
        golden["spoken"] = json.loads(GOLDEN.read_text(encoding="utf-8"))["spoken"]
    text = json.dumps(golden, ensure_ascii=False, indent=0)
    GOLDEN.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
