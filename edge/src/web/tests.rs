//! The page over a real loopback socket.

mod signals;
mod trading;

use super::{snapshot::*, *};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

/// Tries to see something that another task brings about.
const TRIES: usize = 500;

/// A page on a socket and the desk's end of its channel. It runs without [`serve`], so that no
/// clock runs beside the test.
struct Bench {
    at: SocketAddr,
    desk: watch::Sender<Arc<Snapshot>>,
    state: WebState,
    server: JoinHandle<io::Result<()>>,
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn bench(snapshot: Snapshot) -> Bench {
    let (desk, snapshots) = watch::channel(Arc::new(snapshot));
    let state = WebState::new(snapshots);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let server = tokio::spawn(axum::serve(listener, app(state.clone())).into_future());
    Bench {
        at,
        desk,
        state,
        server,
    }
}

/// An answer, its header names in lower case.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, value)| value)
    }
}

/// Sends a request and reads the head of the answer.
async fn open(at: SocketAddr, path: &str, extra: &str) -> (Answer, BufReader<TcpStream>) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{extra}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reader = BufReader::new(stream);
    let first = line(&mut reader).await;
    let status = first.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = Vec::new();
    loop {
        let next = line(&mut reader).await;
        match next.split_once(": ") {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.to_owned())),
            None => break,
        }
    }
    (
        Answer {
            status,
            headers,
            body: String::new(),
        },
        reader,
    )
}

async fn line(reader: &mut BufReader<TcpStream>) -> String {
    let mut text = String::new();
    assert!(
        reader.read_line(&mut text).await.unwrap() > 0,
        "the server closed the stream"
    );
    text.trim_end().to_owned()
}

async fn fetch_with(at: SocketAddr, path: &str, extra: &str) -> Answer {
    let (mut answer, mut reader) = open(at, path, extra).await;
    reader.read_to_string(&mut answer.body).await.unwrap();
    answer
}

async fn fetch(at: SocketAddr, path: &str) -> Answer {
    fetch_with(at, path, "").await
}

/// Reads one event: its name and its data.
async fn event(reader: &mut BufReader<TcpStream>) -> (String, serde_json::Value) {
    let (mut name, mut data) = (String::new(), String::new());
    loop {
        let text = line(reader).await;
        if let Some(value) = text.strip_prefix("event: ") {
            name = value.to_owned();
        } else if let Some(value) = text.strip_prefix("data: ") {
            data.push_str(value);
        } else if text.is_empty() && !data.is_empty() {
            return (name, serde_json::from_str(&data).unwrap());
        }
    }
}

#[tokio::test]
async fn every_route_answers_with_its_type_and_the_security_headers() {
    let b = bench(Snapshot::demo(1)).await;
    let html = "text/html; charset=utf-8";
    for (path, status, kind) in [
        ("/", 200, html),
        ("/trading", 200, html),
        ("/risk", 200, html),
        ("/venues", 200, html),
        ("/signals", 200, html),
        ("/decisions", 200, html),
        ("/system", 200, html),
        ("/health", 200, "application/json"),
        ("/ready", 200, "application/json"),
        ("/api/v1/status", 200, "application/json"),
        ("/metrics", 200, "text/plain; version=0.0.4; charset=utf-8"),
        ("/assets/page.css", 200, "text/css; charset=utf-8"),
        ("/assets/page.js", 200, "text/javascript; charset=utf-8"),
        ("/assets/icon.svg", 200, "image/svg+xml"),
        ("/events?view=no", 400, "text/plain; charset=utf-8"),
        ("/nothing", 404, html),
    ] {
        let answer = fetch(b.at, path).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, kind),
            "{path}"
        );
        assert!(!answer.body.is_empty(), "{path}");
        let policy = answer.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        let stored = path.starts_with("/assets/");
        assert_eq!(
            answer.header("cache-control"),
            if stored { "no-cache" } else { "no-store" }
        );
    }
}

