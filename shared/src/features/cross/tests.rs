//! Quotes made by hand, and random ones against sums written out.

use alloc::boxed::Box;

use proptest::prelude::*;

use super::super::book::Top;
use super::*;
use crate::event::{Depth, DepthKind, Gap, GapReason, Level};
use crate::instrument::Venue;
use crate::num::{Price, Qty};
use crate::rand::Rng;
use crate::time::MILLIS;

const START: u64 = 1_000_000 * SECONDS;

/// An instrument with its book.
struct Place {
    instrument: Instrument,
    book: Box<Book>,
}

/// Instruments of one asset.
struct Scene {
    places: Vec<Place>,
    cross: Cross,
}

impl Scene {
    /// Instruments of these kinds with so many decimals of the price, two of the quantity.
    fn new(kinds: &[(Kind, u8)]) -> Self {
        let place = |(kind, price_scale): &(Kind, u8)| Place {
            instrument: Instrument {
                kind: *kind,
                price_scale: *price_scale,
                qty_scale: 2,
                ..Instrument::unknown(Venue::Binance, "A").expect("short")
            },
            book: Box::new(Book::new()),
        };
        let places: Vec<_> = kinds.iter().map(place).collect();
        let mut cross = Cross::default();
        for (id, place) in (0_u16..).zip(&places) {
            cross.list(InstrumentId(id), &place.instrument);
        }
        Self { places, cross }
    }

    fn spot(count: usize) -> Self {
        Self::new(&alloc::vec![(Kind::Spot, 2); count])
    }

    /// A quote: prices and quantities at the touch.
    fn set(&mut self, place: usize, bid: (i64, i64), ask: (i64, i64), at: u64) {
        self.set_late(place, bid, ask, at, 0);
    }

    fn set_late(&mut self, place: usize, bid: (i64, i64), ask: (i64, i64), at: u64, lag_ns: i64) {
        let Place { instrument, book } = &mut self.places[place];
        let level = |(price, qty): (i64, i64)| Level {
            price: Price(price),
            qty: Qty(qty),
        };
        let message = Depth {
            kind: DepthKind::Snapshot {
                truncated: false,
                limit: 0,
            },
            first: true,
            last: true,
            id: 0,
            bids: 1,
            levels: [level(bid), level(ask)].into_iter().collect(),
            checksum: None,
        };
        assert_eq!(book.depth(&message, instrument, Time(at)), None);
        self.hear(place, at, lag_ns);
    }

    fn lose(&mut self, place: usize, at: u64) {
        let gap = Gap::of(GapReason::Silent);
        self.places[place].book.invalidate(gap, Time(at));
        self.hear(place, at, 0);
    }

    fn hear(&mut self, place: usize, at: u64, lag_ns: i64) {
        let Place { instrument, book } = &self.places[place];
        let newest = Newest {
            book,
            received: Time(at),
            lag_ns,
            at: Time(at),
        };
        let id = InstrumentId(u16::try_from(place).expect("few"));
        self.cross.hear(id, &newest, instrument);
    }

    fn read(&self, place: usize, at: u64) -> impl Fn(CrossFeature) -> Option<f32> + use<> {
        let Place { instrument, book } = &self.places[place];
        let top = Top::of(book).expect("live");
        let view = View {
            top: &top,
            instrument,
            cross: Some(Own {
                cross: &self.cross,
                id: InstrumentId(u16::try_from(place).expect("few")),
            }),
            funding: None,
            received: Time(at),
            lag_ns: 0,
            at: Time(at),
        };
        let values = read(&view);
        move |feature| values.get(feature)
    }
}

#[track_caller]
fn near(got: Option<f32>, want: f64) {
    let got = f64::from(got.expect("known"));
    assert!(
        (got - want).abs() <= 1e-5 * want.abs().max(1e-3),
        "{got} instead of {want}"
    );
}

