"""The language model, read by llama.cpp."""

import time

from common import MODELS, THREADS, Row, Server, starting

NAME = "qwen2.5-coder-1.5b-instruct"
FILLER = "The harbour was quiet and the boats were back, so nobody saw the small red light. "


def rows():
    server = Server("generate_text", settings=[f"model.text-generation={NAME}"])
    file = next((MODELS / NAME).glob("*.gguf"))
    with starting("llama.cpp"):
        from llama_cpp import Llama

        llama = Llama(
            str(file), n_ctx=2048, n_threads=THREADS, n_threads_batch=THREADS, verbose=False
        )
    asked = 0

    def messages(filler):
        # llama.cpp keeps what it has read of the last prompt: each begins in its own way.
        nonlocal asked
        asked += 1
        return [
            {"role": "system", "content": f"Story number {asked}."},
            {"role": "user", "content": FILLER * filler + "Write a story of 500 words about it."},
        ]

    def ours(filler, tokens):
        body = {"messages": messages(filler), "max_tokens": tokens, "temperature": 0}
        return server.ask("/v1/chat/completions", body)["usage"]

    def theirs(filler, tokens):
        answer = llama.create_chat_completion(
            messages(filler), max_tokens=tokens, temperature=0, repeat_penalty=1.1
        )
        return answer["usage"]

    for filler in [0, 26]:
        sizes = [side(filler, 1)["prompt_tokens"] for side in (ours, theirs)]
        yield Row(
            f"read a prompt of {sizes[0]} tokens",
            "llama.cpp, same file",
            lambda filler=filler: ours(filler, 1) and None,
            lambda filler=filler: theirs(filler, 1) and None,
            unit="tokens/s",
            figure=lambda seconds, size=sizes[0]: size / seconds,
            notes={"their prompt": f"{sizes[1]} tokens"},
        )
    yield Row(
        "write 128 tokens",
        "llama.cpp, same file",
        lambda: decoding(ours),
        lambda: decoding(theirs),
        unit="tokens/s",
        figure=lambda seconds: 128 / seconds,
    )


def decoding(side):
    """Seconds for 128 tokens, without those that reading the prompt and the first token take."""
    began = time.perf_counter()
    side(0, 1)
    first = time.perf_counter() - began
    began = time.perf_counter()
    made = side(0, 128)["completion_tokens"]
    assert made > 32, made
    return (time.perf_counter() - began - first) / (made - 1) * 128
