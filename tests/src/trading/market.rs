//! A small market: instruments over two venues, whose books are known here in full.

use std::collections::{BTreeMap, VecDeque};

use tickerml_shared::engine::{Costs, Setup};
use tickerml_shared::event::{
    Body, Depth, DepthKind, Event, Funding, Gap, GapReason, Level, Side, Touch, Trade, Update,
};
use tickerml_shared::execution::Tactic;
use tickerml_shared::instrument::{Instrument, InstrumentId, Kind, Venue};
use tickerml_shared::num::{Cash, Price, Qty};
use tickerml_shared::paper::fees::Tier;
use tickerml_shared::paper::impact::ImpactTerms;
use tickerml_shared::paper::latency::Latency;
use tickerml_shared::paper::queue::QueueModel;
use tickerml_shared::paper::venue::Rules;
use tickerml_shared::risk::limits::Limits;
use tickerml_shared::time::{MILLIS, SECONDS, Time};

/// A Monday, 01:00 UTC (`date -u -d @1790557200`).
pub(super) const START: Time = Time(1_790_557_200 * SECONDS);
/// Levels a side.
const LEVELS: i64 = 5;
/// The money of the account.
pub(super) const CAPITAL: Cash = Cash(10_000 * Cash::ONE.0);

/// Every effect on.
pub(super) const REALISTIC: Rules = Rules {
    queue: QueueModel::Log2,
    queue_position: true,
    partial_fills: true,
    shared_volume: true,
    consumption_ns: 2 * SECONDS,
    fees: true,
    latency: true,
    void_on_gap: true,
};

fn instrument(venue: Venue, base: &str, kind: Kind, tick: i64, lot: i64) -> Instrument {
    Instrument {
        base: base.try_into().expect("short"),
        quote: "USD".try_into().expect("short"),
        kind,
        price_scale: 2,
        qty_scale: 4,
        tick,
        lot,
        ..Instrument::unknown(venue, base).expect("short")
    }
}

/// Two spot and two perpetual instruments. A lot is worth about 50.
pub(super) fn instruments() -> Vec<Instrument> {
    vec![
        instrument(Venue::Kraken, "BTC", Kind::Spot, 100, 25),
        instrument(Venue::Kraken, "ETH", Kind::Spot, 10, 500),
        instrument(Venue::BinanceUsdm, "BTC", Kind::Perpetual, 100, 25),
        instrument(Venue::BinanceUsdm, "SOL", Kind::Perpetual, 1, 25_000),
    ]
}

/// Prices at the start, in ticks.
const MIDS: [i64; 4] = [20_000, 10_000, 20_000, 2_000];

/// A setup that trades a lot: no decision is too unsure or too small, and half of the position cap is
/// wanted at once.
pub(super) fn setup(tactic: Tactic, rules: Rules) -> Setup {
    let mut limits = Limits::shipped();
    limits.confidence_none_ppm = 0;
    limits.confidence_half_ppm = 0;
    limits.deadband_bps = 100;
    limits.min_depth = Cash::ZERO;
    limits.max_spread_bps = 1_000;
    limits.base_size_bps = 1_500;
    let tiers = vec![
        Tier {
            volume: Cash::ZERO,
            maker_fee_ppm: 200,
            taker_fee_ppm: 500,
        },
        Tier {
            volume: Cash(20_000 * Cash::ONE.0),
            maker_fee_ppm: -50,
            taker_fee_ppm: 300,
        },
    ];
    let costs = |entry_ns, response_ns| Costs {
        tiers: tiers.clone(),
        latency: Latency::Measured {
            entry_ns,
            response_ns,
        },
        rules,
    };
    Setup {
        instruments: instruments(),
        capital: CAPITAL,
        limits,
        costs: vec![
            (
                Venue::Kraken,
                costs((5 * MILLIS, 40 * MILLIS), (5 * MILLIS, 60 * MILLIS)),
            ),
            (
                Venue::BinanceUsdm,
                costs((MILLIS, 20 * MILLIS), (MILLIS, 20 * MILLIS)),
            ),
        ],
        tactic,
        impact: ImpactTerms::default(),
        funding: true,
        synthetic_book: true,
        seed: 5,
    }
}

/// One instrument's side of the market.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    id: InstrumentId,
    tick: i64,
    lot: i64,
    /// In ticks.
    pub(super) mid: i64,
    /// From the mid to each touch, in ticks.
    pub(super) half: i64,
    salt: i64,
    /// Lots that each level holds; random when `None`.
    pub(super) lots: Option<i64>,
    book_id: u64,
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
    /// Parts of a depth message that were not sent yet.
    parts: VecDeque<Depth>,
    trades: u64,
}

impl Feed {
    pub(super) fn all(instruments: &[Instrument]) -> Vec<Self> {
        let ids = (0_u16..).map(InstrumentId).zip(instruments);
        let feeds = ids.map(|(id, instrument)| {
            let mut feed = Self {
                id,
                tick: instrument.tick,
                lot: instrument.lot,
                mid: MIDS[id.index()],
                half: 1,
                salt: 0,
                lots: None,
                book_id: 1,
                bids: BTreeMap::new(),
                asks: BTreeMap::new(),
                parts: VecDeque::new(),
                trades: 0,
            };
            feed.quote();
            feed
        });
        feeds.collect()
    }

    /// The book around the mid price. Its levels hold 1 to 40 lots.
    fn quote(&mut self) {
        let qty = |price: i64| {
            let lots = self.lots.unwrap_or(1 + (price * 7 + self.salt * 13) % 40);
            lots * self.lot
        };
        let bids = (0..LEVELS).map(|step| self.mid - self.half - step);
        let asks = (0..LEVELS).map(|step| self.mid + self.half + step);
        let level = |price: i64| (price * self.tick, qty(price));
        let (bids, asks) = (bids.map(level).collect(), asks.map(level).collect());
        (self.bids, self.asks) = (bids, asks);
    }

