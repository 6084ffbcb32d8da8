"""Servers for the tests: the program under test, and llama.cpp's as a server of another make."""

import os
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request

BINARY = os.environ["BINARY_UNDER_TEST"]
MODELS = os.environ["MODELS_UNDER_TEST"]

# The smallest real models with which a test is certain, so that it takes seconds.
SMALL = [
    "--set=model.speech-to-text=whisper-base.en",
    "--set=model.text-generation=smollm2-135m-instruct",
    "--set=target=pt",
]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


class Running:
    """A process that is waited for until `ready` answers, and stopped in the end."""

    def __init__(self, command, ready, environment, log=None):
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=log
        )
        deadline = time.monotonic() + 300
        while not answers(ready):
            if self.process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with {self.process.returncode}")
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{ready} does not answer")
            time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)


def environment():
    own = {name: value for name, value in os.environ.items() if not name.startswith("MEGA_")}
    return own | {"MEGA_MODELS_DIR": MODELS, "MEGA_OFFLINE": "true"}


class Pipeline(unittest.TestCase):
    """Tests that talk to one running server, started with `options`."""

    options = ["--stub"]
    token = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        port = free_port()
        cls.root = f"http://127.0.0.1:{port}"
        own = environment() | {"MEGA_DATA_DIR": f"{cls.folder.name}/data"}
        if cls.token:
            own["MEGA_API_TOKENS"] = cls.token
        command = [BINARY, "serve", "--listen", f"127.0.0.1:{port}", *cls.options]
        cls.server = Running(command, f"{cls.root}/readyz", own)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        cls.folder.cleanup()


def llama_server(model):
    """llama.cpp's server by its Python package, with the weights that the tests have anyway."""
    port = free_port()
    command = [sys.executable, "-m", "llama_cpp.server", "--model", model]
    command += ["--host", "127.0.0.1", "--port", str(port), "--n_ctx", "2048"]
    # It tells of every tensor.
    ready = f"http://127.0.0.1:{port}/v1/models"
    return Running(command, ready, dict(os.environ), subprocess.DEVNULL), port
