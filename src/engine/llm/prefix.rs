//! Beginnings of prompts that were read before, and are not to be read again.
//!
//! Every template and every translation begins with the same words, and a pipeline asks for one
//! after the other; what each has read of its own beginning is put on a shelf when another begins.

/// Prompts are read, and remembered, in pieces of so many tokens: enough for nearly full speed, few
/// enough to look at the cancel flag often.
pub(super) const PIECE: usize = 64;
/// Beginnings on the shelf.
const PLACES: usize = 4;
/// Longest beginning on the shelf, in tokens. For Qwen2.5-1.5B it takes 29 MB, for models of 7 to 8
/// billion weights up to 150 MB, for those whose heads do not share keys 500 MB; what is forgotten
/// of a beginning goes on taking its room.
const LONGEST: usize = 8 * PIECE;

/// How many tokens both begin with, in whole pieces, `other` having at least one more: the last
/// is always read, for what comes after it.
pub(super) fn in_common(known: &[u32], other: &[u32]) -> usize {
    told_before(known, other) / PIECE * PIECE
}

/// How many tokens both begin with, `other` having at least one more.
pub(super) fn told_before(known: &[u32], other: &[u32]) -> usize {
    let same = known.iter().zip(other).take_while(|(a, b)| a == b).count();
    same.min(other.len().saturating_sub(1))
}

/// Beginnings with what the model made of them, `S`; those used last stand first.
pub(super) struct Shelf<S> {
    places: Vec<(Vec<u32>, S)>,
}

impl<S> Shelf<S> {
    pub fn new() -> Self {
        Self { places: Vec::new() }
    }

    /// Keeps `tokens`, or what of them stands on the shelf already: a beginning that two prompts
    /// had in common is what a third will have, too. `save` gives the state after so many tokens.
    ///
    /// # Errors
    /// As `save`.
    pub fn put<E>(
        &mut self,
        tokens: &[u32],
        save: impl FnOnce(usize) -> Result<S, E>,
    ) -> Result<(), E> {
        let tokens = &tokens[..tokens.len().min(LONGEST) / PIECE * PIECE];
        if tokens.is_empty() {
            return Ok(());
        }
        let begins_so = |(kept, _): &(Vec<u32>, S)| kept[..PIECE] == tokens[..PIECE];
        if let Some(at) = self.places.iter().position(begins_so) {
            let (kept, _) = &mut self.places[at];
            let alike = kept.chunks(PIECE).zip(tokens.chunks(PIECE)).take_while(|(a, b)| a == b);
            let same = alike.count() * PIECE;
            // A prompt that ended early says nothing about what comes behind.
            if same < tokens.len() {
                kept.truncate(same);
            }
            self.places[..=at].rotate_right(1);
        } else {
            let state = save(tokens.len())?;
            self.places.truncate(PLACES - 1);
            self.places.insert(0, (tokens.to_vec(), state));
        }
        Ok(())
    }

    /// Of the beginning that has more than `least` tokens in common with `prompt`, how many, and
    /// the state, which may be of more.
    pub fn find(&mut self, prompt: &[u32], least: usize) -> Option<(usize, &S)> {
        let at = self.places.iter().position(|(kept, _)| in_common(kept, prompt) > least)?;
        self.places[..=at].rotate_right(1);
        let (kept, state) = self.places.first()?;
        Some((in_common(kept, prompt), state))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// `pieces` whole pieces, all tokens of each the same number.
    fn prompt(pieces: &[u32]) -> Vec<u32> {
        pieces.iter().flat_map(|&token| [token; PIECE]).collect()
    }

    fn put(shelf: &mut Shelf<usize>, pieces: &[u32]) {
        shelf.put(&prompt(pieces), Ok::<_, Infallible>).unwrap();
    }

    #[test]
    fn whole_pieces_are_shared_and_the_last_token_is_always_read() {
        let known = prompt(&[1, 2, 3]);
        assert_eq!(in_common(&known, &known), 2 * PIECE);
        assert_eq!(in_common(&known, &[known.clone(), vec![9]].concat()), 3 * PIECE);
        assert_eq!(in_common(&known, &known[..=PIECE]), PIECE);
        assert_eq!(in_common(&known, &prompt(&[2])), 0);
        assert_eq!(in_common(&known, &[]), 0);
    }

    #[test]
    fn each_of_several_prompts_finds_its_own_beginning() {
        let mut shelf = Shelf::new();
        put(&mut shelf, &[1, 2]);
        put(&mut shelf, &[3]);
        assert_eq!(shelf.find(&prompt(&[1, 2, 5]), 0), Some((2 * PIECE, &(2 * PIECE))));
        assert_eq!(shelf.find(&prompt(&[3, 5]), 0), Some((PIECE, &PIECE)));
        assert_eq!(shelf.find(&prompt(&[3, 5]), PIECE), None);
        assert_eq!(shelf.find(&prompt(&[4, 5]), 0), None);
    }

    #[test]
    fn prompts_with_the_same_beginning_take_one_place() {
        let mut shelf = Shelf::new();
        put(&mut shelf, &[1, 2, 7]);
        put(&mut shelf, &[1, 2, 8, 9]);
        // The state of the first serves; only what both had in common is remembered of it.
        assert_eq!(shelf.find(&prompt(&[1, 2, 7, 7]), 0), Some((2 * PIECE, &(3 * PIECE))));
        for other in 10..13 {
            put(&mut shelf, &[other]);
        }
        assert!(shelf.find(&prompt(&[1, 2, 3]), 0).is_some());
    }

    #[test]
    fn a_prompt_that_ended_early_shortens_no_beginning() {
        let mut shelf = Shelf::new();
        put(&mut shelf, &[1, 2, 3]);
        put(&mut shelf, &[1]);
        assert_eq!(shelf.find(&prompt(&[1, 2, 3, 4]), 0), Some((3 * PIECE, &(3 * PIECE))));
    }

    #[test]
    fn what_cannot_be_saved_leaves_the_shelf_as_it_is() {
        let mut shelf = Shelf::new();
        for first in 1..=4 {
            put(&mut shelf, &[first]);
        }
        assert_eq!(shelf.put(&prompt(&[5]), |_| Err("no memory")), Err("no memory"));
        assert!(shelf.find(&prompt(&[1, 0]), 0).is_some());
    }

    #[test]
    fn the_beginning_that_was_not_used_for_longest_gives_way() {
        let mut shelf = Shelf::new();
        for first in 1..=4 {
            put(&mut shelf, &[first]);
        }
        assert!(shelf.find(&prompt(&[1, 0]), 0).is_some());
        put(&mut shelf, &[5]);
        assert!(shelf.find(&prompt(&[1, 0]), 0).is_some());
        assert!(shelf.find(&prompt(&[2, 0]), 0).is_none());
    }

    #[test]
    fn short_prompts_are_not_kept_and_long_ones_in_part() {
        let mut shelf = Shelf::new();
        shelf.put(&[1; PIECE - 1], |_| Err("nothing is saved")).unwrap();
        put(&mut shelf, &(1..=20).collect::<Vec<_>>());
        let (same, &saved) = shelf.find(&prompt(&(1..=20).collect::<Vec<_>>()), 0).unwrap();
        assert_eq!((same, saved), (LONGEST, LONGEST));
    }
}
