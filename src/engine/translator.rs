//! The trait of everything that translates.

use super::{Control, EngineError};

/// A loaded translator for one pair of languages.
pub trait Translator: Send {
    /// Translates `sentences`, which follow one another in one text, and returns
    /// exactly one translation for each, in the same order.
    ///
    /// # Errors
    /// When the model fails or the job was canceled.
    fn translate(
        &mut self,
        sentences: &[String],
        control: &Control<'_>,
    ) -> Result<Vec<String>, EngineError>;
}
