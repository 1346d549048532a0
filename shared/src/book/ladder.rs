//! One side of a book: a sorted array with gaps.
//!
//! A level that goes leaves a gap behind, with its key; the next one that comes nearby takes it, so
//! that changes far from the touch move a few entries and not half the array. There are never many
//! gaps, and never one at the touch. Nothing is ever allocated.

use heapless::Vec;
use serde::{Deserialize, Serialize};

use super::BOOK_LEVELS;
use crate::num::Qty;

/// Gaps that a side of any size may have, besides a quarter of its levels. Beyond them they are
/// closed up, which therefore costs a few moves for each level that went.
const GAPS: usize = 16;
/// Entries of the array.
const SLOTS: usize = BOOK_LEVELS + BOOK_LEVELS / 4 + GAPS + 1;
/// Entries away from its place that a new level looks for a gap.
const REACH: usize = 32;

/// Keys ascend toward the best level (`price` for bids, `-price` for asks).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ladder {
    /// Sorted by key; a gap has no quantity.
    slots: Vec<(i64, Qty), SLOTS>,
    /// How many are no gaps.
    live: usize,
    /// Levels with a key below this one may exist unseen.
    horizon: Option<i64>,
}

impl Ladder {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            live: 0,
            horizon: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.live = 0;
        self.horizon = None;
    }

    pub(super) fn best(&self) -> Option<(i64, Qty)> {
        self.slots.last().copied()
    }

    /// The quantity under a key, 0 where there is none.
    pub(super) fn get(&self, key: i64) -> Qty {
        let place = self.position(self.slots.len(), key);
        place.map_or(Qty(0), |index| self.slots[index].1)
    }

    pub(super) const fn len(&self) -> usize {
        self.live
    }

    /// Best first.
    pub(super) fn levels(&self) -> impl Iterator<Item = (i64, Qty)> + '_ {
        self.levels_if(true)
    }

    /// Best first, or nothing.
    pub(super) fn levels_if(&self, shown: bool) -> impl Iterator<Item = (i64, Qty)> + '_ {
        let slots = if shown { self.slots.as_slice() } else { &[] };
        let levels = slots.iter().rev().copied();
        levels.filter(|(_, qty)| qty.0 != 0)
    }

    /// Sets levels; a quantity of zero takes one away.
    pub(super) fn apply(&mut self, changes: impl Iterator<Item = (i64, Qty)>) {
        // Most changes are at the touch, and most messages are sorted.
        let mut near = self.slots.len();
        for (key, qty) in changes {
            near = self.set(near, key, qty);
        }
    }

    /// Sets a level that may be near an index; gives the index where it was looked for.
    fn set(&mut self, near: usize, key: i64, qty: Qty) -> usize {
        let position = self.position(near, key);
        match position {
            Ok(index) if qty.0 == 0 => self.remove(index),
            Ok(index) if !self.is_gap(index) => self.slots[index].1 = qty,
            Err(_) if qty.0 == 0 => {}
            Ok(index) | Err(index) => self.insert(index, key, qty),
        }
        position.unwrap_or_else(|index| index)
    }

    /// Takes the worst levels away until there are no more than `limit`.
    pub(super) fn cut(&mut self, limit: usize) {
        while self.live > limit {
            match self.worst() {
                Some(index) => self.remove(index),
                None => return,
            }
        }
    }

    /// What lies beyond the levels now known may exist unseen.
    pub(super) fn end_here(&mut self) {
        self.horizon = self.worst().map(|index| self.slots[index].0);
    }

    /// Whether the market has moved past everything that is known.
    pub(super) fn is_beyond_horizon(&self) -> bool {
        match (self.horizon, self.best()) {
            (Some(horizon), Some((key, _))) => key < horizon,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    fn is_gap(&self, index: usize) -> bool {
        self.slots[index].1.0 == 0
    }

    fn worst(&self) -> Option<usize> {
        self.slots.iter().position(|(_, qty)| qty.0 != 0)
    }

    /// Where a key stands or belongs: steps that grow away from `near`, then binary search between
    /// the last two.
    fn position(&self, near: usize, key: i64) -> Result<usize, usize> {
        const FIRST_STEP: usize = 4;
        let slots = self.slots.as_slice();
        let (mut low, mut high) = (near.min(slots.len()), near.min(slots.len()));
        let mut step = FIRST_STEP;
        if slots.get(low).is_some_and(|slot| slot.0 <= key) {
            while slots.get(high).is_some_and(|slot| slot.0 <= key) {
                low = high;
                high = slots.len().min(high + step);
                step *= FIRST_STEP;
            }
        } else {
            while low > 0 && slots.get(low).is_none_or(|slot| slot.0 > key) {
                high = low;
                low = low.saturating_sub(step);
                step *= FIRST_STEP;
            }
        }
        match slots[low..high].binary_search_by_key(&key, |slot| slot.0) {
            Ok(index) => Ok(low + index),
            Err(index) => Err(low + index),
        }
    }

    fn remove(&mut self, index: usize) {
        self.live -= usize::from(!self.is_gap(index));
        self.slots[index].1 = Qty(0);
        while self.slots.last().is_some_and(|(_, qty)| qty.0 == 0) {
            self.slots.pop();
        }
        if self.slots.len() - self.live > self.live / 4 + GAPS {
            self.slots.retain(|(_, qty)| qty.0 != 0);
        }
    }

    /// Puts a level between its neighbours: `index` is where the first greater key stands, or a gap
    /// with the same key.
    fn insert(&mut self, mut index: usize, key: i64, qty: Qty) {
        if self.live == BOOK_LEVELS {
            let Some(worst) = self.worst() else {
                return;
            };
            if index <= worst {
                self.raise_horizon(key);
                return;
            }
            self.raise_horizon(self.slots[worst].0);
            let before = self.slots.len();
            self.remove(worst);
            if self.slots.len() < before {
                index = self.position(index, key).unwrap_or_else(|index| index);
            }
        }
        self.live += 1;
        let end = self.slots.len().min(index + REACH);
        if let Some(gap) = (index..end).find(|index| self.is_gap(*index)) {
            self.slots.copy_within(index..gap, index + 1);
            self.slots[index] = (key, qty);
            return;
        }
        let start = index.saturating_sub(REACH);
        if let Some(gap) = (start..index).rev().find(|index| self.is_gap(*index)) {
            self.slots.copy_within(gap + 1..index, gap);
            self.slots[index - 1] = (key, qty);
            return;
        }
        let inserted = self.slots.insert(index, (key, qty));
        debug_assert!(inserted.is_ok(), "SLOTS covers the levels and the gaps");
    }

    fn raise_horizon(&mut self, key: i64) {
        // One above the dropped key: that level itself is no longer known.
        let bound = key.saturating_add(1);
        self.horizon = Some(self.horizon.map_or(bound, |horizon| horizon.max(bound)));
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec as List;

    use proptest::prelude::*;

    use super::*;

    /// What must hold after every change.
    fn check(ladder: &Ladder, model: &BTreeMap<i64, i64>) -> Result<(), TestCaseError> {
        let levels: List<_> = ladder.levels().map(|(key, qty)| (key, qty.0)).collect();
        let want: List<_> = model.iter().rev().map(|(key, qty)| (*key, *qty)).collect();
        prop_assert_eq!(&levels, &want);
        prop_assert_eq!(ladder.len(), model.len());
        prop_assert_eq!(
            ladder.best().map(|(key, _)| key),
            levels.first().map(|level| level.0)
        );
        prop_assert!(
            ladder.slots.is_sorted_by(|a, b| a.0 < b.0),
            "keys ascend, gaps included"
        );
        let gaps = ladder.slots.len() - ladder.live;
        prop_assert!(
            gaps <= ladder.live / 4 + GAPS,
            "{gaps} gaps at {}",
            ladder.live
        );
        Ok(())
    }

    proptest! {
        /// Against a map: no level lost, none invented, order kept, gaps bounded.
        #[test]
        fn equals_a_map(changes in proptest::collection::vec((0_i64..300, 0_i64..3, 0_usize..40), 1..600)) {
            let (mut ladder, mut model) = (Ladder::new(), BTreeMap::new());
            for (key, qty, limit) in changes {
                ladder.apply([(key, Qty(qty))].into_iter());
                if qty == 0 {
                    model.remove(&key);
                } else {
                    model.insert(key, qty);
                }
                // Now and then a cut, as after each message of a venue with a depth.
                if limit < 2 {
                    let limit = 20 + limit * 30;
                    ladder.cut(limit);
                    while model.len() > limit {
                        model.pop_first();
                    }
                }
                check(&ladder, &model)?;
            }
        }

        /// A message is no more than its changes one by one, sorted or not.
        #[test]
        fn a_batch_equals_its_changes(messages in proptest::collection::vec(
            proptest::collection::vec((0_i64..400, 0_i64..3), 1..60), 1..20)) {
            let (mut ladder, mut model) = (Ladder::new(), BTreeMap::new());
            for mut message in messages {
                if message.len() % 2 == 0 {
                    message.sort_by_key(|change| change.0);
                }
                ladder.apply(message.iter().map(|(key, qty)| (*key, Qty(*qty))));
                for (key, qty) in message {
                    if qty == 0 {
                        model.remove(&key);
                    } else {
                        model.insert(key, qty);
                    }
                }
                check(&ladder, &model)?;
            }
        }

        /// Beyond its capacity the worst go, and the horizon remembers where.
        #[test]
        fn drops_the_worst_when_full(changes in proptest::collection::vec((0_i64..6_000, 0_i64..4), 3_000..5_000)) {
            let (mut ladder, mut model) = (Ladder::new(), BTreeMap::new());
            let mut horizon = None;
            for (key, qty) in changes {
                ladder.apply([(key, Qty(qty))].into_iter());
                if qty == 0 {
                    model.remove(&key);
                } else {
                    model.insert(key, qty);
                }
                if model.len() > BOOK_LEVELS {
                    let dropped = model.pop_first().map(|(key, _)| key + 1);
                    horizon = horizon.max(dropped);
                }
            }
            check(&ladder, &model)?;
            prop_assert_eq!(ladder.horizon, horizon);
        }
    }
}
