//! Opportunities between books made by hand.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;

use heapless::Vec as Bounded;
use proptest::prelude::*;

use super::*;
use crate::book::Book;
use crate::event::{Depth as Message, DepthKind, Gap, GapReason};
use crate::instrument::Venue;
use crate::paper::depth::Depth;
use crate::paper::latency::Latency;
use crate::paper::queue::QueueModel;
use crate::paper::venue::{Rules, Surcharge};

const START: Time = Time(1_000_000 * SECONDS);
const RULES: Rules = Rules {
    partial_fills: true,
    ..Rules::hftbacktest(QueueModel::RiskAverse)
};

/// A venue with its book.
struct Place {
    instrument: Instrument,
    book: Box<Book>,
    terms: Terms,
    received: Time,
    lag_ns: i64,
    clock_offset_ns: i64,
}

/// Venues, and what the monitor makes of them.
struct Scene {
    places: Vec<Place>,
    round_trips: RoundTrips,
    monitor: Monitor,
    news: Vec<News>,
    min_order: Cash,
}

type Rows<'a> = &'a [(i64, i64)];

impl Place {
    fn new(venue: Venue, (price_scale, qty_scale, lot): (u8, u8, i64), taker_fee_ppm: i32) -> Self {
        let mut instrument = Instrument::unknown(venue, "BTC").expect("short");
        instrument.base = "BTC".try_into().expect("short");
        (instrument.price_scale, instrument.qty_scale, instrument.lot) =
            (price_scale, qty_scale, lot);
        Self {
            instrument,
            book: Box::new(Book::new()),
            terms: Terms {
                maker_fee_ppm: 0,
                taker_fee_ppm,
                latency: Latency::Constant {
                    entry_ns: 50 * MILLIS.cast_signed(),
                    response_ns: 50 * MILLIS.cast_signed(),
                },
                rules: RULES,
            },
            received: Time::UNKNOWN,
            lag_ns: 0,
            clock_offset_ns: 0,
        }
    }

    fn set(&mut self, bids: Rows<'_>, asks: Rows<'_>, at: Time) {
        let level = |(price, qty): &(i64, i64)| Level {
            price: Price(*price),
            qty: Qty(*qty),
        };
        let levels: Bounded<Level, 32> = bids.iter().chain(asks).map(level).collect();
        let message = Message {
            kind: DepthKind::Snapshot {
                truncated: false,
                limit: 0,
            },
            first: true,
            last: true,
            id: 0,
            bids: u8::try_from(bids.len()).expect("few"),
            levels,
            checksum: None,
        };
        assert_eq!(self.book.depth(&message, &self.instrument, at), None);
        self.received = at;
    }

    fn leg<'a>(&'a self, round_trips: &'a RoundTrips) -> Leg<'a> {
        Leg {
            market: Market {
                depth: Depth::Book(&self.book),
                instrument: &self.instrument,
                terms: &self.terms,
                impact: Surcharge::NONE,
                average_trade: Qty(0),
            },
            received: self.received,
            lag_ns: self.lag_ns,
            clock_offset_ns: self.clock_offset_ns,
            round_trips,
        }
    }
}

impl Scene {
    fn new(places: Vec<Place>) -> Self {
        let instruments: Vec<_> = places
            .iter()
            .map(|place| place.instrument.clone())
            .collect();
        Self {
            monitor: Monitor::new(&instruments),
            places,
            round_trips: RoundTrips::new(),
            news: Vec::new(),
            min_order: Cash::ZERO,
        }
    }

    /// Prices in hundredths at the one, in tenths at the other; quantities in thousandths.
    fn pair(fees: (i32, i32)) -> Self {
        Self::new(alloc::vec![
            Place::new(Venue::Binance, (2, 3, 1), fees.0),
            Place::new(Venue::Kraken, (1, 3, 5), fees.1),
        ])
    }

    fn look(&mut self, changed: u16, at: Time) {
        let (places, trips) = (&self.places, &self.round_trips);
        let markets = |id: InstrumentId| Some(places[id.index()].leg(trips));
        let look = Look {
            at,
            min_order: self.min_order,
        };
        let news = &mut self.news;
        self.monitor
            .look(InstrumentId(changed), look, &markets, &mut |one| {
                news.push(one)
            });
    }

