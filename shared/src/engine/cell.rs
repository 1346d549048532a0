//! One instrument inside the engine: its book, its features, what the policy sees of it.

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::book::{Book, State as BookState};
use crate::event::{Body, Funding, Gap, Side, Update};
use crate::features::bars::Timeframe;
use crate::features::cross::{Cross, Newest, Own};
use crate::features::funding::Announced;
use crate::features::{Features, Table, Vector, View};
use crate::instrument::{Instrument, InstrumentId};
use crate::num::{Cash, Price, notional};
use crate::paper::depth::Depth;
use crate::paper::funding::Schedule;
use crate::paper::impact::{Impact, ImpactTerms};
use crate::paper::synthetic::Synthetic;
use crate::paper::tape::Tape;
use crate::paper::venue::{Market, Surcharge, Terms};
use crate::time::{SECONDS, Time};
use crate::trajectory::MarketStep;
use crate::window::{Step, Window};

/// A book that was dark for so long is replaced by one made of bars, for orders that must close.
pub(super) const DARK_NS: u64 = 60 * SECONDS;
/// How long after a timeframe is found without bars the venue is asked for its own: it needs a moment
/// to state the bar that has just closed.
const HISTORY_AFTER_NS: u64 = 5 * SECONDS;
/// It is asked again after the timeframe's length, but not sooner than this, in seconds,
const HISTORY_LEAST_S: u64 = 60;
/// nor later than this.
const HISTORY_MOST_S: u64 = 3_600;
/// Levels that count as near the touch.
pub(super) const NEAR_LEVELS: usize = 10;

/// What the engine knows of one instrument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Its book.
    pub book: Book,
    /// Its features' memory.
    features: alloc::boxed::Box<Features>,
    /// The pulses that a policy sees.
    window: Window,
    /// Newest funding.
    pub funding: Option<Funding>,
    /// Bid and ask when the book was last live, for marking.
    marks: Option<(Price, Price)>,
    /// A gap came since the last pulse.
    interrupted: bool,
    /// Trades seen.
    pub trades: u64,
    /// Newest venue time.
    pub venue_time: Time,
    /// When its newest market event left the socket.
    pub received: Time,
    /// From the venue's stamp of that event to then; 0 where the venue gives none.
    pub lag_ns: i64,
    /// What its own trades and prices tell of it.
    pub tape: Tape,
    /// What our taking did to it.
    pub(super) impact: Impact,
    /// Its funding settlements.
    pub schedule: Schedule,
    /// The book made of bars, while the venue's own has been dark for long and trades still come.
    synthetic: Option<Synthetic>,
    /// Which cross-venue group it belongs to.
    pub(super) cross: Option<usize>,
    /// By timeframe, when the venue's bars are asked for next; unknown while there are bars.
    next_history: [Time; Timeframe::ALL.len()],
}

impl Cell {
    pub(super) fn new(
        id: InstrumentId,
        instrument: &Instrument,
        impact: ImpactTerms,
        cross: Option<usize>,
    ) -> Self {
        Self {
            received: Time::UNKNOWN,
            lag_ns: 0,
            tape: Tape::new(),
            impact: Impact::new(impact),
            schedule: Schedule::new(id, instrument),
            synthetic: None,
            book: Book::new(),
            features: Features::boxed(),
            window: Window::new(id),
            funding: None,
            marks: None,
            interrupted: false,
            trades: 0,
            venue_time: Time::UNKNOWN,
            cross,
            next_history: [Time::UNKNOWN; Timeframe::ALL.len()],
        }
    }

    /// Best bid and ask while the book is live.
    #[must_use]
    pub fn touch(&self) -> Option<(Price, Price)> {
        Some((
            self.book.best(Side::Buy)?.price,
            self.book.best(Side::Sell)?.price,
        ))
    }

    /// Bid and ask when the book was last live.
    #[must_use]
    pub const fn marks(&self) -> Option<(Price, Price)> {
        self.marks
    }

