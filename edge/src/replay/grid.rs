//! Steps on a regular grid of time, for recordings in which no pulse is recorded.
//!
//! A pulse falls on every multiple of its length since the epoch, after everything that was heard at or before
//! that instant and before everything that came later: a step knows nothing of its future.

use std::path::PathBuf;

use tickerml_shared::engine::{Engine, Output, Setup};
use tickerml_shared::event::{Event, Record, Update};
use tickerml_shared::instrument::{Instrument, InstrumentId, Venue};
use tickerml_shared::synchroniser::{HOLD_NS, Synchroniser};
use tickerml_shared::time::{SECONDS, Time};
use tickerml_shared::trajectory::MarketStep;

use super::lines::for_each_line;
use super::{Progress, ReplayError, STAMPLESS_STEP_NS, discover};
use crate::venue::session::Session;

/// An instrument that was silent for longer is masked: nobody knows whether its book still stands.
pub const STALE_NS: u64 = 60 * SECONDS;
/// An instrument that was silent for longer has no steps at all until it is heard again.
pub const QUIET_NS: u64 = 600 * SECONDS;

/// What is done with each step.
pub type OnStep<'a> = &'a mut dyn FnMut(&MarketStep, &Instrument) -> Result<(), String>;

/// An engine that is given a market's past and steps on a grid.
#[derive(Debug)]
pub struct Grid {
    engine: Engine,
    pulse_ns: u64,
    quiet_ns: u64,
    /// The next pulse; unknown before the first event.
    next: Time,
    /// When each instrument was heard last.
    heard: Vec<Time>,
    seq: u64,
    /// Instruments whose book found itself wrong, not yet taken by [`Grid::wrong`].
    wrong: Vec<InstrumentId>,
}

impl Grid {
    /// Nothing heard yet. Pulses are `pulse_ns` apart (at least one nanosecond), and end `quiet_ns` after the
    /// newest event until there is another.
    #[must_use]
    pub fn new(instruments: Vec<Instrument>, pulse_ns: u64, quiet_ns: u64) -> Self {
        let heard = vec![Time::UNKNOWN; instruments.len()];
        Self {
            engine: Engine::new(Setup::market_only(instruments)),
            pulse_ns: pulse_ns.max(1),
            quiet_ns,
            next: Time::UNKNOWN,
            heard,
            seq: 0,
            wrong: Vec::new(),
        }
    }

    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The next pulse that falls before `at` and is worth having.
    #[must_use]
    pub fn due(&mut self, at: Time) -> Option<Time> {
        let newest = self.heard.iter().copied().max().unwrap_or_default();
        if !newest.is_known() {
            return None;
        }
        if !self.next.is_known() {
            self.next = self.ceiling(newest);
        }
        if self.next.since(newest) > self.quiet_ns.cast_signed() {
            return None;
        }
        (self.next < at).then_some(self.next)
    }

    /// The first point of the grid at or after `at`.
    const fn ceiling(&self, at: Time) -> Time {
        Time(at.0.div_ceil(self.pulse_ns).saturating_mul(self.pulse_ns))
    }

    /// Pulses at [`Grid::due`], and gives the steps of the instruments that are heard.
    ///
    /// # Errors
    /// That of `each`.
    pub fn pulse(&mut self, each: OnStep<'_>) -> Result<(), String> {
        let at = self.next;
        self.next = at.plus(self.pulse_ns);
        self.apply(at, Event::Pulse, each)
    }

    /// Takes a market event at `at`, after all pulses before it. Steps do not come of it.
    ///
    /// # Errors
    /// That of `each`.
    pub fn market(&mut self, at: Time, update: Update, each: OnStep<'_>) -> Result<(), String> {
        if let Some(heard) = self.heard.get_mut(update.instrument.index()) {
            *heard = at;
        }
        if self.next.is_known() && self.next < at {
            // The pulses of the silence before it are not worth having.
            self.next = self.ceiling(at);
        }
        self.apply(at, Event::Market(update), each)
    }

    fn apply(&mut self, at: Time, event: Event, each: OnStep<'_>) -> Result<(), String> {
        self.seq += 1;
        let record = Record {
            seq: self.seq,
            at,
            event,
        };
        self.engine.handle(&record);
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Step(mut step) => {
                    let place = step.instrument.index();
                    let silent = at.since(self.heard[place]);
                    if !self.heard[place].is_known() || silent > self.quiet_ns.cast_signed() {
                        continue;
                    }
                    let patience = STALE_NS.max(self.pulse_ns).cast_signed();
                    step.masked |= silent > patience;
                    each(&step, &self.engine.setup().instruments[place])?;
                }
                Output::Resync { instrument, .. } => self.wrong.push(instrument),
                _ => {}
            }
        }
        Ok(())
    }

    /// Instruments whose book found itself wrong since this was asked last: each needs a snapshot.
    pub fn wrong(&mut self) -> Vec<InstrumentId> {
        std::mem::take(&mut self.wrong)
    }
}

/// Gives the market steps of captures of one venue, as one tape in the order given, at pulses on a grid: what a
/// policy would have seen. The frames go through session, synchroniser and engine, as live ones do.
///
/// # Errors
/// When a capture cannot be read or names no instrument; the error of `each`.
pub fn capture_steps(
    venue: Venue,
    paths: &[PathBuf],
    pulse_ns: u64,
    each: OnStep<'_>,
) -> Result<(), ReplayError> {
    let mut grid = Grid::new(discover(venue, paths)?, pulse_ns, QUIET_NS);
    let mut session = Session::capture(venue);
    let mut synchroniser = Synchroniser::new(HOLD_NS);
    let mut now = Time(1);
    let mut failed = None;
    for path in paths {
        let mut progress = Progress::new(path);
        for_each_line(path, venue, |received, text| {
            progress.line();
            if failed.is_some() {
                return;
            }
            let at = received
                .unwrap_or_else(|| now.plus(STAMPLESS_STEP_NS))
                .max(now);
            // What is held back is released before the pulse that it is due for.
            let mut parts = (&mut grid, &mut synchroniser, &mut session);
            let mut step = || -> Result<(), String> {
                while let Some(pulse) = parts.0.due(at) {
                    release(&mut parts, pulse, each)?;
                    parts.0.pulse(each)?;
                }
                now = at;
                parts.2.handle_frame(now, text);
                while let Some(update) = parts.2.poll_update() {
                    if received.is_none() {
                        now = now.max(update.venue_time);
                    }
                    parts.1.push(update, now);
                }
                release(&mut parts, now, each)
            };
            failed = step().err();
        })?;
        if let Some(error) = failed {
            return Err(ReplayError(error));
        }
        progress.done();
    }
    let mut parts = (&mut grid, &mut synchroniser, &mut session);
    // A moment after the last frame ends the tape: the pulse that it falls before is still due.
    let end = now.plus(HOLD_NS);
    release(&mut parts, end, each).map_err(ReplayError)?;
    while parts.0.due(end).is_some() {
        parts.0.pulse(each).map_err(ReplayError)?;
    }
    Ok(())
}

/// Gives the grid what is due.
fn release(
    (grid, synchroniser, session): &mut (&mut Grid, &mut Synchroniser, &mut Session),
    at: Time,
    each: OnStep<'_>,
) -> Result<(), String> {
    while let Some(update) = synchroniser.poll(at) {
        grid.market(at, update, each)?;
        for instrument in grid.wrong() {
            session.resync(at, instrument);
        }
    }
    Ok(())
}