#[tokio::test]
async fn assets_are_cached_by_their_content() {
    let b = bench(Snapshot::demo(1)).await;
    let page = fetch(b.at, "/").await.body;
    for name in ["page.css", "page.js"] {
        let start = page.find(&format!("/assets/{name}?v=")).unwrap();
        let url = page[start..].split('"').next().unwrap();
        let answer = fetch(b.at, url).await;
        assert_eq!(
            answer.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
        let tag = answer.header("etag");
        assert!(tag.starts_with('"') && tag.ends_with('"') && tag.len() == 18);
        let again = fetch_with(b.at, url, &format!("if-none-match: {tag}\r\n")).await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
        let other = fetch_with(b.at, url, "if-none-match: \"0\"\r\n").await;
        assert_eq!(other.status, 200);
    }
}

#[tokio::test]
async fn what_venues_say_is_escaped() {
    let evil = "<script>alert('x')</script>\"onload=x";
    let mut s = Snapshot::demo(1);
    s.mode = evil.to_owned();
    s.node = evil.to_owned();
    s.model.name = evil.to_owned();
    s.account.currency = evil.to_owned();
    s.positions[0].instrument = evil.to_owned();
    s.positions[0].qty = evil.to_owned();
    let o = &mut s.orders[0];
    for text in [
        &mut o.id,
        &mut o.instrument,
        &mut o.venue,
        &mut o.side,
        &mut o.kind,
        &mut o.time_in_force,
        &mut o.qty,
        &mut o.executed,
        &mut o.left,
        &mut o.state,
        &mut o.reason,
    ] {
        *text = evil.to_owned();
    }
    o.price = Some(evil.to_owned());
    let f = &mut s.fills[0];
    for text in [&mut f.instrument, &mut f.venue, &mut f.side, &mut f.reason] {
        *text = evil.to_owned();
    }
    for rows in [
        &mut s.attribution.by_instrument,
        &mut s.attribution.by_reason,
    ] {
        rows[0].name = evil.to_owned();
        rows[0].venue = evil.to_owned();
    }
    s.performance.by_instrument[0].name = evil.to_owned();
    s.performance.by_strategy[0].venue = evil.to_owned();
    s.funding[0].instrument = evil.to_owned();
    let scope = s.risk.scopes.first_mut().unwrap();
    assert_ne!(scope.state, TradingState::Active);
    for text in [
        &mut scope.scope,
        &mut scope.what,
        &mut scope.code,
        &mut scope.cause,
        &mut scope.how_to_clear,
    ] {
        *text = evil.to_owned();
    }
    scope.command = Some(evil.to_owned());
    let limit = &mut s.risk.limits[0];
    for text in [
        &mut limit.code,
        &mut limit.name,
        &mut limit.scope,
        &mut limit.unit,
    ] {
        *text = evil.to_owned();
    }
    s.risk.violations.recent[0].text = evil.to_owned();
    s.risk.denials[0].instrument = evil.to_owned();
    s.risk.denial_counts[0].code = evil.to_owned();
    s.reconciliation.differences[0].what = evil.to_owned();
    s.reconciliation.differences[0].theirs = evil.to_owned();
    s.paper[0].venue = evil.to_owned();
    s.paper[0].queue_model = evil.to_owned();
    s.paper[0].switches[0].name = evil.to_owned();
    s.decisions[0].verdict = Verdict::Denied {
        code: evil.to_owned(),
        reason: evil.to_owned(),
    };
    s.venues[0].name = evil.to_owned();
    s.venues[0].reason = Some(evil.to_owned());
    s.books[0].live = false;
    s.books[0].stale_reason = Some(evil.to_owned());
    s.gaps[0].expected = evil.to_owned();
    s.alarms[0].text = evil.to_owned();
    signals::spoil(&mut s, evil);
    s.halts[0].why = evil.to_owned();
    s.health.reasons = vec![Reason {
        text: evil.to_owned(),
        ..Reason::default()
    }];
    let b = bench(s).await;
    for path in [
        "/",
        "/trading",
        "/risk",
        "/venues",
        "/signals",
        "/decisions",
        "/system",
        "/<script>alert(1)</script>",
    ] {
        let body = fetch(b.at, path).await.body;
        assert!(!body.contains("<script>"), "{path}");
        assert!(!body.contains("\"onload"), "{path}");
        assert!(
            path.contains('<') || body.contains("&lt;script&gt;"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn pages_have_no_inline_code_and_balanced_tags() {
    let b = bench(Snapshot::demo(1)).await;
    let paths = View::ALL.map(View::path).into_iter().chain(["/nothing"]);
    for path in paths {
        let body = fetch(b.at, path).await.body;
        for banned in [
            " style=",
            "<style",
            "javascript:",
            " onclick",
            " onload",
            " onerror",
        ] {
            assert!(!body.contains(banned), "{path} has {banned}");
        }
        for script in body.split("<script").skip(1) {
            let (tag, rest) = script.split_once('>').unwrap();
            assert!(
                tag.contains(" src=\"/assets/") && rest.starts_with("</script>"),
                "{path}"
            );
        }
        balanced(&body, path);
        let mut ids: Vec<&str> = body
            .split(" id=\"")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap())
            .collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "{path} has an id twice");
    }
}

/// Every element that needs an end has one, in the right order.
fn balanced(body: &str, path: &str) {
    const VOID: [&str; 3] = ["meta", "link", "!doctype"];
    let mut open: Vec<&str> = Vec::new();
    for tag in body.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "{path}: </{name}>");
        } else if !VOID.contains(&name) && !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{path}: {open:?}");
}

#[tokio::test]
async fn the_overview_shows_what_it_must() {
    let b = bench(Snapshot::demo(1)).await;
    let body = fetch(b.at, "/").await.body;
    for wanted in [
        "PAPER",
        "halted in part",
        "data-part=\"chart\"",
        "<path class=\"line\" d=\"M",
        "High-water mark",
        "BTC/USD",
        "0.4127 – 1.883",
        "est. 1.104",
        "spanned a gap",
        "All 16 limits",
        "2 of 5",
        "adds up",
        "tickerml-edge resume --instrument &#39;kraken ETH/USD&#39;",
        "denied",
        "maker</span>",
        "connection reset by peer; next try in 8 s",
        "To clear:",
        "http-equiv=\"refresh\"",
        "aria-live=\"polite\"",
        "Skip to content",
    ] {
        assert!(body.contains(wanted), "the overview lacks {wanted}");
    }
    for view in View::ALL {
        let bytes = fetch(b.at, view.path()).await.body.len();
        let path = view.path();
        assert!(
            bytes < 100_000,
            "{path}: {bytes} bytes is too much for a phone"
        );
    }
}

#[tokio::test]
async fn an_empty_desk_shows_dashes_not_zeros() {
    let b = bench(Snapshot::empty(
        "PAPER",
        "pi",
        "0.1.0",
        1_768_485_600_000_000_000,
    ))
    .await;
    for view in View::ALL {
        let answer = fetch(b.at, view.path()).await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("starting") && !answer.body.contains("NaN"));
    }
    let body = fetch(b.at, "/").await.body;
    assert!(body.contains("<span class=\"big\">—</span>"));
    assert_eq!(fetch(b.at, "/ready").await.status, 503);
}

