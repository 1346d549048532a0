//! What was left when a model walked forward: learned on the past, tried on what came next, fold by fold.

use tickerml_edge::web::html::{UNKNOWN, fixed, int, signed, stamp};
use tickerml_shared::time::Time;

use super::chart::{Bar, Line, Lines, Strip, Unit};
use super::{Cell, Page, Table, Tone, percent, share};

/// One fold.
#[derive(Clone, Debug, PartialEq)]
pub struct Fold {
    /// When the steps that it learned from were taken: first and last.
    pub learned: [Time; 2],
    /// When it was tried: first and last.
    pub tried: [Time; 2],
    /// What the model earned after costs, as a fraction.
    pub earned: f64,
    /// What buying at the start and holding earned after costs, as a fraction.
    pub held: f64,
    /// Mean return of a period of the model less that of holding.
    pub difference: f64,
    /// Interval of that difference.
    pub interval: [f64; 2],
    /// Annualised Sharpe ratio of the model; NaN where it has none.
    pub sharpe: f64,
    /// Deepest fall from a high, as a fraction.
    pub drawdown: f64,
    /// Changes of position.
    pub trades: u64,
}

/// A walk forward and what it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// What was traded, as `binance:BTCUSDT, 1 h bars`.
    pub market: String,
    /// What a trade cost, in words.
    pub costs: String,
    /// The level of the intervals, as a fraction.
    pub level: f64,
    /// The folds, in order of time.
    pub folds: Vec<Fold>,
    /// All folds one after the other: mean difference of a period, and its interval.
    pub difference: f64,
    /// Its interval.
    pub interval: [f64; 2],
    /// Curves over all folds: the model first, then what it is compared with. Time in nanoseconds across,
    /// account value up (one at the start).
    pub curves: Vec<Line>,
    /// Sharpe ratios of the paths of a combinatorial cross-validation; empty where none was done.
    pub paths: Vec<f64>,
    /// Probability that the best configuration found is overfitted; NaN where it was not asked.
    pub overfitting: f64,
    /// Probability that the Sharpe ratio is above what the best of the trials has by luck (deflated
    /// Sharpe ratio); NaN where it was not asked.
    pub deflated: f64,
}

impl Walk {
    /// Growth of an account that lived through all folds: the model's and that of holding.
    fn growth(&self) -> [f64; 2] {
        let grown = |of: fn(&Fold) -> f64| {
            self.folds
                .iter()
                .map(|fold| 1.0 + of(fold))
                .product::<f64>()
                - 1.0
        };
        [grown(|fold| fold.earned), grown(|fold| fold.held)]
    }

    /// Whether it beats buying and holding, in one word and one honest sentence.
    #[must_use]
    pub fn judgement(&self) -> (Tone, &'static str, String) {
        let [earned, held] = self.growth();
        let won = self
            .folds
            .iter()
            .filter(|fold| fold.earned > fold.held)
            .count();
        let level = share(self.level, 0);
        let facts = format!(
            "After costs it earned {} against {} for buying and holding, and was ahead in {won} of {} folds; \
             the {level} interval of the difference per period is {} to {}.",
            percent(earned, 1),
            percent(held, 1),
            self.folds.len(),
            percent(self.interval[0], 4),
            percent(self.interval[1], 4),
        );
        if self.folds.is_empty() {
            let none = "There is no fold to judge by: the history is too short for its terms.";
            return (Tone::Idle, "NOTHING TO SAY", none.to_owned());
        }
        let (tone, word, meaning) = if self.interval[0] > 0.0 {
            let meaning = "That is better than holding, by more than chance explains.";
            (Tone::Good, "BEATS BUY-AND-HOLD", meaning)
        } else if self.interval[1] < 0.0 {
            let meaning = "That is worse than holding, by more than chance explains.";
            (Tone::Bad, "WORSE THAN BUY-AND-HOLD", meaning)
        } else {
            let meaning =
                "The interval holds zero: nothing here shows that it beats buying and holding.";
            (Tone::Warn, "NOT SHOWN TO BEAT BUY-AND-HOLD", meaning)
        };
        (tone, word, format!("{facts} {meaning}"))
    }
}

