//! `mega-pipeline record`: a prompt from the microphone through the stages.

use std::fs;
use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use clap::Args;

use super::run::{self, HowArgs};
use crate::audio::capture::{Capture, CaptureError};
use crate::audio::{self, Audio, playback};
use crate::error::AppError;
use crate::settings::Settings;

/// How often the level meter is drawn.
const TICK: Duration = Duration::from_millis(100);
/// Characters of a full level meter.
const METER: usize = 30;
/// What the meter shows as nothing, in decibels below full scale.
const QUIETEST_DB: f32 = 60.0;

/// Arguments of `record`.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// List the microphones and stop
    #[arg(long)]
    list_devices: bool,
    /// Microphone to record from, as --list-devices names it [default: the system's]
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    #[command(flatten)]
    how: HowArgs,
}

/// Records until Enter, then does what `run` does with a file.
///
/// # Errors
/// When there is no microphone, and as `run`.
pub fn run(args: &RecordArgs, settings: &Settings) -> Result<(), AppError> {
    if args.list_devices {
        return list();
    }
    // What was typed wrong is told before anybody speaks.
    args.how.options(settings)?;
    let audio =
        record(args.device.as_deref(), settings.max_audio_s).map_err(|error| sound(&error))?;
    let out = args.how.out.clone().unwrap_or_else(default_out);
    let prompt = keep(&audio, &out)?;
    let mut how = args.how.clone();
    how.out = Some(out);
    run::pipeline(&prompt, None, &how, settings)
}

fn sound(error: &CaptureError) -> AppError {
    AppError::Sound(error.to_string())
}

fn list() -> Result<(), AppError> {
    if !cfg!(feature = "sound-device") {
        return Err(sound(&CaptureError::NotBuilt));
    }
    let inputs = playback::devices().inputs;
    if inputs.is_empty() {
        return Err(sound(&CaptureError::NoDevice));
    }
    for name in inputs {
        println!("{name}");
    }
    Ok(())
}

/// Records until somebody presses Enter, the input ends, or `max_seconds` are over.
fn record(device: Option<&str>, max_seconds: u64) -> Result<Audio, CaptureError> {
    let capture = Capture::start(device, max_seconds)?;
    eprintln!("Recording from {}. Press Enter to stop.", capture.name());
    let (sender, enter) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        // Whatever comes of it, it is the end.
        let _ = io::stdin().lock().read_line(&mut String::new());
        drop(sender);
    });
    let draw = io::stderr().is_terminal();
    let began = Instant::now();
    while !capture.has_ended() && enter.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        if draw {
            let seconds = began.elapsed().as_secs();
            eprint!("\r{:2}:{:02} [{}]", seconds / 60, seconds % 60, meter(capture.level()));
            let _ = io::stderr().flush();
        }
    }
    if draw {
        eprintln!();
    }
    let audio = capture.finish()?;
    eprintln!("{:.1} s recorded", audio.duration_ms() as f64 / 1000.0);
    Ok(audio)
}

/// A level from 0 to 1 as a bar on a scale of decibels.
fn meter(level: f32) -> String {
    let decibels = 20.0 * level.max(f32::MIN_POSITIVE).log10();
    let share = (1.0 + decibels / QUIETEST_DB).clamp(0.0, 1.0);
    let full = (share * METER as f32).round() as usize;
    format!("{}{}", "#".repeat(full), " ".repeat(METER - full))
}

/// Writes the recording where its results will be: it must not be lost when a stage fails.
fn keep(audio: &Audio, out: &Path) -> Result<PathBuf, AppError> {
    fs::create_dir_all(out).map_err(AppError::io(out))?;
    let path = out.join("prompt.wav");
    audio::write_wav(&path, audio).map_err(AppError::io(&path))?;
    Ok(path)
}

/// A folder named after the moment.
fn default_out() -> PathBuf {
    PathBuf::from(jiff::Zoned::now().strftime("recording-%Y-%m-%d-%H%M%S-mega").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_meter_is_full_at_full_scale_empty_in_silence_and_half_at_minus_30_decibels() {
        let bars = |level: f32| meter(level).matches('#').count();
        assert_eq!(bars(1.0), METER);
        assert_eq!(bars(0.0), 0);
        assert_eq!(bars(0.0316), METER / 2);
        assert_eq!(bars(3.0), METER);
        assert!([0.0, 0.1, 1.0].iter().all(|&level| meter(level).len() == METER));
    }

    #[test]
    fn a_recording_is_on_disk_before_any_stage_runs() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let audio = Audio { sample_rate: 44_100, samples: vec![0.25; 441] };
        let path = keep(&audio, &dir.path().join("new").join("out")).expect("written");
        assert_eq!(audio::read_wav(&path).expect("read").samples.len(), 441);
    }
}
