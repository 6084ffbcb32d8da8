//! The one list of everything that can be configured.

use std::env;
use std::path::PathBuf;

use crate::jobs::StoreOptions;
use crate::stage::{JobOptions, StageKind};

/// Every variable of the environment that configures this program begins with this.
pub(super) const PREFIX: &str = "MEGA_";

/// The prefix of keys that choose the model for a role.
pub const MODEL: &str = "model.";

/// Roles whose model can be chosen, as `models/manifest.toml` names them.
pub const ROLES: [&str; 16] = [
    "speech-to-text",
    "voice-activity",
    "text-generation",
    "translation-en-fr",
    "translation-en-pt",
    "translation-en-es",
    "translation-en-it",
    "translation-en-hi",
    "voice-en",
    "voice-fr",
    "voice-pt",
    "voice-es",
    "voice-it",
    "voice-hi",
    "onnx-runtime",
    "phonemes",
];

/// The prefix of keys that point a stage at a server.
pub const STAGES: &str = "stages.";

/// What can be set for each stage: name, sentence, default.
const STAGE_KEYS: [(&str, &str, &str); 6] = [
    ("engine", "`local`, or the interface of the server that does the work", "local"),
    ("base_url", "Where that server is", ""),
    ("model", "Name of the model there; empty lets the server choose", ""),
    ("voice", "Name of the voice there, for speech", ""),
    ("api_key_env", "Variable of the environment that holds the key for that server", ""),
    ("timeout_s", "Seconds that an answer, or the next piece of one, may take", "120"),
];

/// Something that can be configured.
#[derive(Debug, Clone)]
pub struct Key {
    /// Name in the file, such as `max_audio_s` or `model.voice-en`.
    pub name: String,
    /// What it does, in a sentence.
    pub doc: String,
    /// The value when nobody sets one.
    pub default: String,
    /// Whether the value is not to be shown.
    pub secret: bool,
}

impl Key {
    fn new(name: &str, doc: &str, default: fn() -> String) -> Self {
        Self { name: name.to_owned(), doc: doc.to_owned(), default: default(), secret: false }
    }

    /// The variable of the environment that sets it.
    #[must_use]
    pub fn environment(&self) -> String {
        format!("{PREFIX}{}", self.name.replace(['.', '-'], "_").to_uppercase())
    }
}

/// Everything that can be configured.
#[must_use]
pub fn known_keys() -> Vec<Key> {
    let mut keys = vec![
        Key::new("data_dir", "Folder of the job table, recordings and results.", || {
            home("XDG_DATA_HOME", ".local/share").display().to_string()
        }),
        Key::new("models_dir", "Folder of the weights.", || {
            home("XDG_CACHE_HOME", ".cache").join("models").display().to_string()
        }),
        Key::new("listen", "Address and port of the page.", || "127.0.0.1:8080".to_owned()),
        Key::new("threads", "Threads for one model at work; 0 is one for each core.", || {
            "0".to_owned()
        }),
        Key::new("gpu", "`auto`, `off`, or the number of a CUDA device.", || "auto".to_owned()),
        Key::new(
            "require_gpu",
            "Stop where models that can use a GPU would not: Whisper, the text model, Marian.",
            || "false".to_owned(),
        ),
        Key::new("offline", "Never use the network, not even for `models pull`.", || {
            "false".to_owned()
        }),
        Key::new("language", "Language that is spoken, or `auto`, when a job names none.", || {
            JobOptions::default().language
        }),
        Key::new("target", "Language to translate to when a job names none.", || {
            JobOptions::default().target
        }),
        Key::new("template", "Prompt template when a job names none.", || {
            JobOptions::default().template
        }),
        Key::new("max_tokens", "Most tokens a text may have when a job names no number.", || {
            JobOptions::default().max_tokens.to_string()
        }),
        Key::new("temperature", "Randomness of the text; 0 is always the likeliest.", || {
            JobOptions::default().temperature.to_string()
        }),
        Key::new("top_p", "Smallest set of next words to choose from, by probability.", || {
            JobOptions::default().top_p.to_string()
        }),
        Key::new("repeat_penalty", "Above 1, words already used become less likely.", || {
            JobOptions::default().repeat_penalty.to_string()
        }),
        Key::new("seed", "Makes texts repeatable.", || JobOptions::default().seed.to_string()),
        Key::new("workers", "Jobs that run side by side, each with models of its own.", || {
            "1".to_owned()
        }),
        Key::new("log", "What is logged, such as `info` or `mega_pipeline=debug`.", || {
            // ONNX Runtime tells of every allocation at `info`.
            "warn,mega_pipeline=info".to_owned()
        }),
        Key::new("log_content", "Log what was said and written, too.", || "false".to_owned()),
        Key::new("log_format", "`human` or `json`.", || "human".to_owned()),
    ];
    keys.extend(limit_keys());
    keys.extend(access_keys());
    keys.extend(ROLES.iter().map(|role| {
        Key::new(
            &format!("{MODEL}{role}"),
            &format!("Model for {role}; `auto` is the best one that is installed."),
            || "auto".to_owned(),
        )
    }));
    for stage in StageKind::ALL {
        keys.extend(STAGE_KEYS.iter().map(|(name, doc, default)| Key {
            name: format!("{STAGES}{stage}.{name}"),
            doc: format!("{doc} ({stage})."),
            default: (*default).to_owned(),
            secret: false,
        }));
    }
    keys
}

