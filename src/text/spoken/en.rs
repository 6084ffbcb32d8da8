//! English: what is written short, said in full.

use std::sync::LazyLock;

use regex::Captures;

use super::numbers::{Speller, roman};
use super::rules::{self, Rule, any_of, digits, group, rule};
use crate::text::calendar::ENGLISH as CALENDAR;

const SPELLER: Speller = Speller::English;

/// Short names of months, with the number of the month.
const SHORT_MONTHS: [(&str, usize); 12] = [
    ("Jan", 1),
    ("Feb", 2),
    ("Mar", 3),
    ("Apr", 4),
    ("Jun", 6),
    ("Jul", 7),
    ("Aug", 8),
    ("Sept", 9),
    ("Sep", 9),
    ("Oct", 10),
    ("Nov", 11),
    ("Dec", 12),
];

/// Sign, one, many, a hundredth, hundredths.
const CURRENCIES: [(&str, &str, &str, &str, &str); 5] = [
    ("US$", "dollar", "dollars", "cent", "cents"),
    ("$", "dollar", "dollars", "cent", "cents"),
    ("€", "euro", "euros", "cent", "cents"),
    ("£", "pound", "pounds", "penny", "pence"),
    ("¥", "yen", "yen", "sen", "sen"),
];

/// Written, said of one, said of many. One over another is said with `per`, except what is here.
const UNITS: [(&str, &str, &str); 70] = [
    ("L/100 km", "liter per hundred kilometers", "liters per hundred kilometers"),
    ("l/100 km", "liter per hundred kilometers", "liters per hundred kilometers"),
    ("Mbps", "megabit per second", "megabits per second"),
    ("Gbps", "gigabit per second", "gigabits per second"),
    ("rpm", "revolution per minute", "revolutions per minute"),
    ("mph", "mile per hour", "miles per hour"),
    ("km²", "square kilometer", "square kilometers"),
    ("m²", "square meter", "square meters"),
    ("m³", "cubic meter", "cubic meters"),
    ("km", "kilometer", "kilometers"),
    ("cm", "centimeter", "centimeters"),
    ("mm", "millimeter", "millimeters"),
    ("µm", "micrometer", "micrometers"),
    ("nm", "nanometer", "nanometers"),
    ("m", "meter", "meters"),
    ("ft", "foot", "feet"),
    ("mi", "mile", "miles"),
    ("kg", "kilogram", "kilograms"),
    ("mg", "milligram", "milligrams"),
    ("g", "gram", "grams"),
    ("lbs", "pound", "pounds"),
    ("lb", "pound", "pounds"),
    ("oz", "ounce", "ounces"),
    ("ml", "milliliter", "milliliters"),
    ("mL", "milliliter", "milliliters"),
    ("L", "liter", "liters"),
    ("l", "liter", "liters"),
    ("ms", "millisecond", "milliseconds"),
    ("µs", "microsecond", "microseconds"),
    ("ns", "nanosecond", "nanoseconds"),
    ("sec", "second", "seconds"),
    ("s", "second", "seconds"),
    ("s²", "second squared", "seconds squared"),
    ("min", "minute", "minutes"),
    ("hrs", "hour", "hours"),
    ("hr", "hour", "hours"),
    ("h", "hour", "hours"),
    ("kB", "kilobyte", "kilobytes"),
    ("KB", "kilobyte", "kilobytes"),
    ("MB", "megabyte", "megabytes"),
    ("GB", "gigabyte", "gigabytes"),
    ("TB", "terabyte", "terabytes"),
    ("KiB", "kibibyte", "kibibytes"),
    ("MiB", "mebibyte", "mebibytes"),
    ("GiB", "gibibyte", "gibibytes"),
    ("kbit", "kilobit", "kilobits"),
    ("Mbit", "megabit", "megabits"),
    ("Gbit", "gigabit", "gigabits"),
    ("px", "pixel", "pixels"),
    ("Hz", "hertz", "hertz"),
    ("kHz", "kilohertz", "kilohertz"),
    ("MHz", "megahertz", "megahertz"),
    ("GHz", "gigahertz", "gigahertz"),
    ("Wh", "watt hour", "watt hours"),
    ("kWh", "kilowatt hour", "kilowatt hours"),
    ("MWh", "megawatt hour", "megawatt hours"),
    ("GWh", "gigawatt hour", "gigawatt hours"),
    ("TWh", "terawatt hour", "terawatt hours"),
    ("kW", "kilowatt", "kilowatts"),
    ("MW", "megawatt", "megawatts"),
    ("GW", "gigawatt", "gigawatts"),
    ("W", "watt", "watts"),
    ("V", "volt", "volts"),
    ("kV", "kilovolt", "kilovolts"),
    ("hPa", "hectopascal", "hectopascals"),
    ("dB", "decibel", "decibels"),
    ("kcal", "kilocalorie", "kilocalories"),
    ("°C", "degree Celsius", "degrees Celsius"),
    ("°F", "degree Fahrenheit", "degrees Fahrenheit"),
    ("°", "degree", "degrees"),
];

