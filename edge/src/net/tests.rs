//! Everything against servers on this machine: well-behaved, rude, slow and dead ones.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::{WebSocketStream, accept_async};

use super::http::{Method, Reply, request};
use super::ws::{Payload, Socket, connect};
use super::*;

/// Bounds each test, so that a defect shows as a failure and not as a run that never ends.
const PATIENCE: Duration = Duration::from_secs(20);
/// A limit that is meant to run out.
const SHORT: Duration = Duration::from_millis(40);

/// A clock of which each reading is larger than the one before.
fn ticks() -> u64 {
    static TICKS: AtomicU64 = AtomicU64::new(1);
    TICKS.fetch_add(1, Ordering::SeqCst)
}

fn trust() -> Arc<ClientConfig> {
    tls::client_config(None).unwrap()
}

async fn patient<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future)
        .await
        .expect("the test finishes in time")
}

/// Accepts one connection on `ip` and lets `serve` have it.
async fn server_on<F>(
    ip: &str,
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, JoinHandle<F::Output>)
where
    F: Future<Output: Send + 'static> + Send,
{
    let listener = TcpListener::bind((ip, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await
    });
    (address, task)
}

async fn server<F>(
    serve: impl FnOnce(TcpStream) -> F + Send + 'static,
) -> (SocketAddr, JoinHandle<F::Output>)
where
    F: Future<Output: Send + 'static> + Send,
{
    server_on("127.0.0.1", serve).await
}

/// Accepts one WebSocket and lets `serve` have it.
async fn ws_server<F>(
    serve: impl FnOnce(WebSocketStream<TcpStream>) -> F + Send + 'static,
) -> (SocketAddr, JoinHandle<F::Output>)
where
    F: Future<Output: Send + 'static> + Send,
{
    server(async move |stream| serve(accept_async(stream).await.unwrap()).await).await
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut ws: WebSocketStream<S>) {
    while let Some(Ok(message)) = ws.next().await {
        if (message.is_text() || message.is_binary()) && ws.send(message).await.is_err() {
            return;
        }
    }
}

/// Accepts, says nothing, and holds the connection open until the test ends.
async fn mute(stream: TcpStream) {
    tokio::time::sleep(PATIENCE).await;
    drop(stream);
}

async fn dial(address: SocketAddr, limits: &Limits) -> Result<Socket, NetError> {
    patient(connect(
        &format!("ws://{address}/stream?secret"),
        &trust(),
        limits,
        ticks,
    ))
    .await
}

async fn dialed(address: SocketAddr) -> Socket {
    dial(address, &Limits::default()).await.unwrap()
}

/// The head of an HTTP request.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Answers one HTTP request with `answer` and hangs up; gives back the head of the request.
async fn http_server(answer: &'static str) -> (SocketAddr, JoinHandle<String>) {
    server(async move |mut stream| {
        let head = read_head(&mut stream).await;
        // A client that has seen enough may be gone already.
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
        head
    })
    .await
}

async fn ask(method: Method, address: SocketAddr, limits: &Limits) -> Result<Reply, NetError> {
    patient(request(
        method,
        &format!("http://{address}/a/b?c=secret"),
        &trust(),
        limits,
        ticks,
    ))
    .await
}

async fn get(answer: &'static str) -> Result<Reply, NetError> {
    let (address, _server) = http_server(answer).await;
    ask(Method::Get, address, &Limits::default()).await
}

fn assert_error(error: &NetError, stage: Stage, fault: Fault) {
    assert_eq!((error.stage, error.fault), (stage, fault), "{error}");
    let text = error.to_string();
    assert!(!text.contains("secret"), "{text}");
    assert!(
        !error.remedy.is_empty() && text.ends_with(error.remedy),
        "{text}"
    );
}

// ---- WebSocket ----

