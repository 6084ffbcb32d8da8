//! The parts of a long recording, two at a time.
//!
//! Two threads that work at one part wait for each other at every step of the decoder; with a part
//! for each they do not, for the memory of one more run (docs/BENCHMARKS.md).

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use super::{Whisper, parts};
use crate::audio::{Audio, SPEECH_RATE};
use crate::engine::{Control, EngineError, Progress};
use crate::text::Transcript;

/// Parts that are written down side by side where the threads suffice.
pub(super) const LANES: usize = 2;

impl Whisper {
    /// Writes down what is said in the stretches `speech` of `audio`, which may be hours
    /// long. Times are those of the whole recording; progress, too, in which silence counts as
    /// done with the speech beside it.
    ///
    /// # Errors
    /// As [`Whisper::transcribe`]; [`EngineError::NoSpeech`] only when nothing is said in
    /// any stretch.
    pub fn transcribe_speech(
        &self,
        audio: &Audio,
        speech: &[Range<usize>],
        language: Option<&str>,
        control: &Control<'_>,
    ) -> Result<Transcript, EngineError> {
        let parts = parts::cut(&audio.samples, speech);
        let written = Mutex::new(Written::new(&parts, audio.duration_ms(), control));
        let one = |at: usize, language: Option<&str>, threads: usize| {
            self.write_down(audio, at, language, threads, &written, control)
        };

        let order = order(&parts, self.lanes);
        let mut language = language.map(str::to_owned);
        let mut first = 0;
        while first < order.len() {
            // What the first part was found to be in, the others are in too.
            let is_known = language.is_some() || !self.is_multilingual();
            if is_known && comes_out_even(&parts, &order[first..], self.lanes) {
                break;
            }
            if let Some(found) = one(order[first], language.as_deref(), self.threads)? {
                language.get_or_insert(found);
            }
            first += 1;
        }

        let (next, stopped) = (AtomicUsize::new(first), AtomicBool::new(false));
        let span = tracing::Span::current();
        let lane = || {
            span.in_scope(|| {
                while !stopped.load(Ordering::Relaxed) {
                    let next = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&at) = order.get(next) else { break };
                    let done = one(at, language.as_deref(), self.threads / self.lanes);
                    if let Err(error) = done {
                        stopped.store(true, Ordering::Relaxed);
                        return Err(error);
                    }
                }
                Ok(())
            })
        };
        thread::scope(|scope| {
            let lanes: Vec<_> = (1..self.lanes).map(|_| scope.spawn(lane)).collect();
            let own = lane();
            let others = lanes.into_iter().map(|lane| match lane.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            others.fold(own, Result::and)
        })?;

        let whole = written.into_inner().whole;
        if whole.segments.is_empty() { Err(EngineError::NoSpeech) } else { Ok(whole) }
    }

    /// Writes down the part number `at`. Gives the language of what is said, if anything is.
    fn write_down(
        &self,
        audio: &Audio,
        at: usize,
        language: Option<&str>,
        threads: usize,
        written: &Mutex<Written<'_>>,
        control: &Control<'_>,
    ) -> Result<Option<String>, EngineError> {
        control.cancel.check()?;
        let report = |news: Progress| {
            if let Progress::Fraction { done, .. } = news {
                written.lock().advance(at, done);
            }
        };
        let within = Control { cancel: control.cancel, progress: &report };
        let part = written.lock().parts[at].clone();
        let samples = audio.samples[part].to_vec();
        let sound = Audio { sample_rate: audio.sample_rate, samples };
        let found = match self.transcribe_with(threads, &sound, language, &within) {
            Ok(found) => found,
            Err(EngineError::NoSpeech) => Transcript::default(),
            Err(error) => return Err(error),
        };
        let language = (!found.segments.is_empty()).then(|| found.language.clone());
        written.lock().finish(at, found);
        Ok(language)
    }
}

/// The parts in the order in which they are written down: that of time, but short ones last, which
/// fill what time is left in a lane.
fn order(parts: &[Range<usize>], lanes: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..parts.len()).collect();
    if lanes > 1 {
        order.sort_by_key(|&at| !is_long(&parts[at]));
    }
    order
}

/// Whether no long part, and no only one, would have a lane for itself at the end.
fn comes_out_even(parts: &[Range<usize>], left: &[usize], lanes: usize) -> bool {
    let long = left.iter().filter(|&&at| is_long(&parts[at])).count();
    left.len() > 1 && long.is_multiple_of(lanes)
}

fn is_long(part: &Range<usize>) -> bool {
    part.len() >= parts::LONGEST / 2
}

/// What has been written down, and how far each part is.
struct Written<'a> {
    parts: &'a [Range<usize>],
    /// Length of the recording.
    total_ms: u64,
    control: &'a Control<'a>,
    /// Of each part.
    done_ms: Vec<u64>,
    /// Parts that are done, and wait for one before them.
    waiting: Vec<Option<Transcript>>,
    /// How many parts `whole` has.
    count: usize,
    whole: Transcript,
}

