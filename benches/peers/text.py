"""The language model, read by llama.cpp."""

from common import MODELS, THREADS, Row, Server

NAME = "qwen2.5-coder-1.5b-instruct"
FILLER = "The harbour was quiet and the boats were back, so nobody saw the small red light. "


def rows():
    from llama_cpp import Llama

    server = Server("generate_text", settings=[f"model.text-generation={NAME}"])
    file = next((MODELS / NAME).glob("*.gguf"))
    llama = Llama(str(file), n_ctx=2048, n_threads=THREADS, n_threads_batch=THREADS, verbose=False)
    asked = 0

    def messages(filler):
        # llama.cpp keeps what it has read of the last prompt: each begins in its own way.
        nonlocal asked
        asked += 1
        return [
            {"role": "system", "content": f"Story number {asked}."},
            {"role": "user", "content": FILLER * filler + "Tell at length how it went on."},
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
        "write 128 tokens after a prompt of 30",
        "llama.cpp, same file",
        lambda: check(ours(0, 128)),
        lambda: check(theirs(0, 128)),
        unit="tokens/s",
        figure=lambda seconds: 128 / seconds,
        notes={"with": "reading the prompt"},
    )


def check(usage):
    assert usage["completion_tokens"] >= 127, usage
