//! The monitor of arbitrage on the simulated world, against an oracle that keeps the world's true books.
//!
//! The world's venues differ by a basis and see the same price at different times, so that one of them
//! is often mispriced. After every event, what the engine holds open must be exactly what the oracle
//! finds in books of its own; the oracle shares neither books nor numbers with the product. A venue
//! that falls silent goes on trading unseen: its frozen quotes must be nobody's opportunity.

use std::collections::BTreeMap;

use tickerml_edge::config;
use tickerml_shared::arbitrage::{AGE_NS_MAX, News, Opportunity, Stage, Walk};
use tickerml_shared::engine::{Costs, Engine, Output, Setup};
use tickerml_shared::event::{
    Body, Depth, DepthKind, Event, Gap, GapReason, Level, Record, Update,
};
use tickerml_shared::instrument::{Instrument, InstrumentId, Kind, Venue};
use tickerml_shared::num::{Cash, Price, Qty};
use tickerml_shared::paper::fees::Tier;
use tickerml_shared::paper::latency::Latency;
use tickerml_shared::time::{MILLIS, SECONDS, Time};
use tickerml_sim::{EventKind, Side, VenueKind, World, WorldEvent};

use crate::allocations::calls;

const START_NS: u64 = 1_790_000_000 * SECONDS;
/// How long an order takes to any venue.
const ENTRY_NS: u64 = 50 * MILLIS;
/// Everything is compared at this many decimals.
const SCALE: u8 = 8;
/// After so long no market event allocates.
const WARM_UP_NS: u64 = 5 * SECONDS;
/// Levels of one part of a message.
const PART: usize = 32;

/// One side by price and quantity in units of `10^-SCALE`.
type Half = BTreeMap<i128, i128>;

/// A book as the oracle keeps it.
#[derive(Clone, Default)]
struct Truth {
    bids: Half,
    asks: Half,
    live: bool,
    heard: u64,
}

/// What the oracle finds.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    qty: i128,
    cost: i64,
    proceeds: i64,
    net: i64,
}

/// A trial that the oracle waits for.
struct Pending {
    opportunity: Opportunity,
    due: u64,
}

#[derive(Debug, Default)]
struct Seen {
    events: u64,
    opened: u64,
    closed: u64,
    tried: u64,
    filled: u64,
    legs_unequal: u64,
    phantoms_refused: u64,
    allocations: u64,
    net: i64,
}

struct Run {
    world: World,
    instruments: Vec<Instrument>,
    engine: Engine,
    seq: u64,
    /// What the venues really have.
    venues: Vec<Truth>,
    /// What was told of it.
    told: Vec<Truth>,
    pending: Vec<Pending>,
    outcomes: Vec<(u64, i128, i128)>,
    fees: BTreeMap<Venue, i64>,
    min_order: i64,
    seen: Seen,
}

fn venue_of(kind: VenueKind) -> Venue {
    match kind {
        VenueKind::Binance => Venue::BinanceUs,
        VenueKind::Coinbase => Venue::CoinbaseAdvanced,
        VenueKind::Kraken => Venue::Kraken,
        VenueKind::Kucoin => Venue::KucoinUta,
    }
}

fn instrument_of(listed: &tickerml_sim::Instrument) -> Instrument {
    let decimals = |decimals: u32| u8::try_from(decimals).expect("few");
    Instrument {
        base: listed.base.as_str().try_into().expect("short"),
        quote: listed.quote.as_str().try_into().expect("short"),
        kind: Kind::Spot,
        price_scale: decimals(listed.price_decimals),
        qty_scale: decimals(listed.qty_decimals),
        ..Instrument::unknown(venue_of(listed.venue), &listed.symbol).expect("short")
    }
}

fn unit(scale: u8) -> i128 {
    10_i128.pow(u32::from(SCALE - scale))
}

/// To the nearest unit of money, from units of price times units of quantity.
fn money(sum: i128) -> i64 {
    let one = unit(0);
    i64::try_from((sum + one / 2).div_euclid(one)).expect("small")
}

fn fee(amount: i64, ppm: i64) -> i64 {
    let parts = i128::from(amount) * i128::from(ppm);
    i64::try_from(-(-parts).div_euclid(1_000_000)).expect("small")
}

