//! The status page: what the desk knows, for people and for programs.
//!
//! The desk publishes a [`Snapshot`] through a `watch` channel; this module only reads it, and
//! nothing a browser sends reaches the desk. Pages are rendered whole on the server and work
//! without JavaScript; with it, `/events?view=…` sends the parts of the page that changed. One
//! rendering serves all clients of a view.
//!
//! What this module does not do: it takes no commands, keeps no history, and knows no venue.
//!
//! | address | answer |
//! |---|---|
//! | `/`, `/trading`, `/risk`, `/venues`, `/signals`, `/decisions`, `/system` | the pages |
//! | `/events` | server-sent events: `snapshot`, the whole state as JSON |
//! | `/events?view=overview` | server-sent events: `parts`, what changed on that page |
//! | `/health` | 200, or 503 when halted, stale or silent; JSON with reasons |
//! | `/ready` | 200 when the desk takes events, else 503; JSON with reasons |
//! | `/metrics` | Prometheus text format |
//! | `/api/v1/status` | the snapshot as JSON |

mod chart;
mod demo;
mod guard;
pub mod html;
mod metrics;
mod page;
pub mod snapshot;

pub use snapshot::Snapshot;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::map_response,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
    routing::get,
};
use futures_util::stream::{self, Stream};
use page::{Content, View};
use serde::Serialize;
use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::pin,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Interval, MissedTickBehavior, interval, sleep},
};

/// Clients of the event stream at a time; one more is told to come back later.
pub const EVENT_CLIENTS: usize = 16;
/// The least time between two events to one client: at most four a second.
pub const EVENT_SPACING: Duration = Duration::from_millis(250);
/// A comment is sent when the stream was quiet for this long, so that both ends notice a lost peer.
pub const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// The desk publishes at least once a second; after this many seconds without, it counts as silent.
pub const SILENT_AFTER_S: u64 = 5;
/// How long open connections may take to end at shutdown.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Seconds after which a refused client of the event stream may try again.
const RETRY_AFTER_S: &str = "10";

/// No inline script or style, nothing from elsewhere, never in a frame.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What all handlers share. Cheap to clone.
#[derive(Clone)]
pub struct WebState(Arc<Shared>);

struct Shared {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    /// Seconds for which the desk has published nothing; zero while it is on time.
    silent_s: watch::Sender<u64>,
    closing: watch::Sender<bool>,
    clients: Arc<Semaphore>,
    views: Mutex<[Option<Rendered<Content>>; View::ALL.len()]>,
    json: Mutex<Option<Rendered<str>>>,
}

/// A rendering, and what it was made from.
struct Rendered<T: ?Sized> {
    of: Arc<Snapshot>,
    silent_s: u64,
    value: Arc<T>,
}

impl<T: ?Sized> Rendered<T> {
    fn is_of(&self, snapshot: &Arc<Snapshot>, silent_s: u64) -> bool {
        Arc::ptr_eq(&self.of, snapshot) && self.silent_s == silent_s
    }
}

