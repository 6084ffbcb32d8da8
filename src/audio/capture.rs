//! Records sound from this machine's microphone.
//!
//! Called by `cli` only: `record`. Without the feature `sound-device` everything here
//! answers with [`CaptureError::NotBuilt`].

use super::Audio;

/// Why nothing can be recorded. Every message names the way without a microphone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// The program was built without the feature `sound-device`.
    #[error(
        "This program was built without sound devices. Record with another program and use \
         `mega-pipeline run FILE`, or build with the feature `sound-device`."
    )]
    NotBuilt,
    /// The machine has no microphone that the system knows of.
    #[error(
        "No microphone was found. Record on a machine that has one and use \
         `mega-pipeline run FILE`."
    )]
    NoDevice,
    /// There is no microphone of that name.
    #[error(
        "There is no microphone called `{name}`. `mega-pipeline record --list-devices` shows \
         what there is; `mega-pipeline run FILE` takes a recording from a file."
    )]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The microphone refused or went away.
    #[error(
        "The microphone cannot be used: {0} Record with another program and use \
         `mega-pipeline run FILE`."
    )]
    Device(String),
}

#[cfg(not(feature = "sound-device"))]
pub use absent::Capture;
#[cfg(feature = "sound-device")]
pub use device::Capture;

/// What was recorded until now.
#[cfg(any(feature = "sound-device", test))]
#[derive(Debug, Default)]
struct Recorded {
    samples: Vec<f32>,
    /// Most samples that are kept.
    limit: usize,
    /// Highest sample since it was last asked for.
    peak: f32,
}

#[cfg(any(feature = "sound-device", test))]
impl Recorded {
    /// Takes in a piece of interleaved sound, its channels averaged.
    fn push(&mut self, interleaved: impl Iterator<Item = f32>, channels: usize) {
        let (mut sum, mut count) = (0.0, 0);
        for sample in interleaved {
            sum += sample;
            count += 1;
            if count == channels {
                let mean = sum / channels as f32;
                self.peak = self.peak.max(mean.abs());
                if self.samples.len() < self.limit {
                    self.samples.push(mean);
                }
                (sum, count) = (0.0, 0);
            }
        }
    }
}

#[cfg(not(feature = "sound-device"))]
mod absent {
    use super::{Audio, CaptureError};

    /// A recording under way, which this build cannot make.
    #[derive(Debug)]
    pub enum Capture {}

    impl Capture {
        /// Begins to record.
        ///
        /// # Errors
        /// Always [`CaptureError::NotBuilt`].
        pub fn start(_device: Option<&str>, _max_seconds: u64) -> Result<Self, CaptureError> {
            Err(CaptureError::NotBuilt)
        }

        /// The name of the microphone.
        pub fn name(&self) -> &str {
            match *self {}
        }

        /// The highest sample since the last call, from 0 to 1.
        pub fn level(&self) -> f32 {
            match *self {}
        }

        /// Whether as much was recorded as may be, or the microphone went away.
        pub fn has_ended(&self) -> bool {
            match *self {}
        }

        /// Ends the recording.
        ///
        /// # Errors
        /// Never: there is no such recording.
        pub fn finish(self) -> Result<Audio, CaptureError> {
            match self {}
        }
    }
}

#[cfg(feature = "sound-device")]
mod device {
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

    use cpal::traits::{DeviceTrait, HostTrait, StreamTrait};
    use cpal::{Device, ErrorKind, FromSample, Sample, SampleFormat, SizedSample, StreamConfig};

    use super::{Audio, CaptureError, Recorded};
    use crate::audio::quiet_alsa;

    /// A recording under way.
    pub struct Capture {
        name: String,
        sample_rate: u32,
        shared: Arc<Shared>,
        /// Records until it is dropped.
        stream: cpal::Stream,
    }

    /// What the device's thread and this one both see.
    #[derive(Default)]
    struct Shared {
        recorded: Mutex<Recorded>,
        failure: Mutex<Option<CaptureError>>,
    }

    impl Capture {
        /// Begins to record from the microphone called `device`, or from the default one,
        /// for at most `max_seconds`.
        ///
        /// # Errors
        /// When there is no such microphone, or it cannot be used.
        pub fn start(device: Option<&str>, max_seconds: u64) -> Result<Self, CaptureError> {
            quiet_alsa::silence();
            let device = find(device)?;
            let supported = device.default_input_config().map_err(|error| failed(&error))?;
            let (format, config) = (supported.sample_format(), supported.config());
            let sample_rate = config.sample_rate;
            let shared = Arc::new(Shared::default());
            lock(&shared.recorded).limit =
                (max_seconds.saturating_mul(u64::from(sample_rate))) as usize;
            let stream = match format {
                SampleFormat::F32 => open::<f32>(&device, config, &shared),
                SampleFormat::F64 => open::<f64>(&device, config, &shared),
                SampleFormat::I8 => open::<i8>(&device, config, &shared),
                SampleFormat::I16 => open::<i16>(&device, config, &shared),
                SampleFormat::I32 => open::<i32>(&device, config, &shared),
                SampleFormat::U8 => open::<u8>(&device, config, &shared),
                SampleFormat::U16 => open::<u16>(&device, config, &shared),
                other => Err(CaptureError::Device(format!("it gives samples as {other}."))),
            }?;
            stream.play().map_err(|error| failed(&error))?;
            Ok(Self { name: device.to_string(), sample_rate, shared, stream })
        }

