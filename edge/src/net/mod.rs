//! The room that moves bytes: sockets, TLS, timeouts, arrival stamps.
//!
//! A venue's dialect decides *what* to ask and what an answer means; this room only dials, carries
//! and stamps. So nothing here knows a venue, parses a payload, keeps a book or retries by itself:
//! a failed call returns a [`NetError`] that says whose fault it was and whether trying again can
//! help, and the caller decides when.
//!
//! What holds everywhere in this room:
//!
//! * Every wait on a peer has a named limit ([`Limits`]), except [`ws::Socket::next`], whose
//!   silence only the caller can judge.
//! * Every size that a peer controls has a named limit.
//! * A frame is stamped when its last bytes came off the TCP socket, before TLS and before
//!   assembly, so that a busy consumer does not make the venue look slow.
//! * The clock is an argument; proxies named in the environment are never used; plain text never
//!   leaves this machine.
//! * Error texts name the host and never the path or query of a URL, because a venue may put a
//!   token there.

mod dial;
pub mod http;
pub mod tls;
pub mod ws;

#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

/// Longest time for a host name to be resolved and a TCP connection to be made, over all of the
/// host's addresses.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for the TLS and WebSocket handshakes together.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time for one outgoing WebSocket message to be accepted by the kernel.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for an orderly WebSocket close; after it the connection is dropped.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time for a whole REST request, from the name look-up to the last byte of the body.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Largest incoming WebSocket message. Coinbase's level-2 snapshots reach 5 MB, so this leaves room
/// to triple.
pub const MAX_FRAME_BYTES: usize = 16 << 20;
/// Largest outgoing WebSocket message, and the bound of the write buffer.
pub const MAX_SEND_BYTES: usize = 1 << 20;
/// Largest body of a REST answer.
pub const MAX_BODY_BYTES: usize = 32 << 20;
/// Addresses of one host that are tried before the dial is given up.
pub const MAX_ADDRESSES: usize = 8;
/// Characters of foreign text (an operating system message, a close reason) that are kept in an
/// error.
const MAX_DETAIL_CHARS: usize = 200;

/// What names this program to a peer.
pub(crate) const USER_AGENT: &str = concat!("tickerml-edge/", env!("CARGO_PKG_VERSION"));

/// Unix time in nanoseconds, read by whoever owns the clock.
pub type Clock = fn() -> u64;

/// The limits of one connection or request. [`Limits::default`] is what the edge runs with; tests
/// shorten them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`CONNECT_TIMEOUT`].
    pub connect: Duration,
    /// See [`HANDSHAKE_TIMEOUT`].
    pub handshake: Duration,
    /// See [`WRITE_TIMEOUT`].
    pub write: Duration,
    /// See [`CLOSE_TIMEOUT`].
    pub close: Duration,
    /// See [`REQUEST_TIMEOUT`].
    pub request: Duration,
    /// See [`MAX_FRAME_BYTES`].
    pub max_frame_bytes: usize,
    /// See [`MAX_SEND_BYTES`].
    pub max_send_bytes: usize,
    /// See [`MAX_BODY_BYTES`].
    pub max_body_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            handshake: HANDSHAKE_TIMEOUT,
            write: WRITE_TIMEOUT,
            close: CLOSE_TIMEOUT,
            request: REQUEST_TIMEOUT,
            max_frame_bytes: MAX_FRAME_BYTES,
            max_send_bytes: MAX_SEND_BYTES,
            max_body_bytes: MAX_BODY_BYTES,
        }
    }
}

/// The step at which a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The URL was read or the host name looked up.
    Resolve,
    /// The TCP connection was made.
    Connect,
    /// TLS was set up or negotiated.
    Tls,
    /// The WebSocket upgrade was asked for.
    Handshake,
    /// Bytes were read from an open connection.
    Read,
    /// Bytes were written to an open connection.
    Write,
    /// A named limit of time ran out; the detail says which.
    Timeout,
    /// A message exceeded a named limit of size.
    TooLarge,
    /// The peer broke HTTP or WebSocket framing.
    Protocol,
}

impl Stage {
    /// A stable lower-case name, for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Resolve => "resolve",
            Stage::Connect => "connect",
            Stage::Tls => "tls",
            Stage::Handshake => "handshake",
            Stage::Read => "read",
            Stage::Write => "write",
            Stage::Timeout => "timeout",
            Stage::TooLarge => "too_large",
            Stage::Protocol => "protocol",
        }
    }
}

/// Whose fault a failure most likely was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The other end: it refused, broke the protocol or sent too much.
    Peer,
    /// This end: a wrong URL, a wrong certificate file, a request that the peer will never accept.
    Us,
    /// What lies between: names, routes, resets, silence.
    Network,
}

impl Fault {
    /// A stable lower-case name, for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Peer => "peer",
            Fault::Us => "us",
            Fault::Network => "network",
        }
    }
}

/// A failed connection, request or transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetError {
    /// The step that failed.
    pub stage: Stage,
    /// Whose fault it most likely was.
    pub fault: Fault,
    /// The cause, in words, with the host and without the URL's path.
    pub detail: String,
    /// What an operator can do about it.
    pub remedy: &'static str,
    /// Whether the same call can succeed later without anyone changing anything.
    pub retry: bool,
    /// The HTTP status of a refused WebSocket handshake.
    pub status: Option<u16>,
    /// The peer's `Retry-After` of a refused WebSocket handshake, in seconds.
    pub retry_after_s: Option<u32>,
}

impl NetError {
    /// An error of the network or the peer, that may pass by itself.
    pub(crate) fn passing(
        stage: Stage,
        fault: Fault,
        detail: impl AsRef<str>,
        remedy: &'static str,
    ) -> Self {
        let detail = bounded(detail.as_ref());
        Self {
            stage,
            fault,
            detail,
            remedy,
            retry: true,
            status: None,
            retry_after_s: None,
        }
    }

    /// An error that stays until someone changes something here.
    pub(crate) fn lasting(stage: Stage, detail: impl AsRef<str>, remedy: &'static str) -> Self {
        Self {
            retry: false,
            ..Self::passing(stage, Fault::Us, detail, remedy)
        }
    }

    /// A named limit of time ran out.
    pub(crate) fn timeout(what: &str, peer: &str, limit: Duration) -> Self {
        Self::passing(
            Stage::Timeout,
            Fault::Network,
            format!("{what} {peer} took longer than {} ms", limit.as_millis()),
            "check this machine's internet connection and the peer's status page",
        )
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} failed ({}): {}",
            self.stage.name(),
            self.fault.name(),
            self.detail
        )?;
        if let Some(seconds) = self.retry_after_s {
            write!(f, ", which asks for a pause of {seconds} s")?;
        }
        write!(f, "; {}", self.remedy)
    }
}

impl std::error::Error for NetError {}

/// `text` on one line, without control characters, and at most [`MAX_DETAIL_CHARS`] long: a peer
/// can put anything in it.
fn bounded(text: &str) -> String {
    text.chars()
        .take(MAX_DETAIL_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The seconds of a `Retry-After` header. Its other form, a date, would need a clock that agrees
/// with the peer's, and none of the venues sends it, so it counts as absent.
pub(crate) fn retry_after_s(headers: &hyper::HeaderMap) -> Option<u32> {
    headers
        .get(hyper::header::RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()
}
