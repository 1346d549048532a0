//! The limits and terms of paper trading that a configuration puts in force, for people to read.

use std::fmt;

use serde::Serialize;
use tickerml_shared::engine::{Costs, Setup};
use tickerml_shared::execution::Tactic;
use tickerml_shared::instrument::Venue;
use tickerml_shared::num::{CASH_SCALE, Fixed};
use tickerml_shared::paper::latency::Latency;
use tickerml_shared::risk::limits::{KEYS, Key, Limits, OTHER, Unit};
use tickerml_shared::time::{MILLIS, SECONDS};

/// Decimals of a fee in percent: a millionth is a ten-thousandth of a percent.
const PERCENT_SCALE: u8 = 4;
/// Decimals of nanoseconds in milliseconds.
const MILLIS_SCALE: u8 = 6;

/// Everything of a configuration that decides what may be traded and what it costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Terms {
    /// How a position's size is found.
    pub method: &'static str,
    /// Every limit.
    pub limits: Vec<Limit>,
    /// Every sector.
    pub sectors: Vec<Sector>,
    /// How decisions become orders.
    pub execution: Vec<Switch>,
    /// The effects of paper trading that are the same at every venue.
    pub paper: Vec<Switch>,
    /// What each venue costs.
    pub venues: Vec<VenueTerms>,
}

/// A limit of the risk gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// What it counts: `bps`, `ppm`, `s`, `ms`, `count`, or `money`.
    pub unit: &'static str,
    /// What it is for.
    pub about: &'static str,
}

/// A sector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sector {
    /// Its name.
    pub name: String,
    /// The share of equity that may be in it, in hundredths of a percent.
    pub cap_bps: i64,
    /// What belongs to it.
    pub assets: Vec<String>,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Switch {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Its value.
    pub value: String,
}

/// What trading at a venue costs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VenueTerms {
    /// Which venue.
    pub venue: &'static str,
    /// Its fee schedule.
    pub fees: Vec<Fee>,
    /// Where latencies come from: `constant`, `measured` or `recorded`.
    pub latency: &'static str,
    /// The milliseconds that this mode has, in words.
    pub latency_ms: String,
    /// The queue model whose estimate decides fills.
    pub queue_model: String,
}

/// A row of a fee schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fee {
    /// From this volume of thirty days on.
    pub volume: String,
    /// Fee of a resting order in millionths.
    pub maker_ppm: i32,
    /// Fee of a taking order in millionths.
    pub taker_ppm: i32,
}

impl Terms {
    /// The terms of a setup.
    #[must_use]
    pub fn of(setup: &Setup) -> Self {
        Self {
            method: setup.limits.method.name(),
            limits: limits(&setup.limits),
            sectors: sectors(&setup.limits),
            execution: execution(setup.tactic),
            paper: paper(setup),
            venues: setup.costs.iter().map(venue).collect(),
        }
    }
}

fn limits(limits: &Limits) -> Vec<Limit> {
    let of = |key: &'static Key| {
        let value = limits.get(key.name).unwrap_or_default();
        Limit {
            name: key.name,
            value: match key.unit {
                Unit::Money => Fixed::new(value, CASH_SCALE).trimmed().to_string(),
                _ => value.to_string(),
            },
            unit: key.unit.name(),
            about: key.about,
        }
    };
    KEYS.iter().map(of).collect()
}

fn sectors(limits: &Limits) -> Vec<Sector> {
    let sectors = &limits.sectors;
    let named = sectors.caps.iter().map(|sector| {
        let own = sectors.assets.iter().filter(|(_, of)| *of == sector.name);
        Sector {
            name: sector.name.to_string(),
            cap_bps: sector.cap_bps,
            assets: own.map(|(asset, _)| asset.to_string()).collect(),
        }
    });
    named.collect()
}

fn execution(tactic: Tactic) -> Vec<Switch> {
    let (name, patience_ns) = match tactic {
        Tactic::Take => ("take", None),
        Tactic::Make { patience_ns } => ("make", Some(patience_ns)),
    };
    let patience = patience_ns.map(|ns| switch("patience_ms", ns / MILLIS));
    [switch("tactic", name)]
        .into_iter()
        .chain(patience)
        .collect()
}