        /// The name of the microphone.
        #[must_use]
        pub fn name(&self) -> &str {
            &self.name
        }

        /// The highest sample since the last call, from 0 to 1.
        #[must_use]
        pub fn level(&self) -> f32 {
            std::mem::take(&mut lock(&self.shared.recorded).peak)
        }

        /// Whether as much was recorded as may be, or the microphone went away.
        #[must_use]
        pub fn has_ended(&self) -> bool {
            let recorded = lock(&self.shared.recorded);
            recorded.samples.len() >= recorded.limit || lock(&self.shared.failure).is_some()
        }

        /// Ends the recording and gives it out, also when the microphone went away meanwhile.
        ///
        /// # Errors
        /// When nothing was recorded.
        pub fn finish(self) -> Result<Audio, CaptureError> {
            drop(self.stream);
            let samples = std::mem::take(&mut lock(&self.shared.recorded).samples);
            if samples.is_empty() {
                let failure = lock(&self.shared.failure).take();
                return Err(
                    failure.unwrap_or_else(|| CaptureError::Device("it gave no sound.".to_owned()))
                );
            }
            Ok(Audio { sample_rate: self.sample_rate, samples })
        }
    }

    fn find(name: Option<&str>) -> Result<Device, CaptureError> {
        let host = cpal::default_host();
        let Some(name) = name else {
            return host.default_input_device().ok_or(CaptureError::NoDevice);
        };
        let unknown = || CaptureError::Unknown { name: name.to_owned() };
        let mut devices = host.input_devices().map_err(|_| unknown())?;
        devices.find(|device| device.to_string() == name).ok_or_else(unknown)
    }

    fn open<T>(
        device: &Device,
        config: StreamConfig,
        shared: &Arc<Shared>,
    ) -> Result<cpal::Stream, CaptureError>
    where
        T: SizedSample,
        f32: FromSample<T>,
    {
        let channels = usize::from(config.channels.max(1));
        let (into, failures) = (Arc::clone(shared), Arc::clone(shared));
        device
            .build_input_stream(
                config,
                move |input: &[T], _: &_| {
                    let samples = input.iter().map(|&sample| f32::from_sample(sample));
                    lock(&into.recorded).push(samples, channels);
                },
                move |error: cpal::Error| {
                    // A hiccup is heard, and the recording goes on.
                    if !matches!(
                        error.kind(),
                        ErrorKind::Xrun | ErrorKind::DeviceChanged | ErrorKind::RealtimeDenied
                    ) {
                        lock(&failures.failure).get_or_insert_with(|| failed(&error));
                    }
                },
                None,
            )
            .map_err(|error| failed(&error))
    }

    /// What is shared stays whole whatever a thread was doing: samples are only added.
    fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
        shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(error: &cpal::Error) -> CaptureError {
        match error.kind() {
            ErrorKind::DeviceNotAvailable | ErrorKind::HostUnavailable => CaptureError::NoDevice,
            _ => CaptureError::Device(format!("{error}.")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channels_are_averaged_and_the_level_is_the_highest_sample() {
        let mut recorded = Recorded { limit: 100, ..Recorded::default() };
        recorded.push([0.5, 0.1, -0.9, -0.7].into_iter(), 2);
        assert_eq!(recorded.samples.len(), 2);
        assert!((recorded.samples[0] - 0.3).abs() < 1e-6 && (recorded.peak - 0.8).abs() < 1e-6);
    }

    #[test]
    fn a_recording_stops_growing_at_its_limit() {
        let mut recorded = Recorded { limit: 3, ..Recorded::default() };
        recorded.push([0.0; 50].into_iter(), 1);
        assert_eq!(recorded.samples.len(), 3);
    }

    #[test]
    fn every_message_names_the_way_without_a_microphone() {
        for error in [
            CaptureError::NotBuilt,
            CaptureError::NoDevice,
            CaptureError::Unknown { name: "Studio".to_owned() },
            CaptureError::Device("It is busy.".to_owned()),
        ] {
            let message = error.to_string();
            assert!(message.contains("mega-pipeline run FILE"), "{message}");
        }
    }
}
