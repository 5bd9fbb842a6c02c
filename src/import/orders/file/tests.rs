use expect_test::expect;
use proptest::prelude::*;

use super::*;

const HEADER: &str =
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

fn parse(rows: &str) -> (History, String) {
    let mut problems = Problems::default();
    let file = HEADER.to_owned() + rows;
    let history = super::read(file.as_bytes(), Currency::GBP, &mut problems);
    (history, problems.to_string())
}

fn money(amount_minor: i64) -> Money {
    Money { amount_minor, currency: Currency::GBP }
}

#[test]
fn invoices_are_told_apart() {
    let (history, problems) = parse(
        "1,85123A,,6,1/12/2010 8:26,0,17850,United Kingdom\n\
         1,85123a, T-LIGHT HOLDER ,2,1/12/2010 8:27,2.55,17850,United Kingdom\n\
         1,POST,POSTAGE,3,1/12/2010 8:26,18,17850,United Kingdom\n\
         2,21777,,-10,1/12/2010,0,,United Kingdom\n\
         C3,85123A,T-LIGHT HOLDER,-1,2/12/2010,2.55,17850,United Kingdom\n\
         4,D,Discount,-1,2/12/2010,1,,\n\
         4,22752,NESTING BOXES,1,2/12/2010,8.5,,\n",
    );
    assert_eq!(problems, "");
    let articles: Vec<_> =
        history.articles.iter().map(|it| (it.code.as_str(), it.title.as_str(), it.price)).collect();
    assert_eq!(
        articles,
        [
            ("85123A", "T-LIGHT HOLDER", Some(money(255))),
            ("21777", "21777", None),
            ("22752", "NESTING BOXES", Some(money(850))),
        ]
    );
    let numbers: Vec<_> = history.orders.iter().map(|it| it.number.as_str()).collect();
    assert_eq!(numbers, ["1", "4"]);
    assert_eq!(history.orders[0].at.to_rfc3339(), "2010-12-01T08:26:00+00:00");
    assert_eq!(history.orders[0].lines[2].charge, Some(ChargeKind::Postage));
    assert_eq!(history.orders[0].lines[2].amount, money(5400));
    assert_eq!(history.orders[1].total(Currency::GBP), Some(money(750)));
    assert_eq!(history.corrections[0].lines[0].quantity, -10);
    assert_eq!(history.cancellations[0].amount, money(255));
    let original = Original { order: 0, lines: vec![(1, 1)] };
    assert_eq!(history.cancellations[0].of, Some(original));
}

