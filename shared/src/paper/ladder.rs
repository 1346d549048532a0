//! Price levels in order, for books of thousands of levels that change anywhere.
//!
//! The levels of [`PAGE`] neighbouring keys stand in one page, at the place of their key; a hash table
//! finds a page, a list in order finds the one next to it. So a row moves no other level, and costs the
//! same near the touch and far from it.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::num::Qty;

/// Keys of a page.
const PAGE: usize = 64;
/// Bits of a key that are its place in the page.
const BITS: u32 = PAGE.trailing_zeros();
/// Pages that may stand empty in any case.
const EMPTY_LEAST: usize = 16;
/// Places of the smallest table.
const TABLE_LEAST: usize = 32;

/// Levels by key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "Vec<(i64, Qty)>", from = "Vec<(i64, Qty)>")]
pub(super) struct Ladder {
    /// By slot.
    pages: Vec<Page>,
    /// Numbers and slots of the pages in use, in the order of their numbers. Of `n` no more than
    /// `n / 2 +` [`EMPTY_LEAST`] are empty.
    order: Vec<(i64, u32)>,
    /// Slots plus one by hash of the number, or zero; linear probing, at most half full, and its length
    /// a power of two.
    table: Vec<u32>,
    /// Slots not in use.
    free: Vec<u32>,
    /// Pages in use without a level.
    empty: usize,
    levels: usize,
}

#[derive(Clone, Debug)]
struct Page {
    number: i64,
    /// Which places hold a level.
    mask: u64,
    qtys: [Qty; PAGE],
}

/// The page of a key, and the place in it.
const fn split(key: i64) -> (i64, usize) {
    // The low bits of a negative key count up from its page's first, as the shift rounds down.
    (key >> BITS, key as usize % PAGE)
}

impl Page {
    const fn key(&self, place: u32) -> i64 {
        (self.number << BITS) + place as i64
    }

    fn level(&self, place: u32) -> (i64, Qty) {
        (self.key(place), self.qtys[place as usize])
    }

    /// The levels at these places, greatest key first.
    fn down(&self, mut mask: u64) -> impl Iterator<Item = (i64, Qty)> + '_ {
        core::iter::from_fn(move || {
            let place = mask.checked_ilog2()?;
            mask ^= 1 << place;
            Some(self.level(place))
        })
    }

    /// The levels, least key first.
    fn up(&self) -> impl Iterator<Item = (i64, Qty)> + '_ {
        let mut mask = self.mask;
        core::iter::from_fn(move || {
            let place = mask.trailing_zeros();
            (mask != 0).then(|| {
                mask ^= 1 << place;
                self.level(place)
            })
        })
    }
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

