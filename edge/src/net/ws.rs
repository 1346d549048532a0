//! One WebSocket connection: dial, receive stamped frames, answer pings, send, close.
//!
//! No compression is offered (it costs memory per connection and CPU per frame on a small machine),
//! no proxy is used, and nothing reconnects: when [`Socket::next`] fails the socket is dead and is
//! dropped.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::{Sink, SinkExt, StreamExt};
use rustls::ClientConfig;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::http::header::{HeaderValue, USER_AGENT as USER_AGENT_HEADER};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

pub use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::dial::{self, Target, Wire};
use super::{Clock, Fault, Limits, NetError, Stage, USER_AGENT, retry_after_s};

/// What one read from the kernel may bring. One TLS record has at most 16 KiB, so more would rarely
/// be filled.
const READ_BUFFER_BYTES: usize = 16 << 10;
/// Room in the write buffer, beside the largest message, for its header and for answers to pings
/// and to a close.
const WRITE_SLACK_BYTES: usize = 1 << 10;
/// Largest payload of a ping (RFC 6455, section 5.5).
pub const MAX_PING_BYTES: usize = 125;
/// The code that stands for a close frame without a code (RFC 6455, section 7.4.1).
pub const CLOSE_WITHOUT_CODE: u16 = 1005;

/// Something that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When the bytes that completed it came off the TCP socket: unix nanoseconds of the clock
    /// given to [`connect`]. Frames that one read brought share a stamp.
    pub received_ns: u64,
    /// What it was.
    pub payload: Payload,
}

/// The content of a [`Frame`]. Text and bytes are slices of the receive buffer, not copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A text message; dereferences to `&str`.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// A ping with its payload. It has been answered already.
    Ping(Bytes),
    /// A pong with the payload of the ping that it answers.
    Pong(Bytes),
    /// The peer says goodbye; the answer is on its way and the next [`Socket::next`] fails.
    Close {
        /// The code of RFC 6455, or [`CLOSE_WITHOUT_CODE`].
        code: u16,
        /// The peer's words, at most 123 bytes.
        reason: String,
    },
}

/// An open WebSocket connection.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<Wire>,
    limits: Limits,
    peer: String,
}

/// Opens a WebSocket to `url` (`wss://…`, or `ws://…` to this machine only), stamping arrivals with
/// `clock`.
///
/// # Errors
/// See [`NetError`]. A refused upgrade carries the HTTP `status` and `retry_after_s`.
pub async fn connect(
    url: &str,
    tls: &Arc<ClientConfig>,
    limits: &Limits,
    clock: Clock,
) -> Result<Socket, NetError> {
    let target = Target::parse(url, "wss", "ws")?;
    let peer = target.peer();
    let mut request = target
        .uri
        .clone()
        .into_client_request()
        .map_err(|e| handshake_error(e, &peer))?;
    request
        .headers_mut()
        .insert(USER_AGENT_HEADER, HeaderValue::from_static(USER_AGENT));
    let tcp = dial::connect(&target, limits, clock).await?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        // Each message goes out at once; the buffer holds only what the kernel does not take.
        .write_buffer_size(0)
        .max_write_buffer_size(limits.max_send_bytes + WRITE_SLACK_BYTES)
        .max_message_size(Some(limits.max_frame_bytes))
        .max_frame_size(Some(limits.max_frame_bytes));
    let upgrade = async {
        let wire = dial::secure(&target, tcp, tls).await?;
        let upgraded = client_async_with_config(request, wire, Some(config)).await;
        upgraded.map_err(|e| handshake_error(e, &peer))
    };
    match timeout(limits.handshake, upgrade).await {
        Ok(Ok((stream, _))) => Ok(Socket {
            stream,
            limits: *limits,
            peer,
        }),
        Ok(Err(e)) => Err(e),
        Err(_) => Err(NetError::timeout(
            "the handshake with",
            &peer,
            limits.handshake,
        )),
    }
}

