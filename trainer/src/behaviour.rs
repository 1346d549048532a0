//! Policies that are replayed over history, and what every action would have earned.
//!
//! A small trader does not move the market, so that one recorded path tells what *any* action would have earned.
//! A policy is laid out over an unbroken [`Stretch`] as a plan: at each step a position to take, or to keep the
//! one there is. From the plan follow the actions that it takes, and for each step and class the
//! return-to-go of taking that class now and following the plan from the next step on ([`Behaviour::replay`]).
//!
//! A return-to-go is the reward ([`tickerml_shared::reward`]) of the next [`Terms::horizon`] steps, at whose end the
//! position is closed at cost: a position is worth what is left after leaving it. It is counted along each course
//! by itself, since a drawdown depends on the whole way; that is `horizon` operations a step and class.
//!
//! An action means what it means on the edge: it moves the position towards its own side only. Buying less than
//! what is held changes nothing; a sale closes a long position at least. An order fills at the touch of the pulse
//! at which it is decided. Positions are shares of equity, from -1 (all short) to 1 (all long).

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use tickerml_shared::action::{CHOICES, Choice};
use tickerml_shared::rand::Rng;
use tickerml_shared::reward::Course;

use crate::corpus::Episode;
use crate::series::{MarketRow, Series};

/// Classes of actions.
pub const CLASSES: usize = CHOICES.len();
/// Of the steps at which a policy keeps its position, the share at which it says so again (buys while it
/// is long); at the others it holds. So a model learns both, and sees what is held in most steps.
const RESTATED: f64 = 0.75;
/// Features that the imbalance policy reads and their weights, as the edge's baseline does.
const PRESSURE: [(&str, f32); 3] = [
    ("book_imbalance_5", 0.5),
    ("book_imbalance_1", 0.2),
    ("trade_flow_10s", 0.3),
];
/// Pressure at which the imbalance policy acts.
const PRESSED: f32 = 0.35;
/// Longest horizon, in steps: it bounds the time that a replay takes.
pub const HORIZON_MAX: usize = 4_096;

/// Why terms or policies make no sense: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermsError(String);

impl fmt::Display for TermsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TermsError {}

/// On what terms is traded, how far returns look ahead, and who is replayed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    /// Paid for each unit of value traded, as a fraction (0.001 is ten basis points).
    pub taker_fee: f64,
    /// Paid besides for each unit of value traded, per share of equity that the trade moves.
    pub impact: f64,
    /// Whether a sale may go short; else it closes.
    pub shorting: bool,
    /// What a full position must earn over a horizon to be worth its while, as a fraction; taken off every
    /// return-to-go in proportion to what is held and for how long. It keeps a learner from holding on noise.
    pub hurdle: f64,
    /// Share of steps at which any class of action is taken, each as likely, instead of what the policy would do; it
    /// goes on from there. Without it a model learns that actions repeat themselves, and not what they are worth.
    pub explore: f64,
    /// Steps that a return-to-go looks ahead (H).
    pub horizon: usize,
    /// The policies that are replayed, each over every stretch.
    pub policies: Vec<Behaviour>,
}

impl Terms {
    /// Spot trading at a fee, with the policies that suit the horizon.
    #[must_use]
    pub fn spot(taker_fee: f64, horizon: usize) -> Self {
        Self {
            taker_fee,
            impact: 0.0,
            shorting: false,
            hurdle: 0.0,
            explore: 0.5,
            horizon,
            policies: Behaviour::usual(horizon),
        }
    }

    /// What is wrong with these terms.
    ///
    /// # Errors
    /// When a cost is negative or not a number, the horizon is out of bounds, or a policy cannot act.
    pub fn check(&self) -> Result<(), TermsError> {
        for (name, cost) in [
            ("taker_fee", self.taker_fee),
            ("impact", self.impact),
            ("hurdle", self.hurdle),
        ] {
            if !(0.0..0.5).contains(&cost) {
                return Err(TermsError(format!(
                    "terms.{name} = {cost} is no share of a trade; write one from 0 to 0.5"
                )));
            }
        }
        if !(0.0..=1.0).contains(&self.explore) {
            return Err(TermsError(format!(
                "terms.explore = {} is no share of steps; write one from 0 to 1",
                self.explore
            )));
        }
        if !(1..=HORIZON_MAX).contains(&self.horizon) {
            return Err(TermsError(format!(
                "terms.horizon = {} steps; write 1 to {HORIZON_MAX}",
                self.horizon
            )));
        }
        if self.policies.is_empty() {
            return Err(TermsError(
                "terms.policies is empty; name at least one policy to replay".to_owned(),
            ));
        }
        self.policies.iter().try_for_each(Behaviour::check)
    }

