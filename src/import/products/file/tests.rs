use std::fmt::Write as _;

use expect_test::expect;
use proptest::prelude::*;

use super::*;

fn parse(file: &str) -> (Catalogue, String) {
    let mut problems = Problems::default();
    let store = StoreId::of_slug("test");
    let catalogue = read(file.as_bytes(), store, Currency::GBP, &mut problems);
    (catalogue, problems.to_string())
}

/// One product or variant per line.
fn shape(catalogue: &Catalogue) -> String {
    let mut text = String::new();
    for listing in &catalogue.listings {
        let NewProduct { handle, options, tags, variants, .. } = &listing.product;
        let shown = if listing.published { "published" } else { "draft" };
        writeln!(text, "{handle} {shown} {options:?} {tags:?}").unwrap();
        for (variant, stock) in variants.iter().zip(&listing.stock) {
            let price = variant.price.unwrap();
            let compare_at = variant.compare_at.map(|it| it.to_decimal().to_string());
            writeln!(
                text,
                "  {:?} {:?} {price} {compare_at:?} {:?} {}",
                variant.option_values, variant.sku, variant.weight_g, stock.quantity
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn rows_of_a_handle_make_one_product() {
    let (catalogue, problems) = parse(
        "Handle,Title,Body (HTML),Tags,Published,Option1 Name,Option1 Value,Option2 Name,Option2 Value,Variant SKU,Variant Grams,Variant Inventory Qty,Variant Price,Variant Compare At Price,Image Src\n\
         bar,Bar,\"<p>Dark, very</p>\",\"dark, vegan,,dark\",true,Size,Small,Milk,No,B-1,99.6,4,2.50,3,https://e/1.jpg\n\
         bar,,,,,,Large,,No,B-2,0,-3,4,4,\n\
         bar,,,,,,,,,,,,,,https://e/2.jpg\n\
         tin,Tin,,,false,Title,Default Title,,,,,,0,,\n",
    );
    assert_eq!(problems, "");
    assert_eq!((catalogue.images, catalogue.variants()), (2, 3));
    expect![[r#"
        bar published ["Size", "Milk"] ["dark", "vegan", "dark"]
          ["Small", "No"] Some("B-1") 2.50 GBP Some("3.00") Some(100) 4
          ["Large", "No"] Some("B-2") 4.00 GBP None None 0
        tin draft [] []
          [] None 0.00 GBP None None 0
    "#]]
    .assert_eq(&shape(&catalogue));
    assert_eq!(catalogue.listings[0].product.description, "<p>Dark, very</p>");
}

#[test]
fn what_is_wrong_with_a_row() {
    let header = "Handle,Title,Published,Status,Option1 Name,Option1 Value,Variant SKU,Variant Grams,Variant Inventory Qty,Variant Price,Variant Compare At Price\n";
    let rows = [
        ",No handle,,,,,,,,1,",
        "no-title,,,,,,,,,1,",
        "abc,x,,,,,,,,abc,",
        "empty,x,,,,,,,,,",
        "negative,x,,,,,,,,-1,",
        "decimals,x,,,,,,,,1.005,",
        "comma,x,,,,,,,,\"1,50\",",
        "exponent,x,,,,,,,,1e3,",
        "huge,x,,,,,,,,99999999999999999999999999999999,",
        "former,x,,,,,,,,1,x",
        "weight,x,,,,,,heavy,,1,",
        "stock,x,,,,,,,1.5,1,",
        "stocked,x,,,,,,,1000001,1,",
        "perhaps,x,perhaps,,,,,,,1,",
        "status,x,,gone,,,,,,1,",
        "value,x,,,Size,,S-0,,,1,",
        "unnamed,x,,,,Red,,,,1,",
        "sku,x,,,,,S-1,,,1,",
        "sku-again,x,,,,,S-1,,,1,",
        "two-titles,x,,,Size,S,,,,1,",
        "two-titles,y,,,,M,,,,1,",
    ];
    let (_, problems) = parse(&(header.to_owned() + &rows.join("\n")));
    expect![[r"
        row 2, column `Handle`: is empty; every row names its product
        row 3, column `Title`: is empty; the first row of a product has its title
        row 4, column `Variant Price`: `abc` is not a number; write it like 12.50
        row 6, column `Variant Price`: `-1` is negative; a price is 0 or more
        row 7, column `Variant Price`: `1.005` has more decimals than GBP has; write it like 12.50
        row 8, column `Variant Price`: `1,50` is not a number; write it like 12.50
        row 9, column `Variant Price`: `1e3` is not a number; write it like 12.50
        row 10, column `Variant Price`: `99999999999999999999999999999999` is not a number; write it like 12.50
        row 11, column `Variant Compare At Price`: `x` is not a number; write it like 12.50
        row 12, column `Variant Grams`: `heavy` is not a weight in grams; write it like 250
        row 13, column `Variant Inventory Qty`: `1.5` is not a whole number; write it like 12
        row 14, column `Variant Inventory Qty`: is beyond 1000000 units; check it
        row 15, column `Published`: `perhaps` is neither true nor false
        row 16, column `Status`: `gone` is no status; use active, draft or archived
        row 17, column `Option1 Value`: is empty; a variant has a value for each option of its product
        row 18, column `Option1 Value`: has a value, but the first row of the product does not name this option
        row 20, column `Variant SKU`: `S-1` is also the SKU of row 19; change one of them
        row 22, column `Title`: handle `two-titles` has another title in row 21; give one of them another handle
    "]].assert_eq(&problems);
}

#[test]
fn what_breaks_a_rule_for_products() {
    let header = "Handle,Title,Tags,Published,Option1 Name,Option1 Value,Variant Price\n";
    let long = "x".repeat(256);
    let rows = [
        "Not A Handle,x,,,,,1".to_owned(),
        format!("long-title,{long},,,,,1"),
        format!("long-tag,x,\"a,{long}\",,,,1"),
        "unpriced,x,,true,,,".to_owned(),
        "unpriced-draft,x,,false,,,".to_owned(),
        "twice,x,,,Size,S,1".to_owned(),
        "twice,,,,,S,2".to_owned(),
    ];
    let (_, problems) = parse(&(header.to_owned() + &rows.join("\n")));
    expect![[r"
        row 2, column `Handle`: handle is not usable in a URL; use only a-z, 0-9 and single hyphens between them
        row 3, column `Title`: text is too long; shorten it to 255 characters
        row 4, column `Tags`: text is too long; shorten it to 255 characters
        row 5, column `Variant Price`: is empty in every row of the product; a published product needs a price
        row 8, column `Option1 Value`: another variant of the product has the same option values; change one
    "]].assert_eq(&problems);
}

#[test]
fn ids_of_variants_follow_from_handle_and_values() {
    let file = "Handle,Title,Option1 Name,Option1 Value,Variant Price\na,A,Size,S,1\na,,,M,1\n";
    let ids = |file| -> Vec<VariantId> {
        let (catalogue, _) = parse(file);
        catalogue.listings[0].product.variants.iter().map(|it| it.variant_id).collect()
    };
    let first = ids(file);
    assert_ne!(first[0], first[1]);
    assert_eq!(first, ids(&file.replace(",1\n", ",2\n")));
}

proptest! {
    #[test]
    fn no_fields_make_the_reader_panic(
        rows in prop::collection::vec(prop::collection::vec("(a|b|x y|1|-1|1.5|Title|Default Title|true|,|\"\"|.{0,3})", 11), 0..6),
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record("Handle,Title,Published,Status,Option1 Name,Option1 Value,Variant SKU,Variant Grams,Variant Inventory Qty,Variant Price,Variant Compare At Price".split(',')).unwrap();
        for row in rows {
            writer.write_record(row).unwrap();
        }
        let mut problems = Problems::default();
        let file = writer.into_inner().unwrap();
        read(file.as_slice(), StoreId::of_slug("test"), Currency::GBP, &mut problems);
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let file = [b"Handle,Title,Variant Price\n".as_slice(), &bytes].concat();
        read(file.as_slice(), StoreId::of_slug("test"), Currency::GBP, &mut Problems::default());
    }
}
