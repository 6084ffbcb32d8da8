//! Spoken sentences joined to one recording, with pauses and without clicks.
//!
//! Called by `stage::speak`.

/// Silence between two sentences, in milliseconds.
pub const SENTENCE_PAUSE_MS: usize = 200;
/// Silence between two paragraphs, in milliseconds.
pub const PARAGRAPH_PAUSE_MS: usize = 500;
/// Length of the fade at either end of a sentence, in milliseconds.
const FADE_MS: usize = 5;

/// Joins spoken sentences one by one: 200 ms of silence between sentences, 500 ms between
/// paragraphs, none at the ends. Sentences without sound add nothing.
#[derive(Debug)]
pub struct Joiner {
    sample_rate: u32,
    /// Silence before the next sentence; none before the first.
    pause_ms: usize,
}

impl Joiner {
    /// For sentences with so many samples per second.
    #[must_use]
    pub const fn new(sample_rate: u32) -> Self {
        Self { sample_rate, pause_ms: 0 }
    }

    /// Appends a sentence to `samples`, with the pause that belongs before it.
    pub fn push(&mut self, sentence: &[f32], samples: &mut Vec<f32>) {
        if sentence.is_empty() {
            return;
        }
        let samples_in = |ms: usize| self.sample_rate as usize * ms / 1000;
        samples.resize(samples.len() + samples_in(self.pause_ms), 0.0);
        push_faded(samples, sentence, samples_in(FADE_MS));
        self.pause_ms = SENTENCE_PAUSE_MS;
    }

    /// The sentences that follow belong to another paragraph.
    pub const fn end_paragraph(&mut self) {
        if self.pause_ms > 0 {
            self.pause_ms = PARAGRAPH_PAUSE_MS;
        }
    }
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
    use super::super::Audio;
    use super::*;

    const RATE: u32 = 1000;

    fn join(paragraphs: &[Vec<Vec<f32>>], sample_rate: u32) -> Audio {
        let mut samples = Vec::new();
        let mut joiner = Joiner::new(sample_rate);
        for paragraph in paragraphs {
            for sentence in paragraph {
                joiner.push(sentence, &mut samples);
            }
            joiner.end_paragraph();
        }
        Audio { sample_rate, samples }
    }

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
