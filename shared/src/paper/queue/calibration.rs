//! The models against queues whose true order is known: synthetic levels, order by order.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::super::testing::{ID, REALISTIC, World};
use super::super::venue::Rules;
use super::*;
use crate::event::Side;
use crate::order::TimeInForce;
use crate::rand::Rng;

/// One level with our order in it: the true queue.
#[derive(Clone, Debug)]
struct Truth {
    ahead: Vec<i64>,
    behind: Vec<i64>,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A new order, at the back.
    Add(i64),
    /// An order, counted from the front in thousandths of the queue, shrinks by so much at most.
    Cancel(usize, i64),
    /// From the front.
    Trade(i64),
}

impl Truth {
    fn level(&self) -> i64 {
        self.ahead.iter().chain(&self.behind).sum()
    }

    fn front(&self) -> i64 {
        self.ahead.iter().sum()
    }

    /// Gives what of a trade went past everything ahead of us.
    fn apply(&mut self, event: Event) -> i64 {
        let orders = self.ahead.len() + self.behind.len();
        let mut passed = 0;
        match event {
            Event::Add(qty) => self.behind.push(qty),
            Event::Cancel(_, _) if orders == 0 => {}
            Event::Cancel(place, qty) => {
                let place = place * orders / 1_000;
                let order = match place.checked_sub(self.ahead.len()) {
                    None => &mut self.ahead[place],
                    Some(place) => &mut self.behind[place],
                };
                *order -= qty.min(*order);
            }
            Event::Trade(qty) => {
                let ahead = take(&mut self.ahead, qty);
                passed = qty - ahead;
                take(&mut self.behind, passed);
            }
        }
        self.ahead.retain(|order| *order > 0);
        self.behind.retain(|order| *order > 0);
        passed
    }
}

/// Takes from the front as much as there is.
fn take(orders: &mut [i64], qty: i64) -> i64 {
    let mut left = qty;
    for order in orders {
        let taken = left.min(*order);
        *order -= taken;
        left -= taken;
    }
    qty - left
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => (1_i64..50).prop_map(Event::Add),
        4 => (0_usize..1_000, 1_i64..50).prop_map(|(place, qty)| Event::Cancel(place, qty)),
        2 => (1_i64..30).prop_map(Event::Trade),
    ]
}

fn exponent() -> impl Strategy<Value = Exponent> {
    prop_oneof![
        (1_u8..6).prop_map(Exponent::whole),
        Just(Exponent::from_text("1.5").expect("a number")),
    ]
}

