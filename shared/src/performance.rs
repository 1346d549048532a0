//! How well it went: profit, risk and trading statistics, kept up in bounded memory.
//!
//! [`Performance`] is one series of equity with the round trips and the turnover behind it;
//! [`Scorecard`] has one for the portfolio, one per instrument and one per strategy. Statistics of
//! returns are of simple returns over a fixed period, with a risk-free rate of zero, annualised by a
//! year of 365 days, for these markets never close. What is undefined (a ratio without its
//! denominator, a tail of too few returns) is `None`, never a not-a-number.
//!
//! This is statistics about money, not money: it is the one room besides the features where amounts
//! become floating point. Profits stay integers.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use crate::instrument::InstrumentId;
use crate::num::{Cash, div_round};
use crate::positions::{MAX_STRATEGIES, Strategy, TrackError, Trip};
use crate::time::{DAYS, MINUTES, Time};

/// The sampling period where no other is asked for: one hour.
pub const DEFAULT_PERIOD_NS: NonZeroU64 = NonZeroU64::new(60 * MINUTES).expect("an hour");
/// Newest periodic returns that the tail and the recent Sharpe ratio are taken from: thirty days of
/// hours.
pub const MAX_RETURNS: usize = 720;
/// Returns that the tail statistics need: with fewer, the worst twentieth is less than one return.
pub const MIN_TAIL: usize = 20;
/// The tail of value at risk, in percent: the confidence is 95 %.
const TAIL_PERCENT: usize = 5;
/// A longer silence is a clock that was set, or a system that was put away, and counts as no time:
/// a machine that starts at 1970 would otherwise gain half a million hours without a return.
pub const MAX_SILENCE_NS: u64 = 30 * DAYS;
/// Nanoseconds in the year of 365 days by which figures are annualised.
pub const YEAR_NS: u64 = 365 * DAYS;

/// Mean and spread of returns, updated one by one without keeping them and without cancellation.
///
/// Source: Welford, "Note on a method for calculating corrected sums of squares and products",
/// Technometrics 4 (1962); for many at once, Chan, Golub and LeVeque, "Algorithms for computing the
/// sample variance", The American Statistician 37 (1983), equation 2.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Moments {
    count: u64,
    mean: f64,
    /// Sum of the squared deviations from the mean.
    squares: f64,
    /// Mean of the squares of the negative returns, the others counting as zero.
    downside: f64,
}

impl Moments {
    fn push(&mut self, value: f64) {
        self.count += 1;
        let count = self.count as f64;
        let deviation = value - self.mean;
        self.mean += deviation / count;
        self.squares += deviation * (value - self.mean);
        let below = value.min(0.0);
        self.downside += (below * below - self.downside) / count;
    }

    /// Counts so many returns of zero.
    fn zeros(&mut self, zeros: u64) {
        let before = self.count as f64;
        self.count = self.count.saturating_add(zeros);
        let kept = before / (self.count as f64).max(1.0);
        self.squares += self.mean * self.mean * zeros as f64 * kept;
        self.mean *= kept;
        self.downside *= kept;
    }

    /// Standard deviation with the divisor `n - 1`.
    fn deviation(&self) -> Option<f64> {
        (self.count > 1).then(|| libm::sqrt(self.squares / (self.count - 1) as f64))
    }

    fn sharpe(&self, periods_per_year: f64) -> Option<f64> {
        ratio(self.mean * libm::sqrt(periods_per_year), self.deviation()?)
    }
}

/// A mean over time.
///
/// Source: West, "Updating mean and variance estimates: an improved method", Communications of the
/// ACM 22 (1979).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct OverTime {
    ns: u64,
    mean: f64,
}

impl OverTime {
    fn add(&mut self, value: f64, ns: u64) {
        if ns > 0 {
            self.ns = self.ns.saturating_add(ns);
            self.mean += (value - self.mean) * (ns as f64 / self.ns as f64);
        }
    }

    fn mean(&self) -> Option<f64> {
        (self.ns > 0).then_some(self.mean)
    }
}

/// `None` where a quotient says nothing.
fn ratio(numerator: f64, denominator: f64) -> Option<f64> {
    Some(numerator / denominator).filter(|ratio| denominator != 0.0 && ratio.is_finite())
}

