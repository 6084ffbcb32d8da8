//! French: what is written short, said in full.

use std::sync::LazyLock;

use regex::Captures;

use super::numbers::{Speller, roman};
use super::rules::{self, Rule, any_of, digits, group, rule};
use crate::text::calendar::FRENCH as CALENDAR;

const SPELLER: Speller = Speller::French;

/// Sign, one, many, hundredths, whether it is feminine.
const CURRENCIES: [(&str, &str, &str, &str, bool); 5] = [
    ("€", "euro", "euros", "centimes", false),
    ("EUR", "euro", "euros", "centimes", false),
    ("$", "dollar", "dollars", "cents", false),
    ("£", "livre", "livres", "pence", true),
    ("¥", "yen", "yens", "sens", false),
];

/// Written, said of one, said of many, whether it is feminine. One over another is said with
/// `par`, except what is here.
const UNITS: [(&str, &str, &str, bool); 68] = [
    ("km/h", "kilomètre à l'heure", "kilomètres à l'heure", false),
    ("tr/min", "tour par minute", "tours par minute", false),
    ("l/100 km", "litre aux cent kilomètres", "litres aux cent kilomètres", false),
    ("L/100 km", "litre aux cent kilomètres", "litres aux cent kilomètres", false),
    ("km²", "kilomètre carré", "kilomètres carrés", false),
    ("m²", "mètre carré", "mètres carrés", false),
    ("m³", "mètre cube", "mètres cubes", false),
    ("km", "kilomètre", "kilomètres", false),
    ("cm", "centimètre", "centimètres", false),
    ("mm", "millimètre", "millimètres", false),
    ("µm", "micromètre", "micromètres", false),
    ("nm", "nanomètre", "nanomètres", false),
    ("m", "mètre", "mètres", false),
    ("ha", "hectare", "hectares", false),
    ("kg", "kilogramme", "kilogrammes", false),
    ("mg", "milligramme", "milligrammes", false),
    ("g", "gramme", "grammes", false),
    ("t", "tonne", "tonnes", true),
    ("ml", "millilitre", "millilitres", false),
    ("cl", "centilitre", "centilitres", false),
    ("l", "litre", "litres", false),
    ("L", "litre", "litres", false),
    ("ns", "nanoseconde", "nanosecondes", true),
    ("µs", "microseconde", "microsecondes", true),
    ("ms", "milliseconde", "millisecondes", true),
    ("s", "seconde", "secondes", true),
    ("s²", "seconde carrée", "secondes carrées", true),
    ("min", "minute", "minutes", true),
    ("h", "heure", "heures", true),
    ("ko", "kilooctet", "kilooctets", false),
    ("Ko", "kilooctet", "kilooctets", false),
    ("Mo", "mégaoctet", "mégaoctets", false),
    ("Go", "gigaoctet", "gigaoctets", false),
    ("To", "téraoctet", "téraoctets", false),
    ("kB", "kilooctet", "kilooctets", false),
    ("MB", "mégaoctet", "mégaoctets", false),
    ("GB", "gigaoctet", "gigaoctets", false),
    ("TB", "téraoctet", "téraoctets", false),
    ("Gio", "gibioctet", "gibioctets", false),
    ("GiB", "gibioctet", "gibioctets", false),
    ("Mio", "mébioctet", "mébioctets", false),
    ("MiB", "mébioctet", "mébioctets", false),
    ("kbit", "kilobit", "kilobits", false),
    ("Mbit", "mégabit", "mégabits", false),
    ("Gbit", "gigabit", "gigabits", false),
    ("MP", "mégapixel", "mégapixels", false),
    ("px", "pixel", "pixels", false),
    ("Hz", "hertz", "hertz", false),
    ("kHz", "kilohertz", "kilohertz", false),
    ("MHz", "mégahertz", "mégahertz", false),
    ("GHz", "gigahertz", "gigahertz", false),
    ("Wh", "wattheure", "wattheures", false),
    ("kWh", "kilowattheure", "kilowattheures", false),
    ("MWh", "mégawattheure", "mégawattheures", false),
    ("GWh", "gigawattheure", "gigawattheures", false),
    ("TWh", "térawattheure", "térawattheures", false),
    ("kW", "kilowatt", "kilowatts", false),
    ("MW", "mégawatt", "mégawatts", false),
    ("GW", "gigawatt", "gigawatts", false),
    ("W", "watt", "watts", false),
    ("V", "volt", "volts", false),
    ("kV", "kilovolt", "kilovolts", false),
    ("hPa", "hectopascal", "hectopascals", false),
    ("dB", "décibel", "décibels", false),
    ("kcal", "kilocalorie", "kilocalories", true),
    ("°C", "degré Celsius", "degrés Celsius", false),
    ("°F", "degré Fahrenheit", "degrés Fahrenheit", false),
    ("°", "degré", "degrés", false),
];