#[tokio::test]
async fn text_and_bytes_come_back() {
    let (address, _server) = ws_server(echo).await;
    let mut socket = dialed(address).await;
    assert_eq!(socket.peer(), address.to_string());
    let long = "€".repeat(100_000);
    for text in ["", "{\"a\":1}", &long] {
        socket.send_text(text).await.unwrap();
        let frame = patient(socket.next()).await.unwrap();
        assert!(frame.received_ns > 0);
        assert_eq!(frame.payload, Payload::Text(text.into()));
    }
    socket.send_binary(vec![0, 255, 7]).await.unwrap();
    let frame = patient(socket.next()).await.unwrap();
    assert_eq!(frame.payload, Payload::Binary(vec![0, 255, 7].into()));
    patient(socket.close()).await.unwrap();
}

#[tokio::test]
async fn our_ping_brings_its_payload_back() {
    let (address, _server) = ws_server(echo).await;
    let mut socket = dialed(address).await;
    socket.send_ping("12345").await.unwrap();
    assert_eq!(
        patient(socket.next()).await.unwrap().payload,
        Payload::Pong("12345".into())
    );
    let error = socket.send_ping(vec![0; 126]).await.unwrap_err();
    assert_error(&error, Stage::TooLarge, Fault::Us);
}

#[tokio::test]
async fn a_ping_is_answered_at_once_with_its_payload() {
    let (address, server) = ws_server(async |mut ws| {
        ws.send(Message::Ping("1700000000".into())).await.unwrap();
        ws.next().await.unwrap().unwrap()
    })
    .await;
    let mut socket = dialed(address).await;
    let frame = patient(socket.next()).await.unwrap();
    assert_eq!(frame.payload, Payload::Ping("1700000000".into()));
    // The socket is not read again: the pong must be on its way already.
    assert_eq!(
        patient(server).await.unwrap(),
        Message::Pong("1700000000".into())
    );
}

#[tokio::test]
async fn frames_of_one_read_share_its_stamp_however_late_they_are_taken() {
    let (address, _server) = server(async |stream| {
        let mut ws = accept_async(stream).await.unwrap();
        // Two whole text frames in one write.
        ws.get_mut().write_all(b"\x81\x01a\x81\x01b").await.unwrap();
        ws.next().await.unwrap().unwrap();
        ws.send(Message::text("c")).await.unwrap();
        ws.next().await
    })
    .await;
    let mut socket = dialed(address).await;
    let first = patient(socket.next()).await.unwrap();
    let busy_until = ticks();
    let second = patient(socket.next()).await.unwrap();
    assert_eq!(second.payload, Payload::Text("b".into()));
    assert_eq!(first.received_ns, second.received_ns);
    assert!(second.received_ns < busy_until);
    socket.send_text("more").await.unwrap();
    assert!(patient(socket.next()).await.unwrap().received_ns > busy_until);
}

#[tokio::test]
async fn a_dropped_wait_loses_nothing() {
    let (go, wait) = oneshot::channel::<()>();
    let (address, _server) = server(async |stream| {
        let mut ws = accept_async(stream).await.unwrap();
        // Half a frame, and the rest only after the client has given up waiting once.
        ws.get_mut().write_all(b"\x81\x05hel").await.unwrap();
        wait.await.unwrap();
        ws.get_mut().write_all(b"lo").await.unwrap();
        ws.next().await
    })
    .await;
    let mut socket = dialed(address).await;
    assert!(timeout(SHORT, socket.next()).await.is_err());
    go.send(()).unwrap();
    assert_eq!(
        patient(socket.next()).await.unwrap().payload,
        Payload::Text("hello".into())
    );
}

#[tokio::test]
async fn the_servers_goodbye_is_a_frame_and_then_the_end() {
    let (address, server) = ws_server(async |mut ws| {
        let frame = CloseFrame {
            code: CloseCode::Away,
            reason: "maintenance".into(),
        };
        ws.send(Message::Close(Some(frame))).await.unwrap();
        ws.next().await.unwrap().unwrap()
    })
    .await;
    let mut socket = dialed(address).await;
    let payload = patient(socket.next()).await.unwrap().payload;
    assert_eq!(
        payload,
        Payload::Close {
            code: 1001,
            reason: "maintenance".to_owned()
        }
    );
    assert!(matches!(
        patient(server).await.unwrap(),
        Message::Close(Some(_))
    ));
    let error = patient(socket.next()).await.unwrap_err();
    assert_error(&error, Stage::Read, Fault::Peer);
    assert!(error.retry);
}