/// An amount in units of its currency.
fn units(amount: Cash) -> f64 {
    amount.0 as f64 / Cash::ONE.0 as f64
}

/// `later / earlier - 1`; `None` when there was nothing to lose.
fn growth(earlier: Cash, later: Cash) -> Option<f64> {
    (earlier > Cash::ZERO).then(|| units(later - earlier) / units(earlier))
}

/// A fall from a high.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drawdown {
    /// The share of the high that was lost; above 1 when equity became negative.
    pub depth: f64,
    /// The newest time at the high.
    pub peak: Time,
    /// When it was deepest.
    pub trough: Time,
    /// When the high was reached again; `None` while it has not been.
    pub recovered: Option<Time>,
}

/// Statistics of round trips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trades {
    /// Round trips.
    pub count: u64,
    /// Those with a positive result.
    pub wins: u64,
    /// Those with a negative result.
    pub losses: u64,
    /// Sum of the positive results.
    pub profit: Cash,
    /// Sum of the negative results, as a positive amount.
    pub loss: Cash,
    /// Losses since the newest trip that was not one.
    pub losing_streak: u64,
    /// Most losses one after another.
    pub longest_losing_streak: u64,
    /// Sum of the time they lasted, in nanoseconds.
    pub held_ns: u64,
}

impl Trades {
    fn add(&mut self, trip: &Trip) {
        self.count += 1;
        self.held_ns = self.held_ns.saturating_add(trip.held_ns());
        self.losing_streak = if trip.result < Cash::ZERO {
            self.losses += 1;
            self.loss = self.loss - trip.result;
            self.losing_streak + 1
        } else {
            self.wins += u64::from(trip.won());
            self.profit += trip.result;
            0
        };
        self.longest_losing_streak = self.longest_losing_streak.max(self.losing_streak);
    }

    /// Their results together.
    #[must_use]
    pub fn result(&self) -> Cash {
        self.profit - self.loss
    }

    /// The share of all round trips that won; one that ended even did not.
    #[must_use]
    pub fn win_rate(&self) -> Option<f64> {
        ratio(self.wins as f64, self.count as f64)
    }

    /// Profits over losses; `None` without a loss.
    #[must_use]
    pub fn profit_factor(&self) -> Option<f64> {
        ratio(units(self.profit), units(self.loss))
    }

    /// What a winning round trip earned on average.
    #[must_use]
    pub fn average_win(&self) -> Option<Cash> {
        average(self.profit, self.wins)
    }

    /// What a losing round trip lost on average, as a positive amount.
    #[must_use]
    pub fn average_loss(&self) -> Option<Cash> {
        average(self.loss, self.losses)
    }

    /// What a round trip earned on average.
    #[must_use]
    pub fn expectancy(&self) -> Option<Cash> {
        average(self.result(), self.count)
    }
}

fn average(sum: Cash, count: u64) -> Option<Cash> {
    (count > 0).then(|| Cash(div_round(i128::from(sum.0), i128::from(count))))
}

/// The worst returns, as losses (positive when money was lost).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Value at risk: the smallest loss that at least 95 % of the returns do not exceed.
    pub value_at_risk: f64,
    /// Conditional value at risk: the mean of the worst 5 % of the returns, of which the last one
    /// counts by the part of it that belongs there.
    pub conditional: f64,
}

/// The figures of a series at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Equity less its start.
    pub pnl: Cash,
    /// Profit over the start.
    pub total_return: Option<f64>,
    /// Periodic returns counted.
    pub periods: u64,
    /// [`Performance::annual_growth`].
    pub annual_growth: Option<f64>,
    /// [`Performance::sharpe`].
    pub sharpe: Option<f64>,
    /// [`Performance::sortino`].
    pub sortino: Option<f64>,
    /// [`Performance::calmar`].
    pub calmar: Option<f64>,
    /// [`Performance::volatility`].
    pub volatility: Option<f64>,
    /// [`Performance::drawdown`].
    pub drawdown: Option<f64>,
    /// [`Performance::max_drawdown`].
    pub max_drawdown: Option<Drawdown>,
    /// [`Performance::max_drawdown_ns`].
    pub max_drawdown_ns: u64,
    /// [`Performance::longest_drawdown_ns`].
    pub longest_drawdown_ns: u64,
    /// [`Performance::tail`].
    pub tail: Option<Tail>,
    /// [`Performance::turnover`].
    pub turnover: Option<f64>,
    /// [`Performance::exposure`].
    pub exposure: Option<f64>,
    /// Amounts paid and got, both counted as positive.
    pub traded: Cash,
    /// [`Performance::trades`].
    pub trades: Trades,
}

