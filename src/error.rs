//! The one application error.
