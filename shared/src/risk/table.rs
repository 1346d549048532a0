//! Every limit that binds, with what it measures now, for the page.

use alloc::vec::Vec;

use super::breakers::{Track, Trip};
use super::exposure::{Facts, Worth};
use super::gate::{Account, Denial, Gate, Held, Row, Standing, Subject, stop_bps};
use super::limits::{self, MAX_SECTORS, Unit};
use super::state::Scope;
use super::watch::Exit;
use crate::instrument::{InstrumentId, Venue};
use crate::num::{BPS, saturate};
use crate::order::Reason;

/// Rows of a table: one per limit that binds, and one per sector.
pub const MAX_ROWS: usize = 32 + MAX_SECTORS;

/// A limit counts as close when four fifths of it are used.
const CLOSE: (i64, i64) = (4, 5);

/// The code of a closing that the gate asks for; `None` for reasons that are not its own.
#[must_use]
pub const fn exit_code(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::StopLoss => Some("R36-stop-loss"),
        Reason::TakeProfit => Some("R37-take-profit"),
        Reason::TrailingStop => Some("R38-trailing-stop"),
        Reason::Decision | Reason::Flatten => None,
    }
}

/// Which way a limit binds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Binds {
    /// Tripped above the limit.
    Above,
    /// Tripped at the limit.
    At,
    /// Tripped below the limit.
    Below,
}

fn row(
    code: &'static str,
    name: &'static str,
    subject: Subject,
    (value, limit): (i64, i64),
    binds: Binds,
) -> Row {
    let unit = limits::key(name).map_or(Unit::BasisPoints, |key| key.unit);
    let (many, of) = (i128::from(CLOSE.0), i128::from(CLOSE.1));
    let (now, bound) = (i128::from(value), i128::from(limit));
    let (tripped, close) = match binds {
        Binds::Above => (value > limit, now * of >= bound * many),
        Binds::At => (value >= limit, now * of >= bound * many),
        Binds::Below => (value < limit, now * many < bound * of),
    };
    let left = if binds == Binds::Below {
        now - bound
    } else {
        bound - now
    };
    Row {
        code,
        name,
        subject,
        unit,
        value,
        limit,
        headroom: saturate(left),
        floor: binds == Binds::Below,
        standing: match (tripped, close) {
            (true, _) => Standing::Tripped,
            (false, true) => Standing::Warning,
            (false, false) => Standing::Clear,
        },
    }
}

fn trip_row(trip: &Trip, scope: Scope) -> Row {
    let (code, subject) = (trip.cause.code(), Subject::Scope(scope));
    row(
        code,
        trip.name,
        subject,
        (trip.value, trip.limit),
        Binds::At,
    )
}

fn only(id: InstrumentId) -> Subject {
    Subject::Scope(Scope::Instrument(id))
}

const ALL: Subject = Subject::Scope(Scope::Portfolio);

impl Gate {
    /// Every limit that binds, with its present value; at most [`MAX_ROWS`]. What is measured per
    /// instrument, venue or group is shown for the one closest to the limit, and left out while there
    /// is none.
    #[must_use]
    pub fn table(&self, account: &Account<'_>) -> Vec<Row> {
        let mut rows = Vec::new();
        self.exposures(account, &mut rows);
        let trips = self.portfolio_trips(account.equity);
        rows.extend(trips.iter().map(|trip| trip_row(trip, Scope::Portfolio)));
        let violations = (
            self.violations(account.at),
            self.limits.emergency_violations,
        );
        let code = Denial::Emergency.code();
        rows.push(row(
            code,
            "emergency_violations",
            ALL,
            violations,
            Binds::At,
        ));
        self.venues(&mut rows);
        self.markets(account, &mut rows);
        self.exits(account, &mut rows);
        rows
    }