impl WebState {
    /// A state that shows what comes through `snapshots`.
    #[must_use]
    pub fn new(snapshots: watch::Receiver<Arc<Snapshot>>) -> Self {
        Self(Arc::new(Shared {
            snapshots,
            silent_s: watch::Sender::new(0),
            closing: watch::Sender::new(false),
            clients: Arc::new(Semaphore::new(EVENT_CLIENTS)),
            views: Mutex::default(),
            json: Mutex::default(),
        }))
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.snapshots.borrow())
    }

    fn silent_s(&self) -> u64 {
        *self.0.silent_s.borrow()
    }

    /// Notes for how long the desk has published nothing.
    fn note_silence(&self, seconds: u64) {
        let shown = if seconds >= SILENT_AFTER_S {
            seconds
        } else {
            0
        };
        self.0
            .silent_s
            .send_if_modified(|silent| std::mem::replace(silent, shown) != shown);
    }

    /// One second has passed: returns how many have passed without a snapshot, and notes it.
    fn beat(&self, snapshots: &mut watch::Receiver<Arc<Snapshot>>, quiet: u64) -> u64 {
        // A closed channel is a desk that will never speak again: silent, like any other.
        let fresh = snapshots.has_changed().unwrap_or(false);
        snapshots.mark_unchanged();
        let quiet = if fresh { 0 } else { quiet.saturating_add(1) };
        self.note_silence(quiet);
        quiet
    }

    /// The content of a view now, rendered once for all who ask.
    fn content(&self, view: View, snapshot: &Arc<Snapshot>) -> Arc<Content> {
        let silent_s = self.silent_s();
        let mut views = self.0.views.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut views[view as usize];
        if let Some(rendered) = slot.as_ref().filter(|r| r.is_of(snapshot, silent_s)) {
            return Arc::clone(&rendered.value);
        }
        let value = Arc::new(page::content(view, snapshot, silent_s));
        *slot = Some(Rendered {
            of: Arc::clone(snapshot),
            silent_s,
            value: Arc::clone(&value),
        });
        value
    }

    /// The snapshot as JSON, rendered once for all who ask.
    fn json(&self, snapshot: &Arc<Snapshot>) -> Arc<str> {
        let mut json = self.0.json.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rendered) = json.as_ref().filter(|r| r.is_of(snapshot, 0)) {
            return Arc::clone(&rendered.value);
        }
        let value: Arc<str> = to_json(&**snapshot).into();
        *json = Some(Rendered {
            of: Arc::clone(snapshot),
            silent_s: 0,
            value: Arc::clone(&value),
        });
        value
    }
}

/// A snapshot, or a part of one, as the JSON interface gives it.
#[must_use]
pub fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs with text keys always serialise")
}

/// All routes. [`serve`] adds what needs a socket.
pub fn app(state: WebState) -> Router {
    let mut router = Router::new()
        .route("/events", get(events))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(prometheus))
        .route("/api/v1/status", get(status));
    for view in View::ALL {
        router = router.route(view.path(), get(move |state| show(view, state)));
    }
    for asset in &ASSETS {
        router = router.route(
            asset.path,
            get(move |uri, headers| async move { asset.answer(&uri, &headers) }),
        );
    }
    router
        .fallback(not_found)
        .layer(map_response(with_security_headers))
        .with_state(state)
}

/// Serves the page until `shutdown` completes, then ends event streams and open connections within
/// [`SHUTDOWN_GRACE`].
///
/// # Errors
///
/// Passes on what the listener reports when it cannot be used at all.
pub async fn serve(
    listener: TcpListener,
    state: WebState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let mut closing = state.0.closing.subscribe();
    let closer = state.clone();
    let server = axum::serve(guard::Guarding::new(listener), app(state.clone()))
        .with_graceful_shutdown(async move {
            shutdown.await;
            closer.0.closing.send_replace(true);
        });
    let grace = async {
        // The sender lives in `state`, so this waits for the word itself.
        let _ = closing.wait_for(|closing| *closing).await;
        sleep(SHUTDOWN_GRACE).await;
    };
    tokio::select! {
        result = server.into_future() => result,
        () = grace => Ok(()),
        never = watch_desk(&state) => match never {},
    }
}

/// Counts the seconds without a new snapshot.
async fn watch_desk(state: &WebState) -> Infallible {
    let mut snapshots = state.0.snapshots.clone();
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut quiet = 0;
    loop {
        second.tick().await;
        quiet = state.beat(&mut snapshots, quiet);
    }
}

// ---------------------------------------------------------------------------------------------
// Pages and documents

async fn show(view: View, State(state): State<WebState>) -> Response {
    let snapshot = state.snapshot();
    let content = state.content(view, &snapshot);
    let body = page::document(view, &snapshot, &content, &CSS_URL, &JS_URL);
    (
        [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
        body.into_string(),
    )
        .into_response()
}

async fn not_found(uri: Uri) -> Response {
    let body = page::not_found(uri.path(), &CSS_URL).into_string();
    (
        StatusCode::NOT_FOUND,
        [(header::CONTENT_TYPE, "text/html; charset=utf-8")],
        body,
    )
        .into_response()
}

async fn prometheus(State(state): State<WebState>) -> Response {
    let body = metrics::render(&state.snapshot(), state.silent_s());
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], body).into_response()
}

