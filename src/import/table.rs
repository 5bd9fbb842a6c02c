//! Reads a CSV file with a header row by row, strictly: what is not understood is a problem.

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{BufRead as _, BufReader, Read},
    rc::Rc,
};

use csv::ByteRecord;

use super::{
    problem::{Place, Problem, Problems, shown},
    shape::{Checked, Shape},
};

/// Which columns a kind of file has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schema {
    /// What the file is, for messages: `a Shopify product file`.
    pub(super) name: &'static str,
    /// Columns without which it makes no sense.
    pub(super) required: &'static [&'static str],
    /// All other columns with a fixed name.
    pub(super) optional: &'static [&'static str],
    /// Columns whose name the shop chose in part, such as `Price / International`.
    pub(super) pattern: fn(&str) -> bool,
    /// Whether our own export writes such files: `'` in front of what a spreadsheet would take for a
    /// formula, or of another `'`, is not part of the text.
    pub(super) guarded: bool,
}

impl Schema {
    fn knows(&self, name: &str) -> bool {
        self.fixed().any(|known| known == name) || (self.pattern)(name)
    }

    fn fixed(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.required.iter().chain(self.optional).copied()
    }

    /// The known column that looks most like `name`; `None` if none resembles it.
    fn nearest(&self, name: &str) -> Option<&'static str> {
        let wanted = name.to_lowercase();
        let near = |known: &'static str| (distance(&wanted, &known.to_lowercase()), known);
        let (edits, nearest) = self.fixed().map(near).min()?;
        // More edits than half of the letters is another word, not a slip.
        (edits * 2 <= wanted.chars().count()).then_some(nearest)
    }
}

/// One row and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row<'a> {
    pub(super) place: Place,
    columns: &'a HashMap<String, usize>,
    fields: &'a [String],
}

impl<'a> Row<'a> {
    /// The field without surrounding blanks; empty where the file has no such column.
    pub(super) fn get(&self, column: &str) -> &'a str {
        self.raw(column).trim()
    }

    /// The field as it stands.
    pub(super) fn raw(&self, column: &str) -> &'a str {
        self.columns.get(column).map_or("", |&index| self.fields[index].as_str())
    }

    /// A problem of one of its fields.
    pub(super) fn problem(&self, column: &str, message: impl Into<String>) -> Problem {
        Problem::at(self.place, message).in_column(column)
    }
}