/// Short words that stand for others wherever they come up. Their stop is part of them.
const SHORT: [(&str, &str); 22] = [
    ("Mme", "Madame"),
    ("Mmes", "Mesdames"),
    ("Mlle", "Mademoiselle"),
    ("Dr", "Docteur"),
    ("p. ex.", "par exemple"),
    ("par ex.", "par exemple"),
    ("c.-à-d.", "c'est-à-dire"),
    ("c-à-d", "c'est-à-dire"),
    ("etc.", "et cetera"),
    ("env.", "environ"),
    ("av. J.-C.", "avant Jésus-Christ"),
    ("apr. J.-C.", "après Jésus-Christ"),
    ("ap. J.-C.", "après Jésus-Christ"),
    ("et/ou", "et ou"),
    ("vs.", "contre"),
    ("vs", "contre"),
    ("tél.", "téléphone"),
    ("max.", "maximum"),
    ("min.", "minimum"),
    ("éd.", "édition"),
    ("bd.", "boulevard"),
    ("av.", "avenue"),
];

/// Short words before a number.
const BEFORE_NUMBERS: [(&str, &str); 12] = [
    ("n°", "numéro"),
    ("N°", "numéro"),
    ("nº", "numéro"),
    ("no", "numéro"),
    ("pp.", "pages"),
    ("p.", "page"),
    ("vol.", "volume"),
    ("chap.", "chapitre"),
    ("fig.", "figure"),
    ("Fig.", "figure"),
    ("art.", "article"),
    ("§", "paragraphe"),
];

const SIGNS: [(char, &str); 5] =
    [('.', "point"), ('/', "barre oblique"), ('-', "tiret"), ('_', "tiret bas"), ('@', "arobase")];

/// What stands alone between spaces.
const SYMBOLS: [(&str, &str); 13] = [
    ("&", "et"),
    ("+", "plus"),
    ("=", "égale"),
    ("×", "fois"),
    ("÷", "divisé par"),
    ("±", "plus ou moins"),
    ("≈", "environ"),
    ("<", "inférieur à"),
    (">", "supérieur à"),
    ("≤", "au plus"),
    ("≥", "au moins"),
    ("@", "arobase"),
    ("→", "vers"),
];

/// Thousands are grouped by spaces of any width, or by the stop or comma of another language
/// where three zeros show that nothing else can be meant.
const NUMBER: &str = r"(?:\B(?P<sign>[-−]))?\b(?P<whole>\d{1,3}(?:[  \u{202f}]\d{3})+|\d{1,3}(?:[.,]000)+|\d+)(?:[,.](?P<decimals>\d+))?";

