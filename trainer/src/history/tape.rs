//! Files of any number and format as one tape, through the edge's engine.
//!
//! Files of one format and instrument follow one another; formats and instruments are merged in order of time, a
//! trade before the book of the same time. A hole in what an instrument tells is a gap, as it is for the edge.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use tickerml_edge::replay::grid::{Grid, QUIET_NS};
use tickerml_shared::event::{Body, GapReason, Level, Trade, Update};
use tickerml_shared::features::{Group, SELECTION, selected};
use tickerml_shared::instrument::{Instrument, InstrumentId, MAX_INSTRUMENTS};
use tickerml_shared::num::{Price, Qty};
use tickerml_shared::time::{SECONDS, Time};
use tickerml_shared::trajectory::MarketStep;

use super::decode::{Decoder, Rows, bar_length};
use super::files::{Progress, unreadable};
use super::format::{Format, Quotes};
use super::heard::{Heard, Queue, gap, nearest, touch};
use super::{HistoryError, bars};

/// The pulse where neither bars nor the terms say another.
pub(super) const PULSE_NS: u64 = SECONDS;

/// Features of more than the best bid and ask: a quote does not tell them.
const DEEP: [&str; 7] = [
    "book_imbalance_5",
    "book_imbalance_10",
    "book_imbalance_near",
    "slope_imbalance",
    "depth_10",
    "depth_recovery_60s",
    "order_flow_imbalance_integrated_10s",
];

/// A file of one instrument.
#[derive(Clone, Debug)]
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) instrument: Instrument,
    pub(super) format: Format,
    /// Nanoseconds of its bars; found in the file without it.
    pub(super) bar_ns: Option<u64>,
}

/// When a file begins, where it lies, and how long its bars are.
type Stamped = (Time, PathBuf, Option<u64>);

/// Files of one format and instrument, one after the other.
struct Lane {
    place: usize,
    format: Format,
    decoder: Decoder,
    files: VecDeque<PathBuf>,
    open: Option<(PathBuf, Rows)>,
    queue: Queue,
}

impl Lane {
    /// The next event, if there is one.
    fn head(&mut self, progress: Progress) -> Result<Option<&Heard>, HistoryError> {
        while self.queue.is_empty() {
            if self.open.is_none() {
                let Some(path) = self.files.pop_front() else {
                    return Ok(None);
                };
                let rows = Rows::open(&path, self.format, progress)?;
                self.open = Some((path, rows));
            }
            if let Some((path, rows)) = &mut self.open
                && !self
                    .decoder
                    .fill(rows, &mut self.queue)
                    .map_err(|error| unreadable(path, error))?
            {
                self.open = None;
            }
        }
        Ok(self.queue.front())
    }
}

/// The instruments of a tape and how each is told.
pub(super) struct Tape {
    instruments: Vec<Instrument>,
    quotes: Vec<Quotes>,
    lanes: Vec<Lane>,
    pub(super) pulse_ns: u64,
    spread_bps: f64,
    /// What may be known of each instrument.
    known: Vec<u64>,
}

/// The name of an instrument in a store.
pub(super) fn name_of(instrument: &Instrument) -> String {
    format!("{}:{}", instrument.venue, instrument.symbol)
}