impl Ladder {
    pub(super) const fn new() -> Self {
        Self {
            pages: Vec::new(),
            order: Vec::new(),
            table: Vec::new(),
            free: Vec::new(),
            empty: 0,
            levels: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.levels
    }

    pub(super) fn clear(&mut self) {
        self.free.extend(self.order.drain(..).map(|(_, slot)| slot));
        self.table.fill(0);
        (self.empty, self.levels) = (0, 0);
    }

    /// Where a number's search in the table begins: the high bits of its product with the golden ratio
    /// (Knuth, The Art of Computer Programming 3, 6.4).
    #[expect(
        clippy::cast_possible_truncation,
        reason = "fewer bits are left than the table's length has"
    )]
    const fn hash(&self, number: i64) -> usize {
        let product = number.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (product >> (u64::BITS - self.table.len().trailing_zeros())) as usize
    }

    /// The slot of a page.
    fn slot(&self, number: i64) -> Option<usize> {
        if self.table.is_empty() {
            return None;
        }
        let mut place = self.hash(number);
        loop {
            let slot = (self.table[place] as usize).checked_sub(1)?;
            if self.pages[slot].number == number {
                return Some(slot);
            }
            place = (place + 1) % self.table.len();
        }
    }

    /// Enters a slot into the table, which has room.
    fn enter(&mut self, number: i64, slot: u32) {
        let mut place = self.hash(number);
        while self.table[place] != 0 {
            place = (place + 1) % self.table.len();
        }
        self.table[place] = slot + 1;
    }

    /// Enters all pages in use into an empty table of so many places.
    fn enter_all(&mut self, places: usize) {
        self.table.clear();
        self.table.resize(places, 0);
        for at in 0..self.order.len() {
            let (number, slot) = self.order[at];
            self.enter(number, slot);
        }
    }

    /// A new page.
    fn open(&mut self, number: i64) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.pages.push(Page {
                number,
                mask: 0,
                qtys: [Qty(0); PAGE],
            });
            u32::try_from(self.pages.len() - 1).expect("no more pages than levels")
        });
        let page = &mut self.pages[slot as usize];
        (page.number, page.mask) = (number, 0);
        let at = self.order.partition_point(|(other, _)| *other < number);
        self.order.insert(at, (number, slot));
        self.empty += 1;
        if 2 * self.order.len() > self.table.len() {
            self.enter_all((2 * self.table.len()).max(TABLE_LEAST));
        } else {
            self.enter(number, slot);
        }
        slot as usize
    }

    /// Takes the empty pages out of use.
    fn tidy(&mut self) {
        let (pages, free) = (&self.pages, &mut self.free);
        self.order.retain(|(_, slot)| {
            let used = pages[*slot as usize].mask != 0;
            if !used {
                free.push(*slot);
            }
            used
        });
        self.empty = 0;
        self.enter_all(self.table.len());
    }

    /// What stands at a key.
    pub(super) fn get(&self, key: i64) -> Option<Qty> {
        let (number, place) = split(key);
        let page = &self.pages[self.slot(number)?];
        (page.mask >> place & 1 == 1).then(|| page.qtys[place])
    }

    /// Sets a level, or deletes it with a quantity of zero, and gives what stood there.
    pub(super) fn set(&mut self, key: i64, qty: Qty) -> Qty {
        let (number, place) = split(key);
        let slot = match self.slot(number) {
            Some(slot) => slot,
            None if qty.0 == 0 => return Qty(0),
            None => self.open(number),
        };
        let page = &mut self.pages[slot];
        let before = page.mask;
        let bit = 1 << place;
        let stood = if before & bit == 0 {
            Qty(0)
        } else {
            page.qtys[place]
        };
        if qty.0 == 0 {
            page.mask &= !bit;
            self.levels -= usize::from(before & bit != 0);
            if before == bit {
                self.empty += 1;
                if self.empty > EMPTY_LEAST + self.order.len() / 2 {
                    self.tidy();
                }
            }
        } else {
            page.qtys[place] = qty;
            page.mask |= bit;
            self.levels += usize::from(before & bit == 0);
            self.empty -= usize::from(before == 0);
        }
        stood
    }

    /// Forgets the level with the least key.
    pub(super) fn remove_first(&mut self) {
        let first = self.iter().next();
        if let Some((key, _)) = first {
            self.set(key, Qty(0));
        }
    }

    /// The greatest key below one.
    pub(super) fn below(&self, key: i64) -> Option<i64> {
        let (number, place) = split(key);
        if let Some(slot) = self.slot(number) {
            let page = &self.pages[slot];
            let lower = page.mask & ((1 << place) - 1);
            if let Some(place) = lower.checked_ilog2() {
                return Some(page.key(place));
            }
        }
        let end = self.order.partition_point(|(other, _)| *other < number);
        let pages = self.order[..end].iter().rev();
        let mut pages = pages.map(|(_, slot)| &self.pages[*slot as usize]);
        pages.find_map(|page| Some(page.key(page.mask.checked_ilog2()?)))
    }

    /// The levels up to a key, greatest first.
    pub(super) fn down_from(&self, key: i64) -> impl Iterator<Item = (i64, Qty)> + '_ {
        let (number, place) = split(key);
        let end = self.order.partition_point(|(other, _)| *other <= number);
        self.order[..end]
            .iter()
            .rev()
            .flat_map(move |(other, slot)| {
                let page = &self.pages[*slot as usize];
                let within = if *other == number {
                    u64::MAX >> (PAGE - 1 - place)
                } else {
                    u64::MAX
                };
                page.down(page.mask & within)
            })
    }

    /// All levels, least key first.
    fn iter(&self) -> impl Iterator<Item = (i64, Qty)> + '_ {
        let pages = self.order.iter();
        pages.flat_map(|(_, slot)| self.pages[*slot as usize].up())
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Keys fill pages and leave them empty, near one another and far apart.
        #[test]
        fn it_is_a_map_in_order(
            phases in proptest::collection::vec((any::<u64>(), 0_u8..10, 1_usize..400), 1..6),
            width in 1_i64..600,
            stride in prop_oneof![Just(1_i64), Just(37), Just(1 << 20), Just(1 << 52)],
        ) {
            let (mut ladder, mut plain) = (Ladder::new(), BTreeMap::new());
            for (seed, deletes, count) in phases {
                let mut rng = crate::rand::Rng::new(seed, 1);
                for _ in 0..count {
                    let key = (rng.below(width.unsigned_abs()).cast_signed() - width / 2) * stride;
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
                let empty = ladder.order.iter().filter(|(_, slot)| {
                    ladder.pages[*slot as usize].mask == 0
                });
                prop_assert_eq!(empty.count(), ladder.empty);
                prop_assert!(ladder.empty <= EMPTY_LEAST + ladder.order.len() / 2);
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
