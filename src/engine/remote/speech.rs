//! Speech from a server that speaks OpenAI's interface.

use std::io::Write;

use serde_json::json;

use super::RemoteOptions;
use super::server::Server;
use crate::audio::{DecodeLimits, decode_to, speech};
use crate::engine::voice::checked_speed;
use crate::engine::{Cancel, EngineError, Voice};

/// What the sound is brought to, whatever the server sends: the rate of OpenAI's own voices.
const SAMPLE_RATE: u32 = 24_000;

/// No sentence takes longer to say.
const MAX_SENTENCE_S: u64 = 600;

/// A voice on another server.
pub struct RemoteVoice {
    server: Server,
    voice: String,
}

impl RemoteVoice {
    /// The voice that `options` name, or `pick` where it is not empty; the server is not asked
    /// yet.
    ///
    /// # Errors
    /// `Load` when the system refuses a connection.
    pub fn new(options: RemoteOptions, pick: &str) -> Result<Self, EngineError> {
        let voice = if pick.is_empty() { options.voice.clone() } else { pick.to_owned() };
        Ok(Self { server: Server::new(options)?, voice })
    }
}

impl Voice for RemoteVoice {
    fn sample_rate(&self) -> u32 {
        SAMPLE_RATE
    }

    fn say(
        &mut self,
        sentence: &str,
        speed: f32,
        cancel: &Cancel,
    ) -> Result<Vec<f32>, EngineError> {
        let mut request = json!({
            "input": sentence,
            "response_format": "wav",
            "speed": checked_speed(speed)?,
        });
        // What is not named, the server chooses.
        for (name, value) in [("model", &self.server.options().model), ("voice", &self.voice)] {
            if !value.is_empty() {
                request[name] = value.as_str().into();
            }
        }
        let answer = self.server.post("audio/speech", cancel, &|http| http.json(&request))?;
        // The decoder reads files, and tells what is one by its beginning.
        let failed = |error: std::io::Error| EngineError::run("Speaking", error);
        let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
        file.write_all(&answer).and_then(|()| file.flush()).map_err(failed)?;
        let limits = DecodeLimits { max_audio_s: MAX_SENTENCE_S };
        let audio = decode_to(file.path(), SAMPLE_RATE, &limits)
            .map_err(|error| self.server.bad_answer(error))?;
        speech::tidy(&audio.samples, SAMPLE_RATE)
            .ok_or_else(|| self.server.bad_answer("samples that are no numbers"))
    }
}
