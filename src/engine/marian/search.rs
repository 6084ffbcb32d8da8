//! Chooses the tokens of a translation: greedily, or among several hypotheses.
//!
//! Called by `marian` only. Knows nothing of networks: it is handed the scores of the next
//! token. Both searches are those of the library transformers (5.x, `_beam_search`), which
//! Opus-MT models are published for, with its rules for what ends a search.

use crate::engine::exponential::log_sum_exp;

/// What a search may and must choose, from the model's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// Token that a translation starts from.
    pub start: u32,
    /// Token that ends a translation.
    pub eos: u32,
    /// Token that is forced into the last place.
    pub forced_eos: u32,
    /// Most tokens, the first and the last counted.
    pub max_length: usize,
    /// Sequences that may not come up; Opus-MT forbids its padding token.
    pub bad_words: Vec<Vec<u32>>,
    /// Hypotheses followed at once; 1 is the greedy search.
    pub beams: usize,
    /// Power of its length by which a hypothesis's score is divided.
    pub length_penalty: f32,
    /// When a search with several hypotheses ends.
    pub early_stopping: EarlyStopping,
    /// Whether probabilities add up to 1 again after forbidden tokens are taken out.
    pub renormalize: bool,
}

/// When enough finished hypotheses have been found, whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EarlyStopping {
    /// Stop at once.
    Yes,
    /// Stop when none of those under way is as good as the worst finished one.
    Heuristic,
    /// Stop when none of those under way can become as good, however long it gets.
    Never,
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

    /// Whether nothing may follow `tokens`.
    fn is_over(&self, tokens: &[u32]) -> bool {
        tokens.last() == Some(&self.eos) || tokens.len() >= self.max_length
    }

    /// What a finished hypothesis with `made` tokens after the start is worth.
    fn worth(&self, score: f32, made: usize) -> f32 {
        score / (made as f32).powf(self.length_penalty)
    }
}

/// A translation under way.
#[derive(Debug, Clone)]
struct Hypothesis {
    tokens: Vec<u32>,
    /// Sum of the logarithms of its tokens' probabilities.
    score: f32,
}

/// The search for one sentence's translation.
pub struct Search<'a> {
    rules: &'a Rules,
    running: Vec<Hypothesis>,
    /// Best first; a score is divided by the length already.
    finished: Vec<Hypothesis>,
    over: bool,
}

impl<'a> Search<'a> {
    /// A search that has made the start token.
    pub fn new(rules: &'a Rules) -> Self {
        let start = Hypothesis { tokens: vec![rules.start], score: 0.0 };
        Self { rules, running: vec![start; rules.beams], finished: Vec::new(), over: false }
    }

