//! Features of one asset over several venues.
//!
//! [`Cross`] knows the newest quote of every instrument of a base asset, in whole units of quote and
//! base, and what it was second by second. USD and its stablecoins count as one quote: their basis is
//! part of what the features show. Spot and perpetuals stand together where prices are compared (the
//! basis is a feature itself), and apart where quotes are consolidated.
//!
//! A second is closed with the first event or pulse at or after its end. A venue that is lost or comes
//! back changes what the others are compared with, so every history of the asset starts anew.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::leadlag::{self, Lead, Mids};
use super::second::QUIET_MAX;
use super::table::rows;
use super::{BPS, Values, View};
use crate::book::Book;
use crate::event::Side;
use crate::instrument::{Instrument, InstrumentId, Kind, MAX_INSTRUMENTS};
use crate::time::{SECONDS, Time};

rows! {
    /// Features of one asset over several venues.
    CrossFeature {
        /// [`Cross::deviation`].
        Deviation: "cross_venue_deviation", Bps, "", "deviation of the mid from the mean of the venues";
        /// [`Cross::deviation_from_median`].
        DeviationMedian: "cross_median_deviation", Bps, "", "deviation of the mid from the median of the venues";
        /// [`Cross::deviation_from_deepest`].
        DeviationDeepest: "cross_deepest_deviation", Bps, "", "deviation of the mid from the venue with most at the touch";
        /// [`Consolidated::bid_gap`].
        BidGap: "cross_bid_gap", Bps, "fresh_s=5", "own bid against the consolidated best bid";
        /// [`Consolidated::ask_gap`].
        AskGap: "cross_ask_gap", Bps, "fresh_s=5", "own ask against the consolidated best ask";
        /// [`Consolidated::spread`].
        Spread: "cross_consolidated_spread", Bps, "fresh_s=5", "Hasbrouck (1995), national best bid and offer";
        /// [`Cross::score`] of a minute.
        Score60: "cross_deviation_score_60s", Score, "window_s=60", "standard score of cross_venue_deviation";
        /// [`Cross::score`] of five minutes.
        Score300: "cross_deviation_score_300s", Score, "window_s=300", "standard score of cross_venue_deviation";
        /// [`Cross::basis`].
        Basis: "cross_perpetual_basis", Bps, "", "perpetual against spot";
        /// [`Consolidated::depth_share`].
        DepthShare: "cross_depth_share", Share, "fresh_s=5", "share of what stands at the touches";
        /// [`Cross::live`].
        Live: "cross_live_venues", Number, "", "instruments of the asset whose books are live";
        /// [`Cross::age_advantage`].
        AgeAdvantage: "cross_quote_age_advantage", Seconds, "", "age of the others' newest quote less that of the own";
        /// [`Lead::lag_ms`] of the venue that is correlated most.
        LeadLag: "lead_lag_ms", Number, "changes=128 lags_ms=10,20,50,100,200,500,1000", "Hoffmann, Rosenbaum, Yoshida (2013)";
        /// [`Lead::ratio`] of that venue.
        LeadLagRatio: "lead_lag_ratio", Ratio, "changes=128 lags_ms=10,20,50,100,200,500,1000", "Huth, Abergel (2014), 3.2";
        /// [`Lead::correlation`] of that venue.
        LeadCorrelation: "lead_correlation", Ratio, "changes=128 lags_ms=10,20,50,100,200,500,1000", "Hayashi, Yoshida (2005)";
        /// [`Cross::leader_return`].
        LeaderReturn: "leader_return_1s", Bps, "window_s=1", "return of the leading venue less the own";
    }
}

/// Age of a quote, delay of its feed included, from which it is not consolidated.
const FRESH_NS: i64 = 5 * SECONDS.cast_signed();
/// Windows of [`Cross::score`], in seconds.
const WINDOWS: [usize; 2] = [60, 300];
/// Samples kept: the longest window.
const SAMPLES: usize = WINDOWS[1];
/// Samples are integers of this many to a basis point, so that sums over a window are exact.
const SAMPLE_ONE: f64 = 1e6;
/// Time between two estimates of an instrument's lead, in nanoseconds.
const LEAD_NS: u64 = 10 * SECONDS;
/// The window of [`Cross::leader_return`], in nanoseconds.
const RETURN_NS: u64 = SECONDS;

/// An instrument's features are read from its asset.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
    /// The asset.
    pub cross: &'a Cross,
    /// The instrument.
    pub id: InstrumentId,
}

