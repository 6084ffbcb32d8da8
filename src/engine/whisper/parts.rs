//! Long recordings in parts that fit into the model's window, cut where nobody speaks.
//!
//! whisper.cpp can go through a long recording by itself, 30 s at a time, but then it also
//! listens to the silence, in which it hears words, and a time that it gets wrong once is
//! wrong for the rest.

use std::ops::Range;

use crate::audio::SPEECH_RATE;

const RATE: usize = SPEECH_RATE as usize;

/// A recording up to this length fits into one window and stays whole.
const WHOLE: usize = 30 * RATE;
/// Longest part: the window, less what is added around the speech.
pub(super) const LONGEST: usize = 28 * RATE;
/// Speech without a pause is cut at its quietest moment between this and [`LONGEST`].
const EARLIEST_CUT: usize = 18 * RATE;
/// A longer pause ends a part: 1.5 s. Across one the model loses its sense of time, and at
/// times the words before it.
const LONGEST_PAUSE: usize = RATE * 3 / 2;
/// Kept of the pause before and after a part: 300 ms.
const AROUND: usize = RATE * 3 / 10;
/// Length over which a moment's loudness is measured: 50 ms.
const MOMENT: usize = RATE / 20;

/// Cuts `samples` into parts in order of time, given the stretches in which somebody speaks.
///
/// Long silence belongs to no part. Parts do not overlap.
pub(super) fn cut(samples: &[f32], speech: &[Range<usize>]) -> Vec<Range<usize>> {
    if samples.len() <= WHOLE {
        let whole = (!speech.is_empty()).then_some(0..samples.len());
        return whole.into_iter().collect();
    }
    let mut parts: Vec<Range<usize>> = Vec::new();
    for stretch in speech {
        match parts.last_mut() {
            Some(part)
                if stretch.end - part.start <= LONGEST
                    && stretch.start - part.end <= LONGEST_PAUSE =>
            {
                part.end = stretch.end;
            }
            _ => parts.extend(without_pause(samples, stretch.clone())),
        }
    }
    widen(&mut parts, samples.len());
    parts
}

/// `stretch` in pieces of at most [`LONGEST`], cut where it is quietest.
fn without_pause(samples: &[f32], mut stretch: Range<usize>) -> Vec<Range<usize>> {
    let mut pieces = Vec::new();
    while stretch.len() > LONGEST {
        let candidates = &samples[stretch.start + EARLIEST_CUT..stretch.start + LONGEST];
        let power = |moment: &[f32]| moment.iter().map(|sample| sample * sample).sum::<f32>();
        let quietest = candidates
            .chunks_exact(MOMENT)
            .enumerate()
            .min_by(|(_, a), (_, b)| power(a).total_cmp(&power(b)))
            .map_or(0, |(index, _)| index);
        let at = stretch.start + EARLIEST_CUT + quietest * MOMENT + MOMENT / 2;
        pieces.push(stretch.start..at);
        stretch.start = at;
    }
    pieces.push(stretch);
    pieces
}

/// Adds [`AROUND`] at either end, or half of the pause where that is shorter.
fn widen(parts: &mut [Range<usize>], len: usize) {
    let mut before = 0;
    for index in 0..parts.len() {
        let next = parts.get(index + 1).map_or(len, |next| next.start);
        let part = &mut parts[index];
        let end = part.end;
        part.start -= AROUND.min(part.start - before);
        let pause = next - end;
        part.end += if next == len { AROUND.min(pause) } else { AROUND.min(pause / 2) };
        before = part.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds as samples.
    fn s(seconds: f64) -> usize {
        (seconds * RATE as f64) as usize
    }

    fn cut_seconds(len: f64, speech: &[(f64, f64)]) -> Vec<(f64, f64)> {
        let speech: Vec<_> = speech.iter().map(|&(start, end)| s(start)..s(end)).collect();
        let seconds = |samples: usize| samples as f64 / RATE as f64;
        cut(&vec![0.0; s(len)], &speech)
            .into_iter()
            .map(|part| (seconds(part.start), seconds(part.end)))
            .collect()
    }

    #[test]
    fn a_recording_that_fits_into_the_window_stays_whole() {
        assert_eq!(cut_seconds(30.0, &[(2.0, 3.0), (20.0, 21.0)]), [(0.0, 30.0)]);
    }

    #[test]
    fn a_recording_without_speech_has_no_parts() {
        assert_eq!(cut_seconds(10.0, &[]), []);
        assert_eq!(cut_seconds(100.0, &[]), []);
    }

    #[test]
    fn parts_are_as_long_as_fits_and_end_in_pauses() {
        let speech = [(1.0, 10.0), (11.0, 20.0), (20.5, 31.0), (32.5, 33.0), (40.0, 41.0)];
        let parts = [(0.7, 20.25), (20.25, 33.3), (39.7, 41.3)];
        assert_eq!(cut_seconds(60.0, &speech), parts);
    }

    #[test]
    fn long_silence_is_left_out() {
        assert_eq!(
            cut_seconds(3600.0, &[(0.1, 5.0), (3590.0, 3599.9)]),
            [(0.0, 5.3), (3589.7, 3600.0)]
        );
    }

    #[test]
    fn speech_without_a_pause_is_cut_where_it_is_quietest() {
        let mut samples = vec![0.5; s(60.0)];
        samples[s(22.0)..s(22.1)].fill(0.01);
        let all = 0..samples.len();
        let parts = cut(&samples, std::slice::from_ref(&all));
        assert!((s(22.0)..s(22.1)).contains(&parts[0].end), "{parts:?}");
        assert_eq!(parts[0].start, 0);
        assert_eq!(parts.last().map(|part| part.end), Some(samples.len()));
        assert!(parts.windows(2).all(|two| two[0].end == two[1].start), "{parts:?}");
        assert!(parts.iter().all(|part| part.len() <= WHOLE), "{parts:?}");
    }
}