async fn status(State(state): State<WebState>) -> Response {
    let json = state.json(&state.snapshot());
    (
        [(header::CONTENT_TYPE, "application/json")],
        json.to_string(),
    )
        .into_response()
}

/// The answer of `/health` and `/ready`.
#[derive(Serialize)]
struct Report<'a> {
    status: &'static str,
    mode: &'a str,
    ready: bool,
    halted: bool,
    stale: bool,
    silent_s: u64,
    now_ns: u64,
    reasons: &'a [snapshot::Reason],
}

async fn health(State(state): State<WebState>) -> Response {
    let well = |s: &Snapshot, silent_s| !s.health.halted && !s.health.stale && silent_s == 0;
    report(&state, "ok", "unhealthy", well)
}

async fn ready(State(state): State<WebState>) -> Response {
    report(&state, "ready", "not ready", |s, silent_s| {
        s.health.ready && silent_s == 0
    })
}

fn report(
    state: &WebState,
    good: &'static str,
    bad: &'static str,
    test: impl FnOnce(&Snapshot, u64) -> bool,
) -> Response {
    let snapshot = state.snapshot();
    let silent_s = state.silent_s();
    let passed = test(&snapshot, silent_s);
    let body = to_json(&Report {
        status: if passed { good } else { bad },
        mode: &snapshot.mode,
        ready: snapshot.health.ready,
        halted: snapshot.health.halted,
        stale: snapshot.health.stale,
        silent_s,
        now_ns: snapshot.now_ns,
        reasons: &snapshot.health.reasons,
    });
    let code = if passed {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (code, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Every answer says what a browser may do with it; what changes is not stored.
async fn with_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

// ---------------------------------------------------------------------------------------------
// Server-sent events

/// What a client of the event stream asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feed {
    /// The whole snapshot.
    Snapshot,
    /// What changed on a page.
    Parts(View),
}

impl Feed {
    /// Reads the query of `/events`.
    fn parse(query: Option<&str>) -> Result<Self, String> {
        let Some(name) = query.and_then(|q| q.split('&').find_map(|p| p.strip_prefix("view=")))
        else {
            return Ok(Self::Snapshot);
        };
        match View::ALL.into_iter().find(|view| view.name() == name) {
            Some(view) => Ok(Self::Parts(view)),
            None => {
                let names = View::ALL.map(View::name).join(", ");
                Err(format!("unknown view: use one of {names}\n"))
            }
        }
    }
}

/// One client of the event stream.
struct Client {
    state: WebState,
    feed: Feed,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    silent_s: watch::Receiver<u64>,
    closing: watch::Receiver<bool>,
    pace: Interval,
    /// What was sent last, for a feed of parts.
    sent: Option<Arc<Content>>,
    started: bool,
    desk_gone: bool,
    _permit: OwnedSemaphorePermit,
}

/// What a page's script gets: the parts that changed since the last event.
#[derive(Serialize)]
struct Changes<'a> {
    title: &'a str,
    at: &'a str,
    parts: Vec<(&'static str, &'a str)>,
}

async fn events(State(state): State<WebState>, uri: Uri) -> Response {
    let feed = match Feed::parse(uri.query()) {
        Ok(feed) => feed,
        Err(text) => return (StatusCode::BAD_REQUEST, text).into_response(),
    };
    let Ok(permit) = Arc::clone(&state.0.clients).try_acquire_owned() else {
        let text = format!("{EVENT_CLIENTS} clients read the events already; try again later\n");
        let retry = [(header::RETRY_AFTER, RETRY_AFTER_S)];
        return (StatusCode::SERVICE_UNAVAILABLE, retry, text).into_response();
    };
    Sse::new(Client::new(state, feed, permit).into_stream())
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response()
}

impl Client {
    fn new(state: WebState, feed: Feed, permit: OwnedSemaphorePermit) -> Self {
        let mut pace = interval(EVENT_SPACING);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            feed,
            snapshots: state.0.snapshots.clone(),
            silent_s: state.0.silent_s.subscribe(),
            closing: state.0.closing.subscribe(),
            pace,
            sent: None,
            started: false,
            desk_gone: false,
            state,
            _permit: permit,
        }
    }

    fn into_stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut client| async move {
            let event = client.next().await?;
            Some((Ok(event), client))
        })
    }

    /// The next event; `None` when the server is closing.
    async fn next(&mut self) -> Option<Event> {
        if !self.wait().await {
            return None;
        }
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        Some(match self.feed {
            Feed::Snapshot => Event::default()
                .event("snapshot")
                .data(self.state.json(&snapshot)),
            Feed::Parts(view) => {
                self.silent_s.mark_unchanged();
                let content = self.state.content(view, &snapshot);
                let json = changes(self.sent.as_deref(), &content);
                self.sent = Some(content);
                Event::default().event("parts").data(json)
            }
        })
    }

    /// Waits until there is something new and it may be sent. False when the server is closing.
    async fn wait(&mut self) -> bool {
        let mut closing = self.closing.clone();
        let mut closed = pin!(closing.wait_for(|closing| *closing));
        tokio::select! {
            _ = self.pace.tick() => {}
            _ = &mut closed => return false,
        }
        if !std::mem::replace(&mut self.started, true) {
            return true;
        }
        loop {
            tokio::select! {
                changed = self.snapshots.changed(), if !self.desk_gone => match changed {
                    Ok(()) => return true,
                    Err(_) => self.desk_gone = true,
                },
                changed = self.silent_s.changed(), if self.feed != Feed::Snapshot => return changed.is_ok(),
                _ = &mut closed => return false,
            }
        }
    }
}