impl<'a> Written<'a> {
    fn new(parts: &'a [Range<usize>], total_ms: u64, control: &'a Control<'a>) -> Self {
        Self {
            parts,
            total_ms,
            control,
            done_ms: vec![0; parts.len()],
            waiting: vec![None; parts.len()],
            count: 0,
            whole: Transcript::default(),
        }
    }

    /// So much of a part is done. The model may go through it a second time, but progress never
    /// goes back.
    fn advance(&mut self, part: usize, done_ms: u64) {
        let length_ms = milliseconds(self.parts[part].len());
        self.done_ms[part] = self.done_ms[part].max(done_ms.min(length_ms));
        let done: u64 = self.done_ms.iter().sum();
        let all: u64 = self.parts.iter().map(|part| milliseconds(part.len())).sum();
        let done_ms = self.total_ms * done / all.max(1);
        self.control.report(done_ms as usize, self.total_ms as usize);
    }

    /// A part is done: it and those that waited for it are added in their order, and said for
    /// whoever wants to read along.
    fn finish(&mut self, part: usize, found: Transcript) {
        self.waiting[part] = Some(found);
        while let Some(found) = self.waiting.get_mut(self.count).and_then(Option::take) {
            let offset_ms = milliseconds(self.parts[self.count].start);
            self.count += 1;
            if found.segments.is_empty() {
                continue;
            }
            let gap = if self.whole.text.is_empty() { "" } else { " " };
            self.control.say(&format!("{gap}{}", found.text));
            append(&mut self.whole, found, offset_ms);
        }
        self.advance(part, u64::MAX);
    }
}

fn milliseconds(samples: usize) -> u64 {
    (samples * 1000 / SPEECH_RATE as usize) as u64
}

/// Adds `part`, which begins at `offset_ms`, to the end of `whole`.
fn append(whole: &mut Transcript, part: Transcript, offset_ms: u64) {
    if whole.segments.is_empty() {
        whole.language = part.language;
    } else {
        whole.text.push(' ');
    }
    whole.text.push_str(&part.text);
    whole.segments.extend(part.segments.into_iter().map(|mut segment| {
        segment.start_ms += offset_ms;
        segment.end_ms += offset_ms;
        segment
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Cancel;
    use crate::text::Segment;

    fn part(text: &str) -> Transcript {
        Transcript {
            language: "en".to_owned(),
            text: text.to_owned(),
            segments: vec![Segment { start_ms: 100, end_ms: 900, text: text.to_owned() }],
        }
    }

    #[test]
    fn short_parts_come_last_and_long_ones_two_at_a_time() {
        let second = SPEECH_RATE as usize;
        let parts =
            [27, 5, 26, 25, 13].map(|seconds| seconds * second).map(|length| 0..length).to_vec();
        assert_eq!(order(&parts, 1), [0, 1, 2, 3, 4]);
        let order = order(&parts, 2);
        assert_eq!(order, [0, 2, 3, 1, 4]);
        assert!(!comes_out_even(&parts, &order, 2));
        assert!(comes_out_even(&parts, &order[1..], 2));
        assert!(comes_out_even(&parts, &order[3..], 2));
        assert!(!comes_out_even(&parts, &order[4..], 2));
    }

    #[test]
    fn parts_stand_in_their_order_and_with_the_times_of_the_whole_recording() {
        let news = Mutex::new(Vec::new());
        let progress = |it: Progress| news.lock().push(it);
        let control = Control { cancel: &Cancel::default(), progress: &progress };
        let second = SPEECH_RATE as usize;
        let parts = [0..10 * second, 60 * second..80 * second, 90 * second..100 * second];
        let mut written = Written::new(&parts, 100_000, &control);
        written.finish(1, part("Two."));
        written.advance(2, 5_000);
        written.advance(2, 1_000);
        written.finish(0, part("One."));
        written.finish(2, Transcript::default());

        let whole = written.whole;
        assert_eq!((whole.language.as_str(), whole.text.as_str()), ("en", "One. Two."));
        let times: Vec<_> = whole.segments.iter().map(|it| (it.start_ms, it.end_ms)).collect();
        assert_eq!(times, [(100, 900), (60_100, 60_900)]);
        let fraction = |done| Progress::Fraction { done, total: 100_000 };
        let text = |delta: &str| Progress::Text { delta: delta.to_owned() };
        let expected = [
            fraction(50_000),
            fraction(62_500),
            fraction(62_500),
            text("One."),
            text(" Two."),
            fraction(87_500),
            fraction(100_000),
        ];
        assert_eq!(news.into_inner(), expected);
    }
}
