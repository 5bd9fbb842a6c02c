//! Words of a chocolate shop: some that half of all products have, some that hardly any has, so
//! that a search meets both.

/// What a product is.
#[derive(Debug)]
pub(super) struct Sort {
    /// Its category.
    pub(super) kind: &'static str,
    /// What titles call it.
    pub(super) forms: &'static [&'static str],
    /// Pence of the smallest one.
    pub(super) pence: i64,
    /// What its variants differ in, and how; none comes in one way only.
    pub(super) sizes: &'static [(&'static str, u32)],
}

const GRAMS: &[(&str, u32)] = &[("100 g", 100), ("250 g", 250), ("500 g", 500)];
const PIECES: &[(&str, u32)] = &[("6 pieces", 90), ("12 pieces", 180), ("24 pieces", 360)];

pub(super) const SORTS: &[Sort] = &[
    Sort { kind: "Bars", forms: &["Bar", "Tablet", "Slab", "Mini Bar"], pence: 395, sizes: &[] },
    Sort { kind: "Truffles", forms: &["Truffles", "Ganaches"], pence: 850, sizes: PIECES },
    Sort { kind: "Pralines", forms: &["Pralines", "Bonbons"], pence: 990, sizes: PIECES },
    Sort { kind: "Boxes", forms: &["Gift Box", "Selection", "Hamper"], pence: 2_450, sizes: &[] },
    Sort {
        kind: "Drinking chocolate",
        forms: &["Hot Chocolate", "Drinking Flakes", "Cocoa Powder"],
        pence: 720,
        sizes: GRAMS,
    },
    Sort { kind: "Caramels", forms: &["Caramels", "Fudge", "Toffee"], pence: 640, sizes: GRAMS },
    Sort { kind: "Buttons", forms: &["Buttons", "Drops", "Chips"], pence: 450, sizes: GRAMS },
    Sort { kind: "Figures", forms: &["Bear", "Hare", "Egg", "Hen"], pence: 680, sizes: &[] },
    Sort { kind: "Spreads", forms: &["Spread", "Sauce", "Cream"], pence: 590, sizes: &[] },
    Sort {
        kind: "Baking",
        forms: &["Couverture", "Nibs", "Brownie Mix"],
        pence: 780,
        sizes: GRAMS,
    },
    Sort {
        kind: "Nuts", forms: &["Dragées", "Coated Nuts", "Clusters"], pence: 560, sizes: GRAMS
    },
    Sort { kind: "Tools", forms: &["Mould", "Whisk", "Thermometer"], pence: 1_250, sizes: &[] },
];

/// Common ones first: whoever chooses among them prefers the front.
pub(super) const STYLES: &[&str] = &[
    "Dark",
    "Milk",
    "White",
    "Single Origin",
    "Vegan",
    "Organic",
    "Ruby",
    "Blonde",
    "Raw",
    "Stone-ground",
    "Smoked",
    "Sugar-free",
    "Gianduja",
    "Oat Milk",
];

pub(super) const ORIGINS: &[&str] = &[
    "Ecuador",
    "Madagascar",
    "Peru",
    "Ghana",
    "Dominican",
    "Tanzania",
    "Belize",
    "Colombia",
    "Vietnam",
    "São Tomé",
    "Trinidad",
    "Papua",
    "Grenada",
    "Uganda",
    "Chiapas",
    "Kerala",
];

pub(super) const INCLUSIONS: &[&str] = &[
    "Sea Salt",
    "Hazelnut",
    "Caramel",
    "Orange",
    "Almond",
    "Mint",
    "Raspberry",
    "Coffee",
    "Ginger",
    "Chilli",
    "Pistachio",
    "Honey",
    "Cherry",
    "Coconut",
    "Cinnamon",
    "Lemon",
    "Walnut",
    "Fig",
    "Rose",
    "Earl Grey",
    "Cardamom",
    "Passion Fruit",
    "Crème Brûlée",
    "Lavender",
    "Macadamia",
    "Black Sesame",
    "Matcha",
    "Tonka",
    "Yuzu",
    "Saffron",
    "Juniper",
    "Blackcurrant",
    "Sobacha",
    "Cupuaçu",
    "Timur Pepper",
    "Elderflower",
    "Quince",
    "Buckwheat",
    "Sea Buckthorn",
    "Woodruff",
];

pub(super) const TAGS: &[&str] = &[
    "gift",
    "bestseller",
    "vegan",
    "gluten-free",
    "fairtrade",
    "organic",
    "christmas",
    "easter",
    "new",
    "award-winning",
    "nut-free",
    "limited",
    "valentine",
    "sharing",
    "letterbox",
    "corporate",
    "kids",
    "baking",
    "alcohol",
    "seasonal",
    "last-chance",
    "handmade",
    "plastic-free",
    "kosher",
];

/// First and last parts of the names of makers, and of the lines they sell. Put together they make
/// words that few products have.
pub(super) const NAME_HEADS: &[&str] = &[
    "Aur", "Bel", "Cor", "Dal", "Est", "Fen", "Gal", "Hal", "Ist", "Jun", "Kel", "Lor", "Mar",
    "Nor", "Oss", "Pel", "Quil", "Ros", "Sil", "Tam", "Ulm", "Ver", "Wen", "Yar", "Zel",
];
pub(super) const NAME_TAILS: &[&str] = &[
    "ada", "bury", "cott", "dene", "elia", "ford", "grove", "holm", "ina", "kamp", "ley", "mont",
    "nova", "ora", "pont", "ridge", "stow", "thal", "una", "wick",
];

/// Country and what it pays in; the front is most of the business.
pub(super) const COUNTRIES: &[(&str, &str)] = &[
    ("United Kingdom", "GBP"),
    ("Ireland", "EUR"),
    ("Germany", "EUR"),
    ("France", "EUR"),
    ("United States", "USD"),
    ("Netherlands", "EUR"),
    ("Spain", "EUR"),
    ("Belgium", "EUR"),
    ("Switzerland", "GBP"),
    ("Australia", "GBP"),
    ("Norway", "GBP"),
    ("Canada", "GBP"),
    ("Japan", "GBP"),
    ("Iceland", "GBP"),
    ("Malta", "EUR"),
];

pub(super) const REFUND_REASONS: &[&str] =
    &["arrived broken", "melted on the way", "one box was missing", "wrong flavour"];

pub(super) const CANCEL_REASONS: &[&str] =
    &["ordered twice by mistake", "would arrive after the birthday", "changed their mind"];
