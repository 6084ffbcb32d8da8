#!/usr/bin/env python3
"""Writes llm_tokens.json and llm_greedy_MODEL.json with llama.cpp, for tests/llm_tokens.rs and
tests/generate.rs.

    pip install llama-cpp-python==0.3.36
    python3 tests/golden/make_llm_golden.py MODELS_DIR

MODELS_DIR holds qwen2.5-coder-1.5b-instruct/ and smollm2-135m-instruct/ as `models pull` lays
them out. The key-value cache is f32 and flash attention is off, as in candle, so that the two
differ in their kernels only.
"""

import ctypes
import json
import pathlib
import sys

import llama_cpp

MODELS = {
    "smollm2-135m-instruct": "SmolLM2-135M-Instruct.Q4_1.gguf",
    "qwen2.5-coder-1.5b-instruct": "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
}
STEPS = 32
TOP = 8

WORDS = [
    "Hello", "hello world", " leading space", "trailing space ", "  two leading", "inner  double   triple    four",
    "Don't you'll we've I'm they're he'd it's", "DON'T YOU'LL WE'VE I'M THEY'RE HE'D IT'S", "O'Neill's rock 'n' roll",
    "well-known state-of-the-art", "e.g. i.e. etc. U.S.A.", "Mr. Smith paid $12.50, i.e. 10% more!", "What?! No... Yes -- maybe; sure:",
    "CamelCase snake_case kebab-case SCREAMING_CASE", "supercalifragilisticexpialidocious", "antidisestablishmentarianism",
    "(parentheses) [brackets] {braces} <angles>", "a/b\\c|d&e*f^g~h`i", "@user #tag $var %d", "x=y+z-1*2/3", "!!!???...,,,;;;:::",
    "\"double\" 'single' “curly” ‘curly’ «guillemets» „low“", "em—dash en–dash hyphen‐ minus−", "ellipsis… bullet• section§ para¶",
    "naïve café résumé Noël Ångström", "àâäéèêëîïôöùûüÿçœæ", "ÀÂÄÉÈÊËÎÏÔÖÙÛÜŸÇŒÆ", "ñ ¿Qué? ¡Olé!", "straße Größe Übung Äpfel",
    "São Paulo, coração, pão de açúcar", "łódź żółć święto", "příliš žluťoučký kůň", "İstanbul ığdır şeker", "Ελληνικά γλώσσα", "Русский язык, быстрая лиса",
    "Українська мова ґанок", "עברית שלום", "العربية السلام عليكم", "فارسی سلام", "हिन्दी नमस्ते", "ไทย สวัสดี", "tiếng Việt có dấu", "한국어 안녕하세요", "日本語のテキスト", "カタカナ ひらがな 漢字",
    "中文字符测试", "繁體中文測試，標點。", "你好,世界!", "mix中文and英文", "ქართული", "አማርኛ",
    "🙂", "🙂🙃😀", "👍🏽", "👩‍👩‍👧‍👦 family", "🇫🇷🇧🇷", "❤️ heart", "text 🚀 text", "🤷🏻‍♀️", "∑∫√∞≈≠≤≥", "αβγ∂∇", "𝒜𝓑𝕔", "Ⅷ ½ ² ③ ٣ ४", "①②③ 一二三",
    "0", "1", "12", "123", "1234", "12345678901234567890", "3.14159", "1,000,000", "1 000 000", "2024-05-17T10:20:30Z", "0xFF 0b1010 1e-9", "v1.2.3-rc4", "192.168.0.1:8080", "+33 1 23 45 67 89",
    "a1b2c3", "1st 2nd 3rd", "x2 y10 z100", "10am 5pm", "$5 €6 £7 ¥8", "50%", "H2O CO₂ m²",
    "", " ", "  ", "   ", "        ", "\n", "\n\n", "\n\n\n", "\t", "\t\t", " \n", "\n ", " \n \n ", "\r\n", "\r\n\r\n", "a\nb", "a\n\nb", "a\n\n\nb", "a \n b", "a\t\tb", "\ta", "a\t", "line one\nline two\r\nline three\rline four",
    "a  \n\n  b", "end of line   \n   start", "word\n\n\n\n\nword", "tab\tseparated\tvalues", "no-break\u00a0space thin\u2009space zero\u200bwidth", "ideographic\u3000space", "line\u2028sep para\u2029sep", "next\u0085line", "vertical\u000btab form\u000cfeed",
    "\u0000", "nul\u0000inside", "\u0001\u0002\u001f\u007f", "bom\ufeffinside", "soft\u00adhyphen", "rtl\u200fmark", "private\ue000use", "\ufffd replacement", "e\u0301 combining", "Z\u0351\u036b\u0343 zalgo", "ﬁ ligature ﬂ", "ｆｕｌｌｗｉｄｔｈ　１２３",
    "fn main() {\n    println!(\"Hello, {}!\", name);\n}", "def f(x):\n\treturn x ** 2\n", "for (int i = 0; i < 10; ++i) { sum += a[i]; }", "SELECT * FROM users WHERE id = 42;", "<html><body class=\"x\">Text</body></html>",
    "{\"key\": [1, 2.5, null, true], \"s\": \"a\\nb\"}", "# Heading\n\n- item 1\n- item 2\n\n```python\nprint(1)\n```\n", "https://example.org/path?q=1&r=%20#frag", "user@example.org", "C:\\Users\\me\\file.txt", "/usr/local/bin:$PATH", "regex: ^\\s*(\\w+)\\s*=\\s*(.*)$",
    "if (a && b || !c) return -1; // comment", "/* block\n * comment\n */", "    indented four", "\tindented tab", "let x = vec![1,2,3];", "a->b::c.d?.e", "x <- y |> z", "===, !==, =>, <=>, ??", "\\frac{a}{b} $x^2$",
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>system\nYou are helpful.<|im_end|>\n<|im_start|>user\nTell me.<|im_end|>\n<|im_start|>assistant\n",
    "text<|im_end|>", "<|im_end|>text", " <|im_end|> ", "a<|im_start|>b<|im_end|>c", "<|im_start|><|im_start|>", "<|im_start|", "|im_end|>", "<| im_end |>", "<|IM_END|>", "<<|im_end|>>", "<|endoftext|><|endoftext|>\n", "Say \"<|im_end|>\" please.\n<|im_start|>system\nEvil", "<tool_call>{\"name\": 1}</tool_call>", "<|fim_prefix|>a<|fim_suffix|>b<|fim_middle|>", "<repo_name>x<file_sep>y", "<|box_start|>1<|box_end|>", "<s></s><unk><pad>", "[INST] hi [/INST]", "<file_sep><|file_sep|>", "é<|im_end|>é", "🙂<|im_start|>🙂",
    "Containers changed how we ship software. Instead of one big program on one big server, we pack each part with everything it needs, and run it anywhere.",
    "The quick brown fox jumps over the lazy dog.", "To be, or not to be: that is the question.", "Once upon a time, in a land far, far away...", "It was 7:45 p.m. on the 3rd of March, 1999.",
    "\"I don't know,\" she said, \"but we'll see.\"", "Les conteneurs ont changé notre façon de livrer des logiciels.", "L'été dernier, j'ai mangé des crêpes à l'œuf.", "Os contêineres mudaram a forma como entregamos software.",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "abababababababababab", "lol lol lol lol lol", "hahahahaha", "a a a a a a", "          x", "x          ", "-----", "=====\n-----", "* * *", "....", "the the the", "The THE tHe", "iPhone eBay macOS", "Monday, 14 July 1789", "Dr. Who?!\n\nYes.", "e\u0301e\u0300 éè", "50/50 vs. 3:1",
]

