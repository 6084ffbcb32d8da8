//! What a person types: one file a subcommand.
//!
//! Called by `main` only. This file parses, reads the configuration and hands on.

mod batch;
mod bench;
mod completions;
mod config;
mod doctor;
mod health;
mod licenses;
mod models;
mod progress;
mod record;
mod run;
mod serve;
mod voices;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigError, FILE_NAME, Origin};
use crate::error::{AppError, exit};
use crate::models::ModelStore;
use crate::settings::Settings;
use crate::stage::{self, Stage};
use crate::telemetry;

const EXIT_CODES: &str = "\
Exit codes:
  0    success
  1    the work failed
  2    wrong usage or configuration
  3    weights or a library are missing or damaged
  4    the recording cannot be read or holds no speech
  5    there is no microphone or loudspeaker, or it cannot be used
  130  interrupted

Every setting can also stand in mega-pipeline.toml or in a variable of the
environment: `mega-pipeline config` lists them all with their values.";

/// Speak a prompt; hear it continued in English and in another language.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Flags that every subcommand takes.
#[derive(Debug, Args)]
struct GlobalArgs {
    /// Configuration file [default: mega-pipeline.toml in the working directory, if there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the job table, recordings and results
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// Folder of the weights
    #[arg(long, global = true, value_name = "DIR")]
    models_dir: Option<String>,
    /// Address and port of the page
    #[arg(long, global = true, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Threads for one model at work; 0 is one for each core
    #[arg(long, global = true, value_name = "N")]
    threads: Option<String>,
    /// Stop where models that can use a GPU would compute on the CPU
    #[arg(long, global = true)]
    require_gpu: bool,
    /// Never use the network
    #[arg(long, global = true)]
    offline: bool,
    /// Any setting by name; see `mega-pipeline config`
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the page and the API, and run jobs (the default)
    Serve(serve::ServeArgs),
    /// Run one recording through the stages, without a server
    Run(run::RunArgs),
    /// Run a folder of recordings, laid out as the course's bucket
    Batch(batch::BatchArgs),
    /// Record a prompt from the microphone and run it through the stages
    Record(record::RecordArgs),
    /// List, pull, verify or remove weights
    Models(models::ModelsArgs),
    /// List the voices, or hear one
    Voices(voices::VoicesArgs),
    /// Check everything that can go wrong, and say how to mend it
    Doctor(doctor::DoctorArgs),
    /// Ask whether the server of this configuration answers
    Health(health::HealthArgs),
    /// Print every setting, its value, and where it came from
    Config(config::ConfigArgs),
    /// Print the licence of the program, of all that it links and of every model
    Licenses(licenses::LicensesArgs),
    /// Measure the stages on this machine
    Bench(bench::BenchArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// Runs what was typed.
///
/// # Errors
/// Whatever stopped the command; its exit code tells the kind.
pub fn run(cli: Cli) -> Result<(), AppError> {
    let command = cli.command.unwrap_or(Command::Serve(serve::ServeArgs::default()));
    if !matches!(command, Command::Serve(_)) {
        // `config | head` ends quietly when `head` has seen enough. The server goes on, whoever
        // stops listening.
        sigpipe::reset();
    }
    if let Command::Completions(args) = command {
        completions::run(&args);
        return Ok(());
    }
    let config = read_config(&cli.global, std::env::vars_os())?;
    let settings = Settings::new(&config)?;
    telemetry::init(&settings)?;
    prepare_libraries(&settings);
    match command {
        Command::Serve(args) => serve::run(&args, &settings),
        Command::Run(args) => run::run(&args, &settings),
        Command::Batch(args) => batch::run(&args, &settings),
        Command::Record(args) => record::run(&args, &settings),
        Command::Models(args) => run_models(args, &settings),
        Command::Voices(args) => voices::run(&args, &settings),
        Command::Doctor(args) => doctor::run(&args, &settings),
        Command::Health(args) => health::run(&args, &settings),
        Command::Config(args) => config::run(&args, &config),
        Command::Licenses(args) => licenses::run(&args, &settings),
        Command::Bench(args) => bench::run(&args, &settings),
        Command::Completions(_) => unreachable!("handled above"),
    }
}

fn run_models(args: models::ModelsArgs, settings: &Settings) -> Result<(), AppError> {
    let store = ModelStore::open(&settings.models_dir)?;
    let complete = runtime()?.block_on(args.run(&store, settings.offline))?;
    if complete { Ok(()) } else { Err(AppError::Told(exit::MISSING)) }
}

/// The five stages for a command that runs them itself, nothing loaded yet.
fn stages(stub: bool, settings: &Settings) -> Result<Vec<Box<dyn Stage>>, AppError> {
    if stub {
        return Ok(stage::stub::stages());
    }
    Ok(stage::local(settings, &ModelStore::open(&settings.models_dir)?))
}

/// The event loop that the network, the database and child processes need.
fn runtime() -> Result<tokio::runtime::Runtime, AppError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| AppError::Other(format!("the event loop cannot start: {error}")))
}

