//! One UTC day of steps as a Parquet file (<https://parquet.apache.org/docs/file-format/>).
//!
//! Columns: `at` (UTC timestamp in nanoseconds), `bid` and `ask` (null where the step is without prices),
//! `masked`, `valid` (one bit a feature, in the order of the selection), and the selected features under their
//! own names (null where unknown). The same rows give the same bytes.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{BoolType, DataType, DoubleType, FloatType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::Type;
use tickerml_shared::features::{SELECTION, Vector, selected};
use tickerml_shared::schema::schema_id;
use tickerml_shared::time::Time;

use crate::series::MarketRow;

/// Rows of a group: some twenty megabytes while it is written.
const GROUP_ROWS: usize = 65_536;
/// Columns before the features.
const FIXED: usize = 5;

/// What a day file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The schema under which the features were computed, in hexadecimal.
    pub schema_id: String,
    /// Venue and symbol.
    pub instrument: String,
    /// Nanoseconds between pulses.
    pub pulse_ns: u64,
    /// Where its rows come from, one entry a source, sorted.
    pub sources: Vec<String>,
    /// The spread in basis points that stands in for quotes that the source lacks; `None` where it has quotes.
    pub assumed_spread_bps: Option<String>,
}

/// The keys of a [`Head`] in the file.
const KEYS: [&str; 5] = [
    "tickerml.schema_id",
    "tickerml.instrument",
    "tickerml.pulse_ns",
    "tickerml.sources",
    "tickerml.assumed_spread_bps",
];

impl Head {
    fn pairs(&self) -> Vec<KeyValue> {
        let values = [
            self.schema_id.clone(),
            self.instrument.clone(),
            self.pulse_ns.to_string(),
            self.sources.join("; "),
            self.assumed_spread_bps.clone().unwrap_or_default(),
        ];
        KEYS.iter()
            .zip(values)
            .map(|(key, value)| KeyValue::new((*key).to_owned(), value))
            .collect()
    }

    fn of(pairs: &[KeyValue]) -> Option<Self> {
        let [schema_id, instrument, pulse_ns, sources, spread] = KEYS.map(|key| {
            let pair = pairs.iter().find(|pair| pair.key == key)?;
            Some(pair.value.clone().unwrap_or_default())
        });
        let sources = sources?;
        Some(Self {
            schema_id: schema_id?,
            instrument: instrument?,
            pulse_ns: pulse_ns?.parse().ok()?,
            sources: sources
                .split("; ")
                .filter(|text| !text.is_empty())
                .map(str::to_owned)
                .collect(),
            assumed_spread_bps: spread.filter(|text| !text.is_empty()),
        })
    }
}

