//! The servers on loopback: TLS, WebSocket and HTTP around [`Exchange`], in real time.
//!
//! Each venue has one port that answers WebSocket upgrades and plain HTTP requests alike. This
//! file moves bytes and knows no venue.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};

use crate::exchange::{Exchange, ExchangeConfig};
use crate::faults::{Fault, FaultKind, FaultSchedule};
use crate::venues::{ConnId, HttpReply, ServerFrame, Truth};
use crate::world::{Instrument, VenueKind, WorldConfig, all_default_instruments};

/// The world moves in steps of this length.
const STEP: Duration = Duration::from_millis(10);
/// Frames that may wait for one client; a slower one is disconnected.
const QUEUE: usize = 4_096;
/// A client must take a frame within this time.
const SEND_WITHIN: Duration = Duration::from_secs(5);
/// TLS handshake and each request head must be complete within this time.
const REQUEST_WITHIN: Duration = Duration::from_secs(30);
/// A half-open socket is held at most so long.
const FREEZE_AT_MOST: Duration = Duration::from_secs(600);
/// Connections are given this long to end when the simulation stops.
const STOP_WITHIN: Duration = Duration::from_secs(1);
/// Connections of one venue, HTTP included.
const MAX_SOCKETS: usize = 512;
/// Longest request head.
const MAX_HEAD: usize = 16 * 1024;
/// Longest request body, read and thrown away.
const MAX_BODY: usize = 64 * 1024;
/// Longest message from a client.
const MAX_MESSAGE: usize = 1024 * 1024;

/// How the simulation runs.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Decides the market and the demonstration faults.
    pub seed: u64,
    /// What goes wrong when.
    pub faults: FaultSchedule,
    /// Level changes a second and symbol, about.
    pub book_rate: f64,
    /// Trades a second and symbol, about.
    pub trade_rate: f64,
    /// The markets.
    pub instruments: Vec<Instrument>,
}

impl SimConfig {
    /// The sixteen default markets at the default rates, without faults.
    pub fn new(seed: u64) -> SimConfig {
        let world = WorldConfig::new(seed, 0);
        SimConfig {
            seed,
            faults: FaultSchedule::none(),
            book_rate: world.book_rate,
            trade_rate: world.trade_rate,
            instruments: all_default_instruments(),
        }
    }
}

/// Unix time that never goes back: the wall clock at the start plus a monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Clock {
    unix_ns: u64,
    started: Instant,
}

impl Clock {
    fn start() -> Clock {
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Clock {
            unix_ns: unix.as_nanos() as u64,
            started: Instant::now(),
        }
    }
    fn now(&self) -> u64 {
        self.unix_ns + self.started.elapsed().as_nanos() as u64
    }
}

/// What all tasks share. The lock is held for microseconds and never across an await.
struct Shared {
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    exchange: Exchange,
    clients: BTreeMap<(VenueKind, ConnId), mpsc::Sender<ServerFrame>>,
    next_conn: ConnId,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Moves frames from a server to the queues of its clients.
    fn pump(&mut self, kind: VenueKind) {
        let State {
            exchange, clients, ..
        } = self;
        let server = exchange.server_mut(kind);
        while let Some((conn, frame)) = server.poll_transmit() {
            let ends = matches!(frame, ServerFrame::Close { .. } | ServerFrame::Drop);
            let Some(queue) = clients.get(&(kind, conn)) else {
                continue;
            };
            if queue.try_send(frame).is_err() {
                // The queue is full or the task is gone: a slow client loses its connection.
                clients.remove(&(kind, conn));
                server.disconnected(conn);
            } else if ends {
                clients.remove(&(kind, conn));
            }
        }
    }
}

/// Four venues on loopback. Dropping it ends the tasks; [`Sim::stop`] also waits for them.
pub struct Sim {
    /// Where each venue listens.
    pub addrs: BTreeMap<VenueKind, SocketAddr>,
    /// The certificate authority to trust, PEM.
    pub ca_pem: String,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim")
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}