fn switch(name: &'static str, value: impl ToString) -> Switch {
    let value = value.to_string();
    Switch { name, value }
}

fn paper(setup: &Setup) -> Vec<Switch> {
    let impact = &setup.impact;
    let mut found = Vec::new();
    // The rules are the same at every venue.
    if let Some((_, Costs { rules, .. })) = setup.costs.first() {
        found = vec![
            switch("queue_model", rules.queue),
            switch("queue_position", rules.queue_position),
            switch("partial_fills", rules.partial_fills),
            switch("shared_volume", rules.shared_volume),
            switch("consumption_ms", rules.consumption_ns / MILLIS),
            switch("latency", rules.latency),
            switch("fees", rules.fees),
            switch("void_on_gap", rules.void_on_gap),
        ];
    }
    let coefficient = Fixed::new(i64::from(impact.coefficient_ppm), 6).trimmed();
    found.extend([
        switch("impact", impact.enabled),
        switch("impact_coefficient", coefficient),
        switch("impact_half_life_s", impact.half_life_ns / SECONDS),
        switch("funding", setup.funding),
        switch("synthetic_book", setup.synthetic_book),
    ]);
    found
}

fn venue((venue, costs): &(Venue, Costs)) -> VenueTerms {
    let fees = costs.tiers.iter().map(|tier| Fee {
        volume: Fixed::new(tier.volume.0, CASH_SCALE).trimmed().to_string(),
        maker_ppm: tier.maker_fee_ppm,
        taker_ppm: tier.taker_fee_ppm,
    });
    let ms = |ns: i64| Fixed::new(ns, MILLIS_SCALE).trimmed();
    let span = |(least, most): (u64, u64)| {
        let (least, most) = (ms(least.cast_signed()), ms(most.cast_signed()));
        format!("{least} to {most}")
    };
    let (latency, latency_ms) = match &costs.latency {
        Latency::Constant {
            entry_ns,
            response_ns,
        } => (
            "constant",
            format!("entry {}, response {}", ms(*entry_ns), ms(*response_ns)),
        ),
        Latency::Measured {
            entry_ns,
            response_ns,
        } => (
            "measured",
            format!(
                "entry {}, response {} until enough were measured",
                span(*entry_ns),
                span(*response_ns)
            ),
        ),
        Latency::Recorded(rows) => ("recorded", format!("from {} recorded requests", rows.len())),
    };
    VenueTerms {
        venue: venue.name(),
        fees: fees.collect(),
        latency,
        latency_ms,
        queue_model: costs.rules.queue.to_string(),
    }
}

/// A table, one limit or term a line.
impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "risk, sizes by method {}", self.method)?;
        for limit in &self.limits {
            let Limit {
                name, value, unit, ..
            } = limit;
            writeln!(f, "  {name:26} {value:>9} {unit}")?;
        }
        for sector in &self.sectors {
            let (name, cap, assets) = (&sector.name, sector.cap_bps, sector.assets.join(" "));
            let assets = match (assets.is_empty(), name == OTHER) {
                (true, true) => "all others",
                _ => &assets,
            };
            let name = format!("sector {name}");
            writeln!(f, "  {name:26} {cap:>9} bps  {assets}")?;
        }
        for (title, switches) in [("execution", &self.execution), ("paper", &self.paper)] {
            writeln!(f, "{title}")?;
            for Switch { name, value } in switches {
                writeln!(f, "  {name:26} {value:>9}")?;
            }
        }
        write!(f, "venues")?;
        for venue in &self.venues {
            let (name, model) = (venue.venue, &venue.queue_model);
            let (mode, ms) = (venue.latency, &venue.latency_ms);
            write!(
                f,
                "\n  {name:26} queue {model}; latency {mode}, in ms: {ms}"
            )?;
            for fee in &venue.fees {
                let percent = |ppm: i32| Fixed::new(i64::from(ppm), PERCENT_SCALE).trimmed();
                let (maker, taker) = (percent(fee.maker_ppm), percent(fee.taker_ppm));
                let from = &fee.volume;
                write!(
                    f,
                    "\n    {:24} maker {maker} %, taker {taker} %",
                    format!("from {from}")
                )?;
            }
        }
        Ok(())
    }
}