#[tokio::test]
async fn health_says_no_when_halted_stale_or_silent() {
    let b = bench(Snapshot::demo(1)).await;
    assert_eq!(fetch(b.at, "/health").await.status, 200);
    let reason = || Reason {
        code: "drawdown".to_owned(),
        text: "too deep".to_owned(),
        since_ns: 5,
        command: Some("tickerml-edge resume --reason '…'".to_owned()),
    };
    for (halted, stale) in [(true, false), (false, true)] {
        let mut s = Snapshot::demo(1);
        s.health = Health {
            ready: true,
            halted,
            stale,
            reasons: vec![reason(); 500],
        };
        s.bound();
        assert_eq!(s.health.reasons.len(), REASONS, "bounded");
        b.desk.send_replace(Arc::new(s));
        let answer = fetch(b.at, "/health").await;
        assert_eq!(answer.status, 503);
        let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(json["status"], "unhealthy");
        assert_eq!(
            (&json["halted"], &json["stale"]),
            (&halted.into(), &stale.into())
        );
        assert_eq!(json["reasons"][0]["code"], "drawdown");
        assert_eq!(fetch(b.at, "/ready").await.status, 200);
        let page = fetch(b.at, "/").await.body;
        assert!(
            page.contains(if halted { "HALTED" } else { "STALE" }) && page.contains("too deep")
        );
        let banner = page.split("data-part=\"account\"").next().unwrap();
        assert!(banner.contains("To clear: <code>tickerml-edge resume"));
        assert_eq!(banner.matches("too deep").count(), 4, "the rest is a link");
        assert!(banner.contains(">12 more</a>"));
    }
    b.desk.send_replace(Arc::new(Snapshot::demo(1)));
    assert_eq!(fetch(b.at, "/health").await.status, 200);
}

