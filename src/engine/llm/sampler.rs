//! Choosing the next token from the model's logits.
//!
//! Used by `generate`. Repetition penalty after Keskar et al. (2019, CTRL),
//! nucleus sampling after Holtzman et al. (2020).

use std::collections::VecDeque;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::engine::EngineError;
use crate::engine::GenerateOptions;
use crate::engine::exponential::log_sum_exp;

/// How many of the tokens made last are penalised.
const PENALTY_WINDOW: usize = 64;

/// Nucleus sampling looks at this many tokens first. They nearly always hold the nucleus, and
/// sorting them takes a hundredth of the time that the whole vocabulary would.
const SHORTLIST: usize = 512;

/// Chooses tokens one after another; equal options and logits give equal tokens.
pub(super) struct Sampler {
    temperature: f64,
    top_p: f64,
    repeat_penalty: f32,
    rng: StdRng,
    /// Tokens made last, newest at the back. The prompt is not among them: penalising its words
    /// would keep the model from its own topic, and its end-of-turn token from ending.
    recent: VecDeque<u32>,
}

impl Sampler {
    pub fn new(options: &GenerateOptions) -> Self {
        Self {
            temperature: options.temperature,
            top_p: options.top_p,
            repeat_penalty: options.repeat_penalty,
            rng: StdRng::seed_from_u64(options.seed),
            recent: VecDeque::with_capacity(PENALTY_WINDOW),
        }
    }

    /// The next token. `logits` has one value for each token and is changed by the penalty.
    ///
    /// # Errors
    /// `Run` when the model gave no numbers to choose from.
    pub fn next(&mut self, logits: &mut [f32]) -> Result<u32, EngineError> {
        self.penalise(logits);
        let best = best(logits)
            .ok_or_else(|| EngineError::run("Generating text", "the model gave no numbers"))?;
        let token =
            if self.temperature > 0.0 { self.draw(logits, logits[best]) } else { best as u32 };
        if self.recent.len() == PENALTY_WINDOW {
            self.recent.pop_front();
        }
        self.recent.push_back(token);
        Ok(token)
    }

    /// Makes every token among the recent ones less likely, once however often it occurred.
    fn penalise(&self, logits: &mut [f32]) {
        if (self.repeat_penalty - 1.0).abs() < f32::EPSILON {
            return;
        }
        for (at, &token) in self.recent.iter().enumerate() {
            let seen = self.recent.iter().take(at).any(|&earlier| earlier == token);
            if let Some(logit) = logits.get_mut(token as usize).filter(|_| !seen) {
                *logit = if *logit > 0.0 {
                    *logit / self.repeat_penalty
                } else {
                    *logit * self.repeat_penalty
                };
            }
        }
    }

    /// Draws from the smallest set of tokens whose probabilities reach `top_p`.
    fn draw(&mut self, logits: &[f32], highest: f32) -> u32 {
        let top_p = self.top_p.clamp(0.0, 1.0);
        let total = f64::from(log_sum_exp(logits, (1.0 / self.temperature) as f32));
        // Tokens of less than this probability have together less than what the nucleus leaves
        // out; half of it, for what rounding may do.
        let least = (1.0 - top_p) / logits.len() as f64 / 2.0;
        let lowest = match (total + least.ln()) * self.temperature {
            lowest if lowest.is_finite() => lowest as f32,
            _ => f32::NEG_INFINITY,
        };
        let mut weighted: Vec<(u32, f64)> = (0u32..)
            .zip(logits)
            .filter(|(_, logit)| **logit >= lowest)
            .map(|(id, &logit)| (id, (f64::from(logit - highest) / self.temperature).exp()))
            .filter(|(_, weight)| *weight > 0.0)
            .collect();
        let wanted = top_p * (total - f64::from(highest) / self.temperature).exp();
        let falling = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if weighted.len() > SHORTLIST {
            let (first, nth, _) = weighted.select_nth_unstable_by(SHORTLIST, falling);
            let held: f64 = first.iter().map(|(_, weight)| weight).sum::<f64>() + nth.1;
            if held >= wanted {
                weighted.truncate(SHORTLIST + 1);
            }
        }
        weighted.sort_unstable_by(falling);

        let mut nucleus = 0;
        let mut mass = 0.0;
        for (_, weight) in &weighted {
            nucleus += 1;
            mass += weight;
            if mass >= wanted {
                break;
            }
        }
        let mut left = self.rng.random::<f64>() * mass;
        for (id, weight) in weighted.iter().take(nucleus) {
            left -= weight;
            if left <= 0.0 {
                return *id;
            }
        }
        // Rounding may leave a trace of mass after the last token; it belongs to that one.
        weighted[nucleus - 1].0
    }
}

