//! Validated settings, as the rest of the program sees them.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::access::{self, Access};
use crate::config::{Config, ConfigError, MODEL, ROLES, STAGES};
use crate::engine::remote::{ApiKey, RemoteOptions, is_loopback};
use crate::engine::{Hardware, gpu};
use crate::jobs::Retention;
use crate::stage::{AUTO, JobOptions, StageKind};
use crate::text::{language, templates};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For a terminal.
    Human,
    /// One JSON object a line.
    Json,
}

/// How connections are encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// With a certificate that is given.
    Given {
        /// PEM file.
        certificate: PathBuf,
        /// PEM file.
        key: PathBuf,
    },
    /// With one that the server makes itself.
    SelfSigned,
}

/// Everything the program was told, checked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Folder of the job table, recordings and results.
    pub data_dir: PathBuf,
    /// Folder of the weights.
    pub models_dir: PathBuf,
    /// Address and port of the page.
    pub listen: SocketAddr,
    /// Who may use the server.
    pub access: Access,
    /// How connections are encrypted, if they are.
    pub tls: Option<Tls>,
    /// What models compute on.
    pub hardware: Hardware,
    /// Never use the network.
    pub offline: bool,
    /// What a job gets that asks for nothing.
    pub defaults: JobOptions,
    /// Largest recording that is taken.
    pub max_upload_bytes: u64,
    /// Longest recording that is taken.
    pub max_audio_s: u64,
    /// Longest text, in characters, that is translated or spoken without a job.
    pub max_text_chars: usize,
    /// Jobs that run side by side.
    pub workers: usize,
    /// Most jobs that may wait.
    pub max_queued: u32,
    /// Below this much free disk, nothing new is begun.
    pub min_free_bytes: u64,
    /// How often a stage is started before a failure that could pass counts as final.
    pub max_attempts: u32,
    /// How much history is kept.
    pub retention: Retention,
    /// How long a running stage may go on after a stop.
    pub shutdown_grace: Duration,
    /// What is logged, in the form of `tracing_subscriber::EnvFilter`.
    pub log: String,
    /// Whether what was said and written is logged.
    pub log_content: bool,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Models that were chosen by name: role to model id.
    pub models: BTreeMap<String, String>,
    /// Stages whose work another server does.
    pub remotes: BTreeMap<StageKind, RemoteOptions>,
}

impl Settings {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value that does not fit, with where it was written and what is expected.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        Ok(Self {
            data_dir: path(config, "data_dir")?,
            models_dir: path(config, "models_dir")?,
            listen: listen(config)?,
            access: access(config)?,
            tls: tls(config)?,
            hardware: hardware(config)?,
            offline: number(config, "offline", "`true` or `false`")?,
            defaults: defaults(config)?,
            max_upload_bytes: number(config, "max_upload_bytes", "a number of bytes")?,
            max_audio_s: number(config, "max_audio_s", "a number of seconds")?,
            max_text_chars: number(config, "max_text_chars", "a number of characters")?,
            workers: within(config, "workers", 1, 64)?,
            max_queued: within(config, "max_queued", 1, 1_000_000)?,
            min_free_bytes: number(config, "min_free_bytes", "a number of bytes")?,
            max_attempts: within(config, "max_attempts", 1, 100)?,
            retention: Retention {
                days: within(config, "retention_days", 0, 36_500)?,
                max_jobs: number(config, "max_jobs", "a number of jobs")?,
                max_bytes: number(config, "max_bytes", "a number of bytes")?,
            },
            shutdown_grace: Duration::from_secs(number(
                config,
                "shutdown_grace_s",
                "a number of seconds",
            )?),
            log: config.get("log").text.clone(),
            log_content: number(config, "log_content", "`true` or `false`")?,
            log_format: log_format(config)?,
            models: models(config),
            remotes: remotes(config)?,
        })
    }
}

fn bad(config: &Config, key: &str, why: impl Display) -> ConfigError {
    let value = config.get(key);
    ConfigError::BadValue {
        key: key.to_owned(),
        text: value.text.clone(),
        origin: value.origin.to_string(),
        why: why.to_string(),
    }
}

fn number<T: FromStr>(config: &Config, key: &str, expected: &str) -> Result<T, ConfigError> {
    let text = config.get(key).text.trim();
    text.parse().map_err(|_| bad(config, key, format!("{expected} is expected")))
}

