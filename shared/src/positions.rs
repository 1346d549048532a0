//! Positions over time: what each fill closed, round trips, snapshots, and reconciliation with the
//! venue's own statement.
//!
//! The ledger holds what is owned now; the [`Tracker`] remembers how it came about. Cost is average
//! cost, as in the ledger. Fees travel with the position like cost: the share of the opening fees
//! that belongs to a closed quantity is charged when it closes, so that the results of round trips
//! sum to the money that came in.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use crate::attribution::REASONS;
use crate::event::Side;
use crate::instrument::InstrumentId;
use crate::num::{Cash, Qty, div_round, saturate};
use crate::order::{Fill, Reason};
use crate::time::{DAYS, MINUTES, Time};

/// Changes that are remembered, over all instruments.
pub const MAX_CHANGES: usize = 256;
/// Nanoseconds between two snapshots of an instrument.
pub const SNAPSHOT_NS: u64 = 60 * MINUTES;
/// Snapshots that are remembered of each instrument: seven days of hours.
pub const MAX_SNAPSHOTS: usize = (7 * DAYS / SNAPSHOT_NS) as usize;
/// Nanoseconds between two reconciliations.
pub const RECONCILE_NS: u64 = MINUTES;
/// Policies that can trade side by side, the one in charge and its challengers.
pub const MAX_POLICIES: usize = 4;
/// Values that [`Strategy::index`] can take.
pub const MAX_STRATEGIES: usize = MAX_POLICIES * REASONS;

/// On whose account a fill goes: a policy, and the reason of its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Strategy {
    policy: u8,
    reason: Reason,
}

impl Strategy {
    /// A policy's orders of this reason; `None` when there is no such policy.
    #[must_use]
    pub fn new(policy: u8, reason: Reason) -> Option<Self> {
        (usize::from(policy) < MAX_POLICIES).then_some(Self { policy, reason })
    }

    /// All of them, by index.
    pub fn all() -> impl Iterator<Item = Self> {
        let of = |policy| {
            Reason::ALL
                .into_iter()
                .map(move |reason| Self { policy, reason })
        };
        (0..MAX_POLICIES as u8).flat_map(of)
    }

    /// Its place in a table.
    #[must_use]
    pub const fn index(self) -> usize {
        self.policy as usize * REASONS + self.reason as usize
    }

    /// Its policy's slot.
    #[must_use]
    pub const fn policy(self) -> u8 {
        self.policy
    }

    /// Its reason.
    #[must_use]
    pub const fn reason(self) -> Reason {
        self.reason
    }
}

/// Why something cannot be tracked. Nothing is changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackError {
    /// The instrument is not in the table.
    UnknownInstrument(InstrumentId),
    /// A fill of nothing, or of less.
    NotPositive(Qty),
    /// The position would not fit 64 bits.
    TooLarge,
}

impl fmt::Display for TrackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownInstrument(id) => write!(f, "instrument {} is not in the table", id.0),
            Self::NotPositive(qty) => write!(f, "a fill of {} is not positive", qty.0),
            Self::TooLarge => f.write_str("the position does not fit 64 bits"),
        }
    }
}

/// A position, and what came of those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Held quantity; negative when short.
    pub qty: Qty,
    /// What it cost (negative: what a short was sold for), without fees.
    pub cost: Cash,
    /// Fees paid for what is held, not charged to a result yet.
    pub fees: Cash,
    /// Profit of what was closed so far, net of fees, with funding.
    pub realised: Cash,
}

/// A position as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When.
    pub at: Time,
    /// What.
    pub held: Held,
}

/// A position after a fill changed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Whose.
    pub instrument: InstrumentId,
    /// On whose account.
    pub strategy: Strategy,
    /// When, and what it became.
    pub snapshot: Snapshot,
}

/// What a fill closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// How much of the position.
    pub qty: Qty,
    /// Its profit, net of the fees of its opening and of its closing.
    pub net: Cash,
    /// The round trip that ended with it.
    pub trip: Option<Trip>,
}