impl Tape {
    /// Sorts files into lanes.
    pub(super) fn new(
        files: &[File],
        pulse_ns: Option<u64>,
        spread_bps: f64,
    ) -> Result<Self, HistoryError> {
        let mut instruments: Vec<Instrument> = Vec::new();
        let mut sorted: BTreeMap<(usize, Format), Vec<Stamped>> = BTreeMap::new();
        for file in files {
            let place = instruments
                .iter()
                .position(|known| *known == file.instrument);
            let place = place.unwrap_or_else(|| {
                instruments.push(file.instrument.clone());
                instruments.len() - 1
            });
            let length = match (file.format, file.bar_ns) {
                (Format::Bars, None) => Some(bar_length(&file.path)?),
                (_, length) => length,
            };
            let first = first_stamp(file, length)?;
            let lane = sorted.entry((place, file.format)).or_default();
            lane.push((first, file.path.clone(), length));
        }
        if instruments.len() > MAX_INSTRUMENTS {
            return Err(HistoryError(format!(
                "the files are of {} instruments, an engine holds {MAX_INSTRUMENTS}; import fewer at once",
                instruments.len()
            )));
        }
        let (mut lanes, mut bar_ns) = (Vec::new(), None);
        let mut quotes = vec![Quotes::None; instruments.len()];
        for ((place, format), mut files) in sorted {
            files.sort();
            let length = files[0].2;
            if files.iter().any(|file| file.2 != length) {
                return Err(HistoryError(format!(
                    "{}: bars of several lengths; import each length on its own",
                    name_of(&instruments[place])
                )));
            }
            if format == Format::Bars {
                if bar_ns.is_some_and(|known| Some(known) != length) {
                    return Err(HistoryError(
                        "instruments with bars of several lengths; import each length on its own"
                            .to_owned(),
                    ));
                }
                bar_ns = length;
            }
            let told = format.quotes();
            if told != Quotes::None {
                if quotes[place] != Quotes::None {
                    return Err(HistoryError(format!(
                        "{}: {format} beside other files that tell its prices; give bars, quotes or books, one of them",
                        name_of(&instruments[place])
                    )));
                }
                quotes[place] = told;
            }
            let instrument = instruments[place].clone();
            lanes.push(Lane {
                place,
                format,
                decoder: Decoder::new(
                    format,
                    instrument,
                    length.map(|length| (length, spread_bps)),
                ),
                files: files.into_iter().map(|(_, path, _)| path).collect(),
                open: None,
                queue: Queue::new(),
            });
        }
        for (place, quotes) in quotes.iter().enumerate() {
            let is_bare = |lane: &Lane| lane.place == place && is_trades(lane.format);
            let name = name_of(&instruments[place]);
            match quotes {
                Quotes::None if !lanes.iter().any(is_bare) => {
                    return Err(HistoryError(format!(
                        "{name}: no file tells its prices; give bars, trades, quotes or books"
                    )));
                }
                Quotes::Bars if lanes.iter().any(is_bare) => {
                    return Err(HistoryError(format!(
                        "{name}: bars beside trades; give one of them, since both tell the same"
                    )));
                }
                _ => {}
            }
        }
        let pulse_ns = pulse_ns.or(bar_ns).unwrap_or(PULSE_NS);
        if pulse_ns == 0 || bar_ns.is_some_and(|bar_ns| !pulse_ns.is_multiple_of(bar_ns)) {
            return Err(HistoryError(format!(
                "a pulse of {pulse_ns} ns is no multiple of the bars' {} ns; write one that is",
                bar_ns.unwrap_or(1)
            )));
        }
        let known = quotes.iter().map(|quotes| may_be_known(*quotes)).collect();
        Ok(Self {
            instruments,
            quotes,
            lanes,
            pulse_ns,
            spread_bps,
            known,
        })
    }

    /// Whether a spread is assumed for any of its instruments.
    pub(super) fn assumes_spread(&self) -> bool {
        self.quotes
            .iter()
            .any(|quotes| matches!(quotes, Quotes::None | Quotes::Bars))
    }

    /// Gives every step. Returns what was wrong with the files, one line each.
    pub(super) fn run(
        mut self,
        progress: Progress,
        mut each: impl FnMut(&MarketStep, &Instrument) -> Result<(), String>,
    ) -> Result<Vec<String>, HistoryError> {
        let is_bars = self.quotes.contains(&Quotes::Bars);
        let quiet_ns = if is_bars { 0 } else { QUIET_NS };
        let mut grid = Grid::new(self.instruments.clone(), self.pulse_ns, quiet_ns);
        let mut newest = vec![Time::UNKNOWN; self.instruments.len()];
        let known = self.known.clone();
        let each: &mut dyn FnMut(&MarketStep, &Instrument) -> Result<(), String> =
            &mut |step: &MarketStep, instrument: &Instrument| each(&told(step, &known), instrument);
        let mut end = Time::UNKNOWN;
        while let Some(lane) = self.first(progress)? {
            let lane = &mut self.lanes[lane];
            let Some(event) = lane.queue.pop_front() else {
                break;
            };
            let place = lane.place;
            let at = event.at.max(end);
            end = at;
            while grid.due(at).is_some() {
                grid.pulse(each).map_err(HistoryError)?;
            }
            let mut events = Queue::new();
            let silent =
                newest[place].is_known() && at.since(newest[place]) > QUIET_NS.cast_signed();
            if silent && !is_bars {
                events.push_back(gap(at, GapReason::Silent));
            }
            newest[place] = at;
            let bare = self.quotes[place] == Quotes::None;
            let made = match &event.body {
                Body::Trade(trade) if bare => Some(made_up(trade, self.spread_bps)),
                _ => None,
            };
            events.push_back(event);
            if let Some((bid, ask)) = made {
                touch(&mut events, (at, at), bid, ask);
            }
            for event in events {
                let update = Update {
                    instrument: InstrumentId(
                        u16::try_from(place).expect("at most MAX_INSTRUMENTS"),
                    ),
                    venue_time: event.venue_time,
                    received: at,
                    late: false,
                    body: event.body,
                };
                grid.market(at, update, each).map_err(HistoryError)?;
            }
            grid.wrong();
        }
        while grid.due(end.plus(1)).is_some() {
            grid.pulse(each).map_err(HistoryError)?;
        }
        Ok(self.troubles())
    }

