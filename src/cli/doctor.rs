//! `mega-pipeline doctor`: checks everything that can go wrong, and says how to mend it.

use std::net::TcpListener;
use std::path::Path;

use clap::Args;
use serde::Serialize;

use crate::audio::playback;
use crate::cpu;
use crate::engine::{self, onnx, phonemes};
use crate::error::{AppError, exit};
use crate::models::{FileState, ModelStore, ModelsError, Resolved, human_bytes};
use crate::settings::Settings;

/// Less free space than this is told.
const LEAST_FREE_BYTES: u64 = 2_000_000_000;

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// Nothing to do.
    Ok,
    /// The pipeline works without it.
    Warning,
    /// The pipeline does not work.
    Failed,
}

/// One check.
#[derive(Debug, Serialize)]
struct Check {
    name: String,
    state: State,
    /// What was found.
    found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self { name: name.into(), state: State::Ok, found: found.into(), mend: None }
    }

    fn warning(name: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Self {
        let mend = Some(mend.into());
        Self { name: name.into(), state: State::Warning, found: found.into(), mend }
    }

    fn failed(name: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { state: State::Failed, ..Self::warning(name, found, mend) }
    }
}

/// Runs every check and prints what it found.
///
/// # Errors
/// [`AppError::Told`] when a check failed; warnings do not count.
pub fn run(args: &DoctorArgs, settings: &Settings) -> Result<(), AppError> {
    let store = ModelStore::open(&settings.models_dir)?;
    let mut checks = vec![processor(), gpu(settings)];
    checks.push(folder("data folder", &settings.data_dir, "MEGA_DATA_DIR"));
    checks.push(folder("models folder", &settings.models_dir, "MEGA_MODELS_DIR"));
    checks.push(port(settings));
    checks.push(sound());
    checks.extend(models(&store, settings));
    checks.push(onnx_runtime(&store, settings));
    checks.push(espeak(&store, settings));

    if args.json {
        let json = serde_json::to_string_pretty(&checks)
            .map_err(|error| AppError::Other(error.to_string()))?;
        println!("{json}");
    } else {
        print(&checks);
    }
    let failed = checks.iter().any(|check| check.state == State::Failed);
    if failed { Err(AppError::Told(exit::FAILED)) } else { Ok(()) }
}

fn print(checks: &[Check]) {
    for check in checks {
        let mark = match check.state {
            State::Ok => "ok    ",
            State::Warning => "note  ",
            State::Failed => "FAILED",
        };
        println!("{mark}  {:20} {}", check.name, check.found);
        if let Some(mend) = &check.mend {
            println!("{:28} to mend it: {mend}", "");
        }
    }
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    println!(
        "\n{} checks: {} ok, {} notes, {} failed",
        checks.len(),
        count(State::Ok),
        count(State::Warning),
        count(State::Failed)
    );
}

fn processor() -> Check {
    let missing = cpu::missing_instruction_sets();
    if missing.is_empty() {
        Check::ok("processor", std::env::consts::ARCH)
    } else {
        Check::failed(
            "processor",
            format!("lacks {}", missing.join(", ")),
            format!("use a machine of {}", cpu::LEVEL),
        )
    }
}

fn gpu(settings: &Settings) -> Check {
    match (settings.hardware.gpu, cfg!(feature = "cuda")) {
        (Some(ordinal), _) => match engine::gpu::device(ordinal) {
            Ok(_) => Check::ok("gpu", format!("cuda:{ordinal}")),
            Err(error) => Check::failed("gpu", error.to_string(), "set `gpu = off`"),
        },
        (None, true) => Check::ok("gpu", "switched off, or CUDA finds none"),
        (None, false) => Check::ok("gpu", "none: this binary computes on the CPU"),
    }
}

fn folder(name: &str, path: &Path, variable: &str) -> Check {
    let shown = path.display();
    let mend = format!("choose another folder with {variable}");
    if let Err(error) = std::fs::create_dir_all(path) {
        return Check::failed(name, format!("{shown}: {error}"), mend);
    }
    if let Err(error) = tempfile::tempfile_in(path) {
        return Check::failed(name, format!("{shown} cannot be written: {error}"), mend);
    }
    match fs4::available_space(path) {
        Ok(free) if free < LEAST_FREE_BYTES => Check::warning(
            name,
            format!("{shown}, only {} free", human_bytes(free)),
            format!("free some space, or {mend}"),
        ),
        Ok(free) => Check::ok(name, format!("{shown}, {} free", human_bytes(free))),
        Err(error) => Check::warning(name, format!("{shown}: {error}"), mend),
    }
}

