//! What the pages say of trading and of risk.

use super::*;

#[tokio::test]
async fn the_page_of_trading_shows_what_it_must() {
    let b = bench(Snapshot::demo(1)).await;
    let body = fetch(b.at, "/trading").await.body;
    for wanted in [
        "post-only",
        "partially filled",
        "cancel asked",
        "for stop-loss",
        "synthetic book",
        "est. 1.104 of 2.5",
        "<rect class=\"range\"",
        "behind ",
        "taker</span>",
        "toxic",
        "811 as maker, 1,204 as taker, 97 toxic, 12 against a synthetic book",
        "sum of the effects +61.34 = profit of the ledger +61.34",
        "By reason of the order",
        "Sharpe",
        "not enough data yet",
        "11\u{a0}h 26\u{a0}min",
        "explained by what travels",
        "64.8\u{a0}ms",
        "risk-averse",
        "<details><summary><h2 id=\"h-paper\">",
        "<details open><summary><h2 id=\"h-fills\">",
    ] {
        assert!(body.contains(wanted), "the page of trading lacks {wanted}");
    }
    // Every fill shows its split, its fee and what the market did 1, 5 and 30 s later.
    let fills = body.split("data-part=\"fills\"").nth(1).unwrap();
    let row = fills.split("<tr>").nth(2).unwrap();
    let row = row.split("</tr>").next().unwrap();
    for label in [
        "Fee",
        "Latency",
        "Queue",
        "Spread",
        "Impact",
        "Against it, bps: 1 s",
        "5 s",
        "30 s",
        "Reason and marks",
    ] {
        let cell = row.split(&format!("data-label=\"{label}\">")).nth(1);
        assert!(cell.is_some(), "a fill has no {label}");
    }
    assert!(
        row.contains("data-label=\"30 s\">—"),
        "the newest fill is younger than 30 s"
    );
}

#[tokio::test]
async fn a_profit_that_does_not_add_up_is_an_alarm() {
    let mut s = Snapshot::demo(1);
    s.attribution.ledger_profit = s.attribution.ledger_profit.map(|v| v + 0.000_000_01);
    let b = bench(s).await;
    for path in ["/", "/trading"] {
        let body = fetch(b.at, path).await.body;
        assert!(body.contains("role=\"alert\""), "{path}");
        assert!(body.contains("does not add up") && !body.contains(">adds up"));
        let both = "+61.34000000 ≠ profit of the ledger +61.34000001";
        assert!(body.contains(both), "{path} shows both numbers");
    }
    let metrics = fetch(b.at, "/metrics").await.body;
    let line = "\ntickerml_attribution_difference -0.0000000";
    assert!(metrics.contains(line), "the difference is a metric");
}

#[tokio::test]
async fn the_page_of_risk_puts_first_what_is_tripped() {
    let b = bench(Snapshot::demo(1)).await;
    let body = fetch(b.at, "/risk").await.body;
    let limits = body.split("data-part=\"limits\"").nth(1).unwrap();
    let rows: Vec<&str> = limits.split("<tr>").skip(2).collect();
    assert_eq!(rows.len(), 16);
    let tripped: Vec<bool> = rows.iter().map(|row| row.contains("tripped")).collect();
    assert_eq!(tripped.iter().filter(|t| **t).count(), 3);
    assert!(tripped.is_sorted_by(|a, b| a >= b), "{tripped:?}");
    assert!(rows[0].contains("≥") != rows[0].contains("≤"));
    for wanted in [
        "halted",
        "reducing",
        "until <time",
        "7 active",
        "Head-room",
        "\u{2212}1.4\u{a0}bps",
        "≥\u{a0}0.55",
        "not known yet",
        "2 of 5",
        "<small><code>position_cap_limit</code> <code>position_cap</code></small>",
        "<span class=\"quiet of\">binance BTC/USD</span>",
        "21,400.00\u{a0}USD",
        "≥\u{a0}10,000.00\u{a0}USD",
        "15 times since <time",
        "<small>kraken ETH/USD</small>",
        "The spread is too wide",
    ] {
        assert!(body.contains(wanted), "the page of risk lacks {wanted}");
    }
}

#[tokio::test]
async fn a_fault_of_reconciliation_is_an_alarm() {
    let alarm = "does not reconcile";
    let b = bench(Snapshot::demo(1)).await;
    let body = fetch(b.at, "/").await.body;
    assert!(!body.contains(alarm), "what travels explains it");
    let mut s = Snapshot::demo(1);
    let fault = &mut s.reconciliation.differences[0];
    fault.explained = false;
    let another = fault.clone();
    s.reconciliation.differences.push(another);
    b.desk.send_replace(Arc::new(s));
    let body = fetch(b.at, "/").await.body;
    let line = body.split(alarm).nth(1).expect("the overview says so");
    let line = line.split("</p>").next().unwrap();
    for wanted in [
        "position SOL/USD",
        "ours 1.05",
        "venue’s 0.60",
        "and 1 more",
    ] {
        assert!(line.contains(wanted), "{line}");
    }
    assert!(body.contains("role=\"alert\""));
}

#[tokio::test]
async fn the_header_names_what_is_restricted_and_health_stays_well() {
    let scope = |scope: &str, state| Scope {
        scope: scope.to_owned(),
        what: scope.to_owned(),
        state,
        ..Scope::default()
    };
    let b = bench(Snapshot::demo(1)).await;
    for (kind, state, word) in [
        ("portfolio", TradingState::Active, "running"),
        ("portfolio", TradingState::Reducing, "reducing"),
        ("venue", TradingState::Halted, "halted in part"),
        ("instrument", TradingState::Reducing, "reducing in part"),
    ] {
        let mut s = Snapshot::demo(1);
        s.risk.scopes = vec![scope(kind, state)];
        s.health.reasons = vec![Reason {
            code: state.name().to_owned(),
            text: "a reason to look".to_owned(),
            ..Reason::default()
        }];
        b.desk.send_replace(Arc::new(s));
        for path in ["/", "/risk"] {
            let page = fetch(b.at, path).await.body;
            let title = page.split("</title>").next().unwrap();
            assert!(
                page.contains(&format!("<i></i>{word}</span></p>")),
                "{word}"
            );
            let said = title.contains(&format!(" {} ", word.to_uppercase()));
            assert_eq!(said, word != "running", "{title}");
        }
        let health = fetch(b.at, "/health").await;
        assert_eq!(health.status, 200, "{word}");
        assert!(health.body.contains("a reason to look"), "{word}");
    }
}