/// Reads a file and hands each row to `take`; rows whose fields are all empty are skipped. Goes on
/// after a bad row, to tell about all of them at once, and ends at a broken structure.
pub(super) fn read(
    file: impl Read,
    schema: &Schema,
    problems: &mut Problems,
    mut take: impl FnMut(Row<'_>, &mut Problems),
) {
    let before = problems.count();
    if let Err(problem) = read_rows(file, schema, problems, &mut take) {
        problems.push(problem);
    }
    if problems.count() > before {
        problems.sort();
    }
}

fn read_rows(
    file: impl Read,
    schema: &Schema,
    problems: &mut Problems,
    take: &mut impl FnMut(Row<'_>, &mut Problems),
) -> Result<(), Problem> {
    let mut file = BufReader::new(file);
    let unread = |error| Problem::of_file(format!("cannot be read: {error}"));
    if file.fill_buf().map_err(unread)?.starts_with(b"\xef\xbb\xbf") {
        file.consume(3);
    }
    let shape = Rc::new(RefCell::new(Shape::new()));
    let mut parser = csv::ReaderBuilder::new()
        .has_headers(false)
        // The number of fields is compared here, because the parser would stop at the first row.
        .flexible(true)
        .from_reader(Checked { file, shape: Rc::clone(&shape) });
    let mut record = ByteRecord::new();
    let mut columns = None;
    let mut rows = 0_u64;
    while parser.read_byte_record(&mut record).map_err(explain)? {
        let start = shape.borrow_mut().starts.pop_front();
        let place = start.expect("both sides see the same records");
        let Some(columns) = &columns else {
            columns = Some(header(&record, place, schema)?);
            continue;
        };
        rows += 1;
        match fields(&record, place, columns) {
            Ok(fields) if fields.iter().all(|field| field.trim().is_empty()) => {}
            Ok(mut fields) => {
                if schema.guarded {
                    fields.iter_mut().for_each(unguard);
                }
                take(Row { place, columns, fields: &fields }, problems);
            }
            Err(problem) => problems.push(problem),
        }
    }
    match (columns, rows) {
        (None, _) => Err(Problem::of_file(format!("is empty; {} has a header", schema.name))),
        (Some(_), 0) => Err(Problem::of_file("has a header and no rows; there is nothing to do")),
        (Some(_), _) => Ok(()),
    }
}

/// What follows `'` in our own export: see `csv::exact_line` of the query API.
fn unguard(field: &mut String) {
    const GUARDED: [char; 13] =
        ['\'', ' ', '\t', '\r', '\n', '=', '+', '-', '@', '＝', '＋', '－', '＠'];
    if field.strip_prefix('\'').is_some_and(|rest| rest.starts_with(GUARDED)) {
        field.remove(0);
    }
}

/// The problem inside an error of the parser.
fn explain(error: csv::Error) -> Problem {
    let text = error.to_string();
    let csv::ErrorKind::Io(error) = error.into_kind() else {
        return Problem::of_file(format!("cannot be read: {text}"));
    };
    let inner = error.into_inner().map(<dyn std::error::Error + Send + Sync>::downcast::<Problem>);
    match inner {
        Some(Ok(problem)) => *problem,
        _ => Problem::of_file(format!("cannot be read: {text}")),
    }
}

/// Index of each column, unless one is unknown, missing or there twice.
fn header(
    record: &ByteRecord,
    place: Place,
    schema: &Schema,
) -> Result<HashMap<String, usize>, Problem> {
    let mut columns = HashMap::new();
    for (index, bytes) in record.iter().enumerate() {
        let name = String::from_utf8_lossy(bytes).trim().to_owned();
        let problem = |message: String| Err(Problem::at(place, message).in_column(&name));
        if !schema.knows(&name) {
            return problem(unknown(&name, record.len(), schema));
        }
        if columns.insert(name.clone(), index).is_some() {
            return problem("is there twice; remove one of them".to_owned());
        }
    }
    match schema.required.iter().find(|name| !columns.contains_key(**name)) {
        Some(name) => {
            let message = format!("is missing; {} needs it", schema.name);
            Err(Problem::at(place, message).in_column(name))
        }
        None => Ok(columns),
    }
}

fn unknown(name: &str, columns: usize, schema: &Schema) -> String {
    if columns == 1 && (name.contains(';') || name.contains('\t')) {
        return "is the whole header; separate the columns with commas".to_owned();
    }
    if name.is_empty() {
        return "has no name; name the column or remove it".to_owned();
    }
    match schema.nearest(name) {
        Some(nearest) => {
            format!("is not a column of {}; did you mean `{nearest}`?", schema.name)
        }
        None => format!("is not a column of {}; remove it", schema.name),
    }
}

/// The fields of a row as text.
fn fields(
    record: &ByteRecord,
    place: Place,
    columns: &HashMap<String, usize>,
) -> Result<Vec<String>, Problem> {
    // Columns have distinct names, so there are as many names as fields.
    let expected = columns.len();
    if record.len() != expected {
        let message = format!(
            "has {} fields where the header has {expected}; look for a comma too many or too few, \
             or for a text with a comma and no quotes",
            record.len()
        );
        return Err(Problem::at(place, message));
    }
    let read = |(index, bytes): (usize, &[u8])| {
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            let name = columns.iter().find(|(_, at)| **at == index).map_or("", |(name, _)| name);
            let text = shown(&String::from_utf8_lossy(bytes));
            let message = format!("`{text}` is not UTF-8; save the file as `CSV UTF-8`");
            Problem::at(place, message).in_column(name)
        })
    };
    record.iter().enumerate().map(read).collect()
}

/// Edits (insert, delete, replace one letter) between two short texts.
fn distance(a: &str, b: &str) -> usize {
    // Names of columns are short; a long one resembles nothing.
    const CHARS_MAX: usize = 80;
    let b: Vec<char> = b.chars().take(CHARS_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().take(CHARS_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let replace = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;
