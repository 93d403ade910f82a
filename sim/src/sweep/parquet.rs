//! The tables of a sweep once more, as Parquet: columns with types, for what is too many rows for CSV.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use ::csv::{Reader, StringRecord};
use ::parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::{WriterProperties, WriterVersion};
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::parser::parse_message_type;

use crate::report;

/// Rows of a row group: what is held in memory at a time.
const ROWS: usize = 100_000;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    /// Without a sign.
    Whole,
    /// May be absent.
    Decimal,
}

impl Kind {
    /// Of the column of this name, in any of the tables. One that is not known is text.
    fn of(column: &str) -> Kind {
        match column {
            "seed"
            | "exit"
            | "events"
            | "deliveries"
            | "jobs_submitted"
            | "jobs_completed"
            | "jobs_failed"
            | "jobs_lost"
            | "duplicate_executions"
            | "samples" => Kind::Whole,
            "target" | "measured" | "mean" | "p50" | "p90" | "p99" | "max" => Kind::Decimal,
            _ => Kind::Text,
        }
    }
}

/// Writes what `table`, a CSV file with a header, holds beside it under the same name as Parquet. Of a table without rows, which has
/// no header either, there is none.
///
/// # Errors
/// What cannot be read or written.
#[expect(clippy::disallowed_methods, reason = "results are files")]
pub fn beside(table: &Path) -> io::Result<()> {
    let file = File::open(table).map_err(|e| report::at(table, "read", &e))?;
    let mut reader = Reader::from_reader(file);
    let columns: Vec<(String, Kind)> = reader.headers()?.iter().map(|name| (name.to_owned(), Kind::of(name))).collect();
    if columns.is_empty() {
        return Ok(());
    }
    let path = table.with_extension("parquet");
    let file = File::create(&path).map_err(|e| report::at(&path, "create", &e))?;
    let schema = parse_message_type(&schema(&columns)).map(Arc::new).map_err(at(&path))?;
    // The version of the crate would be in the bytes of every result.
    let properties = WriterProperties::builder().set_writer_version(WriterVersion::PARQUET_1_0);
    let properties = properties.set_created_by("marlos-sim".to_owned()).build();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(at(&path))?;
    let mut records = reader.into_records();
    loop {
        let rows: Vec<StringRecord> = records.by_ref().take(ROWS).collect::<Result<_, _>>()?;
        if rows.is_empty() {
            break;
        }
        let mut group = writer.next_row_group().map_err(at(&path))?;
        let mut number = 0;
        while let Some(mut column) = group.next_column().map_err(at(&path))? {
            let cells = rows.iter().map(|row| row.get(number).unwrap_or_default());
            write(&mut column, columns[number].1, cells).map_err(at(&path))?;
            column.close().map_err(at(&path))?;
            number += 1;
        }
        group.close().map_err(at(&path))?;
    }
    writer.close().map(drop).map_err(at(&path))
}

/// In the language of Parquet's own examples.
fn schema(columns: &[(String, Kind)]) -> String {
    let column = |(name, kind): &(String, Kind)| match kind {
        Kind::Text => format!("REQUIRED BINARY {name} (UTF8);"),
        Kind::Whole => format!("REQUIRED INT64 {name} (INTEGER(64,false));"),
        Kind::Decimal => format!("OPTIONAL DOUBLE {name};"),
    };
    format!("message marlos {{ {} }}", columns.iter().map(column).collect::<String>())
}

fn write<'r>(
    column: &mut SerializedColumnWriter<'_>,
    kind: Kind,
    cells: impl Iterator<Item = &'r str>,
) -> Result<(), ParquetError> {
    let wrong = |cell: &str| ParquetError::General(format!("`{cell}` is no number"));
    match kind {
        Kind::Text => {
            let values: Vec<ByteArray> = cells.map(ByteArray::from).collect();
            column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
        }
        Kind::Whole => {
            let number = |cell: &str| cell.parse::<u64>().map(u64::cast_signed).map_err(|_| wrong(cell));
            let values = cells.map(number).collect::<Result<Vec<i64>, _>>()?;
            column.typed::<Int64Type>().write_batch(&values, None, None)?;
        }
        Kind::Decimal => {
            let cells: Vec<&str> = cells.collect();
            let there: Vec<i16> = cells.iter().map(|cell| i16::from(!cell.is_empty())).collect();
            let number = |cell: &&str| cell.parse::<f64>().map_err(|_| wrong(cell));
            let values = cells.iter().filter(|cell| !cell.is_empty()).map(number).collect::<Result<Vec<f64>, _>>()?;
            column.typed::<DoubleType>().write_batch(&values, Some(&there), None)?;
        }
    }
    Ok(())
}

fn at(path: &Path) -> impl Fn(ParquetError) -> io::Error {
    move |e| report::at(path, "write", &io::Error::other(e.to_string()))
}

#[cfg(test)]
mod tests {
    use ::parquet::file::reader::{FileReader as _, SerializedFileReader};
    use ::parquet::record::Field;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests read what was written")]
    fn a_table_holds_the_same_with_types() {
        let dir = tempfile::tempdir().expect("a directory");
        let table = dir.path().join("kpi.csv");
        let largest = u64::MAX;
        std::fs::write(&table, format!("kpi,seed,measured\n\"a \"\"b\"\",\",1,0.5\nheal,{largest},\n"))
            .expect("written");
        beside(&table).expect("written");
        let file = File::open(dir.path().join("kpi.parquet")).expect("there");
        let reader = SerializedFileReader::new(file).expect("Parquet");
        let rows: Vec<Vec<(String, Field)>> = reader
            .get_row_iter(None)
            .expect("rows")
            .map(|row| row.expect("a row").get_column_iter().map(|(n, f)| (n.clone(), f.clone())).collect())
            .collect();
        let row = |kpi: &str, seed, measured| {
            vec![
                ("kpi".to_owned(), Field::Str(kpi.to_owned())),
                ("seed".to_owned(), Field::ULong(seed)),
                ("measured".to_owned(), measured),
            ]
        };
        assert_eq!(rows, [row("a \"b\",", 1, Field::Double(0.5)), row("heal", largest, Field::Null)]);
    }

    #[test]
    fn a_table_without_rows_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let table = dir.path().join("kpi.csv");
        report::put(&table, b"").expect("written");
        beside(&table).expect("nothing to do");
        assert!(!dir.path().join("kpi.parquet").exists());
    }
}