/// One series of equity, the round trips and the turnover behind it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Performance {
    period_ns: NonZeroU64,
    start: Cash,
    /// Equity and gross exposure of the newest mark, and its time; `None` before the first.
    equity: Cash,
    exposure: Option<Cash>,
    at: Option<Time>,
    /// Time counted since the newest sample.
    phase_ns: u64,
    /// Samples taken after the start, and the newest.
    samples: u64,
    sampled: Cash,
    returns: Moments,
    recent: VecDeque<f64>,
    peak: Cash,
    peak_at: Time,
    deepest: Option<Drawdown>,
    longest_drawdown_ns: u64,
    equity_over_time: OverTime,
    exposure_over_time: OverTime,
    traded: Cash,
    trades: Trades,
}

impl Performance {
    /// A series that starts with this equity, sampled at this period (at most [`MAX_SILENCE_NS`])
    /// from its first mark on.
    #[must_use]
    pub const fn new(period_ns: NonZeroU64, start: Cash) -> Self {
        Self {
            period_ns,
            start,
            equity: start,
            exposure: None,
            at: None,
            phase_ns: 0,
            samples: 0,
            sampled: start,
            returns: Moments {
                count: 0,
                mean: 0.0,
                squares: 0.0,
                downside: 0.0,
            },
            recent: VecDeque::new(),
            peak: start,
            peak_at: Time::UNKNOWN,
            deepest: None,
            longest_drawdown_ns: 0,
            equity_over_time: OverTime { ns: 0, mean: 0.0 },
            exposure_over_time: OverTime { ns: 0, mean: 0.0 },
            traded: Cash::ZERO,
            trades: Trades {
                count: 0,
                wins: 0,
                losses: 0,
                profit: Cash::ZERO,
                loss: Cash::ZERO,
                losing_streak: 0,
                longest_losing_streak: 0,
                held_ns: 0,
            },
        }
    }

    /// Equity and gross exposure (`None` where it is not known) as they are at this time.
    ///
    /// The sample of a period's end is the newest equity marked before it, or the one marked at that
    /// very time. A clock that was set back loses no sample: the period goes on from there.
    pub fn mark(&mut self, at: Time, equity: Cash, exposure: Option<Cash>) {
        let elapsed = self.at.map_or(0, |last| {
            let elapsed = u64::try_from(at.since(last)).unwrap_or(0);
            if elapsed > MAX_SILENCE_NS { 0 } else { elapsed }
        });
        if self.at.is_none() {
            self.peak_at = at;
        }
        self.at = Some(at);
        self.equity_over_time.add(units(self.equity), elapsed);
        if let Some(exposure) = self.exposure
            && self.equity > Cash::ZERO
        {
            let part = units(exposure) / units(self.equity);
            self.exposure_over_time.add(part, elapsed);
        }
        let counted = self.phase_ns.saturating_add(elapsed);
        let ended = counted / self.period_ns;
        self.phase_ns = counted % self.period_ns;
        if ended > 0 && self.phase_ns == 0 {
            self.sample(self.equity, ended - 1);
            self.sample(equity, 1);
        } else {
            self.sample(self.equity, ended);
        }
        let below = self.equity < self.peak;
        self.equity = equity;
        self.exposure = exposure;
        self.water(at, below);
    }

    /// Takes so many samples of the same equity: the first has a return, the others none.
    fn sample(&mut self, equity: Cash, samples: u64) {
        if samples == 0 {
            return;
        }
        self.samples = self.samples.saturating_add(samples);
        if let Some(earned) = growth(self.sampled, equity) {
            self.returns.push(earned);
            self.remember(earned);
        }
        self.sampled = equity;
        if samples > 1 && equity > Cash::ZERO {
            self.returns.zeros(samples - 1);
            for _ in 0..(samples - 1).min(MAX_RETURNS as u64) {
                self.remember(0.0);
            }
        }
    }