    /// What it costs to change the position by `change` at a step of that half spread, as a share of equity.
    #[must_use]
    pub fn cost(&self, half_spread: f64, change: f64) -> f64 {
        let traded = change.abs();
        traded * (self.taker_fee + half_spread + self.impact * traded)
    }

    /// The position after an action of a class and a size, as the edge trades it.
    #[must_use]
    pub fn moved(&self, position: f32, class: usize, size: f32) -> f32 {
        match CHOICES[class] {
            Choice::Hold => position,
            Choice::Buy => position.max(size),
            Choice::Sell if self.shorting => position.min(-size),
            Choice::Sell => 0.0,
        }
    }

    /// The class and the size (NaN to hold) that bring a position of -1, 0 or 1 to such a target.
    fn toward(&self, position: i8, target: i8) -> (usize, f32) {
        match (target, position) {
            (1, _) => (BUY, 1.0),
            (-1, _) => (SELL, 1.0),
            _ if !self.shorting => (SELL, 1.0),
            (_, 1) => (SELL, 0.0),
            (_, -1) => (BUY, 0.0),
            _ => (HOLD, f32::NAN),
        }
    }

    /// The side of a falling market: short, or flat.
    fn bearish(&self) -> i8 {
        if self.shorting { -1 } else { 0 }
    }
}

/// Place of [`Choice::Sell`] in [`CHOICES`].
pub const SELL: usize = 0;
/// Place of [`Choice::Hold`] in [`CHOICES`].
pub const HOLD: usize = 1;
/// Place of [`Choice::Buy`] in [`CHOICES`].
pub const BUY: usize = 2;

/// Steps without a hole and without a masked one: one row a pulse, each with a bid and an ask.
#[derive(Clone, Debug)]
pub struct Stretch<'a> {
    /// Its rows.
    pub rows: &'a [MarketRow],
    /// Between bid and ask.
    mid: Vec<f64>,
}

impl<'a> Stretch<'a> {
    /// The stretches of a series that have at least so many steps.
    #[must_use]
    pub fn all(series: &'a Series, shortest: usize) -> Vec<Self> {
        let runs = unbroken(series).into_iter();
        runs.filter(|run| run.len() >= shortest.max(1))
            .map(|run| {
                let rows = &series.rows[run];
                let mid = rows.iter().map(|row| f64::midpoint(row.bid, row.ask));
                Self {
                    rows,
                    mid: mid.collect(),
                }
            })
            .collect()
    }

    /// How many steps.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never: a stretch has a step at least.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Change of the mid price from a step to the next one, as a fraction; zero at the last.
    #[must_use]
    pub fn change(&self, step: usize) -> f64 {
        match self.mid.get(step + 1) {
            Some(next) => next / self.mid[step] - 1.0,
            None => 0.0,
        }
    }

    /// Half the spread of a step, as a fraction of the mid price.
    #[must_use]
    pub fn half_spread(&self, step: usize) -> f64 {
        (self.rows[step].ask - self.mid[step]) / self.mid[step]
    }

    /// Log return of the mid price over the `steps` before a step; none before they have passed.
    pub(crate) fn past(&self, step: usize, steps: usize) -> Option<f64> {
        let from = step.checked_sub(steps)?;
        Some((self.mid[step] / self.mid[from]).ln())
    }
}

/// Ranges of rows that follow one another pulse by pulse, none of them masked or without prices.
fn unbroken(series: &Series) -> Vec<Range<usize>> {
    let usable = |row: &MarketRow| !row.masked && row.bid > 0.0 && row.ask >= row.bid;
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (index, row) in series.rows.iter().enumerate() {
        if !usable(row) {
            continue;
        }
        match runs.last_mut() {
            Some(run)
                if run.end == index
                    && row.at.0.saturating_sub(series.rows[index - 1].at.0) == series.pulse_ns =>
            {
                run.end = index + 1;
            }
            _ => runs.push(index..index + 1),
        }
    }
    runs
}

