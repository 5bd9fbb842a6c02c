//! Drinking chocolate, larder, seasonal things, gifts and tools.

use super::Item;

/// In the order of the shelf.
pub(super) const PANTRY: &[Item] = &[
    Item {
        handle: "flaked-drinking-chocolate-70",
        title: "Flaked Drinking Chocolate 70%",
        vendor: "Conche House",
        kind: "Drinking chocolate",
        tags: "dark, vegan, bestseller",
        text: "<p>Real chocolate in flakes, no powder. Three spoons, hot milk, a whisk.</p>",
        option: "Weight",
        variants: &[
            ("250 g tin", "DRK-FLK70-250", 1095, 330),
            ("1 kg bag", "DRK-FLK70-1000", 3495, 1020),
        ],
    },
    Item {
        handle: "drinking-chocolate-milk-45",
        title: "Drinking Chocolate Milk 45%",
        vendor: "Conche House",
        kind: "Drinking chocolate",
        tags: "milk",
        text: "<p>For those who find the dark one serious.</p>",
        option: "Weight",
        variants: &[
            ("250 g tin", "DRK-MLK45-250", 1050, 330),
            ("1 kg bag", "DRK-MLK45-1000", 3350, 1020),
        ],
    },
    Item {
        handle: "masala-drinking-chocolate",
        title: "Masala Drinking Chocolate",
        vendor: "Conche House",
        kind: "Drinking chocolate",
        tags: "dark, spice, vegan",
        text: "<p>Cardamom, ginger, black pepper and cinnamon bark, ground the morning it is \
               mixed.</p>",
        option: "",
        variants: &[
            ("", "DRK-MAS-250", 1195, 330),
        ],
    },
    Item {
        handle: "mexican-stone-ground-discs",
        title: "Stone-Ground Discs, Oaxaca Style",
        vendor: "Conche House",
        kind: "Drinking chocolate",
        tags: "dark, vegan",
        text: "<p>Coarse discs of cocoa, sugar and cinnamon to break into hot water and froth. \
               Grainy on purpose.</p>",
        option: "",
        variants: &[
            ("", "DRK-OAX-200", 995, 225),
        ],
    },
    Item {
        handle: "cacao-tea",
        title: "Cocoa Husk Tea",
        vendor: "Conche House",
        kind: "Drinking chocolate",
        tags: "vegan, no sugar",
        text: "<p>The husks of our roast, which smell too good to throw away. Brews like tea, \
               smells like the workshop.</p>",
        option: "",
        variants: &[
            ("", "DRK-HSK-100", 650, 130),
        ],
    },
    Item {
        handle: "cocoa-nibs",
        title: "Roasted Cocoa Nibs",
        vendor: "Conche House",
        kind: "Baking",
        tags: "vegan, no sugar",
        text: "<p>Cracked and winnowed. For porridge, salads and the cook's own pocket.</p>",
        option: "Weight",
        variants: &[
            ("150 g", "BAK-NIB-150", 695, 170),
            ("1 kg", "BAK-NIB-1000", 2995, 1020),
        ],
    },
    Item {
        handle: "bakers-callets-70",
        title: "Baker's Callets 70%",
        vendor: "Conche House",
        kind: "Baking",
        tags: "dark, vegan",
        text: "<p>Small drops that melt evenly. What we use ourselves.</p>",
        option: "Weight",
        variants: &[
            ("500 g", "BAK-CAL70-500", 1350, 515),
            ("2.5 kg", "BAK-CAL70-2500", 5495, 2530),
        ],
    },
    Item {
        handle: "natural-cocoa-powder",
        title: "Natural Cocoa Powder 22/24",
        vendor: "Conche House",
        kind: "Baking",
        tags: "vegan, no sugar",
        text: "<p>Not alkalised, so it keeps its fruit and makes a red-brown cake.</p>",
        option: "",
        variants: &[
            ("", "BAK-COC-250", 795, 275),
        ],
    },
    Item {
        handle: "hazelnut-spread",
        title: "Hazelnut & Cocoa Spread",
        vendor: "Conche House",
        kind: "Larder",
        tags: "nuts, bestseller",
        text: "<p>Half of the jar is hazelnuts. No palm oil. A spoon is provided by you.</p>",
        option: "Jar",
        variants: &[
            ("220 g", "LAR-HZS-220", 850, 360),
            ("500 g", "LAR-HZS-500", 1650, 720),
        ],
    },
    Item {
        handle: "salted-caramel-sauce",
        title: "Salted Caramel Sauce",
        vendor: "Conche House",
        kind: "Larder",
        tags: "",
        text: "<p>The inside of our caramels, by the jar.</p>",
        option: "",
        variants: &[
            ("", "LAR-SCS-250", 750, 410),
        ],
    },
    Item {
        handle: "cocoa-balsamic",
        title: "Cocoa Balsamic Glaze",
        vendor: "Fattoria Bellini",
        kind: "Larder",
        tags: "vegan",
        text: "<p>Aged Modena vinegar with cocoa nibs. On strawberries, on parmesan, on a \
               dare.</p>",
        option: "",
        variants: &[
            ("", "LAR-BAL-100", 1195, 260),
        ],
    },
    Item {
        handle: "advent-calendar",
        title: "Advent Calendar of Origins",
        vendor: "Conche House",
        kind: "Seasonal",
        tags: "seasonal, winter, gift",
        text: "<p>Twenty-four origins in twenty-four drawers, with a map. The box is refilled \
               every year if you send it back.</p>",
        option: "Kind",
        variants: &[
            ("Dark", "SEA-ADV-DRK", 4500, 690),
            ("Milk", "SEA-ADV-MLK", 4500, 690),
            ("Vegan", "SEA-ADV-VEG", 4650, 690),
        ],
    },
    Item {
        handle: "st-nicholas-figure",
        title: "St Nicholas, Hollow",
        vendor: "Conche House",
        kind: "Seasonal",
        tags: "seasonal, winter, milk",
        text: "<p>Cast in a tin mould from 1911. He leans a little; so did the tinsmith.</p>",
        option: "Size",
        variants: &[
            ("120 g", "SEA-NIC-120", 1295, 190),
            ("400 g", "SEA-NIC-400", 2995, 520),
        ],
    },
    Item {
        handle: "yule-log-praline",
        title: "Yule Log of Praline",
        vendor: "Conche House",
        kind: "Seasonal",
        tags: "seasonal, winter, nuts",
        text: "<p>A hazelnut praline log with bark of dark chocolate, to slice at the table.</p>",
        option: "",
        variants: &[
            ("", "SEA-YUL-350", 2495, 430),
        ],
    },
    Item {
        handle: "easter-egg-thick-shell",
        title: "Thick-Shelled Egg",
        vendor: "Conche House",
        kind: "Seasonal",
        tags: "seasonal, spring",
        text: "<p>The shell is as thick as a bar because that is the point of an egg. Sold from \
               January to Easter.</p>",
        option: "Kind",
        variants: &[
            ("Dark 70%", "SEA-EGG-DRK", 2650, 420),
            ("Milk 45%", "SEA-EGG-MLK", 2650, 420),
        ],
    },
    Item {
        handle: "mulled-cocoa-kit",
        title: "Mulled Cocoa Kit",
        vendor: "Conche House",
        kind: "Gift set",
        tags: "gift, winter",
        text: "<p>Flaked chocolate, a muslin bag of spices, orange sugar and instructions short \
               enough to follow after the first cup.</p>",
        option: "",
        variants: &[
            ("", "GFT-MUL", 2250, 540),
        ],
    },
    Item {
        handle: "tasting-evening-for-four",
        title: "Tasting Evening for Four",
        vendor: "Conche House",
        kind: "Gift set",
        tags: "gift",
        text: "<p>Five bars, twenty tasting squares, palate water biscuits, scoring cards and an \
               argument starter.</p>",
        option: "",
        variants: &[
            ("", "GFT-TST4", 4200, 860),
        ],
    },
    Item {
        handle: "the-hamper",
        title: "The Workshop Hamper",
        vendor: "Conche House",
        kind: "Gift set",
        tags: "gift",
        text: "<p>A willow basket with pralines, truffles, spread, drinking chocolate and two \
               bars. Heavy, in a good way.</p>",
        option: "Size",
        variants: &[
            ("Small", "GFT-HMP-S", 5500, 1900),
            ("Large", "GFT-HMP-L", 9500, 3800),
        ],
    },
    Item {
        handle: "letterbox-chocolates",
        title: "Letterbox Chocolates",
        vendor: "Conche House",
        kind: "Gift set",
        tags: "gift, bestseller",
        text: "<p>Thin enough for the door, good enough to apologise with. Handwritten card \
               included.</p>",
        option: "",
        variants: &[
            ("", "GFT-LTR", 1450, 210),
        ],
    },
    Item {
        handle: "gift-card-envelope",
        title: "Handwritten Card & Ribbon",
        vendor: "Conche House",
        kind: "Gift set",
        tags: "gift",
        text: "<p>Tell us what to write. We will not improve it.</p>",
        option: "",
        variants: &[
            ("", "GFT-CRD", 250, 20),
        ],
    },
    Item {
        handle: "molinillo-whisk",
        title: "Molinillo Whisk",
        vendor: "Taller Reyes",
        kind: "Tools",
        tags: "tools",
        text: "<p>Turned from one piece of alder in Michoacán. Spins between the palms and makes \
               the foam.</p>",
        option: "",
        variants: &[
            ("", "TOO-MOL", 1850, 140),
        ],
    },
    Item {
        handle: "polycarbonate-mould",
        title: "Praline Mould, 24 Half Spheres",
        vendor: "Formag",
        kind: "Tools",
        tags: "tools",
        text: "<p>The professional kind. Polish it, do not scratch it, never put it in the \
               dishwasher.</p>",
        option: "",
        variants: &[
            ("", "TOO-MLD-24", 2250, 480),
        ],
    },
    Item {
        handle: "tempering-thermometer",
        title: "Tempering Thermometer",
        vendor: "Brannan & Sons",
        kind: "Tools",
        tags: "tools",
        text: "<p>Marked at 27, 31 and 45 degrees, which is all you need to know about \
               tempering.</p>",
        option: "",
        variants: &[
            ("", "TOO-THM", 1650, 95),
        ],
    },
    Item {
        handle: "marble-slab",
        title: "Marble Slab",
        vendor: "Carrow Stone",
        kind: "Tools",
        tags: "tools",
        text: "<p>Offcuts of a worktop firm in Norfolk, honed on one side. Cold, flat and \
               honest.</p>",
        option: "Size",
        variants: &[
            ("30 × 40 cm", "TOO-MRB-30", 4800, 6500),
            ("40 × 60 cm", "TOO-MRB-40", 7900, 13000),
        ],
    },
    Item {
        handle: "enamel-cocoa-pan",
        title: "Enamel Cocoa Pan",
        vendor: "Falun Emalj",
        kind: "Tools",
        tags: "tools, gift",
        text: "<p>One litre, a lip on both sides, white inside so that you see when the milk \
               catches.</p>",
        option: "",
        variants: &[
            ("", "TOO-PAN-1L", 3400, 720),
        ],
    },
];