    fn remember(&mut self, earned: f64) {
        if self.recent.len() >= MAX_RETURNS {
            self.recent.pop_front();
        }
        self.recent.push_back(earned);
    }

    /// Follows the high and the falls from it; `below` tells whether equity was below it before.
    fn water(&mut self, at: Time, below: bool) {
        let below_ns = u64::try_from(at.since(self.peak_at)).unwrap_or(0);
        if self.equity < self.peak {
            self.longest_drawdown_ns = self.longest_drawdown_ns.max(below_ns);
            let depth = self.drawdown().unwrap_or(0.0);
            if self.deepest.is_none_or(|deepest| depth > deepest.depth) && depth > 0.0 {
                self.deepest = Some(Drawdown {
                    depth,
                    peak: self.peak_at,
                    trough: at,
                    recovered: None,
                });
            }
            return;
        }
        if let Some(deepest) = &mut self.deepest
            && deepest.recovered.is_none()
        {
            deepest.recovered = Some(at);
        }
        if below {
            self.longest_drawdown_ns = self.longest_drawdown_ns.max(below_ns);
        }
        self.peak = self.equity;
        self.peak_at = at;
    }

    /// Counts the amount of a fill, of either side, as turnover.
    pub fn traded(&mut self, notional: Cash) {
        self.traded += Cash(notional.0.saturating_abs());
    }

    /// Counts a round trip.
    pub fn closed(&mut self, trip: &Trip) {
        self.trades.add(trip);
    }

    /// Round trips.
    #[must_use]
    pub const fn trades(&self) -> &Trades {
        &self.trades
    }

    /// Whether equity was marked.
    #[must_use]
    pub const fn is_marked(&self) -> bool {
        self.at.is_some()
    }

    /// Periods in a year.
    fn periods_per_year(&self) -> f64 {
        YEAR_NS as f64 / self.period_ns.get() as f64
    }

    /// Compound growth per year over the sampled periods: `(last / start)^(1 / years) - 1`. `None`
    /// before the first period has ended, and when nothing is left.
    #[must_use]
    pub fn annual_growth(&self) -> Option<f64> {
        if self.samples == 0 || self.start <= Cash::ZERO || self.sampled <= Cash::ZERO {
            return None;
        }
        let years = self.samples as f64 / self.periods_per_year();
        let grown = libm::pow(units(self.sampled) / units(self.start), 1.0 / years) - 1.0;
        Some(grown).filter(|grown| grown.is_finite())
    }

    /// Mean over standard deviation (divisor `n - 1`) of the returns, times the square root of the
    /// periods in a year. `None` when the returns do not vary.
    ///
    /// Source: Sharpe, "The Sharpe ratio", Journal of Portfolio Management 21 (1994), equations 3 to 6
    /// with a benchmark of zero, and its section on time dependence for the square root.
    #[must_use]
    pub fn sharpe(&self) -> Option<f64> {
        self.returns.sharpe(self.periods_per_year())
    }

    /// [`Performance::sharpe`] of only the newest so many returns; `None` when there are not as many
    /// or they exceed [`MAX_RETURNS`].
    #[must_use]
    pub fn recent_sharpe(&self, periods: usize) -> Option<f64> {
        let older = self.recent.len().checked_sub(periods)?;
        let mut moments = Moments::default();
        for earned in self.recent.iter().skip(older) {
            moments.push(*earned);
        }
        moments.sharpe(self.periods_per_year())
    }

    /// Mean over downside deviation of the returns (the root of the mean of the squared negative
    /// returns over all of them: a minimal acceptable return of zero), times the square root of the
    /// periods in a year. `None` without a negative return.
    ///
    /// Source: Sortino and van der Meer, "Downside risk", Journal of Portfolio Management 17 (1991).
    #[must_use]
    pub fn sortino(&self) -> Option<f64> {
        let numerator = self.returns.mean * libm::sqrt(self.periods_per_year());
        ratio(numerator, libm::sqrt(self.returns.downside))
    }

