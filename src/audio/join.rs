//! Spoken sentences joined to one recording, with pauses and without clicks.
//!
//! Called by the two speaking stages.

use super::Audio;

/// Silence between two sentences, in milliseconds.
pub const SENTENCE_PAUSE_MS: usize = 200;
/// Silence between two paragraphs, in milliseconds.
pub const PARAGRAPH_PAUSE_MS: usize = 500;
/// Length of the fade at either end of a sentence, in milliseconds.
const FADE_MS: usize = 5;

/// Joins `paragraphs`, each a list of spoken sentences (mono samples), to one
/// recording: 200 ms of silence between sentences, 500 ms between paragraphs,
/// none at the ends. Empty sentences and paragraphs add nothing.
pub fn join(paragraphs: &[Vec<Vec<f32>>], sample_rate: u32) -> Audio {
    let samples_in = |ms: usize| sample_rate as usize * ms / 1000;
    let mut samples: Vec<f32> = Vec::new();
    for paragraph in paragraphs {
        let mut pause_ms = PARAGRAPH_PAUSE_MS;
        for sentence in paragraph.iter().filter(|sentence| !sentence.is_empty()) {
            if !samples.is_empty() {
                samples.resize(samples.len() + samples_in(pause_ms), 0.0);
            }
            push_faded(&mut samples, sentence, samples_in(FADE_MS));
            pause_ms = SENTENCE_PAUSE_MS;
        }
    }
    Audio { sample_rate, samples }
}

/// Adds `sound` with a linear fade of at most `fade` samples at either end.
fn push_faded(samples: &mut Vec<f32>, sound: &[f32], fade: usize) {
    let start = samples.len();
    samples.extend_from_slice(sound);
    let fade = fade.min(sound.len() / 2);
    let end = samples.len() - 1;
    for i in 0..fade {
        let gain = i as f32 / fade as f32;
        samples[start + i] *= gain;
        samples[end - i] *= gain;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u32 = 1000;

    #[test]
    fn sentences_and_paragraphs_are_parted_by_their_pauses() {
        let loud = || vec![1.0; 100];
        let audio = join(&[vec![loud(), loud()], vec![loud()]], RATE);
        assert_eq!(audio.sample_rate, RATE);
        assert_eq!(audio.samples.len(), 300 + SENTENCE_PAUSE_MS + PARAGRAPH_PAUSE_MS);
        assert!(audio.samples[100..300].iter().all(|&x| x == 0.0));
        assert!(audio.samples[400..900].iter().all(|&x| x == 0.0));
    }

    #[test]
    fn no_join_clicks() {
        let audio = join(&[vec![vec![1.0; 4800], vec![-1.0; 4800]]], 48_000);
        let padded = [vec![0.0], audio.samples, vec![0.0]].concat();
        let steepest = padded.windows(2).map(|w| (w[1] - w[0]).abs()).fold(0.0, f32::max);
        assert!(steepest < 0.01, "a step of {steepest} would be heard");
    }

    #[test]
    fn nothing_said_is_an_empty_recording() {
        assert_eq!(join(&[], RATE).samples, Vec::<f32>::new());
        assert_eq!(join(&[vec![], vec![vec![]]], RATE).samples, Vec::<f32>::new());
    }

    #[test]
    fn a_paragraph_without_sound_adds_no_pause() {
        let audio = join(&[vec![vec![1.0; 50]], vec![vec![]], vec![vec![1.0; 50]]], RATE);
        assert_eq!(audio.samples.len(), 100 + PARAGRAPH_PAUSE_MS);
    }

    #[test]
    fn a_sound_of_one_sample_is_kept() {
        assert_eq!(join(&[vec![vec![0.5]]], RATE).samples, vec![0.5]);
    }
}