impl Sim {
    /// Opens four ephemeral ports on 127.0.0.1 and starts the market.
    ///
    /// # Errors
    /// A port cannot be opened, or no certificate can be made.
    pub async fn start(config: SimConfig) -> io::Result<Sim> {
        let (acceptor, ca_pem) = certificates().map_err(io::Error::other)?;
        let clock = Clock::start();
        let world = WorldConfig {
            instruments: config.instruments,
            book_rate: config.book_rate,
            trade_rate: config.trade_rate,
            ..WorldConfig::new(config.seed, clock.unix_ns)
        };
        let mut exchange = Exchange::new(ExchangeConfig {
            world,
            faults: config.faults,
        });
        let mut addrs = BTreeMap::new();
        let mut listeners = Vec::new();
        for kind in VenueKind::ALL {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            let addr = listener.local_addr()?;
            exchange
                .server_mut(kind)
                .set_endpoint(&format!("wss://{addr}/"));
            addrs.insert(kind, addr);
            listeners.push((kind, listener));
        }
        let state = State {
            exchange,
            clients: BTreeMap::new(),
            next_conn: 1,
        };
        let shared = Arc::new(Shared {
            clock,
            state: Mutex::new(state),
        });
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(live(shared.clone(), stopped.clone()));
        for (kind, listener) in listeners {
            tasks.spawn(listen(
                kind,
                listener,
                acceptor.clone(),
                shared.clone(),
                stopped.clone(),
            ));
        }
        Ok(Sim {
            addrs,
            ca_pem,
            shared,
            stop,
            tasks,
        })
    }

    /// How often each kind of fault was injected at each venue.
    pub fn injected(&self) -> BTreeMap<VenueKind, BTreeMap<FaultKind, u64>> {
        self.shared.lock().exchange.injected()
    }

    /// Injects a fault now; see [`crate::VenueServer::inject`].
    pub fn inject(&self, venue: VenueKind, fault: &Fault) -> bool {
        let now = self.shared.clock.now();
        let mut state = self.shared.lock();
        let injected = state.exchange.server_mut(venue).inject(fault, now);
        state.pump(venue);
        injected
    }

    /// Ends all faults and the schedule; see [`Exchange::calm`].
    pub fn calm(&self) {
        let now = self.shared.clock.now();
        let mut state = self.shared.lock();
        state.exchange.calm(now);
        for kind in VenueKind::ALL {
            state.pump(kind);
        }
    }

    /// The true book of a symbol at this moment.
    pub fn truth(&self, venue: VenueKind, symbol: &str) -> Option<Truth> {
        self.shared.lock().exchange.server(venue).truth(symbol)
    }

    /// Open WebSocket connections of a venue.
    pub fn connections(&self, venue: VenueKind) -> usize {
        self.shared.lock().exchange.server(venue).connections()
    }

    /// Closes all connections and waits for the tasks to end.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// An authority of our own and a leaf for 127.0.0.1 and localhost.
fn certificates() -> Result<(TlsAcceptor, String), Box<dyn std::error::Error + Send + Sync>> {
    let mut ca = CertificateParams::new(Vec::new())?;
    ca.distinguished_name
        .push(DnType::CommonName, "TickerML simulated venues");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_key = KeyPair::generate()?;
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_string(), "localhost".to_string()])?
        .signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    Ok((TlsAcceptor::from(Arc::new(config)), ca_pem))
}

/// Advances the world in real time.
async fn live(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            _ = ticks.tick() => {}
        }
        let now = shared.clock.now();
        let mut state = shared.lock();
        state.exchange.advance(now);
        for kind in VenueKind::ALL {
            state.pump(kind);
        }
    }
}

/// Accepts the connections of one venue.
async fn listen(
    kind: VenueKind,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut sockets = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = sockets.join_next() => {}
            accepted = listener.accept(), if sockets.len() < MAX_SOCKETS => {
                // Failures to accept are those of the peer, or pass.
                let Ok((socket, _)) = accepted else {
                    sleep(STEP).await;
                    continue;
                };
                let (acceptor, shared) = (acceptor.clone(), shared.clone());
                let mut stopped = stopped.clone();
                sockets.spawn(async move {
                    let _ = socket.set_nodelay(true);
                    if let Ok(Ok(tls)) = timeout(REQUEST_WITHIN, acceptor.accept(socket)).await {
                        // A peer that breaks off is no error of ours.
                        let _ = Box::pin(serve(kind, tls, shared, &mut stopped)).await;
                    }
                });
            }
        }
    }
    let _ = timeout(STOP_WITHIN, async {
        while sockets.join_next().await.is_some() {}
    })
    .await;
    sockets.shutdown().await;
}

type Tls = TlsStream<TcpStream>;

/// The head of a request.
struct Head {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
}

impl Head {
    fn parse(text: &str) -> Option<Head> {
        let mut lines = text.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_string(), first.next()?.to_string());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_string()))
            .collect();
        Some(Head {
            method,
            target,
            headers,
        })
    }
    fn header(&self, name: &str) -> &str {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map_or("", |(_, v)| v)
    }
}