fn within<T: FromStr + PartialOrd + Display + Copy>(
    config: &Config,
    key: &str,
    least: T,
    most: T,
) -> Result<T, ConfigError> {
    let expected = format!("a number from {least} to {most}");
    let value = number(config, key, &expected)?;
    if value < least || value > most {
        return Err(bad(config, key, format!("{expected} is expected")));
    }
    Ok(value)
}

fn path(config: &Config, key: &str) -> Result<PathBuf, ConfigError> {
    let text = &config.get(key).text;
    if text.is_empty() {
        return Err(bad(config, key, "the name of a folder is expected"));
    }
    std::path::absolute(text).map_err(|error| bad(config, key, error))
}

fn listen(config: &Config) -> Result<SocketAddr, ConfigError> {
    let expected = "host:port is expected, such as 127.0.0.1:8080";
    let mut addresses =
        config.get("listen").text.to_socket_addrs().map_err(|_| bad(config, "listen", expected))?;
    addresses.next().ok_or_else(|| bad(config, "listen", expected))
}

fn hardware(config: &Config) -> Result<Hardware, ConfigError> {
    let threads: usize = within(config, "threads", 0, 1024)?;
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, Into::into),
        threads => threads,
    };
    let gpu = match config.get("gpu").text.as_str() {
        "off" => None,
        "auto" => (gpu::count() > 0).then_some(0),
        _ if !cfg!(feature = "cuda") => {
            return Err(bad(config, "gpu", "this binary was built without CUDA; use `off`"));
        }
        _ => {
            let ordinal = number(config, "gpu", "`auto`, `off`, or the number of a device")?;
            let count = gpu::count();
            if ordinal >= count {
                return Err(bad(config, "gpu", format!("CUDA finds {count} devices, from 0 on")));
            }
            Some(ordinal)
        }
    };
    let required: bool = number(config, "require_gpu", "`true` or `false`")?;
    if required && gpu.is_none() {
        let why = match config.get("gpu").text.as_str() {
            "off" => "`gpu` is `off`",
            _ if cfg!(feature = "cuda") => "CUDA finds no device",
            _ => "this binary was built without CUDA: see script/build-cuda",
        };
        return Err(bad(config, "require_gpu", why));
    }
    Ok(Hardware { threads, gpu })
}

fn defaults(config: &Config) -> Result<JobOptions, ConfigError> {
    let options = JobOptions {
        language: spoken(config)?,
        target: config.get("target").text.clone(),
        template: config.get("template").text.clone(),
        max_tokens: within(config, "max_tokens", 1, 8192)?,
        temperature: within(config, "temperature", 0.0, 2.0)?,
        top_p: within(config, "top_p", 0.01, 1.0)?,
        repeat_penalty: within(config, "repeat_penalty", 1.0, 2.0)?,
        seed: number(config, "seed", "a number")?,
        ..JobOptions::default()
    };
    if templates::template(&options.template).is_none() {
        return Err(bad(
            config,
            "template",
            format!("the templates are {}", templates::names().join(", ")),
        ));
    }
    Ok(options)
}

/// A language that can be named, or `auto`.
fn spoken(config: &Config) -> Result<String, ConfigError> {
    let text = &config.get("language").text;
    if text == AUTO || language::language(text).is_some() {
        return Ok(text.clone());
    }
    Err(bad(config, "language", "`auto` or a tag such as `en` or `fr` is expected"))
}

fn log_format(config: &Config) -> Result<LogFormat, ConfigError> {
    match config.get("log_format").text.as_str() {
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err(bad(config, "log_format", "`human` or `json` is expected")),
    }
}

fn models(config: &Config) -> BTreeMap<String, String> {
    ROLES
        .iter()
        .map(|role| ((*role).to_owned(), config.get(&format!("{MODEL}{role}")).text.clone()))
        .filter(|(_, model)| model != "auto")
        .collect()
}

