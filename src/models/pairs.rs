//! Translation models that the catalogue does not name: any pair that Firefox Translations
//! publishes, found in Mozilla's Remote Settings and remembered with its hashes.
//!
//! `models pull --pair en-de` asks once; what was found is written to `pairs.toml` in the folder
//! of the models, and from then on is part of the catalogue like any other model. The service's
//! protocol is that of Kinto (docs.kinto-storage.org): the root tells where attachments lie, a
//! collection lists them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::source::http::Http;
use super::{
    Candidate, FileSpec, Format, Kind, LLM, Manifest, Model, ModelsError, Packed, Role, Source,
    toml_file,
};
use crate::text::language;

/// Where Firefox looks for its models.
pub const REMOTE_SETTINGS: &str = "https://firefox.settings.services.mozilla.com/v1";

/// The collection of models of the third generation, which fxtranslate can drive.
const COLLECTION: &str = "buckets/main/collections/translations-models-v2/records";

/// The newest generation of models that the engine reads.
const NEWEST_MAJOR: u64 = 3;

/// What one side of every published pair is.
const ENGLISH: &str = "en";

/// A list longer than this is not one.
const MAX_LIST_BYTES: usize = 16 * 1024 * 1024;

const FILE_NAME: &str = "pairs.toml";

const HEADER: &str = "# Written by `mega-pipeline models pull --pair`: translation models that are \
                      not in the built-in catalogue.\n\n";

/// Pairs of languages that were found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pairs {
    #[serde(default)]
    pair: Vec<Pair>,
}

/// A translation model from or to English.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    /// Language tag.
    #[serde(default = "english")]
    from: String,
    /// Language tag.
    to: String,
    /// Such as `base-memory`.
    architecture: String,
    version: String,
    /// The network stands first.
    file: Vec<PairFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PairFile {
    name: String,
    size_bytes: u64,
    sha256: String,
    packed_size_bytes: u64,
    packed_sha256: String,
    url: String,
}

/// What the service lists.
#[derive(Deserialize)]
struct Records {
    data: Vec<serde_json::Value>,
}

/// One file of a model, as the service describes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    name: String,
    version: String,
    file_type: String,
    #[serde(default)]
    architecture: String,
    source_language: String,
    target_language: String,
    decompressed_hash: String,
    decompressed_size: u64,
    attachment: Attachment,
}

#[derive(Deserialize)]
struct Attachment {
    hash: String,
    size: u64,
    location: String,
}

impl Pairs {
    /// The pairs remembered in the folder `models`; none if nothing was asked for yet.
    pub(super) fn read(models: &Path) -> Result<Self, ModelsError> {
        toml_file::read(&file_in(models))
    }

    /// The models and the roles that they serve.
    pub(super) fn entries(self) -> Vec<(Model, Role)> {
        self.pair.into_iter().map(Pair::entry).collect()
    }

    fn remember(models: &Path, found: Pair) -> Result<(), ModelsError> {
        let mut pairs = Self::read(models)?;
        pairs.pair.retain(|pair| (&pair.from, &pair.to) != (&found.from, &found.to));
        pairs.pair.push(found);
        pairs.pair.sort_by(|one, other| (&one.from, &one.to).cmp(&(&other.from, &other.to)));
        toml_file::write(&file_in(models), HEADER, &pairs)
    }
}

fn english() -> String {
    ENGLISH.to_owned()
}

/// The role of a pair such as `en-de` whose model the built-in catalogue names, so that nobody
/// need be asked.
///
/// # Errors
/// When the catalogue cannot be read.
pub fn known_pair(pair: &str) -> Result<Option<String>, ModelsError> {
    let known = Manifest::built_in()?.model(&format!("firefox-{pair}")).is_ok();
    let languages = pair.split_once('-').filter(|_| known);
    Ok(languages.map(|(from, to)| role_name(from, to)))
}

/// Finds the model for a pair such as `en-de` or `de-en` and remembers it in the folder `models`.
/// Returns the role that it serves.
///
/// # Errors
/// When the pair is not one from or to English, is not published, or the service cannot be
/// reached.
pub async fn find_pair(models: &Path, service: &str, pair: &str) -> Result<String, ModelsError> {
    let languages =
        pair.split_once('-').filter(|(from, to)| (*from == ENGLISH) != (*to == ENGLISH));
    let (from, to) = languages.ok_or_else(|| {
        ModelsError::Pair(format!(
            "`{pair}` is not a pair from or to English, such as en-de; other pairs go through \
             English and need two"
        ))
    })?;
    let http = Http::new()?;
    let records = list(&http, service).await?;
    let Some(found) = best(&records, from, to) else {
        let offered: BTreeSet<String> = records
            .iter()
            .map(|record| format!("{}-{}", record.source_language, record.target_language))
            .collect();
        let offered = offered.into_iter().collect::<Vec<_>>().join(", ");
        return Err(ModelsError::Pair(format!(
            "there is no model for `{pair}`; there are {offered}"
        )));
    };
    let base = attachments(&http, service).await?;
    let pair = describe(from, to, &found, &base);
    std::fs::create_dir_all(models).map_err(ModelsError::io(models))?;
    Pairs::remember(models, pair)?;
    Ok(role_name(from, to))
}

