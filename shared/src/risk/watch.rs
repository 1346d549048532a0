//! What the gate watches at a pulse, what it asks for, and what takes effect when it comes back.

use alloc::vec::Vec;

use super::breakers::{Track, Trip, ms, share_bps};
use super::denial::denial_of;
use super::exposure::Facts;
use super::gate::{Account, Act, Asked, Gate, Held, Trail, applies};
use super::state::{Cause, Level, Mark, Restriction, Scope, week};
use crate::event::Side;
use crate::instrument::{InstrumentId, Venue};
use crate::num::{Cash, Price, Qty};
use crate::order::Reason;
use crate::time::{DAYS, SECONDS, Time};

/// The step by which equity must exceed its peak before the peak is raised: every raise is a durable
/// write.
const PEAK_STEP_BPS: i64 = 5;

impl Gate {
    /// Looks at the account, after all [`Gate::observe`]s of a pulse: at most
    /// [`super::gate::MAX_ACTS`] acts.
    pub fn pulse(&mut self, account: &Account<'_>) -> Vec<Act> {
        let at = account.at;
        let mut acts = Vec::new();
        self.restrictions
            .retain(|restriction| restriction.holds(at));
        self.sample(at);
        self.ask_mark(account, &mut acts);
        self.ask_portfolio(account, &mut acts);
        self.ask_venues(at, &mut acts);
        self.ask_instruments(at, &mut acts);
        self.cancel_openings(account, &mut acts);
        self.close(account, &mut acts);
        acts
    }

    /// Closes a sampling interval when the next one has begun.
    fn sample(&mut self, at: Time) {
        let width = self.limits.sample_s.unsigned_abs().max(1) * SECONDS;
        let index = at.0 / width;
        if index == self.sampled {
            return;
        }
        let next = index == self.sampled.wrapping_add(1);
        self.sampled = index;
        if !next {
            self.tracks.iter_mut().for_each(Track::interrupt);
        }
        let limits = &self.limits;
        let returns: Vec<_> = self
            .tracks
            .iter_mut()
            .map(|t| t.sample(at, limits))
            .collect();
        if next {
            self.correlation.push(returns);
        }
    }

    /// A new day, a new week, a new peak.
    fn ask_mark(&mut self, account: &Account<'_>, acts: &mut Vec<Act>) {
        let (at, equity) = (account.at, account.equity);
        let mut mark = self.mark;
        if at.day() > mark.day {
            mark.day = at.day();
            mark.day_equity = equity;
        }
        if week(at) > mark.week {
            mark.week = week(at);
            mark.week_equity = equity;
        }
        let known = self.asked.mark.unwrap_or(self.mark);
        let step = |peak: Cash| peak + peak.bps(PEAK_STEP_BPS);
        if equity > step(mark.peak) {
            mark.peak = equity;
        }
        if mark.day > known.day || mark.week > known.week || mark.peak > step(known.peak) {
            self.asked.mark = Some(mark);
            acts.push(Act::Mark(mark));
        }
    }

    /// The breakers of the portfolio.
    pub(super) fn portfolio_trips(&self, equity: Cash) -> [Trip; 6] {
        let (limits, mark) = (&self.limits, &self.mark);
        let loss = |since: Cash| share_bps((since - equity).0, since.0);
        let trip = |cause, level, name, value, limit| Trip {
            cause,
            level,
            name,
            value,
            limit,
        };
        let (day, drawdown) = (loss(mark.day_equity), loss(mark.peak));
        [
            trip(
                Cause::Drawdown,
                Level::Halted,
                "drawdown_halt_bps",
                drawdown,
                limits.drawdown_halt_bps,
            ),
            trip(
                Cause::WeeklyLoss,
                Level::Halted,
                "weekly_halt_bps",
                loss(mark.week_equity),
                limits.weekly_halt_bps,
            ),
            trip(
                Cause::DailyHalt,
                Level::Halted,
                "daily_halt_bps",
                day,
                limits.daily_halt_bps,
            ),
            trip(
                Cause::DrawdownReduce,
                Level::Reducing,
                "drawdown_reduce_bps",
                drawdown,
                limits.drawdown_reduce_bps,
            ),
            trip(
                Cause::DailyLoss,
                Level::Reducing,
                "daily_stop_bps",
                day,
                limits.daily_stop_bps,
            ),
            trip(
                Cause::Losses,
                Level::Reducing,
                "losses_in_a_row",
                self.record.streak,
                limits.losses_in_a_row,
            ),
        ]
    }