#[tokio::test]
async fn a_silent_desk_is_unhealthy_and_said_so_to_a_reader() {
    let b = bench(Snapshot::demo(1)).await;
    let (at, state) = (b.at, b.state.clone());
    let (_, mut reader) = open(at, "/events?view=system", "").await;
    let (_, first) = event(&mut reader).await;
    assert!(!first.to_string().contains("silent"));
    state.note_silence(SILENT_AFTER_S - 1);
    assert_eq!(fetch(at, "/health").await.status, 200);
    state.note_silence(SILENT_AFTER_S);
    let (_, second) = event(&mut reader).await;
    assert!(second["title"].as_str().unwrap().contains("SILENT"));
    let parts = second["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 1, "only the state changed");
    assert_eq!(parts[0][0], "state");
    let health = fetch(at, "/health").await;
    assert_eq!(health.status, 503);
    assert!(health.body.contains("\"silent_s\":5"));
    assert_eq!(fetch(at, "/ready").await.status, 503);
    state.note_silence(0);
    assert_eq!(fetch(at, "/health").await.status, 200);
}

#[test]
fn seconds_without_a_snapshot_are_counted() {
    let (desk, snapshots) = watch::channel(Arc::new(Snapshot::demo(1)));
    let state = WebState::new(snapshots.clone());
    let mut snapshots = snapshots;
    let mut quiet = 0;
    for second in 1..=SILENT_AFTER_S {
        assert_eq!(state.silent_s(), 0);
        quiet = state.beat(&mut snapshots, quiet);
        assert_eq!(quiet, second);
    }
    assert_eq!(state.silent_s(), SILENT_AFTER_S);
    desk.send_replace(Arc::new(Snapshot::demo(1)));
    quiet = state.beat(&mut snapshots, quiet);
    assert_eq!((quiet, state.silent_s()), (0, 0));
    drop(desk);
    assert_eq!(state.beat(&mut snapshots, 8), 9);
    assert_eq!(state.silent_s(), 9);
}

#[tokio::test]
async fn the_stream_delivers_snapshots() {
    let b = bench(Snapshot::demo_at(1, 0)).await;
    let (answer, mut reader) = open(b.at, "/events", "").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "text/event-stream")
    );
    let (name, first) = event(&mut reader).await;
    assert_eq!(name, "snapshot");
    b.desk.send_replace(Arc::new(Snapshot::demo_at(1, 8)));
    let (name, second) = event(&mut reader).await;
    assert_eq!(name, "snapshot");
    assert_eq!(
        second["now_ns"].as_u64(),
        Some(Snapshot::demo_at(1, 8).now_ns)
    );
    assert!(first["now_ns"].as_u64() < second["now_ns"].as_u64());
    let status = fetch(b.at, "/api/v1/status").await.body;
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&status).unwrap(),
        second
    );
}