/// The features at `view.at`.
#[must_use]
pub fn read(view: &View<'_>) -> Values<{ CrossFeature::COUNT }> {
    let mut values = Values::UNKNOWN;
    let Some(Own { cross, id }) = view.cross else {
        return values;
    };
    let mid = view.top.double_mid() as f64 / 2.0;
    let mid = mid / unit(view.instrument);
    let deviation = cross.deviation(mid);
    values.set(CrossFeature::Deviation, deviation);
    values.set(
        CrossFeature::DeviationMedian,
        cross.deviation_from_median(mid),
    );
    values.set(
        CrossFeature::DeviationDeepest,
        cross.deviation_from_deepest(mid),
    );
    values.set(CrossFeature::Live, Some(f64::from(cross.live())));
    let Some(own) = cross.member(id) else {
        return values;
    };
    if let Some(consolidated) = cross.consolidated(own, view.at) {
        values.set(CrossFeature::BidGap, consolidated.bid_gap);
        values.set(CrossFeature::AskGap, consolidated.ask_gap);
        values.set(CrossFeature::Spread, Some(consolidated.spread));
        values.set(CrossFeature::DepthShare, consolidated.depth_share);
    }
    let score = |window| own.history.score(window, deviation?);
    values.set(CrossFeature::Score60, score(0));
    values.set(CrossFeature::Score300, score(1));
    values.set(CrossFeature::Basis, cross.basis(own));
    values.set(CrossFeature::AgeAdvantage, cross.age_advantage(own));
    if let Some((leader, lead)) = cross.lead(own) {
        values.set(CrossFeature::LeadLag, Some(lead.lag_ms as f64));
        values.set(CrossFeature::LeadLagRatio, Some(lead.ratio));
        values.set(CrossFeature::LeadCorrelation, Some(lead.correlation));
        let followed = Cross::leader_return(own, leader, &lead, view.at);
        values.set(CrossFeature::LeaderReturn, followed);
    }
    values
}

/// The best quote of one instrument, in whole units of quote and base.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Quote {
    bid: f64,
    ask: f64,
    mid: f64,
    /// The quantity at both.
    depth: f64,
}

impl Quote {
    /// `None` while the book yields no positive price.
    fn of(book: &Book, instrument: &Instrument) -> Option<Self> {
        let (bid, ask) = (book.best(Side::Buy)?, book.best(Side::Sell)?);
        if bid.price.0 <= 0 || ask.price.0 <= 0 {
            return None;
        }
        let double = i128::from(bid.price.0) + i128::from(ask.price.0);
        let mid = double as f64 / 2.0 / unit(instrument);
        let qty = bid.qty.0 as f64 + ask.qty.0 as f64;
        let qty = qty / crate::num::pow10(instrument.qty_scale) as f64;
        Some(Self {
            bid: bid.price.0 as f64 / unit(instrument),
            ask: ask.price.0 as f64 / unit(instrument),
            mid,
            // An inverse contract counts in quote units.
            depth: if instrument.kind == Kind::Inverse {
                qty / mid
            } else {
                qty
            },
        })
    }
}

/// What one deviation was at the end of each of the last seconds, as exact integers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct History {
    /// Newest first; at most [`SAMPLES`].
    samples: VecDeque<i64>,
    /// The sums of samples and of their squares over each window.
    sums: [(i128, i128); WINDOWS.len()],
}

impl History {
    fn new() -> Self {
        Self {
            samples: VecDeque::with_capacity(SAMPLES),
            sums: [(0, 0); WINDOWS.len()],
        }
    }

    fn clear(&mut self) {
        self.samples.clear();
        self.sums = [(0, 0); WINDOWS.len()];
    }

    fn push(&mut self, deviation: f64) {
        let sample = sample(deviation);
        for (window, (sum, squares)) in WINDOWS.into_iter().zip(&mut self.sums) {
            let leaves = self.samples.get(window - 1).copied().unwrap_or(0);
            *sum += i128::from(sample) - i128::from(leaves);
            *squares += square(sample) - square(leaves);
        }
        self.samples.truncate(SAMPLES - 1);
        self.samples.push_front(sample);
    }

    /// How many standard deviations a value lies above the mean of a window; `None` until the window is
    /// full, and while nothing varies in it.
    fn score(&self, window: usize, value: f64) -> Option<f64> {
        let (count, (sum, squares)) = (WINDOWS[window], self.sums[window]);
        if self.samples.len() < count {
            return None;
        }
        let count = i128::try_from(count).ok()?;
        // Both are exact: n² times the variance, and n times the distance from the mean.
        let variance = count * squares - sum * sum;
        let distance = count * i128::from(sample(value)) - sum;
        (variance > 0).then(|| distance as f64 / libm::sqrt(variance as f64))
    }
}