/// Sets what libraries read from the environment alone: how many threads candle uses, and that
/// ONNX Runtime, whose published builds send figures of their use to their maker unless they are
/// told not to (since 1.29), sends and keeps none.
fn prepare_libraries(settings: &Settings) {
    const THREADS: &str = "RAYON_NUM_THREADS";
    // SAFETY: no other thread runs yet: this is called before the event loop, the
    // worker and every model.
    unsafe {
        if std::env::var_os(THREADS).is_none() {
            std::env::set_var(THREADS, settings.hardware.threads.to_string());
        }
        std::env::set_var("ORT_DISABLE_TELEMETRY", "1");
    }
}

/// Lays file, environment and flags over the defaults.
fn read_config(
    args: &GlobalArgs,
    environment: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
) -> Result<Config, ConfigError> {
    let mut config = Config::defaults();
    if let Some(path) = &args.config {
        config.add_file(path)?;
    } else if PathBuf::from(FILE_NAME).is_file() {
        config.add_file(&PathBuf::from(FILE_NAME))?;
    }
    config.add_environment(environment.into_iter().filter_map(|(name, value)| {
        // A name or value that is not Unicode cannot be one of ours.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    }))?;
    let flags = [
        ("data_dir", "--data-dir", args.data_dir.clone()),
        ("models_dir", "--models-dir", args.models_dir.clone()),
        ("listen", "--listen", args.listen.clone()),
        ("threads", "--threads", args.threads.clone()),
        ("require_gpu", "--require-gpu", args.require_gpu.then(|| "true".to_owned())),
        ("offline", "--offline", args.offline.then(|| "true".to_owned())),
    ];
    for (key, flag, value) in flags {
        if let Some(value) = value {
            config.set(key, &value, Origin::Flag(flag.to_owned()))?;
        }
    }
    for pair in &args.set {
        let (key, value) = pair.split_once('=').ok_or_else(|| ConfigError::BadValue {
            key: "--set".to_owned(),
            text: pair.clone(),
            origin: "flag --set".to_owned(),
            why: "KEY=VALUE is expected".to_owned(),
        })?;
        config.set(key.trim(), value.trim(), Origin::Flag("--set".to_owned()))?;
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_lands_in_its_setting() {
        let cli = Cli::parse_from([
            "mega-pipeline",
            "config",
            "--data-dir=/d",
            "--models-dir=/m",
            "--listen=127.0.0.1:9",
            "--threads=3",
            "--offline",
            "--set=max_tokens=77",
        ]);
        let settings = Settings::new(&read_config(&cli.global, []).unwrap()).unwrap();
        assert_eq!(settings.data_dir, PathBuf::from("/d"));
        assert_eq!(settings.models_dir, PathBuf::from("/m"));
        assert_eq!(settings.listen.port(), 9);
        assert_eq!(settings.hardware.threads, 3);
        assert!(settings.offline);
        assert_eq!(settings.defaults.max_tokens, 77);
    }

    #[test]
    fn a_named_configuration_file_must_exist() {
        let cli = Cli::parse_from(["mega-pipeline", "--config=/nowhere.toml"]);
        let error = read_config(&cli.global, []).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere.toml"), "{error}");
    }
}
