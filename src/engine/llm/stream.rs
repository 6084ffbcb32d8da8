//! Turning a stream of token bytes into text that can be shown at once.
//!
//! Used by `generate`. Nothing is handed out that might have to be taken back:
//! neither half a character nor the beginning of a stop string.

/// Collects bytes and hands out text.
pub(super) struct TextStream<'a> {
    stop: &'a [String],
    text: String,
    /// Bytes of a character that is not complete yet.
    pending: Vec<u8>,
    /// How much of `text` was handed out.
    shown: usize,
    stopped: bool,
}

impl<'a> TextStream<'a> {
    /// A stream that ends before the first of the `stop` strings.
    pub fn new(stop: &'a [String]) -> Self {
        Self { stop, text: String::new(), pending: Vec::new(), shown: 0, stopped: false }
    }

    /// Adds the bytes of one token and returns the text that is now certain.
    pub fn push(&mut self, bytes: &[u8]) -> &str {
        self.pending.extend_from_slice(bytes);
        let searched = self.text.len();
        self.take_whole_characters();
        if let Some(at) = self.find_stop(searched) {
            self.text.truncate(at);
            self.stopped = true;
        }
        let from = self.shown;
        self.shown = if self.stopped { self.text.len() } else { self.certain() };
        &self.text[from..self.shown]
    }

    /// Whether a stop string came.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// What was still held back; half a character at the very end is dropped.
    pub fn finish(&mut self) -> &str {
        let from = self.shown;
        self.shown = self.text.len();
        &self.text[from..]
    }

    /// All the text.
    pub fn into_text(self) -> String {
        self.text
    }

    /// Moves whole characters from `pending` to `text`. Bytes that can never become a character
    /// are shown as U+FFFD.
    fn take_whole_characters(&mut self) {
        let mut kept = 0;
        for chunk in self.pending.utf8_chunks() {
            self.text.push_str(chunk.valid());
            kept += chunk.valid().len();
            let invalid = chunk.invalid();
            let unfinished = kept + invalid.len() == self.pending.len() && is_prefix(invalid);
            if !invalid.is_empty() && !unfinished {
                self.text.push(char::REPLACEMENT_CHARACTER);
                kept += invalid.len();
            }
        }
        self.pending.drain(..kept);
    }

    /// Where the first stop string begins, if one ends in the text after `searched`.
    fn find_stop(&self, searched: usize) -> Option<usize> {
        let longest = self.stop.iter().map(String::len).max()?;
        let from = self.text.floor_char_boundary(searched.saturating_sub(longest));
        self.stop
            .iter()
            .filter(|stop| !stop.is_empty())
            .filter_map(|stop| self.text[from..].find(stop.as_str()))
            .min()
            .map(|at| from + at)
    }

    /// Length of the text that no stop string can still reach back into.
    fn certain(&self) -> usize {
        let held = self
            .stop
            .iter()
            .flat_map(|stop| (1..stop.len()).filter_map(|length| stop.get(..length)))
            .filter(|beginning| self.text.ends_with(beginning))
            .map(str::len)
            .max()
            .unwrap_or(0);
        self.shown.max(self.text.len() - held)
    }
}

/// Whether `bytes` may be the beginning of a character whose rest is still to come.
fn is_prefix(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(stop: &[&str]) -> Vec<String> {
        stop.iter().map(|&s| s.to_owned()).collect()
    }

    #[test]
    fn half_a_character_waits_for_its_other_half() {
        let mut stream = TextStream::new(&[]);
        let bytes = "aé🙂".as_bytes();
        let shown: Vec<String> = bytes.iter().map(|&b| stream.push(&[b]).to_owned()).collect();
        assert_eq!(shown, ["a", "", "é", "", "", "", "🙂"]);
    }

    #[test]
    fn bytes_that_are_no_character_are_replaced_and_the_rest_is_kept() {
        let mut stream = TextStream::new(&[]);
        assert_eq!(stream.push(b"a\xFFb\xC3"), "a\u{FFFD}b");
        assert_eq!(stream.push(b"("), "\u{FFFD}(");
    }

    #[test]
    fn half_a_character_at_the_end_is_dropped() {
        let mut stream = TextStream::new(&[]);
        assert_eq!(stream.push(b"ok\xF0\x9F"), "ok");
        assert_eq!(stream.finish(), "");
        assert_eq!(stream.into_text(), "ok");
    }

    #[test]
    fn text_ends_before_a_stop_string_even_when_it_comes_in_pieces() {
        let stop = stops(&["\n\nUser:"]);
        let mut stream = TextStream::new(&stop);
        assert_eq!(stream.push(b"Fine.\n"), "Fine.");
        assert_eq!(stream.push(b"\nUs"), "");
        assert_eq!(stream.push(b"er: more"), "");
        assert!(stream.stopped());
        assert_eq!(stream.into_text(), "Fine.");
    }

    #[test]
    fn what_only_looked_like_a_stop_string_is_shown_after_all() {
        let stop = stops(&["END"]);
        let mut stream = TextStream::new(&stop);
        assert_eq!(stream.push(b"an EN"), "an ");
        assert_eq!(stream.push(b"gine E"), "ENgine ");
        assert_eq!(stream.finish(), "E");
    }

    #[test]
    fn the_earliest_of_several_stop_strings_counts() {
        let stop = stops(&["b", "", "é"]);
        let mut stream = TextStream::new(&stop);
        assert_eq!(stream.push("aéb".as_bytes()), "a");
        assert!(stream.stopped());
    }
}
