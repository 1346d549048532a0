//! What to try next: a function of the search and the trials before, nothing else.

use std::collections::BTreeSet;

use tickerml_shared::rand::Rng;

use super::{Method, Range, Record, Search, Trial, Value, Values, stream};
use crate::statistics::{normal_cdf, normal_quantile};

/// Share of the trials whose density is sampled (γ of Bergstra et al.).
const GOOD_SHARE: f64 = 0.1;
/// At most so many trials are good ones.
const GOOD_MAX: usize = 25;

/// Purposes of a configuration's random streams.
const DRAW: u64 = 0;
const PROPOSE: u64 = 1;
const SEED: u64 = 2;

/// The trials that run at once after these records; empty when the search is over.
pub(super) fn wave(search: &Search, records: &[Record]) -> Vec<Trial> {
    let started = records.iter().filter(|record| record.rung == 0).count();
    let budgets = search.budgets();
    let mut promoted: BTreeSet<(usize, usize)> = records
        .iter()
        .filter(|record| record.rung > 0)
        .map(|record| (record.rung - 1, record.configuration))
        .collect();
    let mut next = started;
    let mut wave = Vec::new();
    for worker in 0..search.workers {
        let (configuration, values, rung) =
            if let Some(record) = promotable(search, records, &promoted) {
                promoted.insert((record.rung, record.configuration));
                (record.configuration, record.values.clone(), record.rung + 1)
            } else if next < search.configurations {
                next += 1;
                (next - 1, values(search, records, next - 1), 0)
            } else {
                break;
            };
        wave.push(Trial {
            configuration,
            values,
            rung,
            budget: budgets[rung],
            seed: stream(search.seed, configuration, SEED).next_u64(),
            worker,
        });
    }
    wave
}

/// The best trial of the highest rung that belongs to its best `1 / reduction` and has not gone on yet.
fn promotable<'a>(
    search: &Search,
    records: &'a [Record],
    promoted: &BTreeSet<(usize, usize)>,
) -> Option<&'a Record> {
    let Method::Asha { reduction, .. } = search.method else {
        return None;
    };
    let rungs = search.budgets().len();
    (0..rungs - 1).rev().find_map(|rung| {
        let mut on: Vec<&Record> = records.iter().filter(|one| one.rung == rung).collect();
        let many = on.len() / reduction as usize;
        on.sort_by(|a, b| order(b, a));
        on.into_iter()
            .take(many)
            .find(|one| one.score.is_some() && !promoted.contains(&(rung, one.configuration)))
    })
}

/// By score, failures first; equal scores by age, so that the order is total.
fn order(a: &Record, b: &Record) -> std::cmp::Ordering {
    let score = |one: &Record| one.score.unwrap_or(f64::NEG_INFINITY);
    score(a)
        .total_cmp(&score(b))
        .then(b.configuration.cmp(&a.configuration))
}

/// The values of a new configuration.
fn values(search: &Search, records: &[Record], configuration: usize) -> Values {
    match search.method {
        Method::Tpe {
            startup,
            candidates,
        } if configuration >= startup && records.len() >= 2 => {
            let mut rng = stream(search.seed, configuration, PROPOSE);
            tpe(search, records, candidates, &mut rng)
        }
        _ => {
            let mut rng = stream(search.seed, configuration, DRAW);
            let draw =
                |(name, range): (&String, &Range)| (name.clone(), place(range, share(&mut rng)));
            search.space.iter().map(draw).collect()
        }
    }
}

/// Uniform in `[0, 1)`, with 53 bits.
#[expect(clippy::cast_precision_loss, reason = "53 bits fit into a float")]
fn share(rng: &mut Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// The value at a place of a range, the place in `[0, 1)`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a place below a count"
)]
fn place(range: &Range, at: f64) -> Value {
    match range {
        Range::Uniform { low, high } => Value::Number((low + at * (high - low)).min(*high)),
        Range::LogUniform { low, high } => {
            let (from, to) = (low.ln(), high.ln());
            Value::Number((from + at * (to - from)).exp().clamp(*low, *high))
        }
        Range::Int { low, high } => {
            let count = f64::from(*high) - f64::from(*low) + 1.0;
            let value = f64::from(*low) + (at * count).floor();
            Value::Int((value as i32).min(*high))
        }
        Range::Choice { of } => {
            let index = (at * of.len() as f64) as usize;
            Value::Word(of[index.min(of.len() - 1)].clone())
        }
    }
}

/// The place of a value in its range, in `[0, 1]`: the inverse of [`place`], up to the width of a whole number.
fn placed(range: &Range, value: &Value) -> f64 {
    match (range, value) {
        (Range::Uniform { low, high }, Value::Number(value)) => (value - low) / (high - low),
        (Range::LogUniform { low, high }, Value::Number(value)) => {
            (value.ln() - low.ln()) / (high.ln() - low.ln())
        }
        (Range::Int { low, high }, Value::Int(value)) => {
            let count = f64::from(*high) - f64::from(*low) + 1.0;
            (f64::from(*value) - f64::from(*low) + 0.5) / count
        }
        _ => 0.5,
    }
}