    /// The breakers of a venue.
    pub(super) fn venue_trips(&self, venue: Venue) -> [Trip; 3] {
        let (limits, health) = (&self.limits, &self.venues[venue as usize]);
        let trip = |cause, name, value, limit| Trip {
            cause,
            level: Level::Reducing,
            name,
            value,
            limit,
        };
        let round_trip = i64::try_from(health.round_trip_ns).unwrap_or(i64::MAX);
        let enough = i64::from(health.frames) >= limits.error_min_frames;
        let failed = share_bps(i64::from(health.errors), i64::from(health.frames));
        let offset = health.clock_offset_ns.saturating_abs();
        [
            trip(
                Cause::Latency,
                "latency_ms",
                ms(round_trip),
                limits.latency_ms,
            ),
            trip(
                Cause::ErrorRate,
                "error_rate_bps",
                if enough { failed } else { 0 },
                limits.error_rate_bps,
            ),
            trip(
                Cause::ClockOffset,
                "clock_offset_ms",
                ms(offset),
                limits.clock_offset_ms,
            ),
        ]
    }

    /// The breakers of an instrument.
    pub(super) fn instrument_trips(&self, track: &Track) -> [Trip; 2] {
        let trip = |cause, name, value, limit| Trip {
            cause,
            level: Level::Reducing,
            name,
            value,
            limit,
        };
        let limits = &self.limits;
        [
            trip(
                Cause::CrashFast,
                "crash_fast_bps",
                track.fast_bps,
                limits.crash_fast_bps,
            ),
            trip(
                Cause::CrashHour,
                "crash_hour_bps",
                track.hour_bps,
                limits.crash_hour_bps,
            ),
        ]
    }

    /// Asks for a restriction, unless it is in force or was asked for.
    fn ask(&mut self, wanted: Restriction, acts: &mut Vec<Act>) {
        let key = (wanted.scope, wanted.cause);
        let stands = self
            .restrictions
            .iter()
            .any(|restriction| (restriction.scope, restriction.cause) == key);
        if stands || self.asked.restrictions.contains(&key) {
            return;
        }
        self.asked.restrictions.push(key);
        acts.push(Act::Restrict(wanted));
    }

    fn ask_portfolio(&mut self, account: &Account<'_>, acts: &mut Vec<Act>) {
        let at = account.at;
        for trip in self.portfolio_trips(account.equity) {
            // A day's or week's loss is over with it, even while the new mark is being written.
            let current = match trip.cause {
                Cause::DailyLoss | Cause::DailyHalt => self.mark.day == at.day(),
                Cause::WeeklyLoss => self.mark.week == week(at),
                _ => true,
            };
            if !current || !trip.tripped() {
                continue;
            }
            let until = match trip.cause {
                Cause::DailyLoss => Some(at.day().plus(DAYS)),
                Cause::Losses => Some(later(at, self.limits.losses_cooloff_s)),
                _ => None,
            };
            let wanted = restriction(Scope::Portfolio, &trip, at, until);
            self.ask(wanted, acts);
        }
        if self.emergency(at) {
            let wanted = Restriction {
                scope: Scope::Portfolio,
                level: Level::Halted,
                cause: Cause::Emergency,
                since: at,
                until: None,
                flatten: true,
            };
            self.ask(wanted, acts);
        }
    }

    fn ask_venues(&mut self, at: Time, acts: &mut Vec<Act>) {
        let until = Some(later(at, self.limits.venue_cooloff_s));
        for venue in Venue::ALL {
            for trip in self.venue_trips(venue) {
                if trip.tripped() {
                    self.ask(restriction(Scope::Venue(venue), &trip, at, until), acts);
                }
            }
        }
    }

    fn ask_instruments(&mut self, at: Time, acts: &mut Vec<Act>) {
        let until = Some(later(at, self.limits.crash_cooloff_s));
        for (id, place) in (0_u16..).map(InstrumentId).zip(0..self.tracks.len()) {
            for trip in self.instrument_trips(&self.tracks[place]) {
                if trip.tripped() {
                    self.ask(restriction(Scope::Instrument(id), &trip, at, until), acts);
                }
            }
        }
    }

