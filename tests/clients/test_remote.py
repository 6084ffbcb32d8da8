"""A pipeline whose text is made by a server of another make: llama.cpp's."""

import json
import pathlib
import subprocess
import tempfile
import unittest

from servers import BINARY, MODELS, environment, llama_server

MODEL = f"{MODELS}/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"


class OnLlamaCpp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server, cls.port = llama_server(MODEL)

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()

    def run_stages(self, base_url):
        with tempfile.TemporaryDirectory() as folder:
            prompt = pathlib.Path(folder, "prompt.txt")
            prompt.write_text("Containers changed how we ship software.")
            return subprocess.run(
                [
                    BINARY, "run", str(prompt), "--only", "generate_text", "--json",
                    "--out", f"{folder}/out",
                    "--set=stages.generate_text.engine=openai",
                    f"--set=stages.generate_text.base_url={base_url}",
                    "--set=stages.generate_text.model=smollm2",
                    "--set=max_tokens=40",
                ],
                env=environment() | {"MEGA_DATA_DIR": f"{folder}/data"},
                capture_output=True,
                text=True,
                check=False,
            )

    def test_the_text_is_made_there(self):
        done = self.run_stages(f"http://127.0.0.1:{self.port}/v1")
        self.assertEqual(done.returncode, 0, done.stderr)
        report = json.loads(done.stdout)
        text = next(it for it in report["stages"] if it["stage"] == "generate_text")
        self.assertEqual((text["device"], text["model"]), ("remote", "smollm2"))
        self.assertGreater(text["tokens"], 10)

    def test_an_address_that_it_does_not_know_is_told_and_not_taken_for_an_answer(self):
        done = self.run_stages(f"http://127.0.0.1:{self.port}/elsewhere")
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"http://127.0.0.1:{self.port}/elsewhere", done.stderr)


if __name__ == "__main__":
    unittest.main()