/// In the order in which they apply: the longer before what it is made of.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let months = CALENDAR.months.join("|");
    let currencies = any_of(&CURRENCIES, |it| it.0);
    let units = any_of(&UNITS, |it| it.0);
    let scale = "mille|millions?|milliards?";
    let mut rules = Vec::from([
        rule(
            r"(?:https?://|www\.)[^\s<>()]*[\w/]|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|io|dev|ai|edu|fr|eu|be|ch)\b(?:/[^\s<>()]*[\w/])?",
            |it| Some(rules::address(&it[0], &SIGNS)),
        ),
        rule(r"\b(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})\b", date),
        rule(r"\b(?P<day>\d{1,2})[/.](?P<month>\d{1,2})[/.](?P<year>\d{4})\b", date),
        rule(&format!(r"\b1(?:er)? (?P<month>{months})\b"), |it| {
            Some(format!("premier {}", &it["month"]))
        }),
        rule(r"\b24\s?h(?:eures)?\s?/\s?24\b", |_| {
            Some("vingt-quatre heures sur vingt-quatre".into())
        }),
        rule(r"\b7\s?j(?:ours)?\s?/\s?7\b", |_| Some("sept jours sur sept".into())),
        rule(r"(?P<from>\d)(?:\s?–\s?|-)(?P<to>\d)", |it| {
            Some(format!("{} à {}", &it["from"], &it["to"]))
        }),
        rule(r"(?P<currency>[$£€])/(?P<per>\p{L}+[²³]?)", |it| {
            Some(format!("{} par {}", &it["currency"], one_of(&it["per"])))
        }),
        rule(&format!(r"(?P<currency>[$£€])\s?{NUMBER}(?:\s(?P<scale>{scale}))?"), money),
        rule(
            &format!(
                r"{NUMBER}(?:\s(?P<scale>{scale}))?\s?(?:(?P<multiple>[kM])\s?)?(?P<currency>{currencies})"
            ),
            money,
        ),
        rule(r"\b(?P<whole>\d+)[,.](?P<decimals>\d+)\s?(?P<unit>h)(?P<after>$|[^\w/])", measure),
        rule(r"\b(?P<hour>\d{1,2})\s?h\s?(?P<minute>[0-5]\d)(?:\s?min)?\b", time),
        rule(r"\b(?P<hour>\d{1,2})\s?:\s?(?P<minute>[0-5]\d)\b", time),
        rule(r"\b(?P<hour>\d{1,2})\s?h\b", time),
        rule(&format!(r"{NUMBER}\s?%"), |it| Some(format!("{} pour cent", number(it)))),
        rule(
            &format!(
                r"{NUMBER}\s?(?P<unit>{units})(?:/(?P<per>{units}|\p{{L}}{{2,}}))?(?P<after>$|[^\w²³/])"
            ),
            measure,
        ),
        rules::each_time("par", one_of),
    ]);
    rules.extend(rules::versions(SPELLER));
    rules.extend([
        rule(r"\b1(?P<end>er|re|ère)\b", |it| {
            Some(if &it["end"] == "er" { "premier" } else { "première" }.to_owned())
        }),
        rule(r"\b2(?P<end>nde?)\b", |it| {
            Some(if &it["end"] == "nd" { "second" } else { "seconde" }.to_owned())
        }),
        rule(r"\b(?P<number>\d+)(?:e|è|ème|ième|eme)(?P<many>s?)\b", |it| {
            Some(SPELLER.ordinal(&it["number"]) + &it["many"])
        }),
        rule(r"\b(?P<roman>[IVX]+)(?:e|ème)\b", |it| Some(SPELLER.ordinal(&roman(&it["roman"])?))),
        rule(r"\bIer\b", |_| Some("premier".to_owned())),
        rule(r"\bIre\b", |_| Some("première".to_owned())),
        rule(
            r"\b(?P<name>Louis|Charles|Henri|François|Philippe|Napoléon|Jean|Paul|Pie|Benoît|Guerre mondiale|[Cc]hapitre|[Pp]artie|[Tt]ome|[Aa]cte|[Vv]olume|[Ll]ivre) (?P<roman>[IVX]+)\b",
            |it| Some(format!("{} {}", &it["name"], SPELLER.cardinal(&roman(&it["roman"])?))),
        ),
        rule(r"\b(?P<over>\d+)/(?P<under>\d+)\b", |it| Some(fraction(it))),
        rule(r"(?:\+33 ?[1-9]|\b0[1-9])(?: \d\d){4}\b", |it| Some(telephone(&it[0]))),
        rule(r"(?P<from>\d) [-−] (?P<to>\d)", |it| {
            Some(format!("{} moins {}", &it["from"], &it["to"]))
        }),
        rules::before_numbers(&BEFORE_NUMBERS),
        rule(r"#(?P<number>\d)", |it| Some(format!("numéro {}", &it["number"]))),
        rule(r"#(?P<word>\p{L}\w*)", |it| Some(format!("hashtag {}", &it["word"]))),
        rules::short_words(&SHORT, "(«", ",;:)!?»"),
        rule(&format!(r"{NUMBER}\b"), |it| Some(number(it))),
    ]);
    rules.extend(rules::signs(&SYMBOLS, "et", "environ"));
    rules
});

/// `text` with numbers, dates, amounts, addresses and the like in words.
pub fn say(text: &str) -> String {
    rules::apply(&RULES, text)
}

fn number(found: &Captures<'_>) -> String {
    rules::number(SPELLER, found)
}

/// `one` for 0 and 1, as French counts, and `many` for more.
fn unit<'a>(found: &Captures<'_>, one: &'a str, many: &'a str) -> &'a str {
    if matches!(&found["whole"], "0" | "1") { one } else { many }
}

