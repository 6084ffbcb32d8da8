//! `mega-pipeline models`: list, pull, verify and remove weights.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::models::{
    Bars, FileState, Kind, Lines, ModelStore, ModelsError, Outcome, PullOptions, PullProgress,
    REMOTE_SETTINGS, Want, find_pair, human_bytes, known_pair, pull,
};

/// Arguments of `models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Show what can be had and what is there
    List(ListArgs),
    /// Fetch what is missing
    Pull(PullArgs),
    /// Hash the installed files again
    Verify(VerifyArgs),
    /// Delete models
    Rm(RmArgs),
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Print JSON, for scripts
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PullArgs {
    /// Roles or models; without any, what the pipeline needs by default
    #[arg(value_name = "ROLE_OR_ID")]
    names: Vec<String>,
    /// A translation model of Firefox's for a pair of languages, such as en-de
    #[arg(long, value_name = "PAIR", conflicts_with = "names")]
    pair: Vec<String>,
    /// Look here first: a folder of models from another machine
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Downloads at once
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    jobs: u8,
    /// Try again for better models than the ones installed
    #[arg(long)]
    upgrade: bool,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Models; without any, all that are there
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

#[derive(Debug, Args)]
struct RmArgs {
    /// Models
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
}

impl ModelsArgs {
    /// Runs the subcommand; `offline` keeps `pull` from using the network.
    /// `false` means that something is missing or wrong, which was told already.
    ///
    /// # Errors
    /// An unknown name, or a folder that cannot be used.
    pub async fn run(self, store: &ModelStore, offline: bool) -> Result<bool, ModelsError> {
        match self.command {
            ModelsCommand::List(args) => list(store, args.json),
            ModelsCommand::Pull(args) => args.run(store, offline).await,
            ModelsCommand::Verify(args) => verify(store, &args.ids),
            ModelsCommand::Rm(args) => {
                // All names first, so that a misspelt one deletes nothing.
                for id in &args.ids {
                    store.manifest().model(id)?;
                }
                for id in &args.ids {
                    store.remove(id)?;
                    println!("{id}: removed");
                }
                Ok(true)
            }
        }
    }
}

impl PullArgs {
    async fn run(self, store: &ModelStore, offline: bool) -> Result<bool, ModelsError> {
        let mut names = self.names;
        for pair in &self.pair {
            if let Some(role) = known_pair(pair)? {
                names.push(role);
                continue;
            }
            if offline {
                let message = format!("whether there is a model for `{pair}` is asked online");
                return Err(ModelsError::Pair(message));
            }
            names.push(find_pair(store.dir(), &remote_settings(), pair).await?);
        }
        // With the pairs that were just found.
        let reopened =
            if self.pair.is_empty() { None } else { Some(ModelStore::open(store.dir())?) };
        let store = reopened.as_ref().unwrap_or(store);
        let manifest = store.manifest();
        let wants = if names.is_empty() {
            Want::defaults(manifest)
        } else {
            let names = names.iter();
            names.map(|name| Want::parse(manifest, name)).collect::<Result<_, _>>()?
        };
        let options = PullOptions {
            offline,
            parallel: self.jobs.into(),
            from: self.from,
            // What was asked for by name is better than what was chosen without it.
            upgrade: self.upgrade || !self.pair.is_empty(),
            ..PullOptions::default()
        };
        let progress: Arc<dyn PullProgress> = if std::io::stderr().is_terminal() {
            Arc::new(Bars::default())
        } else {
            Arc::new(Lines::default())
        };
        let report = pull(store, &wants, &options, progress).await?;
        for outcome in &report.outcomes {
            tell(outcome);
        }
        Ok(report.is_complete())
    }
}

/// Where pairs of languages are looked up.
fn remote_settings() -> String {
    // Not MEGA_*: it is no setting, but where the service lies, as a mirror or a test has it.
    std::env::var("FIREFOX_SETTINGS_URL").unwrap_or_else(|_| REMOTE_SETTINGS.to_owned())
}

/// One line for what came of a want, and one for each better model that could not be had.
fn tell(outcome: &Outcome) {
    let name = outcome.want.name();
    match &outcome.result {
        Ok(pulled) => {
            let what =
                if pulled.model == name { String::new() } else { format!("{}, ", pulled.model) };
            if pulled.fetched_bytes == 0 {
                println!("{name}: {what}already there");
            } else {
                let size = human_bytes(pulled.fetched_bytes);
                println!("{name}: {what}{size} in {:.1} s from {}", pulled.seconds, pulled.source);
            }
        }
        Err(error) => println!("{name}: failed: {error}"),
    }
    for passed in &outcome.passed_over {
        let (model, why, reason) = (&passed.model, &passed.why_better, &passed.reason);
        println!("    not {model} ({why}): {reason}");
    }
}

/// A model as `models list --json` prints it.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    title: &'a str,
    kind: Kind,
    languages: &'a [String],
    licence: &'a str,
    note: &'a str,
    download_bytes: u64,
    installed: bool,
    /// Roles for which `models pull` chose it.
    chosen_for: Vec<&'a str>,
}

fn list(store: &ModelStore, json: bool) -> Result<bool, ModelsError> {
    let rows = rows(store)?;
    if json {
        let text = serde_json::to_string_pretty(&rows);
        println!("{}", text.map_err(|error| ModelsError::Manifest(error.to_string()))?);
        return Ok(true);
    }
    for row in rows {
        let mark = if row.installed { '*' } else { ' ' };
        let size = human_bytes(row.download_bytes);
        println!("{mark} {:28} {size:>9}  {:16} {}", row.id, row.licence, row.title);
        if !row.chosen_for.is_empty() {
            println!("    chosen for {}", row.chosen_for.join(", "));
        }
    }
    println!("\n* installed in {}", store.dir().display());
    Ok(true)
}

fn rows(store: &ModelStore) -> Result<Vec<Row<'_>>, ModelsError> {
    let manifest = store.manifest();
    let mut choices = Vec::new();
    for role in &manifest.roles {
        choices.extend(store.choice(&role.name)?.map(|choice| (role.name.as_str(), choice.model)));
    }
    let rows = manifest.models.iter().map(|model| Row {
        id: &model.id,
        title: &model.title,
        kind: model.kind,
        languages: &model.languages,
        licence: &model.licence,
        note: &model.note,
        download_bytes: model.download_bytes(),
        installed: store.is_installed(&model.id),
        chosen_for: choices
            .iter()
            .filter(|(_, chosen)| *chosen == model.id)
            .map(|(role, _)| *role)
            .collect(),
    });
    Ok(rows.collect())
}

fn verify(store: &ModelStore, ids: &[String]) -> Result<bool, ModelsError> {
    let all = || store.manifest().models.iter().map(|model| model.id.clone());
    let ids: Vec<String> = if ids.is_empty() {
        all().filter(|id| store.model_dir(id).is_dir()).collect()
    } else {
        ids.to_vec()
    };
    let mut well = true;
    for id in &ids {
        for check in store.verify(id)? {
            let state = match &check.state {
                FileState::Right => "right".to_owned(),
                FileState::Missing => "missing".to_owned(),
                FileState::Wrong { sha256 } => {
                    format!("WRONG, its sha256 is {sha256}; it is no longer used")
                }
            };
            well &= check.state == FileState::Right;
            println!("{id}/{}: {state}", check.name);
        }
    }
    if !well {
        println!("Run `mega-pipeline models pull` to fetch what is missing or wrong.");
    }
    Ok(well)
}
