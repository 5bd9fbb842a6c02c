use std::fmt::Write as _;

use expect_test::expect;
use proptest::prelude::*;

use super::*;

const SCHEMA: Schema = Schema {
    name: "a test file",
    required: &["Code", "Price"],
    optional: &["Title"],
    pattern: |name| name.starts_with("Price / "),
    guarded: false,
};

/// Rows as `place: code|price|title`, then what is wrong.
fn told(bytes: &[u8]) -> String {
    let mut problems = Problems::default();
    let mut text = String::new();
    read(bytes, &SCHEMA, &mut problems, |row, _| {
        let fields = ["Code", "Price", "Title"].map(|column| row.get(column)).join("|");
        writeln!(text, "{}: {}", row.place, shown(&fields)).unwrap();
    });
    text + &problems.to_string()
}

#[test]
fn rows_are_numbered_as_in_a_spreadsheet() {
    let file = "Code,Title,Price\n\na,\"two\nlines\",1\r\nb,x,2\rc,y,3";
    expect![[r"
        row 3: a|1|two�lines
        row 4 (line 5): b|2|x
        row 5 (line 6): c|3|y
    "]]
    .assert_eq(&told(file.as_bytes()));
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_name() {
    let rows = told(b"\xef\xbb\xbf\"Code\",Price\r\na,1\r\n");
    assert_eq!(rows, "row 2: a|1|\n");
}

#[test]
fn rows_of_commas_are_skipped() {
    assert_eq!(told(b"Code,Price\n,\na,1\n , \n"), "row 3: a|1|\n");
}

#[test]
fn what_is_wrong_with_a_header() {
    let cases: [&[u8]; 9] = [
        b"",
        b"\n\r\n\n",
        b"Code,Price\n",
        b"Code,Prise\na,1\n",
        b"Code,Price,Colour of the sky\na,1,2\n",
        b"Code,Price,Code\na,1,b\n",
        b"Code,Title\na,b\n",
        b"Code;Price\na;1\n",
        b"Code,Price,\na,1,\n",
    ];
    let all: String = cases.iter().map(|case| told(case)).collect();
    expect![[r"
        is empty; a test file has a header
        is empty; a test file has a header
        has a header and no rows; there is nothing to do
        row 1, column `Prise`: is not a column of a test file; did you mean `Price`?
        row 1, column `Colour of the sky`: is not a column of a test file; remove it
        row 1, column `Code`: is there twice; remove one of them
        row 1, column `Price`: is missing; a test file needs it
        row 1, column `Code;Price`: is the whole header; separate the columns with commas
        row 1, column ``: has no name; name the column or remove it
    "]]
    .assert_eq(&all);
}

#[test]
fn what_is_wrong_with_the_quoting() {
    let cases: [&[u8]; 5] = [
        b"Code,Price\na,\"1\nb,2\n",
        b"Code,Price\na,\"1\"2\n",
        b"Code,Price\na,1,2\nb\nc,3\n",
        b"Code,Price\na,7\" frame\n",
        b"Code,Price\na,\"7\"\" frame\"\n",
    ];
    let all: String = cases.iter().map(|case| told(case)).collect();
    expect![[r#"
        row 2: opens a quote that is never closed; close it, or write a quote inside a quoted field twice (`""`)
        row 2: has text after a closing quote; write a quote inside a quoted field twice (`""`)
        row 4: c|3|
        row 2: has 3 fields where the header has 2; look for a comma too many or too few, or for a text with a comma and no quotes
        row 3: has 1 fields where the header has 2; look for a comma too many or too few, or for a text with a comma and no quotes
        row 2: a|7" frame|
        row 2: a|7" frame|
    "#]]
    .assert_eq(&all);
}

#[test]
fn what_is_no_text() {
    let cases: [&[u8]; 3] =
        [b"Code,Price\na\0,1\n", b"\xff\xfeC\0o\0", b"Code,Price\nna\xefve,1\nb,2\n"];
    let all: String = cases.iter().map(|case| told(case)).collect();
    expect![[r"
        row 2: holds a NUL byte: this is no text file, or it is UTF-16; save it as `CSV UTF-8`
        row 1: holds a NUL byte: this is no text file, or it is UTF-16; save it as `CSV UTF-8`
        row 3: b|2|
        row 2, column `Code`: `na�ve` is not UTF-8; save the file as `CSV UTF-8`
    "]]
    .assert_eq(&all);
}

#[test]
fn sizes_no_honest_file_has() {
    let wide = format!("Code,Price{}\n", ",x".repeat(99_998));
    let long = format!("Code,Price\na,{}\n", "1".repeat(70_000));
    let swallowed = format!("Code,Price\na,\"1\n{}", "b,2\n".repeat(20_000));
    let all = told(wide.as_bytes()) + &told(long.as_bytes()) + &told(swallowed.as_bytes());
    expect![[r"
        row 1: has more than 1000 columns; remove those that are not needed
        row 2: column 2 is longer than 64 KiB
        row 2: column 2 is longer than 64 KiB; is its quote closed?
    "]]
    .assert_eq(&all);
}

#[test]
fn a_million_rows_pass_and_one_more_does_not() {
    let rows = "a,1\n".repeat(super::super::shape::ROWS_MAX);
    let count = |file: String| {
        let (mut problems, mut count) = (Problems::default(), 0);
        read(file.as_bytes(), &SCHEMA, &mut problems, |_, _| count += 1);
        (count, problems.to_string())
    };
    assert_eq!(count(format!("Code,Price\n{rows}")), (1_000_000, String::new()));
    let (_, told) = count(format!("Code,Price\n{rows}b,2\n"));
    assert_eq!(told, "has more than 1000000 rows; split it\n");
}

#[test]
fn what_our_own_export_put_in_front_of_a_formula_comes_off() {
    let schema = Schema { guarded: true, ..SCHEMA };
    let file = "Code,Price\n'=1,'-3\n''Nduja,'Nduja\n=1,'\n";
    let mut rows = Vec::new();
    read(file.as_bytes(), &schema, &mut Problems::default(), |row, _| {
        rows.push(["Code", "Price"].map(|column| row.raw(column).to_owned()));
    });
    assert_eq!(rows, [["=1", "-3"], ["'Nduja", "'Nduja"], ["=1", "'"]]);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        told(&bytes);
    }

    #[test]
    fn no_mix_of_separators_makes_the_reader_panic(text in "(Code|Price|Title|[a,\"\r\n \u{feff}é]){0,60}") {
        told(text.as_bytes());
        told(format!("Code,Price\n{text}").as_bytes());
    }

    #[test]
    fn what_a_csv_writer_wrote_reads_back(rows in prop::collection::vec(("[ -~é\r\n\"]{1,12}", "[ -~\",]{0,8}"), 1..8)) {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["Code", "Price"]).unwrap();
        for (code, price) in &rows {
            writer.write_record([code, price]).unwrap();
        }
        let file = writer.into_inner().unwrap();
        let (mut problems, mut back) = (Problems::default(), Vec::new());
        read(file.as_slice(), &SCHEMA, &mut problems, |row, _| {
            back.push((row.raw("Code").to_owned(), row.raw("Price").to_owned()));
        });
        prop_assert_eq!(problems.to_string(), "");
        let blank = |(code, price): &&(String, String)| !(code.trim().is_empty() && price.trim().is_empty());
        prop_assert_eq!(back, rows.iter().filter(blank).cloned().collect::<Vec<_>>());
    }
}