    fn pulse(&mut self, at: Time) {
        let (places, trips) = (&self.places, &self.round_trips);
        let markets = |id: InstrumentId| Some(places[id.index()].leg(trips));
        let look = Look {
            at,
            min_order: self.min_order,
        };
        let news = &mut self.news;
        self.monitor
            .pulse(look, &markets, &mut |one| news.push(one));
    }

    fn arrive(&mut self, before: Time) {
        let (places, trips) = (&self.places, &self.round_trips);
        let markets = |id: InstrumentId| Some(places[id.index()].leg(trips));
        let news = &mut self.news;
        self.monitor
            .arrive(before, &markets, &mut |one| news.push(one));
    }

    fn stages(&mut self) -> Vec<Stage> {
        self.news.drain(..).map(|news| news.stage).collect()
    }

    /// 100.00 for 0.004 and 100.10 for 0.1 here, 101.0 for 0.05 and 100.1 for 0.2 there.
    fn mispriced(fees: (i32, i32)) -> Self {
        let mut scene = Self::pair(fees);
        scene.places[0].set(&[(9_900, 9)], &[(10_000, 4), (10_010, 100)], START);
        scene.places[1].set(&[(1010, 50), (1001, 200)], &[(1020, 9)], START);
        scene.look(1, START);
        scene
    }
}

fn later(milliseconds: u64) -> Time {
    START.plus(milliseconds * MILLIS)
}

#[test]
fn the_walk_takes_what_pays_in_whole_lots() {
    let scene = Scene::mispriced((1_000, 1_000));
    let [opportunity] = scene.monitor.open() else {
        panic!("{:?}", scene.monitor.open());
    };
    assert_eq!(
        (opportunity.buy, opportunity.sell),
        (InstrumentId(0), InstrumentId(1))
    );
    // 100.10 pays against 101.0, not against 100.1: 0.05, of which 0.004 at 100.00.
    let walk = opportunity.first;
    assert_eq!((walk.qty, opportunity.qty_scale), (Qty(50), 3));
    assert_eq!(
        (walk.buy_limit, walk.sell_limit),
        (Price(10_010), Price(1010))
    );
    // 0.004 · 100.00 + 0.046 · 100.10 = 5.0046, 0.05 · 101.0 = 5.05, and a thousandth of each.
    assert_eq!(
        (walk.cost, walk.proceeds),
        (Cash(500_460_000), Cash(505_000_000))
    );
    assert_eq!(walk.fees, Cash(500_460 + 505_000));
    assert_eq!(walk.net(), Cash(4_540_000 - 1_005_460));
    assert_eq!(walk.net_ppm(), 7_062);
    assert!(!walk.cut);
}

#[test]
fn fees_decide_whether_there_is_anything() {
    // 101.0 less a fee against 100.00 more a fee: nothing remains at half a percent each.
    let costly = |fees| {
        let mut scene = Scene::pair(fees);
        scene.places[0].set(&[(9_900, 9)], &[(10_000, 50)], START);
        scene.places[1].set(&[(1010, 50)], &[(1020, 9)], START);
        scene.look(1, START);
        scene.monitor.open().len()
    };
    assert_eq!(costly((4_950, 4_950)), 1);
    assert_eq!(costly((5_000, 5_000)), 0);
    assert_eq!(costly((0, 10_000)), 0);
    // A rebate makes an opportunity of prices that are equal.
    let equal = |fee_ppm| {
        let mut scene = Scene::pair((fee_ppm, 0));
        scene.places[0].set(&[(9_900, 10)], &[(10_000, 10)], START);
        scene.places[1].set(&[(1000, 10)], &[(1020, 10)], START);
        scene.look(0, START);
        scene.monitor.open().len()
    };
    assert_eq!((equal(0), equal(-1)), (0, 1));
    // A venue whose fees are switched off is free.
    let mut scene = Scene::mispriced((5_000, 5_000));
    scene.places[0].terms.rules.fees = false;
    scene.look(0, START);
    assert_eq!(scene.monitor.open().len(), 1);
}

#[test]
fn an_order_that_is_too_small_is_none() {
    let mut scene = Scene::mispriced((5_000, 5_000));
    (
        scene.places[0].terms.taker_fee_ppm,
        scene.places[1].terms.taker_fee_ppm,
    ) = (0, 0);
    scene.min_order = Cash(500_460_001);
    scene.look(0, START);
    assert_eq!(scene.monitor.open(), []);
    scene.min_order = Cash(500_460_000);
    scene.look(0, START);
    assert_eq!(scene.monitor.open().len(), 1);
    // 0.004 is less than the other venue's lot.
    let mut scene = Scene::pair((0, 0));
    scene.places[0].set(&[(9_900, 9)], &[(10_000, 4), (10_200, 100)], START);
    scene.places[1].set(&[(1010, 50)], &[(1020, 9)], START);
    scene.look(0, START);
    assert_eq!(scene.monitor.open(), []);
}