/// Short words that stand for others wherever they come up. Their stop is part of them.
const SHORT: [(&str, &str); 20] = [
    ("e.g.", "for example"),
    ("i.e.", "that is"),
    ("etc.", "et cetera"),
    ("vs.", "versus"),
    ("approx.", "approximately"),
    ("w/o", "without"),
    ("w/", "with"),
    ("and/or", "and or"),
    ("he/she", "he or she"),
    ("his/her", "his or her"),
    ("dept.", "department"),
    ("Inc.", "Incorporated"),
    ("Ltd.", "Limited"),
    ("Corp.", "Corporation"),
    ("Ave.", "Avenue"),
    ("Blvd.", "Boulevard"),
    ("Rd.", "Road"),
    ("a.k.a.", "also known as"),
    ("incl.", "including"),
    ("est.", "established"),
];

/// Short words before a number.
const BEFORE_NUMBERS: [(&str, &str); 13] = [
    ("Nos.", "numbers"),
    ("No.", "number"),
    ("no.", "number"),
    ("pp.", "pages"),
    ("p.", "page"),
    ("vol.", "volume"),
    ("Vol.", "Volume"),
    ("ch.", "chapter"),
    ("Ch.", "Chapter"),
    ("Figs.", "Figures"),
    ("Fig.", "Figure"),
    ("fig.", "figure"),
    ("Sec.", "Section"),
];

const SIGNS: [(char, &str); 5] =
    [('.', "dot"), ('/', "slash"), ('-', "dash"), ('_', "underscore"), ('@', "at")];

/// What stands alone between spaces.
const SYMBOLS: [(&str, &str); 14] = [
    ("&", "and"),
    ("+", "plus"),
    ("=", "equals"),
    ("==", "equals"),
    ("×", "times"),
    ("÷", "divided by"),
    ("±", "plus or minus"),
    ("≈", "about"),
    ("<", "less than"),
    (">", "greater than"),
    ("≤", "at most"),
    ("≥", "at least"),
    ("@", "at"),
    ("→", "to"),
];

const NUMBER: &str =
    r"(?:\B(?P<sign>[-−]))?\b(?P<whole>\d{1,3}(?:,\d{3})+|\d+)(?:\.(?P<decimals>\d+))?";