#[test]
fn compares_with_the_venues_that_are_live() {
    use CrossFeature as F;
    let mut scene = Scene::new(&[(Kind::Spot, 2), (Kind::Spot, 0), (Kind::Spot, 1)]);
    scene.set(0, (10_000, 300), (10_200, 100), START);
    let alone = scene.read(0, START);
    for feature in [
        F::Deviation,
        F::DeviationMedian,
        F::DeviationDeepest,
        F::BidGap,
    ] {
        assert_eq!(alone(feature), None, "alone: {feature:?}");
    }
    assert_eq!((alone(F::Live), alone(F::DepthShare)), (Some(1.0), None));
    scene.set(1, (98, 500), (100, 900), START);
    scene.set(2, (1_030, 100), (1_050, 100), START);
    // Mids of 101, 99 and 104.
    let all = scene.read(0, START);
    near(all(F::Deviation), (101.0 / (304.0 / 3.0) - 1.0) * 1e4);
    near(all(F::DeviationMedian), 0.0);
    near(all(F::DeviationDeepest), (101.0 / 99.0 - 1.0) * 1e4);
    near(all(F::BidGap), (100.0 / 103.0 - 1.0) * 1e4);
    near(all(F::AskGap), (102.0 / 100.0 - 1.0) * 1e4);
    near(all(F::Spread), (100.0 - 103.0) / 101.5 * 1e4);
    near(all(F::DepthShare), 4.0 / 20.0);
    near(all(F::Live), 3.0);
    near(scene.read(1, START)(F::DeviationDeepest), 0.0);
    near(
        scene.read(1, START)(F::DeviationMedian),
        (99.0 / 101.0 - 1.0) * 1e4,
    );

    scene.lose(1, START);
    let two = scene.read(0, START);
    near(two(F::Deviation), (101.0 / 102.5 - 1.0) * 1e4);
    near(two(F::DeviationMedian), (101.0 / 102.5 - 1.0) * 1e4);
    near(two(F::DeviationDeepest), 0.0);

    let spreads: Vec<_> = scene.cross.spreads().collect();
    assert_eq!(spreads.len(), 2);
    let Spread {
        one,
        other,
        mid_bps,
        crossed_bps,
    } = spreads[1];
    assert_eq!((one, other), (InstrumentId(2), InstrumentId(0)));
    assert!((mid_bps - (104.0 / 101.0 - 1.0) * 1e4).abs() < 1e-9);
    assert!((crossed_bps - (103.0 / 102.0 - 1.0) * 1e4).abs() < 1e-9);
}

#[test]
fn old_quotes_are_not_consolidated_and_ages_are_told() {
    use CrossFeature as F;
    let mut scene = Scene::spot(3);
    scene.set(0, (10_000, 1), (10_100, 1), START);
    scene.set(1, (10_500, 1), (10_600, 1), START + SECONDS);
    scene.set_late(
        2,
        (10_300, 1),
        (10_400, 1),
        START + 2 * SECONDS,
        1_500 * MILLIS as i64,
    );
    let now = START + 4 * SECONDS;
    let early = scene.read(0, now);
    near(early(F::BidGap), (100.0 / 105.0 - 1.0) * 1e4);
    near(early(F::AgeAdvantage), -1.0);
    near(scene.read(1, now)(F::AgeAdvantage), 0.5);
    // The first is too old: it is not part of what it is compared with.
    let now = START + 5 * SECONDS + 1;
    let late = scene.read(0, now);
    assert_eq!((late(F::BidGap), late(F::DepthShare)), (None, None));
    near(late(F::Spread), (104.0 - 105.0) / 104.5 * 1e4);
    // The third one's feed is late: it is too old before the second.
    let now = START + 5 * SECONDS + 500 * MILLIS + 1;
    assert_eq!(scene.read(0, now)(F::Spread), None);
}

