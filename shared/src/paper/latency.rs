//! How long a request takes to the venue and its answer back.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::instrument::Venue;
use crate::rand::Rng;
use crate::time::Time;

/// Round trips kept per venue.
pub const ROUND_TRIPS: usize = 256;
/// Round trips that must have been measured before they replace the prior.
pub const ROUND_TRIPS_NEEDED: usize = 16;

/// Of the measured round trips, so many in a hundred are no longer than the bound.
pub const BOUND_PERCENT: usize = 90;

/// How latencies are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Latency {
    /// Always the same. A negative entry means that the venue refuses every request, which is known
    /// here after that much time.
    Constant {
        /// From here to the venue, in nanoseconds.
        entry_ns: i64,
        /// Back, in nanoseconds.
        response_ns: i64,
    },
    /// Half of a round trip drawn from those measured; until [`ROUND_TRIPS_NEEDED`] were, uniform
    /// between the given least and most.
    Measured {
        /// From here to the venue, in nanoseconds, least and most.
        entry_ns: (u64, u64),
        /// Back, in nanoseconds, least and most.
        response_ns: (u64, u64),
    },
    /// Interpolated between recorded requests, sorted by request time.
    Recorded(Vec<Row>),
}

/// One recorded request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// When it was sent, in nanoseconds since the epoch.
    pub request: i64,
    /// When the venue took it; zero or less when it refused.
    pub venue: i64,
    /// When the answer was here.
    pub response: i64,
}

/// The newest round trips of every venue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundTrips {
    /// One per venue at most.
    rings: Vec<Ring>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Ring {
    venue: Venue,
    /// Where the next one goes.
    next: usize,
    /// At most [`ROUND_TRIPS`].
    trips: Vec<u64>,
}

impl RoundTrips {
    /// None yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { rings: Vec::new() }
    }

    /// A round trip to a venue took so many nanoseconds.
    pub fn measured(&mut self, venue: Venue, nanoseconds: u64) {
        let place = self.rings.iter().position(|ring| ring.venue == venue);
        let place = place.unwrap_or_else(|| {
            self.rings.push(Ring {
                venue,
                next: 0,
                trips: Vec::with_capacity(ROUND_TRIPS),
            });
            self.rings.len() - 1
        });
        let ring = &mut self.rings[place];
        match ring.trips.get_mut(ring.next) {
            Some(oldest) => *oldest = nanoseconds,
            None => ring.trips.push(nanoseconds),
        }
        ring.next = (ring.next + 1) % ROUND_TRIPS;
    }

    /// How many of a venue are kept.
    #[must_use]
    pub fn count(&self, venue: Venue) -> usize {
        self.of(venue).len()
    }

    /// The newest of a venue in nanoseconds, in no order.
    #[must_use]
    pub fn of(&self, venue: Venue) -> &[u64] {
        let ring = self.rings.iter().find(|ring| ring.venue == venue);
        ring.map_or(&[], |ring| &ring.trips)
    }

    /// Half of a round trip drawn from those measured, or a draw from the prior before.
    fn one_way(&self, venue: Venue, (least, most): (u64, u64), rng: &mut Rng) -> i64 {
        let trips = self.of(venue);
        let drawn = if trips.len() < ROUND_TRIPS_NEEDED {
            least.saturating_add(rng.below(most.saturating_sub(least).saturating_add(1)))
        } else {
            let place = usize::try_from(rng.below(trips.len() as u64)).unwrap_or(0);
            trips[place] / 2
        };
        i64::try_from(drawn).unwrap_or(i64::MAX)
    }
}

/// Half of a round trip that [`BOUND_PERCENT`] of those measured do not exceed; the longest of the prior
/// before enough were measured.
fn one_way_bound(trips: &[u64], longest: u64) -> u64 {
    if trips.len() < ROUND_TRIPS_NEEDED {
        return longest;
    }
    let mut sorted = [0; ROUND_TRIPS];
    let sorted = &mut sorted[..trips.len().min(ROUND_TRIPS)];
    sorted.copy_from_slice(&trips[..sorted.len()]);
    let place = (sorted.len() * BOUND_PERCENT).div_ceil(100) - 1;
    let (_, bound, _) = sorted.select_nth_unstable(place);
    *bound / 2
}

