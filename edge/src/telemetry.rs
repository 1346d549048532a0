//! How the edge watches itself: log lines, its own memory, the board's temperature, and latencies.
//!
//! Nothing here decides anything. Log lines go to standard error, where the journal of the service
//! manager takes them; the numbers are read by the status page and the alarms. Free disk space is
//! not here, because the standard library does not offer it.

use std::fmt;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One readable line per event.
    #[default]
    Text,
    /// One JSON object per line: `timestamp`, `level`, `target` and `fields`, of which one is
    /// `message`.
    Json,
}

impl FromStr for LogFormat {
    type Err = LogError;

    fn from_str(text: &str) -> Result<Self, LogError> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(LogError(format!(
                "unknown log format {other:?}; use \"text\" or \"json\""
            ))),
        }
    }
}

/// Why logging could not be set up, with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogError(String);

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LogError {}

/// Sends log lines to standard error for the rest of the process, without colours. `filter` is a
/// level, or levels per module, as in `info,tickerml_edge::net=debug`; empty means `info`. Call it
/// once, first thing.
///
/// # Errors
/// If the filter cannot be read, or if logging was set up before.
pub fn init(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let dispatch = dispatch(format, filter, std::io::stderr)?;
    tracing::dispatcher::set_global_default(dispatch)
        .map_err(|_| LogError("logging was set up before; set it up once, at the start".to_owned()))
}

fn dispatch<W>(format: LogFormat, filter: &str, writer: W) -> Result<Dispatch, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(filter)
        .map_err(|e| {
            LogError(format!(
                "the log filter {filter:?} cannot be read: {e}; \
                 write a level, or module=level pairs with commas between"
            ))
        })?;
    let common = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(writer);
    Ok(match format {
        LogFormat::Text => Dispatch::new(common.finish()),
        LogFormat::Json => Dispatch::new(common.event_format(JsonLines).finish()),
    })
}

/// The shape of tracing's own JSON lines, which log collectors know. Spans are left out: the edge
/// uses none.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        writer.write_str("{\"timestamp\":\"")?;
        SystemTime.format_time(&mut writer)?;
        write!(writer, "\",\"level\":\"{}\",\"target\":", metadata.level())?;
        write_json_string(&mut writer, metadata.target())?;
        writer.write_str(",\"fields\":{")?;
        let mut fields = JsonFields {
            writer: &mut writer,
            first: true,
            result: Ok(()),
        };
        event.record(&mut fields);
        fields.result?;
        writer.write_str("}}\n")
    }
}

struct JsonFields<'a, 'b> {
    writer: &'a mut Writer<'b>,
    first: bool,
    result: fmt::Result,
}

impl JsonFields<'_, '_> {
    fn field(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self.try_field(field, value);
        }
    }

    fn try_field(
        &mut self,
        field: &Field,
        value: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
    ) -> fmt::Result {
        if !self.first {
            self.writer.write_char(',')?;
        }
        self.first = false;
        write_json_string(self.writer, field.name())?;
        self.writer.write_char(':')?;
        value(self.writer)
    }
}

impl Visit for JsonFields<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no infinities and no NaN.
        self.field(field, |w| match value.is_finite() {
            true => write!(w, "{value}"),
            false => w.write_str("null"),
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |w| write!(w, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |w| write!(w, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |w| write!(w, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |w| write_json_string(w, value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, |w| write_json_string(w, &format!("{value:?}")));
    }
}

fn write_json_string(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    writer.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => writer.write_str("\\\"")?,
            '\\' => writer.write_str("\\\\")?,
            '\n' => writer.write_str("\\n")?,
            c if c < ' ' => write!(writer, "\\u{:04x}", u32::from(c))?,
            c => writer.write_char(c)?,
        }
    }
    writer.write_char('"')
}

/// What this process occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// All resident pages in bytes, most of them clean pages of the binary, which the kernel may
    /// drop and read again.
    pub rss_bytes: u64,
    /// Resident pages that are ours alone and cannot be dropped, in bytes: the number to judge by.
    pub anon_bytes: u64,
}