fn access(config: &Config) -> Result<Access, ConfigError> {
    let why = |key: &'static str| {
        move |why: String| {
            let origin = config.get(key).origin.to_string();
            // The value may be a secret.
            ConfigError::BadValue { key: key.to_owned(), text: "…".to_owned(), origin, why }
        }
    };
    let text = |key: &str| config.get(key).text.trim();
    let mut tokens = access::parse_tokens(text("api_tokens")).map_err(why("api_tokens"))?;
    if !text("api_tokens_file").is_empty() {
        let file = path(config, "api_tokens_file")?;
        tokens.extend(access::read_tokens(&file).map_err(|it| bad(config, "api_tokens_file", it))?);
    }
    let list = |key: &str| -> Vec<String> {
        let entries = text(key).split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(str::to_owned).collect()
    };
    let cors_origins = list("cors_origins");
    let is_origin = |origin: &String| {
        reqwest::Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == *origin)
    };
    if !cors_origins.iter().all(is_origin) {
        return Err(bad(config, "cors_origins", "sites such as https://example.org are expected"));
    }
    Ok(Access { tokens, hosts: list("allowed_hosts"), cors_origins, tls: tls(config)?.is_some() })
}

fn tls(config: &Config) -> Result<Option<Tls>, ConfigError> {
    let self_signed: bool = number(config, "tls_self_signed", "`true` or `false`")?;
    let is_set = |key: &str| !config.get(key).text.trim().is_empty();
    match (is_set("tls_cert"), is_set("tls_key"), self_signed) {
        (false, false, false) => Ok(None),
        (false, false, true) => Ok(Some(Tls::SelfSigned)),
        (true, true, false) => Ok(Some(Tls::Given {
            certificate: path(config, "tls_cert")?,
            key: path(config, "tls_key")?,
        })),
        (_, _, true) => Err(bad(config, "tls_self_signed", "not beside `tls_cert` and `tls_key`")),
        (true, false, _) => Err(bad(config, "tls_cert", "`tls_key` is expected beside it")),
        (false, true, _) => Err(bad(config, "tls_key", "`tls_cert` is expected beside it")),
    }
}

/// The servers that stages are pointed at.
fn remotes(config: &Config) -> Result<BTreeMap<StageKind, RemoteOptions>, ConfigError> {
    let mut remotes = BTreeMap::new();
    for stage in StageKind::ALL {
        let key = |name: &str| format!("{STAGES}{stage}.{name}");
        let text = |name: &str| config.get(&key(name)).text.trim();
        let interface = match stage {
            StageKind::TranslateText => "libretranslate",
            _ => "openai",
        };
        match text("engine") {
            "local" => continue,
            engine if engine == interface => {}
            _ => {
                let why = format!("`local` or `{interface}` is expected");
                return Err(bad(config, &key("engine"), why));
            }
        }
        let remote = RemoteOptions {
            base_url: base_url(config, &key("base_url"))?,
            model: text("model").to_owned(),
            voice: text("voice").to_owned(),
            api_key: api_key(config, &key("api_key_env"))?,
            timeout: Duration::from_secs(within(config, &key("timeout_s"), 1, 3600)?),
        };
        remotes.insert(stage, remote);
    }
    Ok(remotes)
}

fn base_url(config: &Config, key: &str) -> Result<reqwest::Url, ConfigError> {
    let expected = "an address such as http://127.0.0.1:8000/v1 is expected";
    let url: reqwest::Url =
        config.get(key).text.trim().parse().map_err(|_| bad(config, key, expected))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(bad(config, key, expected));
    }
    let offline: bool = number(config, "offline", "`true` or `false`")?;
    if offline && !is_loopback(&url) {
        return Err(bad(config, key, "`offline` allows no server but those on this machine"));
    }
    Ok(url)
}