    /// The lane whose event comes first.
    fn first(&mut self, progress: Progress) -> Result<Option<usize>, HistoryError> {
        let mut first = None;
        for (index, lane) in self.lanes.iter_mut().enumerate() {
            if let Some(event) = lane.head(progress)? {
                let key = (event.at, event.rank(), index);
                if first.is_none_or(|first| key < first) {
                    first = Some(key);
                }
            }
        }
        Ok(first.map(|(_, _, index)| index))
    }

    fn troubles(&self) -> Vec<String> {
        let bad = self.lanes.iter().filter(|lane| lane.decoder.bad > 0);
        bad.map(|lane| {
            format!(
                "{} {}: {} of {} rows are no use and were masked, the first: {}",
                name_of(&self.instruments[lane.place]),
                lane.format,
                lane.decoder.bad,
                lane.decoder.rows,
                lane.decoder.first_bad.as_deref().unwrap_or("unknown")
            )
        })
        .collect()
    }
}

/// When the first event of a file is.
fn first_stamp(file: &File, bar_ns: Option<u64>) -> Result<Time, HistoryError> {
    let mut rows = Rows::open(&file.path, file.format, Progress::Quiet)?;
    let mut decoder = Decoder::new(
        file.format,
        file.instrument.clone(),
        bar_ns.map(|ns| (ns, 0.0)),
    );
    let mut queue = Queue::new();
    decoder
        .fill(&mut rows, &mut queue)
        .map_err(|error| unreadable(&file.path, error))?;
    Ok(queue.front().map_or(Time::UNKNOWN, |event| event.at))
}

const fn is_trades(format: Format) -> bool {
    matches!(
        format,
        Format::BinanceAggTrades | Format::BinanceTrades | Format::TardisTrades
    )
}

/// The bits of the selected features that what an instrument's files tell can make known.
fn may_be_known(quotes: Quotes) -> u64 {
    let made_of_quotes = |group| {
        matches!(
            group,
            Group::Book | Group::OrderFlow | Group::Liquidity | Group::Impact | Group::Cross
        )
    };
    let all = (0..).zip(selected());
    match quotes {
        Quotes::Bars => bars::known(),
        Quotes::Book => u64::MAX >> (64 - SELECTION.len()),
        Quotes::Touch => all
            .filter(|(_, feature)| !DEEP.iter().any(|name| feature.is_called(name)))
            .fold(0, |bits, (place, _)| bits | 1 << place),
        Quotes::None => all
            .filter(|(_, feature)| !made_of_quotes(feature.group))
            .fold(0, |bits, (place, _)| bits | 1 << place),
    }
}

/// A step without what its files cannot tell.
fn told(step: &MarketStep, known: &[u64]) -> MarketStep {
    let mut step = *step;
    step.state.valid &= known[step.instrument.index()];
    for (index, value) in step.state.values.iter_mut().enumerate() {
        if step.state.valid >> index & 1 == 0 {
            *value = 0.0;
        }
    }
    step
}

/// A bid and ask around a trade, an assumed spread apart.
fn made_up(trade: &Trade, spread_bps: f64) -> (Level, Level) {
    let quote = |sign: f64| {
        let value = trade.price.0 as f64 * (1.0 + sign * spread_bps / 2.0 / 1e4);
        nearest(value, 0).unwrap_or(trade.price.0)
    };
    let (bid, ask) = (quote(-1.0), quote(1.0));
    let level = |price| Level {
        price: Price(price),
        qty: Qty(trade.qty.0.max(1)),
    };
    (level(bid), level(ask.max(bid + 1)))
}
