//! What a language model is told before it translates: examples, and the words that it mixes up.
//!
//! Used by `translate`. Written for this program; the examples show what small models get wrong
//! most often (weekdays, times of day, what has lasted until now, possessives).

use std::ops::Range;

use crate::text::calendar::{self, Calendar};

/// English beside another language.
pub struct Phrasebook {
    tag: &'static str,
    /// Sentences with their translations.
    pub examples: &'static [(&'static str, &'static str)],
}

const OPENING: &str =
    "The shop opens at nine o'clock on Wednesday and closes at half past five on Friday.";
const CASTLE: &str = "He has lived here since March, but he has never seen the castle.";
const BOXES: &str =
    "Each program runs in its own box, so that one mistake does not stop all the others.";

static BOOKS: [Phrasebook; 5] = [
    Phrasebook {
        tag: "fr",
        examples: &[
            (
                OPENING,
                "Le magasin ouvre à neuf heures le mercredi et ferme à cinq heures et demie le \
                 vendredi.",
            ),
            (CASTLE, "Il habite ici depuis mars, mais il n'a jamais vu le château."),
            (
                BOXES,
                "Chaque programme tourne dans sa propre boîte, de sorte qu'une erreur n'arrête \
                 pas tous les autres.",
            ),
        ],
    },
    Phrasebook {
        tag: "es",
        examples: &[
            (
                OPENING,
                "La tienda abre a las nueve los miércoles y cierra a las cinco y media los \
                 viernes.",
            ),
            (CASTLE, "Vive aquí desde marzo, pero nunca ha visto el castillo."),
            (
                BOXES,
                "Cada programa se ejecuta en su propia caja, de modo que un error no detiene a \
                 todos los demás.",
            ),
        ],
    },
    Phrasebook {
        tag: "it",
        examples: &[
            (
                OPENING,
                "Il negozio apre alle nove il mercoledì e chiude alle cinque e mezza il venerdì.",
            ),
            (CASTLE, "Vive qui da marzo, ma non ha mai visto il castello."),
            (
                BOXES,
                "Ogni programma gira nella propria scatola, così che un errore non fermi tutti \
                 gli altri.",
            ),
        ],
    },
    Phrasebook {
        tag: "pt",
        examples: &[
            (
                OPENING,
                "A loja abre às nove horas na quarta-feira e fecha às cinco e meia na \
                 sexta-feira.",
            ),
            (CASTLE, "Ele mora aqui desde março, mas nunca viu o castelo."),
            (
                BOXES,
                "Cada programa roda em sua própria caixa, de modo que um erro não para todos os \
                 outros.",
            ),
        ],
    },
    Phrasebook {
        tag: "hi",
        examples: &[
            (OPENING, "दुकान बुधवार को नौ बजे खुलती है और शुक्रवार को साढ़े पाँच बजे बंद होती है।"),
            (CASTLE, "वह मार्च से यहाँ रहता है, लेकिन उसने कभी किला नहीं देखा।"),
            (BOXES, "हर प्रोग्राम अपने डिब्बे में चलता है, ताकि एक गलती बाकी सबको न रोके।"),
        ],
    },
];

