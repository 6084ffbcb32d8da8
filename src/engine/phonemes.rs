//! Text to IPA phonemes with espeak-ng, clause by clause, punctuation kept.
//!
//! Called by the voices; [`init`] by `cli` at start. espeak-ng keeps global
//! state, so one lock guards it and the voices take turns.
//!
//! The library `espeak-ng` is driven through its C interface, because the safe
//! wrapper `espeak-rs` finds its data only through an environment variable and
//! drops the punctuation that makes a voice pause.

use std::ffi::{CStr, CString, c_char, c_void};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use espeak_rs_sys as espeak;

use super::EngineError;
use crate::text::spoken;

/// Ties letters that are one sound, such as the two of an affricate or a diphthong.
pub const TIE: char = '\u{361}';

/// Asks for IPA with [`TIE`]: bit 1 is IPA, bit 7 says that bits 8 and up are a tie.
const PHONEME_MODE: i32 = 0x02 | 0x80 | ((TIE as i32) << 8);

/// Marks at which espeak-ng may end a clause, as they appear in [`Clause::end`].
const MARKS: [char; 8] = ['.', ',', ';', ':', '!', '?', '—', '…'];

/// What messages call the data folder.
const DATA: &str = "The pronunciation data (espeak-ng-data)";

/// The folder that espeak-ng was started with; `None` before [`init`].
static STARTED_WITH: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A stretch of text between two pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// IPA; words parted by single spaces, single sounds of two letters tied by [`TIE`].
    pub phonemes: String,
    /// The mark that ends the clause: one of `. , ; : ! ? — …`.
    pub end: char,
}

/// Starts espeak-ng with the folder `espeak-ng-data` inside `data_parent`.
///
/// Calling it again with the same folder does nothing.
///
/// # Errors
/// When the folder is absent or of another espeak-ng version, or when espeak-ng
/// already runs with another folder.
pub fn init(data_parent: &Path) -> Result<(), EngineError> {
    let mut started = STARTED_WITH.lock().unwrap_or_else(PoisonError::into_inner);
    let data = data_parent.join("espeak-ng-data");
    let missing = || EngineError::Missing { what: DATA.into(), path: data.clone() };
    if !data.join("phontab").is_file() {
        return Err(missing());
    }
    let parent = data_parent.canonicalize().map_err(|_| missing())?;
    if let Some(running) = started.as_ref() {
        return if *running == parent {
            Ok(())
        } else {
            Err(EngineError::load(DATA, format_args!("{} is in use already", running.display())))
        };
    }
    let path = CString::new(parent.as_os_str().as_encoded_bytes())
        .map_err(|_| EngineError::load(DATA, "its path holds a NUL character"))?;
    // SAFETY: the lock makes this the only call into espeak-ng; the path outlives it.
    let sample_rate = unsafe {
        espeak::espeak_Initialize(
            espeak::espeak_AUDIO_OUTPUT_AUDIO_OUTPUT_RETRIEVAL,
            0,
            path.as_ptr(),
            espeak::espeakINITIALIZE_DONT_EXIT as i32,
        )
    };
    if sample_rate <= 0 {
        return Err(EngineError::load(DATA, "it does not fit this version of espeak-ng"));
    }
    *started = Some(parent);
    Ok(())
}

/// The phonemes of `text`, spoken by espeak-ng's `voice`, such as `en-us` or `fr`.
///
/// Text without a letter or digit gives no clause. Marks that espeak-ng adds where
/// it changes language, such as `(en)`, are left out.
///
/// # Errors
/// When [`init`] has not succeeded or espeak-ng has no such voice.
pub fn phonemes(text: &str, voice: &str) -> Result<Vec<Clause>, EngineError> {
    let started = STARTED_WITH.lock().unwrap_or_else(PoisonError::into_inner);
    if started.is_none() {
        return Err(EngineError::load(DATA, "espeak-ng has not been started"));
    }
    let name = CString::new(voice).unwrap_or_default();
    // SAFETY: the lock is held and espeak-ng started; the name outlives the call.
    let status = unsafe { espeak::espeak_SetVoiceByName(name.as_ptr()) };
    if status != espeak::espeak_ERROR_EE_OK {
        return Err(EngineError::UnsupportedLanguage(format!(
            "The pronunciation data has no language `{voice}`."
        )));
    }
    let prepared = spoken::prepare(text, voice);
    let c_text = CString::new(prepared).map_err(|error| EngineError::run("Phonemising", error))?;
    Ok(translate(&c_text))
}

