//! Tells a transcript from what a model makes of sound that it did not understand.

use crate::audio::SPEECH_RATE;
use crate::text::Transcript;

/// Slowest speech that is taken for complete, in words per second of sound that is
/// loud enough to be speech. Slow readers manage 1.5.
const MIN_WORDS_PER_SECOND: f64 = 0.5;

/// Fastest speech that is taken for real, in words per second of the recording.
/// A model that says everything twice goes beyond it.
const MAX_WORDS_PER_SECOND: f64 = 4.5;

/// How often a few words may come again at once before they are a loop: people
/// say "no, no, no, no".
const MAX_REPEATS: usize = 3;

/// From this length on, words that come again at once are a loop the first time.
const SENTENCE_WORDS: usize = 5;

/// How long the recording may stay loud after the last word that was written down.
const MAX_UNHEARD_MS: u64 = 2000;

/// Whether `transcript` can be all that is said in `samples`: not empty, not far too
/// short or too long, not ending long before the sound does, not going in circles.
///
/// A wrong "no" costs time, because the recording is then done again; a wrong "yes"
/// costs the user a bad transcript.
pub fn is_plausible(transcript: &Transcript, samples: &[f32]) -> bool {
    let Some(last) = transcript.segments.last() else { return false };
    let words: Vec<&str> = transcript.text.split_whitespace().collect();
    let loudness = Loudness::of(samples);
    let count = words.len() as f64;
    let seconds = samples.len() as f64 / f64::from(SPEECH_RATE);
    count >= MIN_WORDS_PER_SECOND * loudness.loud_seconds
        // One word more, for those that are cut at either end.
        && count <= MAX_WORDS_PER_SECOND * seconds + 1.0
        && last.end_ms + MAX_UNHEARD_MS >= loudness.last_loud_ms
        && !goes_round(&words)
}

/// Whether some words come again and again, or a sentence comes twice in a row.
fn goes_round(words: &[&str]) -> bool {
    (1..=words.len() / 2).any(|length| {
        let repeats = if length < SENTENCE_WORDS { MAX_REPEATS } else { 1 };
        // So many equal pairs at the same distance are that many repeats.
        let needed = length * repeats;
        let mut equal = 0;
        words.iter().zip(&words[length..]).any(|(a, b)| {
            equal = if a.eq_ignore_ascii_case(b) { equal + 1 } else { 0 };
            equal >= needed
        })
    })
}

/// Where a recording is loud enough to be speech: within 25 dB of its loudest 20 ms.
struct Loudness {
    loud_seconds: f64,
    last_loud_ms: u64,
}

impl Loudness {
    fn of(samples: &[f32]) -> Self {
        const FRAME_MS: u64 = 20;
        let frame = SPEECH_RATE as usize * FRAME_MS as usize / 1000;
        let powers: Vec<f32> = samples
            .chunks(frame)
            .map(|chunk| chunk.iter().map(|s| s * s).sum::<f32>() / chunk.len() as f32)
            .collect();
        let threshold = powers.iter().copied().fold(0.0, f32::max) / 316.0;
        let is_loud = |power: &f32| *power > threshold;
        let loud_frames = powers.iter().filter(|power| is_loud(power)).count();
        let end = powers.iter().rposition(is_loud).map_or(0, |last| last + 1);
        Self {
            loud_seconds: loud_frames as f64 * FRAME_MS as f64 / 1000.0,
            last_loud_ms: end as u64 * FRAME_MS,
        }
    }
}

/// `said` without what whisper.cpp puts in brackets, between asterisks or beside a
/// note sign: `[BLANK_AUDIO]`, `(music)`, `*coughs*`, `♪`. It brackets nothing else.
pub fn without_annotations(said: &str) -> String {
    let mut kept = String::with_capacity(said.len());
    let mut closing: Option<char> = None;
    for c in said.chars() {
        match (closing, c) {
            (Some(end), c) if c == end => closing = None,
            (Some(_), _) | (None, '♪' | '♫') => {}
            (None, '[') => closing = Some(']'),
            (None, '(') => closing = Some(')'),
            (None, '*') => closing = Some('*'),
            (None, c) => kept.push(c),
        }
    }
    let words = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.chars().any(char::is_alphanumeric) { words } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Segment;

    /// A transcript of one segment that ends after a second.
    fn transcript(text: &str) -> Transcript {
        let segment = Segment { start_ms: 0, end_ms: 1000, text: text.to_owned() };
        Transcript { text: text.to_owned(), segments: vec![segment], ..Transcript::default() }
    }

    /// So many seconds of a steady tone, which is loud all the time.
    fn loud(seconds: usize) -> Vec<f32> {
        (0..seconds * SPEECH_RATE as usize).map(|n| (n as f32 * 0.3).sin()).collect()
    }

    #[test]
    fn notes_on_sounds_do_not_reach_the_text() {
        assert_eq!(without_annotations(" [BLANK_AUDIO]"), "");
        assert_eq!(without_annotations(" (upbeat music)"), "");
        assert_eq!(without_annotations(" *coughs* Well, [noise] then. ♪"), "Well, then.");
        assert_eq!(without_annotations(" ..."), "");
        assert_eq!(without_annotations(" Twenty-one, it's fine."), "Twenty-one, it's fine.");
    }

    #[test]
    fn an_ordinary_sentence_is_plausible() {
        let said = transcript("Containers are light and they start in a second or two.");
        assert!(is_plausible(&said, &loud(3)));
        assert!(is_plausible(&transcript("No, no, no, no."), &loud(2)));
    }

    #[test]
    fn a_loop_is_not() {
        assert!(!is_plausible(&transcript(&"and then ".repeat(6)), &loud(3)));
        assert!(!is_plausible(&transcript(&"I see the house on the hill. ".repeat(2)), &loud(3)));
    }

    #[test]
    fn too_little_for_so_much_sound_is_not() {
        assert!(!is_plausible(&transcript("you"), &loud(3)));
        assert!(!is_plausible(&Transcript::default(), &loud(1)));
    }

    #[test]
    fn more_than_anybody_can_say_is_not() {
        let fast = "Unless to be cold is to be ill, I would rather be cold";
        assert!(is_plausible(&transcript(fast), &loud(3)));
        assert!(!is_plausible(&transcript(&format!("{fast} and very ill")), &loud(3)));
    }

    #[test]
    fn sound_that_goes_on_after_the_last_word_is_suspicious() {
        let said = transcript("Containers are light, and they start in a second or two.");
        assert!(is_plausible(&said, &loud(3)));
        assert!(!is_plausible(&said, &loud(4)));
    }

    #[test]
    fn pauses_do_not_count_as_speech() {
        let mut samples = loud(1);
        samples.resize(10 * SPEECH_RATE as usize, 0.0);
        assert!(is_plausible(&transcript("Yes."), &samples));
    }
}
