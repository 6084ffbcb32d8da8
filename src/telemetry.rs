//! Logging: human lines or JSON, to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::ConfigError;
use crate::settings::{LogFormat, Settings};

/// Sends log lines to standard error from now on. A second call changes nothing.
///
/// # Errors
/// When the filter does not parse.
pub fn init(settings: &Settings) -> Result<(), ConfigError> {
    let filter: EnvFilter =
        settings.log.parse().map_err(|error: tracing_subscriber::filter::ParseError| {
            ConfigError::BadValue {
                key: "log".to_owned(),
                text: settings.log.clone(),
                origin: "configuration".to_owned(),
                why: error.to_string(),
            }
        })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A global subscriber that is already set belongs to a test; it stays.
    let _ = match settings.log_format {
        LogFormat::Human => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    Ok(())
}
