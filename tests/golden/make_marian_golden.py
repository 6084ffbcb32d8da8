#!/usr/bin/env python3
"""Makes tests/golden/marian.json: what transformers computes with two Marian models.

The first is tests/fixtures/marian-tiny. The second has the shape of
Helsinki-NLP/opus-mt-en-fr (512 wide, 6 and 6 layers, 59,514 tokens) and weights
that `weights` below makes of a counter, as tests/marian.rs does again, so that
300 MB need not be kept.

    pip install torch transformers sentencepiece safetensors sacremoses
    python tests/golden/make_marian_golden.py

Made with torch 2.15, transformers 5.24, sentencepiece 0.2.3.
"""

import json
import random
from pathlib import Path

import numpy
import sentencepiece
import torch
from transformers import GenerationConfig, MarianConfig, MarianMTModel

HERE = Path(__file__).parent
TINY = HERE.parent / "fixtures" / "marian-tiny"
SEED = 7

WORDS = """
container image stage model voice text server laptop café naïve déjà façade Zürich señor über
don't it's “quoted” ‘single’ "straight" (brackets) [square] {curly} <tag> &amp; 3.14 1,234 2024 12:30
50% $4.50 €20 5km -7 +1 #42 @home a/b and/or e.g. U.S. Dr. Mr. ... … — – - _ * ~ ^ | \\ / = 🙂 👍🏽 🇫🇷 👩‍💻
日本語 русский العربية हिन्दी ελληνικά ﬁne Ｆｕｌｌ ½ ² ™ © ° ﷺ \u00a0nbsp\u00a0 zero\u200bwidth soft\u00adhyphen
e\u0301 A\u030a tab\there UPPER lower MiXeD x y z aa bbb supercalifragilistic the of and to in is
""".split(" ")
ENDS = [".", "!", "?", "…", "", " ", "\n", ".\nAnother line", " \t ", ";"]


def sentences(count: int) -> list[str]:
    chooser = random.Random(SEED)
    made = []
    while len(made) < count:
        words = [chooser.choice(WORDS).strip("\n") for _ in range(chooser.randint(1, 7))]
        made.append(chooser.choice(["", "", "", " "]) + " ".join(words) + chooser.choice(ENDS))
    return made


def tokens() -> list[dict]:
    vocab = json.loads((TINY / "vocab.json").read_text())
    reader = sentencepiece.SentencePieceProcessor(model_file=str(TINY / "source.spm"))
    # As MarianTokenizer does: pieces by source.spm, numbers by vocab.json, </s> at the end.
    numbered = lambda text: [vocab.get(p, 1) for p in reader.encode(text, out_type=str)] + [0]  # noqa: E731
    return [{"text": text, "tokens": numbered(text)} for text in sentences(500)]


SEARCHES = [
    {"num_beams": 1},
    {"num_beams": 4},
    {"num_beams": 6},
    {"num_beams": 4, "length_penalty": 0.6, "early_stopping": True},
    {"num_beams": 3, "length_penalty": 1.4, "early_stopping": "never"},
    {"num_beams": 4, "renormalize_logits": False, "length_penalty": 2.0},
]


def searched(model: MarianMTModel, sources: list[list[int]], searches: list[dict]) -> list[dict]:
    made = []
    for search in searches:
        config = GenerationConfig(**{**model.generation_config.to_diff_dict(), **search})
        found = []
        for source in sources:
            output = model.generate(torch.tensor([source]), generation_config=config)
            found.append(output[0].tolist())
        made.append({"search": search, "found": found})
    return made


def scores(model: MarianMTModel, source: list[int], target: list[int], every: int) -> list:
    with torch.no_grad():
        logits = model(
            input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target])
        ).logits[0]
    return [[round(value, 6) for value in row[::every].tolist()] for row in logits]


def scored(model: MarianMTModel, sources: list, targets: list, every: int = 1) -> list[dict]:
    return [
        {"source": source, "made": target, "every": every, "scores": scores(model, source, target, every)}
        for source, target in zip(sources, targets, strict=True)
    ]