/// Reads until the end of a request head; `None` when the peer is done or talks nonsense. Bytes
/// after the head stay in `buffer`.
async fn read_head(tls: &mut Tls, buffer: &mut Vec<u8>) -> io::Result<Option<Head>> {
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..end]).into_owned();
            buffer.drain(..end + 4);
            return Ok(Head::parse(&text));
        }
        if buffer.len() > MAX_HEAD || tls.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// Serves one connection: requests one after the other, until one upgrades to a WebSocket.
async fn serve(
    kind: VenueKind,
    mut tls: Tls,
    shared: Arc<Shared>,
    stopped: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let head = tokio::select! {
            _ = stopped.changed() => return Ok(()),
            head = timeout(REQUEST_WITHIN, read_head(&mut tls, &mut buffer)) => head,
        };
        let Ok(Some(head)) = head.unwrap_or(Ok(None)) else {
            return Ok(());
        };
        if head.header("upgrade").eq_ignore_ascii_case("websocket") {
            return upgrade(kind, tls, buffer, &head, shared, stopped).await;
        }
        let body: usize = head.header("content-length").parse().unwrap_or(0);
        if body > MAX_BODY {
            return reply(&mut tls, &refusal(413)).await;
        }
        while buffer.len() < body {
            if tls.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        buffer.drain(..body);
        let answer = {
            let now = shared.clock.now();
            let mut state = shared.lock();
            let server = state.exchange.server_mut(kind);
            server.handle_http(&head.method, &head.target, now)
        };
        if answer.delay_ns > 0 {
            tokio::select! {
                _ = stopped.changed() => return Ok(()),
                _ = sleep(Duration::from_nanos(answer.delay_ns)) => {}
            }
        }
        reply(&mut tls, &answer).await?;
        if head.header("connection").eq_ignore_ascii_case("close") {
            return tls.shutdown().await;
        }
    }
}

fn refusal(status: u16) -> HttpReply {
    HttpReply {
        status,
        retry_after: None,
        body: "{}".to_string(),
        delay_ns: 0,
    }
}

async fn reply(tls: &mut Tls, reply: &HttpReply) -> io::Result<()> {
    let reason = match reply.status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Other",
    };
    let retry = reply
        .retry_after
        .map_or(String::new(), |s| format!("Retry-After: {s}\r\n"));
    let text = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{retry}\r\n{}",
        reply.status,
        reply.body.len(),
        reply.body
    );
    tls.write_all(text.as_bytes()).await?;
    tls.flush().await
}

/// Turns the connection into a WebSocket and serves it until either side ends it.
async fn upgrade(
    kind: VenueKind,
    mut tls: Tls,
    rest: Vec<u8>,
    head: &Head,
    shared: Arc<Shared>,
    stopped: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    let key = head.header("sec-websocket-key");
    if key.is_empty() || head.header("sec-websocket-version") != "13" {
        return reply(&mut tls, &refusal(400)).await;
    }
    let (sender, queue) = mpsc::channel(QUEUE);
    let (conn, accepted) = {
        let now = shared.clock.now();
        let mut state = shared.lock();
        let conn = state.next_conn;
        state.next_conn += 1;
        let accepted = state
            .exchange
            .server_mut(kind)
            .connect(conn, &head.target, now);
        if accepted.is_ok() {
            state.clients.insert((kind, conn), sender);
            state.pump(kind);
        }
        (conn, accepted)
    };
    if let Err(status) = accepted {
        return reply(&mut tls, &refusal(status)).await;
    }
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    let mut result = tls.write_all(response.as_bytes()).await;
    if result.is_ok() {
        result = tls.flush().await;
    }
    if result.is_ok() {
        let config = WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE));
        let ws = WebSocketStream::from_partially_read(tls, rest, Role::Server, Some(config)).await;
        converse(kind, conn, ws, queue, &shared, stopped).await;
    }
    let mut state = shared.lock();
    state.clients.remove(&(kind, conn));
    state.exchange.server_mut(kind).disconnected(conn);
    result
}

