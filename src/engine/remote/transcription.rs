//! Speech recognition on a server that speaks OpenAI's transcriptions.

use reqwest::multipart::{Form, Part};
use serde::Deserialize;

use super::RemoteOptions;
use super::server::Server;
use crate::audio::{Audio, wav_bytes};
use crate::engine::{Control, EngineError, Transcriber};
use crate::text::language::{self, LANGUAGES};
use crate::text::{Segment, Transcript};

/// Speech recognition on another server.
pub struct RemoteTranscriber(Server);

impl RemoteTranscriber {
    /// The model that `options` name; the server is not asked yet.
    ///
    /// # Errors
    /// `Load` when the system refuses a connection.
    pub fn new(options: RemoteOptions) -> Result<Self, EngineError> {
        Ok(Self(Server::new(options)?))
    }
}

/// The form that is called `verbose_json`.
#[derive(Deserialize)]
struct Answer {
    text: String,
    language: Option<String>,
    #[serde(default)]
    segments: Vec<Stretch>,
}

/// Times in seconds.
#[derive(Deserialize)]
struct Stretch {
    start: f64,
    end: f64,
    text: String,
}

impl Transcriber for RemoteTranscriber {
    fn is_multilingual(&self) -> bool {
        // Whether it is, only the server knows; it says so if it is not.
        true
    }

    fn transcribe(
        &mut self,
        audio: &Audio,
        language: Option<&str>,
        control: &Control<'_>,
    ) -> Result<Transcript, EngineError> {
        let wav = wav_bytes(audio);
        let fill = |http: reqwest::RequestBuilder| {
            let file = Part::bytes(wav.clone()).file_name("prompt.wav");
            // The type is a constant that parses.
            let file = file.mime_str("audio/wav").unwrap_or_else(|_| Part::bytes(wav.clone()));
            let mut form = Form::new().part("file", file).text("response_format", "verbose_json");
            let model = &self.0.options().model;
            if !model.is_empty() {
                form = form.text("model", model.clone());
            }
            if let Some(language) = language {
                form = form.text("language", language.to_owned());
            }
            http.multipart(form)
        };
        let answer = self.0.post("audio/transcriptions", control.cancel, &fill)?;
        let answer: Answer =
            serde_json::from_slice(&answer).map_err(|error| self.0.bad_answer(error))?;
        control.report(audio.duration_ms() as usize, audio.duration_ms() as usize);
        transcript(&answer, language, audio.duration_ms())
    }
}

fn transcript(
    answer: &Answer,
    language: Option<&str>,
    duration_ms: u64,
) -> Result<Transcript, EngineError> {
    let ms = |seconds: f64| ((seconds.max(0.0) * 1000.0).round() as u64).min(duration_ms);
    let mut segments: Vec<Segment> = answer
        .segments
        .iter()
        .map(|it| Segment {
            start_ms: ms(it.start),
            end_ms: ms(it.end),
            text: it.text.trim().to_owned(),
        })
        .filter(|segment| !segment.text.is_empty())
        .collect();
    let text = answer.text.trim().to_owned();
    if text.is_empty() {
        return Err(EngineError::NoSpeech);
    }
    if segments.is_empty() {
        segments.push(Segment { start_ms: 0, end_ms: duration_ms, text: text.clone() });
    }
    let found = answer.language.as_deref().and_then(tag_of).or(language).unwrap_or("en");
    Ok(Transcript { language: found.to_owned(), text, segments })
}

/// The tag of a language that a server names by its tag or in English.
fn tag_of(name: &str) -> Option<&'static str> {
    let named = || LANGUAGES.iter().find(|it| it.english_name.eq_ignore_ascii_case(name));
    language::language(name).or_else(named).map(|language| language.tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_times_is_one_segment_and_an_empty_one_is_no_speech() {
        let answer = |text: &str| -> Answer {
            serde_json::from_value(serde_json::json!({ "text": text, "language": "french" }))
                .expect("an answer")
        };
        let found = transcript(&answer(" Bonjour. "), None, 900).expect("speech");
        assert_eq!(found.language, "fr");
        assert_eq!(found.segments.len(), 1);
        assert_eq!((found.segments[0].end_ms, found.text.as_str()), (900, "Bonjour."));
        assert!(matches!(transcript(&answer(" "), None, 900), Err(EngineError::NoSpeech)));
    }
}
