//! Price levels in order, for books of thousands of levels that change anywhere.
//!
//! The levels stand in runs of at most [`RUN`], so that an insertion moves few of them; the runs stand
//! in an index by their first key.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::num::Qty;

/// Levels of a run.
const RUN: usize = 64;

/// Levels by key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "Vec<(i64, Qty)>", from = "Vec<(i64, Qty)>")]
pub(super) struct Ladder {
    /// In the order of their keys.
    heads: Vec<Head>,
    /// By slot; those that no head names are free.
    runs: Vec<Run>,
    free: Vec<u32>,
    levels: usize,
}

/// Where a run begins and where it is.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// No key of the run is below it, none of the run before is at or above it.
    start: i64,
    slot: u32,
}

/// Some levels, in the order of their keys.
#[derive(Clone, Debug)]
struct Run {
    len: usize,
    keys: [i64; RUN],
    qtys: [Qty; RUN],
}

/// Where a key is, or belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The head.
    head: usize,
    /// Within the run.
    index: usize,
    found: bool,
}

impl PartialEq for Ladder {
    fn eq(&self, other: &Self) -> bool {
        self.levels == other.levels && self.iter().eq(other.iter())
    }
}

impl Eq for Ladder {}

impl From<Ladder> for Vec<(i64, Qty)> {
    fn from(ladder: Ladder) -> Self {
        ladder.iter().collect()
    }
}

impl From<Vec<(i64, Qty)>> for Ladder {
    fn from(levels: Vec<(i64, Qty)>) -> Self {
        let mut ladder = Self::new();
        for (key, qty) in levels {
            ladder.set(key, qty);
        }
        ladder
    }
}

impl Run {
    const EMPTY: Self = Self {
        len: 0,
        keys: [0; RUN],
        qtys: [Qty(0); RUN],
    };

    fn insert(&mut self, index: usize, key: i64, qty: Qty) {
        self.keys.copy_within(index..self.len, index + 1);
        self.qtys.copy_within(index..self.len, index + 1);
        (self.keys[index], self.qtys[index]) = (key, qty);
        self.len += 1;
    }

    fn remove(&mut self, index: usize) -> Qty {
        let qty = self.qtys[index];
        self.keys.copy_within(index + 1..self.len, index);
        self.qtys.copy_within(index + 1..self.len, index);
        self.len -= 1;
        qty
    }

    /// Appends another run's levels from an index on.
    fn append(&mut self, other: &Self, from: usize) {
        let count = other.len - from;
        self.keys[self.len..self.len + count].copy_from_slice(&other.keys[from..other.len]);
        self.qtys[self.len..self.len + count].copy_from_slice(&other.qtys[from..other.len]);
        self.len += count;
    }
}