async fn converse(
    kind: VenueKind,
    conn: ConnId,
    mut ws: WebSocketStream<Tls>,
    mut queue: mpsc::Receiver<ServerFrame>,
    shared: &Shared,
    stopped: &mut watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            _ = stopped.changed() => {
                let _ = timeout(STOP_WITHIN, ws.close(None)).await;
                return;
            }
            frame = queue.recv() => {
                let message = match frame {
                    Some(ServerFrame::Text(text)) => Message::text(text),
                    Some(ServerFrame::Binary(bytes)) => Message::binary(bytes),
                    Some(ServerFrame::Ping(payload)) => Message::Ping(payload.into()),
                    Some(ServerFrame::Close { code, reason }) => {
                        let frame = CloseFrame { code: code.into(), reason: reason.into() };
                        let _ = timeout(SEND_WITHIN, ws.close(Some(frame))).await;
                        // The client's own close frame completes the handshake.
                        let _ = timeout(SEND_WITHIN, async {
                            while let Some(Ok(_)) = ws.next().await {}
                        })
                        .await;
                        return;
                    }
                    Some(ServerFrame::Freeze) => {
                        return frozen(ws, stopped).await;
                    }
                    // Dropped by the venue, or disconnected because it was too slow.
                    Some(ServerFrame::Drop) | None => return,
                };
                if !matches!(timeout(SEND_WITHIN, ws.send(message)).await, Ok(Ok(()))) {
                    return;
                }
            }
            message = ws.next() => {
                let now = shared.clock.now();
                let mut state = shared.lock();
                let server = state.exchange.server_mut(kind);
                match message {
                    Some(Ok(Message::Text(text))) => server.handle_frame(conn, &text, now),
                    Some(Ok(Message::Binary(bytes))) => {
                        let text = String::from_utf8_lossy(&bytes);
                        server.handle_frame(conn, &text, now);
                    }
                    Some(Ok(Message::Pong(_))) => server.handle_pong(conn, now),
                    Some(Ok(Message::Ping(_) | Message::Frame(_))) => {}
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                }
                state.pump(kind);
            }
        }
    }
}