#[test]
fn a_stale_book_is_no_opportunity_and_ends_one() {
    let bound = u64::try_from(AGE_NS_MAX).expect("positive") / MILLIS - 50;
    let mut scene = Scene::mispriced((0, 0));
    assert_eq!(scene.stages(), [Stage::Opened]);
    scene.places[0].received = later(bound);
    scene.pulse(later(bound));
    assert_eq!(scene.stages(), [], "an order would still come in time");
    scene.pulse(later(bound + 1));
    assert_eq!(scene.stages(), [Stage::Closed]);
    let closed = scene.monitor.closed().next().expect("one");
    assert_eq!(closed.closed, Some((later(bound + 1), Cause::Stale)));
    assert_eq!(closed.lifetime_ns(), (bound + 1) * MILLIS);
    scene.look(0, later(bound + 2));
    assert_eq!(
        scene.monitor.open(),
        [],
        "the silent venue's quote is a phantom"
    );
    scene.places[1].received = later(bound + 3);
    scene.look(1, later(bound + 3));
    assert_eq!(scene.monitor.open().len(), 1, "it was heard of again");

    let spoilt: [fn(&mut Place); 6] = [
        |place| place.lag_ns = LAG_NS_MAX + 1,
        |place| place.lag_ns = -LAG_NS_MAX - 1,
        |place| place.clock_offset_ns = CLOCK_OFFSET_NS_MAX + 1,
        |place| place.clock_offset_ns = i64::MIN,
        |place| place.received = Time::UNKNOWN,
        |place| {
            let entry_ns = AGE_NS_MAX + 1;
            place.terms.latency = Latency::Constant {
                entry_ns,
                response_ns: 0,
            };
        },
    ];
    for (number, spoil) in spoilt.into_iter().enumerate() {
        for place in 0..2 {
            let mut scene = Scene::mispriced((5_000, 5_000));
            (
                scene.places[0].terms.taker_fee_ppm,
                scene.places[1].terms.taker_fee_ppm,
            ) = (0, 0);
            spoil(&mut scene.places[place]);
            scene.look(0, START);
            assert_eq!(scene.monitor.open(), [], "{number} at {place}");
        }
    }
}

#[test]
fn an_opportunity_ends_with_its_price_or_its_book() {
    let mut scene = Scene::mispriced((0, 0));
    scene.places[1].set(&[(1015, 50)], &[(1020, 9)], later(3));
    scene.look(1, later(3));
    scene.places[1].set(&[(1005, 50)], &[(1020, 9)], later(5));
    scene.look(1, later(5));
    let open = scene.monitor.open()[0];
    assert_eq!(
        (open.best.sell_limit, open.last.sell_limit),
        (Price(1015), Price(1005))
    );
    scene.places[1].set(&[(1000, 50)], &[(1020, 9)], later(9));
    scene.look(1, later(9));
    assert_eq!(scene.stages(), [Stage::Opened, Stage::Closed]);
    scene.places[1].set(&[(1015, 50)], &[(1020, 9)], later(10));
    scene.look(1, later(10));
    let gap = Gap::of(GapReason::Sequence);
    scene.places[0].book.invalidate(gap, later(11));
    scene.look(0, later(11));
    let causes: Vec<_> = scene.monitor.closed().map(|over| over.closed).collect();
    assert_eq!(
        causes,
        [
            Some((later(9), Cause::Price)),
            Some((later(11), Cause::Gap))
        ]
    );
    let pair = scene.monitor.pairs()[0];
    assert_eq!((pair.opened, pair.closed), (2, 2));
    assert_eq!(pair.lifetime_ns_mean(), Some(5 * MILLIS));
    assert_eq!(
        pair.lifetime_ns_median(),
        Some(2 * MILLIS),
        "1 ms, and 9 ms"
    );
    let best: i64 = scene.monitor.closed().map(|over| over.best.net().0).sum();
    assert_eq!(pair.net, Cash(best));
    assert_eq!(scene.monitor.pairs()[1].opened, 0);
}

