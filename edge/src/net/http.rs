//! One REST request over one connection.
//!
//! Requests are rare (a snapshot after a gap, a token, a table of instruments), so keeping
//! connections open would cost more than it saves. Statuses are answers, not errors: what 429 means
//! is for the caller. Redirects are not followed.

use std::pin::pin;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HOST, HeaderValue,
    USER_AGENT as USER_AGENT_HEADER,
};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::time::timeout;

pub use hyper::body::Bytes;

use super::dial::{self, Target};
use super::{Clock, Fault, Limits, NetError, Stage, USER_AGENT, retry_after_s};

/// Largest head (status line and headers) of an answer.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// What is reserved for a body at most before any of it has arrived: a header is only a claim.
const RESERVE_BYTES: usize = 1 << 20;

/// The verb of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Ask.
    Get,
    /// Ask with an empty body, as KuCoin's token needs it.
    Post,
}

/// The answer to a request, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The peer's `Retry-After` in seconds, if it gave one in seconds.
    pub retry_after_s: Option<u32>,
    /// The whole body.
    pub body: Bytes,
    /// When the request was handed to the open connection, after TCP and TLS: unix nanoseconds of
    /// the given clock.
    pub sent_ns: u64,
    /// When the status and the headers had arrived: `head_ns - sent_ns` is a round trip plus the
    /// peer's work.
    pub head_ns: u64,
    /// When the last byte of the body had arrived.
    pub received_ns: u64,
}

/// Asks `url` (`https://…`, or `http://…` to this machine only) and reads the whole answer within
/// `limits.request`.
///
/// # Errors
/// See [`NetError`]; [`Stage::TooLarge`] beyond `limits.max_body_bytes`.
pub async fn request(
    method: Method,
    url: &str,
    tls: &Arc<ClientConfig>,
    limits: &Limits,
    clock: Clock,
) -> Result<Reply, NetError> {
    let target = Target::parse(url, "https", "http")?;
    let peer = target.peer();
    match timeout(
        limits.request,
        exchange(method, &target, tls, limits, clock),
    )
    .await
    {
        Ok(result) => result,
        Err(_) => Err(NetError::timeout("the request to", &peer, limits.request)),
    }
}

async fn exchange(
    method: Method,
    target: &Target,
    tls: &Arc<ClientConfig>,
    limits: &Limits,
    clock: Clock,
) -> Result<Reply, NetError> {
    let peer = target.peer();
    let request = compose(method, target)?;
    let tcp = dial::connect(target, limits, clock).await?;
    let wire = timeout(limits.handshake, dial::secure(target, tcp, tls))
        .await
        .map_err(|_| NetError::timeout("the handshake with", &peer, limits.handshake))??;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake::<_, Empty<Bytes>>(TokioIo::new(wire))
        .await
        .map_err(|e| http_error(&e, &peer))?;

    let mut answer = pin!(async {
        let sent_ns = clock();
        let response = sender
            .send_request(request)
            .await
            .map_err(|e| http_error(&e, &peer))?;
        let head_ns = clock();
        let status = response.status().as_u16();
        let retry_after_s = retry_after_s(response.headers());
        refuse_encoding(response.headers().get(CONTENT_ENCODING), &peer)?;
        let body = collect(response.into_body(), limits.max_body_bytes, &peer).await?;
        Ok(Reply {
            status,
            retry_after_s,
            body,
            sent_ns,
            head_ns,
            received_ns: clock(),
        })
    });
    // The connection is a future that moves the bytes. It may end before the answer has been taken
    // out of its channel, and then the answer finishes alone; its errors reach the answer through
    // the same channel.
    tokio::select! {
        biased;
        reply = &mut answer => reply,
        _ = connection => answer.await,
    }
}

fn compose(method: Method, target: &Target) -> Result<hyper::Request<Empty<Bytes>>, NetError> {
    let authority = target.uri.authority().map_or("", |a| a.as_str());
    let path = target.uri.path_and_query().map_or("/", |p| p.as_str());
    let (verb, length) = match method {
        Method::Get => (hyper::Method::GET, None),
        // hyper leaves the length of an empty body out, and some front ends then answer 411.
        Method::Post => (hyper::Method::POST, Some((CONTENT_LENGTH, "0"))),
    };
    let mut request = hyper::Request::builder();
    if let Some((name, value)) = length {
        request = request.header(name, value);
    }
    request
        .method(verb)
        .uri(path)
        .header(HOST, authority)
        .header(USER_AGENT_HEADER, USER_AGENT)
        .header(ACCEPT, "application/json, */*;q=0.1")
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close")
        .body(Empty::new())
        .map_err(|_| {
            NetError::lasting(
                Stage::Resolve,
                format!("a URL of {} that cannot be asked for", target.peer()),
                "correct the address in the configuration",
            )
        })
}

/// A peer that compresses although it was asked not to would hand us bytes that no dialect can
/// read.
fn refuse_encoding(encoding: Option<&HeaderValue>, peer: &str) -> Result<(), NetError> {
    match encoding {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(NetError::passing(
                Stage::Protocol,
                Fault::Peer,
                format!("{peer} sent a body encoded as {encoding:?} though identity was asked for"),
                "check that no proxy rewrites the traffic",
            ))
        }
        _ => Ok(()),
    }
}

async fn collect(mut body: Incoming, limit: usize, peer: &str) -> Result<Bytes, NetError> {
    let too_large = |bytes: u64| {
        NetError::passing(
            Stage::TooLarge,
            Fault::Peer,
            format!("{peer} answers with at least {bytes} bytes, more than the {limit} allowed"),
            "ask for less depth or fewer instruments",
        )
    };
    let claimed = body.size_hint().lower();
    if claimed > limit as u64 {
        return Err(too_large(claimed));
    }
    let mut bytes = Vec::with_capacity((claimed as usize).min(RESERVE_BYTES));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| http_error(&e, peer))?;
        // Trailers carry nothing that a caller could use.
        if let Ok(data) = frame.into_data() {
            let total = bytes.len() + data.len();
            if total > limit {
                return Err(too_large(total as u64));
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.into())
}

fn http_error(error: &hyper::Error, peer: &str) -> NetError {
    let (stage, fault, remedy) = if error.is_parse() || error.is_parse_too_large() {
        (
            Stage::Protocol,
            Fault::Peer,
            "check the address, and that no portal stands in between",
        )
    } else if error.is_user() {
        (Stage::Write, Fault::Us, "report this as a defect")
    } else {
        (
            Stage::Read,
            Fault::Network,
            "try again; check this machine's internet connection",
        )
    };
    let cause = std::error::Error::source(error).map_or(String::new(), |e| format!(": {e}"));
    NetError::passing(stage, fault, format!("{peer}: {error}{cause}"), remedy)
}