impl Socket {
    /// The host and port at the other end.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// The next frame. Waits as long as it takes: only the caller knows how long this stream may be
    /// silent, so it puts a timer around. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Any error ends the connection; drop the socket. The end of the stream is an error of
    /// [`Stage::Read`].
    pub async fn next(&mut self) -> Result<Frame, NetError> {
        let message = match self.stream.next().await {
            Some(Ok(message)) => message,
            Some(Err(e)) => return Err(stream_error(e, &self.peer, Stage::Read)),
            None => {
                return Err(stream_error(
                    Error::ConnectionClosed,
                    &self.peer,
                    Stage::Read,
                ));
            }
        };
        let received_ns = self.stream.get_ref().received_ns();
        let payload = match message {
            Message::Text(text) => Payload::Text(text),
            Message::Binary(bytes) => Payload::Binary(bytes),
            Message::Ping(bytes) => {
                self.push_out().await;
                Payload::Ping(bytes)
            }
            Message::Pong(bytes) => Payload::Pong(bytes),
            Message::Close(frame) => {
                self.push_out().await;
                let (code, reason) = match frame {
                    Some(frame) => (frame.code.into(), frame.reason.as_str().to_owned()),
                    None => (CLOSE_WITHOUT_CODE, String::new()),
                };
                Payload::Close { code, reason }
            }
            Message::Frame(_) => {
                // The library hands out raw frames for writing only.
                return Err(NetError::passing(
                    Stage::Protocol,
                    Fault::Us,
                    format!("a raw frame from {}", self.peer),
                    "report this as a defect",
                ));
            }
        };
        Ok(Frame {
            received_ns,
            payload,
        })
    }

    /// Offers the queued answer to the kernel once and does not wait: if the kernel is full, the
    /// following reads offer it again. So an answer is never later than the next turn of the loop,
    /// and a peer that does not read cannot stop us from reading.
    async fn push_out(&mut self) {
        poll_fn(|cx| {
            // An error shows itself at the next read.
            let _ = Pin::new(&mut self.stream).poll_flush(cx);
            Poll::Ready(())
        })
        .await;
    }

    /// Sends a text message.
    ///
    /// # Errors
    /// [`Stage::TooLarge`] beyond `max_send_bytes`, [`Stage::Timeout`] if the kernel does not take
    /// it in time. After an error the connection is not to be trusted; drop the socket.
    pub async fn send_text(&mut self, text: impl Into<Utf8Bytes>) -> Result<(), NetError> {
        let text = text.into();
        self.send(text.len(), Message::Text(text)).await
    }

    /// Sends a binary message; errors as for [`Socket::send_text`].
    ///
    /// # Errors
    /// As for [`Socket::send_text`].
    pub async fn send_binary(&mut self, bytes: impl Into<Bytes>) -> Result<(), NetError> {
        let bytes = bytes.into();
        self.send(bytes.len(), Message::Binary(bytes)).await
    }

    /// Sends a ping of at most [`MAX_PING_BYTES`]; the peer's pong brings the payload back.
    ///
    /// # Errors
    /// As for [`Socket::send_text`].
    pub async fn send_ping(&mut self, payload: impl Into<Bytes>) -> Result<(), NetError> {
        let payload = payload.into();
        if payload.len() > MAX_PING_BYTES {
            return Err(too_large_to_send(payload.len(), MAX_PING_BYTES));
        }
        self.send(payload.len(), Message::Ping(payload)).await
    }

    async fn send(&mut self, bytes: usize, message: Message) -> Result<(), NetError> {
        if bytes > self.limits.max_send_bytes {
            return Err(too_large_to_send(bytes, self.limits.max_send_bytes));
        }
        match timeout(self.limits.write, self.stream.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(stream_error(e, &self.peer, Stage::Write)),
            Err(_) => Err(NetError::timeout(
                "sending to",
                &self.peer,
                self.limits.write,
            )),
        }
    }