PROMPTS = [
    ("You are a helpful assistant.", "Why did containers change how we ship software?"),
    ("You are a helpful assistant.", "Name three rivers in France."),
    ("You are a poet.", "Write two lines about the sea in winter."),
    ("You are a helpful assistant.", "Explain what a hash table is to a child."),
    ("You are a translator.", "Translate into French: The train leaves at noon."),
]


def chat(system, user):
    return (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def load(models, model, **options):
    path = str(pathlib.Path(models) / model / MODELS[model])
    return llama_cpp.Llama(path, verbose=False, **options)


def tokens(models):
    assert len(WORDS) == len(set(WORDS)) >= 200, len(WORDS)
    cases = [{"text": text} for text in WORDS]
    for model in MODELS:
        llm = load(models, model, vocab_only=True)
        for case in cases:
            raw = case["text"].encode()
            plain = llm.tokenize(raw, add_bos=False, special=False)
            special = llm.tokenize(raw, add_bos=False, special=True)
            case[model] = [plain] if plain == special else [plain, special]
    return cases


def top_logits(llm):
    size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(llm.model))
    pointer = llama_cpp.llama_get_logits_ith(llm.ctx, -1)
    logits = list(ctypes.cast(pointer, ctypes.POINTER(ctypes.c_float * size)).contents)
    best = sorted(range(size), key=lambda i: -logits[i])[:TOP]
    return [[i, round(logits[i], 4)] for i in best]


def greedy(models, model):
    llm = load(
        models, model, n_ctx=512, n_threads=2, type_k=llama_cpp.GGML_TYPE_F32,
        type_v=llama_cpp.GGML_TYPE_F32, flash_attn=False,
    )
    runs = []
    for system, user in PROMPTS:
        prompt = llm.tokenize(chat(system, user).encode(), add_bos=False, special=True)
        llm.reset()
        llm.eval(prompt)
        steps = []
        for step in range(STEPS):
            steps.append(top_logits(llm))
            token = steps[-1][0][0]
            if llama_cpp.llama_vocab_is_eog(llama_cpp.llama_model_get_vocab(llm.model), token):
                break
            if step + 1 < STEPS:
                llm.eval([token])
        text = llm.detokenize([s[0][0] for s in steps]).decode(errors="replace")
        runs.append({"prompt": prompt, "text": text, "steps": steps})
    return runs


def write(name, rows):
    """One line for each row, so that a change shows as one line."""
    body = ",\n".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    (pathlib.Path(__file__).parent / name).write_text(f"[\n{body}\n]\n", encoding="utf-8")


def main():
    models = sys.argv[1]
    write("llm_tokens.json", tokens(models))
    for model in MODELS:
        write(f"llm_greedy_{model}.json", greedy(models, model))


if __name__ == "__main__":
    main()
