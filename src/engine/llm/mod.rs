//! Text generation: a GGUF model in candle, its tokenizer and chat template.
