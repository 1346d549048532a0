//! The edge's own recordings: journals with their pulses, captures on a grid.

use tickerml_edge::journal::{FileDisk, Header, JournalConfig, Writer};
use tickerml_shared::engine::Setup;
use tickerml_shared::event::{Body, Depth, DepthKind, Event, Level, Record, Update};
use tickerml_shared::instrument::InstrumentId;
use tickerml_shared::num::{Price, Qty};
use tickerml_shared::record::Encoder;

use super::*;

/// Pulses of the journal.
const PULSES: u64 = 700;

fn book(at: Time, seed: u64) -> Event {
    let level = |price: u64| Level {
        price: Price((price * 100_000_000).cast_signed()),
        qty: Qty(1_000 + (seed % 50).cast_signed()),
    };
    Event::Market(Update {
        instrument: InstrumentId(0),
        venue_time: at,
        received: at,
        late: false,
        body: Body::Depth(Depth {
            kind: DepthKind::Snapshot {
                truncated: false,
                limit: 0,
            },
            first: true,
            last: true,
            id: 0,
            bids: 1,
            levels: [level(100 + seed % 3), level(110 - seed % 3)]
                .into_iter()
                .collect(),
            checksum: None,
        }),
    })
}

fn journal(path: &Path) {
    let instrument = Instrument::unknown(Venue::Kraken, "BTC/USD").expect("short");
    let setup = Setup::market_only(vec![instrument]);
    let header = Header {
        schema_id: schema_id().0,
        run_id: 1,
        seed: 0,
        created_ns: START.0,
        instruments: postcard::to_allocvec(&setup).expect("memory"),
    };
    let disk = FileDisk::create(path).expect("room");
    let (mut writer, _) =
        Writer::open(disk, &header, JournalConfig::standard(30), START.0).expect("a new file");
    for n in 1..=PULSES {
        // Live pulses come a little late.
        let pulse = START.plus(n * SECONDS + n % 7 * MILLIS);
        let before = pulse.minus(300 * MILLIS);
        let mut encoder = Encoder::new(Vec::new());
        let records = [(before, book(before, n)), (pulse, Event::Pulse)];
        for (seq, (at, event)) in (2 * n - 1..).zip(records) {
            encoder.push(&Record { seq, at, event });
        }
        let (first, count, bytes) = encoder.finish();
        writer.append(first, count, pulse.0, &bytes).expect("room");
    }
    writer.close().expect("room");
}

#[test]
fn a_journal_gives_a_step_for_each_of_its_pulses() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("2024-10-04.tml");
    journal(&path);
    assert_eq!(detect(&path), Ok(Found::Journal));
    let sources = Source::detect(std::slice::from_ref(&path), None, None).expect("a journal");
    assert_eq!(sources, [Source::Journal(path)]);
    let store = Store::create(&folder.path().join("store")).expect("a store");
    let done = import(&sources, &store, &Terms::default(), Progress::Quiet).expect("whole");
    let found = &done.sources[0].instruments[0];
    assert_eq!(
        (
            found.findings.rows,
            found.findings.holes,
            found.findings.masked
        ),
        (PULSES, 0, 0)
    );
    let series = store.load(&["kraken:BTC/USD"], ALWAYS).expect("whole");
    assert_eq!(series[0].pulse_ns, SECONDS);
    assert_eq!(series[0].rows[3].at, START.plus(4 * SECONDS + 4 * MILLIS));
    assert_eq!(
        (series[0].rows[3].bid, series[0].rows[3].ask),
        (101.0, 109.0)
    );
    assert!(series[0].rows[600].state.valid.count_ones() > 10);
}

#[test]
fn a_capture_is_stepped_on_a_grid_and_its_end_changes_no_step_before_it() {
    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/binance/simulated.jsonl");
    let text = fs::read_to_string(&fixture).expect("a fixture");
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("cut.jsonl");
    let steps = |lines: usize| {
        let cut: String = text
            .lines()
            .take(lines)
            .map(|line| format!("{line}\n"))
            .collect();
        fs::write(&path, cut).expect("room");
        let mut steps = Vec::new();
        replay::grid::capture_steps(
            Venue::Binance,
            std::slice::from_ref(&path),
            500 * MILLIS,
            &mut |step, _| {
                steps.push(*step);
                Ok(())
            },
        )
        .expect("a capture");
        steps
    };
    let whole = steps(usize::MAX);
    assert!(
        whole.len() > 20 && whole.iter().any(|step| !step.masked),
        "{}",
        whole.len()
    );
    assert!(
        whole
            .iter()
            .all(|step| step.at.0.is_multiple_of(500 * MILLIS))
    );
    for lines in [100, 200, 300] {
        let part = steps(lines);
        // Instruments that the first lines do not name are not in it.
        let same = part.iter().filter(|step| whole.contains(step)).count();
        assert_eq!(same, part.len(), "{lines} lines");
        assert!(!part.is_empty());
    }
}