/// Writes rows in order of time. The file is neither flushed to the device nor renamed here.
pub(super) fn write(file: File, head: &Head, rows: &[MarketRow]) -> Result<File, ParquetError> {
    let properties = WriterProperties::builder()
        .set_created_by(concat!("tickerml-trainer ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(head.pairs()))
        .build();
    let mut writer = SerializedFileWriter::new(file, COLUMNS.clone(), Arc::new(properties))?;
    for rows in rows.chunks(GROUP_ROWS) {
        let mut group = writer.next_row_group()?;
        write_group(&mut group, rows)?;
        group.close()?;
    }
    writer.into_inner()
}

/// The columns, made once: thousands of files are read in a row.
static COLUMNS: LazyLock<Arc<Type>> =
    LazyLock::new(|| Arc::new(columns().expect("columns with names of their own")));
/// The fingerprint of this build, likewise.
pub(super) static SCHEMA: LazyLock<String> = LazyLock::new(|| schema_id().to_string());

fn columns() -> Result<Type, ParquetError> {
    let field = |name: &str, physical, logical, repetition| {
        let field = Type::primitive_type_builder(name, physical)
            .with_logical_type(logical)
            .with_repetition(repetition);
        field.build().map(Arc::new)
    };
    let stamp = Some(LogicalType::timestamp(true, TimeUnit::NANOS));
    let mut fields = vec![
        field("at", Physical::INT64, stamp, Repetition::REQUIRED)?,
        field("bid", Physical::DOUBLE, None, Repetition::OPTIONAL)?,
        field("ask", Physical::DOUBLE, None, Repetition::OPTIONAL)?,
        field("masked", Physical::BOOLEAN, None, Repetition::REQUIRED)?,
        field("valid", Physical::INT64, None, Repetition::REQUIRED)?,
    ];
    for feature in selected() {
        let name = feature.to_string();
        fields.push(field(&name, Physical::FLOAT, None, Repetition::OPTIONAL)?);
    }
    let group = Type::group_type_builder("tickerml_history").with_fields(fields);
    group.build()
}

fn write_group(
    group: &mut SerializedRowGroupWriter<'_, File>,
    rows: &[MarketRow],
) -> Result<(), ParquetError> {
    let at: Vec<i64> = rows.iter().map(|row| row.at.0.cast_signed()).collect();
    column::<Int64Type>(group, &at, None)?;
    for price in [|row: &MarketRow| row.bid, |row: &MarketRow| row.ask] {
        let levels: Vec<i16> = rows
            .iter()
            .map(|row| (!price(row).is_nan()).into())
            .collect();
        let known: Vec<f64> = rows.iter().map(price).filter(|v| !v.is_nan()).collect();
        column::<DoubleType>(group, &known, Some(&levels))?;
    }
    let masked: Vec<bool> = rows.iter().map(|row| row.masked).collect();
    column::<BoolType>(group, &masked, None)?;
    let valid: Vec<i64> = rows
        .iter()
        .map(|row| row.state.valid.cast_signed())
        .collect();
    column::<Int64Type>(group, &valid, None)?;
    for index in 0..SELECTION.len() {
        let value = |row: &MarketRow| row.state.get(index);
        let levels: Vec<i16> = rows.iter().map(|row| value(row).is_some().into()).collect();
        let known: Vec<f32> = rows.iter().filter_map(value).collect();
        column::<FloatType>(group, &known, Some(&levels))?;
    }
    Ok(())
}

/// Writes the next column; a level of 0 is a null, which has no value.
fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    levels: Option<&[i16]>,
) -> Result<(), ParquetError> {
    let missing =
        || ParquetError::General("the table has fewer columns than its schema".to_owned());
    let mut next = group.next_column()?.ok_or_else(missing)?;
    next.typed::<T>().write_batch(values, levels, None)?;
    next.close()
}

fn head_of(reader: &SerializedFileReader<File>) -> Result<(Head, usize), ParquetError> {
    let file = reader.metadata().file_metadata();
    let pairs = file.key_value_metadata().map_or(&[][..], Vec::as_slice);
    let head = Head::of(pairs).ok_or_else(|| strange("it lacks TickerML's metadata"))?;
    let rows = usize::try_from(file.num_rows()).map_err(|_| strange("it counts its rows wrong"))?;
    Ok((head, rows))
}

fn strange(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// Reads a day file: `Err` where it is damaged, the head alone where it has another schema.
pub(super) fn read(path: &Path) -> Result<(Head, Vec<MarketRow>), ParquetError> {
    let reader = SerializedFileReader::new(File::open(path)?)?;
    let (head, count) = head_of(&reader)?;
    if head.schema_id != *SCHEMA {
        return Ok((head, Vec::new()));
    }
    let is_ours = reader.metadata().file_metadata().schema() == COLUMNS.as_ref();
    if !is_ours {
        return Err(strange("its columns are not those of its schema"));
    }
    let mut rows = Vec::with_capacity(count);
    for index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(index)?;
        read_group(group.as_ref(), &mut rows)?;
    }
    if rows.len() != count || !rows.is_sorted_by(|one, next| one.at < next.at) {
        return Err(strange("its rows are not in order"));
    }
    Ok((head, rows))
}

fn read_group(group: &dyn RowGroupReader, rows: &mut Vec<MarketRow>) -> Result<(), ParquetError> {
    let count = usize::try_from(group.metadata().num_rows())
        .map_err(|_| strange("it counts its rows wrong"))?;
    let first = rows.len();
    let at = values::<Int64Type>(group, 0, count)?;
    let bid = values::<DoubleType>(group, 1, count)?;
    let ask = values::<DoubleType>(group, 2, count)?;
    let masked = values::<BoolType>(group, 3, count)?;
    let valid = values::<Int64Type>(group, 4, count)?;
    for row in 0..count {
        rows.push(MarketRow {
            at: Time(at[row].unwrap_or_default().cast_unsigned()),
            state: Vector {
                valid: valid[row].unwrap_or_default().cast_unsigned(),
                ..Vector::default()
            },
            bid: bid[row].unwrap_or(f64::NAN),
            ask: ask[row].unwrap_or(f64::NAN),
            masked: masked[row].unwrap_or(true),
        });
    }
    for index in 0..SELECTION.len() {
        let column = values::<FloatType>(group, FIXED + index, count)?;
        for (row, value) in rows[first..].iter_mut().zip(column) {
            if value.is_some() != (row.state.valid >> index & 1 == 1) {
                return Err(strange("a feature contradicts the column of what is valid"));
            }
            row.state.values[index] = value.unwrap_or(0.0);
        }
    }
    Ok(())
}

/// A column of a group, `None` for a null.
fn values<T: DataType>(
    group: &dyn RowGroupReader,
    place: usize,
    count: usize,
) -> Result<Vec<Option<T::T>>, ParquetError> {
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(place)?);
    let is_optional = group
        .metadata()
        .column(place)
        .column_descr()
        .max_def_level()
        > 0;
    let (mut levels, mut known) = (Vec::new(), Vec::with_capacity(count));
    let mut read = 0;
    while read < count {
        let asked = is_optional.then_some(&mut levels);
        let (records, ..) = reader.read_records(count - read, asked, None, &mut known)?;
        if records == 0 {
            return Err(strange("a column is shorter than its rows"));
        }
        read += records;
    }
    if !is_optional {
        return Ok(known.into_iter().map(Some).collect());
    }
    let mut known = known.into_iter();
    Ok(levels
        .into_iter()
        .map(|level| if level > 0 { known.next() } else { None })
        .collect())
}