impl Ladder {
    pub(super) const fn new() -> Self {
        Self {
            heads: Vec::new(),
            runs: Vec::new(),
            free: Vec::new(),
            levels: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.levels
    }

    pub(super) fn clear(&mut self) {
        self.free.extend(self.heads.iter().map(|head| head.slot));
        self.heads.clear();
        self.levels = 0;
    }

    fn run(&self, head: usize) -> &Run {
        &self.runs[self.heads[head].slot as usize]
    }

    fn run_mut(&mut self, head: usize) -> &mut Run {
        &mut self.runs[self.heads[head].slot as usize]
    }

    /// A place in the index for an empty run.
    fn open(&mut self, head: usize, start: i64) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.runs.push(Run::EMPTY);
            u32::try_from(self.runs.len() - 1).expect("far fewer runs than levels")
        });
        self.runs[slot as usize].len = 0;
        self.heads.insert(head, Head { start, slot });
    }

    fn close(&mut self, head: usize) {
        let head = self.heads.remove(head);
        self.free.push(head.slot);
    }

    /// Where a key is, or belongs.
    pub(super) fn find(&self, key: i64) -> Place {
        let head = self.heads.partition_point(|head| head.start <= key);
        let head = head.saturating_sub(1);
        let found = match self.heads.get(head) {
            Some(_) => {
                let run = self.run(head);
                run.keys[..run.len].binary_search(&key)
            }
            None => Err(0),
        };
        let (Ok(index) | Err(index)) = found;
        Place {
            head,
            index,
            found: found.is_ok(),
        }
    }

    /// What stands at a key.
    pub(super) fn get(&self, key: i64) -> Option<Qty> {
        let place = self.find(key);
        place.found.then(|| self.run(place.head).qtys[place.index])
    }

    /// Sets a level, or deletes it with a quantity of zero, and gives what stood there.
    pub(super) fn set(&mut self, key: i64, qty: Qty) -> Qty {
        let Place { head, index, found } = self.find(key);
        match (found, qty.0 == 0) {
            (true, false) => core::mem::replace(&mut self.run_mut(head).qtys[index], qty),
            (true, true) => self.remove(head, index),
            (false, true) => Qty(0),
            (false, false) => {
                self.insert(head, index, key, qty);
                Qty(0)
            }
        }
    }

    fn insert(&mut self, mut head: usize, mut index: usize, key: i64, qty: Qty) {
        if self.heads.is_empty() {
            self.open(0, key);
        }
        if self.run(head).len == RUN {
            let start = self.run(head).keys[RUN / 2];
            self.open(head + 1, start);
            let (from, to) = self.two(head);
            to.append(from, RUN / 2);
            from.len = RUN / 2;
            if key > start {
                (head, index) = (head + 1, index - RUN / 2);
            }
        }
        self.run_mut(head).insert(index, key, qty);
        let first = &mut self.heads[head].start;
        *first = key.min(*first);
        self.levels += 1;
    }

    /// A run and the one after it.
    fn two(&mut self, head: usize) -> (&mut Run, &mut Run) {
        let slots = [self.heads[head].slot, self.heads[head + 1].slot];
        let [a, b] = self
            .runs
            .get_disjoint_mut(slots.map(|slot| slot as usize))
            .expect("each run has one head");
        (a, b)
    }

    fn remove(&mut self, head: usize, index: usize) -> Qty {
        let run = self.run_mut(head);
        let qty = run.remove(index);
        let len = run.len;
        self.levels -= 1;
        if len == 0 {
            self.close(head);
        } else if len < RUN / 4 && !self.join(head) && head > 0 {
            self.join(head - 1);
        }
        qty
    }

    /// Joins a run and the one after it when they have few levels together, so that no two neighbours
    /// have fewer than a quarter of a run each.
    fn join(&mut self, head: usize) -> bool {
        let few =
            head + 1 < self.heads.len() && self.run(head).len + self.run(head + 1).len <= RUN / 2;
        if few {
            let (run, next) = self.two(head);
            run.append(next, 0);
            self.close(head + 1);
        }
        few
    }

    /// Forgets the level with the least key.
    pub(super) fn remove_first(&mut self) {
        if !self.heads.is_empty() {
            self.remove(0, 0);
        }
    }

    /// The greatest key below one.
    pub(super) fn below(&self, key: i64) -> Option<i64> {
        let place = self.find(key);
        if place.index > 0 {
            return Some(self.run(place.head).keys[place.index - 1]);
        }
        let run = self.run(place.head.checked_sub(1)?);
        Some(run.keys[run.len - 1])
    }

    /// The levels up to a key, greatest first.
    pub(super) fn down_from(&self, key: i64) -> impl Iterator<Item = (i64, Qty)> + '_ {
        let Place { head, index, found } = self.find(key);
        let heads = &self.heads[..self.heads.len().min(head + 1)];
        heads.iter().enumerate().rev().flat_map(move |(at, first)| {
            let run = &self.runs[first.slot as usize];
            let len = if at == head {
                index + usize::from(found)
            } else {
                run.len
            };
            let levels = run.keys[..len].iter().zip(&run.qtys[..len]);
            levels.rev().map(|(key, qty)| (*key, *qty))
        })
    }

    /// All levels, least key first.
    fn iter(&self) -> impl Iterator<Item = (i64, Qty)> + '_ {
        self.heads.iter().flat_map(|head| {
            let run = &self.runs[head.slot as usize];
            let levels = run.keys[..run.len].iter().zip(&run.qtys[..run.len]);
            levels.map(|(key, qty)| (*key, *qty))
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Keys come thick enough that runs split, and leave thick enough that they join and close.
        #[test]
        fn it_is_a_map_in_order(
            phases in proptest::collection::vec((any::<u64>(), 0_u8..10, 1_usize..400), 1..6),
            width in 1_i64..600,
        ) {
            let (mut ladder, mut plain) = (Ladder::new(), BTreeMap::new());
            for (seed, deletes, count) in phases {
                let mut rng = crate::rand::Rng::new(seed, 1);
                for _ in 0..count {
                    let key = rng.below(width.unsigned_abs()).cast_signed() - width / 2;
                    let deleted = rng.below(10) < u64::from(deletes);
                    let qty = if deleted { 0 } else { 1 + rng.below(9).cast_signed() };
                    let before = plain.get(&key).copied().unwrap_or(0);
                    if qty == 0 {
                        plain.remove(&key);
                    } else {
                        plain.insert(key, qty);
                    }
                    prop_assert_eq!(ladder.set(key, Qty(qty)), Qty(before));
                    let below = plain.range(..key).next_back().map(|(key, _)| *key);
                    prop_assert_eq!(ladder.below(key), below);
                    prop_assert_eq!(ladder.get(key).map(|qty| qty.0), plain.get(&key).copied());
                }
                let down: Vec<_> = ladder.down_from(0).map(|(key, qty)| (key, qty.0)).collect();
                let want: Vec<_> = plain.range(..=0).rev().map(|(key, qty)| (*key, *qty)).collect();
                prop_assert_eq!(down, want);
                prop_assert_eq!(ladder.len(), plain.len());
                prop_assert!(ladder.heads.len() <= 1 + plain.len() / (RUN / 8), "runs are joined");
                let bytes = postcard::to_allocvec(&ladder).expect("plain data");
                let again: Ladder = postcard::from_bytes(&bytes).expect("as written");
                prop_assert_eq!(&again, &ladder);
                if let Some((first, _)) = plain.pop_first() {
                    ladder.remove_first();
                    prop_assert_eq!(ladder.get(first), None);
                }
            }
            ladder.clear();
            prop_assert_eq!(&ladder, &Ladder::new());
            ladder.set(1, Qty(2));
            prop_assert_eq!((ladder.get(1), ladder.len()), (Some(Qty(2)), 1));
        }
    }
}
