//! ONNX Runtime: opened with a clear error, sessions made in one place.
