//! Raw configuration values: file, environment and flags.
