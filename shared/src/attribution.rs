//! Where the money went: every fill split into what each effect cost, to the last unit.
//!
//! [`Split`] is one fill, [`Attribution`] the sums of one instrument, [`Lines`] those sums as a
//! report shows them, and [`total`] their sum over the account, which is the ledger's own profit.
//! The decomposition is the implementation shortfall of Perold, "The implementation shortfall: paper
//! versus reality", Journal of Portfolio Management 14 (1988), with the execution cost cut at each
//! moment of the order's life.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::event::Side;
use crate::num::{Cash, saturate};
use crate::order::{Fill, Reason};

/// Rows of an [`Attribution`]: one per [`Reason`].
pub const REASONS: usize = Reason::ALL.len();

/// What each effect earned (positive) or cost (negative) on one fill, fee and funding aside.
///
/// The parts are differences of one chain of amounts, so that their sum is exact: the quantity at the
/// mid price when the order was sent, when it reached the venue, when it traded, at the touch, and
/// what was paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split {
    /// The quantity at the mid price when the order was sent: what market movement is counted from.
    pub decided: Cash,
    /// The market moved while the order travelled.
    pub latency: Cash,
    /// The market moved while the order waited in the queue.
    pub queue: Cash,
    /// From the mid price to the touch: paid by takers, earned by makers.
    pub spread: Cash,
    /// From the touch to what was paid: levels walked and impact.
    pub impact: Cash,
}

/// A split whose parts do not sum to what was paid: a defect of this program, never of the market.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unexplained {
    /// What the parts sum to, as money received.
    pub parts: i128,
    /// What was received; negative for what was paid.
    pub received: i128,
}

impl fmt::Display for Unexplained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "attribution: the parts sum to {}, but {} was received",
            self.parts, self.received
        )
    }
}

impl Split {
    /// Splits a fill by what its quantity was worth along the order's life: at the mid price when it
    /// was sent (`decided`), when it reached the venue (`arrival`) and when it traded (`fill_mid`), at
    /// the best price of the side it met then (`touch`), and what was `paid` (or got) without the fee.
    ///
    /// With the sign `s` of the side, each part is `-s` times the step to the next amount. An amount
    /// that is not known takes the one after it, which makes the part between them zero.
    #[must_use]
    pub fn of(
        side: Side,
        decided: Cash,
        arrival: Cash,
        fill_mid: Cash,
        touch: Cash,
        paid: Cash,
    ) -> Self {
        let part = |from: Cash, to: Cash| {
            let step = i128::from(to.0) - i128::from(from.0);
            Cash(saturate(-i128::from(side.sign()) * step))
        };
        Self {
            decided,
            latency: part(decided, arrival),
            queue: part(arrival, fill_mid),
            spread: part(fill_mid, touch),
            impact: part(touch, paid),
        }
    }

    /// Checks that the parts explain what was paid: `-s * decided` and the four parts sum to
    /// `-s * paid`.
    ///
    /// # Errors
    /// Both sums when they differ.
    pub fn check(&self, side: Side, paid: Cash) -> Result<(), Unexplained> {
        let received = |amount: Cash| -i128::from(side.sign()) * i128::from(amount.0);
        let parts = [self.latency, self.queue, self.spread, self.impact];
        let parts = parts
            .iter()
            .fold(received(self.decided), |sum, part| sum + i128::from(part.0));
        let received = received(paid);
        if parts == received {
            Ok(())
        } else {
            Err(Unexplained { parts, received })
        }
    }
}

/// What the fills of one reason earned (positive) or cost (negative) as they happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The market moved while orders travelled.
    pub latency: Cash,
    /// The market moved while orders waited in the queue.
    pub queue: Cash,
    /// From the mid price to the touch.
    pub spread: Cash,
    /// From the touch to what was paid.
    pub impact: Cash,
    /// Fees paid; negative when rebates outweigh them.
    pub fees: Cash,
    /// Sum of the amounts paid and got, both counted as positive.
    pub traded: Cash,
    /// Fills.
    pub fills: u64,
}

