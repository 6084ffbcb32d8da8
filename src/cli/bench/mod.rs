//! `mega-pipeline bench`: what the stages cost and how good they are.

mod chain;
mod picture;
mod quality;
mod stages;
mod topology;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::error::AppError;
use crate::settings::Settings;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Each stage: seconds, real-time factor, tokens/s, peak memory
    Stages(stages::StagesArgs),
    /// A recording through all stages, the first time and warm
    Chain(chain::ChainArgs),
    /// Voices that are listened to, translations that are compared: see script/quality
    Quality(quality::QualityArgs),
    /// One process against microservices, over HTTP and around a shared folder
    Topology(topology::TopologyArgs),
}

/// The kilobytes that a file of `/proc` has under `name`, where the system tells.
fn memory_kb(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// Files that figures are written to.
#[derive(Debug, Args)]
struct Files {
    /// Write all figures here, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a picture of the stages' times here
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

impl Files {
    /// Writes those that were asked for.
    fn write(
        &self,
        figures: &impl Serialize,
        picture: impl FnOnce() -> String,
    ) -> Result<(), AppError> {
        write(self.json.as_deref(), || {
            serde_json::to_string_pretty(figures)
                .map_err(|error| AppError::Other(error.to_string()))
        })?;
        write(self.svg.as_deref(), || Ok(picture()))
    }
}

/// Writes what `text` gives to the file that was asked for, if one was.
fn write(
    path: Option<&Path>,
    text: impl FnOnce() -> Result<String, AppError>,
) -> Result<(), AppError> {
    match path {
        Some(path) => std::fs::write(path, text()?).map_err(AppError::io(path)),
        None => Ok(()),
    }
}

/// Runs the benchmark.
///
/// # Errors
/// When a stage fails.
pub fn run(args: &BenchArgs, settings: &Settings) -> Result<(), AppError> {
    match &args.what {
        What::Stages(args) => stages::run(args, settings),
        What::Chain(args) => chain::run(args, settings),
        What::Quality(args) => quality::run(args, settings),
        What::Topology(args) => topology::run(args, settings),
    }
}
