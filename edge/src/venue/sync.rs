//! Bracketing a snapshot with the diffs that surround it: one machine for every venue.
//!
//! Diffs that arrive before the snapshot are kept (bounded). When the snapshot is there, diffs that
//! it already contains are dropped, the first one kept must span it, and from then on each must
//! follow its predecessor. In steady state nothing is forgiven: a number that is not the next one,
//! also one seen before, is a gap, and the instrument waits for a new snapshot.

use std::collections::VecDeque;

use tickerml_shared::event::{Gap, GapReason};

use super::Updates;

/// Diffs kept while waiting for a snapshot. Binance sends ten a second. When they are more, the
/// oldest go, and a snapshot too old for those that stay is asked for again.
pub const MAX_BUFFERED: usize = 1024;

/// How a venue numbers its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `first == last id + 1`; the first diff after a snapshot spans `id + 1` (Binance spot, KuCoin).
    Contiguous,
    /// `previous == last id`; the first diff after a snapshot spans `id` (Binance futures, where the
    /// ranges themselves have holes).
    Chained,
    /// The venue numbers nothing; the snapshot comes in the stream and diffs follow it.
    Unnumbered,
}

/// The numbers of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// First number it covers.
    pub first: u64,
    /// Last number it covers.
    pub last: u64,
    /// The last number of the message before it, where the venue says so.
    pub previous: u64,
}

impl Ids {
    /// A message of one number.
    #[must_use]
    pub const fn one(id: u64) -> Self {
        Self {
            first: id,
            last: id,
            previous: 0,
        }
    }
}

/// What to do with a diff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one.
    Apply,
    /// It waits for the snapshot.
    Keep,
    /// The snapshot already contains it, or no snapshot can follow it.
    Drop,
    /// It is not the next one.
    Gap(Gap),
}

#[derive(Debug)]
enum State {
    /// Waiting for a snapshot; diffs are kept with their numbers.
    Waiting { kept: VecDeque<(Ids, Updates)> },
    /// A snapshot was applied, the first diff after it not yet.
    Bridging { snapshot: u64 },
    /// Diffs follow one another.
    Live { last: u64 },
}

/// The continuity of one instrument's book.
#[derive(Debug)]
pub struct Sync {
    rule: Rule,
    state: State,
}

impl Sync {
    /// A book that waits for its first snapshot.
    #[must_use]
    pub const fn new(rule: Rule) -> Self {
        Self {
            rule,
            state: State::Waiting {
                kept: VecDeque::new(),
            },
        }
    }

    /// Whether a snapshot is needed.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting { .. })
    }

    /// The number of the newest message applied; 0 while waiting.
    #[must_use]
    pub const fn last(&self) -> u64 {
        match self.state {
            State::Waiting { .. } => 0,
            State::Bridging { snapshot } => snapshot,
            State::Live { last } => last,
        }
    }

    /// Forgets everything: a new snapshot is needed.
    pub fn reset(&mut self) {
        self.state = State::Waiting {
            kept: VecDeque::new(),
        };
    }

    /// Judges a diff. After [`Verdict::Gap`] the machine is waiting; the diff itself may be the
    /// first to keep, so the caller hands it to [`Sync::keep`].
    pub fn judge(&mut self, ids: Ids) -> Verdict {
        let verdict = match (&self.state, self.rule) {
            (State::Waiting { .. }, Rule::Unnumbered) => Verdict::Drop,
            (State::Waiting { .. }, _) => Verdict::Keep,
            (State::Bridging { .. } | State::Live { .. }, Rule::Unnumbered) => Verdict::Apply,
            (&State::Bridging { snapshot }, rule) => bridge(rule, snapshot, ids),
            (&State::Live { last }, rule) => follow(rule, last, ids),
        };
        match verdict {
            Verdict::Apply => self.state = State::Live { last: ids.last },
            Verdict::Gap(_) => self.reset(),
            Verdict::Keep | Verdict::Drop => {}
        }
        verdict
    }

    /// Keeps a diff until the snapshot is there.
    pub fn keep(&mut self, ids: Ids, updates: Updates) {
        if let State::Waiting { kept } = &mut self.state {
            if kept.len() >= MAX_BUFFERED {
                kept.pop_front();
            }
            kept.push_back((ids, updates));
        }
    }

    /// Takes a snapshot with this number. The diffs kept so far that follow it are appended to
    /// `out`.
    ///
    /// # Errors
    /// A gap when the kept diffs do not connect to the snapshot: it is too old (ask again; the
    /// diffs stay kept), or they have a hole.
    pub fn snapshot(&mut self, id: u64, out: &mut Updates) -> Result<(), Gap> {
        let kept = match &mut self.state {
            State::Waiting { kept } => std::mem::take(kept),
            State::Bridging { .. } | State::Live { .. } => VecDeque::new(),
        };
        let too_old = kept.front().filter(|(ids, _)| match self.rule {
            Rule::Contiguous => ids.first > id.saturating_add(1),
            Rule::Chained => ids.first > id && ids.previous != id,
            Rule::Unnumbered => false,
        });
        if let Some((ids, _)) = too_old {
            let gap = Gap {
                reason: GapReason::Sequence,
                expected: ids.first,
                got: id,
            };
            self.state = State::Waiting { kept };
            return Err(gap);
        }
        self.state = State::Bridging { snapshot: id };
        for (ids, updates) in kept {
            match self.judge(ids) {
                Verdict::Apply => out.extend(updates),
                Verdict::Drop | Verdict::Keep => {}
                Verdict::Gap(gap) => return Err(gap),
            }
        }
        Ok(())
    }
}

