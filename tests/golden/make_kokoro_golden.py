#!/usr/bin/env python3
"""Makes tests/golden/kokoro.json: symbols of Kokoro's own front end, and sound of kokoro-onnx.

Symbols: misaki's EspeakG2P, of the sentences in benches/quality. The sound of one short sentence
for each voice lies beside it: kokoro-onnx with the same weights, symbols and speed.

    pip install misaki phonemizer-fork espeakng-loader kokoro-onnx soundfile
    python tests/golden/make_kokoro_golden.py MODELS_DIR

Made with misaki 0.9.4, kokoro-onnx 0.6.1, espeak-ng 1.52.
"""

import importlib.util
import json
import re
import sys
from pathlib import Path

import numpy
import soundfile
from kokoro_onnx import Kokoro

HERE = Path(__file__).parent
QUALITY = HERE.parent.parent / "benches" / "quality"
MODELS = Path(sys.argv[1])

# The package as a whole wants far more than this one file needs.
found = importlib.util.find_spec("misaki")
spec = importlib.util.spec_from_file_location(
    "espeak", Path(found.submodule_search_locations[0]) / "espeak.py"
)
espeak = importlib.util.module_from_spec(spec)
spec.loader.exec_module(espeak)

LANGUAGES = {"fr": "fr-fr", "pt": "pt-br", "es": "es", "it": "it", "hi": "hi"}
SPOKEN = {
    "ff_siwis": ("fr", "Bonjour à tous et bienvenue."),
    "pf_dora": ("pt", "Bom dia a todos."),
}
OTHERS = {
    "es": """\
Buenos días, ¿has dormido bien?
El tren sale a las ocho y media el lunes.
Mi hermana vive en un pueblo pequeño cerca del mar.
Compramos tres manzanas, dos peras y un pan.
Los niños juegan en el jardín; el perro duerme.
Nunca he visto una puesta de sol tan bonita.
El servidor no respondió en treinta segundos.
Los modelos pequeños son rápidos: los grandes son mejores.
¡Qué sorpresa! No lo esperaba.
La corrección de errores exige paciencia y mucho café.
""",
    "it": """\
Buongiorno, hai dormito bene?
Il treno parte alle otto e mezza di lunedì.
Mia sorella vive in un piccolo paese vicino al mare.
Abbiamo comprato tre mele, due pere e un pane.
I bambini giocano in giardino; il cane dorme.
Non ho mai visto un tramonto così bello.
Il server non ha risposto entro trenta secondi.
I modelli piccoli sono veloci: quelli grandi sono migliori.
Che sorpresa! Non me l'aspettavo.
La correzione degli errori richiede pazienza e molto caffè.
""",
    "hi": """\
नमस्ते, क्या आप अच्छे से सोए?
ट्रेन सोमवार को साढ़े आठ बजे चलती है।
मेरी बहन समुद्र के पास एक छोटे गाँव में रहती है।
हमने तीन सेब, दो नाशपाती और एक रोटी खरीदी।
बच्चे बगीचे में खेल रहे हैं।
मैंने इतना सुंदर सूर्यास्त कभी नहीं देखा।
सर्वर ने तीस सेकंड में जवाब नहीं दिया।
छोटे मॉडल तेज़ हैं; बड़े मॉडल बेहतर हैं।
कितना अच्छा! मुझे इसकी उम्मीद नहीं थी।
आपकी मदद के लिए बहुत धन्यवाद।
""",
}


def sentences(language: str) -> list[str]:
    if language in OTHERS:
        return OTHERS[language].splitlines()
    lines = (QUALITY / f"en-{language}.tsv").read_text().splitlines()
    # Numbers are put into words before the phonemes are made, in words of our own.
    return [line.split("\t")[1] for line in lines if not re.search(r"\d", line)]


def symbols(language: str) -> list[dict]:
    front_end = espeak.EspeakG2P(LANGUAGES[language])
    made = []
    for text in sentences(language):
        # The Hindi full stop, which has no symbol, is a pause all the same.
        said, _ = front_end(text.replace("।", "."))
        # French writes a space before some marks; it is no sound, nor are the Spanish marks that
        # have no symbol.
        said = re.sub(r" (?=[?!:;])", "", said).translate({ord("¿"): None, ord("¡"): None})
        made.append({"text": text, "symbols": said})
    return made


def sound(golden: dict) -> None:
    vocabulary = str(MODELS / "kokoro-config" / "config.json")
    # kokoro-onnx reads voices from one archive.
    voices = {}
    for voice in SPOKEN:
        styles = numpy.fromfile(MODELS / f"kokoro-voice-{voice}" / f"{voice}.bin", numpy.float32)
        voices[voice] = styles.reshape(-1, 1, 256)
    archive = HERE / "voices.npz"
    numpy.savez(archive, **voices)
    kokoro = Kokoro(
        str(MODELS / "kokoro-82m-q8" / "model_quantized.onnx"), str(archive), vocab_config=vocabulary
    )
    golden["spoken"] = []
    for voice, (language, text) in SPOKEN.items():
        said, _ = espeak.EspeakG2P(LANGUAGES[language])(text)
        samples, rate = kokoro.create(said, voice, speed=1.0, is_phonemes=True, trim=False)
        again, _ = kokoro.create(said, voice, speed=1.0, is_phonemes=True, trim=False)
        print(voice, len(samples) / rate, "s; again:", numpy.corrcoef(samples, again)[0, 1])
        soundfile.write(HERE / f"kokoro_{voice}.wav", samples, rate, subtype="PCM_16")
        golden["spoken"].append({"voice": voice, "language": language, "text": text})
    archive.unlink()


def main() -> None:
    golden = {"symbols": {language: symbols(language) for language in LANGUAGES}}
    sound(golden)
    text = json.dumps(golden, ensure_ascii=False, indent=0)
    (HERE / "kokoro.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
