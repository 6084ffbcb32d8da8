//! Translation in two steps, through a language between the two.
//!
//! Used by `stage::engines` for pairs that no model translates at once.

use super::{Control, EngineError, Progress, Shared, Translator, turn};

/// Two translators, one after the other. Others may use each of them too.
pub struct Pivot {
    first: Shared<dyn Translator>,
    second: Shared<dyn Translator>,
}

impl Pivot {
    /// `first` translates to the language that `second` translates from.
    #[must_use]
    pub fn new(first: Shared<dyn Translator>, second: Shared<dyn Translator>) -> Self {
        Self { first, second }
    }
}

impl Translator for Pivot {
    fn translate(
        &mut self,
        sentences: &[String],
        control: &Control<'_>,
    ) -> Result<Vec<String>, EngineError> {
        // Each step is half of the way.
        let step = |done_before: usize| {
            move |news: Progress| {
                if let Progress::Fraction { done, total } = news {
                    let total = total as usize;
                    control.report(done_before * total + done as usize, 2 * total);
                }
            }
        };
        let run = |translator: &Shared<dyn Translator>, sentences: &[String], half: usize| {
            let progress = step(half);
            let within = Control { cancel: control.cancel, progress: &progress };
            turn(translator, control.cancel)?.translate(sentences, &within)
        };
        let between = run(&self.first, sentences, 0)?;
        run(&self.second, &between, 1)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::engine::{Cancel, shared};

    struct Adding(&'static str);

    impl Translator for Adding {
        fn translate(
            &mut self,
            sentences: &[String],
            control: &Control<'_>,
        ) -> Result<Vec<String>, EngineError> {
            control.cancel.check()?;
            control.report(sentences.len(), sentences.len());
            Ok(sentences.iter().map(|sentence| format!("{sentence}{}", self.0)).collect())
        }
    }

    #[test]
    fn a_sentence_goes_through_both_and_each_is_half_of_the_way() {
        let mut pivot = Pivot::new(shared(Adding(">en")), shared(Adding(">es")));
        let told = Mutex::new(Vec::new());
        let progress = |news| told.lock().unwrap().push(news);
        let control = Control { cancel: &Cancel::default(), progress: &progress };
        let sentences = ["un".to_owned(), "deux".to_owned()];
        assert_eq!(pivot.translate(&sentences, &control).unwrap(), ["un>en>es", "deux>en>es"]);
        let fraction = |done| Progress::Fraction { done, total: 4 };
        assert_eq!(*told.lock().unwrap(), [fraction(2), fraction(4)]);
        control.cancel.cancel();
        assert!(matches!(pivot.translate(&sentences, &control), Err(EngineError::Canceled)));
    }
}
