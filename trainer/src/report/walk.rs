//! What was left when a model walked forward: learned on the past, tried on what came next, fold by fold.

use tickerml_edge::web::html::{UNKNOWN, int, signed, stamp};
use tickerml_shared::time::Time;

use super::chart::{Bar, Line, Lines, Strip, Unit};
use super::{Cell, Page, Table, Tone, percent, share};

/// What one policy did in one fold on one instrument, after costs.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Venue and symbol.
    pub instrument: String,
    /// First instant of the fold; `None` for all folds one after the other.
    pub from: Option<Time>,
    /// Whose.
    pub policy: String,
    /// What it earned, as a fraction.
    pub earned: f64,
    /// Annualised Sharpe ratio; NaN where it has none.
    pub sharpe: f64,
    /// Deepest fall from a high, as a fraction.
    pub drawdown: f64,
    /// Mean magnitude of the position, of equity.
    pub exposure: f64,
    /// Changes of position.
    pub trades: u64,
    /// Costs paid, of equity.
    pub costs: f64,
}

/// How much more the model earned than a benchmark over all folds of an instrument.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Venue and symbol.
    pub instrument: String,
    /// The benchmark's policy.
    pub benchmark: String,
    /// Difference of log equity at the end.
    pub difference: f64,
    /// Its interval.
    pub interval: [f64; 2],
}

/// A walk forward and what it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Walk {
    /// What was traded and when, as `one-hour bars of BTC and ETH, 2018 to 2025`.
    pub market: String,
    /// What a trade cost, in words.
    pub costs: String,
    /// The level of the intervals, as a fraction.
    pub level: f64,
    /// The model's name among the policies.
    pub model: String,
    /// The name of buying and holding among them.
    pub holding: String,
    /// Fold by fold, then all folds together.
    pub rows: Vec<Row>,
    /// The model against the others.
    pub compared: Vec<Compared>,
    /// Account values over all folds, the model's first; nanoseconds across. May be empty.
    pub curves: Vec<Line>,
    /// Sharpe ratios of the paths of a combinatorial cross-validation; empty where none was done.
    pub paths: Vec<f64>,
    /// Probability that the best configuration found is overfitted; NaN where it was not asked.
    pub overfitting: f64,
    /// Deflated Sharpe ratio: the probability that the true ratio is above what the best of as many worthless
    /// trials would show; NaN where it was not asked.
    pub deflated: f64,
}

impl Walk {
    /// The instruments, in order.
    fn instruments(&self) -> Vec<&str> {
        unique(self.rows.iter().map(|row| row.instrument.as_str()))
    }

    /// The policies, the model first.
    fn policies(&self) -> Vec<&str> {
        let mut names = unique(self.rows.iter().map(|row| row.policy.as_str()));
        names.sort_by_key(|name| *name != self.model);
        names
    }

    fn row(&self, instrument: &str, from: Option<Time>, policy: &str) -> Option<&Row> {
        self.rows.iter().find(|row| {
            (row.instrument.as_str(), row.from, row.policy.as_str()) == (instrument, from, policy)
        })
    }

