//! Firefox Translations (Marian student models, int8) through the crate fxtranslate.