/// How much the server takes on, and how long it keeps it.
fn limit_keys() -> Vec<Key> {
    vec![
        Key::new(
            "max_queued",
            "Most jobs that may wait; beyond it recordings are refused.",
            || StoreOptions::default().max_queued.to_string(),
        ),
        Key::new(
            "min_free_bytes",
            "With less free disk, recordings are refused and jobs wait.",
            || StoreOptions::default().min_free_bytes.to_string(),
        ),
        Key::new(
            "max_attempts",
            "How often a stage is started before a failure that could pass counts as final.",
            || StoreOptions::default().max_attempts.to_string(),
        ),
        Key::new("retention_days", "Days that an ended job is kept; 0 is for ever.", || {
            "0".to_owned()
        }),
        Key::new(
            "max_jobs",
            "Most jobs that are kept, the oldest go first; 0 is no limit.",
            || "0".to_owned(),
        ),
        Key::new(
            "max_bytes",
            "Most bytes of recordings and results that are kept; 0 is no limit.",
            || "0".to_owned(),
        ),
        Key::new("max_upload_bytes", "Largest recording that is taken.", || "100000000".to_owned()),
        Key::new("max_audio_s", "Longest recording that is taken, in seconds.", || {
            "3600".to_owned()
        }),
        Key::new(
            "max_text_chars",
            "Longest text that is translated or spoken for the compatible interfaces.",
            || "20000".to_owned(),
        ),
        Key::new("shutdown_grace_s", "How long a running stage may go on after a stop.", || {
            "10".to_owned()
        }),
    ]
}

/// Who may use the server, and how.
fn access_keys() -> Vec<Key> {
    vec![
        Key {
            secret: true,
            ..Key::new(
                "api_tokens",
                "Tokens that clients must have, `name=secret`, parted by commas.",
                String::new,
            )
        },
        Key::new("api_tokens_file", "File of such tokens, one on each line.", String::new),
        Key::new(
            "allowed_hosts",
            "Names by which the server may be called, parted by commas; `*` is any.",
            String::new,
        ),
        Key::new(
            "cors_origins",
            "Other sites whose pages may use the API, such as https://example.org.",
            String::new,
        ),
        Key::new(
            "tls_cert",
            "PEM file of the certificate; connections are encrypted.",
            String::new,
        ),
        Key::new("tls_key", "PEM file of the certificate's private key.", String::new),
        Key::new(
            "tls_self_signed",
            "Encrypt connections with a certificate that the server makes itself.",
            || "false".to_owned(),
        ),
    ]
}

/// This program's folder below the user's `variable` folder, or below `fallback` in the home.
fn home(variable: &str, fallback: &str) -> PathBuf {
    let base = env::var_os(variable).filter(|dir| !dir.is_empty()).map_or_else(
        || env::home_dir().unwrap_or_else(|| PathBuf::from(".")).join(fallback),
        PathBuf::from,
    );
    base.join("mega-pipeline")
}