    /// Annual growth over the deepest drawdown, over the whole series (Young uses the newest 36
    /// months). `None` without a drawdown.
    ///
    /// Source: Young, "Calmar ratio: a smoother tool", Futures 20 (1991).
    #[must_use]
    pub fn calmar(&self) -> Option<f64> {
        ratio(self.annual_growth()?, self.deepest?.depth)
    }

    /// Standard deviation (divisor `n - 1`) of the returns, times the square root of the periods in a
    /// year.
    #[must_use]
    pub fn volatility(&self) -> Option<f64> {
        let deviation = self.returns.deviation()?;
        Some(deviation * libm::sqrt(self.periods_per_year()))
    }

    /// The share of the highest equity that is lost now; 0 at the high. `None` while the high is not
    /// positive.
    #[must_use]
    pub fn drawdown(&self) -> Option<f64> {
        growth(self.peak, self.equity).map(|change| -change.min(0.0))
    }

    /// The deepest fall from a high, over every mark and not only the samples. `None` when equity
    /// never fell below its high.
    #[must_use]
    pub const fn max_drawdown(&self) -> Option<&Drawdown> {
        self.deepest.as_ref()
    }

    /// How long the deepest drawdown lasted, from its high until that was reached again, or so far.
    #[must_use]
    pub fn max_drawdown_ns(&self) -> u64 {
        let lasted = self.deepest.and_then(|deepest| {
            let end = deepest.recovered.or(self.at)?;
            u64::try_from(end.since(deepest.peak)).ok()
        });
        lasted.unwrap_or(0)
    }

    /// The longest time from a high until it was reached again, or so far.
    #[must_use]
    pub const fn longest_drawdown_ns(&self) -> u64 {
        self.longest_drawdown_ns
    }

    /// Historical value at risk and conditional value at risk at 95 % of the newest returns, for one
    /// period. `None` with fewer than [`MIN_TAIL`].
    ///
    /// Source: Rockafellar and Uryasev, "Optimization of conditional value-at-risk", Journal of Risk 2
    /// (2000): value at risk is the left end of the minimisers of equation 4, and the conditional one
    /// its minimum (theorem 1), for the empirical distribution.
    #[must_use]
    pub fn tail(&self) -> Option<Tail> {
        let count = self.recent.len();
        if count < MIN_TAIL {
            return None;
        }
        let mut losses: Vec<f64> = self.recent.iter().map(|earned| -earned).collect();
        losses.sort_unstable_by(|a, b| b.total_cmp(a));
        let within = (count * (100 - TAIL_PERCENT)).div_ceil(100);
        let whole = count * TAIL_PERCENT / 100;
        let part = (count * TAIL_PERCENT % 100) as f64 / 100.0;
        let last = losses.get(whole).map_or(0.0, |loss| loss * part);
        let worst: f64 = losses[..whole].iter().sum();
        Some(Tail {
            value_at_risk: losses[count - within],
            conditional: (worst + last) / (whole as f64 + part),
        })
    }

    /// Amounts paid and got (both counted, so that a round trip turns its amount over twice) per year,
    /// over the mean equity over time. `None` before the first period has passed.
    #[must_use]
    pub fn turnover(&self) -> Option<f64> {
        let time = &self.equity_over_time;
        let mean = time.mean().filter(|mean| *mean > 0.0)?;
        let years = time.ns as f64 / YEAR_NS as f64;
        (time.ns >= self.period_ns.get()).then(|| ratio(units(self.traded), mean * years))?
    }

    /// Mean over time of gross exposure over equity, over the time in which exposure was known and
    /// equity positive.
    #[must_use]
    pub fn exposure(&self) -> Option<f64> {
        self.exposure_over_time.mean()
    }

    /// All figures as they are now.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            pnl: self.equity - self.start,
            total_return: growth(self.start, self.equity),
            periods: self.returns.count,
            annual_growth: self.annual_growth(),
            sharpe: self.sharpe(),
            sortino: self.sortino(),
            calmar: self.calmar(),
            volatility: self.volatility(),
            drawdown: self.drawdown(),
            max_drawdown: self.deepest,
            max_drawdown_ns: self.max_drawdown_ns(),
            longest_drawdown_ns: self.longest_drawdown_ns,
            tail: self.tail(),
            turnover: self.turnover(),
            exposure: self.exposure(),
            traded: self.traded,
            trades: self.trades,
        }
    }
}