/// A policy that is replayed over history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Behaviour {
    /// Takes a random position once in `patience` steps on average, and keeps it until then.
    Random {
        /// Mean steps that a position is kept.
        patience: usize,
    },
    /// Never holds anything.
    Flat,
    /// Is long from the first step on.
    BuyAndHold,
    /// Goes with the return of the last `steps` steps when it exceeds what a round trip costs.
    Momentum {
        /// Steps over which the return is taken.
        steps: usize,
    },
    /// Goes against it.
    MeanReversion {
        /// Steps over which the return is taken.
        steps: usize,
    },
    /// Goes with the pressure of book and trades; keeps its position while the features are unknown.
    Imbalance,
    /// The best course over the future mid prices after costs, but each of its trades is replaced by a
    /// random one with the probability `flipped`.
    Hindsight {
        /// Share of trades replaced.
        flipped: f64,
    },
    /// Another policy, of whose steps the share `epsilon` is replaced by random positions.
    Mixed {
        /// Share of steps replaced.
        epsilon: f64,
        /// The policy.
        of: Box<Self>,
    },
}

impl Behaviour {
    /// All kinds, with spans that suit a horizon of so many steps.
    #[must_use]
    pub fn usual(horizon: usize) -> Vec<Self> {
        let short = (horizon / 4).max(1);
        let noisy = |of: Self| Self::Mixed {
            epsilon: 1.0 / (2 * horizon.max(1)) as f64,
            of: Box::new(of),
        };
        vec![
            Self::Random {
                patience: (horizon / 2).max(1),
            },
            Self::Random {
                patience: 2 * horizon,
            },
            Self::Flat,
            Self::BuyAndHold,
            noisy(Self::Flat),
            noisy(Self::BuyAndHold),
            Self::Momentum { steps: short },
            noisy(Self::Momentum { steps: horizon }),
            Self::MeanReversion { steps: short },
            noisy(Self::MeanReversion { steps: horizon }),
            noisy(Self::Imbalance),
            Self::Hindsight { flipped: 0.3 },
        ]
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Random { patience } => format!("random {patience}"),
            Self::Flat => "flat".to_owned(),
            Self::BuyAndHold => "buy-and-hold".to_owned(),
            Self::Momentum { steps } => format!("momentum {steps}"),
            Self::MeanReversion { steps } => format!("mean-reversion {steps}"),
            Self::Imbalance => "imbalance".to_owned(),
            Self::Hindsight { flipped } => format!("hindsight flipped {flipped}"),
            Self::Mixed { epsilon, of } => format!("{} mixed {epsilon:.4}", of.name()),
        }
    }

    fn check(&self) -> Result<(), TermsError> {
        let share = |name: &str, value: f64| {
            if (0.0..=1.0).contains(&value) {
                return Ok(());
            }
            Err(TermsError(format!(
                "{}: {name} = {value} is no share; write one from 0 to 1",
                self.name()
            )))
        };
        match self {
            Self::Random { patience: 0 } | Self::Momentum { steps: 0 } => Err(TermsError(format!(
                "{}: 0 steps are no time; write at least 1",
                self.name()
            ))),
            Self::MeanReversion { steps: 0 } => Err(TermsError(
                "mean-reversion: 0 steps are no time; write at least 1".to_owned(),
            )),
            Self::Hindsight { flipped } => share("flipped", *flipped),
            Self::Mixed { epsilon, of } => {
                share("epsilon", *epsilon)?;
                of.check()
            }
            _ => Ok(()),
        }
    }

    /// Its plan over a stretch: at each step the position to take (-1, 0, 1), or none to keep what is held.
    #[must_use]
    pub fn plan(&self, stretch: &Stretch<'_>, terms: &Terms, rng: &mut Rng) -> Vec<Option<i8>> {
        let steps = stretch.len();
        let mut plan = vec![None; steps];
        match self {
            Self::Random { patience } => {
                for (step, place) in plan.iter_mut().enumerate() {
                    if step == 0 || rng.below(*patience as u64) == 0 {
                        *place = Some(any(terms, rng));
                    }
                }
            }
            Self::Flat => plan[0] = Some(0),
            Self::BuyAndHold => plan[0] = Some(1),
            Self::Momentum { steps } => trend(&mut plan, stretch, terms, *steps, 1),
            Self::MeanReversion { steps } => trend(&mut plan, stretch, terms, *steps, -1),
            Self::Imbalance => {
                for (step, place) in plan.iter_mut().enumerate() {
                    *place = match pressure(&stretch.rows[step]) {
                        Some(pressure) if pressure > PRESSED => Some(1),
                        Some(pressure) if pressure < -PRESSED => Some(terms.bearish()),
                        _ => None,
                    };
                }
            }
            Self::Hindsight { flipped } => {
                plan = best(stretch, terms);
                for place in plan.iter_mut().filter(|place| place.is_some()) {
                    if share(rng) < *flipped {
                        *place = Some(any(terms, rng));
                    }
                }
            }
            Self::Mixed { epsilon, of } => {
                plan = of.plan(stretch, terms, rng);
                for place in &mut plan {
                    if share(rng) < *epsilon {
                        *place = Some(any(terms, rng));
                    }
                }
            }
        }
        plan
    }

    /// Replays it over a stretch, flat at first: `len − horizon` steps, those whose returns are known. The episode
    /// is one of the path of that index. Risk is the deepest drawdown `d` within the horizon, as
    /// `d / (d + unit)`.
    ///
    /// An action that is not taken is priced at its full size.
    #[must_use]
    pub fn replay(
        &self,
        stretch: &Stretch<'_>,
        path: usize,
        terms: &Terms,
        unit: f64,
        rng: &mut Rng,
    ) -> Episode {
        let plan = self.plan(stretch, terms, rng);
        let steps = stretch.len().saturating_sub(terms.horizon);
        let mut episode = Episode {
            path,
            first: 0,
            actions: Vec::with_capacity(steps),
            sizes: Vec::with_capacity(steps),
            returns: Vec::with_capacity(steps),
            risks: Vec::with_capacity(steps),
            values: Vec::with_capacity(steps * CLASSES),
        };
        let mut position = 0_i8;
        for step in 0..steps {
            let planned = plan[step].unwrap_or(position);
            let (class, size, target) = if share(rng) < terms.explore {
                let class = usize::try_from(rng.below(CLASSES as u64)).expect("below three");
                let size = if class == HOLD { f32::NAN } else { 1.0 };
                (class, size, full(terms, position, class))
            } else if plan[step].is_some() || share(rng) < RESTATED {
                let (class, size) = terms.toward(position, planned);
                (class, size, planned)
            } else {
                (HOLD, f32::NAN, planned)
            };
            let courses = courses(stretch, &plan, terms, step, position, target);
            for other in 0..CLASSES {
                let to = if other == class {
                    target
                } else {
                    full(terms, position, other)
                };
                episode
                    .values
                    .push(narrow(courses[place_of(to)].map(|lived| lived.earned)));
            }
            let lived = courses[place_of(target)];
            let fall = lived.map(|lived| lived.fall / (lived.fall + unit).max(f64::MIN_POSITIVE));
            episode
                .actions
                .push(u8::try_from(class).expect("a handful of classes"));
            episode.sizes.push(size);
            episode
                .returns
                .push(narrow(lived.map(|lived| lived.earned)));
            episode.risks.push(narrow(fall));
            position = target;
        }
        episode
    }

    /// The positions that it holds over a stretch from each step to the next, flat before the first.
    #[must_use]
    pub fn positions(&self, stretch: &Stretch<'_>, terms: &Terms, rng: &mut Rng) -> Vec<f32> {
        let mut position = 0;
        let plan = self.plan(stretch, terms, rng).into_iter();
        plan.map(|place| {
            position = place.unwrap_or(position);
            f32::from(position)
        })
        .collect()
    }
}

