//! From a URL to an open, perhaps encrypted, byte stream that knows when it last received
//! something.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Clock, Fault, Limits, MAX_ADDRESSES, NetError, Stage};

const CHECK_NETWORK: &str = "check this machine's internet connection and the peer's status page";

/// Where a URL points.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The parsed URL; its path and query may be secret.
    pub(super) uri: Uri,
    encrypted: bool,
    host: String,
    port: u16,
}

impl Target {
    /// Reads a URL whose scheme is `secure` (port 443) or `plain` (port 80).
    pub(super) fn parse(url: &str, secure: &str, plain: &str) -> Result<Self, NetError> {
        let refuse = |cause: String| {
            NetError::lasting(
                Stage::Resolve,
                cause,
                "correct the address in the configuration",
            )
        };
        let uri: Uri = url
            .parse()
            .map_err(|e| refuse(format!("a malformed URL: {e}")))?;
        let encrypted = match uri.scheme_str() {
            Some(scheme) if scheme == secure => true,
            Some(scheme) if scheme == plain => false,
            other => {
                let other = other.unwrap_or("none");
                return Err(refuse(format!(
                    "a URL of scheme {other} where {secure} is needed"
                )));
            }
        };
        let Some(authority) = uri.authority() else {
            return Err(refuse("a URL without a host".to_owned()));
        };
        if authority.as_str().contains('@') {
            return Err(refuse(format!(
                "a URL for {} with a user name in it",
                authority.host()
            )));
        }
        // A literal IPv6 address stands in brackets in a URL and nowhere else.
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        if host.is_empty() {
            return Err(refuse("a URL with an empty host".to_owned()));
        }
        // What follows the host; the library passes over a port that is no number.
        let port = match &authority.as_str()[authority.host().len()..] {
            "" if encrypted => 443,
            "" => 80,
            text => match text.strip_prefix(':').map(str::parse) {
                Some(Ok(port)) if port > 0 => port,
                _ => return Err(refuse(format!("{host} with a port that is none"))),
            },
        };
        Ok(Self {
            uri,
            encrypted,
            host,
            port,
        })
    }

    /// The host and port, for people.
    pub(super) fn peer(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Opens TCP to `target`, without delay and with keepalive, within `limits.connect`.
pub(super) async fn connect(
    target: &Target,
    limits: &Limits,
    clock: Clock,
) -> Result<Stamped, NetError> {
    match timeout(limits.connect, connect_any(target, limits.connect)).await {
        Ok(tcp) => Ok(Stamped {
            tcp: tcp?,
            clock,
            received_ns: clock(),
        }),
        Err(_) => Err(NetError::timeout(
            "connecting to",
            &target.peer(),
            limits.connect,
        )),
    }
}

/// Negotiates TLS over `tcp` if the scheme asks for it. The caller limits the time.
pub(super) async fn secure(
    target: &Target,
    tcp: Stamped,
    tls: &Arc<ClientConfig>,
) -> Result<Wire, NetError> {
    if !target.encrypted {
        return Ok(Wire::Plain(tcp));
    }
    let name = ServerName::try_from(target.host.clone()).map_err(|_| {
        NetError::lasting(
            Stage::Resolve,
            format!("{} is neither a host name nor an address", target.host),
            "correct the address in the configuration",
        )
    })?;
    match TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await {
        Ok(stream) => Ok(Wire::Tls(Box::new(stream))),
        Err(e) => Err(tls_error(&e, &target.peer())),
    }
}

/// Tries the host's addresses in turn. Each gets an equal share of the time, so that one black hole
/// (an IPv6 route that leads nowhere is the usual one) cannot eat the time of the others.
async fn connect_any(target: &Target, limit: Duration) -> Result<TcpStream, NetError> {
    let peer = target.peer();
    let addresses = resolve(target).await?;
    if !target.encrypted && !addresses.iter().all(|a| a.ip().is_loopback()) {
        return Err(NetError::lasting(
            Stage::Connect,
            format!("{peer} is another machine and the URL asks for plain text"),
            "use the encrypted scheme; plain text is for this machine alone",
        ));
    }
    let share = limit / addresses.len() as u32;
    let mut last = None;
    for address in &addresses {
        match timeout(share, connect_one(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(e)) => last = Some(e),
            Err(_) => {}
        }
    }
    let Some(e) = last else {
        return Err(NetError::timeout("connecting to", &peer, limit));
    };
    let fault = match e.kind() {
        io::ErrorKind::ConnectionRefused => Fault::Peer,
        _ => Fault::Network,
    };
    let count = addresses.len();
    let detail = if count == 1 {
        format!("{peer}: {e}")
    } else {
        format!("{peer}, the last of {count} addresses: {e}")
    };
    Err(NetError::passing(
        Stage::Connect,
        fault,
        detail,
        CHECK_NETWORK,
    ))
}

async fn connect_one(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_nodelay(true)?;
    // The times are the kernel's (two hours on Linux), because tokio offers no others. That frees a
    // dead descriptor in the end; noticing silence early is the caller's work, with pings and a
    // timer per stream.
    socket.set_keepalive(true)?;
    socket.connect(address).await
}

/// The addresses of the host, at most [`MAX_ADDRESSES`], the two families in turn, the resolver's
/// favourite first.
async fn resolve(target: &Target) -> Result<Vec<SocketAddr>, NetError> {
    if let Ok(ip) = target.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, target.port)]);
    }
    let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
    let found: Vec<SocketAddr> = found
        .map_err(|e| {
            NetError::passing(
                Stage::Resolve,
                Fault::Network,
                format!("{}: {e}", target.host),
                "check this machine's name server and the spelling of the host",
            )
        })?
        .collect();
    let addresses = interleave(&found);
    if addresses.is_empty() {
        return Err(NetError::passing(
            Stage::Resolve,
            Fault::Network,
            format!("{} has no address", target.host),
            "check this machine's name server and the spelling of the host",
        ));
    }
    Ok(addresses)
}