/// Where an instrument stands in the recorded rows: times only grow, so the rows before are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    entry: usize,
    response: usize,
}

/// What latencies are drawn from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sampler {
    pub(super) rng: Rng,
    pub(super) round_trips: RoundTrips,
}

impl Latency {
    /// From here to the venue for a request sent at `now`; negative when the venue refuses it, which
    /// is known here after that much time.
    pub(super) fn entry(
        &self,
        now: i64,
        venue: Venue,
        cursor: &mut Cursor,
        sampler: &mut Sampler,
    ) -> i64 {
        match self {
            Self::Constant { entry_ns, .. } => *entry_ns,
            Self::Measured { entry_ns, .. } => {
                sampler
                    .round_trips
                    .one_way(venue, *entry_ns, &mut sampler.rng)
            }
            Self::Recorded(rows) => recorded_entry(rows, now, &mut cursor.entry),
        }
    }

    /// What a request sent now takes to the venue, as a bound without chance; `None` where the venue
    /// refuses it.
    #[must_use]
    pub fn entry_bound(&self, now: Time, venue: Venue, round_trips: &RoundTrips) -> Option<u64> {
        match self {
            Self::Constant { entry_ns, .. } => u64::try_from(*entry_ns).ok(),
            Self::Measured { entry_ns, .. } => {
                Some(one_way_bound(round_trips.of(venue), entry_ns.1))
            }
            Self::Recorded(rows) => {
                let now = i64::try_from(now.0).unwrap_or(i64::MAX);
                let mut place = rows.partition_point(|row| row.request <= now);
                place = place.saturating_sub(1);
                u64::try_from(recorded_entry(rows, now, &mut place)).ok()
            }
        }
    }

    /// How old what is seen of the venue's book is, as a bound without chance.
    #[must_use]
    pub fn feed_bound(&self, venue: Venue, round_trips: &RoundTrips) -> u64 {
        match self {
            Self::Measured { response_ns, .. } => {
                one_way_bound(round_trips.of(venue), response_ns.1)
            }
            Self::Constant { .. } | Self::Recorded(_) => 0,
        }
    }

    /// From the venue to here for something that happened at `executed`; never negative.
    pub(super) fn response(
        &self,
        executed: i64,
        venue: Venue,
        cursor: &mut Cursor,
        sampler: &mut Sampler,
    ) -> i64 {
        let latency = match self {
            Self::Constant { response_ns, .. } => *response_ns,
            Self::Measured { response_ns, .. } => {
                sampler
                    .round_trips
                    .one_way(venue, *response_ns, &mut sampler.rng)
            }
            Self::Recorded(rows) => recorded_response(rows, executed, &mut cursor.response),
        };
        latency.max(0)
    }

    /// How old what is seen of the venue's book is: as long as an answer takes where latencies are
    /// measured; nothing where the book carries the venue's own time.
    pub(super) fn feed(&self, venue: Venue, sampler: &mut Sampler) -> i64 {
        match self {
            Self::Measured { response_ns, .. } => {
                sampler
                    .round_trips
                    .one_way(venue, *response_ns, &mut sampler.rng)
            }
            Self::Constant { .. } | Self::Recorded(_) => 0,
        }
    }
}

/// The line through two points, in the arithmetic of hftbacktest 0.9.4 (`models/latency.rs`, `intp`).
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "as the reference has it"
)]
fn interpolate(x: i64, (x1, y1): (i64, i64), (x2, y2): (i64, i64)) -> i64 {
    (((y2 - y1) as f64) / ((x2 - x1) as f64) * ((x - x1) as f64)) as i64 + y1
}

fn recorded_entry(rows: &[Row], now: i64, place: &mut usize) -> i64 {
    match rows.first() {
        None => return 0,
        Some(first) if now < first.request => return first.venue - first.request,
        Some(_) => {}
    }
    while let [row, next, ..] = &rows[(*place).min(rows.len() - 1)..] {
        if row.request > now || now >= next.request {
            *place += 1;
            continue;
        }
        if row.venue <= 0 || next.venue <= 0 {
            let start = (row.request, row.response - row.request);
            let end = (next.request, next.response - next.request);
            return -interpolate(now, start, end);
        }
        let start = (row.request, row.venue - row.request);
        let end = (next.request, next.venue - next.request);
        return interpolate(now, start, end);
    }
    let last = rows[rows.len() - 1];
    last.venue - last.request
}