/// A round trip: from flat to flat, or to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trip {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// On whose account: the one that opened it.
    pub strategy: Strategy,
    /// Which way it was opened.
    pub side: Side,
    /// When it was opened.
    pub opened: Time,
    /// When it was closed.
    pub closed: Time,
    /// What it earned, net of fees, with funding.
    pub result: Cash,
    /// Fees in it.
    pub fees: Cash,
    /// Funding received less paid in it.
    pub funding: Cash,
    /// Fills in it; one that turned the position counts in both trips.
    pub fills: u32,
}

impl Trip {
    /// Whether it earned anything.
    #[must_use]
    pub const fn won(&self) -> bool {
        self.result.0 > 0
    }

    /// How long it lasted, in nanoseconds; 0 when the clock was set back meanwhile.
    #[must_use]
    pub fn held_ns(&self) -> u64 {
        u64::try_from(self.closed.since(self.opened)).unwrap_or(0)
    }
}

/// What was counted here against what the venue states. It is never adopted: either side may be
/// wrong, and trading on a position that was taken from the other hides which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The position here.
    pub ours: Qty,
    /// What the venue executed (negative: sold) and has not been heard of here.
    pub unheard: Qty,
    /// The position by the venue's own account.
    pub statement: Qty,
    /// When they were compared.
    pub at: Time,
}

impl Difference {
    /// How much more the venue states than is explained here.
    #[must_use]
    pub fn by(&self) -> Qty {
        let [statement, ours, unheard] =
            [self.statement, self.ours, self.unheard].map(|qty| i128::from(qty.0));
        Qty(saturate(statement - ours - unheard))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "instrument {}: the venue states {}, but {} is held here and {} is on its way",
            self.instrument.0, self.statement.0, self.ours.0, self.unheard.0
        )
    }
}

/// A round trip that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    strategy: Strategy,
    side: Side,
    opened: Time,
    net: Cash,
    fees: Cash,
    funding: Cash,
    fills: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    held: Held,
    open: Option<Open>,
    snapshots: VecDeque<Snapshot>,
    /// The hour since the epoch of the newest snapshot, or of the first fill.
    hour: u64,
    /// Fills were seen.
    active: bool,
    /// The difference found by the newest reconciliation.
    difference: Option<Difference>,
}

/// Positions over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracker {
    places: Vec<Place>,
    changes: VecDeque<Change>,
    /// When the newest round of reconciliations began; `None` before the first of this run.
    reconciled: Option<Time>,
    /// Rounds of reconciliation so far.
    rounds: u64,
}

fn push_bounded<T>(ring: &mut VecDeque<T>, bound: usize, item: T) {
    if ring.len() >= bound {
        ring.pop_front();
    }
    ring.push_back(item);
}

/// The part of an amount that belongs to `part` of `whole`, rounded to nearest.
fn share(amount: Cash, part: i64, whole: i64) -> Cash {
    Cash(div_round(
        i128::from(amount.0) * i128::from(part),
        i128::from(whole),
    ))
}

impl Tracker {
    /// Nothing held in any of so many instruments.
    #[must_use]
    pub fn new(instruments: usize) -> Self {
        Self {
            places: alloc::vec![Place::default(); instruments],
            changes: VecDeque::new(),
            reconciled: None,
            rounds: 0,
        }
    }