#[test]
fn perpetuals_stand_apart() {
    use CrossFeature as F;
    let kinds = [
        (Kind::Spot, 2),
        (Kind::Spot, 2),
        (Kind::Perpetual, 2),
        (Kind::Inverse, 2),
    ];
    let mut scene = Scene::new(&kinds);
    scene.set(0, (10_000, 100), (10_200, 100), START);
    scene.set(2, (11_000, 100), (11_200, 100), START);
    near(scene.read(2, START)(F::Basis), (111.0 / 101.0 - 1.0) * 1e4);
    assert_eq!(scene.read(0, START)(F::BidGap), None, "the only spot");
    scene.set(1, (10_400, 100), (10_600, 300), START);
    near(scene.read(2, START)(F::Basis), (111.0 / 103.0 - 1.0) * 1e4);
    near(scene.read(0, START)(F::Basis), (111.0 / 103.0 - 1.0) * 1e4);
    near(scene.read(0, START)(F::DepthShare), 200.0 / 600.0);
    // An inverse contract counts in quote units: 4 000 of them are 40 at 100.
    scene.set(3, (9_900, 200_000), (10_100, 200_000), START);
    near(
        scene.read(0, START)(F::DeviationDeepest),
        (101.0 / 100.0 - 1.0) * 1e4,
    );
}

#[test]
fn an_asset_bears_any_input() {
    let mut scene = Scene::spot(2);
    scene.set(0, (1, i64::MAX), (i64::MAX / 4, i64::MAX), START);
    scene.set(1, (i64::MAX / 4 - 1, 1), (i64::MAX / 4, 1), START);
    let _ = (scene.read(0, START), scene.read(1, START));
    scene.set(0, (-5, 1), (-3, 1), START + SECONDS);
    assert_eq!(scene.cross.live(), 1, "a price that is none");
    scene.set(0, (100, 1), (101, 1), 5);
    scene.set(1, (100, 1), (101, 1), START * 1_000);
    scene.cross.advance(Time(u64::MAX));
    scene.cross.estimate(Time(u64::MAX));
    scene.cross.estimate(Time(0));
    assert_eq!(
        scene.read(1, START)(CrossFeature::DepthShare),
        None,
        "nothing stands there"
    );
    let bytes = postcard::to_allocvec(&scene.cross).expect("memory");
    assert_eq!(postcard::from_bytes(&bytes), Ok(scene.cross));
}

/// Mean and standard deviation of what is given, as everybody would compute them.
fn score(window: &[f64], value: f64) -> f64 {
    let count = window.len() as f64;
    let mean = window.iter().sum::<f64>() / count;
    let squares = window
        .iter()
        .map(|one| (one - mean) * (one - mean))
        .sum::<f64>();
    (value - mean) / (squares / count).sqrt()
}

#[test]
fn the_score_is_that_of_the_seconds() {
    use CrossFeature as F;
    let mut scene = Scene::spot(3);
    let mut rng = Rng::new(3, 3);
    let mut deviations: Vec<f64> = Vec::new();
    scene.set(2, (1_000_000, 1), (1_000_002, 1), START);
    for number in 0..700_u64 {
        let base = START + number * SECONDS;
        for _ in 0..rng.below(3) {
            for place in 0..2 {
                let price = 1_000_000 + i64::try_from(rng.below(2_000)).expect("small");
                scene.set(
                    place,
                    (price, 1),
                    (price + 10, 1),
                    base + 1 + rng.below(SECONDS / 2),
                );
            }
        }
        scene.cross.advance(Time(base + SECONDS - 1));
        if scene.cross.live() < 3 {
            continue;
        }
        let mids: Vec<f64> = scene.cross.quotes().map(|quote| quote.mid).collect();
        let mean = mids.iter().sum::<f64>() / mids.len() as f64;
        let now = scene.read(0, base + SECONDS - 1);
        for (feature, window) in [(F::Score60, 60), (F::Score300, 300)] {
            let known = deviations.len() >= window;
            assert_eq!(now(feature).is_some(), known, "{number} {feature:?}");
            if known {
                let value = (mids[0] / mean - 1.0) * 1e4;
                let want = score(&deviations[deviations.len() - window..], value);
                let got = f64::from(now(feature).expect("known"));
                assert!(
                    (got - want).abs() < 1e-4,
                    "{number}: {got} instead of {want}"
                );
            }
        }
        deviations.push((mids[0] / mean - 1.0) * 1e4);
    }
    assert!(deviations.len() > 650);
    let end = START + 700 * SECONDS;
    scene.lose(2, end);
    assert_eq!(
        scene.read(0, end)(F::Score60),
        None,
        "the mean is another one"
    );
    scene.set(2, (1_000_000, 1), (1_000_002, 1), end);
    scene.cross.advance(Time(end + 59 * SECONDS));
    assert_eq!(scene.read(0, end)(F::Score60), None);
    scene.cross.advance(Time(end + 60 * SECONDS));
    assert_eq!(scene.read(0, end)(F::Score60), None, "nothing varied");
}

