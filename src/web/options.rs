//! A job's options: what the client asked for, laid over the configured
//! defaults, checked before anything is queued.

use serde_json::{Map, Value};

use super::error::WebError;
use super::state::{Choice, OfferedVoice, WebConfig};
use crate::stage::JobOptions;
use crate::text::templates;

/// The most tokens a client may ask for: a long podcast script.
const MAX_TOKENS: u32 = 8192;

/// The longest instruction.
const MAX_INSTRUCTION_CHARS: usize = 2000;

/// What can be asked for beside `options`, in the query or as fields of a form.
pub(super) const FIELDS: &str =
    "language, target, template, max_tokens, instruction, voice_en and voice";

/// What the client asked for, as it was sent.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// A JSON object with any fields of [`JobOptions`].
    options: Map<String, Value>,
    /// Override those of `options`.
    fields: Map<String, Value>,
}

impl Wanted {
    /// Takes a parameter of the query or a field of a form. Returns false if there is none of
    /// that name.
    ///
    /// # Errors
    /// 400 when the value cannot be understood.
    pub fn take(&mut self, name: &str, value: &str) -> Result<bool, WebError> {
        let value = value.trim();
        match name {
            "options" => self.options = parse(value)?,
            // A form sends an empty field for something left alone.
            "language" | "target" | "template" | "max_tokens" if value.is_empty() => {}
            "max_tokens" => {
                let number: u32 = value.parse().map_err(|_| {
                    let message = format!("{name} must be a number.");
                    WebError::bad_request("bad_options", message).param(name)
                })?;
                self.fields.insert(name.to_owned(), number.into());
            }
            "language" | "target" | "template" | "instruction" | "voice_en" | "voice" => {
                self.fields.insert(name.to_owned(), value.into());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Everything that was asked for.
    pub fn into_options(self) -> Map<String, Value> {
        let mut options = self.options;
        options.extend(self.fields);
        options
    }
}

/// The options of the job.
///
/// # Errors
/// 400 when they cannot be understood, 422 when they ask for something that is
/// not offered.
pub(super) fn choose(config: &WebConfig, wanted: Wanted) -> Result<JobOptions, WebError> {
    change(config, &config.defaults, wanted.into_options())
}

/// The `options` of an earlier run with the fields of `wanted` in place of theirs.
///
/// # Errors
/// As [`choose`].
pub(super) fn change(
    config: &WebConfig,
    options: &JobOptions,
    wanted: Map<String, Value>,
) -> Result<JobOptions, WebError> {
    let length_is_asked_for = wanted.contains_key("max_tokens");
    let template_is_asked_for = wanted.contains_key("template");
    let voice_stays = !wanted.contains_key("target") || wanted.contains_key("voice");
    let mut options = overlay(options, wanted)?;
    // Another task needs another length: a podcast does not fit in a paragraph.
    if template_is_asked_for
        && !length_is_asked_for
        && let Some(template) = templates::template(&options.template)
    {
        options.max_tokens = template.max_tokens;
    }
    if !voice_stays {
        // It speaks the language that was the target before.
        options.voice.clear();
    }
    check_offered("language", "spoken language", &options.language, &config.spoken)?;
    check_offered("target", "language", &options.target, &config.targets)?;
    check_offered("template", "template", &options.template, &config.templates)?;
    check_voice(config, "voice_en", "en", &options.voice_en)?;
    check_voice(config, "voice", &options.target, &options.voice)?;
    if options.instruction.chars().count() > MAX_INSTRUCTION_CHARS {
        let message = format!("instruction must have at most {MAX_INSTRUCTION_CHARS} characters.");
        return Err(WebError::unprocessable("out_of_range", message).param("instruction"));
    }
    check_ranges(&options)?;
    Ok(options)
}

fn bad_options(message: String) -> WebError {
    WebError::bad_request("bad_options", message).param("options")
}

fn parse(text: &str) -> Result<Map<String, Value>, WebError> {
    serde_json::from_str(text)
        .map_err(|error| bad_options(format!("options must be a JSON object: {error}.")))
}

fn overlay(defaults: &JobOptions, wanted: Map<String, Value>) -> Result<JobOptions, WebError> {
    let mut merged = serde_json::to_value(defaults).map_err(WebError::internal)?;
    let known =
        merged.as_object_mut().ok_or_else(|| WebError::internal("options are no object"))?;
    for (key, value) in wanted {
        if !known.contains_key(&key) {
            let names = known.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let message = format!("There is no option `{key}`. The options are {names}.");
            return Err(WebError::bad_request("unknown_option", message).param(key));
        }
        known.insert(key, value);
    }
    serde_json::from_value(merged)
        .map_err(|error| bad_options(format!("An option has a value of the wrong kind: {error}.")))
}

/// Choices as a person reads them: `fr (French), pt (Portuguese)`.
pub(super) fn names(choices: &[Choice]) -> String {
    let named = choices.iter().map(|choice| format!("{} ({})", choice.value, choice.title));
    named.collect::<Vec<_>>().join(", ")
}

fn check_offered(
    param: &'static str,
    what: &str,
    value: &str,
    offered: &[Choice],
) -> Result<(), WebError> {
    if offered.iter().any(|choice| choice.value == value) {
        return Ok(());
    }
    let names = names(offered);
    let message = format!("The {what} `{value}` is not offered here. Choose one of: {names}.");
    Err(WebError::unprocessable("not_offered", message).param(param))
}

fn check_voice(
    config: &WebConfig,
    param: &'static str,
    language: &str,
    voice: &str,
) -> Result<(), WebError> {
    let speaks = |it: &&OfferedVoice| it.language == language;
    let offered: Vec<Choice> =
        config.voices.iter().filter(speaks).map(|it| it.choice.clone()).collect();
    if voice.is_empty() || offered.iter().any(|choice| choice.value == voice) {
        return Ok(());
    }
    let names: Vec<&str> = offered.iter().map(|choice| choice.value.as_str()).collect();
    let message = format!(
        "There is no voice `{voice}` for the language `{language}`. Choose one of: {}.",
        names.join(", ")
    );
    Err(WebError::unprocessable("not_offered", message).param(param))
}

fn check_ranges(options: &JobOptions) -> Result<(), WebError> {
    let rules = [
        (
            "max_tokens",
            (1..=MAX_TOKENS).contains(&options.max_tokens),
            format!("from 1 to {MAX_TOKENS}"),
        ),
        ("temperature", (0.0..=2.0).contains(&options.temperature), "from 0 to 2".to_owned()),
        ("top_p", options.top_p > 0.0 && options.top_p <= 1.0, "above 0 and up to 1".to_owned()),
        ("repeat_penalty", (1.0..=2.0).contains(&options.repeat_penalty), "from 1 to 2".to_owned()),
    ];
    match rules.into_iter().find(|(_, fits, _)| !fits) {
        None => Ok(()),
        Some((name, _, range)) => {
            Err(WebError::unprocessable("out_of_range", format!("{name} must be {range}."))
                .param(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;

    fn config() -> WebConfig {
        let choice =
            |value: &str, title: &str| Choice { value: value.to_owned(), title: title.to_owned() };
        WebConfig {
            defaults: JobOptions { max_tokens: 99, ..JobOptions::default() },
            spoken: vec![choice("en", "English")],
            targets: vec![choice("fr", "French"), choice("pt", "Portuguese")],
            translations: Vec::new(),
            rough: Vec::new(),
            templates: vec![choice("continue", "Continue the thought")],
            max_upload_bytes: 1,
            voices: Vec::new(),
            access: Access::default(),
            patience: WebConfig::PATIENCE,
            stages: Vec::new(),
            served: Vec::new(),
            max_text_chars: 1,
            models: None,
            workers: 1,
            only: Vec::new(),
        }
    }

    fn chosen(options: &str) -> Result<JobOptions, WebError> {
        let mut wanted = Wanted::default();
        wanted.take("options", options)?;
        choose(&config(), wanted)
    }

    #[test]
    fn what_is_not_asked_for_stays_as_configured() {
        let options = chosen(r#"{"target":"pt","temperature":0}"#).expect("good options");
        assert_eq!(options.target, "pt");
        assert_eq!(options.max_tokens, 99);
        assert!(options.temperature.abs() < f64::EPSILON);
    }

    #[test]
    fn a_form_field_overrides_and_an_empty_one_does_not() {
        let mut wanted = Wanted::default();
        for (name, value) in [("target", "pt"), ("template", ""), ("max_tokens", "")] {
            assert!(wanted.take(name, value).expect("a good value"), "{name}");
        }
        assert!(!wanted.take("colour", "red").expect("not looked at"));
        let options = choose(&config(), wanted).expect("good options");
        assert_eq!((options.target.as_str(), options.template.as_str()), ("pt", "continue"));
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for bad in [
            r#"{"max_tokens":0}"#,
            r#"{"max_tokens":9000}"#,
            r#"{"temperature":-0.1}"#,
            r#"{"top_p":0}"#,
            r#"{"repeat_penalty":0.5}"#,
            r#"{"max_tokens":-1}"#,
            r#"{"seed":"x"}"#,
            r#"{"target":"tlh"}"#,
            r#"{"language":"fr"}"#,
        ] {
            assert!(chosen(bad).is_err(), "{bad} was accepted");
        }
    }
}
