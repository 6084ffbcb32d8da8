//! The durable job table and the worker that drives it.
