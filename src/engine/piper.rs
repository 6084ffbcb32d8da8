//! Piper voices through piper-rs.