#[tokio::test]
async fn the_stream_of_a_page_delivers_what_changed_as_the_page_shows_it() {
    let b = bench(Snapshot::demo(1)).await;
    let (_, mut reader) = open(b.at, "/events?view=overview", "").await;
    let (name, first) = event(&mut reader).await;
    assert_eq!(name, "parts");
    let page = fetch(b.at, "/").await.body;
    for part in first["parts"].as_array().unwrap() {
        let slot = format!("data-part=\"{}\"", part[0].as_str().unwrap());
        assert!(
            page.contains(&slot) && page.contains(part[1].as_str().unwrap()),
            "{slot}"
        );
    }
    let mut next = Snapshot::demo(1);
    next.model.name = "another".to_owned();
    b.desk.send_replace(Arc::new(next));
    let (_, second) = event(&mut reader).await;
    let parts = second["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0][0], "model");
    assert!(parts[0][1].as_str().unwrap().contains("another"));
}

#[tokio::test]
async fn readers_of_the_stream_are_bounded_and_leave_room_when_they_go() {
    let b = bench(Snapshot::demo(1)).await;
    let mut readers = Vec::new();
    for _ in 0..EVENT_CLIENTS {
        let (answer, reader) = open(b.at, "/events", "").await;
        assert_eq!(answer.status, 200);
        readers.push(reader);
    }
    let refused = fetch(b.at, "/events").await;
    assert_eq!(refused.status, 503);
    assert!(!refused.header("retry-after").is_empty());
    readers.pop();
    for _ in 0..TRIES {
        if b.state.0.clients.available_permits() > 0 {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    let (answer, _reader) = open(b.at, "/events", "").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn shutdown_ends_streams_and_the_server() {
    let (_desk, snapshots) = watch::channel(Arc::new(Snapshot::demo(1)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async {
        let _ = stopped.await;
    };
    let server = tokio::spawn(serve(listener, WebState::new(snapshots), shutdown));
    let (_, mut reader) = open(at, "/events", "").await;
    event(&mut reader).await;
    stop.send(()).unwrap();
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await.unwrap();
    server.await.unwrap().unwrap();
    assert!(TcpStream::connect(at).await.is_err());
}

#[tokio::test]
async fn the_page_outlives_the_desk() {
    let mut b = bench(Snapshot::demo(1)).await;
    let (_, mut reader) = open(b.at, "/events?view=overview", "").await;
    event(&mut reader).await;
    b.desk.send_replace(Arc::new(Snapshot::demo_at(1, 9)));
    event(&mut reader).await;
    drop(std::mem::replace(
        &mut b.desk,
        watch::Sender::new(Arc::default()),
    ));
    assert_eq!(fetch(b.at, "/").await.status, 200);
    b.state.note_silence(30);
    let (_, after) = event(&mut reader).await;
    assert!(after.to_string().contains("The desk publishes nothing"));
}

#[tokio::test]
async fn the_json_has_every_field() {
    let b = bench(Snapshot::demo(1)).await;
    let body = fetch(b.at, "/api/v1/status").await.body;
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    for (place, keys) in [
        (
            "/orders/0",
            "id instrument venue side kind time_in_force qty executed left price state reason age_ms \
             queue spanned_gap synthetic",
        ),
        ("/orders/0/queue", "optimistic estimate pessimistic joined"),
        (
            "/fills/0",
            "ns order instrument venue side qty price maker fee slippage_bps split toxicity reason \
             spanned_gap synthetic",
        ),
        ("/fills/0/split", "latency queue spread impact"),
        ("/fills/0/toxicity", "toxic joined_behind adverse_bps"),
        ("/fill_counts", "maker taker toxic synthetic"),
        (
            "/attribution",
            "total by_instrument by_reason ledger_profit",
        ),
        (
            "/attribution/total",
            "name venue market spread latency queue impact fees funding sum",
        ),
        (
            "/performance",
            "since_ns returns return_step_s portfolio by_instrument by_strategy",
        ),
        (
            "/performance/portfolio",
            "name venue pnl return_pct sharpe sortino calmar max_drawdown_pct max_drawdown_s \
             var_95_pct cvar_95_pct win_rate profit_factor turnover exposure_pct trades",
        ),
        (
            "/funding/0",
            "instrument venue next_ns interval_s rate_bps per_day_bps next_rate_bps level holding \
             predicted paid long short",
        ),
        ("/funding/0/holding", "side qty since_ns paid"),
        ("/funding/0/long", "enter exit"),
        ("/funding/0/long/enter", "when ns"),
        ("/features", "instruments rows"),
        ("/features/instruments/0", "venue instrument"),
        ("/features/rows/0", "name group unit values"),
        ("/arbitrage", "watched opened dropped open closed pairs"),
        (
            "/arbitrage/open/0",
            "id buy sell currency opened_ns lifetime_ms last best closed trial",
        ),
        ("/arbitrage/open/0/last", "qty net net_bps cut"),
        ("/arbitrage/closed/0/trial", "state"),
        (
            "/arbitrage/closed/1/trial",
            "state filled bought sold unhedged net",
        ),
        (
            "/arbitrage/pairs/0",
            "buy sell currency opened closed lifetime_mean_ms lifetime_median_ms net tried filled \
             tried_net",
        ),
        ("/spreads/0", "asset instruments against"),
        ("/spreads/0/against/0/1", "mid_bps crossed_bps"),
        ("/reconciliation", "checked_ns checks differences"),
        ("/risk", "scopes limits violations denials denial_counts"),
        (
            "/risk/scopes/0",
            "scope what state code cause since_ns until_ns how_to_clear command",
        ),
        (
            "/risk/limits/0",
            "code key name scope value limit unit bound tripped",
        ),
        ("/risk/violations", "recent count most window_s total"),
        ("/risk/violations/recent/0", "ns code scope text"),
        (
            "/risk/denials/0",
            "ns since_ns count instrument venue code text",
        ),
        ("/risk/denial_counts/0", "code count"),
        (
            "/reconciliation/differences/0",
            "venue what ours theirs travelling explained since_ns",
        ),
        (
            "/paper/0",
            "venue maker_fee_bps taker_fee_bps latency_mode round_trip_p50_ms round_trip_p99_ms \
             round_trips queue_model switches",
        ),
        ("/paper/0/switches/0", "name on"),
    ] {
        let object = json.pointer(place).and_then(|v| v.as_object());
        let mut have: Vec<&str> = object
            .unwrap_or_else(|| panic!("{place} is no object"))
            .keys()
            .map(String::as_str)
            .collect();
        let mut want: Vec<&str> = keys.split_whitespace().collect();
        have.sort_unstable();
        want.sort_unstable();
        assert_eq!(have, want, "{place}");
    }
    assert_eq!(json["risk"]["scopes"][0]["state"], "halted");
    assert_eq!(json["risk"]["limits"][0]["bound"], "most");
}

#[test]
fn shares_and_head_room_of_limits() {
    let limit = |bound, value, limit| Limit {
        value,
        limit,
        bound,
        ..Limit::default()
    };
    let most = |value, at| limit(Bound::Most, value, at);
    let least = |value, at| limit(Bound::Least, value, at);
    assert_eq!(most(Some(5.0), 20.0).used(), Some(0.25));
    assert_eq!(most(Some(5.0), 20.0).head_room(), Some(15.0));
    assert_eq!(most(Some(-5.0), 20.0).used(), Some(0.0));
    assert_eq!(most(Some(5.0), 0.0).used(), None, "nothing is allowed");
    assert_eq!(most(None, 20.0).used(), None);
    assert_eq!(most(Some(f64::NAN), 20.0).used(), None);
    assert_eq!(least(Some(40.0), 10.0).used(), Some(0.25));
    assert_eq!(least(Some(8.0), 10.0).head_room(), Some(-2.0));
    assert_eq!(least(Some(0.0), 10.0).used(), None);
}

#[test]
fn lists_are_bounded() {
    let mut s = Snapshot::demo(1);
    s.fills.extend(s.fills.clone());
    s.account.equity_history.insert(0, (0, 1.0));
    s.bound();
    assert_eq!(s.fills.len(), FILLS);
    assert_eq!(s.account.equity_history.len(), EQUITY_POINTS);
    assert_ne!(s.account.equity_history[0].0, 0, "the oldest point goes");
}

#[test]
fn the_new_lists_are_bounded_and_keep_what_matters() {
    fn fill_up<T: Clone + Default>(list: &mut Vec<T>) {
        list.splice(0..0, vec![T::default(); 500]);
    }
    let mut s = Snapshot::demo(1);
    fill_up(&mut s.orders);
    fill_up(&mut s.funding);
    fill_up(&mut s.attribution.by_instrument);
    fill_up(&mut s.attribution.by_reason);
    fill_up(&mut s.performance.by_instrument);
    fill_up(&mut s.performance.by_strategy);
    fill_up(&mut s.paper);
    fill_up(&mut s.paper[0].switches);
    fill_up(&mut s.reconciliation.differences);
    s.reconciliation.differences[..499]
        .iter_mut()
        .for_each(|d| d.explained = true);
    fill_up(&mut s.risk.scopes);
    fill_up(&mut s.risk.limits);
    fill_up(&mut s.risk.violations.recent);
    fill_up(&mut s.risk.denials);
    fill_up(&mut s.risk.denial_counts);
    s.bound();
    for (have, bound) in [
        (s.orders.len(), ORDERS),
        (s.funding.len(), ROWS),
        (s.attribution.by_instrument.len(), ROWS),
        (s.attribution.by_reason.len(), ROWS),
        (s.performance.by_instrument.len(), ROWS),
        (s.performance.by_strategy.len(), ROWS),
        (s.paper.len(), PAPER_VENUES),
        (s.paper[0].switches.len(), SWITCHES),
        (s.reconciliation.differences.len(), DIFFERENCES),
        (s.risk.scopes.len(), SCOPES),
        (s.risk.limits.len(), LIMITS),
        (s.risk.violations.recent.len(), VIOLATIONS),
        (s.risk.denials.len(), DENIALS),
        (s.risk.denial_counts.len(), DENIAL_CODES),
    ] {
        assert_eq!(have, bound);
    }
    assert_eq!(s.risk.restricted().count(), 2, "the restricted ones stay");
    assert_eq!(s.risk.scopes[0].state, TradingState::Halted);
    assert_eq!(s.risk.limits.iter().filter(|l| l.tripped).count(), 3);
    assert!(s.risk.limits[..3].iter().all(|l| l.tripped));
    assert_eq!(s.reconciliation.faults(), 1, "the fault stays");
}
