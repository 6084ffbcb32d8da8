//! Reads what whisper.cpp wrote down: text and times.

use whisper_rs::{WhisperContext, WhisperSegment, WhisperState, WhisperTokenId};

use super::plausible::without_annotations;
use crate::text::Segment;

/// Milliseconds between two timestamp tokens.
const TIMESTAMP_STEP_MS: u64 = 20;

/// How token numbers of a model are to be read: below `end_of_text` they are text,
/// from `first_timestamp` they are times, between them they steer the model.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary {
    end_of_text: WhisperTokenId,
    first_timestamp: WhisperTokenId,
}

/// Text with its start and end in milliseconds, as the model gave them.
type Piece = (u64, u64, String);

impl Vocabulary {
    /// The numbers of the model in `context`.
    pub fn of(context: &WhisperContext) -> Self {
        Self { end_of_text: context.token_eot(), first_timestamp: context.token_beg() }
    }

    /// The result of a run in one pass, which whisper.cpp leaves in one segment:
    /// parted where the model said a time.
    pub fn one_pass(self, state: &WhisperState, duration_ms: u64) -> Vec<Segment> {
        let pieces = state.as_iter().flat_map(|segment| self.part(&segment, duration_ms));
        tidy(pieces, duration_ms)
    }

    fn part(self, segment: &WhisperSegment<'_>, duration_ms: u64) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut start_ms = 0;
        // A character may be spread over several tokens.
        let mut bytes = Vec::new();
        let mut close = |bytes: &mut Vec<u8>, start_ms, end_ms| {
            if !bytes.is_empty() {
                pieces.push((start_ms, end_ms, String::from_utf8_lossy(bytes).into_owned()));
                bytes.clear();
            }
        };
        for token in (0..segment.n_tokens()).filter_map(|index| segment.get_token(index)) {
            let id = token.token_id();
            if id >= self.first_timestamp {
                let steps = (id - self.first_timestamp).unsigned_abs();
                let time_ms = u64::from(steps) * TIMESTAMP_STEP_MS;
                close(&mut bytes, start_ms, time_ms);
                start_ms = time_ms;
            } else if id < self.end_of_text {
                bytes.extend_from_slice(token.to_bytes().unwrap_or_default());
            }
        }
        close(&mut bytes, start_ms, duration_ms);
        pieces
    }
}

/// The result of a run in as many passes as whisper.cpp thought fit.
pub fn many_passes(state: &WhisperState, duration_ms: u64) -> Vec<Segment> {
    // whisper.cpp counts hundredths of a second.
    let milliseconds = |hundredths: i64| hundredths.max(0).unsigned_abs() * 10;
    let pieces = state.as_iter().filter_map(|segment| {
        let said = segment.to_str_lossy().ok()?.into_owned();
        Some((milliseconds(segment.start_timestamp()), milliseconds(segment.end_timestamp()), said))
    });
    tidy(pieces, duration_ms)
}

/// Segments without notes such as `[MUSIC]`, with times that lie within the
/// recording and follow one another. What begins after its end was never said.
fn tidy(pieces: impl Iterator<Item = Piece>, duration_ms: u64) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    for (start_ms, end_ms, said) in pieces {
        let text = without_annotations(&said);
        if text.is_empty() || start_ms >= duration_ms {
            continue;
        }
        let earliest_ms = segments.last().map_or(0, |last| last.end_ms);
        let start_ms = start_ms.max(earliest_ms);
        let end_ms = end_ms.min(duration_ms).max(start_ms);
        segments.push(Segment { start_ms, end_ms, text });
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(start_ms: u64, end_ms: u64, said: &str) -> Piece {
        (start_ms, end_ms, said.to_owned())
    }

    #[test]
    fn times_follow_one_another_and_end_with_the_recording() {
        let pieces =
            [piece(0, 1200, " One,"), piece(1100, 900, " two"), piece(2000, 9000, " three.")];
        let times: Vec<_> =
            tidy(pieces.into_iter(), 3000).iter().map(|s| (s.start_ms, s.end_ms)).collect();
        assert_eq!(times, [(0, 1200), (1200, 1200), (2000, 3000)]);
    }

    #[test]
    fn what_begins_after_the_end_was_never_said() {
        let pieces = [piece(0, 900, " Yes."), piece(1000, 1500, " Thank you for watching.")];
        let segments = tidy(pieces.into_iter(), 1000);
        assert_eq!(segments, [Segment { start_ms: 0, end_ms: 900, text: "Yes.".to_owned() }]);
    }
}