impl Row {
    fn add(&mut self, other: &Self) {
        self.latency += other.latency;
        self.queue += other.queue;
        self.spread += other.spread;
        self.impact += other.impact;
        self.fees += other.fees;
        self.traded += other.traded;
        self.fills += other.fills;
    }
}

/// Where one instrument's money went, by the reason of the order where a fill tells it.
///
/// Market movement cannot be told apart by reason: a position that one reason opened and another
/// closed earned it between them. It is one line of the instrument, counted from the mid prices at
/// which the orders were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribution {
    rows: [Row; REASONS],
    /// Sum of `s * decided`: what the position would have cost at the mid prices decided upon.
    basis: Cash,
    /// Funding received less paid.
    funding: Cash,
}

impl Attribution {
    /// Counts a fill of an order with this reason.
    ///
    /// # Errors
    /// [`Unexplained`] when the fill's split does not sum to its notional; nothing is counted then.
    pub fn add(&mut self, reason: Reason, fill: &Fill) -> Result<(), Unexplained> {
        let split = &fill.split;
        split.check(fill.side, fill.notional)?;
        self.rows[reason as usize].add(&Row {
            latency: split.latency,
            queue: split.queue,
            spread: split.spread,
            impact: split.impact,
            fees: fill.fee,
            traded: fill.notional,
            fills: 1,
        });
        self.basis += match fill.side {
            Side::Buy => split.decided,
            Side::Sell => -split.decided,
        };
        Ok(())
    }

    /// Counts funding received; negative for funding paid.
    pub fn fund(&mut self, amount: Cash) {
        self.funding += amount;
    }

    /// The parts that came from fills of this reason.
    #[must_use]
    pub const fn row(&self, reason: Reason) -> &Row {
        &self.rows[reason as usize]
    }

    /// The parts that came from fills, over all reasons.
    #[must_use]
    pub fn fills(&self) -> Row {
        self.rows.iter().fold(Row::default(), |mut sum, row| {
            sum.add(row);
            sum
        })
    }

    /// Funding received less paid.
    #[must_use]
    pub const fn funding(&self) -> Cash {
        self.funding
    }

    /// What market movement earned, given what the position is worth now (negative when short): the
    /// value less what was given for it at the mid prices when the orders were sent.
    #[must_use]
    pub fn market(&self, value_of_position_now: Cash) -> Cash {
        value_of_position_now - self.basis
    }

    /// All lines, given what the position is worth now.
    #[must_use]
    pub fn lines(&self, value_of_position_now: Cash) -> Lines {
        let fills = self.fills();
        Lines {
            market: self.market(value_of_position_now),
            latency: fills.latency,
            queue: fills.queue,
            spread: fills.spread,
            impact: fills.impact,
            fees: -fills.fees,
            funding: self.funding,
        }
    }
}

/// The lines of a report: what each effect earned (positive) or cost (negative).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// The market moved after orders were sent.
    pub market: Cash,
    /// The market moved while orders travelled.
    pub latency: Cash,
    /// The market moved while orders waited in the queue.
    pub queue: Cash,
    /// From the mid price to the touch.
    pub spread: Cash,
    /// From the touch to what was paid.
    pub impact: Cash,
    /// Fees, negative when they were paid.
    pub fees: Cash,
    /// Funding received less paid.
    pub funding: Cash,
}

impl Lines {
    /// Each line with its name in reports, in order.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, Cash); 7] {
        [
            ("market", self.market),
            ("latency", self.latency),
            ("queue", self.queue),
            ("spread", self.spread),
            ("impact", self.impact),
            ("fees", self.fees),
            ("funding", self.funding),
        ]
    }

    /// Their sum: what the instrument earned.
    #[must_use]
    pub fn sum(&self) -> Cash {
        let amounts = self.named().map(|(_, amount)| i128::from(amount.0));
        Cash(saturate(amounts.iter().sum()))
    }
}

impl core::ops::AddAssign for Lines {
    fn add_assign(&mut self, other: Self) {
        self.market += other.market;
        self.latency += other.latency;
        self.queue += other.queue;
        self.spread += other.spread;
        self.impact += other.impact;
        self.fees += other.fees;
        self.funding += other.funding;
    }
}