    /// Whether nothing better can come.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// The last token of each hypothesis.
    pub fn last_tokens(&self) -> impl Iterator<Item = u32> + '_ {
        self.running.iter().map(|it| it.tokens.last().copied().unwrap_or(self.rules.start))
    }

    /// Takes the scores (logits) of what may follow each hypothesis, one row after the other.
    /// Returns, for each hypothesis that the search goes on with, the one it comes from.
    pub fn step(&mut self, scores: &mut [f32]) -> Vec<u32> {
        if self.rules.beams == 1 { self.greedy(scores) } else { self.beam(scores) }
    }

    /// The translation: start token first, end token last.
    pub fn into_tokens(self) -> Vec<u32> {
        self.finished.into_iter().chain(self.running).next().map_or_else(Vec::new, |it| it.tokens)
    }

    fn greedy(&mut self, scores: &mut [f32]) -> Vec<u32> {
        if let Some(only) = self.running.first_mut() {
            self.rules.constrain(&only.tokens, scores);
            only.tokens.push(best(scores));
            self.over = self.rules.is_over(&only.tokens);
        }
        vec![0]
    }

    fn beam(&mut self, scores: &mut [f32]) -> Vec<u32> {
        let rules = self.rules;
        let vocabulary = scores.len() / self.running.len();
        for (hypothesis, scores) in self.running.iter().zip(scores.chunks_exact_mut(vocabulary)) {
            // What is taken out of the scores first does not count in the probabilities.
            if rules.renormalize {
                rules.constrain(&hypothesis.tokens, scores);
                normalize(scores);
            } else {
                normalize(scores);
                rules.constrain(&hypothesis.tokens, scores);
            }
        }
        // At first all are the same, and only one counts.
        let first = self.running.first().is_some_and(|it| it.tokens.len() == 1);
        let rows = if first { 1 } else { self.running.len() };
        // Each can end in one way only, so that as many as there are beams always go on.
        let rows = scores.chunks_exact(vocabulary).take(rows);
        let candidates = self.best_candidates(rows, 2 * rules.beams);

        let (mut running, mut parents) = (Vec::new(), Vec::new());
        let mut ended = Vec::new();
        for (rank, (parent, token, score)) in candidates.into_iter().enumerate() {
            let mut tokens = self.running[parent].tokens.clone();
            tokens.push(token);
            if !rules.is_over(&tokens) {
                if running.len() < rules.beams {
                    running.push(Hypothesis { tokens, score });
                    parents.push(parent as u32);
                }
            } else if rank < rules.beams {
                let score = rules.worth(score, tokens.len() - 1);
                ended.push(Hypothesis { tokens, score });
            }
        }
        let full = self.finished.len() == rules.beams;
        if !(full && rules.early_stopping == EarlyStopping::Yes) {
            self.finished.append(&mut ended);
            // Stable: of equals the one found first stays in front.
            self.finished.sort_by(|one, other| other.score.total_cmp(&one.score));
            self.finished.truncate(rules.beams);
        }
        self.running = running;
        self.over = self.running.is_empty() || self.is_decided();
        parents
    }

    /// The most likely continuations, best first: parent, token, and score.
    fn best_candidates<'b>(
        &self,
        rows: impl Iterator<Item = &'b [f32]>,
        count: usize,
    ) -> Vec<(usize, u32, f32)> {
        let mut best: Vec<(usize, u32, f32)> = Vec::with_capacity(count + 1);
        for (parent, scores) in rows.enumerate() {
            let before = self.running[parent].score;
            for (token, score) in scores.iter().enumerate() {
                let score = before + score;
                if best.len() == count && score <= best[count - 1].2 {
                    continue;
                }
                let at = best.partition_point(|it| it.2 >= score);
                best.insert(at, (parent, token as u32, score));
                best.truncate(count);
            }
        }
        best
    }

    /// Whether no hypothesis under way can still beat the worst finished one.
    fn is_decided(&self) -> bool {
        let rules = self.rules;
        if self.finished.len() < rules.beams {
            return false;
        }
        if rules.early_stopping == EarlyStopping::Yes {
            return true;
        }
        let (Some(running), Some(worst)) = (self.running.first(), self.finished.last()) else {
            return false;
        };
        let made = if rules.early_stopping == EarlyStopping::Never && rules.length_penalty > 0.0 {
            rules.max_length - 1
        } else {
            running.tokens.len() - 1
        };
        rules.worth(running.score, made) <= worst.score
    }
}

/// Turns scores into the logarithms of probabilities.
fn normalize(scores: &mut [f32]) {
    let total = log_sum_exp(scores, 1.0);
    for score in scores {
        *score -= total;
    }
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

    fn rules(beams: usize) -> Rules {
        Rules {
            start: 3,
            eos: 0,
            forced_eos: 0,
            max_length: 6,
            bad_words: vec![vec![3], vec![1, 2]],
            beams,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::Heuristic,
            renormalize: true,
        }
    }

    /// What a search finds whose next token always has these scores.
    fn found(rules: &Rules, scores: &[f32]) -> Vec<u32> {
        let mut search = Search::new(rules);
        while !search.is_over() {
            search.step(&mut scores.repeat(rules.beams));
        }
        search.into_tokens()
    }

    #[test]
    fn the_search_ends_with_the_end_token() {
        for beams in [1, 2] {
            assert_eq!(found(&rules(beams), &[9.0, 0.0, 0.0, 0.0]), [3, 0]);
        }
    }

    #[test]
    fn the_end_token_is_forced_into_the_last_place() {
        for beams in [1, 2] {
            assert_eq!(found(&rules(beams), &[-9.0, 0.0, 9.0, 0.0]), [3, 2, 2, 2, 2, 0]);
        }
    }

    #[test]
    fn a_forbidden_token_is_never_chosen() {
        for beams in [1, 2] {
            assert!(!found(&rules(beams), &[-9.0, 0.0, 1.0, 99.0])[1..].contains(&3));
        }
    }

    #[test]
    fn a_forbidden_sequence_is_broken_at_its_last_token() {
        let rules = rules(1);
        let mut search = Search::new(&rules);
        search.step(&mut [0.0, 9.0, 0.0, 0.0]);
        search.step(&mut [0.0, 1.0, 9.0, 0.0]);
        assert_eq!(search.last_tokens().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_longer_translation_wins_where_its_words_are_likelier() {
        // 0 ends at a price; going on with 2 costs next to nothing.
        let long = found(&rules(2), &[-2.0, -9.0, 0.0, 0.0]);
        assert_eq!(long, [3, 2, 2, 2, 2, 0]);
    }
}
