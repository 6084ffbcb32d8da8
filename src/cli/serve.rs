//! `mega-pipeline serve`: the page, the API and the worker.

use std::path::{Path, PathBuf};

use clap::Args;
use tokio::net::TcpListener;

use crate::error::AppError;
use crate::jobs::{EventHub, JobStore, NewJob, Worker};
use crate::models::ModelStore;
use crate::settings::Settings;
use crate::stage::{self, Stage};
use crate::web::{self, AppState};

/// The bundled spoken prompt, so that a first start has something to show.
const SAMPLE: &[u8] = include_bytes!("../../samples/prompt.flac");

/// Arguments of `serve`.
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// Run the bundled sample prompt if there are no jobs yet
    #[arg(long)]
    sample: bool,
    /// Every stage a fast stub, for tests and load tests
    #[arg(long)]
    stub: bool,
}

/// Serves until it is told to stop.
///
/// # Errors
/// When the address is taken or the data folder cannot be used.
pub fn run(args: &ServeArgs, settings: &Settings) -> Result<(), AppError> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| AppError::Other(format!("the server cannot start: {error}")))?
        .block_on(serve(args, settings))
}

async fn serve(args: &ServeArgs, settings: &Settings) -> Result<(), AppError> {
    // The port first: whoever finds it taken should not wait for models.
    let listener = TcpListener::bind(settings.listen)
        .await
        .map_err(|source| AppError::Listen { address: settings.listen, source })?;
    let address = listener
        .local_addr()
        .map_err(|source| AppError::Listen { address: settings.listen, source })?;
    let stages: Vec<Box<dyn Stage>> =
        if args.stub { stage::stub::stages() } else { stage::local(settings)? };
    let store = JobStore::open(&settings.data_dir, EventHub::default()).await?;
    let recovered = store.recover().await?;
    if recovered != crate::jobs::Recovered::default() {
        tracing::info!(?recovered, "put right what the last run left half done");
    }
    if args.sample && store.list(None, 1).await?.is_empty() {
        submit_sample(&store, settings).await?;
    }
    let worker = Worker::start(store.clone(), stages)?;
    let state = AppState::new(store, worker.readiness(), settings, targets(args, settings)?);
    println!("Mega Pipeline is at http://{address}/ (stop with Ctrl-C)");
    web::serve(listener, state, interrupted()).await.map_err(|source| AppError::Listen { address, source })?;
    tracing::info!("stopping: the running stage may finish");
    worker.stop(settings.shutdown_grace).await;
    Ok(())
}

/// Languages that the page offers.
fn targets(args: &ServeArgs, settings: &Settings) -> Result<Vec<String>, AppError> {
    if args.stub {
        return Ok(vec!["fr".to_owned(), "pt".to_owned()]);
    }
    let store = ModelStore::open(&settings.models_dir)?;
    Ok(stage::targets(&store, settings))
}

async fn submit_sample(store: &JobStore, settings: &Settings) -> Result<(), AppError> {
    let path: PathBuf = store.incoming_dir().join("sample.flac");
    write(&path, SAMPLE).await?;
    let sample = NewJob {
        prompt_name: Some("sample prompt".to_owned()),
        prompt_type: "audio/flac".to_owned(),
        prompt_extension: "flac",
        prompt_ms: None,
        options: settings.defaults.clone(),
    };
    store.submit(sample, &path).await?;
    Ok(())
}

async fn write(path: &Path, bytes: &[u8]) -> Result<(), AppError> {
    tokio::fs::write(path, bytes).await.map_err(AppError::io(path))
}

/// Ends when the process is asked to stop, by Ctrl-C or by its supervisor.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                terminate.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
