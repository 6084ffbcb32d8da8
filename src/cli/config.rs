//! `mega-pipeline config`: every setting, its value, and where it came from.

use clap::Args;
use serde_json::json;

use crate::config::Config;
use crate::error::AppError;

/// Arguments of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the effective configuration.
///
/// # Errors
/// None today; the signature is that of every subcommand.
#[expect(clippy::unnecessary_wraps, reason = "every subcommand has the same signature")]
pub fn run(args: &ConfigArgs, config: &Config) -> Result<(), AppError> {
    if args.json {
        let entries: serde_json::Map<_, _> = config
            .entries()
            .map(|(key, value)| {
                let entry = json!({
                    "value": Config::shown(key, value),
                    "origin": value.origin.to_string(),
                    "environment": key.environment(),
                    "doc": key.doc,
                });
                (key.name.clone(), entry)
            })
            .collect();
        println!("{:#}", serde_json::Value::Object(entries));
        return Ok(());
    }
    for (key, value) in config.entries() {
        println!("# {} [{}]", key.doc, key.environment());
        println!("{} = {}  # {}\n", key.name, Config::shown(key, value), value.origin);
    }
    Ok(())
}
