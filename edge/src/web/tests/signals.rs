//! What the pages say of features, arbitrage, spreads between venues and funding.

use super::*;

/// Puts a text wherever one of these parts has text.
pub(super) fn spoil(s: &mut Snapshot, evil: &str) {
    let spoil = |market: &mut Market| {
        market.venue = evil.to_owned();
        market.instrument = evil.to_owned();
    };
    spoil(&mut s.features.instruments[0]);
    let row = &mut s.features.rows[0];
    for text in [&mut row.name, &mut row.group, &mut row.unit] {
        *text = evil.to_owned();
    }
    let a = &mut s.arbitrage;
    for o in [&mut a.open[0], &mut a.closed[1]] {
        spoil(&mut o.buy);
        spoil(&mut o.sell);
        for text in [&mut o.currency, &mut o.last.qty, &mut o.best.qty] {
            *text = evil.to_owned();
        }
        o.closed = o.closed.as_ref().map(|_| evil.to_owned());
        o.trial = Trial::Done {
            filled: false,
            bought: evil.to_owned(),
            sold: evil.to_owned(),
            unhedged: evil.to_owned(),
            net: f64::NAN,
        };
    }
    spoil(&mut a.pairs[0].buy);
    spoil(&mut a.pairs[0].sell);
    a.pairs[0].currency = evil.to_owned();
    s.spreads[0].asset = evil.to_owned();
    spoil(&mut s.spreads[0].instruments[0]);
    let funding = &mut s.funding[0];
    funding.venue = evil.to_owned();
    let held = funding.holding.as_mut().unwrap();
    held.side = evil.to_owned();
    held.qty = evil.to_owned();
}

/// The content of a part.
fn part<'a>(body: &'a str, id: &str) -> &'a str {
    let start = format!("data-part=\"{id}\">");
    let rest = body.split(&start).nth(1).unwrap();
    rest.split("</section>").next().unwrap()
}

#[tokio::test]
async fn the_page_of_signals_shows_what_it_must() {
    let b = bench(Snapshot::demo(1)).await;
    let body = fetch(b.at, "/signals").await.body;
    for (id, wanted) in [
        ("opportunities", "48 pairs of markets are compared; 1,208"),
        ("opportunities", "3 could not be kept"),
        (
            "opportunities",
            "buy at </span>SOL/USD <small>kraken</small>",
        ),
        ("opportunities", "<span class=\"up\">+10.51</span>"),
        ("opportunities", "≥\u{a0}181.5"),
        ("closed", "an old quote"),
        ("closed", "a gap"),
        ("closed", "filled</span> net"),
        ("closed", "unhedged 0.0125"),
        ("closed", "its orders still travel"),
        ("closed", "not known: the edge restarted"),
        ("pairs", "&lt; 512\u{a0}ms"),
        ("pairs", "734\u{a0}ms"),
        ("spreads", "Spreads of XRP between venues"),
        ("funding", "warning"),
        ("funding", "no new risk is taken"),
        ("funding", "no rate yet"),
        ("funding", "exit before <time"),
        ("funding", "long: enter before <time"),
        ("funding", "any time"),
        ("funding", "0.7712"),
        ("funding", "1\u{a0}h 56\u{a0}min"),
        ("funding", "+37.50"),
        ("features", "<h3>order flow</h3>"),
        ("features", "160 values known"),
        (
            "features",
            "<th scope=\"row\">vpin_5m_bulk <small>share</small></th>",
        ),
        (
            "features",
            "<caption class=\"vh\">Features by instrument: book",
        ),
    ] {
        assert!(part(&body, id).contains(wanted), "{id} lacks {wanted}");
    }
    let features = part(&body, "features");
    assert_eq!(
        features.matches("<details class=\"group\" open>").count(),
        1
    );
    assert_eq!(features.matches("<td>").count(), 64 * 16);
    // The best comes first.
    let open = part(&body, "opportunities");
    assert!(open.find("SOL/USD") < open.find("BTC/USD"));
    for path in ["/trading", "/decisions"] {
        let body = fetch(b.at, path).await.body;
        assert!(
            !body.contains("data-part=\"funding\"") && !body.contains("data-part=\"features\"")
        );
    }
}

/// With as many features and instruments as there are now.
#[tokio::test]
async fn the_page_of_signals_is_light() {
    const BYTES_MAX: usize = 300 * 1024;
    let s = Snapshot::demo(1);
    assert_eq!(
        (s.features.rows.len(), s.features.instruments.len()),
        (64, 16)
    );
    let b = bench(s).await;
    for view in View::ALL {
        let bytes = fetch(b.at, view.path()).await.body.len();
        println!("{}: {:.1} KiB", view.path(), bytes as f64 / 1024.0);
        assert!(bytes <= BYTES_MAX, "{}: {bytes} bytes", view.path());
    }
}

