//! The catalogue of weights and the store that keeps them.