/// The page of a walk forward.
#[must_use]
pub fn page(walk: &Walk) -> Page {
    let under = match (walk.folds.first(), walk.folds.last()) {
        (Some(first), Some(last)) => format!(
            "{}; tried {} to {} UTC; {}",
            walk.market,
            &stamp(first.tried[0].0)[..10],
            &stamp(last.tried[1].0)[..10],
            walk.costs
        ),
        _ => walk.market.clone(),
    };
    let mut page = Page::new("Walk forward", &under);
    let (tone, word, sentence) = walk.judgement();
    page.lead(tone, word, &sentence);
    page.section("All folds, one after the other");
    page.lines(&Lines {
        caption: "Account value after costs, one at the start; each fold's model had seen only what lies before it."
            .to_owned(),
        across: Unit::Time,
        lines: walk.curves.clone(),
        ..Lines::default()
    });
    page.section("Folds");
    page.table(&table(walk));
    page.note(format!(
        "Intervals: {} of the mean difference per period against buying and holding, by the stationary \
         bootstrap of Politis and Romano (1994).",
        share(walk.level, 0)
    ));
    page.heading("Difference per period against buying and holding");
    page.bars(&differences(walk), Unit::Percent);
    if !walk.paths.is_empty() {
        page.section("Combinatorial purged cross-validation");
        page.text("Each path is one way through the history of which every part was tried by a model that had not \
             seen it. Their spread says how much of a single backtest is luck.");
        page.strips(
            &[Strip {
                name: "Sharpe ratio".to_owned(),
                values: walk.paths.clone(),
            }],
            Unit::Plain,
        );
    }
    let known = |value: f64| {
        if value.is_finite() {
            share(value, 1)
        } else {
            UNKNOWN.to_owned()
        }
    };
    page.section("Luck");
    page.facts(&[
        (
            "Probability of backtest overfitting",
            known(walk.overfitting),
        ),
        ("Deflated Sharpe ratio", known(walk.deflated)),
    ]);
    page
}

fn table(walk: &Walk) -> Table {
    let mut table = Table::new(&[
        "tried",
        "learned until",
        "earned",
        "buy-and-hold",
        "difference per period",
        "interval",
        "Sharpe",
        "drawdown",
        "trades",
    ]);
    for fold in &walk.folds {
        table.rows.push(vec![
            Cell::text(format_args!(
                "{} to {}",
                &stamp(fold.tried[0].0)[..10],
                &stamp(fold.tried[1].0)[..10]
            )),
            Cell::number(&stamp(fold.learned[1].0)[..10]),
            Cell::Signed(percent(fold.earned, 1), fold.earned),
            Cell::number(percent(fold.held, 1)),
            Cell::Signed(percent(fold.difference, 4), fold.difference),
            Cell::number(format_args!(
                "{} to {}",
                percent(fold.interval[0], 4),
                percent(fold.interval[1], 4)
            )),
            Cell::number(signed(Some(fold.sharpe), 2)),
            Cell::number(share(fold.drawdown, 1)),
            Cell::number(int(fold.trades)),
        ]);
    }
    let [earned, held] = walk.growth();
    table.strong.push(table.rows.len());
    table.rows.push(vec![
        Cell::text("all"),
        Cell::number(""),
        Cell::Signed(percent(earned, 1), earned),
        Cell::number(percent(held, 1)),
        Cell::Signed(percent(walk.difference, 4), walk.difference),
        Cell::number(format_args!(
            "{} to {}",
            percent(walk.interval[0], 4),
            percent(walk.interval[1], 4)
        )),
        Cell::number(""),
        Cell::number(share(
            walk.folds
                .iter()
                .map(|fold| fold.drawdown)
                .fold(0.0, f64::max),
            1,
        )),
        Cell::number(int(walk.folds.iter().map(|fold| fold.trades).sum())),
    ]);
    table
}

