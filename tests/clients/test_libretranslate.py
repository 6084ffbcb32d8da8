"""The `libretranslatepy` package against the running server."""

import unittest
import urllib.error

from libretranslatepy import LibreTranslateAPI

from servers import SMALL, Pipeline


class OnStubs(Pipeline):
    token = "tests=a-token-of-the-tests"

    def test_a_text_is_translated_and_the_languages_are_listed(self):
        client = LibreTranslateAPI(f"{self.root}/", api_key="a-token-of-the-tests")
        self.assertEqual(client.translate("Good day.", "en", "fr"), "[fr] Good day.")
        with self.assertRaises(urllib.error.HTTPError) as refused:
            client.translate("Guten Tag.", "de", "fr")
        self.assertEqual(refused.exception.code, 422)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            LibreTranslateAPI(f"{self.root}/").translate("Good day.", "en", "fr")
        self.assertEqual(refused.exception.code, 401)


class OnRealModels(Pipeline):
    options = SMALL

    def test_english_becomes_portuguese(self):
        client = LibreTranslateAPI(f"{self.root}/")
        self.assertIn("pt", [it["code"] for it in client.languages()])
        translated = client.translate("Good morning. The book is on the table.", "en", "pt")
        self.assertEqual(translated, "Bom dia. O livro está na mesa.")


if __name__ == "__main__":
    unittest.main()