/// A deviation in basis points as an integer, at most a hundredfold of the price.
#[expect(clippy::cast_possible_truncation, reason = "bounded before")]
fn sample(deviation: f64) -> i64 {
    const MOST: f64 = 1e6 * SAMPLE_ONE;
    libm::round(deviation * SAMPLE_ONE).clamp(-MOST, MOST) as i64
}

const fn square(sample: i64) -> i128 {
    sample as i128 * sample as i128
}

/// One instrument of the asset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Member {
    id: InstrumentId,
    kind: Kind,
    quote: Option<Quote>,
    /// When its newest event left the socket.
    received: Time,
    /// From the venue's stamp of that event to then.
    lag_ns: i64,
    /// Its deviation, second by second.
    history: History,
    mids: Mids,
    /// The venue that it is correlated with most, and which of the two leads.
    lead: Option<(InstrumentId, Lead)>,
    /// When that was estimated.
    estimated: Time,
}

impl Member {
    /// How old its newest quote is, delay of the feed included.
    fn age_ns(&self, at: Time) -> i64 {
        let age = at.since(self.received).max(0);
        age.saturating_add(self.lag_ns.max(0))
    }

    /// When its newest event happened at the venue, as far as is known.
    fn happened(&self) -> Option<i64> {
        let received = i64::try_from(self.received.0).ok()?;
        let happened = received.saturating_sub(self.lag_ns.max(0));
        (received > 0).then_some(happened)
    }
}

/// The quotes of a kind of instrument taken together.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Consolidated {
    /// How far the own bid lies above the best one of all venues, in basis points; not above zero
    /// while the own quote is fresh.
    bid_gap: Option<f64>,
    /// How far the own ask lies above the best one, in basis points; not below zero.
    ask_gap: Option<f64>,
    /// From the best bid to the best ask, in basis points of their middle: negative when one venue bids
    /// more than another asks.
    spread: f64,
    /// What the own venue has at the touch, as a share of what all have.
    depth_share: Option<f64>,
}

/// What the mids and touches of two instruments differ in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The first.
    pub one: InstrumentId,
    /// The second.
    pub other: InstrumentId,
    /// How far the first one's mid lies above the second one's, in basis points.
    pub mid_bps: f64,
    /// How far the first one's bid lies above the second one's ask, in basis points: what buying there
    /// and selling here brings before fees.
    pub crossed_bps: f64,
}

/// The newest quotes of the instruments that share a base asset.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cross {
    /// In the order of their ids; at most [`MAX_INSTRUMENTS`].
    members: Vec<Member>,
    /// The second since the epoch that is not over.
    second: u64,
}

/// What is newest of an instrument's market.
#[derive(Clone, Copy, Debug)]
pub struct Newest<'a> {
    /// Its book, between messages.
    pub book: &'a Book,
    /// When its newest event left the socket.
    pub received: Time,
    /// From the venue's stamp of that event to then.
    pub lag_ns: i64,
    /// Now.
    pub at: Time,
}

impl Cross {
    /// Lists an instrument of the asset.
    pub fn list(&mut self, id: InstrumentId, instrument: &Instrument) {
        debug_assert!(self.members.len() < MAX_INSTRUMENTS, "as many as the table");
        self.members.push(Member {
            id,
            kind: instrument.kind,
            quote: None,
            received: Time::UNKNOWN,
            lag_ns: 0,
            history: History::new(),
            mids: Mids::new(),
            lead: None,
            estimated: Time::UNKNOWN,
        });
    }

