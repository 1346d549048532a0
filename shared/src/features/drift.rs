//! Whether the model still sees what it was trained on.
//!
//! A [`Reference`] says how each feature was distributed in training; a [`Drift`] per instrument
//! compares with it what the model is shown now, feature by feature of the selection. The same steps
//! with the same reference always give the same result, to the bit.
//!
//! It is no state of the engine: the shell feeds it with the market steps that the engine gives out
//! ([`crate::engine::Output::Step`]), so that a fingerprint of the engine does not depend on which
//! reference lay on a disk, and a replay with another one needs nothing of the journal. Steps that must
//! not be learned from (`masked`) are left out here and in the reference alike. Without a reference all
//! is [`Level::Unknown`], never stable.

mod reference;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{SELECTED, SELECTION};
use crate::time::Time;
use crate::trajectory::MarketStep;

pub use reference::{
    BINS, Reference, ReferenceBuilder, ReferenceError, SAMPLES_MAX, Statistics, VALUES_LEAST,
};

/// Updates after which a feature is judged again, and of which the mean is taken.
pub const BLOCK: u32 = 100;
/// Blocks of which a distribution is made.
const BLOCKS: usize = 10;
/// Updates of which a distribution is made.
pub const WINDOW: u32 = BLOCK * BLOCKS as u32;
/// A mean of [`BLOCK`] values further from the reference's than so many of the reference's standard
/// deviations has drifted.
///
/// It is in units of the deviation of one value, not of the mean's standard error (a tenth of it, were
/// values independent): they are not independent, for windows overlap and moods last, so the standard
/// error is not known, and a change that no single value would show is nothing to a model.
pub const MEAN_DEVIATIONS: f64 = 2.0;
/// Known values without which a block has no mean.
pub const KNOWN_LEAST: u32 = BLOCK / 2;
/// A population stability index from which on a feature is watched,
pub const INDEX_WATCH: f64 = 0.1;
/// and from which on it has drifted.
pub const INDEX_DRIFTED: f64 = 0.25;
/// The share that an empty bin counts as in the index, whose logarithm has none.
pub const SHARE_LEAST: f64 = 1e-4;
/// A Kolmogorov-Smirnov distance from which on a feature is watched, when it is significant,
pub const DISTANCE_WATCH: f64 = 0.1;
/// and from which on it has drifted.
pub const DISTANCE_DRIFTED: f64 = 0.25;
/// `√(-ln(α/2)/2)` for a significance of α = 0.001.
pub const DISTANCE_CRITICAL: f64 = 1.949_474_603_504_345;
/// A share of missing values that much above the reference's is watched,
pub const MISSING_WATCH: f64 = 0.1;
/// and this much above it has drifted.
pub const MISSING_DRIFTED: f64 = 0.25;
/// A feature is constant after so many times the longest run of equal values in the reference, and
/// never before [`BLOCK`] updates.
pub const RUN_MULTIPLE: u64 = 2;
/// All has drifted when more than this share of the judged features has,
pub const OVERALL_ENTER_PERCENT: u64 = 25;
/// until no more than this share has.
pub const OVERALL_LEAVE_PERCENT: u64 = 15;
/// All is watched when more than this share is watched or has drifted.
pub const OVERALL_WATCH_PERCENT: u64 = 25;

/// How far something is from its reference.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Level {
    /// There is no reference, or too little was seen.
    #[default]
    Unknown,
    /// As in training.
    Stable,
    /// Not quite.
    Watch,
    /// Elsewhere.
    Drifted,
}

impl Level {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Stable => "stable",
            Self::Watch => "watch",
            Self::Drifted => "drifted",
        }
    }
}

/// What tells that a feature drifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Why {
    /// It is not known any more.
    Missing,
    /// It does not change any more.
    Constant,
    /// Its mean is away.
    Mean,
    /// The population stability index.
    Index,
    /// The Kolmogorov-Smirnov distance.
    Distance,
}

impl Why {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Constant => "constant",
            Self::Mean => "mean",
            Self::Index => "psi",
            Self::Distance => "ks",
        }
    }
}

/// What a feature's newest judgement was made of; `None` where there was too little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// The mean of the last [`BLOCK`] updates, in the reference's standard deviations from its mean.
    pub deviations: Option<f64>,
    /// The population stability index of the last [`WINDOW`] updates.
    pub index: Option<f64>,
    /// Their Kolmogorov-Smirnov distance.
    pub distance: Option<f64>,
    /// Their share of missing values.
    pub missing: Option<f64>,
}

/// What is known of one feature.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How far it is.
    pub level: Level,
    /// What tells so; the worst, the first of equals in the order of [`Why`].
    pub why: Option<Why>,
    /// The step since which the level is this one; unknown before the first judgement.
    pub since: Time,
    /// What it was judged by.
    pub measures: Measures,
}

/// How many features are at each level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Not judged.
    pub unknown: u32,
    /// As in training.
    pub stable: u32,
    /// Watched.
    pub watch: u32,
    /// Elsewhere.
    pub drifted: u32,
}