/// The position of -1, 0 or 1 that a class leads to at full size.
fn full(terms: &Terms, position: i8, class: usize) -> i8 {
    match CHOICES[class] {
        Choice::Hold => position,
        Choice::Buy => 1,
        Choice::Sell => terms.bearish(),
    }
}

const fn place_of(position: i8) -> usize {
    (position + 1).cast_unsigned() as usize
}

/// What comes of a course.
#[derive(Clone, Copy, Debug)]
struct Lived {
    /// Its rewards, less the hurdle.
    earned: f64,
    /// Its deepest drawdown.
    fall: f64,
}

/// For each position -1, 0, 1 that can be reached at a step: the course of taking it there and following the plan
/// from the next step on, closed at the horizon.
fn courses(
    stretch: &Stretch<'_>,
    plan: &[Option<i8>],
    terms: &Terms,
    step: usize,
    position: i8,
    target: i8,
) -> [Option<Lived>; 3] {
    let mut all = [None; 3];
    for to in [target, position, 1, terms.bearish()] {
        let slot = &mut all[place_of(to)];
        if slot.is_some() {
            continue;
        }
        let (mut course, mut held, mut next) = (Course::default(), position, to);
        let mut exposed = 0.0;
        let end = step + terms.horizon;
        for (at, place) in plan.iter().enumerate().take(end).skip(step) {
            if at > step {
                next = place.unwrap_or(held);
            }
            let paid = match f64::from(next - held) {
                0.0 => 0.0,
                change => terms.cost(stretch.half_spread(at), change),
            };
            held = next;
            exposed += f64::from(held.abs());
            if held != 0 || paid > 0.0 {
                course.step(f64::from(held), stretch.change(at), paid);
            }
        }
        let paid = terms.cost(stretch.half_spread(end), f64::from(held));
        course.step(0.0, 0.0, paid);
        *slot = Some(Lived {
            earned: course.total() - terms.hurdle * exposed / terms.horizon as f64,
            fall: course.worst,
        });
    }
    all
}