async fn list(http: &Http, service: &str) -> Result<Vec<Record>, ModelsError> {
    let url = format!("{}/{COLLECTION}", service.trim_end_matches('/'));
    let records: Records = http.json(&url, MAX_LIST_BYTES).await?;
    // The collection has had entries of other shapes; they are not models.
    let known = records.data.into_iter().filter_map(|it| serde_json::from_value(it).ok());
    Ok(known.filter(|record: &Record| major(&record.version) <= NEWEST_MAJOR).collect())
}

async fn attachments(http: &Http, service: &str) -> Result<String, ModelsError> {
    let root: serde_json::Value =
        http.json(&format!("{}/", service.trim_end_matches('/')), MAX_LIST_BYTES).await?;
    let base = root.pointer("/capabilities/attachments/base_url").and_then(|url| url.as_str());
    base.map(|url| url.trim_end_matches('/').to_owned()).ok_or_else(|| ModelsError::Source {
        origin: service.to_owned(),
        detail: "it does not tell where attachments lie".to_owned(),
    })
}

/// The files of the newest complete model for a pair, the network first.
fn best<'a>(records: &'a [Record], from: &str, to: &str) -> Option<Vec<&'a Record>> {
    let of_pair: Vec<&Record> = records
        .iter()
        .filter(|record| record.source_language == from && record.target_language == to)
        .collect();
    let mut networks: Vec<&Record> =
        of_pair.iter().copied().filter(|record| record.file_type == "model").collect();
    // Of one version the larger network is the better one.
    networks.sort_by_key(|it| (numbers(&it.version), it.decompressed_size));
    networks.into_iter().rev().find_map(|network| {
        let part = |file_type: &str| {
            of_pair.iter().copied().find(|record| {
                record.file_type == file_type
                    && record.version == network.version
                    && record.architecture == network.architecture
            })
        };
        let words = match part("vocab") {
            Some(shared) => vec![shared],
            None => vec![part("srcvocab")?, part("trgvocab")?],
        };
        Some([vec![network, part("lex")?], words].concat())
    })
}

fn describe(from: &str, to: &str, records: &[&Record], base: &str) -> Pair {
    let file = records
        .iter()
        .map(|record| PairFile {
            name: record.name.clone(),
            size_bytes: record.decompressed_size,
            sha256: record.decompressed_hash.clone(),
            packed_size_bytes: record.attachment.size,
            packed_sha256: record.attachment.hash.clone(),
            url: format!("{base}/{}", record.attachment.location.trim_start_matches('/')),
        })
        .collect();
    let first = records.first();
    Pair {
        from: from.to_owned(),
        to: to.to_owned(),
        architecture: first.map_or_else(String::new, |it| it.architecture.clone()),
        version: first.map_or_else(String::new, |it| it.version.clone()),
        file,
    }
}

impl Pair {
    /// The model as the catalogue would have it, and the role that it serves.
    fn entry(self) -> (Model, Role) {
        let name = |tag: &String| {
            language::language(tag)
                .map_or_else(|| tag.clone(), |language| language.english_name.to_owned())
        };
        let (source, target) = (name(&self.from), name(&self.to));
        let id = format!("firefox-{}-{}", self.from, self.to);
        let files = self.file.into_iter().map(|file| FileSpec {
            name: file.name,
            platforms: Vec::new(),
            size_bytes: Some(file.size_bytes),
            sha256: Some(file.sha256),
            packed: Some(Packed {
                format: Format::Zstd,
                folder: None,
                size_bytes: file.packed_size_bytes,
                sha256: file.packed_sha256,
            }),
            sources: vec![Source::Url(file.url)],
        });
        let model = Model {
            id: id.clone(),
            title: format!("Firefox Translations {source} to {target}, {}", self.architecture),
            kind: Kind::Firefox,
            languages: vec![self.from.clone(), self.to.clone()],
            licence: "MPL-2.0".to_owned(),
            note: format!("version {}, pulled by name", self.version),
            requires: Vec::new(),
            files: files.collect(),
        };
        let candidate = |model: &str, why: &str| Candidate { model: model.into(), why: why.into() };
        let mut candidates = vec![candidate(&id, "good quality at 2,000 words a second")];
        if self.from == ENGLISH {
            candidates
                .push(candidate(LLM, "the text model translates: slow, and errs on rarer words"));
        }
        let role = Role {
            name: role_name(&self.from, &self.to),
            title: format!("translates {source} to {target}"),
            default: false,
            candidates,
        };
        (model, role)
    }
}

fn role_name(from: &str, to: &str) -> String {
    format!("translation-{from}-{to}")
}

fn file_in(models: &Path) -> PathBuf {
    models.join(FILE_NAME)
}

/// `3.0` as numbers, for comparing.
fn numbers(version: &str) -> Vec<u64> {
    let digits = |part: &str| part.chars().take_while(char::is_ascii_digit).collect::<String>();
    version.split('.').map(|part| digits(part).parse().unwrap_or(0)).collect()
}

fn major(version: &str) -> u64 {
    numbers(version).first().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("2.10") > numbers("2.9") && numbers("3.0a1") > numbers("2.10"));
        assert_eq!(major("3.1"), 3);
    }
}
