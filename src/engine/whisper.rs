//! Speech to text with whisper.cpp.