fn model() -> impl Strategy<Value = QueueModel> {
    prop_oneof![
        Just(QueueModel::RiskAverse),
        Just(QueueModel::Log),
        Just(QueueModel::Log2),
        Just(QueueModel::Square),
        exponent().prop_map(QueueModel::Power),
        exponent().prop_map(QueueModel::Power2),
        exponent().prop_map(QueueModel::Power3),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn the_interval_holds_the_true_position_when_every_change_is_told(
        model in model(),
        ahead in proptest::collection::vec(1_i64..50, 0..20),
        events in proptest::collection::vec(event(), 1..80),
    ) {
        let mut truth = Truth { ahead, behind: Vec::new() };
        let mut world = World::new(Rules { queue: model, ..REALISTIC });
        world.row(Side::Sell, 101, 1);
        world.row(Side::Buy, 100, truth.level());
        world.send(Side::Buy, 1_000_000, Some(100), TimeInForce::PostOnly);
        for event in events {
            let passed = truth.apply(event);
            // The trade is told before the change that it made.
            if let Event::Trade(qty) = event {
                world.trade(Side::Sell, 100, qty);
            }
            if passed > 0 {
                // Now it has truly traded.
                return Ok(());
            }
            world.row(Side::Buy, 100, truth.level());
            let first = world.venue.resting(ID).next();
            let queue = first.expect("larger than what trades").queue;
            let front = base_units(Qty(truth.front()), 2);
            prop_assert!(queue.optimistic <= front + 1e-9, "{queue:?} for {front}");
            prop_assert!(queue.pessimistic >= front - 1e-9, "{queue:?} for {front}");
            prop_assert!(queue.optimistic <= queue.estimate && queue.estimate <= queue.pessimistic);
        }
    }

    #[test]
    fn powers_are_as_near_as_integers_tell(x in 1_i64..90_000, n in 1_u8..4, negative in any::<bool>()) {
        let x = if negative { -x } else { x };
        let exact = i128::from(x).pow(u32::from(n));
        #[expect(clippy::cast_precision_loss, reason = "the nearest is what is compared")]
        let (got, want) = (power(x as f64, Exponent::whole(n)), exact as f64);
        prop_assert_eq!(got, want);
    }
}

const MODELS: [&str; 7] = [
    "risk_averse",
    "log",
    "log2",
    "square",
    "power3",
    "power2_3",
    "power3_3",
];
/// Orders that are followed from joining to their fill.
const ORDERS: usize = 2_000;
/// Changes of a level between two statements of it, where they are batched: 100 ms of a level that
/// changes a hundred times a second.
const BATCH: usize = 10;
/// Batches of the last table.
const BATCHES: [usize; 5] = [1, 2, 3, 5, BATCH];

#[derive(Clone, Copy, Default)]
struct Score {
    samples: f64,
    error: f64,
    absolute: f64,
    covered: f64,
    width: f64,
    early: f64,
    late: f64,
}

/// One model that follows one order.
#[derive(Clone, Copy)]
struct Follower {
    model: QueueModel,
    queue: Position,
    filled: bool,
}

fn random_event(rng: &mut Rng) -> Event {
    let size = i64::try_from(1 + rng.below(10)).expect("small");
    match rng.below(100) {
        0..36 => Event::Add(size),
        36..80 => Event::Cancel(usize::try_from(rng.below(1_000)).expect("small"), size),
        _ => Event::Trade(size),
    }
}

/// Follows one order until it is truly filled.
fn follow(rng: &mut Rng, batch: usize, scores: &mut [Score; MODELS.len()]) {
    let mut truth = Truth {
        ahead: (0..5 + rng.below(35))
            .map(|_| i64::try_from(1 + rng.below(10)).expect("small"))
            .collect(),
        behind: Vec::new(),
    };
    let mut shown = truth.level();
    let mut followers = MODELS.map(|name| Follower {
        model: QueueModel::from_name(name).expect(name),
        queue: Position::behind(base_units(Qty(shown), 0)),
        filled: false,
    });
    for step in 1.. {
        let event = random_event(rng);
        let passed = truth.apply(event);
        let level = truth.level();
        let stated = step % batch == 0;
        let front = base_units(Qty(truth.front()), 0);
        for (follower, score) in followers.iter_mut().zip(&mut *scores) {
            if let Event::Trade(qty) = event
                && !follower.filled
            {
                let volume = base_units(Qty(qty), 0);
                follower.queue.trade(volume, volume);
                follower.queue.bound();
                follower.filled = follower.queue.passed(1.0) > 0;
                follower.queue.bound();
                score.early += f64::from(u8::from(follower.filled && passed == 0));
                score.late += f64::from(u8::from(!follower.filled && passed > 0));
            }
            if !stated || passed > 0 || follower.filled {
                continue;
            }
            let (before, after) = (base_units(Qty(shown), 0), base_units(Qty(level), 0));
            follower.queue.level(follower.model, before, after);
            follower.queue.bound();
            let queue = follower.queue;
            let covered = queue.optimistic <= front && front <= queue.pessimistic;
            score.samples += 1.0;
            score.error += queue.estimate - front;
            score.absolute += (queue.estimate - front).abs();
            score.covered += f64::from(u8::from(covered));
            score.width += queue.pessimistic - queue.optimistic;
        }
        if passed > 0 {
            return;
        }
        if stated {
            shown = level;
        }
    }
}

/// Every model on the same orders, with the level stated once for so many changes.
fn scores(batch: usize) -> [Score; MODELS.len()] {
    let mut rng = Rng::new(20, 26);
    let mut scores = [Score::default(); MODELS.len()];
    for _ in 0..ORDERS {
        follow(&mut rng, batch, &mut scores);
    }
    scores
}

/// A table as in `docs/EXECUTION.md`.
fn table<'a>(name: &str, rows: impl Iterator<Item = (&'a str, Score)>) -> String {
    let mut table = format!(
        "| {name} | Bias | MAE | In the interval | Width | Filled early | Filled late |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for (name, score) in rows {
        let mean = |sum: f64| sum / score.samples;
        let share = |sum: f64| 100.0 * sum / 2_000.0;
        table += &format!(
            "| `{name}` | {:+.2} | {:.2} | {:.1} % | {:.2} | {:.1} % | {:.1} % |\n",
            mean(score.error),
            mean(score.absolute),
            100.0 * mean(score.covered),
            mean(score.width),
            share(score.early),
            share(score.late),
        );
    }
    table
}

#[test]
fn the_calibration_in_the_documentation_is_what_the_models_give() {
    let page = include_str!("../../../../docs/EXECUTION.md");
    let every = scores(1);
    assert!(every.iter().all(|score| score.covered >= score.samples));
    let of = |scores: [Score; MODELS.len()]| table("Model", MODELS.into_iter().zip(scores));
    let power3 = MODELS
        .iter()
        .position(|name| *name == "power3")
        .expect("listed");
    let names = ["1", "2", "3", "5", "10"];
    let batches = BATCHES.map(|batch| scores(batch)[power3]);
    for table in [
        of(every),
        of(scores(BATCH)),
        table("Changes a statement", names.into_iter().zip(batches)),
    ] {
        assert!(page.contains(&table), "docs/EXECUTION.md lacks\n{table}");
    }
}
