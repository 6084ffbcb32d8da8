//! `mega-pipeline serve`: the page, the API and the worker.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::error::AppError;
use crate::jobs::{
    EventHub, Janitor, JobStore, Recovered, StageSet, StoreOptions, Workers, submit_sample,
};
use crate::models::ModelStore;
use crate::settings::{Settings, Tls};
use crate::stage::{self, AUTO, Direct, StageKind};
use crate::text::language::LANGUAGES;
use crate::text::templates;
use crate::web::{
    self, AppState, Certificate, Choice, Models, OfferedVoice, Served, StageEngine, Task, WebConfig,
};

/// What stands for the device, and for a model without a name, of another server.
const REMOTE: &str = "remote";

/// Arguments of `serve`.
#[derive(Debug, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub struct ServeArgs {
    /// Run the bundled sample prompt if there are no jobs yet
    #[arg(long)]
    sample: bool,
    /// PEM file of a certificate: connections are encrypted
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file of the certificate's private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Encrypt connections with a certificate that the server makes itself
    #[arg(long, conflicts_with = "tls_cert")]
    tls_self_signed: bool,
    /// Let everybody in who can reach the address, without a token
    #[arg(long)]
    insecure_no_auth: bool,
    /// Log what was said and written, too
    #[arg(long)]
    log_content: bool,
    /// Do the work of this stage alone, for servers that have it point here: no page, no jobs
    #[arg(long, value_name = "STAGE", conflicts_with = "sample", value_delimiter = ',')]
    only: Vec<StageKind>,
    /// Every stage a fast stub, for tests and load tests
    #[arg(long)]
    stub: bool,
}

/// Serves until it is told to stop.
///
/// # Errors
/// When the address is taken or the data folder cannot be used.
pub fn run(args: &ServeArgs, settings: &Settings) -> Result<(), AppError> {
    let mut settings = settings.clone();
    if let (Some(certificate), Some(key)) = (&args.tls_cert, &args.tls_key) {
        let (certificate, key) = (certificate.clone(), key.clone());
        settings.tls = Some(Tls::Given { certificate, key });
    } else if args.tls_self_signed {
        settings.tls = Some(Tls::SelfSigned);
    }
    settings.access.tls = settings.tls.is_some();
    let address = settings.listen;
    if !address.ip().is_loopback() && settings.access.is_open() && !args.insecure_no_auth {
        return Err(AppError::OpenToAll { address });
    }
    // Recordings are nobody else's business: no file that the server makes is for others to read.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    super::runtime()?.block_on(serve(args, &settings))
}

async fn serve(args: &ServeArgs, settings: &Settings) -> Result<(), AppError> {
    // The port first: whoever finds it taken should not wait for models.
    let listener = TcpListener::bind(settings.listen)
        .map_err(|source| AppError::Listen { address: settings.listen, source })?;
    let address = listener
        .local_addr()
        .map_err(|source| AppError::Listen { address: settings.listen, source })?;
    // A certificate that is none should not cost a job one of its attempts.
    let tls = match certificate(settings)? {
        Some(certificate) => Some(certificate.load().await?),
        None => None,
    };
    let models = ModelStore::open(&settings.models_dir)?;
    let (stages, direct) = stages(args, settings, &models);
    let options = StoreOptions {
        max_queued: settings.max_queued,
        min_free_bytes: settings.min_free_bytes,
        max_attempts: settings.max_attempts,
        log_content: settings.log_content || args.log_content,
        ..StoreOptions::default()
    };
    let store = JobStore::open(&settings.data_dir, EventHub::default(), options).await?;
    let recovered = store.recover().await?;
    if recovered != Recovered::default() {
        tracing::info!(?recovered, "put right what the last run left half done");
    }
    if args.sample && store.list(None, 1).await?.is_empty() {
        submit_sample(&store, settings.defaults.clone()).await?;
    }
    let workers = Workers::start(&store, stages)?;
    let _janitor = Janitor::start(store.clone(), settings.retention);
    tokio::spawn(verify_history(store.clone()));
    let offer = offer(args, settings, &models);
    let state = AppState::new(store, workers.readiness(), direct, offer);
    let scheme = if tls.is_some() { "https" } else { "http" };
    println!("Mega Pipeline is at {scheme}://{address}/ (stop with Ctrl-C)");
    web::serve(listener, tls, state, interrupted())
        .await
        .map_err(|source| AppError::Listen { address, source })?;
    tracing::info!("stopping: running stages may finish");
    workers.stop(settings.shutdown_grace).await;
    Ok(())
}