/// What one block of updates held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Block {
    bins: [u8; BINS],
    missing: u8,
}

/// One feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Monitor {
    statistics: Option<Statistics>,
    block: Block,
    sum: f64,
    /// The newest known value, and how many updates in a row gave it.
    last: Option<f32>,
    run: u64,
    /// The last blocks, in a ring.
    blocks: [Block; BLOCKS],
    verdict: Verdict,
}

impl Monitor {
    fn new(statistics: Option<Statistics>) -> Self {
        Self {
            statistics,
            block: Block::default(),
            sum: 0.0,
            last: None,
            run: 0,
            blocks: [Block::default(); BLOCKS],
            verdict: Verdict {
                level: Level::Unknown,
                why: None,
                since: Time::UNKNOWN,
                measures: Measures::default(),
            },
        }
    }

    fn update(&mut self, value: Option<f32>) {
        let Some(statistics) = &self.statistics else {
            return;
        };
        let Some(value) = value.filter(|value| value.is_finite()) else {
            self.block.missing += 1;
            return;
        };
        self.run = if self.last == Some(value) {
            self.run + 1
        } else {
            1
        };
        self.last = Some(value);
        self.block.bins[statistics.bin(value)] += 1;
        self.sum += f64::from(value);
    }

    /// A block is full: the `count`-th one.
    fn judge(&mut self, count: u64, at: Time) {
        let Some(statistics) = &self.statistics else {
            return;
        };
        let place = usize::try_from((count - 1) % BLOCKS as u64).unwrap_or(0);
        self.blocks[place] = self.block;
        let is_full = count >= BLOCKS as u64;
        let known = BLOCK - u32::from(self.block.missing);
        let deviations =
            (known >= KNOWN_LEAST).then(|| statistics.deviations(self.sum / f64::from(known)));
        let (bins, missing) = self.window();
        let observed: u32 = bins.iter().sum();
        let judged = is_full && observed >= WINDOW / 2;
        let measures = Measures {
            deviations,
            index: judged.then(|| index(&bins, &statistics.shares)),
            distance: judged.then(|| distance(&bins, &statistics.shares)),
            missing: is_full.then(|| f64::from(missing) / f64::from(WINDOW)),
        };
        let is_constant = statistics.varies()
            && self.run > (RUN_MULTIPLE * statistics.longest_run).max(u64::from(BLOCK));
        let (level, why) = verdict(statistics, &measures, known, observed, is_constant);
        if level != self.verdict.level {
            self.verdict.since = at;
        }
        self.verdict = Verdict {
            level,
            why,
            since: self.verdict.since,
            measures,
        };
        self.block = Block::default();
        self.sum = 0.0;
    }

    /// The sum of the last blocks.
    fn window(&self) -> ([u32; BINS], u32) {
        let (mut bins, mut missing) = ([0; BINS], 0);
        for block in &self.blocks {
            for (sum, count) in bins.iter_mut().zip(block.bins) {
                *sum += u32::from(count);
            }
            missing += u32::from(block.missing);
        }
        (bins, missing)
    }
}

/// The worst of what was measured.
fn verdict(
    statistics: &Statistics,
    measures: &Measures,
    known: u32,
    observed: u32,
    is_constant: bool,
) -> (Level, Option<Why>) {
    let graded = |value: Option<f64>, watch: f64, drifted: f64| match value {
        Some(value) if value > drifted => Level::Drifted,
        Some(value) if value > watch => Level::Watch,
        Some(_) => Level::Stable,
        None => Level::Unknown,
    };
    let is_gone = known == 0 && statistics.missing < 1.0 - MISSING_DRIFTED;
    let more = measures.missing.map(|share| share - statistics.missing);
    let missing = if is_gone {
        Level::Drifted
    } else {
        graded(more, MISSING_WATCH, MISSING_DRIFTED)
    };
    let mean = measures.deviations.map(f64::abs);
    let critical = critical_distance(observed, statistics.count);
    let graded = [
        (Why::Missing, missing),
        (
            Why::Constant,
            if is_constant {
                Level::Drifted
            } else {
                Level::Unknown
            },
        ),
        (Why::Mean, graded(mean, MEAN_DEVIATIONS, MEAN_DEVIATIONS)),
        (
            Why::Index,
            graded(measures.index, INDEX_WATCH, INDEX_DRIFTED),
        ),
        (
            Why::Distance,
            graded(
                measures.distance,
                critical.max(DISTANCE_WATCH),
                critical.max(DISTANCE_DRIFTED),
            ),
        ),
    ];
    // A feature that was seldom known in training, and is now, is not judged by that alone.
    if known < KNOWN_LEAST && missing <= Level::Stable {
        return (Level::Unknown, None);
    }
    let mut worst = (Level::Stable, None);
    for (why, level) in graded {
        if level > worst.0 {
            worst = (level, Some(why));
        }
    }
    worst
}

