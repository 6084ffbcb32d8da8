//! The figures of `bench topology` as a table and as a picture.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs;
use std::iter::Sum;
use std::ops::Add;
use std::path::Path;

use super::super::picture::Bar;
use super::{Measured, Topology, TopologyArgs};
use crate::error::AppError;
use crate::models::ModelStore;
use crate::settings::Settings;
use crate::stage::StageKind;

/// What has to be brought to a machine.
#[derive(Clone, Copy, Default)]
struct Deployed {
    files: usize,
    bytes: u64,
}

impl Add for Deployed {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { files: self.files + other.files, bytes: self.bytes + other.bytes }
    }
}

impl Sum for Deployed {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Deployed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.files, self.bytes / 1_000_000)
    }
}

/// What an arrangement needs on disk.
pub struct Sizes {
    /// The program and all models, once.
    together: Deployed,
    /// A copy of the program and its own models for each stage.
    apart: Deployed,
}

/// What an arrangement needs on disk. Libraries of the system are not counted.
///
/// # Errors
/// When the catalogue cannot be read.
pub fn deployed(settings: &Settings, stub: bool) -> Result<Sizes, AppError> {
    let program = std::env::current_exe().map_or_else(|_| Deployed::default(), |it| on_disk(&it));
    let (mut all, mut apart) = (BTreeSet::new(), Deployed::default());
    let store = ModelStore::open(&settings.models_dir)?;
    let of = |ids: &BTreeSet<String>| ids.iter().map(|id| on_disk(&store.model_dir(id))).sum();
    for stage in StageKind::ALL {
        let mut own = BTreeSet::new();
        for role in if stub { Vec::new() } else { roles(stage, &settings.defaults.target) } {
            let pick = settings.models.get(&role).map(String::as_str);
            let Ok(found) = store.resolve(&role, pick) else { continue };
            own.extend(found.model.requires.iter().cloned());
            own.insert(found.model.id);
        }
        apart = apart + program + of(&own);
        all.extend(own);
    }
    Ok(Sizes { together: program + of(&all), apart })
}

/// What a stage reads from disk.
fn roles(stage: StageKind, target: &str) -> Vec<String> {
    let roles: &[&str] = match stage {
        StageKind::TranscribeAudio => &["speech-to-text", "voice-activity", "onnx-runtime"],
        StageKind::GenerateText => &["text-generation"],
        StageKind::SynthesisAudioEn => &["voice-en", "onnx-runtime", "phonemes"],
        StageKind::TranslateText => return vec![format!("translation-en-{target}")],
        StageKind::SynthesisAudio => {
            return vec![format!("voice-{target}"), "onnx-runtime".into(), "phonemes".into()];
        }
    };
    roles.iter().map(|&role| role.to_owned()).collect()
}

/// A file, or all files of a folder.
fn on_disk(path: &Path) -> Deployed {
    if let Ok(entries) = fs::read_dir(path) {
        return entries.flatten().map(|entry| on_disk(&entry.path())).sum();
    }
    fs::metadata(path)
        .map_or_else(|_| Deployed::default(), |file| Deployed { files: 1, bytes: file.len() })
}

/// One column an arrangement, in Markdown.
pub fn table(rows: &[Measured], args: &TopologyArgs, settings: &Settings, sizes: &Sizes) -> String {
    let mut text = format!(
        "{} threads a process, {} rounds, {} recordings at each concurrency, to `{}`; a look into \
         the shared folder every {} ms.\n\n|",
        settings.hardware.threads, args.rounds, args.jobs, settings.defaults.target, args.poll_ms
    );
    let names = rows.iter().map(|row| match row.topology {
        Topology::Monolith => "monolith",
        Topology::Http => "microservices, HTTP",
        Topology::Bucket => "microservices, shared folder",
    });
    // Writing to a string does not fail.
    for name in names {
        let _ = write!(text, " | {name}");
    }
    let _ = writeln!(text, " |\n|---|{}", "---|".repeat(rows.len()));
    let mut line = |what: &str, figure: &dyn Fn(&Measured) -> String| {
        let cells: Vec<String> = rows.iter().map(figure).collect();
        let _ = writeln!(text, "| {what} | {} |", cells.join(" | "));
    };
    let seconds = |figure: f64| format!("{figure:.2}");
    let or_dash = |figure: Option<f64>| figure.map_or_else(|| "–".to_owned(), seconds);
    let megabytes = |bytes: u64| format!("{}", bytes / 1_000_000);
    line("commands to start it; settings to write", &|it| {
        format!("{}; {}", it.topology.commands(), it.topology.settings())
    });
    line("start to ready, nothing cached, s", &|it| or_dash(it.cold_ready_s));
    line("start to ready, files cached, s", &|it| seconds(it.ready_s));
    line("start to the first result, s", &|it| seconds(it.first_result_s));
    line("a recording alone, s", &|it| seconds(it.job_s));
    for (at, stage) in StageKind::ALL.iter().enumerate() {
        line(&format!("– {stage}"), &|it| seconds(it.stages_s[at]));
    }
    line("– in no stage, s", &|it| format!("{:.3}", it.beside_s));
    for (at, concurrency) in args.concurrency.iter().enumerate() {
        line(&format!("jobs a minute, {concurrency} at once"), &|it| {
            format!("{:.2}", it.jobs_per_minute[at])
        });
    }
    line("seconds of all cores a job", &|it| format!("{:.1}", it.cpu_s_per_job));
    line("moved between processes a job, kB", &|it| format!("{}", it.moved_bytes_per_job / 1000));
    line("memory idle, MB (shared pages in parts)", &|it| megabytes(it.idle_bytes));
    line("memory at most, MB", &|it| megabytes(it.peak_bytes));
    line("files of program and models; MB", &|_| sizes.together.to_string());
    line("the same, each stage on its own machine", &|it| match it.topology {
        Topology::Monolith => "–".to_owned(),
        _ => sizes.apart.to_string(),
    });
    line("text process killed at work: jobs lost", &|it| {
        it.crash.map_or_else(|| "–".to_owned(), |crash| crash.jobs_lost.to_string())
    });
    line("– from then to the result, s", &|it| or_dash(it.crash.map(|it| it.until_result_s)));
    line("– later than without it, s", &|it| or_dash(it.crash.map(|it| it.delay_s)));
    text
}

/// The stages' times, one bar an arrangement, as SVG. Stages that ran side by side stand one after
/// another.
pub fn picture(rows: &[Measured]) -> String {
    let bar = |row: &Measured| Bar {
        name: format!("{:?}", row.topology).to_lowercase(),
        parts: row.stages_s.iter().copied().chain([row.beside_s.max(0.0)]).collect(),
        all: row.job_s,
    };
    let bars: Vec<Bar> = rows.iter().map(bar).collect();
    let names = StageKind::ALL.iter().map(|stage| stage.as_str());
    super::super::picture::picture(&bars, names.chain(["in no stage"]))
}