#[tokio::test]
async fn a_goodbye_without_a_code_is_1005() {
    let (address, _server) = ws_server(async |mut ws| {
        ws.send(Message::Close(None)).await.unwrap();
        ws.next().await
    })
    .await;
    let mut socket = dialed(address).await;
    let payload = patient(socket.next()).await.unwrap().payload;
    assert_eq!(
        payload,
        Payload::Close {
            code: ws::CLOSE_WITHOUT_CODE,
            reason: String::new()
        }
    );
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_the_networks_fault() {
    let (address, _server) = server(async |stream| {
        let mut ws = accept_async(stream).await.unwrap();
        ws.get_mut().write_all(b"\x81\x05hel").await.unwrap();
    })
    .await;
    let mut socket = dialed(address).await;
    let error = patient(socket.next()).await.unwrap_err();
    assert_error(&error, Stage::Read, Fault::Network);
    assert!(error.retry);
    assert_error(
        &patient(socket.next()).await.unwrap_err(),
        Stage::Read,
        Fault::Peer,
    );
}

#[tokio::test]
async fn a_frame_beyond_the_limit_is_too_large_whole_or_in_pieces() {
    let limits = Limits {
        max_frame_bytes: 1000,
        ..Limits::default()
    };
    // A header that claims 1,001 bytes, none of which ever comes: the refusal needs no data.
    let whole = b"\x81\x7e\x03\xe9".to_vec();
    // Three fragments of 400 bytes.
    let mut pieces = Vec::new();
    for opcode in [0x01_u8, 0x00, 0x80] {
        pieces.extend([opcode, 0x7e, 0x01, 0x90]);
        pieces.extend([b'x'; 400]);
    }
    for bytes in [whole, pieces] {
        let (address, _server) = server(async move |stream| {
            let mut ws = accept_async(stream).await.unwrap();
            ws.get_mut().write_all(&bytes).await.unwrap();
            ws.next().await
        })
        .await;
        let mut socket = dial(address, &limits).await.unwrap();
        let error = patient(socket.next()).await.unwrap_err();
        assert_error(&error, Stage::TooLarge, Fault::Peer);
    }
}

#[tokio::test]
async fn a_broken_protocol_is_the_peers_fault() {
    // Text that is not UTF-8; a reserved opcode; a reserved bit; a masked frame from a server.
    for bytes in [
        &b"\x81\x01\xff"[..],
        b"\x83\x00",
        b"\xc1\x00",
        b"\x81\x80abcd",
    ] {
        let (address, _server) = server(async move |stream| {
            let mut ws = accept_async(stream).await.unwrap();
            ws.get_mut().write_all(bytes).await.unwrap();
            ws.next().await
        })
        .await;
        let mut socket = dialed(address).await;
        let error = patient(socket.next()).await.unwrap_err();
        assert_error(&error, Stage::Protocol, Fault::Peer);
    }
}

#[tokio::test]
async fn garbage_instead_of_a_handshake() {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 101 Sure\r\n\r\n",
        "",
    ] {
        let (address, _server) = http_server(answer).await;
        let error = dial(address, &Limits::default()).await.unwrap_err();
        assert_error(&error, Stage::Handshake, Fault::Peer);
        assert!(error.retry && error.status.is_none());
    }
}