    /// Says goodbye, waits for the peer's goodbye for at most `limits.close`, and drops the
    /// connection. What arrives meanwhile is discarded.
    ///
    /// # Errors
    /// [`Stage::Timeout`] if the peer did not answer; the connection is gone all the same.
    pub async fn close(mut self) -> Result<(), NetError> {
        let farewell = async {
            let frame = CloseFrame {
                code: CloseCode::Normal,
                reason: Utf8Bytes::from_static(""),
            };
            self.stream.send(Message::Close(Some(frame))).await?;
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Close(_))) | None => return Ok(()),
                    Some(Ok(_)) => {}
                    Some(Err(e)) => return Err(e),
                }
            }
        };
        let limit: Duration = self.limits.close;
        match timeout(limit, farewell).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(stream_error(e, &self.peer, Stage::Write)),
            Err(_) => Err(NetError::timeout(
                "closing the connection to",
                &self.peer,
                limit,
            )),
        }
    }
}

fn too_large_to_send(bytes: usize, limit: usize) -> NetError {
    NetError::lasting(
        Stage::TooLarge,
        format!("an outgoing message of {bytes} bytes, more than the {limit} allowed"),
        "split it into smaller messages",
    )
}

fn handshake_error(error: Error, peer: &str) -> NetError {
    let passing =
        |fault, detail: String, remedy| NetError::passing(Stage::Handshake, fault, detail, remedy);
    match error {
        Error::Http(response) => {
            let status = response.status().as_u16();
            // What a later attempt can change: time-outs, rate limits and the peer's own troubles.
            let retry = matches!(status, 408 | 418 | 425 | 429) || !(400..500).contains(&status);
            let detail = format!("{peer} answered {status} to the WebSocket upgrade");
            let remedy = match status {
                418 | 429 => "wait: this address made too many requests",
                401 | 403 | 451 => "check whether the peer serves this country and network address",
                _ if retry => "check the peer's status page",
                _ => "correct the path of the address in the configuration",
            };
            NetError {
                fault: if retry { Fault::Peer } else { Fault::Us },
                retry,
                status: Some(status),
                retry_after_s: retry_after_s(response.headers()),
                ..passing(Fault::Peer, detail, remedy)
            }
        }
        Error::Io(e) => passing(
            Fault::Network,
            format!("{peer}: {e}"),
            "check this machine's internet connection",
        ),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => passing(
            Fault::Peer,
            format!("{peer} hung up during the WebSocket handshake"),
            "check the peer's status page",
        ),
        e => passing(
            Fault::Peer,
            format!("{peer} did not speak WebSocket: {e}"),
            "check the address in the configuration, and that no portal stands in between",
        ),
    }
}

fn stream_error(error: Error, peer: &str, stage: Stage) -> NetError {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed => NetError::passing(
            stage,
            Fault::Peer,
            format!("{peer} closed the connection"),
            "connect again",
        ),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => NetError::passing(
            stage,
            Fault::Network,
            format!("the connection to {peer} broke off"),
            "connect again",
        ),
        Error::Protocol(ProtocolError::SendAfterClosing) => NetError::passing(
            Stage::Write,
            Fault::Peer,
            format!("the connection to {peer} is closing"),
            "connect again",
        ),
        Error::Io(e) => NetError::passing(
            stage,
            Fault::Network,
            format!("{peer}: {e}"),
            "connect again",
        ),
        Error::Capacity(e) => NetError::passing(
            Stage::TooLarge,
            Fault::Peer,
            format!("{peer}: {e}"),
            "subscribe to less depth or fewer instruments on this connection",
        ),
        Error::WriteBufferFull(_) => NetError::passing(
            Stage::Write,
            Fault::Peer,
            format!("{peer} does not read what is sent to it"),
            "connect again",
        ),
        e => NetError::passing(
            Stage::Protocol,
            Fault::Peer,
            format!("{peer} broke the WebSocket protocol: {e}"),
            "connect again; if it persists, something rewrites the traffic",
        ),
    }
}
