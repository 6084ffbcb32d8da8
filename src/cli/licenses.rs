//! `mega-pipeline licenses`: the licences of the program, of what it links and of what it fetches.
//!
//! Called by `cli` only. The crates stand in `licenses/crates.tsv`, which `script/licenses` writes
//! and checks; the other libraries stand here, for no tool can list them.

use clap::Args;
use serde::Serialize;

use crate::error::AppError;
use crate::models::ModelStore;
use crate::settings::Settings;

/// Name, version, licence and use of every crate, one a line.
const CRATES: &str = include_str!("licenses/crates.tsv");

/// What `crates.tsv` calls a crate that becomes part of the binary.
const LINKED: &str = "linked";

/// Arguments of `licenses`.
#[derive(Debug, Args)]
pub struct LicensesArgs {
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
}

/// Everything that has a licence, as `--json` prints it.
#[derive(Serialize)]
struct Report<'a> {
    program: Program,
    libraries: Vec<&'static Library>,
    models: Vec<ModelRow<'a>>,
    crates: Vec<Crate>,
}

/// The program itself.
#[derive(Serialize)]
struct Program {
    name: &'static str,
    version: &'static str,
    licence: &'static str,
    /// Why it is this licence.
    because: &'static str,
}

/// A library that is no crate.
#[derive(Serialize)]
struct Library {
    name: &'static str,
    licence: &'static str,
    /// How the program comes by it.
    how: How,
    /// The crate that brings or calls it.
    through: Option<&'static str>,
    /// Whether this build of the program uses it.
    #[serde(skip)]
    here: bool,
}

/// How the program comes by a library.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum How {
    /// It is part of the binary.
    Linked,
    /// The system has it and loads it with the program.
    System,
    /// The program loads it when a stage needs it.
    Loaded,
}

impl How {
    /// For a person.
    fn title(self) -> &'static str {
        match self {
            Self::Linked => "part of the binary",
            Self::System => "of the system",
            Self::Loaded => "loaded at run time",
        }
    }
}

/// A model of the catalogue.
#[derive(Serialize)]
struct ModelRow<'a> {
    id: &'a str,
    licence: &'a str,
}

/// A line of `crates.tsv`.
#[derive(Serialize)]
struct Crate {
    name: &'static str,
    version: &'static str,
    licence: &'static str,
    /// Whether it becomes part of the binary; otherwise it only helps to build it.
    linked: bool,
}

/// Every library that is no crate; docs/LICENSES.md tells the same.
const LIBRARIES: &[Library] = &[
    Library {
        // The synthesizer's sources include NV Speech Player, under the same licence. The crate
        // calls itself MIT, which is true of the binding only.
        name: "espeak-ng",
        licence: "GPL-3.0-or-later",
        how: How::Linked,
        through: Some("espeak-rs-sys"),
        here: true,
    },
    Library {
        name: "whisper.cpp, ggml",
        licence: "MIT",
        how: How::Linked,
        through: Some("whisper-rs-sys"),
        here: true,
    },
    Library {
        name: "LAME",
        licence: "LGPL-2.0-or-later",
        how: How::Linked,
        through: Some("mp3lame-sys"),
        here: true,
    },
    Library {
        name: "Opus",
        licence: "BSD-3-Clause",
        how: How::Linked,
        through: Some("opusic-sys"),
        here: true,
    },
    Library {
        // In the public domain, which is what this identifier says.
        name: "SQLite",
        licence: "blessing",
        how: How::Linked,
        through: Some("libsqlite3-sys"),
        here: true,
    },
    Library {
        name: "Oniguruma",
        licence: "BSD-2-Clause",
        how: How::Linked,
        through: Some("onig_sys"),
        here: true,
    },
    Library {
        name: "Rust's standard library",
        licence: "MIT OR Apache-2.0",
        how: How::Linked,
        through: None,
        here: true,
    },
    Library {
        name: "ONNX Runtime",
        licence: "MIT",
        how: How::Loaded,
        through: Some("ort"),
        here: true,
    },
    Library {
        name: "ALSA's library",
        licence: "LGPL-2.1-or-later",
        how: How::System,
        through: Some("alsa-sys"),
        here: cfg!(all(feature = "sound-device", target_os = "linux")),
    },
    Library {
        name: "GNU C Library",
        licence: "LGPL-2.1-or-later",
        how: How::System,
        through: None,
        here: cfg!(all(target_os = "linux", target_env = "gnu")),
    },
    Library {
        name: "libstdc++, libgcc",
        licence: "GPL-3.0-or-later WITH GCC-exception-3.1",
        how: How::System,
        through: None,
        here: cfg!(all(target_os = "linux", target_env = "gnu")),
    },
    Library {
        // Neither free nor known to SPDX.
        name: "CUDA",
        licence: "LicenseRef-NVIDIA-CUDA",
        how: How::System,
        through: Some("whisper-rs-sys"),
        here: cfg!(feature = "cuda"),
    },
];