/// Holds a half-open socket: bytes are read and ignored, nothing is answered, until the client
/// gives up.
async fn frozen(ws: WebSocketStream<Tls>, stopped: &mut watch::Receiver<bool>) {
    let mut tls = ws.into_inner();
    let mut sink = [0; 4096];
    let ignore = async { while matches!(tls.read(&mut sink).await, Ok(n) if n > 0) {} };
    tokio::select! {
        _ = stopped.changed() => {}
        _ = timeout(FREEZE_AT_MOST, ignore) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::ServerName;
    use rustls::pki_types::pem::PemObject;
    use serde_json::Value;
    use tokio_rustls::TlsConnector;
    use tokio_tungstenite::client_async;

    type Client = WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>;

    async fn tls(sim: &Sim, kind: VenueKind) -> tokio_rustls::client::TlsStream<TcpStream> {
        let mut roots = rustls::RootCertStore::empty();
        let ca = rustls::pki_types::CertificateDer::from_pem_slice(sim.ca_pem.as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let socket = TcpStream::connect(sim.addrs[&kind]).await.unwrap();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
            .unwrap()
    }

    async fn ws(sim: &Sim, kind: VenueKind, target: &str) -> Client {
        let stream = tls(sim, kind).await;
        let url = format!("wss://{}{target}", sim.addrs[&kind]);
        client_async(url, stream).await.unwrap().0
    }

    /// Status, head and body of a request.
    async fn http(sim: &Sim, kind: VenueKind, request: &str) -> (u16, String, String) {
        let mut stream = tls(sim, kind).await;
        let text = format!("{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (
            head[9..12].parse().unwrap(),
            head.to_string(),
            body.to_string(),
        )
    }

    /// Reads until a frame contains `text`.
    async fn until(client: &mut Client, text: &str) -> String {
        let search = async {
            loop {
                let message = client.next().await.expect("an open connection").unwrap();
                let got = match message {
                    Message::Text(got) => got.to_string(),
                    Message::Binary(got) => String::from_utf8(got.to_vec()).unwrap(),
                    _ => continue,
                };
                if got.contains(text) {
                    return got;
                }
            }
        };
        timeout(Duration::from_secs(20), search)
            .await
            .expect("the frame in time")
    }

    #[tokio::test]
    async fn four_venues_answer_over_tls() {
        let mut config = SimConfig::new(1);
        config.book_rate = 100.0;
        let sim = Sim::start(config).await.unwrap();

        let mut client = ws(
            &sim,
            VenueKind::Binance,
            "/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker",
        )
        .await;
        until(&mut client, "depthUpdate").await;
        until(&mut client, "@bookTicker").await;
        let depth = "GET /api/v3/depth?symbol=BTCUSDT&limit=10";
        let (status, _, body) = http(&sim, VenueKind::Binance, depth).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, body["bids"].as_array().unwrap().len()), (200, 10));

        let mut client = ws(&sim, VenueKind::Coinbase, "/").await;
        let text = r#"{"type":"subscribe","channel":"level2","product_ids":["ETH-USD"]}"#;
        client.send(Message::text(text)).await.unwrap();
        until(&mut client, r#""type":"snapshot""#).await;
        until(&mut client, r#""type":"update""#).await;

        let mut client = ws(&sim, VenueKind::Kraken, "/v2").await;
        until(&mut client, r#""channel":"status""#).await;
        let text = r#"{"method":"subscribe","params":{"channel":"book","symbol":["SOL/USD"]}}"#;
        client.send(Message::text(text)).await.unwrap();
        until(&mut client, r#""success":true"#).await;
        until(
            &mut client,
            r#""type":"update","data":[{"symbol":"SOL/USD""#,
        )
        .await;
        assert_eq!(
            http(&sim, VenueKind::Kraken, "GET /0/public/Time").await.0,
            200
        );
        assert_eq!(sim.connections(VenueKind::Kraken), 1);

        let (_, _, body) = http(&sim, VenueKind::Kucoin, "POST /api/v1/bullet-public").await;
        let body: Value = serde_json::from_str(&body).unwrap();
        let server = &body["data"]["instanceServers"][0];
        assert_eq!(
            server["endpoint"],
            format!("wss://{}/", sim.addrs[&VenueKind::Kucoin])
        );
        let target = format!(
            "/?token={}&connectId=x",
            body["data"]["token"].as_str().unwrap()
        );
        let mut client = ws(&sim, VenueKind::Kucoin, &target).await;
        until(&mut client, "welcome").await;
        let text =
            r#"{"id":"1","type":"subscribe","topic":"/market/level2:XRP-USDT","response":true}"#;
        client.send(Message::text(text)).await.unwrap();
        until(&mut client, "ack").await;
        until(&mut client, "trade.l2update").await;
        let mut client = ws(&sim, VenueKind::Kucoin, "/uta").await;
        until(&mut client, "sessionId").await;
        let refused = client_async(
            format!("wss://{}/?token=no", sim.addrs[&VenueKind::Kucoin]),
            tls(&sim, VenueKind::Kucoin).await,
        );
        assert!(
            refused.await.is_err(),
            "an upgrade without a token is refused"
        );

        sim.stop().await;
    }

    #[tokio::test]
    async fn faults_reach_the_wire() {
        let mut config = SimConfig::new(2);
        config.book_rate = 100.0;
        let sim = Sim::start(config).await.unwrap();
        let target = "/ws/btcusdt@depth@100ms";
        let mut client = ws(&sim, VenueKind::Binance, target).await;
        until(&mut client, "depthUpdate").await;

        assert!(sim.inject(VenueKind::Binance, &Fault::Garbage));
        until(&mut client, "<<").await;
        let limited = Fault::RateLimit {
            retry_after: 3,
            for_ns: 60_000_000_000,
        };
        assert!(sim.inject(VenueKind::Binance, &limited));
        let (status, head, _) = http(&sim, VenueKind::Binance, "GET /api/v3/time").await;
        assert_eq!(status, 429);
        assert!(head.contains("Retry-After: 3"));
        sim.calm();
        assert_eq!(
            http(&sim, VenueKind::Binance, "GET /api/v3/time").await.0,
            200
        );

        assert!(sim.inject(VenueKind::Binance, &Fault::HalfOpen));
        let silence = async { while let Some(Ok(_)) = client.next().await {} };
        assert!(
            timeout(Duration::from_millis(600), silence).await.is_err(),
            "open but silent"
        );
        client.send(Message::Ping(Vec::new().into())).await.unwrap();

        let mut other = ws(&sim, VenueKind::Binance, target).await;
        until(&mut other, "depthUpdate").await;
        assert!(sim.inject(
            VenueKind::Binance,
            &Fault::DisconnectStorm { for_ns: 1_000_000 }
        ));
        let end = async { while let Some(Ok(_)) = other.next().await {} };
        timeout(Duration::from_secs(5), end)
            .await
            .expect("the storm drops the connection");
        let counts = sim.injected();
        assert_eq!(counts[&VenueKind::Binance].len(), 4);
        assert!(sim.truth(VenueKind::Binance, "BTCUSDT").unwrap().bids.len() >= 60);
        sim.stop().await;
    }
}