/// What this process occupies now; nothing where the kernel does not tell.
///
/// It costs the kernel a walk over the page tables (about a millisecond): ask every few seconds,
/// not per event.
pub fn process_memory() -> Option<Memory> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    memory(&status, &rollup)
}

fn memory(status: &str, rollup: &str) -> Option<Memory> {
    let rss_bytes = kilobytes(status, "VmRSS:")?;
    // The share by page comes first; older or locked-down kernels give only the plain sums.
    let anon_bytes = kilobytes(rollup, "Pss_Anon:")
        .or_else(|| kilobytes(rollup, "Anonymous:"))
        .or_else(|| kilobytes(status, "RssAnon:"))?;
    Some(Memory {
        rss_bytes,
        anon_bytes,
    })
}

/// The value of a line `Name:   123 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// Thermal zones that are looked at; boards have a handful.
const MAX_THERMAL_ZONES: u32 = 32;
/// Kernel names of zones on the processor: Raspberry Pi and other ARM boards, Intel, older ARM
/// boards.
const CPU_ZONES: [&str; 3] = ["cpu", "x86_pkg_temp", "soc"];
/// Readings outside of this range, in millidegrees, are a broken sensor's.
const PLAUSIBLE_MILLIDEGREES: std::ops::RangeInclusive<i32> = -40_000..=150_000;

/// The processor's temperature in degrees Celsius: the hottest zone that is named as one, or else
/// the hottest zone. Nothing on machines without sensors, as most virtual ones are.
pub fn cpu_temperature_c() -> Option<f32> {
    temperature_c(Path::new("/sys/class/thermal"))
}

fn temperature_c(zones: &Path) -> Option<f32> {
    let (mut cpu, mut any) = (None, None);
    for number in 0..MAX_THERMAL_ZONES {
        let zone = zones.join(format!("thermal_zone{number}"));
        let Some(temperature) = fs::read_to_string(zone.join("temp"))
            .ok()
            .and_then(|text| text.trim().parse::<i32>().ok())
            .filter(|t| PLAUSIBLE_MILLIDEGREES.contains(t))
        else {
            continue;
        };
        any = any.max(Some(temperature));
        let kind = fs::read_to_string(zone.join("type")).unwrap_or_default();
        if CPU_ZONES.iter().any(|name| kind.starts_with(name)) {
            cpu = cpu.max(Some(temperature));
        }
    }
    cpu.or(any).map(|millidegrees| millidegrees as f32 / 1000.0)
}

/// Each power of two is cut into this many equal buckets: 2^5.
const SUB_BUCKETS: u64 = 1 << SUB_BITS;
const SUB_BITS: u32 = 5;
/// Latencies of 2^36 ns (69 s) and more are counted in the last bucket.
const TOP_BITS: u32 = 36;
const BUCKETS: usize = ((TOP_BITS - SUB_BITS + 1) as usize) << SUB_BITS;

/// Counts latencies in buckets that grow with the latency, after the idea of HdrHistogram: 8 KiB,
/// no allocation, a few instructions per record. A quantile is never below the true one and at most
/// 1/32 (3.1 %) above it.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    count: u64,
    sum_ns: u64,
    max_ns: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("p50_ns", &self.quantile(0.5))
            .field("p99_ns", &self.quantile(0.99))
            .field("max_ns", &self.max())
            .finish_non_exhaustive()
    }
}

impl Histogram {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            buckets: [0; BUCKETS],
            count: 0,
            sum_ns: 0,
            max_ns: 0,
        }
    }

    /// Counts one latency.
    pub fn record(&mut self, ns: u64) {
        self.buckets[bucket_of(ns)] += 1;
        self.count += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// How many were counted.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The sum of all, in nanoseconds; it stops at the largest number instead of overflowing (584
    /// years).
    pub const fn sum(&self) -> u64 {
        self.sum_ns
    }

    /// The largest, exactly, in nanoseconds; nothing if none was counted.
    pub const fn max(&self) -> Option<u64> {
        if self.count == 0 {
            None
        } else {
            Some(self.max_ns)
        }
    }

    /// The latency in nanoseconds that the share `q` of all did not exceed (nearest rank); nothing
    /// if none was counted or if `q` is not a number. Shares below 0 and above 1 count as 0 and 1.
    pub fn quantile(&self, q: f64) -> Option<u64> {
        if self.count == 0 || q.is_nan() {
            return None;
        }
        // The conversion saturates, and a count beyond 2^53 would take centuries.
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        for (bucket, count) in self.buckets[..BUCKETS - 1].iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(largest_of(bucket).min(self.max_ns));
            }
        }
        // The last bucket is open above.
        Some(self.max_ns)
    }

    /// Adds what `other` counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }
}