/// The value of the variable that is named, so that no secret stands in a file.
fn api_key(config: &Config, key: &str) -> Result<Option<ApiKey>, ConfigError> {
    let variable = config.get(key).text.trim();
    if variable.is_empty() {
        return Ok(None);
    }
    match std::env::var(variable) {
        Ok(secret) if !secret.is_empty() => Ok(Some(ApiKey::new(secret))),
        _ => Err(bad(config, key, "there is no such variable in the environment")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn with(key: &str, text: &str) -> Result<Settings, ConfigError> {
        let mut config = Config::defaults();
        config.set(key, text, Origin::Flag("--set".to_owned())).unwrap();
        Settings::new(&config)
    }

    #[test]
    fn the_defaults_are_valid_and_listen_on_this_machine_only() {
        let settings = Settings::new(&Config::defaults()).unwrap();
        assert!(settings.listen.ip().is_loopback());
        assert_eq!(settings.listen.port(), 8080);
        assert!(settings.hardware.threads > 0);
        assert_eq!(settings.defaults, JobOptions::default());
        assert!(settings.models.is_empty());
    }

    #[test]
    fn a_bad_value_is_told_with_its_place_and_what_is_expected() {
        for (key, text, expected) in [
            ("listen", "nonsense", "host:port"),
            ("threads", "many", "from 0 to 1024"),
            ("temperature", "-1", "from 0 to 2"),
            ("offline", "perhaps", "`true` or `false`"),
            ("template", "poem", "continue"),
            ("language", "klingon", "`auto`"),
            ("log_format", "xml", "`human` or `json`"),
            ("gpu", "x", if cfg!(feature = "cuda") { "`auto`, `off`" } else { "CUDA" }),
            ("require_gpu", "perhaps", "`true` or `false`"),
            ("data_dir", "", "folder"),
            ("workers", "0", "from 1 to 64"),
            ("max_queued", "none", "from 1 to"),
            ("min_free_bytes", "-1", "bytes"),
            ("max_attempts", "0", "from 1 to 100"),
            ("retention_days", "-1", "from 0 to"),
            ("max_jobs", "x", "jobs"),
            ("max_bytes", "x", "bytes"),
            ("max_text_chars", "x", "characters"),
            ("api_tokens", "short", "fewer than 16"),
            ("api_tokens_file", "/nowhere/tokens", "No such file"),
            ("cors_origins", "example.org", "https://example.org"),
            ("tls_cert", "cert.pem", "`tls_key` is expected"),
            ("tls_self_signed", "perhaps", "`true` or `false`"),
        ] {
            let error = with(key, text).unwrap_err().to_string();
            assert!(error.starts_with("flag --set"), "{error}");
            assert!(error.contains(expected), "{key}: {error}");
        }
    }

    #[test]
    fn a_stage_can_be_pointed_at_a_server() {
        let mut config = Config::defaults();
        let mut set = |key: &str, text: &str| {
            config.set(key, text, Origin::Flag("--set".to_owned())).unwrap();
            Settings::new(&config)
        };
        let error = set("stages.generate_text.engine", "libretranslate").unwrap_err().to_string();
        assert!(error.contains("`local` or `openai`"), "{error}");
        let error = set("stages.generate_text.engine", "openai").unwrap_err().to_string();
        assert!(error.contains("base_url") && error.contains("an address"), "{error}");
        let settings = set("stages.generate_text.base_url", "https://example.org/v1").unwrap();
        assert!(settings.remotes[&StageKind::GenerateText].api_key.is_none());
        let error = set("offline", "true").unwrap_err().to_string();
        assert!(error.contains("`offline`"), "{error}");
        set("stages.generate_text.base_url", "http://127.0.0.1:9/v1").unwrap();
        let error = set("stages.generate_text.api_key_env", "NO_SUCH_KEY").unwrap_err().to_string();
        assert!(error.contains("no such variable"), "{error}");
        // Any variable that is always there will do.
        let settings = set("stages.generate_text.api_key_env", "PATH").unwrap();
        assert!(settings.remotes[&StageKind::GenerateText].api_key.is_some());
        assert_eq!(settings.remotes.len(), 1);
    }

    #[test]
    fn a_model_can_be_chosen_for_a_role() {
        let settings = with("model.speech-to-text", "whisper-tiny").unwrap();
        assert_eq!(settings.models["speech-to-text"], "whisper-tiny");
    }

    #[test]
    fn a_gpu_that_is_required_must_be_there() {
        let mut config = Config::defaults();
        config.set("gpu", "off", Origin::Flag("--set".to_owned())).unwrap();
        config.set("require_gpu", "true", Origin::Flag("--require-gpu".to_owned())).unwrap();
        let error = Settings::new(&config).unwrap_err().to_string();
        assert!(error.starts_with("flag --require-gpu") && error.contains("`off`"), "{error}");
        let found = with("require_gpu", "true").map(|settings| settings.hardware.gpu);
        assert_eq!(found.is_ok(), gpu::count() > 0);
    }

    #[test]
    fn threads_zero_means_one_for_each_core() {
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(with("threads", "0").unwrap().hardware.threads, cores);
        assert_eq!(with("threads", "1").unwrap().hardware.threads, 1);
    }
}
