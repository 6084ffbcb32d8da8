//! Raw configuration: defaults < `mega-pipeline.toml` < environment < flags.
//!
//! Called by `cli`. Every value is text with the place it came from; `settings`
//! turns them into types. [`keys`] is the one list of what can be configured.

mod keys;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use keys::{Key, MODEL, ROLES, STAGES, known_keys};

/// Where the configuration file is looked for when none is named: the working directory.
pub const FILE_NAME: &str = "mega-pipeline.toml";

/// Kubernetes sets variables of this form for a service called `mega-pipeline`.
const FOREIGN_ENVIRONMENT: &str = "MEGA_PIPELINE_";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Built in.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// A variable of the environment.
    Environment(String),
    /// A flag on the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// A value as it was written, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The text.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A key that does not exist.
    #[error("{origin}: there is no setting `{key}`{}", did_you_mean(.nearest.as_deref()))]
    UnknownKey {
        /// What was written.
        key: String,
        /// Where.
        origin: String,
        /// The known key that is nearest to it.
        nearest: Option<String>,
    },
    /// A value that does not fit its key.
    #[error("{origin}: `{key} = {text}` is not right: {why}")]
    BadValue {
        /// The key.
        key: String,
        /// What was written.
        text: String,
        /// Where.
        origin: String,
        /// What is expected.
        why: String,
    },
    /// The file cannot be read or is not TOML.
    #[error("{path}: {why}")]
    File {
        /// Which file.
        path: String,
        /// What is wrong.
        why: String,
    },
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"))
}

/// Every known key with its effective value.
#[derive(Debug, Clone)]
pub struct Config {
    keys: Vec<Key>,
    values: BTreeMap<String, Value>,
}

impl Config {
    /// The defaults alone.
    #[must_use]
    pub fn defaults() -> Self {
        let keys = known_keys();
        let values = keys
            .iter()
            .map(|key| {
                let value = Value { text: key.default.clone(), origin: Origin::Default };
                (key.name.clone(), value)
            })
            .collect();
        Self { keys, values }
    }

    /// Lays a TOML file over what is there. Tables become dotted keys.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or names an unknown key.
    pub fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let file_error = |why: String| ConfigError::File { path: path.display().to_string(), why };
        let text = std::fs::read_to_string(path).map_err(|error| file_error(error.to_string()))?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            file_error(format!("this is not TOML: {}", error.message()))
        })?;
        self.add_table("", &table, path)
    }

    fn add_table(
        &mut self,
        prefix: &str,
        table: &toml::Table,
        path: &Path,
    ) -> Result<(), ConfigError> {
        for (name, value) in table {
            let key = format!("{prefix}{name}");
            match value {
                toml::Value::Table(inner) => self.add_table(&format!("{key}."), inner, path)?,
                toml::Value::String(text) => self.set(&key, text, Origin::File(path.to_owned()))?,
                other => self.set(&key, &other.to_string(), Origin::File(path.to_owned()))?,
            }
        }
        Ok(())
    }

    /// Lays variables named `MEGA_…` over what is there; all others are ignored.
    ///
    /// # Errors
    /// When a variable names no known key.
    pub fn add_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        for (name, text) in variables {
            if !name.starts_with(keys::PREFIX) || name.starts_with(FOREIGN_ENVIRONMENT) {
                continue;
            }
            let Some(key) = self.keys.iter().find(|key| key.environment() == name) else {
                let known: Vec<String> = self.keys.iter().map(Key::environment).collect();
                return Err(ConfigError::UnknownKey {
                    nearest: nearest(&name, &known),
                    key: name,
                    origin: "environment".to_owned(),
                });
            };
            let key = key.name.clone();
            self.set(&key, &text, Origin::Environment(name))?;
        }
        Ok(())
    }

    /// Sets one key.
    ///
    /// # Errors
    /// When there is no such key.
    pub fn set(&mut self, key: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        if let Some(value) = self.values.get_mut(key) {
            *value = Value { text: text.to_owned(), origin };
            return Ok(());
        }
        let known: Vec<String> = self.values.keys().cloned().collect();
        Err(ConfigError::UnknownKey {
            key: key.to_owned(),
            origin: origin.to_string(),
            nearest: nearest(key, &known),
        })
    }

    /// The effective value of a key.
    ///
    /// # Panics
    /// When `key` is not in [`known_keys`], which is a fault of this program.
    #[must_use]
    pub fn get(&self, key: &str) -> &Value {
        self.values.get(key).unwrap_or_else(|| panic!("`{key}` is not in the list of keys"))
    }

    /// What may be shown of a value.
    #[must_use]
    pub fn shown<'a>(key: &Key, value: &'a Value) -> &'a str {
        // An address may hold a password.
        let secret = key.secret || key.name.ends_with(".base_url") && value.text.contains('@');
        if secret && !value.text.is_empty() { "(set, not shown)" } else { &value.text }
    }

    /// Every key with its effective value and its documentation, sorted by name.
    pub fn entries(&self) -> impl Iterator<Item = (&Key, &Value)> {
        let mut keys: Vec<&Key> = self.keys.iter().collect();
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        keys.into_iter().map(|key| (key, self.get(&key.name)))
    }
}

