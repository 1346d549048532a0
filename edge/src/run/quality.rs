//! The daily report on the quality of data: a text file a day, a paragraph an instrument.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tickerml_shared::event::GapReason;
use tickerml_shared::instrument::Instrument;
use tickerml_shared::num::Fixed;
use tickerml_shared::quality::{Kind, Report};

use crate::view::name;

/// Reports kept; the oldest go first.
const REPORTS_KEPT: usize = 400;
/// Parts per million in a percent.
const PPM_SCALE: u8 = 4;

/// Adds an instrument's day to the report of that day, in the folder `reports` of the data folder.
pub(super) fn write(dir: &Path, instrument: &Instrument, report: &Report) -> io::Result<()> {
    let folder = dir.join("reports");
    fs::create_dir_all(&folder)?;
    let (year, month, day) = report.day.civil();
    let path = folder.join(format!("quality-{year:04}-{month:02}-{day:02}.txt"));
    let begins = !path.exists();
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(text(instrument, report).as_bytes())?;
    if begins {
        prune(&folder)?;
    }
    Ok(())
}

fn prune(folder: &Path) -> io::Result<()> {
    let is_report = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with("quality-"))
    };
    let entries = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut reports: Vec<PathBuf> = entries.filter(is_report).collect();
    reports.sort();
    let surplus = reports.len().saturating_sub(REPORTS_KEPT);
    reports[..surplus].iter().try_for_each(fs::remove_file)
}

/// The paragraph: the share of clean events, what was found, the gaps, the worst minute.
fn text(instrument: &Instrument, report: &Report) -> String {
    let mut text = format!("{}: ", name(instrument));
    let percent = |ppm: u32| Fixed::new(i64::from(ppm), PPM_SCALE).trimmed().to_string();
    let score = report.score_ppm().map_or_else(
        || "no event".to_owned(),
        |ppm| format!("{} % clean of {} events", percent(ppm), report.tally.events),
    );
    text.push_str(&score);
    let found = Kind::ALL
        .into_iter()
        .map(|kind| (kind.name(), report.count(kind)));
    let gaps = GapReason::ALL.into_iter().zip(report.gaps);
    let gaps = gaps.map(|(reason, count)| (reason.name(), count));
    for (what, mut counts) in [
        ("found", found.collect::<Vec<_>>()),
        ("gaps", gaps.collect()),
    ] {
        counts.retain(|(_, count)| *count > 0);
        let counts: Vec<_> = counts
            .iter()
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        if !counts.is_empty() {
            let written = write!(text, "; {what} {}", counts.join(", "));
            debug_assert!(written.is_ok(), "writing to memory");
        }
    }
    if let Some(worst) = &report.worst {
        let written = write!(
            text,
            "; worst minute {}, {} of {} flawed",
            worst.start, worst.tally.flawed, worst.tally.events
        );
        debug_assert!(written.is_ok(), "writing to memory");
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use tickerml_shared::event::{Body, Gap, GapReason, Update};
    use tickerml_shared::instrument::{InstrumentId, Venue};
    use tickerml_shared::quality::Quality;
    use tickerml_shared::time::{DAYS, SECONDS, Time};

    use super::*;

    #[test]
    fn a_day_is_a_file_and_an_instrument_a_line() {
        let instrument = Instrument::unknown(Venue::Kraken, "BTC/USD").expect("short");
        let mut quality = Quality::new(std::slice::from_ref(&instrument));
        let book = tickerml_shared::book::Book::new();
        let day = Time(20_000 * DAYS);
        let update = Update {
            instrument: InstrumentId(0),
            venue_time: Time::UNKNOWN,
            received: day.plus(SECONDS),
            late: false,
            body: Body::Gap(Gap::of(GapReason::Sequence)),
        };
        quality.update(&update, &book, None, day.plus(SECONDS));
        let report = quality.monitors()[0].today();
        let dir = tempfile::tempdir().expect("a folder");
        for _ in 0..2 {
            write(dir.path(), &instrument, &report).expect("written");
        }
        let path = dir.path().join("reports/quality-2024-10-04.txt");
        let text = fs::read_to_string(path).expect("the file of the day");
        assert_eq!(text.lines().count(), 2);
        let line = text.lines().next().expect("one");
        assert!(
            line.starts_with("kraken BTC/USD: 0 % clean of 1 events"),
            "{line}"
        );
        assert!(
            line.contains("; found gap 1; gaps sequence 1; worst minute 2024-10-04"),
            "{line}"
        );
    }
}