impl Run {
    /// Every venue takes this from a taker, in millionths.
    fn new(seed: u64, fees: &[(Venue, i32)]) -> Self {
        let listed = tickerml_sim::world::all_default_instruments();
        let world = World::new(seed, listed, START_NS);
        let instruments: Vec<_> = world.instruments().iter().map(instrument_of).collect();
        let shipped = config::load(&crate::root().join("config/edge.toml"));
        let shipped = shipped.expect("the shipped configuration").setup;
        let costs = fees.iter().map(|(venue, taker_fee_ppm)| {
            let tier = Tier {
                volume: Cash::ZERO,
                maker_fee_ppm: 0,
                taker_fee_ppm: *taker_fee_ppm,
            };
            let latency = Latency::Constant {
                entry_ns: ENTRY_NS.cast_signed(),
                response_ns: ENTRY_NS.cast_signed(),
            };
            let costs = Costs {
                tiers: vec![tier],
                latency,
                rules: shipped.costs[0].1.rules,
            };
            (*venue, costs)
        });
        let setup = Setup {
            costs: costs.collect(),
            limits: shipped.limits.clone(),
            ..Setup::market_only(instruments.clone())
        };
        Self {
            venues: vec![Truth::default(); instruments.len()],
            told: vec![Truth::default(); instruments.len()],
            min_order: setup.limits.min_order.0,
            engine: Engine::new(setup),
            fees: fees
                .iter()
                .map(|(venue, ppm)| (*venue, i64::from(*ppm)))
                .collect(),
            seq: 0,
            world,
            instruments,
            pending: Vec::new(),
            outcomes: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn place(&self, event: &WorldEvent) -> usize {
        let listed = self.world.instruments();
        let same =
            |one: &tickerml_sim::Instrument| one.venue == event.venue && one.symbol == event.symbol;
        listed.iter().position(same).expect("listed")
    }

    /// Hands a record to the engine, and lets the oracle follow its trials.
    fn handle(&mut self, at: u64, event: Event) {
        self.expect_trials(at);
        self.seq += 1;
        let record = Record {
            seq: self.seq,
            at: Time(at),
            event,
        };
        let counts = at > START_NS + WARM_UP_NS && matches!(&record.event, Event::Market(_));
        let before = calls();
        self.engine.handle(&record);
        self.seen.allocations += if counts { calls() - before } else { 0 };
        while let Some(output) = self.engine.poll() {
            if let Output::Arbitrage(News { stage, opportunity }) = output {
                self.news(stage, &opportunity);
            }
        }
    }

    fn news(&mut self, stage: Stage, opportunity: &Opportunity) {
        match stage {
            Stage::Opened => {
                self.seen.opened += 1;
                let due = opportunity.opened.plus(ENTRY_NS).0;
                assert_eq!(opportunity.trial.buy.due, Some(Time(due)));
                let opportunity = *opportunity;
                self.pending.push(Pending { opportunity, due });
            }
            Stage::Closed => {
                self.seen.closed += 1;
                self.seen.net += opportunity.best.net().0;
            }
            Stage::Tried => {
                let outcome = opportunity.outcome.expect("tried");
                let one = unit(opportunity.qty_scale);
                let (bought, sold) = (i128::from(outcome.bought.0), i128::from(outcome.sold.0));
                let want = self
                    .outcomes
                    .iter()
                    .position(|(id, ..)| *id == opportunity.id);
                let want = self.outcomes.remove(want.expect("the oracle tried it too"));
                assert_eq!(want, (opportunity.id, bought * one, sold * one));
                let all = opportunity.first.qty;
                self.seen.tried += 1;
                self.seen.filled += u64::from(outcome.bought == all && outcome.sold == all);
                self.seen.legs_unequal += u64::from(outcome.bought != outcome.sold);
            }
        }
    }

    /// What orders that are due before `at` find in the books as they were told.
    fn expect_trials(&mut self, at: u64) {
        let (due, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| pending.due < at);
        self.pending = pending;
        let due: Vec<Pending> = due;
        for Pending { opportunity, .. } in due {
            let qty = i128::from(opportunity.first.qty.0) * unit(opportunity.qty_scale);
            let Walk {
                buy_limit,
                sell_limit,
                ..
            } = opportunity.first;
            let price = |id: InstrumentId, price: Price| {
                i128::from(price.0) * unit(self.instruments[id.index()].price_scale)
            };
            let (buyer, seller) = (
                &self.told[opportunity.buy.index()],
                &self.told[opportunity.sell.index()],
            );
            let dearest = price(opportunity.buy, buy_limit);
            let cheapest = price(opportunity.sell, sell_limit);
            let bought: i128 = buyer.asks.range(..=dearest).map(|(_, qty)| qty).sum();
            let sold: i128 = seller.bids.range(cheapest..).map(|(_, qty)| qty).sum();
            let of = |book: &Truth, stands: i128| if book.live { stands.min(qty) } else { 0 };
            let (bought, sold) = (of(buyer, bought), of(seller, sold));
            self.outcomes.push((opportunity.id, bought, sold));
        }
    }

    /// What buying at one and selling at the other brings: at every quantity at which either side's
    /// price changes, the next unit is judged.
    fn find(&self, buy: usize, sell: usize) -> Option<Found> {
        let (buyer, seller) = (&self.instruments[buy], &self.instruments[sell]);
        let (buy_fee, sell_fee) = (self.fees[&buyer.venue], self.fees[&seller.venue]);
        let asks: Vec<(i128, i128)> = self.told[buy].asks.clone().into_iter().collect();
        let bids: Vec<(i128, i128)> = self.told[sell].bids.clone().into_iter().rev().collect();
        let pays = |ask: i128, bid: i128| {
            bid * i128::from(1_000_000 - sell_fee) > ask * i128::from(1_000_000 + buy_fee)
        };
        if !pays(asks.first()?.0, bids.first()?.0) {
            return None;
        }
        let ends = |levels: &[(i128, i128)]| -> Vec<i128> {
            let mut end = 0;
            levels
                .iter()
                .map(|(_, qty)| {
                    end += qty;
                    end
                })
                .collect()
        };
        let (ask_ends, bid_ends) = (ends(&asks), ends(&bids));
        let at = |levels: &[(i128, i128)], ends: &[i128], qty: i128| {
            let place = ends.partition_point(|end| *end <= qty);
            levels.get(place).map(|(price, _)| *price)
        };
        let mut steps: Vec<i128> = ask_ends.iter().chain(&bid_ends).copied().collect();
        steps.sort_unstable();
        let mut qty = 0;
        for step in steps {
            let here = (at(&asks, &ask_ends, qty), at(&bids, &bid_ends, qty));
            match here {
                (Some(ask), Some(bid)) if pays(ask, bid) => qty = step,
                _ => break,
            }
        }
        let lot = unit(buyer.qty_scale).max(unit(seller.qty_scale));
        let qty = qty - qty % lot;
        let sum = |levels: &[(i128, i128)]| {
            let mut left = qty;
            let taken = levels.iter().map(|(price, stands)| {
                let taken = left.min(*stands);
                left -= taken;
                price * taken
            });
            money(taken.sum())
        };
        let (cost, proceeds) = (sum(&asks), sum(&bids));
        let net = proceeds - cost - fee(cost, buy_fee) - fee(proceeds, sell_fee);
        let pays = qty > 0 && cost.min(proceeds) >= self.min_order && net > 0;
        pays.then_some(Found {
            qty,
            cost,
            proceeds,
            net,
        })
    }

    fn may_quote(&self, place: usize, at: u64) -> bool {
        let age = (at - self.told[place].heard + ENTRY_NS).cast_signed();
        self.told[place].live && age <= AGE_NS_MAX
    }

    /// Compares what is open with what the oracle finds, over the pairs that an instrument is part of,
    /// or all.
    fn compare(&mut self, changed: Option<usize>, at: u64) {
        let count = self.instruments.len();
        for buy in 0..count {
            for sell in 0..count {
                let (one, other) = (&self.instruments[buy], &self.instruments[sell]);
                let part = changed.is_none_or(|changed| changed == buy || changed == sell);
                if one.base != other.base || one.venue == other.venue || !part {
                    continue;
                }
                let found = self.find(buy, sell);
                let may = self.may_quote(buy, at) && self.may_quote(sell, at);
                self.seen.phantoms_refused += u64::from(found.is_some() && !may);
                let want = found.filter(|_| may);
                let key = |place: usize| InstrumentId(u16::try_from(place).expect("few"));
                let open = self.engine.arbitrage().open().iter();
                let mut open = open.filter(|open| open.buy == key(buy) && open.sell == key(sell));
                let got = open.next().map(|open| Found {
                    qty: i128::from(open.last.qty.0) * unit(open.qty_scale),
                    cost: open.last.cost.0,
                    proceeds: open.last.proceeds.0,
                    net: open.last.net().0,
                });
                assert_eq!(
                    got, want,
                    "{} {} to {} at {at}",
                    one.venue, one.symbol, other.venue
                );
                assert!(open.next().is_none());
            }
        }
    }

    fn send(&mut self, place: usize, at: u64, body: Body) {
        let update = Update {
            instrument: InstrumentId(u16::try_from(place).expect("few")),
            venue_time: Time(at),
            received: Time(at),
            late: false,
            body,
        };
        self.handle(at, Event::Market(update));
        self.seen.events += 1;
    }

    /// Tells the whole book of a venue, in parts.
    fn snapshot(&mut self, place: usize, at: u64) {
        let truth = self.venues[place].clone();
        let bids = truth.bids.iter().rev().map(|level| (true, level));
        let levels: Vec<_> = bids
            .chain(truth.asks.iter().map(|level| (false, level)))
            .collect();
        let kind = DepthKind::Snapshot {
            truncated: false,
            limit: 0,
        };
        let parts: Vec<_> = levels.chunks(PART).collect();
        for (number, part) in parts.iter().enumerate() {
            let bids = part.iter().filter(|(bid, _)| *bid).count();
            let depth = Depth {
                kind,
                first: number == 0,
                last: number + 1 == parts.len(),
                id: 0,
                bids: u8::try_from(bids).expect("few"),
                levels: part
                    .iter()
                    .map(|(_, (price, qty))| self.level(place, **price, **qty))
                    .collect(),
                checksum: None,
            };
            if depth.last {
                // The oracle's trials of now still meet the book of before.
                self.expect_trials(at);
                self.told[place] = Truth {
                    live: true,
                    heard: at,
                    ..truth.clone()
                };
            }
            self.send(place, at, Body::Depth(depth));
        }
        self.compare(Some(place), at);
    }

    fn level(&self, place: usize, price: i128, qty: i128) -> Level {
        let Instrument {
            price_scale,
            qty_scale,
            ..
        } = self.instruments[place];
        let own = |value: i128, scale| i64::try_from(value / unit(scale)).expect("small");
        Level {
            price: Price(own(price, price_scale)),
            qty: Qty(own(qty, qty_scale)),
        }
    }

    /// The level changes of one message; returns what there is to tell.
    fn change(truth: &mut Truth, changes: &[(Side, i128, i128)]) {
        for (side, price, qty) in changes {
            let half = match side {
                Side::Buy => &mut truth.bids,
                Side::Sell => &mut truth.asks,
            };
            if *qty == 0 {
                half.remove(price);
            } else {
                half.insert(*price, *qty);
            }
        }
    }

    fn delta(&mut self, place: usize, at: u64, changes: &[(Side, i128, i128)]) {
        self.expect_trials(at);
        Self::change(&mut self.told[place], changes);
        self.told[place].heard = at;
        let of = |wanted: Side| changes.iter().filter(move |(side, ..)| *side == wanted);
        let ordered = of(Side::Buy).chain(of(Side::Sell));
        let depth = Depth {
            kind: DepthKind::Delta,
            first: true,
            last: true,
            id: 0,
            bids: u8::try_from(of(Side::Buy).count()).expect("few"),
            levels: ordered
                .map(|(_, price, qty)| self.level(place, *price, *qty))
                .collect(),
            checksum: None,
        };
        self.send(place, at, Body::Depth(depth));
        self.compare(Some(place), at);
    }

    /// Lives for so many seconds; a venue is silent from one second on to another.
    fn live(&mut self, until_s: u64, silent: Option<(Venue, u64, u64)>) {
        for second in 0..until_s {
            let end = START_NS + (second + 1) * SECONDS;
            let events = self.world.advance(end).to_vec();
            let is_silent = |venue: Venue| {
                silent.is_some_and(|(one, from, to)| one == venue && (from..to).contains(&second))
            };
            let mut rest = events.as_slice();
            while let Some(first) = rest.first() {
                let place = self.place(first);
                let opening = second == 0 && first.time_ns == START_NS;
                let same = |event: &&WorldEvent| {
                    event.time_ns == first.time_ns
                        && event.venue == first.venue
                        && event.symbol == first.symbol
                };
                let count = rest.iter().take_while(same).count();
                let (message, later) = rest.split_at(count);
                rest = later;
                let instrument = &self.instruments[place];
                let (prices, lots) = (unit(instrument.price_scale), unit(instrument.qty_scale));
                let changes = message.iter().filter_map(|event| match event.kind {
                    EventKind::Level { side, price, qty } => {
                        Some((side, i128::from(price) * prices, i128::from(qty) * lots))
                    }
                    EventKind::Trade { .. } => None,
                });
                let changes: Vec<_> = changes.collect();
                Self::change(&mut self.venues[place], &changes);
                if opening {
                    self.snapshot(place, first.time_ns);
                } else if !changes.is_empty() && !is_silent(instrument.venue) {
                    self.delta(place, first.time_ns, &changes);
                }
            }
            self.handle(end, Event::Pulse);
            self.compare(None, end);
            if let Some((venue, ..)) = silent.filter(|(_, _, to)| *to == second + 1) {
                self.resync(venue, end);
            }
        }
    }

    /// A silent venue's books are given up, and told anew.
    fn resync(&mut self, venue: Venue, at: u64) {
        for place in 0..self.instruments.len() {
            if self.instruments[place].venue == venue {
                self.expect_trials(at);
                self.told[place] = Truth {
                    heard: at,
                    ..Truth::default()
                };
                self.send(place, at, Body::Gap(Gap::of(GapReason::Silent)));
                self.compare(Some(place), at);
                self.snapshot(place, at);
            }
        }
    }
}

const VENUES: [Venue; 4] = [
    Venue::BinanceUs,
    Venue::CoinbaseAdvanced,
    Venue::Kraken,
    Venue::KucoinUta,
];

#[test]
fn every_mispricing_above_cost_is_found_within_one_event() {
    let mut tried = 0;
    for (seed, ppm) in [(1, 0), (2, 60)] {
        let mut run = Run::new(seed, &VENUES.map(|venue| (venue, ppm)));
        run.live(25, Some((Venue::Kraken, 12, 18)));
        println!("arbitrage, seed {seed}, {ppm} ppm: {:?}", run.seen);
        assert!(run.seen.opened > 20, "the world misprices");
        assert!(
            run.seen.phantoms_refused > 0,
            "frozen quotes would have been opportunities"
        );
        assert_eq!(
            run.seen.opened - run.seen.closed,
            run.engine.arbitrage().open().len() as u64
        );
        assert_eq!(run.engine.arbitrage().dropped(), 0);
        assert_eq!(run.seen.allocations, 0, "no event allocates");
        let pairs = run.engine.arbitrage().pairs();
        let opened: u64 = pairs.iter().map(|pair| pair.opened).sum();
        let net: i64 = pairs.iter().map(|pair| pair.net.0).sum();
        assert_eq!((opened, net), (run.seen.opened, run.seen.net));
        tried += run.seen.tried;
    }
    assert!(tried > 20);
}

#[test]
fn fees_of_the_shipped_schedule_kill_every_opportunity() {
    let shipped = config::load(&crate::root().join("config/edge.toml"));
    let costs = shipped.expect("the shipped configuration").setup.costs;
    let fee = |venue: Venue| {
        let costs = costs.iter().find(|(named, _)| *named == venue);
        costs.expect("listed").1.tiers[0].taker_fee_ppm
    };
    let mut run = Run::new(1, &VENUES.map(|venue| (venue, fee(venue))));
    run.live(10, None);
    println!("arbitrage, shipped fees: {:?}", run.seen);
    assert_eq!(
        run.seen.opened, 0,
        "the same market without fees has opportunities"
    );
}