/// A position at random, of those that are allowed.
fn any(terms: &Terms, rng: &mut Rng) -> i8 {
    let choices: &[i8] = if terms.shorting { &[-1, 0, 1] } else { &[0, 1] };
    choices[usize::try_from(rng.below(choices.len() as u64)).expect("below three")]
}

/// Fills a plan with the side of the past return, times `sign`, where it exceeds the cost of a round trip.
fn trend(plan: &mut [Option<i8>], stretch: &Stretch<'_>, terms: &Terms, steps: usize, sign: i8) {
    let mut last = None;
    for (step, place) in plan.iter_mut().enumerate() {
        let trip = 2.0 * terms.cost(stretch.half_spread(step), 1.0);
        let wanted = match stretch.past(step, steps) {
            Some(past) if past * f64::from(sign) > trip => Some(1),
            Some(past) if past * f64::from(sign) < -trip => Some(terms.bearish()),
            _ => None,
        };
        // Said once: what is done in between by chance stays until the side changes.
        if wanted.is_some() && wanted != last {
            (*place, last) = (wanted, wanted);
        }
    }
}

/// Weighted imbalance of book and trades; none while one of them is unknown.
fn pressure(row: &MarketRow) -> Option<f32> {
    let parts = PRESSURE.iter();
    parts
        .map(|(name, weight)| Some(row.state.named(name)? * weight))
        .sum()
}

/// The plan that earns most over the future mid prices after costs, by dynamic programming backwards in time;
/// only its trades are named. It starts and ends flat.
fn best(stretch: &Stretch<'_>, terms: &Terms) -> Vec<Option<i8>> {
    let steps = stretch.len();
    let lowest = terms.bearish();
    let mut choice = vec![[0_i8; 3]; steps];
    let mut later = [0.0_f64; 3];
    for held in [-1_i8, 0, 1] {
        later[place_of(held)] = -terms.cost(stretch.half_spread(steps - 1), f64::from(held));
    }
    for step in (0..steps).rev() {
        let (change, half_spread) = (stretch.change(step), stretch.half_spread(step));
        let mut now = [f64::NEG_INFINITY; 3];
        for held in [-1_i8, 0, 1] {
            // Keeping comes first, so that a tie does not trade.
            for to in [held, 0, 1, lowest] {
                let paid = terms.cost(half_spread, f64::from(to - held));
                let grown = (1.0 + f64::from(to) * change - paid).max(f64::MIN_POSITIVE);
                let worth = grown.ln() + later[place_of(to)];
                if worth > now[place_of(held)] {
                    now[place_of(held)] = worth;
                    choice[step][place_of(held)] = to;
                }
            }
        }
        later = now;
    }
    let mut held = 0;
    let follow = choice.iter().map(|choices| {
        let to = choices[place_of(held)];
        let traded = to != held;
        held = to;
        traded.then_some(to)
    });
    follow.collect()
}

/// Uniform in `[0, 1)`.
fn share(rng: &mut Rng) -> f64 {
    f64::from(rng.next_u32()) / 4_294_967_296.0
}

#[expect(clippy::cast_possible_truncation, reason = "labels are f32")]
fn narrow(value: Option<f64>) -> f32 {
    value.map_or(f32::NAN, |value| value as f32)
}

#[cfg(test)]
mod tests;
