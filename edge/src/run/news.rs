//! What the watch over venues and funding has to tell, in words for an operator.

use tickerml_shared::arbitrage::{News, Opportunity, Stage};
use tickerml_shared::engine::Setup;
use tickerml_shared::event::RATE_SCALE;
use tickerml_shared::features::drift::Level as Drift;
use tickerml_shared::funding_watch::{Alert, Level};
use tickerml_shared::instrument::InstrumentId;
use tickerml_shared::num::Fixed;

use crate::view::name;

/// An alarm: how severe, its code, its text.
pub(super) type Alarm = (&'static str, &'static str, String);

/// An opportunity that opened is worth a word; how it went on is on the page.
pub(super) fn arbitrage(setup: &Setup, news: &News) -> Option<Alarm> {
    let Opportunity {
        buy,
        sell,
        qty_scale,
        first,
        ..
    } = &news.opportunity;
    if news.stage != Stage::Opened {
        return None;
    }
    let instruments = &setup.instruments;
    let (bought, sold) = (&instruments[buy.index()], &instruments[sell.index()]);
    let text = format!(
        "buying {} of {} and selling it as {} would bring {} {} after fees",
        Fixed::new(first.qty.0, *qty_scale).trimmed(),
        name(bought),
        name(sold),
        first.net(),
        bought.quote,
    );
    Some(("info", "arbitrage", text))
}

/// A funding rate that became worth a warning, or is no longer.
pub(super) fn funding(setup: &Setup, alert: &Alert) -> Alarm {
    let what = name(&setup.instruments[alert.instrument.index()]);
    let percent = Fixed::new(alert.rate, RATE_SCALE - 2).trimmed();
    let (severity, text) = match alert.level {
        Level::Calm => (
            "info",
            format!("the funding of {what} is calm again at {percent} %"),
        ),
        Level::Warning => (
            "warning",
            format!("the funding of {what} is {percent} % an interval"),
        ),
        Level::Blocking => (
            "warning",
            format!("the funding of {what} is {percent} % an interval: it takes no new risk"),
        ),
    };
    (severity, "funding-rate", text)
}

/// What a model would see of an instrument is, or is no longer, what it was trained on.
pub(super) fn drift(setup: &Setup, instrument: InstrumentId, level: Drift) -> Alarm {
    let what = name(&setup.instruments[instrument.index()]);
    let severity = if level == Drift::Drifted {
        "warning"
    } else {
        "info"
    };
    (
        severity,
        "drift",
        format!("the features of {what} are now {}", level.name()),
    )
}

#[cfg(test)]
mod tests {
    use tickerml_shared::instrument::{Instrument, Venue};
    use tickerml_shared::time::Time;

    use super::*;

    #[test]
    fn rates_are_told_in_percent() {
        let instrument = Instrument::unknown(Venue::BinanceUsdm, "BTCUSDT").expect("short");
        let setup = Setup::market_only(vec![instrument]);
        let mut alert = Alert {
            instrument: InstrumentId(0),
            before: Level::Calm,
            level: Level::Blocking,
            rate: -12_500_000_000,
            settles: Time(1),
        };
        let (severity, code, text) = funding(&setup, &alert);
        assert_eq!((severity, code), ("warning", "funding-rate"));
        assert_eq!(
            text,
            "the funding of binance-usdm BTCUSDT is -1.25 % an interval: it takes no new risk"
        );
        alert.level = Level::Calm;
        assert!(funding(&setup, &alert).2.ends_with("calm again at -1.25 %"));
    }
}
