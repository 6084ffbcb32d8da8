//! Numbers in words, for the languages whose rules are in this folder.
//!
//! The words come from the crate num2words; what is here reads the digits of a text, and
//! puts right the French ordinals that the crate gets wrong.

use num2words::{Lang, Num2Words};

/// The longest number said as one; a longer one is said digit by digit.
const MAX_DIGITS: usize = 15;

/// A language's way with numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Speller {
    English,
    French,
}

impl Speller {
    const fn lang(self) -> Lang {
        match self {
            Self::English => Lang::English,
            Self::French => Lang::French,
        }
    }

    /// What stands between the whole and the decimals.
    const fn point(self) -> &'static str {
        match self {
            Self::English => "point",
            Self::French => "virgule",
        }
    }

    /// What stands before a negative number.
    const fn minus(self) -> &'static str {
        match self {
            Self::English => "minus",
            Self::French => "moins",
        }
    }

    /// `digits`, such as `42`: as one number, or one by one if they begin with a zero or
    /// are too many for a number.
    pub fn cardinal(self, digits: &str) -> String {
        match digits.parse::<i64>() {
            Ok(number)
                if digits.len() <= MAX_DIGITS && (digits == "0" || !digits.starts_with('0')) =>
            {
                Num2Words::new(number)
                    .lang(self.lang())
                    .cardinal()
                    .to_words()
                    .unwrap_or_else(|_| self.digit_by_digit(digits))
            }
            _ => self.digit_by_digit(digits),
        }
    }

    /// Each digit of `text`, whatever else stands between them.
    pub fn digit_by_digit(self, text: &str) -> String {
        let said = text.chars().filter_map(|c| c.to_digit(10)).map(|digit| {
            Num2Words::new(i64::from(digit))
                .lang(self.lang())
                .cardinal()
                .to_words()
                .unwrap_or_default()
        });
        said.collect::<Vec<_>>().join(" ")
    }

    /// A number as it is written: whole digits, perhaps decimals, perhaps a sign.
    pub fn number(self, negative: bool, whole: &str, decimals: Option<&str>) -> String {
        let mut said = if negative { format!("{} ", self.minus()) } else { String::new() };
        said.push_str(&self.cardinal(whole));
        if let Some(decimals) = decimals.filter(|decimals| !decimals.is_empty()) {
            said.push(' ');
            said.push_str(self.point());
            let zeros = decimals.len() - decimals.trim_start_matches('0').len();
            let (zeros, rest) = decimals.split_at(zeros);
            for part in [self.digit_by_digit(zeros), self.decimals(rest)] {
                if !part.is_empty() {
                    said.push(' ');
                    said.push_str(&part);
                }
            }
        }
        said
    }

    fn decimals(self, digits: &str) -> String {
        // English says decimals digit by digit; French does from four on.
        if self == Self::French && (1..=3).contains(&digits.len()) {
            self.cardinal(digits)
        } else {
            self.digit_by_digit(digits)
        }
    }

    /// `digits` as an ordinal: `third`, `troisième`.
    pub fn ordinal(self, digits: &str) -> String {
        let cardinal = self.cardinal(digits);
        if self != Self::French {
            let number = digits.parse::<i64>().ok();
            let said = number
                .and_then(|it| Num2Words::new(it).lang(self.lang()).ordinal().to_words().ok());
            return said.unwrap_or(cardinal);
        }
        if cardinal == "un" {
            return "premier".to_owned();
        }
        let stem = cardinal.strip_suffix(['s', 'e']).unwrap_or(&cardinal);
        // `trois` is the one whose s belongs to it.
        let stem = if cardinal.ends_with("trois") { &cardinal } else { stem };
        match stem.as_bytes().last() {
            Some(b'q') => format!("{stem}uième"),
            Some(b'f') => format!("{}vième", &stem[..stem.len() - 1]),
            _ => format!("{stem}ième"),
        }
    }

    /// A year of four digits as it is said in this language.
    pub fn year(self, digits: &str) -> String {
        let said = digits
            .parse::<i64>()
            .ok()
            .filter(|_| self != Self::French)
            .and_then(|year| Num2Words::new(year).lang(self.lang()).year().to_words().ok());
        said.unwrap_or_else(|| self.cardinal(digits))
    }
}

/// The value of a Roman number below forty, in digits.
pub fn roman(text: &str) -> Option<String> {
    const NUMERALS: [(&str, usize); 5] = [("X", 10), ("IX", 9), ("V", 5), ("IV", 4), ("I", 1)];
    let value = |text: &str| {
        let (mut rest, mut value) = (text, 0);
        for (numeral, worth) in NUMERALS {
            while let Some(after) = rest.strip_prefix(numeral) {
                (rest, value) = (after, value + worth);
            }
        }
        (rest.is_empty() && value > 0).then_some(value)
    };
    // Written anew it must look the same, which IIII and IXI do not.
    let written = |value: usize| {
        let units = ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"];
        format!("{}{}", "X".repeat(value / 10), units[value % 10])
    };
    value(text).filter(|&value| value < 40 && written(value) == text).map(|value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roman_numbers_are_read_and_words_are_not() {
        for (text, value) in
            [("I", "1"), ("IV", "4"), ("VIII", "8"), ("XIX", "19"), ("XXI", "21"), ("XXXIX", "39")]
        {
            assert_eq!(roman(text).as_deref(), Some(value), "{text}");
        }
        for text in ["", "IIII", "VV", "VX", "MIX", "IXI", "Ix"] {
            assert_eq!(roman(text), None, "{text}");
        }
    }

    #[test]
    fn french_ordinals_follow_their_numbers() {
        for (digits, said) in [
            ("1", "premier"),
            ("3", "troisième"),
            ("4", "quatrième"),
            ("5", "cinquième"),
            ("9", "neuvième"),
            ("11", "onzième"),
            ("21", "vingt et unième"),
            ("80", "quatre-vingtième"),
            ("200", "deux centième"),
            ("1000", "millième"),
        ] {
            assert_eq!(Speller::French.ordinal(digits), said, "{digits}");
        }
    }
}