#[test]
fn what_is_wrong_with_a_row() {
    let (_, problems) = parse(
        ",A,,1,1/12/2010,1,,\n\
         1,,,1,1/12/2010,1,,\n\
         2,A,,,1/12/2010,1,,\n\
         2,A,,0,1/12/2010,1,,\n\
         2,A,,1.5,1/12/2010,1,,\n\
         2,A,,1000001,1/12/2010,1,,\n\
         2,A,,-9223372036854775808,1/12/2010,1,,\n\
         2,A,,1,12/31/2010,1,,\n\
         2,A,,1,2010-12-01,1,,\n\
         2,A,,1,1/12/20100,1,,\n\
         2,A,,1,1/12/2010 25:00,1,,\n\
         2,A,,1,1/12/2010,,,\n\
         2,A,,1,1/12/2010,-1,,\n\
         2,A,,1,1/12/2010,0.001,,\n\
         2,A,,1,1/12/2010,£1,,\n\
         2,A,\"two\nlines\",1,1/12/2010,1,,\n\
         3,A,,1,1/12/2010,1,17850,\n\
         3,B,,1,1/12/2010,1,17851,\n\
         4,A,,-1,1/12/2010,1,,\n\
         5,D,,-1,1/12/2010,1,,\n\
         C6,A,,1,1/12/2010,1,,\n\
         C7,A,,-1,1/12/2010,0,,\n\
         8,M,,1,1/12/2010,0,,\n\
         9,A,,1000000,1/12/2010,9999999999999,,\n\
         9,A,,1000000,1/12/2010,99999999999,,\n\
         10,A,,1000000,1/12/2010,1,,\n\
         10,a,,1,1/12/2010,1,,\n\
         11,A,,1000000,1/12/2010,9999999.99,,\n\
         11,B,,2,1/12/2010,9999999.99,,\n\
         12,M,,1000000,1/12/2010,9999999.99,,\n\
         12,D,,-1000000,1/12/2010,9999999.99,,\n",
    );
    expect![[r"
        row 2, column `InvoiceNo`: is empty; every row names its invoice
        row 3, column `StockCode`: is empty; every row names what it is about
        row 4, column `Quantity`: is empty; write a whole number
        row 5, column `Quantity`: must be between 1 and 1000000, or below zero; not 0
        row 6, column `Quantity`: `1.5` is not a whole number; write it like 12
        row 7, column `Quantity`: must be between 1 and 1000000, or below zero; not 1000001
        row 8, column `Quantity`: must be between 1 and 1000000, or below zero; not -9223372036854775808
        row 9, column `InvoiceDate`: `12/31/2010` is not a date; write it like 1/12/2010 or 1/12/2010 8:26, day first
        row 10, column `InvoiceDate`: `2010-12-01` is not a date; write it like 1/12/2010 or 1/12/2010 8:26, day first
        row 11, column `InvoiceDate`: `1/12/20100` is not a date; write it like 1/12/2010 or 1/12/2010 8:26, day first
        row 12, column `InvoiceDate`: `1/12/2010 25:00` is not a date; write it like 1/12/2010 or 1/12/2010 8:26, day first
        row 13, column `UnitPrice`: is empty; write a price, or 0 if it costs nothing
        row 14, column `UnitPrice`: `-1` is negative; a price is 0 or more
        row 15, column `UnitPrice`: `0.001` has more decimals than GBP has; write it like 12.50
        row 16, column `UnitPrice`: `£1` is not a number; write it like 12.50
        row 17, column `Description`: `two�lines` has a line break or other control character
        row 19 (line 20), column `CustomerID`: differs from row 18 (line 19), which is of the same invoice `3`
        row 20 (line 21), column `Quantity`: is below zero in an order; an invoice that takes something back has a number that begins with C
        row 21 (line 22), column `UnitPrice`: the sum of the invoice is below zero, which no order can be
        row 22 (line 23), column `Quantity`: is above zero in `C6`, which cancels; its quantities are negative
        row 23 (line 24), column `UnitPrice`: the cancellation has no value, so there is nothing to give back
        row 24 (line 25), column `StockCode`: is no product and has no value, so there is nothing to take over; remove the row
        row 25 (line 26), column `UnitPrice`: times quantity is too large
        row 26 (line 27), column `UnitPrice`: times quantity is too large
        row 28 (line 29), column `Quantity`: adds up to more than 1000000 of `A` in one order
        row 29 (line 30), column `UnitPrice`: the sum of the invoice is too large
        row 31 (line 32), column `UnitPrice`: the sum of the invoice is too large
    "]].assert_eq(&problems);
}

/// An order's number, and units by index of its line.
type Found = (String, Vec<(usize, u32)>);

/// Orders of one customer, then cancellations; says what each cancellation takes from which order.
fn originals(rows: &[&str]) -> Vec<Option<Found>> {
    let line = |row: &&str| {
        let [number, code, quantity, price, customer] =
            row.split(' ').collect::<Vec<_>>().try_into().unwrap();
        format!("{number},{code},x,{quantity},1/12/2010,{price},{customer},\n")
    };
    let (history, problems) = parse(&rows.iter().map(line).collect::<String>());
    assert_eq!(problems, "");
    let of = |it: &Cancellation| {
        let original = it.of.clone()?;
        Some((history.orders[original.order].number.clone(), original.lines))
    };
    history.cancellations.iter().map(of).collect()
}

#[test]
fn a_cancellation_belongs_to_the_latest_order_that_has_it_all() {
    let found = |number: &str, lines: &[(usize, u32)]| Some((number.to_owned(), lines.to_vec()));
    let rows = ["1 A 5 2 Ann", "1 Z 1 3 Ann", "2 A 2 2 Ann", "3 A 9 2 Bob"];
    let with = |more: &[&'static str]| originals(&[&rows, more].concat());
    assert_eq!(with(&["C4 A -2 2 Ann"]), [found("2", &[(0, 2)])]);
    assert_eq!(with(&["C4 A -3 2 Ann"]), [found("1", &[(0, 3)])]);
    assert_eq!(with(&["C4 A -1 2 Ann", "C4 Z -1 3 Ann"]), [found("1", &[(0, 1), (1, 1)])]);
    assert_eq!(with(&["C4 A -1 1 Ann"]), [None], "another price");
    assert_eq!(with(&["C4 A -9 2 Ann"]), [None], "another customer's");
    assert_eq!(with(&["C4 A -6 2 Ann"]), [None], "two orders together would have it");
    let twice = with(&["C4 A -2 2 Ann", "C5 A -2 2 Ann", "C6 A -4 2 Ann"]);
    assert_eq!(twice, [found("2", &[(0, 2)]), found("1", &[(0, 2)]), None]);
    let guest = originals(&["1 A 5 2 ", "C4 A -2 2 "]);
    assert_eq!(guest, [None]);
    let later = originals(&["C4 A -2 2 Ann", "1 A 5 2 Ann"]);
    assert_eq!(later, [None]);
}

#[test]
fn lines_of_the_same_code_give_back_together() {
    let rows =
        ["1 POST 1 18 Ann", "1 A 2 2 Ann", "1 A 3 2 Ann", "C2 A -4 2 Ann", "C2 POST -1 18 Ann"];
    assert_eq!(originals(&rows), [Some(("1".to_owned(), vec![(0, 2), (1, 2)]))]);
}

proptest! {
    #[test]
    fn no_fields_make_the_reader_panic(
        rows in prop::collection::vec(prop::collection::vec("(C?1|A|-?[0-9]{1,20}|1/12/2010|0|1.5|.{0,3})", 8), 0..8),
    ) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for row in rows {
            writer.write_record(row).unwrap();
        }
        parse(&String::from_utf8(writer.into_inner().unwrap()).unwrap());
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let file = [HEADER.as_bytes(), &bytes].concat();
        super::read(file.as_slice(), Currency::GBP, &mut Problems::default());
    }
}
