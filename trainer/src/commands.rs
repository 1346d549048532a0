//! What each command does. The answer is whether it succeeded; an error is one line.

use std::fmt::Display;

use tickerml_edge::clock;
use tickerml_edge::replay::trial;
use tickerml_shared::instrument::Venue;
use tickerml_shared::time::{DAYS, MINUTES, SECONDS};
use tickerml_trainer::config::Config;
use tickerml_trainer::gate::{self, Examination, Verdict};
use tickerml_trainer::history::{self, Progress as Bars, Source, Store};
use tickerml_trainer::onnx::Quantisation;
use tickerml_trainer::pipeline::{self, Job};
use tickerml_trainer::report::training;
use tickerml_trainer::split::Scheme;
use tickerml_trainer::train::METRICS_FILE;
use tickerml_trainer::train::dashboard::Dashboard;
use tickerml_trainer::{planted, tasks, walk};

use crate::{Backtest, Gate, Import, Prove, Refresh, Report, Splits, Stored, Train, Walk};

type Done = Result<bool, String>;

fn told(error: impl Display) -> String {
    error.to_string()
}

/// A length of time as users write it: a number and s, m, h or d. In nanoseconds.
fn span(text: &str) -> Result<u64, String> {
    let unit = |suffix| match suffix {
        's' => Some(SECONDS),
        'm' => Some(MINUTES),
        'h' => Some(60 * MINUTES),
        'd' => Some(DAYS),
        _ => None,
    };
    let parsed = text.chars().last().and_then(unit).and_then(|unit| {
        let number: u64 = text[..text.len() - 1].parse().ok()?;
        number.checked_mul(unit).filter(|span| *span > 0)
    });
    parsed.ok_or_else(|| format!("{text:?} is no length of time; write for instance 1s, 5m or 1h"))
}

pub(crate) fn import(of: &Import) -> Done {
    let venue = of.venue.as_deref().map(|name| {
        Venue::from_name(name)
            .ok_or_else(|| format!("--venue {name:?} is unknown; write for instance binance"))
    });
    let sources =
        Source::detect(&of.paths, venue.transpose()?, of.symbol.as_deref()).map_err(told)?;
    let store = Store::create(&of.into).map_err(told)?;
    let terms = history::Terms {
        pulse_ns: of.pulse.as_deref().map(span).transpose()?,
        spread_bps: of.spread_bps,
        ..history::Terms::default()
    };
    let summary = history::import(&sources, &store, &terms, Bars::Bars).map_err(told)?;
    if of.json {
        println!("{}", summary.json());
    } else {
        print!("{summary}");
    }
    Ok(true)
}

pub(crate) fn stored(of: &Stored) -> Done {
    let store = Store::open(&of.store).map_err(told)?;
    for overview in history::summary(&store).map_err(told)? {
        println!("{overview}");
    }
    Ok(true)
}

pub(crate) fn train(of: &Train) -> Done {
    let config = Config::read(&of.configured.config).map_err(told)?;
    run(&Job {
        config: &config,
        now: clock::now(),
        out: &of.out,
        resume: of.resume,
        refreshed: None,
        quantisation: if of.int8 {
            Quantisation::Int8
        } else {
            Quantisation::None
        },
    })
}

pub(crate) fn refresh(of: &Refresh) -> Done {
    let config = Config::read(&of.configured.config).map_err(told)?;
    run(&Job {
        config: &config,
        now: clock::now(),
        out: &of.out,
        resume: of.resume,
        refreshed: Some(&of.from),
        quantisation: Quantisation::None,
    })
}

fn run(job: &Job<'_>) -> Done {
    let mut shown: Option<(String, Dashboard)> = None;
    let made = pipeline::run(job, &mut |phase, progress| {
        if shown.as_ref().is_none_or(|(name, _)| name != phase) {
            let learning = &job.config.learning;
            let terms = if phase == "estimate" {
                &learning.estimate
            } else {
                &learning.decide
            };
            shown = Some((phase.to_owned(), Dashboard::new(terms.steps)));
        }
        if let Some((_, dashboard)) = &mut shown {
            dashboard.show(progress);
        }
    })
    .map_err(told)?;
    if let Some((_, dashboard)) = &shown {
        dashboard.finish();
    }
    println!(
        "learned from {} steps; bundle {} (largest error of its graphs {:.1e}); page {}",
        made.steps,
        job.out.join(pipeline::BUNDLE).display(),
        made.exported.error,
        made.page.display()
    );
    Ok(true)
}