/// The first diffs after a snapshot.
fn bridge(rule: Rule, snapshot: u64, ids: Ids) -> Verdict {
    let (contained, connects) = match rule {
        // Binance spot: drop u <= lastUpdateId, then U <= lastUpdateId + 1 <= u. KuCoin: the same
        // with sequenceStart and sequenceEnd.
        Rule::Contiguous => (
            ids.last <= snapshot,
            ids.first <= snapshot.saturating_add(1),
        ),
        // Binance futures: drop u < lastUpdateId, then U <= lastUpdateId <= u; a diff that directly
        // continues the snapshot is as good.
        Rule::Chained => (
            ids.last < snapshot,
            ids.first <= snapshot || ids.previous == snapshot,
        ),
        Rule::Unnumbered => (false, true),
    };
    if contained {
        Verdict::Drop
    } else if connects {
        Verdict::Apply
    } else {
        Verdict::Gap(Gap {
            reason: GapReason::Sequence,
            expected: snapshot.saturating_add(1),
            got: ids.first,
        })
    }
}

/// Steady state.
fn follow(rule: Rule, last: u64, ids: Ids) -> Verdict {
    let (expected, got) = match rule {
        Rule::Contiguous => (last.saturating_add(1), ids.first),
        Rule::Chained => (last, ids.previous),
        Rule::Unnumbered => return Verdict::Apply,
    };
    if got == expected && ids.last >= ids.first {
        Verdict::Apply
    } else {
        Verdict::Gap(Gap {
            reason: GapReason::Sequence,
            expected,
            got,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(first: u64, last: u64, previous: u64) -> Ids {
        Ids {
            first,
            last,
            previous,
        }
    }

    /// Feeds diffs, then a snapshot, then diffs; returns the verdicts of the latter.
    fn run(
        rule: Rule,
        before: &[Ids],
        snapshot: u64,
        after: &[Ids],
    ) -> (Result<(), Gap>, Vec<Verdict>) {
        let mut sync = Sync::new(rule);
        for &ids in before {
            assert_eq!(sync.judge(ids), Verdict::Keep);
            sync.keep(ids, Updates::new());
        }
        let taken = sync.snapshot(snapshot, &mut Updates::new());
        (taken, after.iter().map(|&ids| sync.judge(ids)).collect())
    }

    fn gap(expected: u64, got: u64) -> Gap {
        Gap {
            reason: GapReason::Sequence,
            expected,
            got,
        }
    }

    #[test]
    fn binance_spot_brackets_the_snapshot() {
        let rule = Rule::Contiguous;
        let (taken, then) = run(rule, &[ids(1, 4, 0), ids(5, 9, 0)], 6, &[ids(10, 10, 0)]);
        assert_eq!((taken, then), (Ok(()), vec![Verdict::Apply]));
        // U == lastUpdateId + 1 is legal and occurs.
        assert_eq!(run(rule, &[], 6, &[ids(7, 8, 0)]).1, [Verdict::Apply]);
        assert_eq!(
            run(rule, &[], 6, &[ids(5, 6, 0), ids(8, 9, 0)]).1,
            [Verdict::Drop, Verdict::Gap(gap(7, 8))]
        );
        assert_eq!(
            run(rule, &[ids(8, 9, 0)], 6, &[]).0,
            Err(gap(8, 6)),
            "snapshot older than the diffs"
        );
    }

    #[test]
    fn steady_state_forgives_nothing() {
        let (_, then) = run(Rule::Contiguous, &[], 6, &[ids(7, 8, 0), ids(7, 8, 0)]);
        assert_eq!(then, [Verdict::Apply, Verdict::Gap(gap(9, 7))]);
        let (_, then) = run(
            Rule::Chained,
            &[],
            6,
            &[ids(5, 8, 4), ids(11, 12, 8), ids(13, 14, 11)],
        );
        assert_eq!(
            then,
            [Verdict::Apply, Verdict::Apply, Verdict::Gap(gap(12, 11))]
        );
    }

    #[test]
    fn binance_futures_keeps_the_diff_that_ends_on_the_snapshot() {
        let (taken, then) = run(
            Rule::Chained,
            &[ids(1, 4, 0), ids(5, 6, 4)],
            6,
            &[ids(9, 9, 6)],
        );
        assert_eq!((taken, then), (Ok(()), vec![Verdict::Apply]));
    }

    #[test]
    fn the_buffer_is_bounded_and_loses_no_continuity() {
        let mut sync = Sync::new(Rule::Contiguous);
        for id in 1..=2 + MAX_BUFFERED as u64 {
            sync.keep(Ids::one(id), Updates::new());
        }
        let too_old = sync.snapshot(1, &mut Updates::new());
        assert_eq!(too_old, Err(gap(3, 1)), "what went is missed");
        assert_eq!(sync.snapshot(2, &mut Updates::new()), Ok(()));
    }
}