/// Index of the highest logit, the first of equals; none when no logit is a number.
pub(super) fn best(logits: &[f32]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (at, logit) in logits.iter().enumerate() {
        if logit.is_finite() && best.is_none_or(|best| *logit > logits[best]) {
            best = Some(at);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(temperature: f64, top_p: f64, repeat_penalty: f32, seed: u64) -> GenerateOptions {
        GenerateOptions { temperature, top_p, repeat_penalty, seed, ..GenerateOptions::default() }
    }

    fn draws(options: &GenerateOptions, logits: &[f32], count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(options);
        (0..count).map(|_| sampler.next(&mut logits.to_vec()).expect("a token")).collect()
    }

    #[test]
    fn temperature_zero_takes_the_likeliest_token() {
        assert_eq!(draws(&options(0.0, 0.9, 1.0, 1), &[0.1, 2.0, 1.9, f32::NAN], 3), [1, 1, 1]);
    }

    #[test]
    fn equal_seeds_give_equal_tokens_and_other_seeds_others() {
        let logits: Vec<f32> = (0..2000u16).map(|i| f32::from(i % 7)).collect();
        let first = draws(&options(1.0, 1.0, 1.0, 7), &logits, 50);
        assert_eq!(first, draws(&options(1.0, 1.0, 1.0, 7), &logits, 50));
        assert_ne!(first, draws(&options(1.0, 1.0, 1.0, 8), &logits, 50));
    }

    #[test]
    fn tokens_outside_the_nucleus_are_never_drawn() {
        // Probabilities 0.64, 0.24, 0.09, 0.03: the first two reach 0.8.
        let drawn = draws(&options(1.0, 0.8, 1.0, 3), &[3.0, 2.0, 1.0, 0.0], 500);
        assert!(drawn.iter().all(|&token| token < 2));
        assert!(drawn.contains(&0) && drawn.contains(&1));
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let logits = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()];
        let drawn = draws(&options(1.0, 1.0, 1.0, 11), &logits, 20_000);
        for (token, expected) in [(0, 0.5), (1, 0.3), (2, 0.2)] {
            let share = drawn.iter().filter(|&&t| t == token).count() as f64 / 20_000.0;
            assert!((share - expected).abs() < 0.02, "token {token}: {share}");
        }
    }

    #[test]
    fn a_nucleus_wider_than_the_shortlist_is_drawn_from_in_full() {
        let drawn = draws(&options(1.0, 1.0, 1.0, 5), &vec![0.0; 4 * SHORTLIST], 4000);
        assert!(drawn.iter().any(|&token| token as usize > 3 * SHORTLIST));
    }

    #[test]
    fn a_penalised_token_gives_way_and_comes_back_after_the_window() {
        let mut sampler = Sampler::new(&options(0.0, 1.0, 2.0, 0));
        let logits: Vec<f32> =
            (0..=PENALTY_WINDOW as u16).map(|i| 3.0 - f32::from(i) / 100.0).collect();
        let drawn: Vec<u32> = (0..PENALTY_WINDOW + 2)
            .map(|_| sampler.next(&mut logits.clone()).expect("a token"))
            .collect();
        assert_eq!(drawn[..3], [0, 1, 2]);
        assert_eq!(drawn[PENALTY_WINDOW + 1], 0);
    }

    #[test]
    fn logits_without_a_number_are_an_error() {
        let mut sampler = Sampler::new(&options(0.7, 0.9, 1.1, 0));
        assert!(sampler.next(&mut [f32::NAN, f32::NAN]).is_err());
    }
}