#[tokio::test]
async fn where_there_is_nothing_the_page_of_signals_says_so() {
    let mut s = Snapshot::demo(1);
    s.arbitrage = Arbitrage {
        watched: 12,
        ..Arbitrage::default()
    };
    s.spreads.clear();
    s.funding.clear();
    s.features = FeatureTable::default();
    let b = bench(s.clone()).await;
    let body = fetch(b.at, "/signals").await.body;
    for (id, wanted) in [
        ("opportunities", "No opportunity above cost."),
        ("closed", "No opportunity is over yet."),
        ("pairs", "No pair had an opportunity yet."),
        ("spreads", "No asset is traded at two venues."),
        ("funding", "No perpetual contract is traded"),
        ("features", "No features yet."),
    ] {
        assert!(part(&body, id).contains(wanted), "{id} lacks {wanted}");
        assert!(!part(&body, id).contains("<table"));
    }
    s.arbitrage.watched = 0;
    b.desk.send_replace(Arc::new(s));
    let body = fetch(b.at, "/signals").await.body;
    assert!(part(&body, "opportunities").contains("nothing to compare"));
}

#[tokio::test]
async fn ragged_tables_do_no_harm() {
    let mut s = Snapshot::demo(1);
    s.features.rows[0].values.truncate(3);
    s.features.rows[1].values.push(Some(1.0));
    s.spreads[0].against.truncate(1);
    s.spreads[1].against[0].clear();
    let b = bench(s).await;
    let body = fetch(b.at, "/signals").await.body;
    assert_eq!(part(&body, "features").matches("<td>").count(), 64 * 16);
    assert_eq!(part(&body, "spreads").matches("<td>").count(), 4 * 4 * 4);
}

#[test]
fn the_lists_of_signals_are_bounded_and_keep_what_matters() {
    fn fill_up<T: Clone + Default>(list: &mut Vec<T>) {
        list.splice(0..0, vec![T::default(); 500]);
    }
    let mut s = Snapshot::demo(1);
    fill_up(&mut s.arbitrage.open);
    fill_up(&mut s.arbitrage.closed);
    fill_up(&mut s.arbitrage.pairs);
    fill_up(&mut s.features.instruments);
    fill_up(&mut s.features.rows);
    fill_up(&mut s.features.rows[0].values);
    fill_up(&mut s.spreads);
    fill_up(&mut s.spreads[0].instruments);
    fill_up(&mut s.spreads[0].against);
    fill_up(&mut s.spreads[0].against[0]);
    s.bound();
    for (have, bound) in [
        (s.arbitrage.open.len(), OPEN_OPPORTUNITIES),
        (s.arbitrage.closed.len(), CLOSED_OPPORTUNITIES),
        (s.arbitrage.pairs.len(), PAIRS),
        (s.features.instruments.len(), MARKETS),
        (s.features.rows.len(), FEATURES),
        (s.features.rows[0].values.len(), MARKETS),
        (s.spreads.len(), COMPARED_ASSETS),
        (s.spreads[0].instruments.len(), COMPARED_MARKETS),
        (s.spreads[0].against.len(), COMPARED_MARKETS),
        (s.spreads[0].against[0].len(), COMPARED_MARKETS),
    ] {
        assert_eq!(have, bound);
    }
    assert_eq!(s.arbitrage.open[0].id, 1_208, "the best stays");
    assert_eq!(s.arbitrage.pairs[0].opened, 811, "the busiest stays");
}

#[tokio::test]
async fn quality_and_drift_are_said_in_words() {
    let b = bench(Snapshot::demo(1)).await;
    let venues = fetch(b.at, "/venues").await.body;
    for wanted in [
        "99.999 %",
        "stale quotes",
        "nothing heard",
        "gap 14",
        "duplicate trade 2",
        " ago)",
    ] {
        assert!(
            part(&venues, "quality").contains(wanted),
            "{wanted} on /venues"
        );
    }
    let signals = fetch(b.at, "/signals").await.body;
    for wanted in ["drifted", "spread", "(mean, 3.4 σ)", "4,200"] {
        assert!(
            part(&signals, "drift").contains(wanted),
            "{wanted} on /signals"
        );
    }
    let mut silent = Snapshot::demo(1);
    silent.drift.clear();
    silent.quality[0].market.venue = "<script>".to_owned();
    let b = bench(silent).await;
    let signals = fetch(b.at, "/signals").await.body;
    assert!(part(&signals, "drift").contains("No reference is configured"));
    let venues = fetch(b.at, "/venues").await.body;
    assert!(!part(&venues, "quality").contains("<script>"));
}
