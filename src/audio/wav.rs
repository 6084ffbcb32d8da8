//! 16-bit PCM WAV, the form in which artifacts are kept.

use std::io::Cursor;
use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

use super::Audio;

/// Why a WAV file of ours could not be read back.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct WavError {
    path: String,
    source: hound::Error,
}

/// Encodes `audio` as 16-bit PCM. Samples beyond full scale are clamped.
#[must_use]
pub fn wav_bytes(audio: &Audio) -> Vec<u8> {
    let spec = WavSpec {
        channels: 1,
        sample_rate: audio.sample_rate,
        bits_per_sample: 16,
        sample_format: SampleFormat::Int,
    };
    let mut bytes = Cursor::new(Vec::with_capacity(44 + 2 * audio.samples.len()));
    let mut write = || -> Result<(), hound::Error> {
        let mut writer = WavWriter::new(&mut bytes, spec)?;
        for &sample in &audio.samples {
            writer.write_sample((sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16)?;
        }
        writer.finalize()
    };
    write().expect("memory takes every write, and one channel of 16 bits is a valid form");
    bytes.into_inner()
}

/// Reads a mono 16-bit PCM file that [`wav_bytes`] made.
///
/// # Errors
/// When the file is missing or is not such a WAV.
pub fn read_wav(path: &Path) -> Result<Audio, WavError> {
    let read = || -> Result<Audio, hound::Error> {
        let mut reader = WavReader::open(path)?;
        let sample_rate = reader.spec().sample_rate;
        let samples = reader
            .samples::<i16>()
            .map(|sample| sample.map(|sample| f32::from(sample) / f32::from(i16::MAX)))
            .collect::<Result<_, _>>()?;
        Ok(Audio { sample_rate, samples })
    };
    read().map_err(|source| WavError { path: path.display().to_string(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_full_scale_is_not_exceeded() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        let audio = Audio { sample_rate: 22_050, samples: vec![0.0, 0.5, -0.5, 2.0, -2.0] };
        std::fs::write(&path, wav_bytes(&audio)).unwrap();
        let back = read_wav(&path).unwrap();
        assert_eq!(back.sample_rate, 22_050);
        for (was, is) in [0.0, 0.5, -0.5, 1.0, -1.0].iter().zip(&back.samples) {
            assert!((was - is).abs() < 1.0 / 32_000.0, "{was} became {is}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_wav(Path::new("/nowhere/a.wav")).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/a.wav"), "{error}");
    }
}