pub(crate) fn gate(of: &Gate) -> Done {
    let baselines = of.baselines.iter().map(|text| {
        let (name, policy) = text
            .split_once('=')
            .ok_or_else(|| format!("--baseline {text:?} has no name; write NAME=model:FOLDER"))?;
        Ok((name.to_owned(), policy.to_owned()))
    });
    let baselines: Vec<(String, String)> = baselines.collect::<Result<_, String>>()?;
    let terms = match &of.terms {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?
        }
        None => gate::Terms::default(),
    };
    let verdict = gate::examine(
        &Examination {
            candidate: &of.candidate,
            installed: of.installed.as_deref(),
            incumbent: Some(&of.incumbent),
            baselines: &baselines,
            journals: &of.journals,
            held_out: None,
            terms: &terms,
        },
        &of.out,
    )
    .map_err(told)?;
    println!("page {}", of.out.join(gate::PAGE_FILE).display());
    match verdict {
        Verdict::Pass => {
            println!("pass");
            Ok(true)
        }
        Verdict::Refused(reasons) => {
            for reason in reasons {
                println!("refused [{}]: {}", reason.code, reason.text);
            }
            Ok(false)
        }
    }
}

pub(crate) fn backtest(of: &Backtest) -> Done {
    let trials =
        gate::backtest::backtest(&of.policy, &of.journals, &trial::Terms::all()).map_err(told)?;
    if of.json {
        println!("{}", gate::backtest::to_json(&trials));
    } else {
        print!("{}", gate::backtest::to_table(&trials));
    }
    Ok(true)
}

pub(crate) fn report(of: &Report) -> Done {
    let path = if of.metrics.is_dir() {
        of.metrics.join(METRICS_FILE)
    } else {
        of.metrics.clone()
    };
    let metrics = training::Metrics::read(&path).map_err(told)?;
    let page = training::page("Training", &metrics, &training::Extras::default());
    page.write(&of.out).map_err(told)?;
    Ok(true)
}

pub(crate) fn walk(of: &Walk) -> Done {
    let config = Config::read(&of.configured.config).map_err(told)?;
    let dataset = pipeline::dataset(&config, clock::now()).map_err(told)?;
    let mut terms = walk::Walk::yearly(&config.market, of.seed);
    terms.learning = tickerml_trainer::market::Learning::small(of.steps, of.seed);
    let outcome = walk::forward(&dataset, &config.market, &terms, &mut |line| {
        eprintln!("{line}")
    })
    .map_err(told)?;
    println!("{outcome}");
    outcome.page(&config.market).write(&of.out).map_err(told)?;
    println!("page {}", of.out.display());
    Ok(true)
}

pub(crate) fn prove(of: &Prove) -> Done {
    let report = |line: &str| eprintln!("{line}");
    let proof = match of.name.as_str() {
        "parity" => {
            let out = of
                .out
                .as_deref()
                .ok_or("parity needs --out, a folder that exists")?;
            tasks::parity::dump(out, of.seed).map_err(told)?;
            return Ok(true);
        }
        "speed" => {
            let milliseconds = tasks::parity::milliseconds(of.seed, of.steps).map_err(told)?;
            println!("{{\"milliseconds\": {milliseconds:?}}}");
            return Ok(true);
        }
        "planted" => planted::prove(of.seed, of.short, &mut { report }),
        name => tasks::prove(name, of.seed, of.short, report),
    };
    let proof = proof.map_err(told)?;
    println!("{proof}");
    Ok(proof.passed())
}

pub(crate) fn splits(of: &Splits) -> Done {
    let scheme = Scheme::from_json(&of.scheme).map_err(told)?;
    let text = if of.json {
        scheme.json(of.rows).map_err(told)? + "\n"
    } else {
        scheme.text(of.rows).map_err(told)?
    };
    print!("{text}");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_written() {
        assert_eq!(span("5m"), Ok(300 * SECONDS));
        assert_eq!(span("1h"), Ok(3_600 * SECONDS));
        for wrong in ["", "h", "0s", "-1m", "5", "1y"] {
            assert!(span(wrong).is_err(), "{wrong}");
        }
    }
}
