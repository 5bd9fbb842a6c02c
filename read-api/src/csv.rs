//! Lines of CSV files (RFC 4180) that spreadsheets can be trusted with.

use crate::value::money;

/// What a spreadsheet takes for the beginning of a formula; some read the full-width signs as well.
const SIGNS: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// What it skips before one at the beginning of a cell.
const SKIPPED: [char; 3] = ['\t', '\r', '\n'];

/// Where the next cell begins in a country whose files have no commas between cells: there our
/// quotes stand in the middle of a cell and mean nothing.
const CUTS: [char; 4] = [';', '\t', '\r', '\n'];

/// One line. What a spreadsheet would take for a formula, wherever it may cut, gets `'` in front,
/// which shows that it is a text.
pub(crate) fn line<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    of(fields, &CUTS)
}

/// One line of a file that is taken over again: only what begins like a formula gets `'` in front,
/// and what begins with `'` another one, so that the import can take it off.
pub(crate) fn exact_line<'a>(fields: impl IntoIterator<Item = &'a str>) -> String {
    of(fields, &[])
}

fn of<'a>(fields: impl IntoIterator<Item = &'a str>, cuts: &[char]) -> String {
    let mut line = String::new();
    for (nth, field) in fields.into_iter().enumerate() {
        if 0 < nth {
            line.push(',');
        }
        push_field(&mut line, field, cuts);
    }
    line.push_str("\r\n");
    line
}

fn push_field(line: &mut String, field: &str, cuts: &[char]) {
    let formula = (field.starts_with(SKIPPED) || is_formula(field)) && !is_number(field);
    // Where nothing is cut, it is read again.
    let formula = formula || (cuts.is_empty() && field.starts_with('\''));
    let quoted = field.contains([',', '"', '\n', '\r']) || field.starts_with(' ');
    if quoted {
        line.push('"');
    }
    if formula {
        line.push('\'');
    }
    for (at, letter) in field.char_indices() {
        if letter == '"' {
            line.push('"');
        }
        line.push(letter);
        if cuts.contains(&letter) && is_formula(&field[at + letter.len_utf8()..]) {
            line.push('\'');
        }
    }
    if quoted {
        line.push('"');
    }
}

/// Whether a cell with this at its beginning is one.
fn is_formula(cell: &str) -> bool {
    cell.trim_start_matches(' ').starts_with(SIGNS)
}

/// Such as `-3.95`, which is no formula and has to stay a number.
fn is_number(field: &str) -> bool {
    let digits = field.strip_prefix('-').unwrap_or(field);
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match digits.split_once('.') {
        Some((whole, part)) => plain(whole) && plain(part),
        None => plain(digits),
    }
}

/// An amount in units of its currency, such as `18.50`.
pub(crate) fn amount(minor: i64, currency: &str) -> String {
    money(minor, currency).to_decimal().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_commas_or_quotes_is_quoted() {
        assert_eq!(line(["1", "a,b", "say \"hm\"", ""]), "1,\"a,b\",\"say \"\"hm\"\"\",\r\n");
    }

    #[test]
    fn no_field_is_a_formula() {
        assert_eq!(line(["=1+1", "+1", "@a", "-1+1", "\t=1"]), "'=1+1,'+1,'@a,'-1+1,'\t'=1\r\n");
        assert_eq!(line(["＝1", "＋1", "－1", "＠a", " =1"]), "'＝1,'＋1,'－1,'＠a,\"' =1\"\r\n");
        assert_eq!(line(["\n1", "\r1", "\t1"]), "\"'\n1\",\"'\r1\",'\t1\r\n");
        assert_eq!(line(["=a,b"]), "\"'=a,b\"\r\n");
        assert_eq!(line(["a;=1", "a; ＝1;;@b", "a;b"]), "a;'=1,a;' ＝1;;'@b,a;b\r\n");
        assert_eq!(line(["a\r\n=1"]), "\"a\r\n'=1\"\r\n");
        assert_eq!(line(["-3.95", "-4", "-"]), "-3.95,-4,'-\r\n");
    }

    #[test]
    fn amounts_have_the_places_of_their_currency() {
        assert_eq!(amount(1_850, "GBP"), "18.50");
        assert_eq!(amount(-5, "GBP"), "-0.05");
        assert_eq!(amount(1_850, "JPY"), "1850");
    }
}