/// What a client must be told so that it shows `now`, given what it was told before.
fn changes(before: Option<&Content>, now: &Content) -> String {
    let same = |i: usize| before.and_then(|b| b.parts.get(i)) == now.parts.get(i);
    let parts = now.parts.iter().enumerate().filter(|(i, _)| !same(*i));
    to_json(&Changes {
        title: &now.title,
        at: &now.at,
        parts: parts
            .map(|(_, part)| (part.id, part.html.as_str()))
            .collect(),
    })
}

// ---------------------------------------------------------------------------------------------
// Assets

/// A file that is part of the program.
struct Asset {
    path: &'static str,
    kind: &'static str,
    body: &'static str,
    tag: u64,
}

impl Asset {
    const fn new(path: &'static str, kind: &'static str, body: &'static str) -> Self {
        Self {
            path,
            kind,
            body,
            tag: fnv1a(body.as_bytes()),
        }
    }

    /// The address that names this very content.
    fn url(&self) -> String {
        format!("{}?v={:016x}", self.path, self.tag)
    }

    fn answer(&self, uri: &Uri, request: &HeaderMap) -> Response {
        let tag = format!("\"{:016x}\"", self.tag);
        let exact = uri.query() == Some(&format!("v={:016x}", self.tag));
        let cache = if exact {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        let headers = [
            (header::CONTENT_TYPE, self.kind),
            (header::CACHE_CONTROL, cache),
            (header::ETAG, &tag),
        ];
        let known = request.get_all(header::IF_NONE_MATCH).iter().any(|value| {
            let mut tags = value.to_str().unwrap_or("").split(',').map(str::trim);
            tags.any(|t| t == "*" || t.strip_prefix("W/").unwrap_or(t) == tag)
        });
        if known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, self.body).into_response()
    }
}

static ASSETS: [Asset; 3] = [
    Asset::new(
        "/assets/page.css",
        "text/css; charset=utf-8",
        include_str!("assets/page.css"),
    ),
    Asset::new(
        "/assets/page.js",
        "text/javascript; charset=utf-8",
        include_str!("assets/page.js"),
    ),
    Asset::new(
        "/assets/icon.svg",
        "image/svg+xml",
        include_str!("assets/icon.svg"),
    ),
];
static CSS_URL: LazyLock<String> = LazyLock::new(|| ASSETS[0].url());
static JS_URL: LazyLock<String> = LazyLock::new(|| ASSETS[1].url());

/// FNV-1a, 64 bits (Fowler, Noll and Vo): names a file's content.
const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    hash
}

#[cfg(test)]
mod tests;
