//! The loudspeaker, through cpal, and what sound devices there are.
//!
//! Without the feature `sound-device` both say that this binary has no sound.

use super::Audio;

/// Why nothing can be heard.
#[derive(Debug, thiserror::Error)]
pub enum PlaybackError {
    /// The binary was built without sound.
    #[error("this binary was built without sound devices; the results are in files all the same")]
    NotBuilt,
    /// There is no loudspeaker.
    #[error("no loudspeaker was found; the results are in files all the same")]
    NoDevice,
    /// The device refused.
    #[error("the loudspeaker failed: {0}")]
    Device(String),
}

/// Names of the sound devices of this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Devices {
    /// Microphones.
    pub inputs: Vec<String>,
    /// Loudspeakers.
    pub outputs: Vec<String>,
}

#[cfg(not(feature = "sound-device"))]
mod device {
    use super::{Audio, Devices, PlaybackError};

    /// Plays `audio` on the default loudspeaker and returns when it has ended.
    ///
    /// # Errors
    /// Always: this binary was built without sound devices.
    pub fn play(_: &Audio) -> Result<(), PlaybackError> {
        Err(PlaybackError::NotBuilt)
    }

    /// The sound devices of this machine.
    ///
    /// # Errors
    /// Always: this binary was built without sound devices.
    pub fn devices() -> Result<Devices, PlaybackError> {
        Err(PlaybackError::NotBuilt)
    }
}

#[cfg(feature = "sound-device")]
mod device {
    use std::sync::mpsc;

    use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};

    use super::{Audio, Devices, PlaybackError};
    use crate::audio::resample::resample;

    /// Plays `audio` on the default loudspeaker and returns when it has ended.
    ///
    /// # Errors
    /// When there is no loudspeaker, or it fails.
    pub fn play(audio: &Audio) -> Result<(), PlaybackError> {
        let failed = |error: cpal::Error| PlaybackError::Device(error.to_string());
        let device = cpal::default_host().default_output_device().ok_or(PlaybackError::NoDevice)?;
        let config = device.default_output_config().map_err(|_| PlaybackError::NoDevice)?.config();
        let audio = resample(audio, config.sample_rate)
            .map_err(|error| PlaybackError::Device(error.to_string()))?;
        let channels = usize::from(config.channels).max(1);
        let (sender, ended) = mpsc::channel();
        let failure = sender.clone();
        let mut samples = audio.samples.into_iter();
        let fill = move |out: &mut [f32], _: &cpal::OutputCallbackInfo| {
            for frame in out.chunks_mut(channels) {
                let sample = samples.next();
                frame.fill(sample.unwrap_or(0.0));
                if sample.is_none() {
                    // Whoever waited has gone when this was said before.
                    let _ = sender.send(Ok(()));
                }
            }
        };
        let stream = device
            .build_output_stream(config, fill, move |error| drop(failure.send(Err(error))), None)
            .map_err(failed)?;
        stream.play().map_err(failed)?;
        ended.recv().map_err(|error| PlaybackError::Device(error.to_string()))?.map_err(failed)
    }

    /// The sound devices of this machine.
    ///
    /// # Errors
    /// When the system cannot list them.
    pub fn devices() -> Result<Devices, PlaybackError> {
        let failed = |error: cpal::Error| PlaybackError::Device(error.to_string());
        let host = cpal::default_host();
        let name = |device: cpal::Device| device.description().ok().map(|it| it.to_string());
        Ok(Devices {
            inputs: host.input_devices().map_err(failed)?.filter_map(name).collect(),
            outputs: host.output_devices().map_err(failed)?.filter_map(name).collect(),
        })
    }
}

pub use device::{devices, play};