/// Prints every licence.
///
/// # Errors
/// A catalogue of models that cannot be read.
pub fn run(args: &LicensesArgs, settings: &Settings) -> Result<(), AppError> {
    let store = ModelStore::open(&settings.models_dir)?;
    let models = store.manifest().models.iter();
    let report = Report {
        program: Program {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            licence: env!("CARGO_PKG_LICENSE"),
            because: "it links espeak-ng, which is under that licence",
        },
        libraries: LIBRARIES.iter().filter(|library| library.here).collect(),
        models: models.map(|model| ModelRow { id: &model.id, licence: &model.licence }).collect(),
        crates: crates(),
    };
    if args.json {
        let text = serde_json::to_string_pretty(&report);
        println!("{}", text.map_err(|error| AppError::Other(error.to_string()))?);
    } else {
        print(&report);
    }
    Ok(())
}

/// The crates of the default features on x86-64 Linux.
fn crates() -> Vec<Crate> {
    let parse = |line: &'static str| {
        let mut fields = line.split('\t');
        Some(Crate {
            name: fields.next()?,
            version: fields.next()?,
            licence: fields.next()?,
            linked: fields.next()? == LINKED,
        })
    };
    CRATES.lines().filter_map(parse).collect()
}

/// The report as a person reads it.
fn print(report: &Report<'_>) {
    let Program { name, version, licence, because } = &report.program;
    println!("{name} {version} is under {licence}: {because}.");
    let libraries = report.libraries.iter();
    let rows: Vec<_> = libraries
        .map(|row| [row.name, row.licence, row.how.title(), row.through.unwrap_or_default()])
        .collect();
    print_table("Libraries, and the crates that bring or call them", &rows);
    let rows: Vec<_> = report.models.iter().map(|row| [row.id, row.licence]).collect();
    print_table("Models, fetched when they are asked for", &rows);
    for (linked, heading) in
        [(true, "Crates in the binary"), (false, "Crates that only help to build it")]
    {
        let crates = report.crates.iter().filter(|row| row.linked == linked);
        let rows: Vec<_> = crates.map(|row| [row.name, row.version, row.licence]).collect();
        print_table(heading, &rows);
    }
}

/// Prints rows under a heading, every column as wide as its widest cell.
fn print_table<const COLUMNS: usize>(heading: &str, rows: &[[&str; COLUMNS]]) {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()
    });
    println!("\n{heading}:");
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("  {}", cells.join("  ").trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_a_crate_with_a_licence() {
        let crates = crates();
        assert_eq!(crates.len(), CRATES.lines().count());
        assert!(crates.iter().all(|row| !row.licence.is_empty()));
        for linked in [true, false] {
            assert!(crates.iter().any(|row| row.linked == linked));
        }
    }

    #[test]
    fn every_library_comes_through_a_crate_that_is_linked() {
        let crates = crates();
        for name in LIBRARIES.iter().filter_map(|library| library.through) {
            assert!(crates.iter().any(|row| row.linked && row.name == name), "{name}");
        }
    }
}
