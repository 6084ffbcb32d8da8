//! Promise: what is written short is said in full, in English and in French.

use mega_pipeline::text::spoken::prepare;

const ENGLISH: [(&str, &str); 75] = [
    // Numbers
    ("We counted 3 birds.", "We counted three birds."),
    ("We counted 1,234 birds.", "We counted one thousand two hundred and thirty-four birds."),
    ("Pi is about 3.14.", "Pi is about three point one four."),
    ("It was -5 outside.", "It was minus five outside."),
    ("Agent 007 is here.", "Agent zero zero seven is here."),
    ("It took 0.05 seconds.", "It took zero point zero five seconds."),
    ("Pages 10-20 are gone.", "Pages ten to twenty are gone."),
    ("From 2019–2023 it rained.", "From twenty nineteen to twenty twenty-three it rained."),
    ("5 - 3 = 2", "five minus three equals two"),
    ("The MP3 and the A4 stay.", "The MP3 and the A4 stay."),
    // Years and dates
    ("It began in 1969.", "It began in nineteen sixty-nine."),
    ("Since 2024, it runs.", "Since twenty twenty-four, it runs."),
    ("The 1990s were loud.", "The nineteen nineties were loud."),
    ("Music of the '80s.", "Music of the eighties."),
    ("On March 3, 2024 we met.", "On March third, twenty twenty-four we met."),
    ("It is due Dec. 1.", "It is due December first."),
    ("On 3 March 2024 we met.", "On the third of March twenty twenty-four we met."),
    ("Released 2026-11-26.", "Released November twenty-sixth, twenty twenty-six."),
    ("Signed 7/4/1776.", "Signed July fourth, seventeen seventy-six."),
    ("See you in Sept. or later.", "See you in September or later."),
    // Times
    ("The train leaves at 12:30.", "The train leaves at twelve thirty."),
    ("Come at 9:05 am, please.", "Come at nine oh five A M, please."),
    ("It opens at 5 p.m. today.", "It opens at five P M today."),
    ("It closes at 5:30 p.m.", "It closes at five thirty P M."),
    ("We eat at 7:00.", "We eat at seven o'clock."),
    ("It took 1:02:03.", "It took one oh two and three seconds."),
    // Money and percentages
    ("It costs $4.50.", "It costs four dollars and fifty cents."),
    ("It costs $1.", "It costs one dollar."),
    ("Only $0.99 today.", "Only ninety-nine cents today."),
    ("They paid $1,200, then left.", "They paid one thousand two hundred dollars, then left."),
    ("A $3.5 million grant.", "A three point five million dollars grant."),
    ("It raised €20M.", "It raised twenty million euros."),
    ("£1.01 each.", "one pound and one penny each."),
    ("Some 12.5% of them.", "Some twelve point five percent of them."),
    ("100 % sure", "one hundred percent sure"),
    // Units
    ("It is 5 km away.", "It is five kilometers away."),
    ("Drive at 100 km/h.", "Drive at one hundred kilometers per hour."),
    ("Light does 300,000 km/s.", "Light does three hundred thousand kilometers per second."),
    ("It falls at 9.8 m/s².", "It falls at nine point eight meters per second squared."),
    ("At most 50 mg/L.", "At most fifty milligrams per liter."),
    ("It writes 30 tokens/s.", "It writes thirty tokens per second."),
    ("It costs $5/month.", "It costs five dollars per month."),
    ("It draws 110-220 V.", "It draws one hundred ten to two hundred twenty volts."),
    (
        "At $20/m² or $10k/yr.",
        "At twenty dollars per square meter or ten thousand dollars per year.",
    ),
    ("At most 50 mg/day.", "At most fifty milligrams per day."),
    ("Call 555-123-4567 now.", "Call five five five, one two three, four five six seven now."),
    ("Add 1 kg of flour.", "Add one kilogram of flour."),
    (
        "It was 20°C, not 68 °F.",
        "It was twenty degrees Celsius, not sixty-eight degrees Fahrenheit.",
    ),
    ("With 16GB of memory.", "With sixteen gigabytes of memory."),
    ("It answers in 1.5 ms.", "It answers in one point five milliseconds."),
    ("A room of 30 m².", "A room of thirty square meters."),
    // Ordinals, fractions, Roman numbers
    ("The 1st and the 22nd.", "The first and the twenty-second."),
    ("Add 1/2 a cup.", "Add one half a cup."),
    ("About 3/4 of it.", "About three quarters of it."),
    ("Open 24/7.", "Open twenty-four seven."),
    ("After World War II ended.", "After World War two ended."),
    ("Henry VIII had six wives.", "Henry the eighth had six wives."),
    ("Chapter IV begins.", "Chapter four begins."),
    // Abbreviations
    ("Fruit, e.g. apples.", "Fruit, for example apples."),
    ("Later, i.e. tomorrow.", "Later, that is tomorrow."),
    ("Cats, dogs, etc.", "Cats, dogs, et cetera."),
    ("Cats, dogs, etc. are welcome.", "Cats, dogs, et cetera are welcome."),
    ("Dr. Smith met Mr. Jones.", "Doctor Smith met Mister Jones."),
    ("See No. 5 and Fig. 2.", "See number five and Figure two."),
    ("Issue #42 is open.", "Issue number forty-two is open."),
    // Addresses and versions
    ("Visit https://www.example.com/docs today.", "Visit example dot com slash docs today."),
    ("Write to jo@example.org.", "Write to jo at example dot org."),
    ("Use v1.2 or 1.2.3.", "Use version one point two or one point two point three."),
    ("Call 555-0199 now.", "Call five five five, zero one nine nine now."),
    // Signs and marks
    ("Tom & Ann", "Tom and Ann"),
    ("This and/or that.", "This and or that."),
    ("**Bold** and `code` and _more_.", "Bold and code and more."),
    ("# A title", "A title"),
    ("- an item with [a link](http://x.y)", "an item with a link"),
    ("So happy 🎉👩‍💻 today ❤️!", "So happy today !"),
];

