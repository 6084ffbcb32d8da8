//! Recorded human speech with known text, and how far a transcript is from it.
//!
//! Five LibriVox clips (public domain) of Jane Austen's "Sense and Sensibility", 16 kHz
//! mono, from the source package of pocketsphinx 5.0.4; `script/fixtures` fetches them.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// File names of the clips, with the SHA-256 of each.
const CLIPS: [(&str, &str); 5] = [
    ("0870", "b0557cf95c974d930577e58e46b7f068c432a6e3afcc286563d88922b2a5315c"),
    ("0880", "fbec491ef00ee734a67f0ee318e98c51c157b479e1629ff4f4426861ecac0414"),
    ("0890", "5793ffbdee55fb8bfd284943a6866864c832d9d4accf2661cabd39915c84ee10"),
    ("0920", "40882414ef4cc51f3ff7a63bad0c8c87e7f595ffeb8209fbf756c8ebc5c28a59"),
    ("0930", "954adbf0b56ac8a148cbe77b39ca18d76b5f2a1e1f405565bd786ce3e68a68b7"),
];

/// A recording and what is said in it.
pub struct Clip {
    /// A 16 kHz mono WAV.
    pub path: PathBuf,
    /// Lower case, without punctuation.
    pub text: String,
}

/// The clips, their hashes checked.
///
/// # Panics
/// When a clip is missing or is not the one that is expected.
pub fn librivox() -> Vec<Clip> {
    let dir = super::cache_dir().join("fixtures").join("librivox");
    CLIPS.iter().map(|(number, sha256)| clip(&dir, number, sha256)).collect()
}

fn clip(dir: &Path, number: &str, sha256: &str) -> Clip {
    let path = dir.join(format!("sense_and_sensibility_01_austen_64kb-{number}.wav"));
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: run script/test", path.display()));
    let found: String = format!("{:x}", Sha256::digest(&bytes));
    assert_eq!(found, sha256, "{} is not the clip that is expected", path.display());
    let text = std::fs::read_to_string(path.with_extension("txt")).expect("a text beside the clip");
    Clip { path, text }
}
