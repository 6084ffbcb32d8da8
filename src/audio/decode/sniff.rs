//! What a file that is no recording is, from its first bytes.
//!
//! Decoders search for their marks anywhere in the first megabyte and so may
//! "find" MP3 inside a ZIP archive; what is plainly something else is therefore
//! refused before they see it, with a name its owner recognises.

/// Bytes that the functions here want to see.
pub const HEAD: usize = 512;

/// First bytes of common files that are not sound.
const MARKS: [(&[u8], &str); 12] = [
    (b"PK\x03\x04", "a ZIP archive or an office document"),
    (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"\x7fELF", "a program"),
    (b"SQLite format 3", "a database"),
    (b"GGUF", "a language model"),
];

/// Names the file when its `head` marks it as something that is surely no sound.
pub fn not_audio(head: &[u8]) -> Option<&'static str> {
    if head.is_empty() {
        return Some("an empty file");
    }
    if let Some((_, name)) = MARKS.iter().find(|(mark, _)| head.starts_with(mark)) {
        return Some(name);
    }
    let text = text(head)?;
    let start = text.trim_start_matches('\u{feff}').trim_start().to_ascii_lowercase();
    if start.starts_with("<!doctype html") || start.starts_with("<html") {
        Some("a web page")
    } else if start.starts_with("<?xml") || start.starts_with("<svg") {
        Some("an XML document")
    } else {
        Some("a text")
    }
}

/// First bytes of the containers of sound, after so many bytes.
const CONTAINERS: [(usize, &[u8], &str); 9] = [
    (0, b"RIFF", "WAV"),
    (0, b"FORM", "AIFF"),
    (0, b"caff", "CAF"),
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "Ogg"),
    (0, b"\x1aE\xdf\xa3", "WebM"),
    (4, b"ftyp", "MP4"),
    (4, b"moov", "MP4"),
    (0, b"ID3", "MP3"),
];

/// Names the container that the file's `head` announces.
pub fn container(head: &[u8]) -> Option<&'static str> {
    let fits = |(offset, mark, _): &&(usize, &[u8], &str)| {
        head.get(*offset..).is_some_and(|rest| rest.starts_with(mark))
    };
    CONTAINERS.iter().find(fits).map(|(_, _, name)| *name)
}

/// Names a file in which no decoder recognised anything.
pub fn unknown(head: &[u8]) -> &'static str {
    if head.iter().all(|&byte| byte == 0) { "a file of zeros" } else { "data of no known kind" }
}

/// The head as text, when it is one. A character cut off at the end is forgiven.
fn text(head: &[u8]) -> Option<&str> {
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if head.len() - error.valid_up_to() < 4 && error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    // Marks of containers such as `RIFF` or `fLaC` are readable too, but the
    // numbers after them are not.
    let readable = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\x0c');
    (valid.len() >= 2 && valid.chars().all(readable)).then_some(valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_files_are_called_by_their_names() {
        assert_eq!(not_audio(b""), Some("an empty file"));
        assert_eq!(not_audio(b"\n <!DOCTYPE HTML><p>"), Some("a web page"));
        assert_eq!(not_audio("Grüße an alle".as_bytes()), Some("a text"));
        assert_eq!(not_audio(b"PK\x03\x04\x14\0"), Some("a ZIP archive or an office document"));
    }

    #[test]
    fn recordings_pass() {
        for head in [
            &b"RIFF\x24\x08\0\0WAVEfmt \x10\0\0\0"[..],
            b"fLaC\0\0\0\x22",
            b"OggS\0\x02\0\0",
            b"\x1aE\xdf\xa3",
            b"\0\0\0\x20ftypM4A ",
            b"ID3\x04\0\0",
            b"\xff\xfb\x90\x64",
            b"FORM\0\0\0\x10AIFFCOMM",
        ] {
            assert_eq!(not_audio(head), None, "{head:?}");
            let is_bare_mp3 = head.starts_with(b"\xff");
            assert_eq!(container(head).is_none(), is_bare_mp3, "{head:?}");
        }
    }

    #[test]
    fn a_text_cut_within_a_character_is_a_text() {
        let bytes = "été à Orléans".as_bytes();
        assert_eq!(not_audio(&bytes[..bytes.len() - 6]), Some("a text"));
        assert_eq!(not_audio(&bytes[..4]), Some("a text"));
    }
}
