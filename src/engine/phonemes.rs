//! Text to IPA phonemes with espeak-ng, clause by clause.
