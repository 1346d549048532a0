//! A table of rows as Parquet (<https://parquet.apache.org/docs/file-format/>).
//!
//! A row has its time (a UTC timestamp in nanoseconds), flags, texts and `FLOAT` columns; texts and
//! floats may be null. Rows collect in a group of [`GROUP_ROWS`], which is then written column by
//! column, with zstd: that is the memory that it takes, whatever the number of rows.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, FloatType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;

/// Rows of a group: some five megabytes of the whole table of features.
const GROUP_ROWS: usize = 2_048;

/// The columns of a table, after `at`.
pub(super) struct Columns<'a> {
    pub(super) flags: &'a [&'a str],
    pub(super) texts: &'a [&'a str],
    pub(super) floats: &'a [String],
}

/// One row, in the order of the columns.
pub(super) struct Cells<'a> {
    pub(super) at_ns: u64,
    pub(super) flags: &'a [bool],
    pub(super) texts: &'a [Option<&'a str>],
    /// NaN is null.
    pub(super) floats: &'a [f32],
}

/// A Parquet file that is being written.
pub(super) struct Table<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    group: Group,
}

/// The rows that wait to be written, by column.
struct Group {
    at: Vec<i64>,
    flags: Vec<Vec<bool>>,
    texts: Vec<Vec<Option<ByteArray>>>,
    floats: Vec<Vec<f32>>,
}

impl Group {
    fn write<W: Write + Send>(
        &mut self,
        group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<(), ParquetError> {
        const MISSING: ParquetError = ParquetError::EOF(String::new());
        let mut next = group.next_column()?.ok_or(MISSING)?;
        next.typed::<Int64Type>()
            .write_batch(&self.at, None, None)?;
        next.close()?;
        self.at.clear();
        for column in &mut self.flags {
            let mut next = group.next_column()?.ok_or(MISSING)?;
            next.typed::<BoolType>().write_batch(column, None, None)?;
            next.close()?;
            column.clear();
        }
        // A null has no value, only a definition level of 0.
        for column in &mut self.texts {
            let levels: Vec<i16> = column.iter().map(|text| text.is_some().into()).collect();
            let values: Vec<ByteArray> = column.drain(..).flatten().collect();
            let mut next = group.next_column()?.ok_or(MISSING)?;
            let typed = next.typed::<ByteArrayType>();
            typed.write_batch(&values, Some(&levels), None)?;
            next.close()?;
        }
        for column in &mut self.floats {
            let levels: Vec<i16> = column.iter().map(|v| (!v.is_nan()).into()).collect();
            column.retain(|value| !value.is_nan());
            let mut next = group.next_column()?.ok_or(MISSING)?;
            let typed = next.typed::<FloatType>();
            typed.write_batch(column, Some(&levels), None)?;
            next.close()?;
            column.clear();
        }
        Ok(())
    }
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

impl<W: Write + Send> Table<W> {
    pub(super) fn new(stream: W, columns: &Columns<'_>) -> io::Result<Self> {
        let mut fields = vec![field(
            "at",
            Physical::INT64,
            Some(LogicalType::timestamp(true, TimeUnit::NANOS)),
            Repetition::REQUIRED,
        )?];
        for name in columns.flags {
            fields.push(field(name, Physical::BOOLEAN, None, Repetition::REQUIRED)?);
        }
        for name in columns.texts {
            let text = Some(LogicalType::String);
            fields.push(field(
                name,
                Physical::BYTE_ARRAY,
                text,
                Repetition::OPTIONAL,
            )?);
        }
        for name in columns.floats {
            fields.push(field(name, Physical::FLOAT, None, Repetition::OPTIONAL)?);
        }
        let schema = Type::group_type_builder("tickerml").with_fields(fields);
        let schema = schema.build().map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_created_by(concat!("tickerml-edge ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build();
        let writer = SerializedFileWriter::new(stream, Arc::new(schema), Arc::new(properties));
        Ok(Self {
            writer: writer.map_err(failed)?,
            group: Group {
                at: Vec::with_capacity(GROUP_ROWS),
                flags: vec![Vec::new(); columns.flags.len()],
                texts: vec![Vec::new(); columns.texts.len()],
                floats: vec![Vec::new(); columns.floats.len()],
            },
        })
    }

    /// Takes a row, and writes the group that it fills.
    pub(super) fn push(&mut self, row: &Cells<'_>) -> io::Result<()> {
        let group = &mut self.group;
        group.at.push(i64::try_from(row.at_ns).unwrap_or(i64::MAX));
        for (column, flag) in group.flags.iter_mut().zip(row.flags) {
            column.push(*flag);
        }
        for (column, text) in group.texts.iter_mut().zip(row.texts) {
            column.push(text.map(ByteArray::from));
        }
        for (column, value) in group.floats.iter_mut().zip(row.floats) {
            column.push(*value);
        }
        if group.at.len() >= GROUP_ROWS {
            self.write_group()?;
        }
        Ok(())
    }

    fn write_group(&mut self) -> io::Result<()> {
        let mut group = self.writer.next_row_group().map_err(failed)?;
        self.group.write(&mut group).map_err(failed)?;
        group.close().map_err(failed)?;
        Ok(())
    }

    /// Writes what is left and the footer. Gives the stream back, not flushed.
    pub(super) fn close(mut self) -> io::Result<W> {
        if !self.group.at.is_empty() {
            self.write_group()?;
        }
        self.writer.into_inner().map_err(failed)
    }
}

fn field(
    name: &str,
    physical: Physical,
    logical: Option<LogicalType>,
    repetition: Repetition,
) -> io::Result<Arc<Type>> {
    let field = Type::primitive_type_builder(name, physical)
        .with_logical_type(logical)
        .with_repetition(repetition);
    field.build().map(Arc::new).map_err(failed)
}
