//! Opus-MT (Marian) translation models in candle, read as published.