/// `un` at the end of a number agrees with what it counts.
fn agree(number: String, feminine: bool) -> String {
    match number.strip_suffix("un") {
        Some(stem) if feminine && (stem.is_empty() || stem.ends_with([' ', '-'])) => {
            format!("{stem}une")
        }
        _ => number,
    }
}

fn date(found: &Captures<'_>) -> Option<String> {
    let month = CALENDAR.months.get(found["month"].parse::<usize>().ok()?.checked_sub(1)?)?;
    let day: u32 = found["day"].parse().ok()?;
    let day = match day {
        1 => "premier".to_owned(),
        2..=31 => SPELLER.cardinal(&day.to_string()),
        _ => return None,
    };
    Some(format!("{day} {month} {}", SPELLER.year(&found["year"])))
}

fn money(found: &Captures<'_>) -> Option<String> {
    let (_, one, many, hundredths, feminine) =
        *CURRENCIES.iter().find(|(sign, ..)| *sign == &found["currency"])?;
    let multiple = group(found, "multiple").map(|it| if it == "k" { "mille" } else { "millions" });
    let scale = group(found, "scale").or(multiple);
    if let Some(scale) = scale {
        let of = match (scale, many.chars().next()) {
            ("mille", _) => "",
            (_, Some('e' | 'y')) => "d'",
            _ => "de ",
        };
        return Some(format!("{} {scale} {of}{many}", number(found)));
    }
    let decimals = group(found, "decimals");
    let whole = agree(SPELLER.cardinal(&digits(&found["whole"])), feminine);
    let currency = unit(found, one, many);
    Some(match decimals {
        Some(cents) if cents.len() == 2 => match cents.trim_start_matches('0') {
            "" => format!("{whole} {currency}"),
            cents if &found["whole"] == "0" => format!("{} {hundredths}", SPELLER.cardinal(cents)),
            cents => format!("{whole} {currency} {}", SPELLER.cardinal(cents)),
        },
        Some(_) => format!("{} {many}", number(found)),
        None => format!("{whole} {currency}"),
    })
}

fn time(found: &Captures<'_>) -> Option<String> {
    let hour: u32 = found["hour"].parse().ok()?;
    if hour > 24 {
        return None;
    }
    let said = agree(SPELLER.cardinal(&hour.to_string()), true);
    let minute = match group(found, "minute") {
        None | Some("00") => String::new(),
        Some(minute) => {
            format!(" {}", agree(SPELLER.cardinal(minute.trim_start_matches('0')), true))
        }
    };
    Some(format!("{said} heure{}{minute}", if hour > 1 { "s" } else { "" }))
}

fn measure(found: &Captures<'_>) -> Option<String> {
    let (_, one, many, feminine) = *UNITS.iter().find(|(unit, ..)| *unit == &found["unit"])?;
    let whole = group(found, "decimals").is_none();
    let number = agree(number(found), feminine && whole);
    let per = group(found, "per").map_or_else(String::new, |it| format!(" par {}", one_of(it)));
    Some(format!("{number} {}{per}{}", unit(found, one, many), &found["after"]))
}

/// One of the unit that is written like this, if it is one.
fn one_of(written: &str) -> &str {
    UNITS.iter().find(|(unit, ..)| *unit == written).map_or(written, |(_, one, ..)| one)
}

fn fraction(found: &Captures<'_>) -> String {
    let (over, under) = (SPELLER.cardinal(&found["over"]), &found["under"]);
    let many = if &found["over"] == "1" { "" } else { "s" };
    match under {
        "2" => format!("{over} demi{many}"),
        "3" => format!("{over} tiers"),
        "4" => format!("{over} quart{many}"),
        "5" | "6" | "7" | "8" | "9" | "10" => format!("{over} {}{many}", SPELLER.ordinal(under)),
        _ => format!("{over} sur {}", SPELLER.cardinal(under)),
    }
}

/// A telephone number in pairs, as it is dictated.
fn telephone(text: &str) -> String {
    let (prefix, rest) = match text.strip_prefix("+33") {
        Some(rest) => ("plus trente-trois, ", rest.trim_start()),
        None => ("", text),
    };
    let pairs: Vec<String> = rest.split(' ').map(|pair| SPELLER.cardinal(pair)).collect();
    format!("{prefix}{}", pairs.join(", "))
}
