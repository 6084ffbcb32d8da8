//! Weekdays and months, as they stand in a sentence of each language.
//!
//! Called by `text::spoken` to say dates, and by the text model's translator to check them.

/// The names of one language.
#[derive(Debug)]
pub struct Calendar {
    /// BCP 47 tag.
    pub tag: &'static str,
    /// Monday first; in Portuguese without the `-feira`.
    pub weekdays: [&'static str; 7],
    /// January first.
    pub months: [&'static str; 12],
}

impl Calendar {
    const ALL: [&'static Self; 6] = [&ENGLISH, &FRENCH, &SPANISH, &ITALIAN, &PORTUGUESE, &HINDI];

    /// The one of a language, a BCP 47 tag, if it is known.
    #[must_use]
    pub fn of(tag: &str) -> Option<&'static Self> {
        Self::ALL.into_iter().find(|calendar| calendar.tag == tag)
    }

    /// Whether a name is that of a weekday only with `-feira`, and an ordinal number without it.
    #[must_use]
    pub fn wants_feira(&self, name: &str) -> bool {
        self.tag == "pt" && self.weekdays[..5].contains(&name)
    }

    /// Weekdays, then months.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.weekdays.into_iter().chain(self.months)
    }
}

/// English.
pub static ENGLISH: Calendar = Calendar {
    tag: "en",
    weekdays: ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    months: [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
};

/// French.
pub static FRENCH: Calendar = Calendar {
    tag: "fr",
    weekdays: ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
    months: [
        "janvier",
        "février",
        "mars",
        "avril",
        "mai",
        "juin",
        "juillet",
        "août",
        "septembre",
        "octobre",
        "novembre",
        "décembre",
    ],
};

/// Spanish.
pub static SPANISH: Calendar = Calendar {
    tag: "es",
    weekdays: ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
    months: [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
};

/// Italian.
pub static ITALIAN: Calendar = Calendar {
    tag: "it",
    weekdays: ["lunedì", "martedì", "mercoledì", "giovedì", "venerdì", "sabato", "domenica"],
    months: [
        "gennaio",
        "febbraio",
        "marzo",
        "aprile",
        "maggio",
        "giugno",
        "luglio",
        "agosto",
        "settembre",
        "ottobre",
        "novembre",
        "dicembre",
    ],
};

/// Portuguese.
pub static PORTUGUESE: Calendar = Calendar {
    tag: "pt",
    weekdays: ["segunda", "terça", "quarta", "quinta", "sexta", "sábado", "domingo"],
    months: [
        "janeiro",
        "fevereiro",
        "março",
        "abril",
        "maio",
        "junho",
        "julho",
        "agosto",
        "setembro",
        "outubro",
        "novembro",
        "dezembro",
    ],
};

/// Hindi.
pub static HINDI: Calendar = Calendar {
    tag: "hi",
    weekdays: ["सोमवार", "मंगलवार", "बुधवार", "गुरुवार", "शुक्रवार", "शनिवार", "रविवार"],
    months: [
        "जनवरी",
        "फरवरी",
        "मार्च",
        "अप्रैल",
        "मई",
        "जून",
        "जुलाई",
        "अगस्त",
        "सितंबर",
        "अक्टूबर",
        "नवंबर",
        "दिसंबर",
    ],
};