/// The certificate to serve with, if connections are encrypted.
fn certificate(settings: &Settings) -> Result<Option<Certificate>, AppError> {
    Ok(match &settings.tls {
        None => None,
        Some(Tls::Given { certificate, key }) => {
            Some(Certificate { certificate: certificate.clone(), key: key.clone() })
        }
        Some(Tls::SelfSigned) => {
            let dir = settings.data_dir.join("tls");
            let own = Certificate::self_signed(&dir, settings.listen.ip())?;
            println!(
                "SHA-256 of the certificate, to compare in the browser: {}",
                own.fingerprint()?
            );
            Some(own)
        }
    })
}

/// The stages of every worker, and the way to ask the engines of the first directly.
fn stages(
    args: &ServeArgs,
    settings: &Settings,
    models: &ModelStore,
) -> (Vec<StageSet>, Arc<dyn Direct>) {
    let (mut first, direct) = if args.stub {
        (stage::stub::stages(), stage::stub::direct())
    } else {
        stage::local_with_direct(settings, models)
    };
    if !args.only.is_empty() {
        first.retain(|stage| args.only.contains(&stage.kind()));
        return (vec![first], direct);
    }
    let one = || if args.stub { stage::stub::stages() } else { stage::local(settings, models) };
    let others = std::iter::repeat_with(one).take(settings.workers - 1);
    (std::iter::once(first).chain(others).collect(), direct)
}

/// Finds results of earlier jobs that were damaged on disk; their jobs run again.
async fn verify_history(store: JobStore) {
    match store.verify_history().await {
        Ok(0) => {}
        Ok(jobs) => tracing::warn!(jobs, "results were damaged on disk and are made again"),
        Err(error) => tracing::error!(%error, "earlier results could not be verified"),
    }
}

/// What the page offers and allows.
fn offer(args: &ServeArgs, settings: &Settings, models: &ModelStore) -> WebConfig {
    let choice =
        |value: &str, title: &str| Choice { value: value.to_owned(), title: title.to_owned() };
    let targets = if args.stub {
        vec![choice("fr", "French"), choice("pt", "Portuguese")]
    } else {
        let targets = stage::targets(models, settings);
        targets.iter().map(|language| choice(language.tag, language.english_name)).collect()
    };
    let rough = targets
        .iter()
        .map(|choice| choice.value.clone())
        .filter(|tag| !args.stub && stage::is_rough(models, settings, tag))
        .collect();
    let templates =
        templates::ALL.iter().map(|template| choice(template.name, template.title)).collect();
    let does = |stage| args.only.is_empty() || args.only.contains(&stage);
    let mut stages = engines(args, settings, models);
    stages.retain(|engine| does(engine.stage));
    let mut voices = if args.stub { Vec::new() } else { voices(settings, models) };
    voices.retain(|voice| does(StageKind::speaks(&voice.language)));
    WebConfig {
        defaults: settings.defaults.clone(),
        spoken: spoken(args, settings, models),
        targets,
        translations: translations(args, settings, models),
        rough,
        templates,
        served: served(&stages, &voices),
        stages,
        voices,
        access: settings.access.clone(),
        patience: WebConfig::PATIENCE,
        max_text_chars: settings.max_text_chars,
        max_upload_bytes: settings.max_upload_bytes,
        models: (!args.stub)
            .then(|| Models { store: models.clone(), picks: settings.models.clone() }),
        workers: settings.workers,
        only: args.only.clone(),
    }
}

