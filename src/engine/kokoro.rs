//! Kokoro-82M voices on ONNX Runtime.