#[test]
fn a_trial_meets_the_books_of_later() {
    let mut scene = Scene::mispriced((1_000, 1_000));
    scene.places[1].terms.latency = Latency::Constant {
        entry_ns: 80 * MILLIS.cast_signed(),
        response_ns: 0,
    };
    // Opened with the latency of before: both orders arrive after 50 ms.
    scene.arrive(later(50));
    assert_eq!(
        scene.stages(),
        [Stage::Opened],
        "what is due now comes after this"
    );
    scene.arrive(later(51));
    assert_eq!(scene.stages(), [Stage::Tried]);
    let all = scene.monitor.open()[0];
    let outcome = all.outcome.expect("tried");
    assert_eq!((outcome.bought, outcome.sold), (Qty(50), Qty(50)));
    assert_eq!((outcome.net, outcome.unhedged()), (all.first.net(), Qty(0)));
    assert_eq!(scene.monitor.pairs()[0].filled, 1);

    // It opens again; the legs take 50 and 80 ms, and the books move meanwhile.
    scene.places[0].set(&[(9_900, 9)], &[(10_200, 4)], later(60));
    scene.look(0, later(60));
    scene.places[0].set(&[(9_900, 9)], &[(10_000, 4), (10_010, 100)], later(100));
    scene.places[1].received = later(100);
    scene.look(0, later(100));
    let _ = scene.stages();
    scene.places[0].set(&[(9_900, 9)], &[(10_000, 20), (10_020, 100)], later(140));
    scene.arrive(later(151));
    assert_eq!(scene.stages(), [], "one leg is still on its way");
    scene.places[0].set(&[(9_900, 9)], &[(10_400, 4)], later(155));
    scene.look(0, later(155));
    scene.places[1].set(&[(1011, 10), (1010, 5)], &[(1020, 9)], later(170));
    scene.arrive(later(181));
    assert_eq!(
        scene.stages(),
        [Stage::Closed, Stage::Tried],
        "also when it is over"
    );
    let over = *scene.monitor.closed().last().expect("closed");
    let outcome = over.outcome.expect("tried");
    assert_eq!(
        (outcome.bought, outcome.sold),
        (Qty(20), Qty(15)),
        "no worse than the limits"
    );
    assert_eq!(outcome.unhedged(), Qty(5));
    // 0.02 at 100.00 cost 2 and 0.002, of which three quarters; 0.01 · 101.1 + 0.005 · 101.0.
    let (paid, received) = (150_150_000, 151_600_000 - 151_600);
    assert_eq!(outcome.net, Cash(received - paid));
    let pair = scene.monitor.pairs()[0];
    assert_eq!((pair.tried, pair.filled), (2, 1));
    assert_eq!(pair.tried_net, all.first.net() + outcome.net);
    assert_eq!(scene.monitor.due(), None);
}

#[test]
fn a_restart_ends_everything() {
    let mut scene = Scene::mispriced((0, 0));
    let news = &mut scene.news;
    scene.monitor.restart(&mut |one| news.push(one));
    assert_eq!(scene.stages(), [Stage::Opened, Stage::Closed]);
    scene.arrive(later(60_000));
    assert_eq!(scene.stages(), []);
    assert_eq!(scene.monitor.pairs()[0].tried, 0);
}

#[test]
fn what_cannot_be_kept_is_counted() {
    let place = |venue, dear: bool| {
        let mut place = Place::new(venue, (2, 3, 1), 0);
        let price = if dear { 12_000 } else { 10_000 };
        place.set(&[(price, 9)], &[(price + 100, 9)], START);
        place
    };
    let venues = Venue::ALL.into_iter();
    let places = venues.flat_map(|venue| [place(venue, true), place(venue, false)]);
    let mut scene = Scene::new(places.collect());
    (0..20).for_each(|changed| scene.look(changed, START));
    // Ten dear and ten cheap ones, each pair but those at one venue; judged from both ends.
    assert_eq!(scene.monitor.open().len(), MAX_OPEN);
    assert_eq!(scene.monitor.pairs().len(), 20 * 18);
    assert!(scene.monitor.dropped() > 0);
    for place in &mut scene.places {
        place.book.invalidate(Gap::of(GapReason::Silent), START);
    }
    scene.pulse(START);
    assert_eq!(scene.monitor.open(), []);
    assert_eq!(scene.monitor.closed().len(), CLOSED_KEPT);
}