/// In the order in which they apply: the longer before what it is made of.
static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let months = CALENDAR.months.join("|");
    let short_months = any_of(&SHORT_MONTHS, |it| it.0);
    let month = format!(r"(?P<month>{months}|(?:{short_months})\b\.?)");
    let currencies = any_of(&CURRENCIES, |it| it.0);
    let units = any_of(&UNITS, |it| it.0);
    let scale = "thousand|million|billion|trillion";
    let mut rules = Vec::from([
        rule(
            r"(?:https?://|www\.)[^\s<>()]*[\w/]|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|io|dev|ai|edu|gov)\b(?:/[^\s<>()]*[\w/])?",
            |it| Some(rules::address(&it[0], &SIGNS)),
        ),
        rule(r"\b(?P<year>\d{4})-(?P<month>\d{2})-(?P<day>\d{2})\b", |it| {
            date(&it["month"], &it["day"], Some(&it["year"]))
        }),
        rule(r"\b(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})\b", |it| {
            date(&it["month"], &it["day"], Some(&it["year"]))
                .or_else(|| date(&it["day"], &it["month"], Some(&it["year"])))
        }),
        rule(
            &format!(r"\b{month} (?P<day>\d{{1,2}})(?:st|nd|rd|th)?(?:,? (?P<year>\d{{4}}))?\b"),
            |it| date(&month_number(&it["month"])?, &it["day"], group(it, "year")),
        ),
        rule(
            &format!(r"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th)? {month}(?:,? (?P<year>\d{{4}}))?\b"),
            |it| {
                let month =
                    CALENDAR.months.get(month_number(&it["month"])?.parse::<usize>().ok()? - 1)?;
                let day = SPELLER.ordinal(&it["day"]);
                let year = group(it, "year")
                    .map_or_else(String::new, |year| format!(" {}", SPELLER.year(year)));
                Some(format!("the {day} of {month}{year}"))
            },
        ),
        rule(&format!(r"\b(?P<month>{short_months})\."), |it| {
            let number: usize = month_number(&it["month"])?.parse().ok()?;
            CALENDAR.months.get(number - 1).map(|month| (*month).to_owned())
        }),
        rule(r"\b(?P<century>1[1-9]|20)(?P<ten>\d)0s\b", |it| {
            Some(plural(&SPELLER.year(&format!("{}{}0", &it["century"], &it["ten"]))))
        }),
        rule(r"['’]?\b(?P<ten>[2-9]0)s\b", |it| Some(plural(&SPELLER.cardinal(&it["ten"])))),
        rule(r"\b\d{3}-\d{3}-\d{4}\b|\b\d{3}-\d{4}\b|\+\d[\d ()-]{7,}\d", |it| {
            Some(
                it[0]
                    .split(['-', ' ', '(', ')', '+'])
                    .filter(|part| !part.is_empty())
                    .map(|part| SPELLER.digit_by_digit(part))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        }),
        rule(r"(?P<from>\d)(?:\s?–\s?|-)(?P<to>\d)", |it| {
            Some(format!("{} to {}", &it["from"], &it["to"]))
        }),
        rule(
            &format!(
                r"(?P<amount>[$€£]\s?\d[\d,.]*(?:\s?(?:[kKmMB]|bn|{scale}))?)/(?P<per>\p{{L}}+[²³]?)"
            ),
            |it| Some(format!("{} per {}", &it["amount"], one_of(&it["per"]))),
        ),
        rule(
            &format!(
                r"(?P<currency>{currencies})\s?(?P<whole>\d[\d,]*)(?:\.(?P<decimals>\d+))?(?:\s?(?P<scale>{scale}|[kKmMB]|bn)\b)?"
            ),
            money,
        ),
        rule(
            r"\b(?P<hour>\d{1,2}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?:\s?(?P<half>[AaPp])\.?[Mm]\b(?:\.(?P<end>$)?)?)?",
            time,
        ),
        rule(r"\b(?P<hour>\d{1,2})\s?(?P<half>[AaPp])(?:\.[Mm]\.(?P<end>$)?|[Mm]\b)", time),
        rule(&format!(r"{NUMBER}\s?%"), |it| Some(format!("{} percent", number(it)))),
        rule(
            &format!(
                r"{NUMBER}[ \u{{a0}}]?(?P<unit>{units})(?:/(?P<per>{units}|\p{{L}}{{2,}}))?(?P<after>$|[^\w²³/])"
            ),
            measure,
        ),
        rules::each_time("per", one_of),
    ]);
    rules.extend(rules::versions(SPELLER));
    rules.extend([
        rule(r"\b(?P<number>\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b", |it| {
            Some(SPELLER.ordinal(&digits(&it["number"])))
        }),
        rule(r"\b(?P<over>\d+)/(?P<under>\d+)\b", |it| Some(fraction(it))),
        rule(r"(?P<from>\d) [-−] (?P<to>\d)", |it| {
            Some(format!("{} minus {}", &it["from"], &it["to"]))
        }),
        rules::before_numbers(&BEFORE_NUMBERS),
        rule(r"#(?P<number>\d)", |it| Some(format!("number {}", &it["number"]))),
        rule(r"#(?P<word>[A-Za-z]\w*)", |it| Some(format!("hashtag {}", &it["word"]))),
        rule(
            r"\b(?P<what>World War|Part|Chapter|Act|Volume|Book|Phase|Section|Type) (?P<roman>[IVX]+)\b",
            |it| Some(format!("{} {}", &it["what"], SPELLER.cardinal(&roman(&it["roman"])?))),
        ),
        rule(
            r"\b(?P<name>Henry|Louis|Charles|George|Edward|Elizabeth|James|Philip|William|Napoleon|Paul|Benedict|Pius|Richard) (?P<roman>[IVX]+)\b",
            |it| Some(format!("{} the {}", &it["name"], SPELLER.ordinal(&roman(&it["roman"])?))),
        ),
        rules::short_words(&SHORT, "(", ",;:)!?"),
        rule(
            r"(?:\B(?P<sign>[-−]))?\b(?:(?P<whole>\d{1,3}(?:,\d{3})+)(?:\.(?P<decimals>\d+))?)\b",
            |it| Some(number(it)),
        ),
        rule(r"(?:\B(?P<sign>[-−]))?\b(?P<whole>\d+)\.(?P<decimals>\d+)\b", |it| {
            Some(number(it))
        }),
        rule(r"\b(?:1[1-9]|20)\d\d\b", |it| Some(SPELLER.year(&it[0]))),
        rule(r"(?:\B(?P<sign>[-−]))?\b(?P<whole>\d+)\b", |it| Some(number(it))),
    ]);
    rules.extend(rules::signs(&SYMBOLS, "and", "about"));
    rules
});

