//! The trait of everything that speaks.

use super::{Cancel, EngineError};

/// A loaded voice.
pub trait Voice: Send {
    /// Samples per second of what [`Voice::say`] returns.
    fn sample_rate(&self) -> u32;

    /// Speaks one sentence. `speed` 1 is the voice's own pace, 2 twice as fast.
    ///
    /// Returns mono samples within -1 to 1, without added pauses at either end.
    ///
    /// # Errors
    /// When the phonemiser or the model fails, and [`EngineError::Canceled`]: a long sentence
    /// looks at `cancel` on its way.
    fn say(&mut self, sentence: &str, speed: f32, cancel: &Cancel)
    -> Result<Vec<f32>, EngineError>;

    /// Gives back memory that speaking took, where doing so after every sentence would cost time.
    /// For the end of a text; it takes as long as a short sound.
    ///
    /// # Errors
    /// When the model fails.
    fn rest(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
}

/// `speed`, if a voice can speak at it: within 0.25 to 4.
///
/// # Errors
/// For any other number, and for what is not a number.
pub(super) fn checked_speed(speed: f32) -> Result<f32, EngineError> {
    if (0.25..=4.0).contains(&speed) {
        Ok(speed)
    } else {
        Err(EngineError::run("Speaking", format_args!("speed {speed} is not within 0.25 to 4")))
    }
}