/// What the account earned: the lines of all instruments, each with what its position is worth now.
/// It equals equity less capital to the last unit when the positions are worth as much there.
#[must_use]
pub fn total<'a>(instruments: impl IntoIterator<Item = (&'a Attribution, Cash)>) -> Cash {
    let amounts = instruments
        .into_iter()
        .map(|(attribution, value)| i128::from(attribution.lines(value).sum().0));
    Cash(saturate(amounts.sum()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::num::Qty;

    fn fill(side: Side, qty: i64, amounts: [i64; 5], fee: i64) -> Fill {
        let [decided, arrival, fill_mid, touch, paid] = amounts.map(Cash);
        Fill {
            side,
            qty: Qty(qty),
            left: Qty(0),
            notional: paid,
            worst: crate::num::Price(1),
            fee: Cash(fee),
            maker: false,
            synthetic: false,
            spanned_gap: false,
            queue_orders: 0,
            split: Split::of(side, decided, arrival, fill_mid, touch, paid),
        }
    }

    #[test]
    fn each_effect_has_its_sign() {
        // A buy of 10 decided at a mid of 100, arriving at 101, filled at a mid of 103 against an ask
        // of 104 and walking the book to 1,045 in all.
        let bought = fill(Side::Buy, 10, [1_000, 1_010, 1_030, 1_040, 1_045], 2);
        assert_eq!(
            bought.split,
            Split {
                decided: Cash(1_000),
                latency: Cash(-10),
                queue: Cash(-20),
                spread: Cash(-10),
                impact: Cash(-5),
            }
        );
        // A maker's sale of 4 at an ask of 108 while the mid is 107: the spread is earned.
        let sold = fill(Side::Sell, 4, [420, 420, 428, 432, 432], 0);
        assert_eq!(
            sold.split,
            Split {
                decided: Cash(420),
                latency: Cash(0),
                queue: Cash(8),
                spread: Cash(4),
                impact: Cash(0),
            }
        );
        let mut attribution = Attribution::default();
        assert_eq!(attribution.add(Reason::Decision, &bought), Ok(()));
        assert_eq!(attribution.add(Reason::TakeProfit, &sold), Ok(()));
        attribution.fund(Cash(-3));
        // 6 are left, worth 110 each: the money is -1045 - 2 + 432 - 3 + 660 = 42.
        let lines = attribution.lines(Cash(660));
        assert_eq!(
            lines.named().map(|(_, amount)| amount.0),
            [80, -10, -12, -6, -5, -2, -3]
        );
        assert_eq!(lines.sum(), Cash(42));
        assert_eq!(attribution.row(Reason::Decision).fees, Cash(2));
        assert_eq!(attribution.row(Reason::TakeProfit).traded, Cash(432));
        assert_eq!(*attribution.row(Reason::StopLoss), Row::default());
        assert_eq!(attribution.fills().fills, 2);
    }

    #[test]
    fn a_split_that_does_not_sum_is_not_counted() {
        let mut wrong = fill(Side::Sell, 1, [10, 11, 12, 13, 14], 0);
        wrong.split.queue += Cash(1);
        let unexplained = Unexplained {
            parts: 15,
            received: 14,
        };
        assert_eq!(
            wrong.split.check(Side::Sell, wrong.notional),
            Err(unexplained)
        );
        let mut attribution = Attribution::default();
        assert_eq!(attribution.add(Reason::Flatten, &wrong), Err(unexplained));
        assert_eq!(attribution, Attribution::default());
    }

    #[test]
    fn every_reason_has_the_row_of_its_place() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }

    /// A double-entry account that knows nothing of splits: what the lines are held against.
    #[derive(Default)]
    struct Oracle {
        cash: i128,
        market: i128,
        fees: i128,
        funding: i128,
    }

    impl Oracle {
        fn post(&mut self, to: fn(&mut Self) -> &mut i128, amount: i64) {
            self.cash += i128::from(amount);
            *to(self) -= i128::from(amount);
            assert_eq!(self.cash + self.market + self.fees + self.funding, 0);
        }
    }

    const INSTRUMENTS: usize = 3;

    #[derive(Clone, Debug)]
    enum Happening {
        Fill(bool, i64, [i64; 5], i64, usize),
        Funding(i64),
    }

    fn happening() -> impl Strategy<Value = (usize, Happening)> {
        let amounts = proptest::array::uniform5(0_i64..1_000_000_000_000);
        let fill = (
            any::<bool>(),
            1_i64..1_000_000,
            amounts,
            -500_000_i64..5_000_000,
            0..REASONS,
        );
        let happening = prop_oneof![
            4 => fill.prop_map(|(buy, qty, amounts, fee, reason)| Happening::Fill(buy, qty, amounts, fee, reason)),
            1 => (-1_000_000_i64..1_000_000).prop_map(Happening::Funding),
        ];
        (0..INSTRUMENTS, happening)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn the_parts_sum_to_what_was_paid(
            buy in any::<bool>(), amounts in proptest::array::uniform5(0_i64..=i64::MAX)
        ) {
            let side = if buy { Side::Buy } else { Side::Sell };
            let [decided, arrival, fill_mid, touch, paid] = amounts.map(Cash);
            let split = Split::of(side, decided, arrival, fill_mid, touch, paid);
            prop_assert_eq!(split.check(side, paid), Ok(()));
            prop_assert!(split.check(side, Cash(paid.0 ^ 1)).is_err());
            prop_assert!(split.check(side.opposite(), paid).is_err() || decided == paid);
        }

        #[test]
        fn the_lines_explain_the_account_to_the_last_unit(
            capital in 0_i64..1_000_000_000_000,
            happenings in proptest::collection::vec(happening(), 0..60),
            prices in proptest::array::uniform3(1_i64..1_000_000),
        ) {
            let mut oracle = Oracle::default();
            let mut attributions = [Attribution::default(); INSTRUMENTS];
            let mut held = [0_i64; INSTRUMENTS];
            let mut rows = [0_u64; REASONS];
            for (instrument, happening) in happenings {
                match happening {
                    Happening::Fill(buy, qty, amounts, fee, reason) => {
                        let side = if buy { Side::Buy } else { Side::Sell };
                        let fill = fill(side, qty, amounts, fee);
                        oracle.post(|o| &mut o.market, -side.sign() * fill.notional.0);
                        oracle.post(|o| &mut o.fees, -fee);
                        held[instrument] += side.sign() * qty;
                        rows[reason] += 1;
                        prop_assert_eq!(attributions[instrument].add(Reason::ALL[reason], &fill), Ok(()));
                    }
                    Happening::Funding(amount) => {
                        oracle.post(|o| &mut o.funding, amount);
                        attributions[instrument].fund(Cash(amount));
                    }
                }
            }
            let values = [0, 1, 2].map(|i| held[i] * prices[i]);
            let earned = total(attributions.iter().zip(values.map(Cash)));
            let equity = i128::from(capital) + oracle.cash + values.map(i128::from).iter().sum::<i128>();
            prop_assert_eq!(i128::from(capital) + i128::from(earned.0), equity);
            let fees = attributions.iter().fold(0, |sum, a| sum + i128::from(a.fills().fees.0));
            prop_assert_eq!(fees, oracle.fees);
            let funding = attributions.iter().fold(0, |sum, a| sum + i128::from(a.funding().0));
            prop_assert_eq!(funding, -oracle.funding);
            for (reason, fills) in Reason::ALL.into_iter().zip(rows) {
                let counted: u64 = attributions.iter().map(|a| a.row(reason).fills).sum();
                prop_assert_eq!(counted, fills);
            }
        }

        #[test]
        fn a_checkpoint_keeps_every_line(happenings in proptest::collection::vec(happening(), 0..20)) {
            let mut attribution = Attribution::default();
            for (_, happening) in happenings {
                match happening {
                    Happening::Fill(buy, qty, amounts, fee, reason) => {
                        let side = if buy { Side::Buy } else { Side::Sell };
                        prop_assert_eq!(attribution.add(Reason::ALL[reason], &fill(side, qty, amounts, fee)), Ok(()));
                    }
                    Happening::Funding(amount) => attribution.fund(Cash(amount)),
                }
            }
            let bytes = postcard::to_allocvec(&attribution).expect("plain data");
            prop_assert_eq!(postcard::from_bytes(&bytes), Ok(attribution));
        }
    }
}