    pub(super) fn bid(&self) -> Price {
        Price((self.mid - self.half) * self.tick)
    }

    pub(super) fn ask(&self) -> Price {
        Price((self.mid + self.half) * self.tick)
    }

    fn update(&self, body: Body, at: Time) -> Event {
        Event::Market(Update {
            instrument: self.id,
            venue_time: at.minus(MILLIS),
            received: at,
            late: false,
            body,
        })
    }

    /// The market moves by so many ticks. What is told of it: the best prices first, where `touch`;
    /// then the depth message, whose last part waits for [`Self::rest`] where `parts`.
    pub(super) fn go(&mut self, ticks: i64, touch: bool, parts: bool, at: Time) -> Vec<Event> {
        let mut events = self.rest(at);
        self.mid = (self.mid + ticks).max(20 + LEVELS);
        self.salt += 1;
        self.book_id += 1;
        let before = (self.bids.clone(), self.asks.clone());
        self.quote();
        if touch {
            let touch = Touch {
                id: self.book_id,
                bid: best(self.bids.iter().next_back()),
                ask: best(self.asks.iter().next()),
            };
            events.push(self.update(Body::Touch(touch), at));
        }
        let bids = changes(&before.0, &self.bids);
        let asks = changes(&before.1, &self.asks);
        let whole = self.depth(DepthKind::Delta, &bids, &asks);
        if parts {
            let (mut first, mut second) = (whole.clone(), whole);
            first.levels.clear();
            second.levels.clear();
            first.levels.extend(bids.iter().copied());
            second.levels.extend(asks.iter().copied());
            (first.last, second.first, second.bids) = (false, false, 0);
            events.push(self.update(Body::Depth(first), at));
            self.parts.push_back(second);
        } else {
            events.push(self.update(Body::Depth(whole), at));
        }
        events
    }

    /// What is left of a depth message.
    pub(super) fn rest(&mut self, at: Time) -> Vec<Event> {
        let parts = std::mem::take(&mut self.parts);
        let parts = parts.into_iter();
        parts
            .map(|part| self.update(Body::Depth(part), at))
            .collect()
    }

    pub(super) fn snapshot(&mut self, at: Time) -> Vec<Event> {
        self.parts.clear();
        let levels = |side: &BTreeMap<i64, i64>| -> Vec<Level> {
            side.iter().map(|entry| best(Some(entry))).collect()
        };
        let kind = DepthKind::Snapshot {
            truncated: false,
            limit: 0,
        };
        let (bids, asks) = (levels(&self.bids), levels(&self.asks));
        let depth = self.depth(kind, &bids, &asks);
        vec![self.update(Body::Depth(depth), at)]
    }

    fn depth(&self, kind: DepthKind, bids: &[Level], asks: &[Level]) -> Depth {
        Depth {
            kind,
            first: true,
            last: true,
            id: self.book_id,
            bids: u8::try_from(bids.len()).expect("few"),
            levels: bids.iter().chain(asks).copied().collect(),
            checksum: None,
        }
    }

    pub(super) fn gap(&mut self, reason: GapReason, at: Time) -> Event {
        self.parts.clear();
        self.update(Body::Gap(Gap::of(reason)), at)
    }

    /// A best-bid/ask frame that contradicts the book.
    pub(super) fn contradict(&mut self, at: Time) -> Vec<Event> {
        let mut events = self.rest(at);
        let mut touch = Touch {
            id: self.book_id,
            bid: best(self.bids.iter().next_back()),
            ask: best(self.asks.iter().next()),
        };
        touch.bid.qty.0 += self.lot;
        events.push(self.update(Body::Touch(touch), at));
        events
    }

    /// A trade of so many lots at the touch, or so many ticks through it.
    pub(super) fn trade(&mut self, aggressor: Side, lots: i64, through: i64, at: Time) -> Event {
        self.trades += 1;
        let price = match aggressor {
            Side::Buy => self.ask().0 + through * self.tick,
            Side::Sell => self.bid().0 - through * self.tick,
        };
        let trade = Trade {
            id: self.trades,
            price: Price(price),
            qty: Qty(lots * self.lot),
            aggressor,
        };
        self.update(Body::Trade(trade), at)
    }

    pub(super) fn funding(&self, rate: i64, settles: Time, at: Time) -> Event {
        let price = Price(self.mid * self.tick);
        let funding = Funding {
            mark: price,
            index: price,
            rate: Some(rate),
            predicted: None,
            settles,
            interval_s: 3_600,
        };
        self.update(Body::Funding(funding), at)
    }
}

fn best(entry: Option<(&i64, &i64)>) -> Level {
    let (price, qty) = entry.expect("never empty");
    Level {
        price: Price(*price),
        qty: Qty(*qty),
    }
}

/// What turns a side into another.
fn changes(old: &BTreeMap<i64, i64>, new: &BTreeMap<i64, i64>) -> Vec<Level> {
    let level = |(price, qty)| Level {
        price: Price(price),
        qty: Qty(qty),
    };
    let gone = old.keys().filter(|price| !new.contains_key(price));
    let gone = gone.map(|price| (*price, 0));
    let stated = new
        .iter()
        .filter(|(price, qty)| old.get(price) != Some(qty));
    gone.chain(stated.map(|(price, qty)| (*price, *qty)))
        .map(level)
        .collect()
}
