#!/usr/bin/env python3
"""Makes tests/golden/piper.json and piper.wav: what piper-tts makes of sentences with the voice joe.

Tokens of the English sentences in benches/quality, and the sound of one of them without noise, so
that it can be compared sample by sample. Both programs read the same data of espeak-ng; that of
piper-tts's own is newer and has a few more weak forms.

    pip install piper-tts
    python tests/golden/make_piper_golden.py MODELS_DIR

Made with piper-tts 1.8.0.
"""

import json
import re
import sys
import wave
from pathlib import Path

from piper import PiperVoice, SynthesisConfig

HERE = Path(__file__).parent
QUALITY = HERE.parent.parent / "benches" / "quality"
VOICE = Path(sys.argv[1]) / "piper-en_US-joe-medium" / "en_US-joe-medium.onnx"
DATA = Path(sys.argv[1]) / "espeak-ng-data" / "espeak-ng-data"
SPOKEN = "Containers changed how we ship software."


def main() -> None:
    voice = PiperVoice.load(str(VOICE), espeak_data_dir=str(DATA))
    made = []
    for line in (QUALITY / "en-fr.tsv").read_text().splitlines():
        text = line.split("\t")[0]
        # Numbers are put into words before the phonemes are made, in words of our own.
        if re.search(r"\d", text):
            continue
        [phonemes] = voice.phonemize(text)
        # Its espeak-ng is newer and writes glides between vowels, which the voice never learnt.
        phonemes = [phoneme for phoneme in phonemes if phoneme != "ʲ"]
        made.append({"text": text, "tokens": voice.phonemes_to_ids(phonemes)})
    quiet = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0, normalize_audio=False)
    with wave.open(str(HERE / "piper.wav"), "wb") as file:
        voice.synthesize_wav(SPOKEN, file, syn_config=quiet)
    golden = {"spoken": SPOKEN, "sentences": made}
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    (HERE / "piper.json").write_text(text + "\n", encoding="utf-8")
    print(len(made), "sentences")


if __name__ == "__main__":
    main()