/// Below 2^5 each value has its own bucket; above, the five bits after the leading one choose
/// within the power of two.
fn bucket_of(ns: u64) -> usize {
    if ns < SUB_BUCKETS {
        return ns as usize;
    }
    let exponent = ns.ilog2();
    if exponent >= TOP_BITS {
        return BUCKETS - 1;
    }
    let sub = (ns >> (exponent - SUB_BITS)) & (SUB_BUCKETS - 1);
    (u64::from(exponent - SUB_BITS + 1) * SUB_BUCKETS + sub) as usize
}

/// The largest value that falls into the bucket.
fn largest_of(bucket: usize) -> u64 {
    let (power, sub) = (bucket as u64 >> SUB_BITS, bucket as u64 & (SUB_BUCKETS - 1));
    match power {
        0 => sub,
        _ => ((SUB_BUCKETS + sub + 1) << (power - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let dispatch = dispatch(format, filter, move || writer.clone()).unwrap();
        tracing::dispatcher::with_default(&dispatch, log);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn text_lines_are_plain() {
        let text = logged(LogFormat::Text, "", || {
            tracing::info!(venue = "kraken", gaps = 2, "resynced");
            tracing::debug!("unseen");
        });
        assert!(
            text.contains("INFO") && text.contains("resynced venue=\"kraken\" gaps=2"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn json_lines_are_json() {
        let text = logged(LogFormat::Json, "debug", || {
            tracing::debug!(
                level = 7_u64,
                delta = -1_i64,
                ratio = 0.5,
                none = f64::NAN,
                live = true,
                odd = "quote \" slash \\ line\n bell \u{7} euro €",
                debug = ?Some(1),
                "hello {}",
                "world"
            );
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["level"], "DEBUG");
        assert_eq!(value["target"], "tickerml_edge::telemetry::tests");
        assert!(value["timestamp"].as_str().unwrap().ends_with('Z'));
        let expected = serde_json::json!({
            "message": "hello world",
            "level": 7,
            "delta": -1,
            "ratio": 0.5,
            "none": null,
            "live": true,
            "odd": "quote \" slash \\ line\n bell \u{7} euro €",
            "debug": "Some(1)",
        });
        assert_eq!(value["fields"], expected);
    }

    #[test]
    fn filters_choose_by_module_and_bad_ones_are_refused() {
        let text = logged(LogFormat::Text, "warn,quiet=error", || {
            tracing::info!("one");
            tracing::warn!("two");
            tracing::warn!(target: "quiet", "three");
        });
        assert!(
            text.contains("two") && !text.contains("one") && !text.contains("three"),
            "{text}"
        );
        let error = dispatch(LogFormat::Text, "edge=loud", io::sink)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("edge=loud") && error.contains("write a level"),
            "{error}"
        );
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert!(
            "xml"
                .parse::<LogFormat>()
                .unwrap_err()
                .to_string()
                .contains("\"text\"")
        );
    }

    #[test]
    fn memory_is_read_from_the_best_source_there_is() {
        let status = "Name:\tedge\nVmHWM:\t 99999 kB\nVmRSS:\t   12000 kB\nRssAnon:\t    3000 kB\n";
        let rollup = "55e0-7ffd ---p 00000000 00:00 0  [rollup]\nRss:  12000 kB\nPss_Anon:   2900 kB\nAnonymous:  2950 kB\n";
        let anon = |status, rollup| memory(status, rollup).map(|m| m.anon_bytes / 1024);
        assert_eq!(memory(status, rollup).unwrap().rss_bytes, 12_000 * 1024);
        assert_eq!(anon(status, rollup), Some(2900));
        assert_eq!(anon(status, "Anonymous:  2950 kB\n"), Some(2950));
        assert_eq!(anon(status, ""), Some(3000));
        assert_eq!(anon("VmRSS:\t many kB\n", rollup), None);
        assert_eq!(anon("VmRSS:\t 18446744073709551615 kB\n", rollup), None);
        assert_eq!(anon("", ""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_occupies_memory() {
        let memory = process_memory().unwrap();
        assert!(
            memory.rss_bytes >= memory.anon_bytes && memory.anon_bytes > 0,
            "{memory:?}"
        );
    }

    #[test]
    fn the_processor_is_preferred_and_broken_sensors_are_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let zone = |number: u32, kind: &str, temp: &str| {
            let zone = dir.path().join(format!("thermal_zone{number}"));
            fs::create_dir_all(&zone).unwrap();
            fs::write(zone.join("type"), format!("{kind}\n")).unwrap();
            fs::write(zone.join("temp"), format!("{temp}\n")).unwrap();
        };
        assert_eq!(temperature_c(dir.path()), None);
        zone(0, "gpu-thermal", "70000");
        assert_eq!(temperature_c(dir.path()), Some(70.0));
        zone(3, "cpu-thermal", "48312");
        assert_eq!(temperature_c(dir.path()), Some(48.312));
        zone(4, "cpu-thermal", "-274000");
        zone(5, "cpu-thermal", "hot");
        assert_eq!(temperature_c(dir.path()), Some(48.312));
    }

    #[test]
    fn buckets_are_contiguous_and_narrow() {
        assert_eq!(BUCKETS, 1024);
        let mut low = 0;
        for bucket in 0..BUCKETS {
            let high = largest_of(bucket);
            assert_eq!((bucket_of(low), bucket_of(high)), (bucket, bucket));
            assert!((high - low) as f64 <= low as f64 / 32.0);
            low = high + 1;
        }
        assert_eq!(low, 1 << TOP_BITS);
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values_within_the_bound() {
        let (mut histogram, mut values, mut state) = (Histogram::new(), Vec::new(), 1_u64);
        for _ in 0..20_000 {
            // A linear congruential generator (Knuth's MMIX constants), spread over nine decades.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let value = (state >> 20) >> (state % 31 + 8);
            histogram.record(value);
            values.push(value);
        }
        values.sort_unstable();
        assert_eq!(histogram.count(), 20_000);
        assert_eq!(histogram.sum(), values.iter().sum::<u64>());
        for q in [-1.0, 0.0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0, 2.0_f64] {
            let rank = (q.clamp(0.0, 1.0) * 20_000.0).ceil().max(1.0) as usize;
            let (exact, found) = (values[rank - 1], histogram.quantile(q).unwrap());
            assert!(
                found >= exact && (found - exact) as f64 <= exact as f64 / 32.0,
                "{q}: {exact} {found}"
            );
        }
        assert_eq!(histogram.quantile(1.0), histogram.max());
        assert_eq!(histogram.quantile(f64::NAN), None);
    }

    #[test]
    fn merging_is_recording_together() {
        let (mut a, mut b, mut both) = (Histogram::new(), Histogram::new(), Histogram::new());
        for ns in [0, 5, 900, 1_000_000] {
            a.record(ns);
            both.record(ns);
        }
        for ns in [31, 32, 63, 7_000_000_000, u64::MAX] {
            b.record(ns);
            both.record(ns);
        }
        a.merge(&b);
        assert_eq!(a, both);
        assert_eq!((a.count(), a.max(), a.sum()), (9, Some(u64::MAX), u64::MAX));
        assert_eq!(a.quantile(1.0), Some(u64::MAX));
        let empty = Histogram::default();
        assert_eq!((empty.quantile(0.5), empty.max()), (None, None));
        assert!(format!("{a:?}").contains("count: 9"));
    }
}