    fn exposures(&self, account: &Account<'_>, rows: &mut Vec<Row>) {
        let limits = &self.limits;
        let equity = i128::from(account.equity.0);
        let share = |total: i128| {
            if total <= 0 {
                0
            } else if equity <= 0 {
                i64::MAX
            } else {
                // Upwards, so that what exceeds its limit is never shown at it.
                saturate((total * i128::from(BPS) + equity - 1) / equity)
            }
        };
        let places = account.held.iter().zip(&self.facts).zip(&self.tracks);
        let (mut sectors, mut groups) = ([0; MAX_SECTORS], [0; crate::instrument::MAX_INSTRUMENTS]);
        let (mut gross, mut long, mut short, mut heat) = (0, 0, 0, 0);
        let (mut largest, mut unpriced) = ((0, 0), 0);
        for (place, ((held, facts), track)) in places.enumerate() {
            let Some(worth) = Worth::of(held, held.ask, facts) else {
                unpriced += 1;
                continue;
            };
            let worst = i128::from(worth.worst());
            gross += worst;
            long += i128::from(worth.bought);
            short -= i128::from(worth.sold);
            heat += worst * i128::from(stop_bps(limits, track));
            if let Some(sector) = facts.sector {
                sectors[usize::from(sector)] += worst;
            }
            groups[usize::from(self.correlation.groups()[place])] += worst;
            largest = largest.max((worst, place));
        }
        let mut push = |denial: Denial, name, subject, total: i128, limit| {
            rows.push(row(
                denial.code(),
                name,
                subject,
                (share(total), limit),
                Binds::Above,
            ));
        };
        let (worst, place) = largest;
        let cap = limits.position_cap_bps;
        push(
            Denial::PositionCap,
            "position_cap_bps",
            only(id(place)),
            worst,
            cap,
        );
        push(
            Denial::Exposure,
            "exposure_cap_bps",
            ALL,
            long.max(short),
            limits.exposure_cap_bps,
        );
        push(
            Denial::GrossCap,
            "gross_cap_bps",
            ALL,
            gross,
            limits.gross_cap_bps,
        );
        push(
            Denial::Heat,
            "heat_cap_bps",
            ALL,
            heat / i128::from(BPS),
            limits.heat_cap_bps,
        );
        for (place, sector) in limits.sectors.caps.iter().enumerate() {
            let total = sectors[place];
            push(
                Denial::SectorCap,
                "sectors",
                Subject::Sector(place),
                total,
                sector.cap_bps,
            );
        }
        let totals = groups.iter().take(self.facts.len()).zip(0..);
        if let Some((total, place)) = totals.max() {
            let (group, cap) = (Subject::Group(id(place)), limits.correlated_cap_bps);
            push(
                Denial::CorrelatedCap,
                "correlated_cap_bps",
                group,
                *total,
                cap,
            );
        }
        let free = if equity > 0 {
            BPS.saturating_sub(share(gross))
        } else {
            0
        };
        let reserve = (free, limits.cash_reserve_bps);
        let code = Denial::CashReserve.code();
        rows.push(row(code, "cash_reserve_bps", ALL, reserve, Binds::Below));
        let mut row = row(
            Denial::Unpriced.code(),
            "unpriced",
            ALL,
            (unpriced, 0),
            Binds::Above,
        );
        row.unit = Unit::Count;
        if unpriced == 0 {
            row.standing = Standing::Clear;
        }
        rows.push(row);
    }

    fn venues(&self, rows: &mut Vec<Row>) {
        let used = |venue: &Venue| self.facts.iter().any(|facts| facts.venue == *venue);
        for place in 0..3 {
            let venues = Venue::ALL.into_iter().filter(used);
            let trips = venues.map(|venue| (venue, self.venue_trips(venue)[place]));
            if let Some((venue, trip)) = trips.max_by_key(|(_, trip)| trip.value) {
                rows.push(trip_row(&trip, Scope::Venue(venue)));
            }
        }
    }