    /// Whether it beats buying and holding, in one word and one honest sentence.
    #[must_use]
    pub fn judgement(&self) -> (Tone, &'static str, String) {
        let against: Vec<&Compared> = self
            .compared
            .iter()
            .filter(|one| one.benchmark == self.holding)
            .collect();
        if against.is_empty() {
            let none = "There is no comparison with holding to judge by: the history is too short for its terms.";
            return (Tone::Idle, "NOTHING TO SAY", none.to_owned());
        }
        let facts: Vec<String> = against
            .iter()
            .map(|one| {
                let [own, held] = [&self.model, &self.holding].map(|policy| {
                    let row = self.row(&one.instrument, None, policy);
                    row.map_or(UNKNOWN.to_owned(), |row| percent(row.earned, 1))
                });
                format!(
                    "On {} it earned {own} after costs against {held} for holding; the {} interval of the difference \
                     of log equity is {} to {}.",
                    one.instrument,
                    share(self.level, 0),
                    signed(Some(one.interval[0]), 3),
                    signed(Some(one.interval[1]), 3)
                )
            })
            .collect();
        let (tone, word, meaning) = if against.iter().all(|one| one.interval[0] > 0.0) {
            let meaning = "That is better than holding, by more than chance explains.";
            (Tone::Good, "BEATS BUY-AND-HOLD", meaning)
        } else if against.iter().any(|one| one.interval[1] < 0.0) {
            let meaning = "That is worse than holding, by more than chance explains.";
            (Tone::Bad, "WORSE THAN BUY-AND-HOLD", meaning)
        } else {
            let meaning =
                "An interval holds zero: this does not show that it beats buying and holding.";
            (Tone::Warn, "NOT SHOWN TO BEAT BUY-AND-HOLD", meaning)
        };
        (tone, word, format!("{} {meaning}", facts.join(" ")))
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// The page of a walk forward.
#[must_use]
pub fn page(walk: &Walk) -> Page {
    let mut page = Page::new("Walk forward", &format!("{}; {}", walk.market, walk.costs));
    let (tone, word, sentence) = walk.judgement();
    page.lead(tone, word, &sentence);
    if !walk.curves.is_empty() {
        page.section("All folds, one after the other");
        page.lines(&Lines {
            caption: "Account value after costs, one at the start; each fold's model had seen only what lies before it."
                .to_owned(),
            across: Unit::Time,
            lines: walk.curves.clone(),
            ..Lines::default()
        });
    }
    for instrument in walk.instruments() {
        page.section(instrument);
        page.heading("Earned after costs, fold by fold");
        page.table(&folds(walk, instrument));
        page.heading("All folds together");
        page.table(&whole(walk, instrument));
        let bars = differences(walk, instrument);
        if !bars.is_empty() {
            page.heading("Log equity at the end, of the model less that of each other");
            page.bars(&bars, Unit::Plain);
            page.note(format!(
                "With {} intervals of the stationary bootstrap (Politis and Romano 1994).",
                share(walk.level, 0)
            ));
        }
    }
    if !walk.paths.is_empty() {
        page.section("Combinatorial purged cross-validation");
        page.text(
            "Each path is one way through the history of which every part was tried by a model that had not seen it. \
             Their spread says how much of a single backtest is luck.",
        );
        page.strips(
            &[Strip {
                name: "Sharpe ratio".to_owned(),
                values: walk.paths.clone(),
            }],
            Unit::Plain,
        );
    }
    if walk.overfitting.is_finite() || walk.deflated.is_finite() {
        page.section("Luck");
        page.facts(&[
            (
                "Probability of backtest overfitting",
                share(walk.overfitting, 1),
            ),
            ("Deflated Sharpe ratio", share(walk.deflated, 1)),
        ]);
    }
    page
}

/// A row for each fold, a column for each policy.
fn folds(walk: &Walk, instrument: &str) -> Table {
    let policies = walk.policies();
    let mut head = vec!["tried from"];
    head.extend(&policies);
    let mut table = Table::new(&head);
    let own = walk.rows.iter().filter(|row| row.instrument == instrument);
    let mut starts: Vec<Option<Time>> = Vec::new();
    for row in own {
        if !starts.contains(&row.from) {
            starts.push(row.from);
        }
    }
    starts.sort_by_key(|from| (from.is_none(), *from));
    for from in starts {
        if from.is_none() {
            table.strong.push(table.rows.len());
        }
        let name = from.map_or("all".to_owned(), |from| stamp(from.0)[..10].to_owned());
        let cells = policies
            .iter()
            .map(|policy| match walk.row(instrument, from, policy) {
                Some(row) => Cell::Signed(percent(row.earned, 1), row.earned),
                None => Cell::number(UNKNOWN),
            });
        table
            .rows
            .push(std::iter::once(Cell::text(name)).chain(cells).collect());
    }
    table
}

/// A row for each policy, over all folds.
fn whole(walk: &Walk, instrument: &str) -> Table {
    let mut table = Table::new(&[
        "policy", "earned", "Sharpe", "drawdown", "exposure", "trades", "costs",
    ]);
    for policy in walk.policies() {
        let Some(row) = walk.row(instrument, None, policy) else {
            continue;
        };
        if policy == walk.model {
            table.strong.push(table.rows.len());
        }
        table.rows.push(vec![
            Cell::text(policy),
            Cell::Signed(percent(row.earned, 1), row.earned),
            Cell::number(signed(Some(row.sharpe), 2)),
            Cell::number(share(row.drawdown, 1)),
            Cell::number(share(row.exposure, 0)),
            Cell::number(int(row.trades)),
            Cell::number(share(row.costs, 1)),
        ]);
    }
    table
}

fn differences(walk: &Walk, instrument: &str) -> Vec<Bar> {
    let own = walk
        .compared
        .iter()
        .filter(|one| one.instrument == instrument);
    own.map(|one| Bar {
        name: one.benchmark.clone(),
        value: one.difference,
        interval: Some(one.interval),
        text: signed(Some(one.difference), 3),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use tickerml_shared::time::DAYS;

    use super::*;

    /// Two instruments, five folds, three policies; the model is ahead of holding by `shift`.
    fn example(shift: f64) -> Walk {
        let day = |day: u64| Time(1_600_000_000_000_000_000 + day * DAYS);
        let mut rows = Vec::new();
        let mut compared = Vec::new();
        for (place, instrument) in ["binance:BTCUSDT", "binance:ETHUSDT"]
            .into_iter()
            .enumerate()
        {
            for fold in 0..6_u32 {
                let from = (fold < 5).then(|| day(301 + u64::from(fold) * 365));
                let wave = f64::from(fold * 37 % 11) / 11.0 - 0.5;
                for (policy, earned) in [
                    ("flat", 0.0),
                    ("buy-and-hold", wave),
                    ("model", wave * 0.6 + shift),
                ] {
                    let moved = if policy == "flat" { f64::NAN } else { 1.0 };
                    rows.push(Row {
                        instrument: instrument.to_owned(),
                        from,
                        policy: policy.to_owned(),
                        earned,
                        sharpe: moved * wave * 2.0,
                        drawdown: 0.12 + wave.abs() / 5.0,
                        exposure: 0.5,
                        trades: 120 + u64::from(fold),
                        costs: 0.03,
                    });
                }
            }
            for (benchmark, difference) in [("flat", 0.4 + shift), ("buy-and-hold", shift)] {
                let wide = 0.2 + 0.1 * place as f64;
                compared.push(Compared {
                    instrument: instrument.to_owned(),
                    benchmark: benchmark.to_owned(),
                    difference,
                    interval: [difference - wide, difference + wide],
                });
            }
        }
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
            market: "one-hour bars of BTC and ETH, 2018 to 2025".to_owned(),
            costs: "10 basis points a side".to_owned(),
            level: 0.95,
            model: "model".to_owned(),
            holding: "buy-and-hold".to_owned(),
            rows,
            compared,
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
    fn the_sentence_says_what_the_intervals_allow_and_no_more() {
        assert_eq!(example(0.5).judgement().0, Tone::Good);
        assert_eq!(example(-0.5).judgement().0, Tone::Bad);
        let (tone, word, sentence) = example(0.25).judgement();
        // The first instrument's interval is above zero, the second's is not.
        assert_eq!((tone, word), (Tone::Warn, "NOT SHOWN TO BEAT BUY-AND-HOLD"));
        assert!(sentence.contains("holds zero"), "{sentence}");
        let empty = Walk {
            compared: Vec::new(),
            ..example(0.5)
        };
        assert_eq!(empty.judgement().0, Tone::Idle);
        assert!(page(&empty).finish().contains("too short"));
    }

    #[test]
    fn the_page_names_every_fold_of_every_policy() {
        let walk = example(0.02);
        let text = page(&walk).finish();
        // For each instrument two heads, six folds and three policies.
        assert_eq!(text.matches("<tr").count(), 2 * (2 + 6 + 3));
        assert!(text.contains("31.0\u{a0}%") && text.contains('—'));
        crate::report::shown("walk.html", &text);
    }
}