fn interleave(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(favourite) = found.first().map(SocketAddr::is_ipv6) else {
        return Vec::new();
    };
    let mut first = found.iter().filter(|a| a.is_ipv6() == favourite);
    let mut second = found.iter().filter(|a| a.is_ipv6() != favourite);
    let mut addresses = Vec::with_capacity(MAX_ADDRESSES);
    while addresses.len() < MAX_ADDRESSES {
        let before = addresses.len();
        addresses.extend(first.next());
        addresses.extend(second.next());
        if addresses.len() == before {
            break;
        }
    }
    addresses.truncate(MAX_ADDRESSES);
    addresses
}

fn tls_error(error: &io::Error, peer: &str) -> NetError {
    let detail = format!("{peer}: {error}");
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => NetError::passing(
            Stage::Tls,
            Fault::Peer,
            detail,
            "check this machine's clock first, then the host name and the extra certificate file",
        ),
        Some(_) => NetError::passing(
            Stage::Tls,
            Fault::Peer,
            detail,
            "check the host and the port",
        ),
        None => NetError::passing(Stage::Tls, Fault::Network, detail, CHECK_NETWORK),
    }
}

/// A TCP stream that remembers when bytes last came off it.
#[derive(Debug)]
pub(super) struct Stamped {
    tcp: TcpStream,
    clock: Clock,
    received_ns: u64,
}

/// A plain or an encrypted stream.
#[derive(Debug)]
pub(super) enum Wire {
    Plain(Stamped),
    Tls(Box<TlsStream<Stamped>>),
}

impl Wire {
    /// When the last bytes came off the TCP socket, before decryption. Unix nanoseconds of the
    /// clock given at the dial.
    pub(super) fn received_ns(&self) -> u64 {
        match self {
            Wire::Plain(stream) => stream.received_ns,
            Wire::Tls(stream) => stream.get_ref().0.received_ns,
        }
    }
}

impl AsyncRead for Stamped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.tcp).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.received_ns = (self.clock)();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stamped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Target, NetError> {
        Target::parse(url, "wss", "ws")
    }

    #[test]
    fn a_url_names_scheme_host_and_port() {
        let target = parse("wss://stream.example.com:9443/ws/a?b=c").unwrap();
        assert!(target.encrypted);
        assert_eq!(target.peer(), "stream.example.com:9443");
        assert_eq!(parse("wss://example.com").unwrap().port, 443);
        assert_eq!(parse("ws://127.0.0.1/x").unwrap().port, 80);
        let six = parse("ws://[::1]:8080/x").unwrap();
        assert_eq!(
            (six.host.as_str(), six.port, six.encrypted),
            ("::1", 8080, false)
        );
    }

    #[test]
    fn a_bad_url_is_our_fault_and_does_not_leak() {
        for url in [
            "",
            "wss://",
            "example.com",
            "https://example.com/",
            "wss://user:secret@example.com/",
            "wss://example.com:0/",
            "wss://example.com:99999/",
            "wss://example.com:/",
            "wss://[::1]9/",
            "wss://exa mple.com/",
            "wss:///secret",
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(
                (error.stage, error.fault, error.retry),
                (Stage::Resolve, Fault::Us, false)
            );
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn families_take_turns_and_are_bounded() {
        let four = |n: u8| SocketAddr::from(([192, 0, 2, n], 1));
        let six = |n: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, n], 1));
        assert!(interleave(&[]).is_empty());
        let found = [six(1), six(2), six(3), four(1), four(2)];
        assert_eq!(
            interleave(&found),
            [six(1), four(1), six(2), four(2), six(3)]
        );
        let many: Vec<_> = (0..20).map(four).collect();
        assert_eq!(interleave(&many), many[..MAX_ADDRESSES]);
        let odd: Vec<_> = (0..7).map(four).chain([six(1), six(2)]).collect();
        assert_eq!(interleave(&odd).len(), MAX_ADDRESSES);
    }
}
