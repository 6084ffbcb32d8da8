//! Chooses the tokens of a translation, one after another.
//!
//! Called by `marian` only. Knows nothing of networks: it is handed the scores
//! of the next token. The rules are those of the library transformers, which
//! Opus-MT models are published for.

use crate::engine::EngineError;

/// What a search may and must choose, from the model's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Token that a translation starts from; it is not part of the result.
    pub start: u32,
    /// Token that ends a translation.
    pub eos: u32,
    /// Token that is forced into the last place.
    pub forced_eos: u32,
    /// Most tokens, the first and the last counted.
    pub max_length: usize,
    /// Sequences that may not come up; Opus-MT forbids its padding token.
    pub bad_words: Vec<Vec<u32>>,
}

impl Rules {
    /// Makes impossible, in `scores` of the token after `so_far`, what may not follow.
    pub fn constrain(&self, so_far: &[u32], scores: &mut [f32]) {
        if so_far.len() + 1 == self.max_length {
            for (token, score) in scores.iter_mut().enumerate() {
                *score = if token as u32 == self.forced_eos { 0.0 } else { f32::NEG_INFINITY };
            }
            return;
        }
        for sequence in &self.bad_words {
            let Some((&last, before)) = sequence.split_last() else { continue };
            if so_far.ends_with(before)
                && let Some(score) = scores.get_mut(last as usize)
            {
                *score = f32::NEG_INFINITY;
            }
        }
    }
}

/// Takes the most likely token each time, until the end token or the longest length.
///
/// `score` returns the scores (logits) of every token that may follow the tokens
/// it is given; it is called with one token more each time. Returns the tokens
/// from the start token on, the end token included.
///
/// # Errors
/// Whatever `score` fails with.
pub fn greedy(
    rules: &Rules,
    mut score: impl FnMut(&[u32]) -> Result<Vec<f32>, EngineError>,
) -> Result<Vec<u32>, EngineError> {
    let mut tokens = vec![rules.start];
    while tokens.len() < rules.max_length {
        let mut scores = score(&tokens)?;
        rules.constrain(&tokens, &mut scores);
        let next = best(&scores);
        tokens.push(next);
        if next == rules.eos {
            break;
        }
    }
    Ok(tokens)
}

/// The first of the highest scores; 0 when there are none.
fn best(scores: &[f32]) -> u32 {
    let mut best = 0;
    for (token, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = token;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            start: 3,
            eos: 0,
            forced_eos: 0,
            max_length: 6,
            bad_words: vec![vec![3], vec![1, 2]],
        }
    }

    #[test]
    fn the_search_ends_with_the_end_token() {
        let wanted = [2, 2, 0, 1];
        let found = greedy(&rules(), |so_far| {
            let mut scores = vec![0.0; 4];
            scores[wanted[so_far.len() - 1]] = 1.0;
            Ok(scores)
        });
        assert_eq!(found.unwrap(), [3, 2, 2, 0]);
    }

    #[test]
    fn the_end_token_is_forced_into_the_last_place() {
        let found = greedy(&rules(), |_| Ok(vec![0.0, 0.0, 1.0, 0.0]));
        assert_eq!(found.unwrap(), [3, 2, 2, 2, 2, 0]);
    }

    #[test]
    fn a_forbidden_token_is_never_chosen() {
        let found = greedy(&rules(), |_| Ok(vec![0.0, 0.0, 1.0, 9.0]));
        assert!(!found.unwrap()[1..].contains(&3));
    }

    #[test]
    fn a_forbidden_sequence_is_broken_at_its_last_token() {
        let found = greedy(&rules(), |so_far| {
            Ok(if so_far.len() == 1 { vec![0.0, 9.0, 0.0, 0.0] } else { vec![0.0, 1.0, 9.0, 0.0] })
        });
        assert_eq!(found.unwrap(), [3, 1, 1, 1, 1, 0]);
    }

    #[test]
    fn a_failing_model_ends_the_search() {
        let found = greedy(&rules(), |_| Err(EngineError::Canceled));
        assert!(matches!(found, Err(EngineError::Canceled)));
    }
}
