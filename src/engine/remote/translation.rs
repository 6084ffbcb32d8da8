//! Translation by a server that speaks LibreTranslate's interface.

use serde::Deserialize;
use serde_json::json;

use super::RemoteOptions;
use super::server::Server;
use crate::engine::{Control, EngineError, Translator};

/// Sentences in one request; servers limit how much they take.
const BATCH: usize = 16;

/// A translator on another server, for one pair of languages.
pub struct RemoteTranslator {
    server: Server,
    source: String,
    target: String,
}

impl RemoteTranslator {
    /// A translator from `source` to `target`, BCP 47 tags; the server is not asked yet.
    ///
    /// # Errors
    /// `Load` when the system refuses a connection.
    pub fn new(options: RemoteOptions, source: &str, target: &str) -> Result<Self, EngineError> {
        let server = Server::new(options)?;
        Ok(Self { server, source: source.to_owned(), target: target.to_owned() })
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "translatedText")]
    translated: Vec<String>,
}

impl Translator for RemoteTranslator {
    fn translate(
        &mut self,
        sentences: &[String],
        control: &Control<'_>,
    ) -> Result<Vec<String>, EngineError> {
        let mut translations = Vec::with_capacity(sentences.len());
        for batch in sentences.chunks(BATCH) {
            control.cancel.check()?;
            let mut request = json!({
                "q": batch, "source": self.source, "target": self.target, "format": "text",
            });
            // Such servers look for the key in the request itself.
            if let Some(key) = &self.server.options().api_key {
                request["api_key"] = key.reveal().into();
            }
            let answer =
                self.server.post("translate", control.cancel, &|http| http.json(&request))?;
            let answer: Answer =
                serde_json::from_slice(&answer).map_err(|error| self.server.bad_answer(error))?;
            if answer.translated.len() != batch.len() {
                return Err(self.server.bad_answer(format_args!(
                    "{} translations of {} sentences",
                    answer.translated.len(),
                    batch.len()
                )));
            }
            translations.extend(answer.translated);
            control.report(translations.len(), sentences.len());
        }
        Ok(translations)
    }
}
