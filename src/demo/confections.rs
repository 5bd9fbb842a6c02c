//! Pralines, truffles and sweets.

use super::Item;

/// In the order of the shelf.
pub(super) const CONFECTIONS: &[Item] = &[
    Item {
        handle: "house-selection",
        title: "The House Selection",
        vendor: "Conche House",
        kind: "Pralines",
        tags: "gift, bestseller",
        text: "<p>What we would take to a friend: hazelnut gianduja, salted caramel, passion \
               fruit, Earl Grey, and whatever was invented this month.</p>",
        option: "Box",
        variants: &[
            ("9 pieces", "PRA-HSE-09", 1250, 110),
            ("16 pieces", "PRA-HSE-16", 2050, 190),
            ("25 pieces", "PRA-HSE-25", 2950, 300),
        ],
    },
    Item {
        handle: "all-dark-selection",
        title: "All Dark Selection",
        vendor: "Conche House",
        kind: "Pralines",
        tags: "dark, gift",
        text: "<p>Twelve kinds, none below 64%. Prune and armagnac, black sesame, cold brew, \
               smoked salt and nine more.</p>",
        option: "Box",
        variants: &[
            ("9 pieces", "PRA-DRK-09", 1295, 110),
            ("16 pieces", "PRA-DRK-16", 2150, 190),
            ("25 pieces", "PRA-DRK-25", 3050, 300),
        ],
    },
    Item {
        handle: "nut-cabinet",
        title: "The Nut Cabinet",
        vendor: "Conche House",
        kind: "Pralines",
        tags: "nuts, gift",
        text: "<p>Pralines in the old sense: Piedmont hazelnut, Sicilian pistachio, Kentish \
               cobnut and walnut with honey.</p>",
        option: "Box",
        variants: &[
            ("9 pieces", "PRA-NUT-09", 1350, 110),
            ("16 pieces", "PRA-NUT-16", 2250, 190),
            ("25 pieces", "PRA-NUT-25", 3195, 300),
        ],
    },
    Item {
        handle: "garden-selection-vegan",
        title: "Garden Selection",
        vendor: "Conche House",
        kind: "Pralines",
        tags: "vegan, gift",
        text: "<p>All vegan, mostly picked within forty miles: rhubarb, blackcurrant leaf, \
               quince, rosemary, elderflower.</p>",
        option: "Box",
        variants: &[
            ("9 pieces", "PRA-GRD-09", 1295, 110),
            ("16 pieces", "PRA-GRD-16", 2150, 190),
            ("25 pieces", "PRA-GRD-25", 3050, 300),
        ],
    },
    Item {
        handle: "sea-salt-caramels",
        title: "Sea Salt Caramels",
        vendor: "Conche House",
        kind: "Pralines",
        tags: "bestseller",
        text: "<p>Soft caramel with Isle of Wight salt in a thin dark shell. They run, so eat \
               them whole.</p>",
        option: "Box",
        variants: &[
            ("9 pieces", "PRA-SSC-09", 1195, 110),
            ("16 pieces", "PRA-SSC-16", 1950, 190),
            ("25 pieces", "PRA-SSC-25", 2795, 300),
        ],
    },
    Item {
        handle: "winter-spice-selection",
        title: "Winter Spice Selection",
        vendor: "Conche House",
        kind: "Pralines",
        tags: "seasonal, winter, gift",
        text: "<p>Speculoos, mulled plum, orange and clove, gingerbread. From October until they \
               are gone.</p>",
        option: "Box",
        variants: &[
            ("9 pieces", "PRA-WIN-09", 1350, 110),
            ("16 pieces", "PRA-WIN-16", 2250, 190),
            ("25 pieces", "PRA-WIN-25", 3195, 300),
        ],
    },
    Item {
        handle: "rose-and-violet-creams",
        title: "Rose & Violet Creams",
        vendor: "Conche House",
        kind: "Pralines",
        tags: "classic, gift",
        text: "<p>Fondant creams as great-aunts remember them, with crystallised petals from a \
               firm that does nothing else.</p>",
        option: "Box",
        variants: &[
            ("9 pieces", "PRA-RVC-09", 1195, 115),
            ("16 pieces", "PRA-RVC-16", 1950, 200),
        ],
    },
    Item {
        handle: "cocoa-dusted-truffles",
        title: "Cocoa-Dusted Truffles",
        vendor: "Conche House",
        kind: "Truffles",
        tags: "dark, bestseller",
        text: "<p>Fresh cream, 66% Ecuador, nothing to hide behind. Best within ten days, which \
               has never been a problem.</p>",
        option: "Weight",
        variants: &[
            ("150 g", "TRU-COC-150", 995, 175),
            ("400 g", "TRU-COC-400", 2395, 440),
        ],
    },
    Item {
        handle: "champagne-truffles",
        title: "Marc de Champagne Truffles",
        vendor: "Conche House",
        kind: "Truffles",
        tags: "alcohol, gift",
        text: "<p>Milk ganache with Marc de Champagne, rolled in icing sugar. Contains \
               alcohol.</p>",
        option: "Weight",
        variants: &[
            ("150 g", "TRU-CHA-150", 1295, 175),
            ("400 g", "TRU-CHA-400", 2995, 440),
        ],
    },
    Item {
        handle: "islay-whisky-truffles",
        title: "Islay Whisky Truffles",
        vendor: "Conche House",
        kind: "Truffles",
        tags: "alcohol, dark",
        text: "<p>Peat smoke and dark chocolate. Contains alcohol, and opinions about it.</p>",
        option: "",
        variants: &[
            ("", "TRU-ISL-150", 1350, 175),
        ],
    },
    Item {
        handle: "tahini-and-date-truffles",
        title: "Tahini & Date Truffles",
        vendor: "Conche House",
        kind: "Truffles",
        tags: "vegan",
        text: "<p>Medjool dates, tahini from Nablus, 70% Uganda. Soft, nutty, vegan.</p>",
        option: "",
        variants: &[
            ("", "TRU-TAH-150", 1095, 175),
        ],
    },
    Item {
        handle: "yuzu-white-truffles",
        title: "Yuzu White Truffles",
        vendor: "Conche House",
        kind: "Truffles",
        tags: "white",
        text: "<p>White ganache with yuzu juice and zest, dusted with freeze-dried mandarin.</p>",
        option: "",
        variants: &[
            ("", "TRU-YUZ-150", 1195, 175),
        ],
    },
    Item {
        handle: "hazelnut-rochers",
        title: "Hazelnut Rochers",
        vendor: "Conche House",
        kind: "Truffles",
        tags: "nuts, milk",
        text: "<p>A whole roasted hazelnut in gianduja, rolled in wafer crumbs. You know the \
               other one. This is what it was copied from.</p>",
        option: "Weight",
        variants: &[
            ("150 g", "TRU-ROC-150", 1095, 175),
            ("400 g", "TRU-ROC-400", 2595, 440),
        ],
    },
    Item {
        handle: "honeycomb-shards",
        title: "Honeycomb Shards",
        vendor: "Conche House",
        kind: "Confectionery",
        tags: "milk",
        text: "<p>Cinder toffee broken with a hammer and half dipped in milk chocolate.</p>",
        option: "",
        variants: &[
            ("", "CON-HNY-180", 895, 205),
        ],
    },
    Item {
        handle: "candied-orange-batons",
        title: "Candied Orange Batons",
        vendor: "Conche House",
        kind: "Confectionery",
        tags: "dark, vegan",
        text: "<p>Orange peel candied over five days, dipped in 70%.</p>",
        option: "",
        variants: &[
            ("", "CON-ORG-160", 1050, 185),
        ],
    },
    Item {
        handle: "chocolate-almond-dragees",
        title: "Cocoa Almond Dragées",
        vendor: "Conche House",
        kind: "Confectionery",
        tags: "nuts",
        text: "<p>Caramelised almonds tumbled in milk chocolate for a day, then in cocoa.</p>",
        option: "Weight",
        variants: &[
            ("120 g", "CON-DRA-120", 795, 140),
            ("500 g tin", "CON-DRA-500", 2495, 620),
        ],
    },
];
