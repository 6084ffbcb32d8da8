//! What a person types: one file a subcommand.

pub mod models;