    /// The market as an order meets it; `None` between the parts of a message.
    pub(super) fn market<'a>(
        &'a self,
        instrument: &'a Instrument,
        terms: &'a Terms,
        at: Time,
    ) -> Option<Market<'a>> {
        if self.book.is_partial() {
            return None;
        }
        let depth = match &self.synthetic {
            Some(synthetic) if !self.book.is_live() => Depth::Levels {
                bids: synthetic.bids(),
                asks: synthetic.asks(),
            },
            _ => Depth::Book(&self.book),
        };
        Some(Market {
            depth,
            instrument,
            terms,
            impact: Surcharge::Impact {
                impact: &self.impact,
                tape: &self.tape,
                at,
            },
            average_trade: self.tape.average_trade(),
        })
    }

    /// Makes up a book from bars when the venue's own has been dark for longer than
    /// [`DARK_NS`] while trades still come, and forgets it when it is back.
    pub(super) fn make_up(&mut self, instrument: &Instrument, wanted: bool, at: Time) {
        let dark = match self.book.state() {
            BookState::Live { .. } => false,
            BookState::Stale { since, .. } => at.since(since) >= DARK_NS.cast_signed(),
        };
        self.synthetic = if wanted && dark {
            Synthetic::build(&self.tape, instrument, at)
        } else {
            None
        };
    }

    /// Whether a market order would find something to take.
    pub(super) fn takes_orders(&self) -> bool {
        self.book.is_live() || self.synthetic.is_some()
    }

    /// The money that stands within [`NEAR_LEVELS`] levels of the touch on a side.
    pub(super) fn near(&self, side: Side, instrument: &Instrument) -> Cash {
        let levels = self.book.levels(side).take(NEAR_LEVELS);
        levels.fold(Cash::ZERO, |sum, level| {
            sum + notional(
                level.price,
                level.qty,
                instrument.price_scale,
                instrument.qty_scale,
            )
        })
    }

    /// The policy chose.
    pub(super) fn decide(&mut self, action: Action) {
        self.window.decide(action);
    }

    /// The memory of its features.
    #[must_use]
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The pulses that a policy sees.
    #[must_use]
    pub const fn window(&self) -> &Window {
        &self.window
    }

    /// Book, then features. Returns a gap that the book found in itself.
    pub(super) fn update(
        &mut self,
        id: InstrumentId,
        update: &Update,
        instrument: &Instrument,
        cross: Option<&mut Cross>,
        at: Time,
    ) -> Option<Gap> {
        if matches!(update.body, Body::Candle(_)) {
            self.features.update(update, &self.book, instrument, at);
            return None;
        }
        let found = match &update.body {
            Body::Depth(depth) => self.book.depth(depth, instrument, at),
            Body::Touch(touch) => self.book.touch(touch, at),
            Body::Gap(gap) => {
                self.book.invalidate(*gap, at);
                None
            }
            Body::Trade(_) => {
                self.trades += 1;
                None
            }
            Body::Funding(funding) => {
                self.funding = Some(*funding);
                self.schedule.update(funding, at);
                None
            }
            Body::Candle(_) => None,
        };
        self.interrupted |= found.is_some() || matches!(update.body, Body::Gap(_));
        self.venue_time = self.venue_time.max(update.venue_time);
        if update.received.is_known() {
            self.received = update.received;
            self.lag_ns = if update.venue_time.is_known() {
                update.received.since(update.venue_time)
            } else {
                0
            };
        }
        self.features.update(update, &self.book, instrument, at);
        if found.is_some() {
            self.features.interrupt(instrument, at);
        }
        self.marks = self.touch().or(self.marks);
        if let Some(cross) = cross
            && !self.book.is_partial()
        {
            let newest = Newest {
                book: &self.book,
                received: self.received,
                lag_ns: self.lag_ns,
                at,
            };
            cross.hear(id, &newest, instrument);
        }
        found
    }

    /// The timeframe whose bars should be asked of the venue now: one that has none, neither from
    /// listening nor from an earlier answer.
    pub(super) fn wants_history(&mut self, at: Time) -> Option<Timeframe> {
        if !self.book.is_live() {
            return None;
        }
        // Seconds are soon listened to, and no venue has them.
        for timeframe in &Timeframe::ALL[1..] {
            let next = &mut self.next_history[*timeframe as usize];
            if !self.features.bars().is_empty(*timeframe) {
                *next = Time::UNKNOWN;
            } else if !next.is_known() {
                *next = at.plus(HISTORY_AFTER_NS);
            } else if at >= *next {
                let again = timeframe.seconds().clamp(HISTORY_LEAST_S, HISTORY_MOST_S);
                *next = at.plus(again * SECONDS);
                return Some(*timeframe);
            }
        }
        None
    }

    /// Closes the seconds and bars that are over.
    pub(super) fn advance(&mut self, instrument: &Instrument, at: Time) {
        self.features.advance(instrument, at);
    }

    /// The whole table of features at `at`; `None` while the book yields no price. Advance first.
    pub(super) fn table(
        &self,
        instrument: &Instrument,
        cross: Option<&Cross>,
        at: Time,
    ) -> Option<Table> {
        self.read(&self.features, instrument, cross, at)
    }

    /// The same at a later instant, if nothing happens until then: the seconds and bars that are
    /// over by then are closed in a copy.
    pub(super) fn table_at(
        &self,
        instrument: &Instrument,
        cross: Option<&Cross>,
        at: Time,
    ) -> Option<Table> {
        let mut features = self.features.clone();
        features.advance(instrument, at);
        self.read(&features, instrument, cross, at)
    }

    fn read(
        &self,
        features: &Features,
        instrument: &Instrument,
        cross: Option<&Cross>,
        at: Time,
    ) -> Option<Table> {
        let view = View {
            top: features.top()?,
            instrument,
            cross: cross.map(|cross| Own {
                cross,
                id: self.window.instrument,
            }),
            funding: self.funding.as_ref().map(|newest| Announced {
                newest,
                interval_s: self.schedule.interval_s(),
                settled_rate: self.schedule.settled_rate(),
            }),
            received: self.received,
            lag_ns: self.lag_ns,
            at,
        };
        Some(features.read(&view))
    }

    /// Closes the step that ends with this pulse; tells whether the policy may be asked.
    pub(super) fn step(
        &mut self,
        instrument: InstrumentId,
        state: Option<Vector>,
        at: Time,
    ) -> (MarketStep, bool) {
        let live = state.is_some() && self.book.is_live();
        let masked = !live || self.interrupted;
        let state = state.filter(|_| live).unwrap_or_default();
        self.interrupted = false;
        self.window.push(Step {
            at,
            state,
            action: Action::HOLD,
            masked,
        });
        let (bid, ask) = (self.book.best(Side::Buy), self.book.best(Side::Sell));
        (
            MarketStep {
                instrument,
                at,
                state,
                bid,
                ask,
                masked,
            },
            live,
        )
    }

    /// Whether its book is stale, and why since when.
    #[must_use]
    pub const fn book_state(&self) -> BookState {
        self.book.state()
    }
}
