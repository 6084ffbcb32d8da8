//! Engines whose work another server does, through interfaces that many servers speak: OpenAI's
//! for text, recognition and speech, LibreTranslate's for translation.
//!
//! Called by `stage::engines` for stages that the configuration points at a server. One file an
//! interface; `server` is the connection: time-outs, tries, cancellation.

mod chat;
mod server;
mod speech;
mod transcription;
mod translation;

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

pub use chat::RemoteTextModel;
pub use speech::RemoteVoice;
pub use transcription::RemoteTranscriber;
pub use translation::RemoteTranslator;

/// A server and how it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteOptions {
    /// What the interface's paths are added to: `http://host:port/v1` for OpenAI's,
    /// `http://host:port` for LibreTranslate's.
    pub base_url: reqwest::Url,
    /// The model's name there; empty lets the server choose.
    pub model: String,
    /// The voice's name there, for speech.
    pub voice: String,
    /// What the server wants to see.
    pub api_key: Option<ApiKey>,
    /// How long an answer, or the next piece of one, may take.
    pub timeout: Duration,
}

impl RemoteOptions {
    /// The address without what could be a secret, for messages.
    #[must_use]
    pub fn shown(&self) -> String {
        let mut url = self.base_url.clone();
        // Fails only for addresses that cannot have credentials.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.set_fragment(None);
        url.to_string()
    }
}

/// Whether an address is one of this machine itself.
#[must_use]
pub fn is_loopback(url: &reqwest::Url) -> bool {
    url.host_str().is_some_and(|host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// A secret, which does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Keeps `secret`.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_key_nor_a_password_in_the_address_is_shown() {
        let options = RemoteOptions {
            base_url: "http://me:secret@host:1/v1?key=secret".parse().expect("an address"),
            model: String::new(),
            voice: String::new(),
            api_key: Some(ApiKey::new("secret")),
            timeout: Duration::from_secs(1),
        };
        assert_eq!(options.shown(), "http://host:1/v1");
        assert!(!format!("{:?}", options.api_key).contains("secret"));
    }
}