/// The population stability index, `Σ (aᵢ - eᵢ) ln(aᵢ / eᵢ)` over the bins, of which the shares are
/// not less than [`SHARE_LEAST`]. It is the symmetrised Kullback-Leibler divergence of binned values;
/// source and the usual thresholds of 0.1 and 0.25: Siddiqi, *Credit Risk Scorecards* (2006).
fn index(bins: &[u32; BINS], shares: &[f64; BINS]) -> f64 {
    let total: u32 = bins.iter().sum();
    let mut sum = 0.0;
    for (count, expected) in bins.iter().zip(shares) {
        let actual = (f64::from(*count) / f64::from(total.max(1))).max(SHARE_LEAST);
        let expected = expected.max(SHARE_LEAST);
        sum += (actual - expected) * libm::log(actual / expected);
    }
    sum
}

/// The two-sample Kolmogorov-Smirnov distance, the largest difference of the two distribution
/// functions (Smirnov, *Table for Estimating the Goodness of Fit of Empirical Distributions*, 1948), at
/// the edges of the bins: where both are known exactly. Between them it may be larger, by less than
/// the share of a bin.
fn distance(bins: &[u32; BINS], shares: &[f64; BINS]) -> f64 {
    let total: u32 = bins.iter().sum();
    let (mut below, mut expected, mut distance) = (0, 0.0, 0.0_f64);
    for (count, share) in bins.iter().zip(shares) {
        below += count;
        expected += share;
        let actual = f64::from(below) / f64::from(total.max(1));
        distance = distance.max((actual - expected).abs());
    }
    distance
}

/// The distance beyond which two samples of these sizes differ at [`DISTANCE_CRITICAL`]'s significance,
/// were their values independent; since they are not, [`DISTANCE_WATCH`] is its floor.
#[expect(clippy::cast_precision_loss, reason = "counts of steps")]
fn critical_distance(observed: u32, reference: u64) -> f64 {
    let (n, m) = (f64::from(observed.max(1)), reference.max(1) as f64);
    DISTANCE_CRITICAL * libm::sqrt((n + m) / (n * m))
}

/// Watches what one instrument's model sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// One for each feature of the selection, in its order.
    monitors: Vec<Monitor>,
    updates: u64,
    level: Level,
    since: Time,
}

impl Drift {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(reference: Option<&Reference>) -> Self {
        let statistics = |place: &usize| reference.and_then(|reference| reference.get(*place));
        let monitors = SELECTED.iter().map(|place| Monitor::new(statistics(place)));
        Self {
            monitors: monitors.collect(),
            updates: 0,
            level: Level::Unknown,
            since: Time::UNKNOWN,
        }
    }

    /// Takes a step. One that is masked is no update. Gives the new level of all when it changed.
    pub fn update(&mut self, step: &MarketStep) -> Option<Level> {
        if step.masked {
            return None;
        }
        self.updates += 1;
        for (index, monitor) in self.monitors.iter_mut().enumerate() {
            monitor.update(step.state.get(index));
        }
        if !self.updates.is_multiple_of(u64::from(BLOCK)) {
            return None;
        }
        let blocks = self.updates / u64::from(BLOCK);
        for monitor in &mut self.monitors {
            monitor.judge(blocks, step.at);
        }
        let level = self.judge();
        if level == self.level {
            return None;
        }
        (self.level, self.since) = (level, step.at);
        Some(level)
    }

    /// The level of all, which does not flutter between drifted and not.
    fn judge(&self) -> Level {
        let counts = self.counts();
        let judged = u64::from(counts.stable + counts.watch + counts.drifted);
        if judged == 0 {
            return Level::Unknown;
        }
        let percent = |count: u32| u64::from(count) * 100;
        let bound = if self.level == Level::Drifted {
            OVERALL_LEAVE_PERCENT
        } else {
            OVERALL_ENTER_PERCENT
        };
        if percent(counts.drifted) > bound * judged {
            Level::Drifted
        } else if percent(counts.drifted + counts.watch) > OVERALL_WATCH_PERCENT * judged {
            Level::Watch
        } else {
            Level::Stable
        }
    }

    /// How far all is: the share of features that drifted, with hysteresis.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// The step since which the level of all is this one; unknown before the first judgement.
    #[must_use]
    pub const fn since(&self) -> Time {
        self.since
    }

    /// Steps taken.
    #[must_use]
    pub const fn updates(&self) -> u64 {
        self.updates
    }

    /// What is known of each feature, in the order of [`SELECTION`].
    pub fn verdicts(&self) -> impl ExactSizeIterator<Item = &Verdict> {
        self.monitors.iter().map(|monitor| &monitor.verdict)
    }

    /// How many features are at each level.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for verdict in self.verdicts() {
            *match verdict.level {
                Level::Unknown => &mut counts.unknown,
                Level::Stable => &mut counts.stable,
                Level::Watch => &mut counts.watch,
                Level::Drifted => &mut counts.drifted,
            } += 1;
        }
        counts
    }
}

const _: () = assert!(BLOCK <= u8::MAX as u32, "a block counts in bytes");
const _: () = assert!(!SELECTION.is_empty(), "a model sees something");
