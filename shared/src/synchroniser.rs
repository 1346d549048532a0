//! Event order: trades and books arrive on different streams; here they become one.
//!
//! Updates are held for a small bound after arrival and released per instrument in the order of
//! venue time, a trade before the depth of the same time (the other way round would let a queue
//! advance before the trade that moved it). An update that arrives after a later one was released
//! passes all the same, marked late and counted: nothing is lost, nothing waits longer than the
//! bound. Book messages never overtake one another, whatever their stamps say.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::event::{Body, Update};
use crate::instrument::MAX_INSTRUMENTS;
use crate::time::{MILLIS, Time};

/// The usual bound on holding an update.
pub const HOLD_NS: u64 = 10 * MILLIS;
/// Updates held at most; beyond it the oldest is released early.
pub const MAX_HELD: usize = 1024;

/// What the synchroniser did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Updates released.
    pub released: u64,
    /// Of those, after a later one of the same instrument.
    pub late: u64,
    /// Of those, before their time because [`MAX_HELD`] were waiting.
    pub forced: u64,
}

/// Sort key within an instrument: venue time, then trades before books.
type Key = (Time, u8);

/// No slot.
const NONE: usize = usize::MAX;
/// Updates for which there is room from the start: all that may be held, and as many again that
/// arrive before the next [`Synchroniser::poll`].
const ROOM: usize = 2 * MAX_HELD;

/// A place for one update. The updates of an instrument are a list through their slots, so that
/// holding one never allocates, whatever the mixture of instruments.
#[derive(Debug)]
struct Slot {
    update: Option<Update>,
    key: Key,
    /// The slots before and after it in its lane.
    before: usize,
    after: usize,
}

/// The updates of one instrument, in order.
#[derive(Debug)]
struct Lane {
    first: usize,
    last: usize,
    /// Newest stamp of any update, and of the book stream alone.
    newest: Time,
    newest_book: Time,
    /// Stamp of the last update released.
    released: Time,
}

/// A bounded merge of every instrument's streams.
#[derive(Debug)]
pub struct Synchroniser {
    hold_ns: u64,
    lanes: Vec<Lane>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Slots in order of arrival, with the time at which each must go.
    deadlines: VecDeque<(Time, usize)>,
    counts: Counts,
}

impl Synchroniser {
    /// Holds every update for at most `hold_ns` nanoseconds.
    #[must_use]
    pub fn new(hold_ns: u64) -> Self {
        Self {
            hold_ns,
            lanes: (0..MAX_INSTRUMENTS).map(|_| Lane::new()).collect(),
            slots: Vec::with_capacity(ROOM),
            free: Vec::with_capacity(ROOM),
            deadlines: VecDeque::with_capacity(ROOM),
            counts: Counts::default(),
        }
    }

    /// What it did so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes an update that arrived at `now`. Drain with [`Synchroniser::poll`] afterwards.
    pub fn push(&mut self, update: Update, now: Time) {
        let Some(lane) = self.lanes.get_mut(update.instrument.index()) else {
            debug_assert!(false, "an instrument beyond the table");
            return;
        };
        let key = lane.key(&update);
        let mut before = lane.last;
        while before != NONE && self.slots[before].key > key {
            before = self.slots[before].before;
        }
        let after = match self.slots.get(before) {
            Some(slot) => slot.after,
            None => lane.first,
        };
        let place = Slot {
            update: Some(update),
            key,
            before,
            after,
        };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = place;
                slot
            }
            None => {
                self.slots.push(place);
                self.slots.len() - 1
            }
        };
        match self.slots.get_mut(before) {
            Some(neighbour) => neighbour.after = slot,
            None => lane.first = slot,
        }
        match self.slots.get_mut(after) {
            Some(neighbour) => neighbour.before = slot,
            None => lane.last = slot,
        }
        self.deadlines.push_back((now.plus(self.hold_ns), slot));
    }

    /// The next update that is due at `now`.
    pub fn poll(&mut self, now: Time) -> Option<Update> {
        loop {
            let &(deadline, slot) = self.deadlines.front()?;
            let Some(update) = &self.slots[slot].update else {
                // Already released, ahead of its own deadline.
                self.deadlines.pop_front();
                self.free.push(slot);
                continue;
            };
            let forced = self.deadlines.len() > MAX_HELD;
            if deadline > now && !forced {
                return None;
            }
            let lane = &mut self.lanes[update.instrument.index()];
            let Some(first) = self.slots.get_mut(lane.first) else {
                debug_assert!(false, "a held update stands in its lane");
                return None;
            };
            let mut update = first.update.take()?;
            let (time, _) = first.key;
            lane.first = first.after;
            match self.slots.get_mut(lane.first) {
                Some(next) => next.before = NONE,
                None => lane.last = NONE,
            }
            update.late = time < lane.released;
            lane.released = lane.released.max(time);
            self.counts.released += 1;
            self.counts.late += u64::from(update.late);
            self.counts.forced += u64::from(forced);
            return Some(update);
        }
    }

    /// When [`Synchroniser::poll`] has something next, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Time, &'static str)> {
        self.deadlines
            .front()
            .map(|(deadline, _)| (*deadline, "release of held market events"))
    }

    /// Everything still held, in order, as if its time had come.
    pub fn flush(&mut self) -> Option<Update> {
        self.poll(Time(u64::MAX))
    }
}

impl Lane {
    const fn new() -> Self {
        Self {
            first: NONE,
            last: NONE,
            newest: Time::UNKNOWN,
            newest_book: Time::UNKNOWN,
            released: Time::UNKNOWN,
        }
    }