#[tokio::test]
async fn a_refused_handshake_carries_its_status() {
    let case = async |answer| {
        let (address, server) = http_server(answer).await;
        let error = dial(address, &Limits::default()).await.unwrap_err();
        assert_eq!(error.stage, Stage::Handshake);
        let head = server.await.unwrap();
        assert!(
            head.starts_with("GET /stream?secret HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(
            head.to_lowercase()
                .contains(&format!("user-agent: {USER_AGENT}")),
            "{head}"
        );
        assert!(!error.to_string().contains("secret"));
        (error.status, error.retry_after_s, error.fault, error.retry)
    };
    let limited = case("HTTP/1.1 429 Slow down\r\nRetry-After: 30\r\n\r\n").await;
    assert_eq!(limited, (Some(429), Some(30), Fault::Peer, true));
    let missing = case("HTTP/1.1 404 Not Found\r\n\r\n").await;
    assert_eq!(missing, (Some(404), None, Fault::Us, false));
    let broken = case("HTTP/1.1 503 Busy\r\n\r\n").await;
    assert_eq!(broken, (Some(503), None, Fault::Peer, true));
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = dial(address, &Limits::default()).await.unwrap_err();
    assert_error(&error, Stage::Connect, Fault::Peer);
    assert!(error.retry);
    let error = ask(Method::Get, address, &Limits::default())
        .await
        .unwrap_err();
    assert_error(&error, Stage::Connect, Fault::Peer);
}

#[tokio::test]
async fn all_addresses_of_a_name_are_tried() {
    // Where `localhost` is ::1 first, that one refuses and the next one answers.
    let (address, _server) = ws_server(echo).await;
    let url = format!("ws://localhost:{}/", address.port());
    let socket = patient(connect(&url, &trust(), &Limits::default(), ticks))
        .await
        .unwrap();
    patient(socket.close()).await.unwrap();
}

#[tokio::test]
async fn plain_text_never_leaves_this_machine() {
    for url in ["ws://192.0.2.1/", "ws://[2001:db8::1]/"] {
        let result = patient(connect(url, &trust(), &Limits::default(), ticks)).await;
        let error = result.unwrap_err();
        assert_error(&error, Stage::Connect, Fault::Us);
        assert!(!error.retry);
    }
}

#[tokio::test]
async fn a_half_open_handshake_times_out() {
    let limits = Limits {
        handshake: SHORT,
        ..Limits::default()
    };
    for scheme in ["ws", "wss"] {
        let (address, server) = server(mute).await;
        let url = format!("{scheme}://{address}/");
        let error = patient(connect(&url, &trust(), &limits, ticks))
            .await
            .unwrap_err();
        assert_error(&error, Stage::Timeout, Fault::Network);
        assert!(error.retry);
        server.abort();
    }
}

#[tokio::test]
async fn a_peer_that_does_not_read_cannot_hang_us() {
    let (address, server) = ws_server(async |ws| {
        tokio::time::sleep(PATIENCE).await;
        drop(ws);
    })
    .await;
    let limits = Limits {
        write: SHORT,
        close: SHORT,
        ..Limits::default()
    };
    let mut socket = dial(address, &limits).await.unwrap();
    let megabyte = vec![0_u8; 1 << 20];
    let mut sent = 0;
    let error = loop {
        match patient(socket.send_binary(megabyte.clone())).await {
            Ok(()) => sent += 1,
            Err(e) => break e,
        }
        assert!(sent < 1000, "the kernel cannot hold this much");
    };
    assert_error(&error, Stage::Timeout, Fault::Network);
    assert_error(
        &patient(socket.close()).await.unwrap_err(),
        Stage::Timeout,
        Fault::Network,
    );
    server.abort();
}

#[tokio::test]
async fn what_is_too_large_to_send_is_refused_and_the_socket_lives() {
    let (address, _server) = ws_server(echo).await;
    let limits = Limits {
        max_send_bytes: 100,
        ..Limits::default()
    };
    let mut socket = dial(address, &limits).await.unwrap();
    let error = socket.send_text("x".repeat(101)).await.unwrap_err();
    assert_error(&error, Stage::TooLarge, Fault::Us);
    socket.send_text("x".repeat(100)).await.unwrap();
    assert!(
        matches!(patient(socket.next()).await.unwrap().payload, Payload::Text(t) if t.len() == 100)
    );
}

// ---- HTTP ----

#[tokio::test]
async fn an_answer_has_status_body_and_three_stamps() {
    let (address, server) =
        http_server("HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"lastId\":77}").await;
    let reply = ask(Method::Get, address, &Limits::default()).await.unwrap();
    assert_eq!(
        (reply.status, reply.retry_after_s, &reply.body[..]),
        (200, None, &b"{\"lastId\":77}"[..])
    );
    assert!(
        0 < reply.sent_ns && reply.sent_ns < reply.head_ns && reply.head_ns < reply.received_ns
    );
    let head = server.await.unwrap().to_lowercase();
    assert!(head.starts_with("get /a/b?c=secret http/1.1\r\n"), "{head}");
    for line in [
        format!("host: {address}"),
        "accept-encoding: identity".to_owned(),
        format!("user-agent: tickerml-edge/{}", env!("CARGO_PKG_VERSION")),
        "connection: close".to_owned(),
    ] {
        assert!(
            head.contains(&format!("\r\n{line}\r\n")),
            "{line} in {head}"
        );
    }
}

#[tokio::test]
async fn a_post_has_an_empty_body() {
    let (address, server) = http_server("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(
        ask(Method::Post, address, &Limits::default())
            .await
            .unwrap()
            .body
            .len(),
        0
    );
    let head = server.await.unwrap().to_lowercase();
    assert!(
        head.starts_with("post /a/b?c=secret http/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("\r\ncontent-length: 0\r\n"), "{head}");
}

#[tokio::test]
async fn a_refusal_is_an_answer_with_its_pause() {
    let reply = get("HTTP/1.1 429 Slow\r\nRetry-After: 17\r\nContent-Length: 2\r\n\r\n{}")
        .await
        .unwrap();
    assert_eq!(
        (reply.status, reply.retry_after_s, &reply.body[..]),
        (429, Some(17), &b"{}"[..])
    );
    for odd in [
        "HTTP/1.1 418 Teapot\r\nRetry-After: Wed, 21 Oct 2026 07:28:00 GMT\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 418 Teapot\r\nRetry-After: -1\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 418 Teapot\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n\r\n",
    ] {
        let reply = get(odd).await.unwrap();
        assert_eq!((reply.status, reply.retry_after_s), (418, None));
    }
    let moved = get("HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(moved.status, 302, "not followed");
}

#[tokio::test]
async fn bodies_in_chunks_and_bodies_that_end_with_the_connection() {
    let chunked = get(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
    )
    .await;
    assert_eq!(&chunked.unwrap().body[..], b"abcdefg");
    let until_close = get("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcdefg").await;
    assert_eq!(&until_close.unwrap().body[..], b"abcdefg");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_too_large_claimed_or_sent() {
    let limits = Limits {
        max_body_bytes: 6,
        ..Limits::default()
    };
    for (answer, fits) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcdefg", false),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef", true),
    ] {
        let (address, _server) = http_server(answer).await;
        match ask(Method::Get, address, &limits).await {
            Ok(reply) => assert!(fits && reply.body.len() == 6, "{answer}"),
            Err(e) => {
                assert!(!fits, "{answer}: {e}");
                assert_error(&e, Stage::TooLarge, Fault::Peer);
            }
        }
    }
}

#[tokio::test]
async fn a_slow_answer_times_out_wherever_it_stops() {
    let limits = Limits {
        request: SHORT,
        ..Limits::default()
    };
    for part in [
        "",
        "HTTP/1.1 200 OK\r\nConte",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
    ] {
        let (address, server) = server(async move |mut stream| {
            read_head(&mut stream).await;
            stream.write_all(part.as_bytes()).await.unwrap();
            mute(stream).await;
        })
        .await;
        let error = ask(Method::Get, address, &limits).await.unwrap_err();
        assert_error(&error, Stage::Timeout, Fault::Network);
        server.abort();
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_an_error() {
    for part in [
        "",
        "HTTP/1.1 200 OK\r\nConte",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc",
    ] {
        let error = get(part).await.unwrap_err();
        assert_error(&error, Stage::Read, Fault::Network);
        assert!(error.retry);
    }
}

#[tokio::test]
async fn an_answer_that_nobody_can_read_is_the_peers_fault() {
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x01",
    ] {
        assert_error(
            &get(answer).await.unwrap_err(),
            Stage::Protocol,
            Fault::Peer,
        );
    }
    let plain =
        get("HTTP/1.1 200 OK\r\nContent-Encoding: Identity\r\nContent-Length: 1\r\n\r\nx").await;
    assert_eq!(&plain.unwrap().body[..], b"x");
}

#[tokio::test]
async fn a_request_to_a_wrong_url_is_our_fault() {
    for url in [
        "ftp://127.0.0.1/secret",
        "http://",
        "http://192.0.2.1/secret",
    ] {
        let result = patient(request(
            Method::Get,
            url,
            &trust(),
            &Limits::default(),
            ticks,
        ))
        .await;
        let error = result.unwrap_err();
        assert_eq!(error.fault, Fault::Us);
        assert!(
            !error.retry && !error.to_string().contains("secret"),
            "{error}"
        );
    }
}

// ---- TLS ----

/// An authority that exists for these tests only; its key was thrown away after it signed
/// [`LOCALHOST`].
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBqzCCAVGgAwIBAgIUbOHAwERCITefVe+G7hG7PvwH1g8wCgYIKoZIzj0EAwIw
IjEgMB4GA1UEAwwXVGlja2VyTUwgdGVzdCBhdXRob3JpdHkwIBcNMjYxMTIxMDEx
MDM5WhgPMjEyNjEwMjgwMTEwMzlaMCIxIDAeBgNVBAMMF1RpY2tlck1MIHRlc3Qg
YXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEw2+79yGI5NvADw9W
x0AqmlJ2S74xW65nwIJxGu7gXE9n4Z5UCwXA6FOPo+t0KheJrEkwYr+2YC/k+eeW
uZPOQaNjMGEwHQYDVR0OBBYEFMOhCNabxj84el8Z9v16x/D3IoyIMB8GA1UdIwQY
MBaAFMOhCNabxj84el8Z9v16x/D3IoyIMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0P
AQH/BAQDAgIEMAoGCCqGSM49BAMCA0gAMEUCIQCjeqp1MoHrbj3LMjP0UciaERjU
GBNMYopewaBFxQ4vvQIgN9JwQJnlXSrtT/BbnvyXyKPoQdKvW6PLdQOrxYzdpAA=
-----END CERTIFICATE-----
";

/// A certificate for `localhost` and 127.0.0.1, valid until 2120.
const LOCALHOST: &str = "\
-----BEGIN CERTIFICATE-----
MIIBpTCCAUugAwIBAgIBATAKBggqhkjOPQQDAjAiMSAwHgYDVQQDDBdUaWNrZXJN
TCB0ZXN0IGF1dGhvcml0eTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAw
MFowFDESMBAGA1UEAwwJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcD
QgAE7qLejor1neP3PMq6QKWBhBIXiA7Hu4n/ry3as6xz0g4nwCy6URB1f9XpcFwa
7MWcSClo3hjH4hyO/LaDBJd2/aN+MHwwGgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/
AAABMAkGA1UdEwQCMAAwEwYDVR0lBAwwCgYIKwYBBQUHAwEwHQYDVR0OBBYEFNxC
gXD6Tf8C9jFFshg5zyNzL0ptMB8GA1UdIwQYMBaAFMOhCNabxj84el8Z9v16x/D3
IoyIMAoGCCqGSM49BAMCA0gAMEUCIHtT2VNhyPJiepnN1PK2wDTP0542HHoQKexB
UjZTEZSZAiEA/4Rmw5+YxijWRi2bumFOZcqVH48sacgK25/rhOAJHSs=
-----END CERTIFICATE-----
";

/// The key of [`LOCALHOST`]. It protects nothing: nobody trusts its authority but these tests.
const LOCALHOST_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgXtAMA05V//U981zJ
pGog5C7hOR9iyu/KckX8kH5qLYmhRANCAATuot6OivWd4/c8yrpApYGEEheIDse7
if+vLdqzrHPSDifALLpREHV/1elwXBrsxZxIKWjeGMfiHI78toMEl3b9
-----END PRIVATE KEY-----
";

fn acceptor() -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(LOCALHOST.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(LOCALHOST_KEY.as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn trust_the_authority() -> Arc<ClientConfig> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("authority.pem");
    std::fs::write(&path, AUTHORITY).unwrap();
    tls::client_config(Some(&path)).unwrap()
}

/// Echoes over TLS; ends quietly if the client does not trust it.
async fn secure_echo(stream: TcpStream) {
    if let Ok(stream) = acceptor().accept(stream).await
        && let Ok(ws) = accept_async(stream).await
    {
        echo(ws).await;
    }
}

#[tokio::test]
async fn a_trusted_server_is_spoken_to_in_secret_by_name_and_by_address() {
    for host in ["localhost", "127.0.0.1"] {
        let (address, _server) = server(secure_echo).await;
        let url = format!("wss://{host}:{}/", address.port());
        let tls = trust_the_authority();
        let mut socket = patient(connect(&url, &tls, &Limits::default(), ticks))
            .await
            .unwrap();
        let before = ticks();
        socket.send_text("x".repeat(50_000)).await.unwrap();
        let frame = patient(socket.next()).await.unwrap();
        assert!(before < frame.received_ns && frame.received_ns < ticks());
        assert!(matches!(frame.payload, Payload::Text(t) if t.len() == 50_000));
        patient(socket.close()).await.unwrap();
    }
}

#[tokio::test]
async fn a_request_over_tls() {
    let (address, _server) = server(async |stream| {
        let mut stream = acceptor().accept(stream).await.unwrap();
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(answer).await.unwrap();
        // Hangs up without a TLS goodbye, as many servers do; the length says that the body is
        // whole.
        stream.flush().await.unwrap();
    })
    .await;
    let url = format!("https://{address}/");
    let tls = trust_the_authority();
    let reply = patient(request(Method::Get, &url, &tls, &Limits::default(), ticks))
        .await
        .unwrap();
    assert_eq!((reply.status, &reply.body[..]), (200, &b"{}"[..]));
}

#[tokio::test]
async fn a_stranger_and_an_impostor_are_refused() {
    // A stranger: nobody vouches for the certificate.
    let (address, _server) = server(secure_echo).await;
    let url = format!("wss://{address}/");
    let stranger = patient(connect(&url, &trust(), &Limits::default(), ticks))
        .await
        .unwrap_err();
    assert_error(&stranger, Stage::Tls, Fault::Peer);
    // An impostor: a good certificate for somebody else.
    let (address, _server) = server_on("127.0.0.2", secure_echo).await;
    let url = format!("wss://{address}/");
    let tls = trust_the_authority();
    let impostor = patient(connect(&url, &tls, &Limits::default(), ticks))
        .await
        .unwrap_err();
    assert_error(&impostor, Stage::Tls, Fault::Peer);
    // Not TLS at all.
    let (address, _server) = http_server("").await;
    let url = format!("wss://{address}/");
    let limits = Limits {
        handshake: SHORT,
        ..Limits::default()
    };
    assert!(patient(connect(&url, &tls, &limits, ticks)).await.is_err());
}

// ---- Errors ----

#[test]
fn foreign_text_is_cut_and_kept_on_one_line() {
    let text = format!("a\nb\u{1b}[31m{}", "x".repeat(1000));
    let error = NetError::passing(Stage::Read, Fault::Peer, text, "connect again");
    assert!(error.detail.chars().count() <= MAX_DETAIL_CHARS);
    assert!(!error.to_string().chars().any(char::is_control));
    let error = NetError {
        retry_after_s: Some(9),
        ..error
    };
    let text = error.to_string();
    assert!(
        text.starts_with("read failed (peer): a b") && text.contains("pause of 9 s"),
        "{text}"
    );
}
