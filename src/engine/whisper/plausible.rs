//! Tells a transcript from what a model makes of sound that it did not understand.

use crate::audio::SPEECH_RATE;
use crate::text::Transcript;

/// Slowest speech that is taken for complete, in words per second of sound that is
/// loud enough to be speech. Slow readers manage 1.5.
const MIN_WORDS_PER_SECOND: f64 = 0.5;

/// How often the same few words may follow one another before they are a loop.
const MAX_REPEATS: usize = 3;

/// Longest run of words that is looked at as one turn of a loop.
const MAX_LOOP_WORDS: usize = 8;

/// Whether `transcript` can be all that is said in `samples`: not empty, not going
/// round in circles, not far too short.
pub fn is_plausible(transcript: &Transcript, samples: &[f32]) -> bool {
    let words: Vec<&str> = transcript.text.split_whitespace().collect();
    let enough = words.len() as f64 >= MIN_WORDS_PER_SECOND * loud_seconds(samples);
    !words.is_empty() && enough && !goes_round(&words)
}

/// Whether some words repeat themselves without end.
fn goes_round(words: &[&str]) -> bool {
    (1..=MAX_LOOP_WORDS).any(|length| {
        // So many equal pairs at the same distance are that many turns of one loop.
        let needed = length * MAX_REPEATS;
        let mut equal = 0;
        words.iter().zip(words.iter().skip(length)).any(|(a, b)| {
            equal = if a.eq_ignore_ascii_case(b) { equal + 1 } else { 0 };
            equal >= needed
        })
    })
}

/// Seconds of `samples` that are within 25 dB of the loudest 20 ms.
fn loud_seconds(samples: &[f32]) -> f64 {
    let frame = SPEECH_RATE as usize / 50;
    let powers: Vec<f32> = samples
        .chunks(frame)
        .map(|chunk| chunk.iter().map(|s| s * s).sum::<f32>() / chunk.len() as f32)
        .collect();
    let threshold = powers.iter().copied().fold(0.0, f32::max) / 316.0;
    powers.iter().filter(|&&power| power > threshold).count() as f64 / 50.0
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

    fn transcript(text: &str) -> Transcript {
        Transcript { text: text.to_owned(), ..Transcript::default() }
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
        assert!(is_plausible(&said, &loud(4)));
        assert!(is_plausible(&transcript("No, no, no, no."), &loud(2)));
    }

    #[test]
    fn a_loop_is_not() {
        assert!(!is_plausible(&transcript(&"and then ".repeat(9)), &loud(4)));
        assert!(!is_plausible(&transcript(&"I see the house. ".repeat(5)), &loud(8)));
    }

    #[test]
    fn too_little_for_so_much_sound_is_not() {
        assert!(!is_plausible(&transcript("you"), &loud(6)));
        assert!(!is_plausible(&transcript(""), &loud(1)));
    }

    #[test]
    fn pauses_do_not_count_as_speech() {
        let mut samples = loud(1);
        samples.resize(10 * SPEECH_RATE as usize, 0.0);
        assert!(is_plausible(&transcript("Yes."), &samples));
    }
}