#[test]
fn the_leader_is_found_and_what_is_left_to_follow() {
    use CrossFeature as F;
    let mut scene = Scene::spot(3);
    let mut rng = Rng::new(9, 1);
    let mut price = 10_000_000_i64;
    let mut path = Vec::new();
    for step in 0..400_u64 {
        price += i64::try_from(rng.below(2_001)).expect("small") - 1_000;
        path.push(price);
        let at = START + step * 100 * MILLIS;
        scene.set(0, (price, 1), (price + 2, 1), at);
        if let Some(seen) = path.len().checked_sub(3) {
            let seen = path[seen];
            scene.set(1, (seen, 1), (seen + 2, 1), at);
        }
        let noise = 10_000_000 + i64::try_from(rng.below(2_001)).expect("small");
        scene.set(2, (noise, 1), (noise + 2, 1), at);
    }
    let now = START + 399 * 100 * MILLIS;
    assert_eq!(scene.read(1, now)(F::LeadLag), None, "no pulse yet");
    for pulse in 0..3 {
        scene.cross.estimate(Time(now + pulse));
    }
    let (leader, follower) = (scene.read(0, now), scene.read(1, now));
    assert_eq!(
        (leader(F::LeadLag), follower(F::LeadLag)),
        (Some(200.0), Some(-200.0))
    );
    assert!(leader(F::LeadLagRatio) > Some(0.5) && follower(F::LeadLagRatio) < Some(-0.5));
    // All but the changes that have not been followed yet.
    assert!(leader(F::LeadCorrelation) > Some(0.95));
    near(leader(F::LeaderReturn), 0.0);
    let log = |later: i64, before: i64| ((later + 1) as f64 / (before + 1) as f64).ln();
    let want = log(path[399], path[389]) - log(path[397], path[387]);
    near(follower(F::LeaderReturn), want * 1e4);
    // Estimates are ten seconds apart, and end with the venue's book.
    scene.cross.estimate(Time(now + 9 * SECONDS));
    scene.lose(0, now + 9 * SECONDS);
    assert_eq!(scene.read(1, now)(F::LeadLag), None);
}

proptest! {
    /// The rolling sums against the window as it stands.
    #[test]
    fn a_history_equals_its_window(values in proptest::collection::vec(-500.0_f64..500.0, 1..700)) {
        let mut history = History::new();
        let rounded = |value: &f64| (value * 1e6).round() / 1e6;
        for (number, value) in values.iter().enumerate() {
            history.push(*value);
            for (window, length) in WINDOWS.into_iter().enumerate() {
                let got = history.score(window, 1.0);
                let Some(first) = (number + 1).checked_sub(length) else {
                    prop_assert_eq!(got, None);
                    continue;
                };
                let kept: Vec<f64> = values[first..=number].iter().map(rounded).collect();
                let want = score(&kept, 1.0);
                prop_assert!((got.expect("full") - want).abs() < 1e-9);
            }
        }
    }
}