    fn key(&mut self, update: &Update) -> Key {
        let stamped = update.venue_time.is_known();
        let (time, rank) = match update.body {
            Body::Trade(_) if stamped => (update.venue_time, 0),
            Body::Funding(_) if stamped => (update.venue_time, 2),
            Body::Depth(_) | Body::Touch(_) | Body::Gap(_) => {
                // An unstamped one keeps its place in the stream.
                let time = if stamped {
                    update.venue_time
                } else {
                    self.newest
                };
                self.newest_book = self.newest_book.max(time);
                (self.newest_book, 1)
            }
            Body::Trade(_) | Body::Funding(_) | Body::Candle(_) => (self.newest, 1),
        };
        self.newest = self.newest.max(time);
        (time, rank)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::{Gap, GapReason, Side, Touch, Trade};
    use crate::instrument::InstrumentId;
    use crate::num::{Price, Qty};

    fn update(venue_time: u64, body: Body) -> Update {
        Update {
            instrument: InstrumentId(0),
            venue_time: Time(venue_time),
            received: Time(0),
            late: false,
            body,
        }
    }

    fn trade(venue_time: u64, id: u64) -> Update {
        let trade = Trade {
            id,
            price: Price(1),
            qty: Qty(1),
            aggressor: Side::Buy,
        };
        update(venue_time, Body::Trade(trade))
    }

    fn touch(venue_time: u64, id: u64) -> Update {
        let level = crate::event::Level::default();
        update(
            venue_time,
            Body::Touch(Touch {
                id,
                bid: level,
                ask: level,
            }),
        )
    }

    fn id(update: &Update) -> u64 {
        match update.body {
            Body::Trade(trade) => trade.id,
            Body::Touch(touch) => touch.id,
            _ => 0,
        }
    }

    fn drain(synchroniser: &mut Synchroniser, now: u64) -> Vec<u64> {
        core::iter::from_fn(|| synchroniser.poll(Time(now)))
            .map(|update| id(&update))
            .collect()
    }

    #[test]
    fn a_trade_goes_before_the_depth_of_the_same_time() {
        let mut synchroniser = Synchroniser::new(10);
        synchroniser.push(touch(100, 1), Time(1));
        synchroniser.push(touch(101, 2), Time(2));
        synchroniser.push(trade(101, 3), Time(3));
        assert_eq!(drain(&mut synchroniser, 10), [0_u64; 0]);
        assert_eq!(
            synchroniser.poll_timeout().map(|(at, _)| at),
            Some(Time(11))
        );
        assert_eq!(drain(&mut synchroniser, 11), [1]);
        assert_eq!(drain(&mut synchroniser, 12), [3, 2]);
        assert_eq!(synchroniser.counts().late, 0);
    }

    #[test]
    fn a_late_update_passes_marked() {
        let mut synchroniser = Synchroniser::new(10);
        synchroniser.push(touch(100, 1), Time(1));
        assert_eq!(drain(&mut synchroniser, 20), [1]);
        synchroniser.push(trade(99, 2), Time(21));
        let late = synchroniser.poll(Time(40)).expect("released");
        assert!(late.late);
        assert_eq!(synchroniser.counts().late, 1);
    }

    #[test]
    fn a_gap_keeps_its_place_in_the_book_stream() {
        let mut synchroniser = Synchroniser::new(10);
        synchroniser.push(touch(100, 1), Time(1));
        synchroniser.push(update(0, Body::Gap(Gap::of(GapReason::Sequence))), Time(1));
        synchroniser.push(touch(50, 2), Time(1));
        assert_eq!(drain(&mut synchroniser, 20), [1, 0, 2]);
    }

    #[test]
    fn overflow_releases_early_and_loses_nothing() {
        let mut synchroniser = Synchroniser::new(1_000_000);
        let mut released = Vec::new();
        for n in 0..3 * MAX_HELD as u64 {
            synchroniser.push(touch(n, n + 1), Time(n));
            released.extend(drain(&mut synchroniser, n));
        }
        assert_eq!(released.len(), 2 * MAX_HELD);
        released.extend(core::iter::from_fn(|| synchroniser.flush()).map(|update| id(&update)));
        assert!(released.iter().copied().eq(1..=3 * MAX_HELD as u64));
        assert_eq!(synchroniser.counts().forced, 2 * MAX_HELD as u64);
    }

    proptest! {
        /// Nothing is lost; book updates keep their order; what is not late is in order of time.
        #[test]
        fn orders_whatever_comes(stamps in proptest::collection::vec((0_u64..50, any::<bool>()), 1..200)) {
            let mut synchroniser = Synchroniser::new(5);
            let mut out = Vec::new();
            for (n, (stamp, is_trade)) in (1..).zip(&stamps) {
                let make = if *is_trade { trade } else { touch };
                synchroniser.push(make(100 + n + stamp, n), Time(n));
                out.extend(core::iter::from_fn(|| synchroniser.poll(Time(n))));
            }
            out.extend(core::iter::from_fn(|| synchroniser.flush()));
            prop_assert_eq!(out.len(), stamps.len());
            let books: Vec<_> = out.iter().filter(|u| matches!(u.body, Body::Touch(_))).map(id).collect();
            prop_assert!(books.is_sorted());
            let trades: Vec<_> = out.iter().filter(|u| matches!(u.body, Body::Trade(_)) && !u.late).map(|u| u.venue_time).collect();
            prop_assert!(trades.is_sorted());
        }
    }
}