fn port(settings: &Settings) -> Check {
    match TcpListener::bind(settings.listen) {
        Ok(_) => Check::ok("address", settings.listen.to_string()),
        Err(error) => Check::warning(
            "address",
            format!("{}: {error}", settings.listen),
            "stop what listens there (it may be this program), or choose another with --listen",
        ),
    }
}

fn sound() -> Check {
    let devices = playback::devices();
    if devices.outputs.is_empty() {
        let mend = "nothing, unless you want `run --play`: the page plays in the browser";
        return Check::warning("sound devices", "no loudspeaker", mend);
    }
    let found = format!("{} in, {} out", devices.inputs.len(), devices.outputs.len());
    Check::ok("sound devices", found)
}

/// One check a role that the pipeline needs by default or that was configured.
fn models(store: &ModelStore, settings: &Settings) -> Vec<Check> {
    let manifest = store.manifest();
    let wanted = manifest.roles.iter();
    wanted
        .filter(|role| role.default || settings.models.contains_key(&role.name))
        .map(|role| {
            let pick = settings.models.get(&role.name).map(String::as_str);
            match hashed(store, &role.name, pick) {
                Ok((resolved, None)) => Check::ok(&role.name, resolved.model.id),
                Ok((resolved, Some(wrong))) => {
                    let id = &resolved.model.id;
                    let mend = format!("mega-pipeline models pull {id}");
                    Check::failed(&role.name, format!("{id}: {wrong}"), mend)
                }
                Err(error) => {
                    let mend = format!("mega-pipeline models pull {}", role.name);
                    Check::failed(&role.name, error.to_string(), mend)
                }
            }
        })
        .collect()
}

/// The model of a role, its files hashed again; the first that is not right is told.
fn hashed(
    store: &ModelStore,
    role: &str,
    pick: Option<&str>,
) -> Result<(Resolved, Option<String>), ModelsError> {
    let resolved = store.resolve(role, pick)?;
    let mut wrong = None;
    for id in resolved.model.requires.iter().chain([&resolved.model.id]) {
        for file in store.verify(id)? {
            let what = match file.state {
                FileState::Right => continue,
                FileState::Missing => "is missing",
                FileState::Wrong { .. } => "has the wrong hash",
            };
            wrong.get_or_insert(format!("{} of {id} {what}", file.name));
        }
    }
    Ok((resolved, wrong))
}

fn onnx_runtime(store: &ModelStore, settings: &Settings) -> Check {
    let name = "onnx runtime";
    let mend = "mega-pipeline models pull onnx-runtime";
    let found = match store
        .resolve("onnx-runtime", settings.models.get("onnx-runtime").map(String::as_str))
    {
        Ok(found) => found,
        Err(error) => return Check::failed(name, error.to_string(), mend),
    };
    let Some(file) = found.model.files_here().next() else {
        return Check::failed(name, "not offered for this machine", mend);
    };
    match onnx::version(&found.dir.join(&file.name)) {
        Ok(version) => Check::ok(name, format!("version {version}")),
        Err(error) => Check::failed(name, error.to_string(), mend),
    }
}

fn espeak(store: &ModelStore, settings: &Settings) -> Check {
    let name = "espeak-ng";
    let mend = "mega-pipeline models pull phonemes";
    let spoken = store
        .resolve("phonemes", settings.models.get("phonemes").map(String::as_str))
        .map_err(|error| error.to_string())
        .and_then(|found| {
            phonemes::init(&found.dir)
                .and_then(|()| phonemes::phonemes("hello", "en-us"))
                .map_err(|error| error.to_string())
        });
    match spoken {
        Ok(clauses) => {
            let said: String = clauses.iter().map(|clause| clause.phonemes.as_str()).collect();
            Check::ok(name, format!("\"hello\" is {said}"))
        }
        Err(error) => Check::failed(name, error, mend),
    }
}