/// The known name most like `wrong`, if any is like it at all.
fn nearest(wrong: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        std::fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn variable(name: &str, text: &str) -> [(String, String); 1] {
        [(name.to_owned(), text.to_owned())]
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default() {
        let (_dir, path) = file("listen = \"127.0.0.1:1\"\nthreads = 3\ntarget = \"es\"\n");
        let mut config = Config::defaults();
        assert_eq!(config.get("listen").origin, Origin::Default);
        config.add_file(&path).unwrap();
        config
            .add_environment([
                ("MEGA_LISTEN".to_owned(), "127.0.0.1:2".to_owned()),
                ("MEGA_THREADS".to_owned(), "4".to_owned()),
            ])
            .unwrap();
        config.set("listen", "127.0.0.1:3", Origin::Flag("--listen".to_owned())).unwrap();
        assert_eq!(config.get("listen").text, "127.0.0.1:3");
        assert_eq!(config.get("threads").text, "4");
        assert_eq!(config.get("threads").origin, Origin::Environment("MEGA_THREADS".to_owned()));
        assert_eq!(config.get("target").text, "es");
        assert_eq!(config.get("target").origin, Origin::File(path));
    }

    #[test]
    fn a_table_in_the_file_becomes_a_dotted_key() {
        let (_dir, path) = file("[model]\nspeech-to-text = \"whisper-tiny\"\n");
        let mut config = Config::defaults();
        config.add_file(&path).unwrap();
        assert_eq!(config.get("model.speech-to-text").text, "whisper-tiny");
    }

    #[test]
    fn an_unknown_key_in_the_file_names_the_nearest_known_one() {
        let (_dir, path) = file("lisen = \"127.0.0.1:1\"\n");
        let error = Config::defaults().add_file(&path).unwrap_err();
        let ConfigError::UnknownKey { nearest, .. } = &error else { panic!("{error}") };
        assert_eq!(nearest.as_deref(), Some("listen"));
        assert!(error.to_string().contains("did you mean `listen`?"), "{error}");
    }

    #[test]
    fn an_unknown_variable_names_the_nearest_known_one() {
        let error = Config::defaults().add_environment(variable("MEGA_DATADIR", "/x")).unwrap_err();
        assert!(error.to_string().contains("did you mean `MEGA_DATA_DIR`?"), "{error}");
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        let mut config = Config::defaults();
        config.add_environment(variable("HOME", "/root")).unwrap();
        config.add_environment(variable("MEGA_PIPELINE_SERVICE_HOST", "10.0.0.1")).unwrap();
    }

    #[test]
    fn a_file_that_is_not_toml_is_refused_by_name() {
        let (_dir, path) = file("listen = ");
        let error = Config::defaults().add_file(&path).unwrap_err();
        assert!(error.to_string().contains(FILE_NAME), "{error}");
    }

    #[test]
    fn every_key_has_its_own_variable() {
        let keys = known_keys();
        let mut names: Vec<String> = keys.iter().map(Key::environment).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), keys.len());
    }
}