    /// Orders that would add risk where no risk may be added.
    fn cancel_openings(&self, account: &Account<'_>, acts: &mut Vec<Act>) {
        let at = account.at;
        let mut opening = (0_u16..)
            .map(InstrumentId)
            .zip(account.held)
            .filter(|(_, held)| opens(held))
            .map(|(id, _)| id);
        let everywhere = |r: &Restriction| r.scope == Scope::Portfolio && r.level > Level::Active;
        if self.restrictions.iter().any(everywhere) {
            acts.extend(opening.next().map(|_| Act::Cancel(Scope::Portfolio)));
        } else {
            let barred = opening.filter(|&id| self.level(id, at) > Level::Active);
            acts.extend(barred.map(|id| Act::Cancel(Scope::Instrument(id))));
        }
    }

    /// Positions to be closed: all of a scope, or those that reached one of their own limits.
    fn close(&mut self, account: &Account<'_>, acts: &mut Vec<Act>) {
        let places = (0_u16..)
            .map(InstrumentId)
            .zip(account.held)
            .zip(&self.facts);
        let places = places.map(|((id, held), facts)| (id, held, facts));
        for r in self.restrictions.iter().filter(|r| r.flatten) {
            let held = |(id, held, facts): (InstrumentId, &Held, &Facts)| {
                held.qty.0 != 0 && applies(r.scope, id, facts)
            };
            if places.clone().any(held) {
                acts.push(Act::Flatten {
                    scope: r.scope,
                    cause: r.cause,
                });
            }
        }
        let silenced = |id: InstrumentId, facts: &Facts| {
            let closes = |r: &Restriction| r.flatten || r.cause == Cause::KillSwitch;
            let mut all = self.restrictions.iter();
            all.any(|r| closes(r) && applies(r.scope, id, facts))
        };
        let mut exits = Vec::new();
        for ((id, held, facts), trail) in places.zip(&mut self.trails) {
            follow(trail, held);
            if silenced(id, facts) {
                continue;
            }
            if let Some(reason) = Exit::of(held, facts, *trail).reason(&self.limits) {
                exits.push(closing(id, held, reason));
            }
        }
        acts.append(&mut exits);
    }

    /// A mark came back, durable.
    pub fn marked(&mut self, mark: &Mark) {
        self.asked.mark = None;
        self.mark.peak = self.mark.peak.max(mark.peak);
        if mark.day > self.mark.day {
            (self.mark.day, self.mark.day_equity) = (mark.day, mark.day_equity);
        }
        if mark.week > self.mark.week {
            (self.mark.week, self.mark.week_equity) = (mark.week, mark.week_equity);
        }
    }

    /// A restriction came back, durable (or an operator commanded it), and takes effect. What
    /// follows at once: [`Act::Cancel`], and [`Act::Flatten`] when it flattens.
    pub fn restricted(&mut self, restriction: &Restriction) -> Vec<Act> {
        let Restriction { scope, cause, .. } = *restriction;
        self.asked
            .restrictions
            .retain(|asked| *asked != (scope, cause));
        match cause {
            Cause::Losses => self.record.streak = 0,
            Cause::Emergency => self.pardon(),
            _ => {}
        }
        let mut known = self.restrictions.iter_mut();
        if let Some(stands) = known.find(|r| (r.scope, r.cause) == (scope, cause)) {
            stands.level = stands.level.max(restriction.level);
            stands.flatten |= restriction.flatten;
            let (old, new) = (stands.until, restriction.until);
            stands.until = old.and_then(|old| new.map(|new| old.max(new)));
        } else {
            self.restrictions.push(*restriction);
            if cause.is_violation() {
                let key = match scope {
                    Scope::Portfolio => 0,
                    Scope::Venue(venue) => venue as u16,
                    Scope::Instrument(id) => id.0,
                };
                self.violate(denial_of(cause), key, restriction.since);
            }
        }
        let mut acts = Vec::new();
        if restriction.level > Level::Active {
            acts.push(Act::Cancel(scope));
        }
        if restriction.flatten {
            acts.push(Act::Flatten { scope, cause });
        }
        acts
    }