/// Runs espeak-ng over `text`. The caller holds the lock and has set the voice.
fn translate(text: &CStr) -> Vec<Clause> {
    let start: *const c_char = text.as_ptr();
    let bytes = text.to_bytes();
    let mut clauses = Vec::new();
    let mut from = 0;
    while from < bytes.len() {
        // SAFETY: `from` is within the text, so this is a position of the same string.
        let mut next: *const c_void = unsafe { start.add(from) }.cast();
        // SAFETY: `next` points into a NUL-terminated string that outlives the call;
        // espeak-ng moves it behind the clause it has read, or to null at the end.
        let spoken = unsafe {
            espeak::espeak_TextToPhonemes(
                &raw mut next,
                espeak::espeakCHARS_UTF8 as i32,
                PHONEME_MODE,
            )
        };
        let to = if next.is_null() {
            bytes.len()
        } else {
            // SAFETY: both pointers are positions of the same string.
            unsafe { next.cast::<c_char>().offset_from(start) as usize }.min(bytes.len())
        };
        if !spoken.is_null() {
            // SAFETY: a NUL-terminated string that stays valid until the next call.
            let ipa = unsafe { CStr::from_ptr(spoken) }.to_string_lossy();
            let read = String::from_utf8_lossy(&bytes[from..to]);
            push(&mut clauses, &without_language_marks(&ipa), &read, to == bytes.len());
        }
        if to <= from && !next.is_null() {
            // espeak-ng always moves on; should it not, stopping beats looping.
            break;
        }
        from = to;
    }
    clauses
}

/// Adds a clause; one without a sound only ends the clause before it.
fn push(clauses: &mut Vec<Clause>, ipa: &str, read: &str, last: bool) {
    let phonemes = ipa.split_whitespace().collect::<Vec<_>>().join(" ");
    if phonemes.is_empty() {
        return;
    }
    // A clause that no mark ends was cut for its length, or the text stops there.
    let end = end_mark(read, last).unwrap_or(if last { '.' } else { ',' });
    clauses.push(Clause { phonemes, end });
}

/// The mark at the end of the stretch that espeak-ng has read for a clause.
///
/// Behind the mark espeak-ng may have read quotes, brackets, spaces and the first
/// letter of the next clause.
fn end_mark(read: &str, last: bool) -> Option<char> {
    let mut read = read.trim_end();
    if !last {
        read = read.strip_suffix(char::is_alphanumeric).unwrap_or(read);
    }
    let read = read.trim_end_matches(|c: char| !c.is_alphanumeric() && !MARKS.contains(&c));
    let run = &read[read.trim_end_matches(MARKS).len()..];
    // Of several marks the strongest counts: `?!` is a question, `...` an ellipsis.
    ['?', '!'].into_iter().find(|&mark| run.contains(mark)).or_else(|| {
        if run.contains('…') || run.ends_with("..") { Some('…') } else { run.chars().next() }
    })
}

/// Drops `(en)` and the like, which espeak-ng puts where it changes language.
fn without_language_marks(ipa: &str) -> String {
    let mut inside = false;
    ipa.chars()
        .filter(|&c| match c {
            '(' => {
                inside = true;
                false
            }
            ')' => {
                inside = false;
                false
            }
            _ => !inside,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_found_behind_quotes_and_before_the_next_letter() {
        assert_eq!(end_mark("Hello, w", false), Some(','));
        assert_eq!(end_mark(" she said (really) — a", false), Some('—'));
        assert_eq!(end_mark("\"No way,\" s", false), Some(','));
        assert_eq!(end_mark("Comment ça va ? » d", false), Some('?'));
        assert_eq!(end_mark("what?! Y", false), Some('?'));
        assert_eq!(end_mark("Wait... w", false), Some('…'));
        assert_eq!(end_mark("the end", true), None);
        assert_eq!(end_mark("a very long clause that was cut, somewhere els", false), None);
    }

    #[test]
    fn language_marks_are_dropped_with_their_ties() {
        assert_eq!(
            without_language_marks("(\u{361}e\u{361}n)wiːkˈɛnd(\u{361}f\u{361}r)"),
            "wiːkˈɛnd"
        );
    }
}