/// The languages that a recording may be in, by name: those that can be named, and `auto`, if
/// the model knows more than English.
fn spoken(args: &ServeArgs, settings: &Settings, models: &ModelStore) -> Vec<Choice> {
    let several = args.stub || stage::understands_many(models, settings);
    let auto = several.then(|| Choice { value: AUTO.to_owned(), title: "found out".to_owned() });
    let mut languages: Vec<_> =
        LANGUAGES.iter().filter(|language| several || language.tag == "en").collect();
    languages.sort_by_key(|language| language.english_name);
    auto.into_iter()
        .chain(languages.into_iter().map(|language| Choice {
            value: language.tag.to_owned(),
            title: language.english_name.to_owned(),
        }))
        .collect()
}

/// What does the work of each stage of a job that names nothing.
fn engines(args: &ServeArgs, settings: &Settings, models: &ModelStore) -> Vec<StageEngine> {
    let target = &settings.defaults.target;
    let engine = |stage: StageKind| {
        let (role, device) = match stage {
            StageKind::TranscribeAudio => ("speech-to-text".to_owned(), settings.hardware.name()),
            StageKind::GenerateText => ("text-generation".to_owned(), settings.hardware.name()),
            StageKind::SynthesisAudioEn => ("voice-en".to_owned(), "cpu".to_owned()),
            StageKind::TranslateText => {
                (format!("translation-en-{target}"), settings.hardware.name())
            }
            StageKind::SynthesisAudio => (format!("voice-{target}"), "cpu".to_owned()),
        };
        let (model, device) = match settings.remotes.get(&stage) {
            _ if args.stub => (Some("stub".to_owned()), "cpu".to_owned()),
            Some(remote) if remote.model.is_empty() => (Some(REMOTE.to_owned()), REMOTE.to_owned()),
            Some(remote) => (Some(remote.model.clone()), REMOTE.to_owned()),
            None => {
                let pick = settings.models.get(&role).map(String::as_str);
                (models.resolve(&role, pick).ok().map(|found| found.model.id), device)
            }
        };
        StageEngine { stage, model, device }
    };
    StageKind::ALL.map(engine).to_vec()
}

/// Pairs of languages that texts without a job are translated between.
fn translations(
    args: &ServeArgs,
    settings: &Settings,
    models: &ModelStore,
) -> Vec<(String, String)> {
    let pairs = if args.stub {
        vec![("en", "fr"), ("en", "pt")]
    } else {
        stage::translations(models, settings)
    };
    pairs.into_iter().map(|(from, to)| (from.to_owned(), to.to_owned())).collect()
}

/// What does the work of requests without a job: the engines of the stages, and of speech every
/// voice that is here.
fn served(engines: &[StageEngine], voices: &[OfferedVoice]) -> Vec<Served> {
    let engines = engines.iter().filter_map(|engine| {
        let task = match engine.stage {
            StageKind::TranscribeAudio => Task::Transcription,
            StageKind::GenerateText => Task::Text,
            StageKind::SynthesisAudioEn | StageKind::SynthesisAudio if engine.device == REMOTE => {
                Task::Speech
            }
            _ => return None,
        };
        Some(Served { model: engine.model.clone()?, task, device: engine.device.clone() })
    });
    let voices = voices.iter().map(|voice| Served {
        model: voice.choice.value.clone(),
        task: Task::Speech,
        device: "cpu".to_owned(),
    });
    engines.chain(voices).collect()
}

fn voices(settings: &Settings, models: &ModelStore) -> Vec<OfferedVoice> {
    stage::voices(models, &settings.models)
        .into_iter()
        // A server that speaks has voices of its own.
        .filter(|voice| {
            voice.installed
                && !settings.remotes.contains_key(&StageKind::speaks(voice.language.tag))
        })
        .map(|voice| OfferedVoice {
            language: voice.language.tag.to_owned(),
            choice: Choice { value: voice.id(), title: voice.title() },
        })
        .collect()
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