fn differences(walk: &Walk) -> Vec<Bar> {
    let bar = |name: String, value: f64, interval: [f64; 2]| Bar {
        name,
        value,
        interval: Some(interval),
        text: format!("{}\u{a0}%", fixed(Some(value * 100.0), 4)),
    };
    let folds = walk.folds.iter().map(|fold| {
        let name = stamp(fold.tried[0].0)[..7].to_owned();
        bar(name, fold.difference, fold.interval)
    });
    let all = bar("all".to_owned(), walk.difference, walk.interval);
    folds.chain([all]).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use tickerml_shared::time::DAYS;

    use super::*;

    pub(crate) fn example(shift: f64) -> Walk {
        let day = |day: u64| Time(1_600_000_000_000_000_000 + day * DAYS);
        let folds: Vec<Fold> = (0..8_u32)
            .map(|fold| {
                let from = u64::from(fold) * 90;
                let wave = f64::from(fold * 37 % 11) / 11.0 - 0.5;
                Fold {
                    learned: [day(0), day(300 + from)],
                    tried: [day(301 + from), day(390 + from)],
                    earned: wave * 0.2 + shift,
                    held: wave * 0.3,
                    difference: shift / 100.0 + wave * 1e-4,
                    interval: [shift / 100.0 + wave * 1e-4 - 4e-4, shift / 100.0 + 4e-4],
                    sharpe: wave * 2.0,
                    drawdown: 0.12 + wave.abs() / 5.0,
                    trades: 120 + u64::from(fold),
                }
            })
            .collect();
        let curve = |rate: f64| {
            (0..720_u32)
                .map(|step| {
                    let at = day(301 + u64::from(step)).0 as f64;
                    let wave = (f64::from(step) / 40.0).sin() * 0.05;
                    (at, 1.0 + wave + rate * f64::from(step) / 720.0)
                })
                .collect()
        };
        Walk {
            market: "binance:BTCUSDT, 1 h bars".to_owned(),
            costs: "10 basis points a side".to_owned(),
            level: 0.95,
            folds,
            difference: shift / 100.0,
            interval: [shift / 100.0 - 2e-4, shift / 100.0 + 2e-4],
            curves: vec![
                Line {
                    name: "model".to_owned(),
                    points: curve(shift),
                },
                Line {
                    name: "buy-and-hold".to_owned(),
                    points: curve(0.3),
                },
            ],
            paths: (0..45)
                .map(|path| f64::from(path * 17 % 45) / 30.0 - 0.5)
                .collect(),
            overfitting: 0.31,
            deflated: f64::NAN,
        }
    }

    #[test]
    fn the_sentence_says_what_the_interval_allows_and_no_more() {
        assert_eq!(example(0.1).judgement().0, Tone::Good);
        assert_eq!(example(-0.1).judgement().0, Tone::Bad);
        let (tone, word, sentence) = example(0.01).judgement();
        assert_eq!((tone, word), (Tone::Warn, "NOT SHOWN TO BEAT BUY-AND-HOLD"));
        assert!(sentence.contains("holds zero"), "{sentence}");
        let empty = Walk {
            folds: Vec::new(),
            ..example(0.1)
        };
        assert_eq!(empty.judgement().0, Tone::Idle);
        assert!(page(&empty).finish().contains("too short"));
    }

    #[test]
    fn the_page_names_every_fold() {
        let walk = example(0.02);
        let text = page(&walk).finish();
        assert_eq!(text.matches("<tr").count(), walk.folds.len() + 2);
        assert!(text.contains("31.0\u{a0}%") && text.contains('—'));
        if let Ok(folder) = std::env::var("TICKERML_PAGES") {
            let path = std::path::Path::new(&folder).join("walk.html");
            page(&walk).write(&path).expect("written");
        }
    }
}
