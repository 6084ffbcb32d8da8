"""Marian in the size of opus-mt-en-fr on weights made of a counter, read by transformers and
CTranslate2. What it says is nonsense of up to 24 tokens a sentence; only speed can be seen.

Our figures are those of `cargo bench --bench translate`, run just before: the program takes no
weights whose hash is not known."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import ROOT, THREADS, Row, chunks

sys.path.append(str(ROOT / "tests/golden"))
GROUP = "marian, size of opus-mt-en-fr"
PAD = 59_513


def ours():
    """Median seconds of each measurement, by name."""
    command = ["cargo", "bench", "--quiet", "--locked", "--bench", "translate", "--", "marian"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    medians = {}
    for path in (target / "criterion").glob("marian*/*/new/estimates.json"):
        name = json.loads((path.parent / "benchmark.json").read_text())["function_id"]
        medians[name] = json.loads(path.read_text())["median"]["point_estimate"] / 1e9
    return medians


def rows():
    import ctranslate2
    import sentencepiece
    import torch
    from make_marian_golden import TINY, full_model

    medians = ours()
    torch.set_num_threads(THREADS)
    model = full_model()
    vocab = json.loads((TINY / "vocab.json").read_text())
    reader = sentencepiece.SentencePieceProcessor(model_file=str(TINY / "source.spm"))
    lines = (ROOT / "benches/quality/en-pt.tsv").read_text().splitlines()
    sentences = [line.split("\t")[0] for line in lines]
    ids = [[vocab.get(p, 1) for p in reader.encode(it, out_type=str)] + [0] for it in sentences]
    ids.sort(key=len)
    # A vocabulary of the full size: names for the numbers that the small one lacks.
    names = {number: piece for piece, number in vocab.items() if piece != "<pad>"}
    names |= {number: f"t{number}" for number in range(PAD) if number not in names}
    names = {number: name for number, name in names.items() if number < PAD} | {PAD: "<pad>"}

    folder = Path(tempfile.mkdtemp())
    model.save_pretrained(folder / "hf")
    (folder / "hf/vocab.json").write_text(json.dumps({name: at for at, name in names.items()}))
    for side in ["source", "target"]:
        (folder / f"hf/{side}.spm").write_bytes((TINY / "source.spm").read_bytes())
    tokenizer = {"tokenizer_class": "MarianTokenizer", "separate_vocabs": False}
    (folder / "hf/tokenizer_config.json").write_text(json.dumps(tokenizer))
    ctranslate2.converters.TransformersConverter(str(folder / "hf")).convert(
        str(folder / "ct2"), quantization="int8"
    )
    translator = ctranslate2.Translator(
        str(folder / "ct2"), device="cpu", compute_type="int8", intra_threads=THREADS
    )

    def transformers(size):
        """How many tokens it made: padding and the one that it begins with are none."""
        tokens = 0
        with torch.inference_mode():
            for batch in chunks(ids, size):
                longest = max(map(len, batch))
                padded = [row + [PAD] * (longest - len(row)) for row in batch]
                mask = [[1] * len(row) + [0] * (longest - len(row)) for row in batch]
                made = model.generate(
                    input_ids=torch.tensor(padded), attention_mask=torch.tensor(mask), num_beams=4
                )
                tokens += int((made != PAD).sum())
        return tokens

    def int8(size):
        tokens = [[names[number] for number in row] for row in ids]
        translator.translate_batch(
            tokens, beam_size=4, max_decoding_length=23, max_batch_size=size
        )

    # For all rows, so that the rates compare time alone.
    tokens = transformers(16)
    for size, name in [(1, "50 sentences one by one, 4 beams"), (16, "50 sentences, 4 beams")]:
        for peer, theirs in [("transformers, f32", transformers), ("CTranslate2, int8", int8)]:
            yield Row(
                f"Marian, {size} sentence{'s' if size > 1 else ''} at a time",
                peer,
                lambda name=name: medians[name],
                lambda size=size, theirs=theirs: theirs(size) and None,
                unit="tokens/s",
                figure=lambda seconds: tokens / seconds,
            )