    fn markets(&self, account: &Account<'_>, rows: &mut Vec<Row>) {
        let (at, limits) = (account.at, &self.limits);
        let seen = |(place, track)| (id(place), track);
        let tracks = self.tracks.iter().enumerate().map(seen);
        let tracks = tracks.filter(|(_, track): &(_, &Track)| track.observed.is_known());
        for place in 0..2 {
            let trips = tracks
                .clone()
                .map(|(id, t)| (id, self.instrument_trips(t)[place]));
            if let Some((id, trip)) = trips.max_by_key(|(_, trip)| trip.value) {
                rows.push(trip_row(&trip, Scope::Instrument(id)));
            }
        }
        let mut push = |denial: Denial, name, worst: Option<(InstrumentId, i64)>, limit, binds| {
            if let Some((id, value)) = worst {
                rows.push(row(denial.code(), name, only(id), (value, limit), binds));
            }
        };
        let worst = |of: &dyn Fn(&Track) -> i64| {
            let all = tracks.clone().map(|(id, track)| (id, of(track)));
            all.max_by_key(|(_, value)| *value)
        };
        let age = |track: &Track| at.since(track.updated) / super::gate::SECOND;
        push(
            Denial::StaleFeed,
            "stale_s",
            worst(&age),
            limits.stale_s,
            Binds::Above,
        );
        push(
            Denial::Latency,
            "latency_ms",
            worst(&Track::lag_ms),
            limits.latency_ms,
            Binds::At,
        );
        let spread = worst(&|track| track.spread_bps);
        push(
            Denial::WideSpread,
            "max_spread_bps",
            spread,
            limits.max_spread_bps,
            Binds::Above,
        );
        let thinnest = tracks.clone().map(|(id, track)| (id, track.depth.0));
        let thinnest = thinnest.min_by_key(|(_, depth)| *depth);
        push(
            Denial::ThinBook,
            "min_depth",
            thinnest,
            limits.min_depth.0,
            Binds::Below,
        );

        let perpetual = |(id, _): &(InstrumentId, &Track)| self.facts[id.index()].is_perpetual();
        let rates = self.tracks.iter().enumerate().map(seen).filter(perpetual);
        let rates = rates.filter_map(|(id, track)| Some((id, track.funding?)));
        if let Some((id, rate)) = rates.clone().max_by_key(|(_, rate)| rate.bps) {
            let (code, values) = (
                Denial::FundingRate.code(),
                (rate.bps, limits.funding_block_bps),
            );
            let mut row = row(code, "funding_block_bps", only(id), values, Binds::At);
            if row.standing != Standing::Tripped {
                let warned = rate.bps >= limits.funding_warn_bps;
                row.standing = if warned {
                    Standing::Warning
                } else {
                    Standing::Clear
                };
            }
            rows.push(row);
        }
        let left = rates.map(|(id, rate)| (id, rate.settles.since(at), rate.is_near(at, limits)));
        let soonest = left
            .filter(|(_, left, _)| *left >= 0)
            .min_by_key(|(_, left, _)| *left);
        if let Some((id, left, near)) = soonest {
            let values = (left / super::gate::SECOND, limits.funding_window_s);
            let code = Denial::FundingWindow.code();
            let mut row = row(code, "funding_window_s", only(id), values, Binds::Below);
            if near {
                row.standing = Standing::Tripped;
            }
            rows.push(row);
        }
    }

    fn exits(&self, account: &Account<'_>, rows: &mut Vec<Row>) {
        let places = account.held.iter().zip(&self.facts).zip(&self.trails);
        let exits = places.enumerate().map(|(place, ((held, facts), trail))| {
            (id(place), Exit::of(held, facts, *trail), held)
        });
        let exits = exits.filter(|(_, _, held): &(_, _, &Held)| held.qty.0 != 0);
        let limits = &self.limits;
        let mut push = |reason, name, limit, of: &dyn Fn(&Exit) -> i64| {
            let all = exits.clone().map(|(id, exit, _)| (id, of(&exit)));
            if let Some((id, value)) = all.max_by_key(|(_, value)| *value)
                && let Some(code) = exit_code(reason)
            {
                rows.push(row(code, name, only(id), (value, limit), Binds::At));
            }
        };
        let armed = |exit: &Exit| {
            let arms = exit.best >= limits.trailing_arm_bps;
            if arms { exit.retreat } else { 0 }
        };
        push(
            Reason::StopLoss,
            "stop_loss_bps",
            limits.stop_loss_bps,
            &|exit| exit.loss,
        );
        push(
            Reason::TakeProfit,
            "take_profit_bps",
            limits.take_profit_bps,
            &|exit| exit.gain,
        );
        if limits.trailing_stop_bps > 0 {
            push(
                Reason::TrailingStop,
                "trailing_stop_bps",
                limits.trailing_stop_bps,
                &armed,
            );
        }
    }

    /// The sector of an instrument by its place in the limits; `None` for one without a cap.
    #[must_use]
    pub fn sector(&self, id: InstrumentId) -> Option<usize> {
        let facts: Option<&Facts> = self.facts.get(id.index());
        facts.and_then(|facts| facts.sector).map(usize::from)
    }
}

fn id(place: usize) -> InstrumentId {
    InstrumentId(u16::try_from(place).unwrap_or(u16::MAX))
}