    /// The instruments of the asset.
    pub fn ids(&self) -> impl ExactSizeIterator<Item = InstrumentId> + '_ {
        self.members.iter().map(|member| member.id)
    }

    fn member(&self, id: InstrumentId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    fn quotes(&self) -> impl Iterator<Item = &Quote> {
        self.members
            .iter()
            .filter_map(|member| member.quote.as_ref())
    }

    /// Takes the newest of an instrument.
    pub fn hear(&mut self, id: InstrumentId, newest: &Newest<'_>, instrument: &Instrument) {
        self.advance(newest.at);
        let Some(member) = self.members.iter_mut().find(|member| member.id == id) else {
            return;
        };
        member.received = newest.received;
        member.lag_ns = newest.lag_ns;
        let before = member.quote.is_some();
        member.quote = Quote::of(newest.book, instrument);
        if member.quote.is_none() {
            member.mids.clear();
            member.lead = None;
        } else if let Some(double_mid) = newest.book.double_mid() {
            let known = [newest.received, newest.at];
            let when = known.into_iter().find(|time| time.is_known());
            member.mids.push(double_mid, when.unwrap_or(newest.at));
        }
        if member.quote.is_some() != before {
            self.start_anew();
        }
    }

    fn start_anew(&mut self) {
        for member in &mut self.members {
            member.history.clear();
        }
    }

    /// Closes the seconds that are over at `at`. A clock that was set back, or a long silence, starts
    /// every history anew.
    pub fn advance(&mut self, at: Time) {
        let number = at.0 / SECONDS;
        if number < self.second || number - self.second > QUIET_MAX {
            self.start_anew();
            self.second = number;
        }
        while self.second < number {
            self.second += 1;
            let mean = self.mean();
            for member in &mut self.members {
                if let (Some(quote), Some(mean)) = (&member.quote, mean) {
                    member.history.push((quote.mid / mean - 1.0) * BPS);
                } else {
                    member.history.clear();
                }
            }
        }
    }

    /// At a pulse: estimates the lead of one instrument, the one whose estimate is oldest, when that is
    /// older than [`LEAD_NS`].
    pub fn estimate(&mut self, at: Time) {
        let due = |member: &&Member| {
            let age = at.since(member.estimated);
            member.quote.is_some() && (age < 0 || age >= LEAD_NS.cast_signed())
        };
        let oldest = self.members.iter().filter(due);
        let Some(own) = oldest.min_by_key(|member| (member.estimated, member.id)) else {
            return;
        };
        let (id, changes) = (own.id, own.mids.changes());
        let mut strongest: Option<(InstrumentId, Lead)> = None;
        for other in &self.members {
            if other.id == id || other.quote.is_none() {
                continue;
            }
            let Some(lead) = leadlag::lead(&changes, &other.mids.changes()) else {
                continue;
            };
            let stronger = strongest.is_none_or(|(_, known)| {
                libm::fabs(lead.correlation) > libm::fabs(known.correlation)
            });
            if stronger {
                strongest = Some((other.id, lead));
            }
        }
        if let Some(own) = self.members.iter_mut().find(|member| member.id == id) {
            own.lead = strongest;
            own.estimated = at;
        }
    }

    /// The mean mid of the venues whose books are live; unknown with fewer than two.
    fn mean(&self) -> Option<f64> {
        let sum = self.quotes().fold((0_u32, 0.0), |(count, sum), quote| {
            (count + 1, sum + quote.mid)
        });
        (sum.0 > 1).then(|| sum.1 / f64::from(sum.0))
    }

    /// How far a mid lies above the mean over all venues whose books are live, in basis points; unknown
    /// when there is only one.
    #[must_use]
    pub fn deviation(&self, mid: f64) -> Option<f64> {
        self.mean().map(|mean| (mid / mean - 1.0) * BPS)
    }

    /// How far a mid lies above the median over all venues whose books are live (the mean of the middle
    /// two of an even number), in basis points; unknown when there is only one.
    #[must_use]
    pub fn deviation_from_median(&self, mid: f64) -> Option<f64> {
        let mids = self.quotes().map(|quote| quote.mid);
        let mut mids: heapless::Vec<f64, MAX_INSTRUMENTS> = mids.collect();
        mids.sort_unstable_by(f64::total_cmp);
        let half = mids.len() / 2;
        let median = match mids.len() {
            0 | 1 => return None,
            even if even % 2 == 0 => f64::midpoint(mids[half - 1], mids[half]),
            _ => mids[half],
        };
        Some((mid / median - 1.0) * BPS)
    }

    /// How far a mid lies above that of the venue that has most at the touch, in basis points: zero at
    /// that venue itself. Of equals the first listed counts. Unknown when only one book is live.
    #[must_use]
    pub fn deviation_from_deepest(&self, mid: f64) -> Option<f64> {
        let mut quotes = self.quotes();
        let first = quotes.next()?;
        let mut deepest = None;
        for quote in quotes {
            let known: &Quote = deepest.unwrap_or(first);
            deepest = Some(if quote.depth > known.depth {
                quote
            } else {
                known
            });
        }
        deepest.map(|deepest| (mid / deepest.mid - 1.0) * BPS)
    }

    /// The instruments of the asset whose books are live.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.quotes().fold(0, |count, _| count + 1)
    }

    /// The own quote among those of its kind that are live and fresh; unknown with fewer than two.
    fn consolidated(&self, own: &Member, at: Time) -> Option<Consolidated> {
        let fresh = |member: &&Member| member.kind == own.kind && member.age_ns(at) <= FRESH_NS;
        let quotes = || {
            self.members
                .iter()
                .filter(fresh)
                .filter_map(|one| one.quote)
        };
        let first = quotes().next()?;
        let (count, best) = quotes().fold((0, first), |(count, best), quote| {
            let best = Quote {
                bid: best.bid.max(quote.bid),
                ask: best.ask.min(quote.ask),
                ..best
            };
            (count + 1, best)
        });
        let depth = quotes().fold(0.0, |sum, quote| sum + quote.depth);
        let quote = own.quote.filter(|_| fresh(&own));
        let share = quote
            .filter(|_| depth > 0.0)
            .map(|quote| quote.depth / depth);
        (count > 1).then(|| Consolidated {
            bid_gap: quote.map(|quote| (quote.bid / best.bid - 1.0) * BPS),
            ask_gap: quote.map(|quote| (quote.ask / best.ask - 1.0) * BPS),
            spread: (best.ask - best.bid) / f64::midpoint(best.bid, best.ask) * BPS,
            depth_share: share,
        })
    }

    /// How far the perpetual's mid lies above the mean mid of the spot markets, in basis points. For an
    /// instrument that is no perpetual it is the mean over those that are. Unknown without one of each.
    fn basis(&self, own: &Member) -> Option<f64> {
        let mean = |kind| {
            let quotes = self.members.iter().filter(|member| member.kind == kind);
            let quotes = quotes.filter_map(|member| member.quote);
            let sum = quotes.fold((0_u32, 0.0), |sum, quote| (sum.0 + 1, sum.1 + quote.mid));
            (sum.0 > 0).then(|| sum.1 / f64::from(sum.0))
        };
        let perpetual = match (own.kind, own.quote) {
            (Kind::Perpetual, quote) => quote?.mid,
            _ => mean(Kind::Perpetual)?,
        };
        mean(Kind::Spot).map(|spot| (perpetual / spot - 1.0) * BPS)
    }

    /// The age of the newest quote of the other live venues less the age of the own, in seconds, the
    /// delays of the feeds included: negative while others know more than this venue shows. Unknown
    /// when no other venue is live.
    fn age_advantage(&self, own: &Member) -> Option<f64> {
        let others = self.members.iter().filter(|member| member.id != own.id);
        let others = others.filter(|member| member.quote.is_some());
        let newest = others.filter_map(Member::happened).max()?;
        let advantage = own.happened()?.saturating_sub(newest);
        Some(advantage as f64 / SECONDS as f64)
    }

    /// The venue that the own one is correlated with most, while it is live, and which of the two leads.
    fn lead(&self, own: &Member) -> Option<(&Member, Lead)> {
        let (leader, lead) = own.lead?;
        let leader = self.member(leader)?;
        leader.quote.is_some().then_some((leader, lead))
    }

    /// The log return of the leading venue over the last second less the own one over the same second,
    /// in basis points: what has not been followed yet. Zero while the own venue leads, or neither
    /// does; unknown when the mids that are kept do not reach back so far.
    fn leader_return(own: &Member, leader: &Member, lead: &Lead, at: Time) -> Option<f64> {
        if lead.lag_ms >= 0 {
            return Some(0.0);
        }
        let since = at.minus(RETURN_NS);
        let (led, followed) = (
            leader.mids.return_since(since)?,
            own.mids.return_since(since)?,
        );
        Some((led - followed) * BPS)
    }

    /// What every ordered pair of live instruments differs in.
    pub fn spreads(&self) -> impl Iterator<Item = Spread> + '_ {
        let live = || {
            let live = self.members.iter();
            live.filter_map(|member| Some((member.id, member.quote?)))
        };
        live().flat_map(move |(one, here)| {
            let others = live().filter(move |(other, _)| *other != one);
            others.map(move |(other, there)| Spread {
                one,
                other,
                mid_bps: (here.mid / there.mid - 1.0) * BPS,
                crossed_bps: (here.bid / there.ask - 1.0) * BPS,
            })
        })
    }
}

fn unit(instrument: &Instrument) -> f64 {
    crate::num::pow10(instrument.price_scale) as f64
}

#[cfg(test)]
mod tests;