impl Phrasebook {
    /// The one for a language, a BCP 47 tag, if there is one.
    pub fn of(tag: &str) -> Option<&'static Self> {
        BOOKS.iter().find(|book| book.tag == tag)
    }

    /// The weekdays and months of an English sentence, each with its translation.
    pub fn calendar_of(&self, english: &str) -> Vec<(&'static str, &'static str)> {
        let words: Vec<&str> = english.split(|c: char| !c.is_alphabetic()).collect();
        let Some(own) = Calendar::of(self.tag) else { return Vec::new() };
        calendar::ENGLISH
            .names()
            .zip(own.names())
            .filter(|(name, _)| {
                // Sentences begin with May and March as well, and mean no month.
                let ambiguous = matches!(*name, "May" | "March");
                words.iter().enumerate().any(|(at, word)| {
                    word.strip_suffix('s').unwrap_or(word) == *name && !(ambiguous && at == 0)
                })
            })
            .collect()
    }

    /// The `translation` of an English sentence, with the right weekday or month where it names
    /// one that the sentence does not, in place of the only one that is missing.
    pub fn mend_calendar(&self, english: &str, translation: String) -> String {
        let Some(own) = Calendar::of(self.tag) else { return translation };
        let wanted: Vec<&str> = self.calendar_of(english).iter().map(|&(_, name)| name).collect();
        let mut mended = translation;
        for names in [&own.weekdays[..], &own.months[..]] {
            let found = named(own, names, &mended);
            let is_named = |name: &str| found.iter().any(|&(other, _)| other == name);
            let mut missing = wanted.iter().filter(|&&it| names.contains(&it) && !is_named(it));
            let mut strange = found.iter().filter(|(name, _)| !wanted.contains(name));
            let (Some(right), None) = (missing.next(), missing.next()) else { continue };
            let (Some((_, at)), None) = (strange.next(), strange.next()) else { continue };
            let first =
                right.chars().next().filter(|_| mended[at.clone()].starts_with(char::is_uppercase));
            let upper = first.map(|first| first.to_uppercase().collect::<String>());
            let rest = &right[first.map_or(0, char::len_utf8)..];
            mended.replace_range(at.clone(), &(upper.unwrap_or_default() + rest));
        }
        mended
    }
}

/// Where `text` has one of `names` as a word.
fn named<'a>(own: &Calendar, names: &[&'a str], text: &str) -> Vec<(&'a str, Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 0;
    for word in text.split_inclusive(|c: char| !c.is_alphabetic()) {
        let start = at;
        at += word.len();
        let word = word.trim_end_matches(|c: char| !c.is_alphabetic());
        let lower = word.to_lowercase();
        let Some(&name) = names.iter().find(|&&name| name == lower) else { continue };
        let end = start + word.len();
        if !own.wants_feira(name) || text[end..].starts_with("-feira") {
            found.push((name, start..end));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weekdays_and_months_of_a_sentence_are_found() {
        let french = Phrasebook::of("fr").expect("a book");
        assert_eq!(
            french.calendar_of("The museum is closed on Wednesdays in May."),
            [("Wednesday", "mercredi"), ("May", "mai")]
        );
        assert!(french.calendar_of("May I march on?").is_empty());
        assert!(Phrasebook::of("xx").is_none());
    }

    #[test]
    fn a_wrong_weekday_or_month_becomes_the_right_one() {
        let french = Phrasebook::of("fr").expect("a book");
        let mend = |english: &str, wrong: &str| french.mend_calendar(english, wrong.to_owned());
        assert_eq!(
            mend("On Monday it is closed.", "Le mardi, il est fermé."),
            "Le lundi, il est fermé."
        );
        assert_eq!(mend("Sunday in May.", "Samedi en mars."), "Dimanche en mai.");
        assert_eq!(mend("Monday or Friday.", "Lundi ou jeudi."), "Lundi ou vendredi.");
        // What is right, what is missing without another, and what may be anything stay.
        for (english, translation) in [
            ("Closed on Mondays.", "Fermé le lundi."),
            ("Closed on Mondays.", "Fermé."),
            ("It is closed.", "Fermé le mardi."),
            ("Monday or Friday.", "Mardi ou jeudi."),
        ] {
            assert_eq!(mend(english, translation), translation);
        }
        let portuguese = Phrasebook::of("pt").expect("a book");
        let mend = |english: &str, wrong: &str| portuguese.mend_calendar(english, wrong.to_owned());
        assert_eq!(mend("On Monday.", "Na terça-feira."), "Na segunda-feira.");
        assert_eq!(mend("The second one is on Tuesday.", "A segunda."), "A segunda.");
    }
}
