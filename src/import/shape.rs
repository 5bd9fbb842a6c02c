//! What the CSV parser is lenient about and we are not: quotes that are never closed, text after a
//! closing quote, NUL bytes, and sizes no honest file has. Looks at every byte before the parser
//! does, so that a hostile file is refused before it costs memory.

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc};

use super::problem::{Place, Problem};

/// Columns of a file. Shopify exports have about 60, with markets and metafields some hundreds.
pub const COLUMNS_MAX: usize = 1_000;
/// Rows of a file without its header.
pub const ROWS_MAX: usize = 1_000_000;
/// Bytes of one field: Shopify's own limit of a product description is 64 KiB.
pub const FIELD_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a file.
pub const FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    RecordStart,
    FieldStart,
    Plain,
    Quoted,
    /// After a quote inside a quoted field: its end, or the first half of a doubled quote.
    QuoteInQuoted,
}

/// Follows the bytes of a file from record to record, with the same idea of both as the parser:
/// a record ends with LF, CR or CR LF, and empty lines are no records.
#[derive(Debug)]
pub(super) struct Shape {
    state: State,
    after_cr: bool,
    here: Place,
    quote_opened: Place,
    bytes: u64,
    records: usize,
    columns: usize,
    field_bytes: usize,
    /// Beginnings of the records the parser has not delivered yet.
    pub(super) starts: VecDeque<Place>,
}

impl Shape {
    pub(super) fn new() -> Shape {
        Shape {
            state: State::RecordStart,
            after_cr: false,
            here: Place { row: 1, line: 1 },
            quote_opened: Place::default(),
            bytes: 0,
            records: 0,
            columns: 0,
            field_bytes: 0,
            starts: VecDeque::new(),
        }
    }

    /// Takes the next byte of the file.
    pub(super) fn step(&mut self, byte: u8) -> Result<(), Problem> {
        self.bytes += 1;
        if self.bytes > FILE_BYTES_MAX {
            let mib = FILE_BYTES_MAX / 1024 / 1024;
            return Err(Problem::of_file(format!("is larger than {mib} MiB; split it")));
        }
        if byte == 0 {
            let message = "holds a NUL byte: this is no text file, or it is UTF-16; save it as \
                           `CSV UTF-8`";
            return Err(Problem::at(self.here, message));
        }
        let newline = byte == b'\n' || byte == b'\r';
        let second_half = byte == b'\n' && self.after_cr;
        self.after_cr = byte == b'\r';
        self.state = self.next(byte, newline)?;
        if newline && !second_half {
            self.here.line += 1;
            if self.state == State::RecordStart {
                self.here.row += 1;
            }
        }
        Ok(())
    }

    fn next(&mut self, byte: u8, newline: bool) -> Result<State, Problem> {
        if self.state == State::RecordStart {
            if newline {
                return Ok(State::RecordStart);
            }
            self.begin_record()?;
            self.state = State::FieldStart;
        }
        let in_quotes = self.state == State::Quoted;
        match byte {
            b',' if !in_quotes => self.begin_field(),
            b'\n' | b'\r' if !in_quotes => Ok(State::RecordStart),
            b'"' => Ok(self.quote()),
            _ if self.state == State::QuoteInQuoted => {
                let message = "has text after a closing quote; write a quote inside a quoted field \
                               twice (`\"\"`)";
                Err(Problem::at(self.here, message))
            }
            _ => self.text(),
        }
    }

    fn quote(&mut self) -> State {
        match self.state {
            State::FieldStart | State::RecordStart => {
                self.quote_opened = self.here;
                State::Quoted
            }
            State::Quoted => State::QuoteInQuoted,
            State::QuoteInQuoted => State::Quoted,
            // A quote in the middle of an unquoted field, such as `7" frame`, is just a character.
            State::Plain => State::Plain,
        }
    }

    fn text(&mut self) -> Result<State, Problem> {
        self.field_bytes += 1;
        if self.field_bytes > FIELD_BYTES_MAX {
            // An opened quote that is never closed swallows the rest of the file into one field.
            let (place, hint) = match self.state {
                State::Quoted => (self.quote_opened, "; is its quote closed?"),
                _ => (self.here, ""),
            };
            let kib = FIELD_BYTES_MAX / 1024;
            let message = format!("column {} is longer than {kib} KiB{hint}", self.columns);
            return Err(Problem::at(place, message));
        }
        Ok(if self.state == State::Quoted { State::Quoted } else { State::Plain })
    }

    fn begin_record(&mut self) -> Result<(), Problem> {
        // The header is a record too.
        if self.records > ROWS_MAX {
            let message = format!("has more than {ROWS_MAX} rows; split it");
            return Err(Problem::of_file(message));
        }
        self.records += 1;
        self.columns = 1;
        self.field_bytes = 0;
        self.starts.push_back(self.here);
        Ok(())
    }

    fn begin_field(&mut self) -> Result<State, Problem> {
        self.columns += 1;
        self.field_bytes = 0;
        if self.columns > COLUMNS_MAX {
            let message =
                format!("has more than {COLUMNS_MAX} columns; remove those that are not needed");
            return Err(Problem::at(self.here, message));
        }
        Ok(State::FieldStart)
    }

    /// Nothing follows.
    fn end(&self) -> Result<(), Problem> {
        if self.state == State::Quoted {
            let message = "opens a quote that is never closed; close it, or write a quote inside a \
                           quoted field twice (`\"\"`)";
            return Err(Problem::at(self.quote_opened, message));
        }
        Ok(())
    }
}

/// A file on its way to the parser. A [`Problem`] comes out as the inner error of an `io::Error`.
#[derive(Debug)]
pub(super) struct Checked<R> {
    pub(super) file: R,
    /// Shared with the reader of the table, in one thread.
    pub(super) shape: Rc<RefCell<Shape>>,
}

impl<R: io::Read> io::Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let mut shape = self.shape.borrow_mut();
        if count == 0 && !buffer.is_empty() {
            shape.end().map_err(io::Error::other)?;
        }
        for &byte in &buffer[..count] {
            shape.step(byte).map_err(io::Error::other)?;
        }
        Ok(count)
    }
}