fn recorded_response(rows: &[Row], executed: i64, place: &mut usize) -> i64 {
    match rows.first() {
        None => return 0,
        Some(first) if executed < first.venue => return first.response - first.venue,
        Some(_) => {}
    }
    while let [row, next, ..] = &rows[(*place).min(rows.len() - 1)..] {
        if row.venue <= executed && executed < next.venue {
            let start = (row.venue, row.response - row.venue);
            let end = (next.venue, next.response - next.venue);
            return interpolate(executed, start, end);
        }
        *place += 1;
    }
    let last = rows[rows.len() - 1];
    last.response - last.venue
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler() -> Sampler {
        Sampler {
            rng: Rng::new(1, 1),
            round_trips: RoundTrips::new(),
        }
    }

    const ROWS: [Row; 4] = [
        Row {
            request: 1_000,
            venue: 1_100,
            response: 1_150,
        },
        Row {
            request: 2_000,
            venue: 2_300,
            response: 2_400,
        },
        Row {
            request: 3_000,
            venue: 0,
            response: 3_500,
        },
        Row {
            request: 4_000,
            venue: 4_010,
            response: 4_020,
        },
    ];

    #[test]
    fn recorded_latencies_are_interpolated() {
        let latency = Latency::Recorded(ROWS.to_vec());
        let (mut cursor, mut sampler) = (Cursor::default(), sampler());
        let mut entry = |now| latency.entry(now, Venue::Binance, &mut cursor, &mut sampler);
        assert_eq!(entry(10), 100, "before the first row");
        assert_eq!(entry(1_500), 200, "half way from 100 to 300");
        assert_eq!(
            entry(2_500),
            -450,
            "refused, known half way from 400 to 500"
        );
        assert_eq!(entry(3_500), -260);
        assert_eq!(entry(9_000), 10, "after the last row");
    }

    #[test]
    fn recorded_answers_are_interpolated_by_venue_time() {
        let latency = Latency::Recorded(ROWS[..2].to_vec());
        let (mut cursor, mut sampler) = (Cursor::default(), sampler());
        let mut back = |at| latency.response(at, Venue::Binance, &mut cursor, &mut sampler);
        assert_eq!(
            (back(10), back(1_100), back(1_700), back(9_000)),
            (50, 50, 75, 100)
        );
    }

    #[test]
    fn the_prior_rules_until_enough_was_measured() {
        let latency = Latency::Measured {
            entry_ns: (10, 20),
            response_ns: (30, 40),
        };
        let mut sampler = sampler();
        let mut cursor = Cursor::default();
        for trip in 0..ROUND_TRIPS_NEEDED as u64 {
            let entry = latency.entry(0, Venue::Kraken, &mut cursor, &mut sampler);
            let response = latency.response(0, Venue::Kraken, &mut cursor, &mut sampler);
            assert!((10..=20).contains(&entry) && (30..=40).contains(&response));
            sampler
                .round_trips
                .measured(Venue::Kraken, 1_000 + 2 * trip);
        }
        for _ in 0..100 {
            let entry = latency.entry(0, Venue::Kraken, &mut cursor, &mut sampler);
            assert!(
                (500..=515).contains(&entry),
                "half of a round trip: {entry}"
            );
            let other = latency.entry(0, Venue::Binance, &mut cursor, &mut sampler);
            assert!((10..=20).contains(&other), "another venue's");
        }
    }

    #[test]
    fn the_oldest_round_trips_are_dropped() {
        let mut trips = RoundTrips::new();
        for trip in 0..3 * ROUND_TRIPS as u64 {
            trips.measured(Venue::Kraken, trip);
        }
        assert_eq!(trips.count(Venue::Kraken), ROUND_TRIPS);
        let least = trips.of(Venue::Kraken).iter().min();
        assert_eq!(least, Some(&(2 * ROUND_TRIPS as u64)));
    }
}
