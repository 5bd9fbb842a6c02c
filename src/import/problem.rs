//! What is wrong with a file, in words its owner can act on.

use std::fmt;

/// Problems that are told in full; more are only counted. A screen or two, not a flood.
pub const PROBLEMS_TOLD_MAX: usize = 100;

/// Where a record begins: its row as a spreadsheet numbers it (the header is row 1), and its line
/// in a text editor. They differ below a field with line breaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub row: u64,
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.row == self.line {
            return write!(f, "row {}", self.row);
        }
        write!(f, "row {} (line {})", self.row, self.line)
    }
}

/// One thing that is wrong, where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// None for what concerns the file as a whole.
    pub place: Option<Place>,
    /// Name of the column, if one is to blame.
    pub column: Option<String>,
    /// What is wrong and what to do.
    pub message: String,
}

impl Problem {
    /// About the file as a whole.
    pub(super) fn of_file(message: impl Into<String>) -> Problem {
        Problem { place: None, column: None, message: message.into() }
    }

    /// About one row.
    pub(super) fn at(place: Place, message: impl Into<String>) -> Problem {
        Problem { place: Some(place), column: None, message: message.into() }
    }

    /// Of one column.
    pub(super) fn in_column(self, column: &str) -> Problem {
        Problem { column: Some(shown(column)), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}")?;
            if let Some(column) = &self.column {
                write!(f, ", column `{column}`")?;
            }
            f.write_str(": ")?;
        } else if let Some(column) = &self.column {
            write!(f, "column `{column}`: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

/// Every problem of a run, told up to [`PROBLEMS_TOLD_MAX`], counted beyond.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    told: Vec<Problem>,
    count: usize,
}

impl Problems {
    /// Adds one.
    pub(super) fn push(&mut self, problem: Problem) {
        self.count += 1;
        if self.told.len() < PROBLEMS_TOLD_MAX {
            self.told.push(problem);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Those that are told, in the order of the file.
    pub fn told(&self) -> &[Problem] {
        &self.told
    }

    /// Orders them by row: several passes over a file find them in another order.
    pub(super) fn sort(&mut self) {
        self.told.sort_by_key(|problem| problem.place.map_or(0, |place| place.row));
    }
}

impl fmt::Display for Problems {
    /// One line each, and how many more there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.told {
            writeln!(f, "{problem}")?;
        }
        match self.count - self.told.len() {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}

/// Text of a file as a message may show it: short and without control characters, which could
/// rewrite the terminal.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut short: String = text.chars().take(CHARS_MAX).map(clean).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_and_not_told() {
        let mut problems = Problems::default();
        for row in 1..=103 {
            problems.push(Problem::at(Place { row, line: row }, "bad"));
        }
        let text = problems.to_string();
        assert_eq!(text.lines().count(), PROBLEMS_TOLD_MAX + 1);
        assert!(text.ends_with("and 3 more\n"), "{text}");
    }

    #[test]
    fn a_message_names_row_line_and_column() {
        let problem = Problem::at(Place { row: 3, line: 9 }, "is empty").in_column("Handle");
        assert_eq!(problem.to_string(), "row 3 (line 9), column `Handle`: is empty");
    }

    #[test]
    fn text_of_a_file_cannot_drive_the_terminal() {
        assert_eq!(shown("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(shown(&"x".repeat(80)).chars().count(), 61);
    }
}
