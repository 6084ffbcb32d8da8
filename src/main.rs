//! The `mega-pipeline` program: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use mega_pipeline::cli::{self, Cli};
use mega_pipeline::cpu;
use mega_pipeline::error::exit;

fn main() -> ExitCode {
    let missing = cpu::missing_instruction_sets();
    if !missing.is_empty() {
        eprintln!(
            "mega-pipeline: this processor lacks {}. A processor of {} is needed.",
            missing.join(", "),
            cpu::LEVEL
        );
        return ExitCode::from(exit::FAILED);
    }
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(sentence) = error.sentence() {
                eprintln!("mega-pipeline: {sentence}");
            }
            error.exit_code()
        }
    }
}