/// `text` with numbers, dates, amounts, addresses and the like in words.
pub fn say(text: &str) -> String {
    rules::apply(&RULES, text)
}

fn number(found: &Captures<'_>) -> String {
    rules::number(SPELLER, found)
}

/// `nineties`, `two thousands`.
fn plural(said: &str) -> String {
    said.strip_suffix('y').map_or_else(|| format!("{said}s"), |stem| format!("{stem}ies"))
}

fn month_number(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.');
    let long = CALENDAR.months.iter().position(|month| *month == name).map(|index| index + 1);
    let short = || SHORT_MONTHS.iter().find(|(short, _)| *short == name).map(|(_, number)| *number);
    long.or_else(short).map(|number| number.to_string())
}

fn date(month: &str, day: &str, year: Option<&str>) -> Option<String> {
    let month = CALENDAR.months.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
    if !(1..=31).contains(&day.parse::<u32>().ok()?) {
        return None;
    }
    let day = SPELLER.ordinal(day.trim_start_matches('0'));
    let year = year.map_or_else(String::new, |year| format!(", {}", SPELLER.year(year)));
    Some(format!("{month} {day}{year}"))
}

fn money(found: &Captures<'_>) -> Option<String> {
    let (_, one, many, cent, cents) =
        CURRENCIES.iter().find(|(sign, ..)| *sign == &found["currency"])?;
    let whole = digits(&found["whole"]);
    // A comma at the end is the sentence's.
    let comma = if found["whole"].ends_with(',') { "," } else { "" };
    let decimals = group(found, "decimals");
    if let Some(scale) = group(found, "scale") {
        let scale = match scale {
            "k" | "K" => "thousand",
            "m" | "M" => "million",
            "B" | "bn" => "billion",
            word => word,
        };
        return Some(format!("{} {scale} {many}", SPELLER.number(false, &whole, decimals)));
    }
    let amount = |digits: &str, one: &str, many: &str| {
        let unit = if digits.trim_start_matches('0') == "1" { one } else { many };
        format!("{} {unit}", SPELLER.cardinal(digits))
    };
    Some(match decimals {
        Some(hundredths) if hundredths.len() == 2 => {
            let hundredths = hundredths.trim_start_matches('0');
            match (whole.as_str(), hundredths) {
                (_, "") => amount(&whole, one, many),
                ("0", _) => amount(hundredths, cent, cents),
                _ => {
                    format!("{} and {}", amount(&whole, one, many), amount(hundredths, cent, cents))
                }
            }
        }
        Some(_) => format!("{} {many}", SPELLER.number(false, &whole, decimals)),
        None => amount(&whole, one, many) + comma,
    })
}