    /// Counts a fill and tells what it closed, if anything.
    ///
    /// # Errors
    /// [`TrackError`] when it cannot be a fill of this table.
    pub fn fill(
        &mut self,
        instrument: InstrumentId,
        strategy: Strategy,
        fill: &Fill,
        at: Time,
    ) -> Result<Option<Closed>, TrackError> {
        let place = self
            .places
            .get_mut(instrument.index())
            .ok_or(TrackError::UnknownInstrument(instrument))?;
        if fill.qty.0 <= 0 {
            return Err(TrackError::NotPositive(fill.qty));
        }
        let signed = fill.side.sign() * fill.qty.0;
        let becomes = place.held.qty.0.checked_add(signed);
        let becomes = becomes
            .filter(|qty| *qty != i64::MIN)
            .ok_or(TrackError::TooLarge)?;
        place.advance(at);
        let closed = place.fill(instrument, strategy, fill, at);
        debug_assert_eq!(place.held.qty.0, becomes, "what opened and closed is all");
        let snapshot = Snapshot {
            at,
            held: place.held,
        };
        push_bounded(
            &mut self.changes,
            MAX_CHANGES,
            Change {
                instrument,
                strategy,
                snapshot,
            },
        );
        Ok(closed)
    }

    /// Counts funding received (negative: paid) on a position. It belongs to the round trip that is
    /// open; settled after the position was closed, it is realised without one.
    ///
    /// # Errors
    /// [`TrackError::UnknownInstrument`].
    pub fn fund(
        &mut self,
        instrument: InstrumentId,
        amount: Cash,
        at: Time,
    ) -> Result<(), TrackError> {
        let place = self
            .places
            .get_mut(instrument.index())
            .ok_or(TrackError::UnknownInstrument(instrument))?;
        place.advance(at);
        place.held.realised += amount;
        if let Some(open) = &mut place.open {
            open.funding += amount;
        }
        Ok(())
    }

    /// Since when the open position of an instrument is held, and the funding that it received since
    /// (negative: paid); `None` when nothing is held.
    #[must_use]
    pub fn funded(&self, instrument: InstrumentId) -> Option<(Time, Cash)> {
        let open = self.places.get(instrument.index())?.open.as_ref()?;
        Some((open.opened, open.funding))
    }

    /// Takes the hourly snapshots that are due. An hour's snapshot is the position as it stood when
    /// the hour began; of hours that nothing was heard in, only the newest has one.
    pub fn advance(&mut self, at: Time) {
        for place in &mut self.places {
            place.advance(at);
        }
    }

    /// The position in an instrument.
    #[must_use]
    pub fn held(&self, instrument: InstrumentId) -> Option<&Held> {
        self.places.get(instrument.index()).map(|place| &place.held)
    }

    /// The hourly snapshots of an instrument, oldest first.
    pub fn snapshots(&self, instrument: InstrumentId) -> impl Iterator<Item = &Snapshot> {
        let place = self.places.get(instrument.index());
        place.into_iter().flat_map(|place| &place.snapshots)
    }

    /// The newest changes over all instruments, oldest first.
    pub fn changes(&self) -> impl ExactSizeIterator<Item = &Change> {
        self.changes.iter()
    }

    /// The process started: reconciliation is due at once.
    pub const fn restart(&mut self) {
        self.reconciled = None;
    }

    /// Whether every position is to be reconciled now: at the start, then every [`RECONCILE_NS`], and
    /// when the clock was set back. A round that was called due counts as begun.
    #[must_use]
    pub fn due(&mut self, now: Time) -> bool {
        let due = self.reconciled.is_none_or(|last| {
            u64::try_from(now.since(last)).map_or(true, |elapsed| elapsed >= RECONCILE_NS)
        });
        if due {
            self.reconciled = Some(now);
            self.rounds += 1;
        }
        due
    }

    /// Compares the position here (`ours`) with the venue's own (`statement`), given what it executed
    /// that is still on its way here (`unheard`, negative when sold). The outcome is remembered until
    /// the next comparison; positions stay as they are.
    ///
    /// # Errors
    /// The numbers when `ours` and `unheard` do not sum to `statement`.
    pub fn reconcile(
        &mut self,
        instrument: InstrumentId,
        ours: Qty,
        statement: Qty,
        unheard: Qty,
        at: Time,
    ) -> Result<(), Difference> {
        let difference = Difference {
            instrument,
            ours,
            unheard,
            statement,
            at,
        };
        let found = Some(difference).filter(|difference| difference.by() != Qty(0));
        if let Some(place) = self.places.get_mut(instrument.index()) {
            place.difference = found;
        }
        found.map_or(Ok(()), Err)
    }

