//! One Parquet file: columns as PostgreSQL has them, all of them optional, compressed by Snappy.

use std::{fs::File, path::Path, sync::Arc};

use anyhow::Context as _;
use parquet::{
    basic::Compression,
    data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type},
    file::{
        metadata::KeyValue,
        properties::WriterProperties,
        writer::{SerializedColumnWriter, SerializedFileWriter},
    },
    schema::parser::parse_message_type,
};
use sqlx::{Decode, Postgres, Row as _, Type, postgres::PgRow};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Integer,
    Text,
    Boolean,
    /// UTC, in microseconds.
    Time,
    Date,
}

/// A column of a view.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) comment: String,
    kind: Kind,
}

impl Column {
    /// `kind` is the name of the type in PostgreSQL.
    pub(super) fn new(name: String, kind: &str, comment: String) -> anyhow::Result<Column> {
        let kind = match kind {
            "int2" | "int4" | "int8" => Kind::Integer,
            "text" | "varchar" | "uuid" => Kind::Text,
            "bool" => Kind::Boolean,
            "timestamptz" => Kind::Time,
            "date" => Kind::Date,
            other => anyhow::bail!("column {name} is of type {other}, which has no form in a file"),
        };
        Ok(Column { name, comment, kind })
    }

    /// The column in the one type that its kind is read as.
    pub(super) fn sql(&self) -> String {
        let Column { name, kind, .. } = self;
        match kind {
            Kind::Integer => format!("{name}::bigint"),
            Kind::Text => format!("{name}::text"),
            Kind::Boolean => name.clone(),
            Kind::Time => format!("(extract(epoch FROM {name}) * 1000000)::bigint"),
            Kind::Date => format!("({name} - date '1970-01-01')"),
        }
    }

    /// For people: the type in the file.
    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Integer => "integer, 64 bits",
            Kind::Text => "text",
            Kind::Boolean => "boolean",
            Kind::Time => "time, UTC, microseconds",
            Kind::Date => "date",
        }
    }

    fn declaration(&self) -> String {
        let name = &self.name;
        match self.kind {
            Kind::Integer => format!("optional int64 {name};"),
            Kind::Text => format!("optional binary {name} (STRING);"),
            Kind::Boolean => format!("optional boolean {name};"),
            Kind::Time => format!("optional int64 {name} (TIMESTAMP(MICROS,true));"),
            Kind::Date => format!("optional int32 {name} (DATE);"),
        }
    }
}

/// A file that is being written.
pub(super) struct TableFile {
    writer: SerializedFileWriter<File>,
}

impl TableFile {
    /// Comments go into the file, under `comment` and `comment.<column>`.
    pub(super) fn create(
        path: &Path,
        name: &str,
        comment: &str,
        columns: &[Column],
    ) -> anyhow::Result<TableFile> {
        let fields: Vec<String> = columns.iter().map(Column::declaration).collect();
        let schema = parse_message_type(&format!("message {name} {{ {} }}", fields.join(" ")))?;
        let comments = columns.iter().map(|column| {
            KeyValue::new(format!("comment.{}", column.name), column.comment.clone())
        });
        let table = KeyValue::new("comment".to_owned(), comment.to_owned());
        let properties = WriterProperties::builder()
            .set_created_by(concat!("conche ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::SNAPPY)
            .set_key_value_metadata(Some([table].into_iter().chain(comments).collect()))
            .build();
        let file = File::create(path)?;
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties))?;
        Ok(TableFile { writer })
    }

    /// Writes a group of rows, selected by [`Column::sql`].
    pub(super) fn append(&mut self, columns: &[Column], rows: &[PgRow]) -> anyhow::Result<()> {
        let mut group = self.writer.next_row_group()?;
        for (at, column) in columns.iter().enumerate() {
            let mut into = group.next_column()?.context("fewer columns than declared")?;
            match column.kind {
                Kind::Integer | Kind::Time => {
                    put::<Int64Type, i64>(&mut into, rows, at, |value| value)?;
                }
                Kind::Date => put::<Int32Type, i32>(&mut into, rows, at, |value| value)?,
                Kind::Boolean => put::<BoolType, bool>(&mut into, rows, at, |value| value)?,
                Kind::Text => {
                    let bytes = |text: &str| ByteArray::from(text.as_bytes().to_vec());
                    put::<ByteArrayType, &str>(&mut into, rows, at, bytes)?;
                }
            }
            into.close()?;
        }
        group.close()?;
        Ok(())
    }

    /// Writes the end of the file and waits until all of it is on the disk.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        Ok(self.writer.into_inner()?.sync_all()?)
    }
}

/// Writes column `at` of some rows.
fn put<'r, T: DataType, V: Decode<'r, Postgres> + Type<Postgres>>(
    column: &mut SerializedColumnWriter<'_>,
    rows: &'r [PgRow],
    at: usize,
    convert: impl Fn(V) -> T::T,
) -> anyhow::Result<()> {
    let mut values = Vec::with_capacity(rows.len());
    // 1: there is a value; 0: there is none.
    let mut levels = Vec::with_capacity(rows.len());
    for row in rows {
        let value: Option<V> = row.try_get(at)?;
        levels.push(i16::from(value.is_some()));
        values.extend(value.map(&convert));
    }
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    Ok(())
}
