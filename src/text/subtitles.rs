//! A transcript as subtitles.
//!
//! Called by `web`. SubRip has no standard; WebVTT is that of the W3C.

use std::fmt::Write as _;

use super::{Segment, Transcript};

/// `transcript` as SubRip (`.srt`).
#[must_use]
pub fn srt(transcript: &Transcript) -> String {
    let mut file = String::new();
    for (index, cue) in cues(transcript).iter().enumerate() {
        let (start, end) = (time(cue.start_ms, ','), time(cue.end_ms, ','));
        let _ = write!(file, "{}\n{start} --> {end}\n{}\n\n", index + 1, cue.text);
    }
    file
}

/// `transcript` as WebVTT (`.vtt`).
#[must_use]
pub fn vtt(transcript: &Transcript) -> String {
    let mut file = "WEBVTT\n\n".to_owned();
    for cue in cues(transcript) {
        let (start, end) = (time(cue.start_ms, '.'), time(cue.end_ms, '.'));
        let text = cue.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = write!(file, "{start} --> {end}\n{text}\n\n");
    }
    file
}

/// What is shown at once: the segments, but those without any length join the one before,
/// because players show nothing for no time.
fn cues(transcript: &Transcript) -> Vec<Segment> {
    let mut cues: Vec<Segment> = Vec::new();
    for segment in &transcript.segments {
        // An empty line would end the cue.
        let text = segment.text.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            continue;
        }
        match cues.last_mut() {
            Some(last) if segment.end_ms <= segment.start_ms => {
                last.text.push(' ');
                last.text.push_str(&text);
            }
            _ => {
                let end_ms = segment.end_ms.max(segment.start_ms + 1);
                cues.push(Segment { start_ms: segment.start_ms, end_ms, text });
            }
        }
    }
    cues
}

/// Hours, minutes, seconds and milliseconds. The hours have two digits or as many as they need.
fn time(ms: u64, separator: char) -> String {
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}{separator}{:03}", ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(segments: &[(u64, u64, &str)]) -> Transcript {
        let segment = |&(start_ms, end_ms, text): &(u64, u64, &str)| Segment {
            start_ms,
            end_ms,
            text: text.to_owned(),
        };
        let segments = segments.iter().map(segment).collect();
        Transcript { language: "en".to_owned(), text: String::new(), segments }
    }

    #[test]
    fn subrip_numbers_its_cues_and_writes_a_comma() {
        let file = srt(&transcript(&[(0, 1200, "One."), (3_723_004, 3_724_050, "Two & three.")]));
        assert_eq!(
            file,
            "1\n00:00:00,000 --> 00:00:01,200\nOne.\n\n\
             2\n01:02:03,004 --> 01:02:04,050\nTwo & three.\n\n"
        );
    }

    #[test]
    fn webvtt_has_a_header_a_point_and_no_markup() {
        let file = vtt(&transcript(&[(500, 360_000_000, "a <b> --> c & d")]));
        assert_eq!(
            file,
            "WEBVTT\n\n00:00:00.500 --> 100:00:00.000\na &lt;b&gt; --&gt; c &amp; d\n\n"
        );
    }

    #[test]
    fn no_cue_is_shown_for_no_time() {
        let file = srt(&transcript(&[(0, 900, "Well,"), (900, 900, "yes."), (900, 1500, " ")]));
        assert_eq!(file, "1\n00:00:00,000 --> 00:00:00,900\nWell, yes.\n\n");
        assert!(srt(&transcript(&[(5, 5, "Oh.")])).contains("00:00:00,005 --> 00:00:00,006"));
    }

    #[test]
    fn a_line_break_in_a_segment_does_not_end_its_cue() {
        assert!(vtt(&transcript(&[(0, 10, "one\n\ntwo")])).ends_with("one two\n\n"));
    }

    #[test]
    fn nothing_said_is_a_file_without_cues() {
        assert_eq!(srt(&Transcript::default()), "");
        assert_eq!(vtt(&Transcript::default()), "WEBVTT\n\n");
    }
}