/// The performance of the portfolio, of each instrument and of each strategy.
///
/// An instrument and a strategy are measured as though the whole capital were theirs, so that their
/// profits sum to the portfolio's. A strategy has the round trips it opened and the fills it ordered;
/// its equity moves when its round trips end, for what is open belongs to none but the portfolio.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scorecard {
    capital: Cash,
    portfolio: Performance,
    instruments: Vec<Performance>,
    /// [`MAX_STRATEGIES`] of them.
    strategies: Vec<Performance>,
}

impl Scorecard {
    /// Nothing has happened to this capital. All series are sampled at this period.
    #[must_use]
    pub fn new(period_ns: NonZeroU64, capital: Cash, instruments: usize) -> Self {
        let fresh = Performance::new(period_ns, capital);
        Self {
            capital,
            instruments: alloc::vec![fresh.clone(); instruments],
            strategies: alloc::vec![fresh.clone(); MAX_STRATEGIES],
            portfolio: fresh,
        }
    }

    /// Marks the portfolio, and the strategies that have traded.
    pub fn mark(&mut self, at: Time, equity: Cash, exposure: Cash) {
        self.portfolio.mark(at, equity, Some(exposure));
        for strategy in &mut self.strategies {
            if strategy.is_marked() {
                let equity = self.capital + strategy.trades.result();
                strategy.mark(at, equity, None);
            }
        }
    }

    /// Marks an instrument by what it earned so far (the sum of its lines of
    /// [`attribution`](crate::attribution)) and its gross exposure.
    ///
    /// # Errors
    /// [`TrackError::UnknownInstrument`].
    pub fn mark_instrument(
        &mut self,
        instrument: InstrumentId,
        at: Time,
        earned: Cash,
        exposure: Cash,
    ) -> Result<(), TrackError> {
        let equity = self.capital + earned;
        let series = instrument_of(&mut self.instruments, instrument)?;
        series.mark(at, equity, Some(exposure));
        Ok(())
    }

    /// Counts a fill's amount. The strategy is that of the fill's own order.
    ///
    /// # Errors
    /// [`TrackError::UnknownInstrument`]; nothing is counted then.
    pub fn traded(
        &mut self,
        instrument: InstrumentId,
        strategy: Strategy,
        at: Time,
        notional: Cash,
    ) -> Result<(), TrackError> {
        instrument_of(&mut self.instruments, instrument)?.traded(notional);
        self.portfolio.traded(notional);
        if let Some(series) = self.strategies.get_mut(strategy.index()) {
            if !series.is_marked() {
                series.mark(at, self.capital, None);
            }
            series.traded(notional);
        }
        Ok(())
    }

    /// Counts a round trip.
    ///
    /// # Errors
    /// [`TrackError::UnknownInstrument`]; nothing is counted then.
    pub fn closed(&mut self, trip: &Trip) -> Result<(), TrackError> {
        instrument_of(&mut self.instruments, trip.instrument)?.closed(trip);
        self.portfolio.closed(trip);
        if let Some(series) = self.strategies.get_mut(trip.strategy.index()) {
            if !series.is_marked() {
                series.mark(trip.opened, self.capital, None);
            }
            series.closed(trip);
            let equity = self.capital + series.trades.result();
            series.mark(trip.closed, equity, None);
        }
        Ok(())
    }

    /// The portfolio.
    #[must_use]
    pub const fn portfolio(&self) -> &Performance {
        &self.portfolio
    }

    /// An instrument.
    #[must_use]
    pub fn instrument(&self, instrument: InstrumentId) -> Option<&Performance> {
        self.instruments.get(instrument.index())
    }

    /// A strategy, when it has traded.
    #[must_use]
    pub fn strategy(&self, strategy: Strategy) -> Option<&Performance> {
        let series = self.strategies.get(strategy.index());
        series.filter(|series| series.is_marked())
    }
}

fn instrument_of(
    instruments: &mut [Performance],
    id: InstrumentId,
) -> Result<&mut Performance, TrackError> {
    let series = instruments.get_mut(id.index());
    series.ok_or(TrackError::UnknownInstrument(id))
}

#[cfg(test)]
mod tests;