/// Of some candidates from the density of the good trials, the one whose ratio to that of the bad ones is best.
fn tpe(search: &Search, records: &[Record], candidates: usize, rng: &mut Rng) -> Values {
    let mut sorted: Vec<&Record> = records.iter().collect();
    sorted.sort_by(|a, b| order(b, a));
    let (good, bad) = sorted.split_at(good_count(records.len()));
    let mut values = Values::new();
    // Parameters are judged one by one: the space is a product.
    for (name, range) in &search.space {
        let seen = |of: &[&Record]| -> Vec<Value> {
            of.iter()
                .filter_map(|one| one.values.get(name).cloned())
                .collect()
        };
        let (above, below) = (
            Density::of(range, &seen(good)),
            Density::of(range, &seen(bad)),
        );
        let mut best: Option<(f64, Value)> = None;
        for _ in 0..candidates {
            let value = above.draw(range, rng);
            let ratio = above.log(range, &value) - below.log(range, &value);
            if best.as_ref().is_none_or(|(most, _)| ratio > *most) {
                best = Some((ratio, value));
            }
        }
        if let Some((_, value)) = best {
            values.insert(name.clone(), value);
        }
    }
    values
}

/// How many of so many trials are good ones.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a count"
)]
fn good_count(trials: usize) -> usize {
    ((trials as f64 * GOOD_SHARE).ceil() as usize).clamp(1, GOOD_MAX)
}

/// A Parzen estimate of one parameter's density.
enum Density {
    /// A mixture of equal truncated normal kernels over places: centre, width, and the mass within `[0, 1]`.
    Kernels(Vec<Kernel>),
    /// Probabilities of words.
    Words(Vec<f64>),
}

struct Kernel {
    centre: f64,
    width: f64,
    /// Share of the untruncated kernel below 0, and below 1.
    from: f64,
    to: f64,
}

impl Kernel {
    fn new(centre: f64, width: f64) -> Self {
        Self {
            centre,
            width,
            from: normal_cdf(-centre / width),
            to: normal_cdf((1.0 - centre) / width),
        }
    }

    /// Its density at a place, without the constant `1 / √2π` that all kernels share.
    fn at(&self, place: f64) -> f64 {
        let z = (place - self.centre) / self.width;
        (-0.5 * z * z).exp() / (self.width * (self.to - self.from))
    }
}

impl Density {
    #[expect(clippy::cast_precision_loss, reason = "counts stay small")]
    fn of(range: &Range, seen: &[Value]) -> Self {
        if let Range::Choice { of } = range {
            // One more than seen of each: no word ever becomes impossible.
            let total = (seen.len() + of.len()) as f64;
            let count = |word: &String| {
                seen.iter()
                    .filter(|value| matches!(value, Value::Word(one) if one == word))
                    .count()
            };
            return Self::Words(
                of.iter()
                    .map(|word| (count(word) + 1) as f64 / total)
                    .collect(),
            );
        }
        let mut centres: Vec<f64> = seen.iter().map(|value| placed(range, value)).collect();
        centres.sort_by(f64::total_cmp);
        // The prior: a wide kernel in the middle, so that no place ever becomes impossible.
        let mut kernels = vec![Kernel::new(0.5, 1.0)];
        let narrowest = 1.0 / (centres.len() as f64 + 1.0).min(100.0);
        for (at, centre) in centres.iter().enumerate() {
            // As wide as the farther neighbour is away (Bergstra et al.), a bound counting as one.
            let left = if at == 0 { 0.0 } else { centres[at - 1] };
            let right = centres.get(at + 1).copied().unwrap_or(1.0);
            let width = (centre - left).max(right - centre).clamp(narrowest, 1.0);
            kernels.push(Kernel::new(*centre, width));
        }
        Self::Kernels(kernels)
    }

    fn draw(&self, range: &Range, rng: &mut Rng) -> Value {
        match self {
            Self::Words(shares) => {
                let mut rest = share(rng);
                let found = shares.iter().position(|share| {
                    rest -= share;
                    rest < 0.0
                });
                match range {
                    Range::Choice { of } => Value::Word(of[found.unwrap_or(of.len() - 1)].clone()),
                    _ => place(range, 0.5),
                }
            }
            Self::Kernels(kernels) => {
                let many = kernels.len() as u64;
                let index = usize::try_from(rng.below(many)).unwrap_or(0);
                let kernel = &kernels[index.min(kernels.len() - 1)];
                let within = kernel.from + share(rng) * (kernel.to - kernel.from);
                let drawn = kernel.centre + kernel.width * normal_quantile(within);
                place(range, drawn.clamp(0.0, 1.0))
            }
        }
    }

    /// The logarithm of the density at a value, up to a constant that both densities share.
    #[expect(clippy::cast_precision_loss, reason = "counts stay small")]
    fn log(&self, range: &Range, value: &Value) -> f64 {
        match (self, range, value) {
            (Self::Words(shares), Range::Choice { of }, Value::Word(word)) => of
                .iter()
                .position(|one| one == word)
                .map_or(f64::NEG_INFINITY, |index| shares[index].ln()),
            (Self::Kernels(kernels), _, _) => {
                let at = placed(range, value);
                let sum: f64 = kernels.iter().map(|kernel| kernel.at(at)).sum();
                (sum / kernels.len() as f64).ln()
            }
            _ => f64::NEG_INFINITY,
        }
    }
}