    /// An operator resumed a scope: its restrictions end (not those of other scopes), and what led
    /// to them is measured from here, or it would restrict again at once.
    pub fn resumed(&mut self, scope: Scope, equity: Cash, at: Time) {
        let lifted: Vec<Restriction> = self
            .restrictions
            .extract_if(.., |restriction| restriction.scope == scope)
            .collect();
        self.asked.restrictions.retain(|(asked, _)| *asked != scope);
        for restriction in lifted {
            match (restriction.cause, scope) {
                (Cause::Drawdown | Cause::DrawdownReduce, _) => self.mark.peak = equity,
                (Cause::DailyLoss | Cause::DailyHalt, _) => {
                    (self.mark.day, self.mark.day_equity) = (at.day(), equity);
                }
                (Cause::WeeklyLoss, _) => {
                    (self.mark.week, self.mark.week_equity) = (week(at), equity);
                }
                (Cause::Losses, _) => self.record.streak = 0,
                (Cause::Emergency, _) => self.pardon(),
                (Cause::CrashHour | Cause::CrashFast, Scope::Instrument(id)) => {
                    if let Some(track) = self.tracks.get_mut(id.index()) {
                        track.forget_moves();
                    }
                }
                (Cause::Latency | Cause::ErrorRate | Cause::ClockOffset, Scope::Venue(venue)) => {
                    self.venues[venue as usize] = super::gate::Health::default();
                }
                _ => {}
            }
        }
    }

    /// Why every position is to be closed, when so.
    #[must_use]
    pub fn flattening(&self) -> Option<Cause> {
        let all = |r: &&Restriction| r.flatten && r.scope == Scope::Portfolio;
        self.restrictions.iter().find(all).map(|r| r.cause)
    }

    /// Forgets what was asked for and never came back, so that it is asked for again.
    pub fn recover(&mut self) {
        self.asked = Asked::default();
    }
}

fn later(at: Time, seconds: i64) -> Time {
    at.plus(seconds.max(0).unsigned_abs().saturating_mul(SECONDS))
}

fn restriction(scope: Scope, trip: &Trip, at: Time, until: Option<Time>) -> Restriction {
    Restriction {
        scope,
        level: trip.level,
        cause: trip.cause,
        since: at,
        until,
        flatten: matches!(trip.cause, Cause::Drawdown),
    }
}

/// Whether open orders of an instrument could add risk.
fn opens(held: &Held) -> bool {
    held.buying.0 > (-held.qty.0).max(0) || held.selling.0 > held.qty.0.max(0)
}

fn closing(instrument: InstrumentId, held: &Held, reason: Reason) -> Act {
    let (side, pending) = if held.qty.0 > 0 {
        (Side::Sell, held.selling.0)
    } else {
        (Side::Buy, held.buying.0)
    };
    Act::Close {
        instrument,
        side,
        qty: Qty((held.qty.0.saturating_abs() - pending).max(0)),
        reason,
        cancel: pending > 0,
    }
}

/// Keeps the best price of a position since it was opened.
fn follow(trail: &mut Option<Trail>, held: &Held) {
    let long = held.qty.0 > 0;
    let mark = if long { held.bid } else { held.ask };
    *trail = match *trail {
        _ if held.qty.0 == 0 || mark.0 <= 0 => None,
        Some(Trail { long: same, best }) if same == long => Some(Trail {
            long,
            best: if long { best.max(mark) } else { best.min(mark) },
        }),
        _ => Some(Trail { long, best: mark }),
    };
}

/// How far a position is from each of its exits, in basis points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Exit {
    /// Loss, of its cost.
    pub(super) loss: i64,
    /// Gain, of its cost.
    pub(super) gain: i64,
    /// The gain it had at its best price.
    pub(super) best: i64,
    /// How much of its best price it gave back.
    pub(super) retreat: i64,
}

impl Exit {
    pub(super) fn of(held: &Held, facts: &Facts, trail: Option<Trail>) -> Self {
        let (long, cost) = (held.qty.0 > 0, held.cost.0);
        let mark = if long { held.bid } else { held.ask };
        if held.qty.0 == 0 || mark.0 <= 0 || cost == 0 {
            return Self::default();
        }
        let gained = |price: Price| facts.value(price, held.qty.0).0.saturating_sub(cost);
        let share = |part: i64| share_bps(part, cost.saturating_abs());
        let now = gained(mark);
        let best = trail.map_or(mark, |trail| trail.best);
        let away = (best.0 - mark.0) * held.qty.0.signum();
        Self {
            loss: share(-now),
            gain: share(now),
            best: share(gained(best)),
            retreat: share_bps(away, best.0),
        }
    }

    pub(super) const fn reason(&self, limits: &super::limits::Limits) -> Option<Reason> {
        let trailing = limits.trailing_stop_bps > 0 && self.best >= limits.trailing_arm_bps;
        if self.loss >= limits.stop_loss_bps {
            Some(Reason::StopLoss)
        } else if self.gain >= limits.take_profit_bps {
            Some(Reason::TakeProfit)
        } else if trailing && self.retreat >= limits.trailing_stop_bps {
            Some(Reason::TrailingStop)
        } else {
            None
        }
    }
}
