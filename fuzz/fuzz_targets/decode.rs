//! Any bytes as a recording: the decoder answers with sound or an error, soon, and within
//! the memory that script/fuzz allows.
#![no_main]

use std::cell::RefCell;
use std::io::{Seek, SeekFrom, Write};

use libfuzzer_sys::fuzz_target;
use tempfile::NamedTempFile;

#[allow(dead_code, unused_imports, reason = "the target decodes only")]
#[path = "../../src/audio/mod.rs"]
mod audio;

thread_local! {
    /// Written anew for every input.
    static FILE: RefCell<NamedTempFile> =
        RefCell::new(NamedTempFile::new().expect("a temporary file"));
}

fuzz_target!(
    init: {
        // The decoder turns panics of the demuxers into errors. Only one that gets out ends
        // the search, which the library's own hook would do at any.
        std::panic::set_hook(Box::new(|_| {}));
    },
    |bytes: &[u8]| decode(bytes)
);

fn decode(bytes: &[u8]) {
    FILE.with_borrow_mut(|file| {
        let out = file.as_file_mut();
        out.seek(SeekFrom::Start(0)).expect("rewound");
        out.set_len(0).expect("emptied");
        out.write_all(bytes).expect("written");
        // What is longer than a minute is stopped; how that is done for an hour is the same.
        let limits = audio::DecodeLimits { max_audio_s: 60 };
        // That one of them refuses what the other takes is no fault: the beginning may be
        // damaged and the rest good.
        let _ = audio::probe(file.path());
        if let Ok(sound) = audio::decode(file.path(), &limits)
            && let Some(sample) = sound.samples.iter().find(|sample| !sample.is_finite())
        {
            // Not by a panic, whose reason the silent hook would swallow.
            eprintln!("a sample is {sample}");
            std::process::abort();
        }
    });
}
