//! Plays sound on this machine's loudspeaker and lists its sound devices.
//!
//! Called by `cli` only: `run --play`, `record` and `doctor`. A server's users hear the
//! results in their browsers. Without the feature `sound-device` everything here
//! answers with [`PlaybackError::NotBuilt`].

use super::Audio;

/// Why nothing can be heard.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PlaybackError {
    /// The program was built without the feature `sound-device`.
    #[error(
        "This program was built without sound devices. Open the WAV file in another player, or \
         build with the feature `sound-device`."
    )]
    NotBuilt,
    /// The machine has no loudspeaker that the system knows of.
    #[error("No loudspeaker was found. Open the WAV file on a machine that has one.")]
    NoDevice,
    /// The loudspeaker refused or went away.
    #[error("The loudspeaker cannot be used: {0} Open the WAV file in another player.")]
    Device(String),
}

/// The sound devices of this machine, by the names that the system gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Devices {
    /// Microphones and line inputs.
    pub inputs: Vec<String>,
    /// Loudspeakers and line outputs.
    pub outputs: Vec<String>,
}

#[cfg(not(feature = "sound-device"))]
pub use absent::{devices, play};
#[cfg(feature = "sound-device")]
pub use device::{devices, play};

#[cfg(not(feature = "sound-device"))]
mod absent {
    use super::{Audio, Devices, PlaybackError};

    /// Plays `audio` to its end.
    ///
    /// # Errors
    /// Always [`PlaybackError::NotBuilt`].
    pub fn play(_audio: &Audio) -> Result<(), PlaybackError> {
        Err(PlaybackError::NotBuilt)
    }

    /// No devices: this build cannot ask for them.
    #[must_use]
    pub fn devices() -> Devices {
        Devices::default()
    }
}

#[cfg(feature = "sound-device")]
mod device {
    use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
    use std::time::Duration;

    use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
    use cpal::{Device, ErrorKind, FromSample, SampleFormat, SizedSample, StreamConfig};

    use super::{Audio, Devices, PlaybackError};
    use crate::audio::quiet_alsa;
    use crate::audio::resample::Resampler;

    /// Beyond the length of the sound, how long the device may take to report that
    /// it has played it, before it is taken for dead.
    const GRACE: Duration = Duration::from_secs(5);

    /// Plays `audio` on the default loudspeaker and returns when it has been heard.
    ///
    /// # Errors
    /// When there is no loudspeaker, or it fails.
    pub fn play(audio: &Audio) -> Result<(), PlaybackError> {
        quiet_alsa::silence();
        let device = cpal::default_host().default_output_device().ok_or(PlaybackError::NoDevice)?;
        let supported = device.default_output_config().map_err(|error| failed(&error))?;
        let samples = at_rate(audio, supported.sample_rate())?;
        let (format, config) = (supported.sample_format(), supported.config());
        match format {
            SampleFormat::F32 => run::<f32>(&device, config, samples),
            SampleFormat::F64 => run::<f64>(&device, config, samples),
            SampleFormat::I8 => run::<i8>(&device, config, samples),
            SampleFormat::I16 => run::<i16>(&device, config, samples),
            SampleFormat::I32 => run::<i32>(&device, config, samples),
            SampleFormat::U8 => run::<u8>(&device, config, samples),
            SampleFormat::U16 => run::<u16>(&device, config, samples),
            other => Err(PlaybackError::Device(format!("it wants samples as {other}."))),
        }
    }

    /// The names of all sound devices. A machine without any gives empty lists.
    #[must_use]
    pub fn devices() -> Devices {
        quiet_alsa::silence();
        let host = cpal::default_host();
        let Ok(all) = host.devices() else { return Devices::default() };
        let mut found = Devices::default();
        for device in all {
            // ALSA always offers a device that plays to nowhere.
            if device.id().is_ok_and(|id| id.id() == "null") {
                continue;
            }
            let name = device.to_string();
            if device.supports_input() {
                found.inputs.push(name.clone());
            }
            if device.supports_output() {
                found.outputs.push(name);
            }
        }
        found
    }

    fn at_rate(audio: &Audio, rate: u32) -> Result<Vec<f32>, PlaybackError> {
        let unusable = |error| PlaybackError::Device(format!("{error}."));
        let mut resampler = Resampler::new(audio.sample_rate, rate).map_err(unusable)?;
        let mut samples = Vec::new();
        resampler.push(&audio.samples, &mut samples).map_err(unusable)?;
        resampler.finish(&mut samples).map_err(unusable)?;
        Ok(samples)
    }

    fn run<T>(device: &Device, config: StreamConfig, samples: Vec<f32>) -> Result<(), PlaybackError>
    where
        T: SizedSample + FromSample<f32>,
    {
        let seconds = samples.len() as f64 / f64::from(config.sample_rate);
        let channels = usize::from(config.channels.max(1));
        let (done, ended) = mpsc::sync_channel(1);
        let failed_stream = done.clone();
        let mut samples = samples.into_iter();
        let stream = device
            .build_output_stream(
                config,
                move |output: &mut [T], _: &_| fill(output, channels, &mut samples, &done),
                move |error: cpal::Error| {
                    // A hiccup is heard, and the sound goes on.
                    if !matches!(
                        error.kind(),
                        ErrorKind::Xrun | ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied
                    ) {
                        let _ = failed_stream.try_send(Err(failed(&error)));
                    }
                },
                None,
            )
            .map_err(|error| failed(&error))?;
        stream.play().map_err(|error| failed(&error))?;
        match ended.recv_timeout(Duration::from_secs_f64(seconds) + GRACE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(PlaybackError::Device("it stopped taking sound.".to_owned()))
            }
        }
    }

    /// Gives the device its next piece of sound, the same on every channel, and
    /// reports the end once a whole piece of silence was asked for, which is after
    /// the last sample has left the buffer before it.
    fn fill<T>(
        output: &mut [T],
        channels: usize,
        samples: &mut std::vec::IntoIter<f32>,
        done: &SyncSender<Result<(), PlaybackError>>,
    ) where
        T: SizedSample + FromSample<f32>,
    {
        if samples.len() == 0 {
            let _ = done.try_send(Ok(()));
        }
        for frame in output.chunks_mut(channels) {
            frame.fill(T::from_sample(samples.next().unwrap_or(0.0)));
        }
    }

    fn failed(error: &cpal::Error) -> PlaybackError {
        match error.kind() {
            ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => PlaybackError::NoDevice,
            _ => PlaybackError::Device(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_every_message_names_another_way_to_hear_the_sound() {
        for error in [
            PlaybackError::NotBuilt,
            PlaybackError::NoDevice,
            PlaybackError::Device("It is busy.".to_owned()),
        ] {
            let message = error.to_string();
            assert!(message.contains("Open the WAV file"), "{message}");
        }
    }

    #[test]
    fn a_machine_without_a_loudspeaker_is_told_so() {
        let silence = Audio { sample_rate: 16_000, samples: vec![0.0; 160] };
        let result = play(&silence);
        if devices().outputs.is_empty() {
            let is_told = matches!(result, Err(PlaybackError::NoDevice | PlaybackError::NotBuilt));
            assert!(is_told, "{result:?}");
        }
    }
}