def tiny(expected: list[dict]) -> dict:
    model = MarianMTModel.from_pretrained(TINY).eval()
    texts = json.loads((TINY / "expected.json").read_text())
    sources = [row["tokens"] for row in texts] + [row["tokens"] for row in expected[:20]]
    found = searched(model, sources, SEARCHES)
    targets = [row[:5] for row in found[0]["found"][:4]]
    return {"sources": sources, "searches": found, "scores": scored(model, sources[:4], targets)}


# --- The model in full size -----------------------------------------------------


def weights(name: str, shape: tuple[int, ...], scale: float) -> torch.Tensor:
    """Numbers within ±scale, made of the name and a counter (the finaliser of MurmurHash3)."""
    seed = 0
    for byte in name.encode():
        seed = (seed * 31 + byte) & 0xFFFFFFFF
    x = numpy.arange(numpy.prod(shape), dtype=numpy.uint32) * numpy.uint32(2654435761)
    x ^= numpy.uint32(seed)
    x ^= x >> numpy.uint32(16)
    x *= numpy.uint32(0x85EBCA6B)
    x ^= x >> numpy.uint32(13)
    x *= numpy.uint32(0xC2B2AE35)
    x ^= x >> numpy.uint32(16)
    unit = (x >> numpy.uint32(8)).astype(numpy.float32) / numpy.float32(1 << 24)
    made = (unit * numpy.float32(2) - numpy.float32(1)) * numpy.float32(scale)
    return torch.from_numpy(made.reshape(shape))


def scale_of(name: str) -> float:
    """Wide enough that the layers matter, and narrow enough that they do not drown the words."""
    if name == "model.shared.weight":
        return 0.08
    if name == "final_logits_bias":
        return 0.5
    return 0.02 if name.endswith("bias") else 0.06


def full_model() -> MarianMTModel:
    shared = Path(HERE / "opus_mt_en_fr_config.json")
    config = json.loads(shared.read_text())
    model = MarianMTModel(MarianConfig(**config)).eval()
    state = {}
    for name, tensor in model.state_dict().items():
        if "embed_positions" in name or "embed_tokens" in name or name == "lm_head.weight":
            continue
        made = weights(name, tuple(tensor.shape), scale_of(name))
        if "layer_norm" in name and name.endswith("weight"):
            made = made + 1
        if name == "final_logits_bias":
            # So that translations end, some sooner than others.
            made[0, 0] += 5.5
        state[name] = made
    left = model.load_state_dict(state, strict=False)
    assert not left.unexpected_keys, left
    model.tie_weights()
    model.generation_config = GenerationConfig(
        bad_words_ids=[[59513]],
        decoder_start_token_id=59513,
        eos_token_id=0,
        forced_eos_token_id=0,
        max_length=24,
        num_beams=4,
        pad_token_id=59513,
        renormalize_logits=True,
    )
    return model


def full() -> dict:
    model = full_model()
    chooser = random.Random(SEED)
    sources = [
        [chooser.randrange(2, 59513) for _ in range(length)] + [0] for length in (3, 9, 1, 30, 14, 6)
    ]
    found = searched(model, sources, [{"num_beams": beams} for beams in (1, 4, 6)])
    targets = [row[:3] for row in found[0]["found"][:2]]
    return {
        "sources": sources,
        "searches": found,
        "scores": scored(model, sources[:2], targets, every=197),
    }


def main() -> None:
    torch.set_num_threads(2)
    expected = tokens()
    golden = {"tokens": expected, "tiny": tiny(expected), "full": full()}
    text = json.dumps(golden, ensure_ascii=False, separators=(",", ":"))
    (HERE / "marian.json").write_text(text + "\n", encoding="utf-8")
    for name in ("tiny", "full"):
        for search in golden[name]["searches"]:
            print(name, search["search"], [len(row) for row in search["found"]])


if __name__ == "__main__":
    main()
