"""What all parts share: the row, the server under test, words and their errors."""

import atexit
import json
import os
import re
import subprocess
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

MEGA = os.environ["PROGRAM_UNDER_TEST"]
MODELS = Path(os.environ["MODELS"])
ROOT = Path(__file__).parents[2]
THREADS = os.cpu_count()


@dataclass
class Row:
    what: str
    peer: str
    ours: Callable
    theirs: Callable
    unit: str = "s"
    # From the median of seconds to what the table shows.
    figure: Callable = lambda seconds: seconds
    notes: dict = field(default_factory=dict)
    # Seconds of sound that each side reads or makes.
    sound: tuple[float, float] | None = None


# Seconds that each peer took to be imported and to load its model.
PEERS_STARTS = {}


@contextmanager
def starting(peer):
    began = time.perf_counter()
    yield
    PEERS_STARTS[peer] = time.perf_counter() - began


# Every server that was started, for its memory.
SERVERS = []


class Server:
    """This program as a server; `stages` names those that it does alone, none of them means all."""

    def __init__(self, *stages, settings=()):
        self.folder = tempfile.TemporaryDirectory()
        command = [
            MEGA, "--data-dir", self.folder.name, "--models-dir", str(MODELS),
            "--listen", "127.0.0.1:0", f"--threads={THREADS}",
            *(f"--set={setting}" for setting in settings), "serve",
        ]  # fmt: skip
        if stages:
            command += ["--only", ",".join(stages)]
        began = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        atexit.register(self.process.kill)
        self.url = self.process.stdout.readline().split()[4].rstrip("/")
        while not self.ready():
            time.sleep(0.01)
        self.start_s = time.perf_counter() - began
        SERVERS.append(self)

    def ready(self):
        try:
            return urllib.request.urlopen(self.url + "/readyz").status == 200
        except urllib.error.HTTPError:
            return False

    def open(self, path, body=None, kind="application/json"):
        data = json.dumps(body).encode() if kind == "application/json" and body else body
        request = urllib.request.Request(self.url + path, data, {"content-type": kind})
        return urllib.request.urlopen(request)

    def ask(self, path, body=None, kind="application/json"):
        return json.load(self.open(path, body, kind))

    def upload(self, path, file, **fields):
        mark = "a-mark-that-no-recording-holds"
        parts = [
            f'--{mark}\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
            for name, value in fields.items()
        ]
        head = f'--{mark}\r\ncontent-disposition: form-data; name="file"; filename="{file.name}"\r\n\r\n'
        body = b"".join(parts) + head.encode() + file.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        return self.ask(path, body, f"multipart/form-data; boundary={mark}")

    def stop(self):
        """For a server that only prepares what is measured."""
        self.process.kill()
        SERVERS.remove(self)

    def memory_mb(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024


def chunks(items, size):
    return [items[at : at + size] for at in range(0, len(items), size)]


def words(text):
    return re.findall(r"[\w']+", text.lower().replace("’", "'"))


def word_errors(reference, hypothesis):
    """Errors in a hundred words; case and punctuation do not count."""
    from rapidfuzz.distance import Levenshtein

    expected = words(reference)
    return round(100 * Levenshtein.distance(expected, words(hypothesis)) / len(expected), 1)


def english_sentences():
    lines = (ROOT / "benches/quality/en-fr.tsv").read_text().splitlines()
    return [line.split("\t")[0] for line in lines]


def french_sentences():
    lines = (ROOT / "benches/quality/en-fr.tsv").read_text().splitlines()
    return [line.split("\t")[1] for line in lines]