const FRENCH: [(&str, &str); 75] = [
    // Nombres
    ("Il y a 3 oiseaux.", "Il y a trois oiseaux."),
    ("Il y a 1 234 oiseaux.", "Il y a mille deux cent trente-quatre oiseaux."),
    ("Il y a 1\u{202f}000\u{202f}000 d'étoiles.", "Il y a un million d'étoiles."),
    ("Pi vaut 3,14.", "Pi vaut trois virgule quatorze."),
    ("Pi vaut 3.14.", "Pi vaut trois virgule quatorze."),
    ("Il y a 1,000 fois plus.", "Il y a mille fois plus."),
    ("Il faisait -5 dehors.", "Il faisait moins cinq dehors."),
    ("Il faut 0,05 seconde.", "Il faut zéro virgule zéro cinq seconde."),
    ("L'agent 007 arrive.", "L'agent zéro zéro sept arrive."),
    ("Pages 10-20.", "Pages dix à vingt."),
    ("De 71 à 99.", "De soixante et onze à quatre-vingt-dix-neuf."),
    ("5 - 3 = 2", "cinq moins trois égale deux"),
    // Dates et années
    ("En 1969, tout change.", "En mille neuf cent soixante-neuf, tout change."),
    ("Le 1er mars arrive.", "Le premier mars arrive."),
    ("Le 1 mars arrive.", "Le premier mars arrive."),
    ("Le 3 mars 2024.", "Le trois mars deux mille vingt-quatre."),
    ("Publié le 2026-11-26.", "Publié le vingt-six novembre deux mille vingt-six."),
    ("Signé le 04/07/1776.", "Signé le quatre juillet mille sept cent soixante-seize."),
    ("De 2019–2023.", "De deux mille dix-neuf à deux mille vingt-trois."),
    ("Au XXe siècle.", "Au vingtième siècle."),
    ("Au XIXème siècle.", "Au dix-neuvième siècle."),
    ("Louis XIV régnait.", "Louis quatorze régnait."),
    ("François Ier aussi.", "François premier aussi."),
    // Heures
    ("Le train part à 12h30.", "Le train part à douze heures trente."),
    ("Le train part à 17 h 05.", "Le train part à dix-sept heures cinq."),
    ("Le train part à 9:15.", "Le train part à neuf heures quinze."),
    ("Rendez-vous à 1h.", "Rendez-vous à une heure."),
    ("Rendez-vous à 21 h 21.", "Rendez-vous à vingt et une heures vingt et une."),
    (
        "Ouvert 24h/24 et 7j/7.",
        "Ouvert vingt-quatre heures sur vingt-quatre et sept jours sur sept.",
    ),
    // Argent et pourcentages
    ("Cela coûte 4,50 €.", "Cela coûte quatre euros cinquante."),
    ("Cela coûte 1 €.", "Cela coûte un euro."),
    ("Seulement 0,99 € ici.", "Seulement quatre-vingt-dix-neuf centimes ici."),
    ("Un prix de $20.", "Un prix de vingt dollars."),
    ("Une levée de 3 millions €.", "Une levée de trois millions d'euros."),
    ("Un budget de 20 M€.", "Un budget de vingt millions d'euros."),
    ("Elle vaut 21 £.", "Elle vaut vingt et une livres."),
    ("Environ 12,5 % d'entre eux.", "Environ douze virgule cinq pour cent d'entre eux."),
    ("Sûr à 100%.", "Sûr à cent pour cent."),
    // Unités
    ("C'est à 5 km d'ici.", "C'est à cinq kilomètres d'ici."),
    ("Roulez à 100 km/h.", "Roulez à cent kilomètres à l'heure."),
    ("La lumière : 300 000 km/s.", "La lumière : trois cent mille kilomètres par seconde."),
    ("Au plus 50 mg/l.", "Au plus cinquante milligrammes par litre."),
    ("Elle prend 6,5 l/100 km.", "Elle prend six virgule cinq litres aux cent kilomètres."),
    ("Il affiche 25 images/s.", "Il affiche vingt-cinq images par seconde."),
    ("Cela coûte 10 €/mois.", "Cela coûte dix euros par mois."),
    ("Une photo de 12 MP.", "Une photo de douze mégapixels."),
    ("En 24-48 h au plus.", "En vingt-quatre à quarante-huit heures au plus."),
    ("Elle vaut 3 500 €/m².", "Elle vaut trois mille cinq cents euros par mètre carré."),
    ("On travaille 35 h/semaine.", "On travaille trente-cinq heures par semaine."),
    ("Il a fallu 1,5 h.", "Il a fallu un virgule cinq heure."),
    ("Durée : 1 h 30 min.", "Durée : une heure trente."),
    ("Ajoutez 1 kg de farine.", "Ajoutez un kilogramme de farine."),
    ("Attendez 1 min puis 21 s.", "Attendez une minute puis vingt et une secondes."),
    ("Il fait 20 °C.", "Il fait vingt degrés Celsius."),
    ("Avec 16 Go de mémoire.", "Avec seize gigaoctets de mémoire."),
    ("Une pièce de 30 m².", "Une pièce de trente mètres carrés."),
    ("Il pèse 1,5 t.", "Il pèse un virgule cinq tonne."),
    // Ordinaux et fractions
    ("La 1re et le 2e.", "La première et le deuxième."),
    ("Le 9e et le 21ème.", "Le neuvième et le vingt et unième."),
    ("Les 3es places.", "Les troisièmes places."),
    ("Ajoutez 1/2 tasse.", "Ajoutez un demi tasse."),
    ("Environ 3/4 du lot.", "Environ trois quarts du lot."),
    ("Les 2/3 restent.", "Les deux tiers restent."),
    // Abréviations
    ("Des fruits, p. ex. des pommes.", "Des fruits, par exemple des pommes."),
    ("Plus tard, c.-à-d. demain.", "Plus tard, c'est-à-dire demain."),
    ("Des chats, des chiens, etc.", "Des chats, des chiens, et cetera."),
    ("M. Dupont et Mme Martin.", "Monsieur Dupont et Madame Martin."),
    ("Voir n° 5, p. 12.", "Voir numéro cinq, page douze."),
    ("En 52 av. J.-C., il arriva.", "En cinquante-deux avant Jésus-Christ, il arriva."),
    // Adresses et signes
    (
        "Visitez https://www.exemple.fr/aide demain.",
        "Visitez exemple point fr barre oblique aide demain.",
    ),
    ("Écrivez à jo@exemple.fr.", "Écrivez à jo arobase exemple point fr."),
    (
        "Appelez le 01 23 45 67 89.",
        "Appelez le zéro un, vingt-trois, quarante-cinq, soixante-sept, quatre-vingt-neuf.",
    ),
    ("La version 1.2.3 sort.", "La version un point deux point trois sort."),
    ("Paul & Anne", "Paul et Anne"),
    ("**Gras** et `code` 🎉.", "Gras et code ."),
];

fn check(language: &str, cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(written, said)| (written, said, prepare(written, language)))
        .filter(|(_, said, made)| *said != made)
        .map(|(written, said, made)| format!("{written:?}\n  is said {made:?}\n  and not {said:?}"))
        .collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn english_is_said_in_full() {
    check("en-us", &ENGLISH);
}

#[test]
fn french_is_said_in_full() {
    check("fr-fr", &FRENCH);
}

#[test]
fn other_languages_keep_their_numbers_and_lose_their_marks() {
    assert_eq!(prepare("**São** 1.234,5 euros 🎉", "pt-br"), "São 1.234,5 euros");
}

#[test]
fn no_text_stops_the_voice() {
    for odd in [
        "",
        " ",
        "1/0",
        "0/0",
        "99:99",
        "$",
        "$ 5",
        "-",
        "1e400",
        "00/00/0000",
        "2026-13-45",
        "IIII",
        "#",
        "@",
        "1.2.3.4.5.6.7",
    ] {
        for language in ["en-us", "fr-fr", "pt-br", ""] {
            prepare(odd, language);
        }
    }
    let long = "9".repeat(500);
    assert_eq!(prepare(&long, "en").split(' ').count(), 500);
}
