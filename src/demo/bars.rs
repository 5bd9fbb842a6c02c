//! Bars.

use super::Item;

/// In the order of the shelf.
pub(super) const BARS: &[Item] = &[
    Item {
        handle: "madagascar-sambirano-72",
        title: "Madagascar Sambirano 72%",
        vendor: "Conche House",
        kind: "Bar",
        tags: "dark, single origin, vegan",
        text: "<p>Beans from three neighbours in the Sambirano valley, roasted light. Red berries \
               first, then a long finish of orange peel. Two ingredients: cocoa and cane \
               sugar.</p>",
        option: "Size",
        variants: &[
            ("70 g", "BAR-MDG72-070", 595, 78),
            ("Tasting square, 10 g", "BAR-MDG72-010", 120, 12),
        ],
    },
    Item {
        handle: "piura-blanco-75",
        title: "Piura Blanco 75%",
        vendor: "Conche House",
        kind: "Bar",
        tags: "dark, single origin, vegan",
        text: "<p>White beans from the dry north of Peru. Lime, white raisin and a little pepper; \
               hardly any bitterness for a dark bar.</p>",
        option: "",
        variants: &[("", "BAR-PER75-070", 650, 78)],
    },
    Item {
        handle: "belize-maya-mountain-70",
        title: "Belize Maya Mountain 70%",
        vendor: "Conche House",
        kind: "Bar",
        tags: "dark, single origin, vegan",
        text: "<p>Fermented for six days under banana leaves by 360 families. Pineapple, honey, \
               tobacco.</p>",
        option: "",
        variants: &[("", "BAR-BLZ70-070", 625, 78)],
    },
    Item {
        handle: "kokoa-kamili-tanzania-78",
        title: "Kokoa Kamili Tanzania 78%",
        vendor: "Conche House",
        kind: "Bar",
        tags: "dark, single origin, vegan",
        text: "<p>The darkest of our origin bars. Black cherry and cold coffee, a clean dry \
               end.</p>",
        option: "",
        variants: &[("", "BAR-TZA78-070", 625, 78)],
    },
    Item {
        handle: "idukki-hills-india-68",
        title: "Idukki Hills India 68%",
        vendor: "Conche House",
        kind: "Bar",
        tags: "dark, single origin, vegan",
        text: "<p>Grown between nutmeg and pepper vines in Kerala, and you can taste the \
               neighbours.</p>",
        option: "",
        variants: &[("", "BAR-IND68-070", 595, 78)],
    },
    Item {
        handle: "house-milk-45",
        title: "House Milk 45%",
        vendor: "Conche House",
        kind: "Bar",
        tags: "milk, bestseller",
        text: "<p>Our everyday bar: much cocoa for a milk chocolate, Jersey milk powder, a pinch \
               of salt. Caramel and toasted oats.</p>",
        option: "Size",
        variants: &[("70 g", "BAR-MLK45-070", 495, 78), ("250 g slab", "BAR-MLK45-250", 1450, 265)],
    },
    Item {
        handle: "brown-butter-milk-50",
        title: "Brown Butter Milk 50%",
        vendor: "Conche House",
        kind: "Bar",
        tags: "milk",
        text: "<p>Butter browned in a copper pan until it smells of hazelnut, conched into dark \
               milk for two nights.</p>",
        option: "",
        variants: &[("", "BAR-BBT50-070", 575, 78)],
    },
    Item {
        handle: "sourdough-and-sea-salt",
        title: "Sourdough & Sea Salt",
        vendor: "Conche House",
        kind: "Bar",
        tags: "milk, bestseller",
        text: "<p>Crumbs of yesterday's sourdough from the bakery next door, toasted and folded \
               into milk chocolate with Maldon salt.</p>",
        option: "",
        variants: &[("", "BAR-SDS-070", 595, 80)],
    },
    Item {
        handle: "buckwheat-crunch",
        title: "Buckwheat Crunch 66%",
        vendor: "Conche House",
        kind: "Bar",
        tags: "dark, vegan",
        text: "<p>Roasted buckwheat in dark chocolate. Sounds virtuous, tastes like the corner of \
               a flapjack.</p>",
        option: "",
        variants: &[("", "BAR-BKW66-070", 575, 78)],
    },
    Item {
        handle: "smoked-almond-64",
        title: "Smoked Almond 64%",
        vendor: "Conche House",
        kind: "Bar",
        tags: "dark, nuts, vegan",
        text: "<p>Almonds smoked over old cask staves, chopped by hand. Good with whisky, which \
               is how it began.</p>",
        option: "",
        variants: &[("", "BAR-SMA64-090", 695, 98)],
    },
    Item {
        handle: "raspberry-and-rose-white",
        title: "Raspberry & Rose White",
        vendor: "Conche House",
        kind: "Bar",
        tags: "white",
        text: "<p>Freeze-dried raspberries and one petal's worth of rose on white chocolate made \
               with real cocoa butter.</p>",
        option: "",
        variants: &[("", "BAR-RSR-070", 575, 78)],
    },
    Item {
        handle: "caramelised-white-32",
        title: "Caramelised White 32%",
        vendor: "Conche House",
        kind: "Bar",
        tags: "white, bestseller",
        text: "<p>White chocolate baked low for five hours until it turns the colour of \
               shortbread and tastes of it.</p>",
        option: "Size",
        variants: &[("70 g", "BAR-CWH32-070", 575, 78), ("250 g slab", "BAR-CWH32-250", 1650, 265)],
    },
    Item {
        handle: "oat-milk-chocolate-48",
        title: "Oat Milk Chocolate 48%",
        vendor: "Conche House",
        kind: "Bar",
        tags: "vegan, milk",
        text: "<p>Creamy without the cow. Oats from the Cotswolds, cocoa from Ghana. The bar our \
               own milk bar is jealous of.</p>",
        option: "",
        variants: &[("", "BAR-OAT48-070", 550, 78)],
    },
    Item {
        handle: "coconut-and-lime-vegan",
        title: "Coconut & Lime",
        vendor: "Conche House",
        kind: "Bar",
        tags: "vegan, white",
        text: "<p>White chocolate made with coconut milk, sharp with lime zest.</p>",
        option: "",
        variants: &[("", "BAR-CCL-070", 575, 78)],
    },
    Item {
        handle: "hundred-per-cent",
        title: "One Hundred Per Cent",
        vendor: "Conche House",
        kind: "Bar",
        tags: "dark, vegan, no sugar",
        text: "<p>Cocoa. Nothing else. Sold with a warning and bought again without one.</p>",
        option: "",
        variants: &[("", "BAR-100-050", 650, 58)],
    },
    Item {
        handle: "library-of-origins",
        title: "Library of Origins",
        vendor: "Conche House",
        kind: "Bar",
        tags: "dark, gift, vegan",
        text: "<p>Five origin bars in a box shaped like a book, with a tasting card for six \
               evenings.</p>",
        option: "",
        variants: &[("", "BAR-LIB-350", 2950, 420)],
    },
];