    /// When the newest round of reconciliations began; `None` before the first of this run.
    #[must_use]
    pub const fn reconciled(&self) -> Option<Time> {
        self.reconciled
    }

    /// Rounds of reconciliation so far.
    #[must_use]
    pub const fn rounds(&self) -> u64 {
        self.rounds
    }

    /// The differences that the newest comparison of each instrument found.
    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.places
            .iter()
            .filter_map(|place| place.difference.as_ref())
    }
}

impl Place {
    /// Takes the snapshot of the newest hour that began since the last one.
    fn advance(&mut self, at: Time) {
        let hour = at.0 / SNAPSHOT_NS;
        if !self.active || hour == self.hour {
            return;
        }
        let begins = Time(hour * SNAPSHOT_NS);
        if hour < self.hour {
            // The clock was set back: what was stamped later than now would never expire.
            self.snapshots.retain(|snapshot| snapshot.at < begins);
        }
        self.hour = hour;
        let oldest = begins.minus(SNAPSHOT_NS * MAX_SNAPSHOTS as u64);
        while self.snapshots.front().is_some_and(|s| s.at <= oldest) {
            self.snapshots.pop_front();
        }
        let snapshot = Snapshot {
            at: begins,
            held: self.held,
        };
        push_bounded(&mut self.snapshots, MAX_SNAPSHOTS, snapshot);
    }

    fn fill(
        &mut self,
        instrument: InstrumentId,
        strategy: Strategy,
        fill: &Fill,
        at: Time,
    ) -> Option<Closed> {
        if !self.active {
            self.active = true;
            self.hour = at.0 / SNAPSHOT_NS;
        }
        let sign = fill.side.sign();
        let held = self.held.qty.0;
        let closing = if held.signum() == -sign {
            held.abs().min(fill.qty.0)
        } else {
            0
        };
        let paid = Cash(sign * fill.notional.0);
        let (paid_closing, fee_closing) = (
            share(paid, closing, fill.qty.0),
            share(fill.fee, closing, fill.qty.0),
        );
        let closed =
            (closing > 0).then(|| self.close(instrument, closing, paid_closing, fee_closing, at));
        self.held.qty.0 += sign * fill.qty.0;
        let opening = fill.qty.0 - closing;
        if opening > 0 {
            self.held.cost += paid - paid_closing;
            self.held.fees += fill.fee - fee_closing;
            let open = self.open.get_or_insert(Open {
                strategy,
                side: fill.side,
                opened: at,
                net: Cash::ZERO,
                fees: Cash::ZERO,
                funding: Cash::ZERO,
                fills: 0,
            });
            open.fees += fill.fee - fee_closing;
            open.fills = open.fills.saturating_add(1);
        }
        closed
    }

    /// Realises a part of the position, or all of it.
    fn close(
        &mut self,
        instrument: InstrumentId,
        qty: i64,
        paid: Cash,
        fee: Cash,
        at: Time,
    ) -> Closed {
        let held = self.held.qty.0.abs();
        let (cost, fees) = (
            share(self.held.cost, qty, held),
            share(self.held.fees, qty, held),
        );
        let net = -paid - cost - fees - fee;
        self.held.cost = self.held.cost - cost;
        self.held.fees = self.held.fees - fees;
        self.held.realised += net;
        if let Some(open) = &mut self.open {
            open.net += net;
            open.fees += fee;
            open.fills = open.fills.saturating_add(1);
        }
        let trip = if qty == held { self.open.take() } else { None };
        Closed {
            qty: Qty(qty),
            net,
            trip: trip.map(|open| Trip {
                instrument,
                strategy: open.strategy,
                side: open.side,
                opened: open.opened,
                closed: at,
                result: open.net + open.funding,
                fees: open.fees,
                funding: open.funding,
                fills: open.fills,
            }),
        }
    }
}

#[cfg(test)]
mod tests;