fn time(found: &Captures<'_>) -> Option<String> {
    let hour: u32 = found["hour"].parse().ok()?;
    if hour > 24 {
        return None;
    }
    let half = group(found, "half")
        .map(|half| if half.eq_ignore_ascii_case("a") { " A M" } else { " P M" });
    let hour = SPELLER.cardinal(&hour.to_string());
    let minute = match group(found, "minute") {
        Some("00") if half.is_none() => " o'clock".to_owned(),
        None | Some("00") => String::new(),
        Some(minute) => match minute.strip_prefix('0') {
            Some(digit) => format!(" oh {}", SPELLER.cardinal(digit)),
            None => format!(" {}", SPELLER.cardinal(minute)),
        },
    };
    let second = group(found, "second").map_or_else(String::new, |second| {
        format!(" and {} seconds", SPELLER.cardinal(second.strip_prefix('0').unwrap_or(second)))
    });
    let stop = if group(found, "end").is_some() { "." } else { "" };
    Some(format!("{hour}{minute}{second}{}{stop}", half.unwrap_or_default()))
}

fn measure(found: &Captures<'_>) -> Option<String> {
    let (_, one, many) = UNITS.iter().find(|(unit, ..)| *unit == &found["unit"])?;
    let unit =
        if &found["whole"] == "1" && group(found, "decimals").is_none() { one } else { many };
    let per = group(found, "per").map_or_else(String::new, |it| format!(" per {}", one_of(it)));
    Some(format!("{} {unit}{per}{}", number(found), &found["after"]))
}

/// One of the unit or time that is written like this, if it is one.
fn one_of(written: &str) -> &str {
    let times = [("mo", "month"), ("wk", "week"), ("yr", "year")];
    let units = UNITS.iter().map(|&(unit, one, _)| (unit, one));
    units.chain(times).find(|(unit, _)| *unit == written).map_or(written, |(_, one)| one)
}

fn fraction(found: &Captures<'_>) -> String {
    let (over, under) = (SPELLER.cardinal(&found["over"]), &found["under"]);
    let several = &found["over"] != "1";
    match (&found["over"], under) {
        ("24", "7") => "twenty-four seven".to_owned(),
        (_, "2") => format!("{over} {}", if several { "halves" } else { "half" }),
        (_, "4") => format!("{over} {}", if several { "quarters" } else { "quarter" }),
        (_, "3" | "5" | "6" | "7" | "8" | "9" | "10") => {
            format!("{over} {}{}", SPELLER.ordinal(under), if several { "s" } else { "" })
        }
        _ => format!("{over} over {}", SPELLER.cardinal(under)),
    }
}