#[test]
fn only_spot_of_one_asset_compares() {
    let base = |text: &str| text.try_into().expect("short");
    let of = |venue, kind, asset: &str| Instrument {
        kind,
        base: base(asset),
        ..Instrument::unknown(venue, "X").expect("short")
    };
    let monitor = Monitor::new(&[
        of(Venue::Binance, Kind::Spot, "BTC"),
        of(Venue::Kraken, Kind::Spot, "ETH"),
        of(Venue::BinanceUsdm, Kind::Perpetual, "BTC"),
        of(Venue::KrakenFutures, Kind::Perpetual, "BTC"),
        of(Venue::Binance, Kind::Spot, "BTC"),
        of(Venue::Coinbase, Kind::Spot, "BTC"),
        of(Venue::Coinbase, Kind::Spot, ""),
        of(Venue::Kraken, Kind::Spot, ""),
    ]);
    let pairs: Vec<_> = monitor
        .pairs()
        .iter()
        .map(|pair| (pair.buy.0, pair.sell.0))
        .collect();
    assert_eq!(pairs, [(0, 5), (4, 5), (5, 0), (5, 4)]);
}

/// The quantity, cost and proceeds in the smallest units, one unit after the other.
fn by_units(
    asks: &BTreeMap<i64, i64>,
    bids: &BTreeMap<i64, i64>,
    (ask_lot, bid_lot): (i64, i64),
    (buy_fee, sell_fee): (i32, i32),
) -> (i64, i64, i64) {
    let units = |price: &i64, qty: &i64, lot: i64| {
        core::iter::repeat_n(*price, usize::try_from(qty - qty % lot).expect("positive"))
    };
    let asks: Vec<_> = asks
        .iter()
        .flat_map(|(p, q)| units(p, q, ask_lot))
        .collect();
    let bids: Vec<_> = bids
        .iter()
        .rev()
        .flat_map(|(p, q)| units(p, q, bid_lot))
        .collect();
    let pays = |(ask, bid): &(&i64, &i64)| {
        let paid = i128::from(**ask) * i128::from(1_000_000 + buy_fee);
        i128::from(**bid) * i128::from(1_000_000 - sell_fee) > paid
    };
    let mut count = asks.iter().zip(&bids).take_while(pays).count();
    let whole = |count: usize| {
        let count = i64::try_from(count).expect("few");
        count % ask_lot == 0 && count % bid_lot == 0
    };
    while !whole(count) {
        count -= 1;
    }
    let qty = i64::try_from(count).expect("few");
    (qty, asks[..count].iter().sum(), bids[..count].iter().sum())
}

proptest! {
    /// The walk against counting unit by unit.
    #[test]
    fn equals_a_count_by_units(
        asks in proptest::collection::btree_map(9_900_i64..10_100, 1_i64..60, 1..9),
        bids in proptest::collection::btree_map(9_900_i64..10_100, 1_i64..60, 1..9),
        lots in (1_i64..7, 1_i64..7),
        fees in (-500_i32..3_000, -500_i32..3_000),
    ) {
        let mut scene = Scene::new(alloc::vec![
            Place::new(Venue::Binance, (2, 3, lots.0), fees.0),
            Place::new(Venue::Kraken, (2, 3, lots.1), fees.1),
        ]);
        let asks_list: Vec<_> = asks.iter().map(|(p, q)| (*p, *q)).collect();
        let bids_list: Vec<_> = bids.iter().map(|(p, q)| (*p, *q)).collect();
        scene.places[0].set(&[(1, 1)], &asks_list, START);
        scene.places[1].set(&bids_list, &[(999_999, 1)], START);
        scene.look(0, START);
        let (qty, cost, proceeds) = by_units(&asks, &bids, lots, fees);
        // One unit of price times one of quantity is 10^-5.
        let (cost, proceeds) = (Cash(cost * 1_000), Cash(proceeds * 1_000));
        let net = proceeds - cost - fee(cost, fees.0) - fee(proceeds, fees.1);
        match scene.monitor.open() {
            [] => prop_assert!(qty == 0 || net <= Cash::ZERO),
            [one] => {
                prop_assert_eq!(one.first.qty, Qty(qty));
                prop_assert_eq!((one.first.cost, one.first.proceeds), (cost, proceeds));
                prop_assert_eq!(one.first.net(), net);
            }
            more => prop_assert!(false, "{:?}", more),
        }
    }
}
