//! Operator commands to a running edge: a socket in its data folder, guarded by file permissions.
//!
//! One line in, one line out. `status` answers with the page's snapshot as JSON; the others answer
//! when the command is durable and has taken effect.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tickerml_shared::event::REASON_BYTES;
use tickerml_shared::instrument::{Instrument, InstrumentId};
use tickerml_shared::risk::state::Scope;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Longest command line.
const MAX_LINE: usize = 512;
/// Longest answer: a snapshot of 64 instruments is well below it.
const MAX_ANSWER: u64 = 4 << 20;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);
/// Commands that may wait for the desk.
pub const CHANNEL_COMMANDS: usize = 16;

/// What can be asked of a running edge. On the socket: the name, then its words, with tabs between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The snapshot.
    Status,
    /// Stop trading.
    Halt {
        /// Of what, as [`scope`] reads it.
        scope: String,
    },
    /// Trade again.
    Resume {
        /// Of what, as [`scope`] reads it.
        scope: String,
        /// Why.
        reason: String,
    },
    /// Stop trading and close every position.
    Flatten,
}

impl Ask {
    /// The question in a line.
    ///
    /// # Errors
    /// What is wrong with it, and what there is.
    pub fn from_line(line: &str) -> Result<Self, String> {
        let mut words = line.trim_end_matches(['\r', '\n']).split('\t');
        let name = words.next().unwrap_or_default();
        let mut word = || words.next().unwrap_or_default().trim().to_owned();
        match name {
            "status" => Ok(Self::Status),
            "halt" => Ok(Self::Halt { scope: word() }),
            "resume" => {
                let (scope, reason) = (word(), word());
                if reason.is_empty() || reason.len() > REASON_BYTES {
                    return Err(format!(
                        "resume needs a reason of 1 to {REASON_BYTES} bytes: it is written down"
                    ));
                }
                Ok(Self::Resume { scope, reason })
            }
            "flatten" => Ok(Self::Flatten),
            _ => Err(format!(
                "{name:?} is no command; there are status, halt, resume and flatten"
            )),
        }
    }

    /// As a line of the socket.
    #[must_use]
    pub fn line(&self) -> String {
        // A tab or a line break inside a word would end it.
        let plain = |word: &str| word.replace(['\t', '\r', '\n'], " ");
        match self {
            Self::Status => "status".to_owned(),
            Self::Halt { scope } => format!("halt\t{}", plain(scope)),
            Self::Resume { scope, reason } => {
                format!("resume\t{}\t{}", plain(scope), plain(reason))
            }
            Self::Flatten => "flatten".to_owned(),
        }
    }
}

/// What a scope's text means: nothing or `portfolio`, a venue's name, or `venue:symbol`.
///
/// # Errors
/// What there is instead.
pub fn scope(text: &str, instruments: &[Instrument]) -> Result<Scope, String> {
    if matches!(text, "" | "portfolio") {
        return Ok(Scope::Portfolio);
    }
    let (venue, symbol) = text.split_once(':').unwrap_or((text, ""));
    let known = |instrument: &Instrument| instrument.venue.name() == venue;
    let place = instruments.iter().position(|instrument| {
        known(instrument) && (symbol.is_empty() || instrument.symbol == symbol)
    });
    match place {
        Some(place) if symbol.is_empty() => Ok(Scope::Venue(instruments[place].venue)),
        Some(place) => Ok(Scope::Instrument(InstrumentId(
            u16::try_from(place).unwrap_or(u16::MAX),
        ))),
        None => Err(format!(
            "{text:?} is no scope; write portfolio, a venue such as {}, or {}",
            instruments
                .first()
                .map_or("kraken", |first| first.venue.name()),
            instruments.first().map_or_else(
                || "kraken:BTC/USD".to_owned(),
                |first| format!("{}:{}", first.venue, first.symbol)
            ),
        )),
    }
}

/// A question and where its answer goes.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub ask: Ask,
    /// One line.
    pub answer: oneshot::Sender<String>,
}

/// The socket's place.
#[must_use]
pub fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("control.sock")
}

/// Listens on the socket; questions go to `questions`. The caller holds the data folder's lock, so a
/// socket that is there already is a dead one.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(data_dir: &Path, questions: mpsc::Sender<Question>) -> io::Result<()> {
    let path = path(data_dir);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // One at a time: an operator is one person.
            if timeout(PATIENCE, serve(stream, &questions)).await.is_err() {
                tracing::warn!("a control connection was too slow");
            }
        }
    });
    Ok(())
}

async fn serve(mut stream: tokio::net::UnixStream, questions: &mpsc::Sender<Question>) {
    let mut line = [0; MAX_LINE];
    let mut length = 0;
    while length < MAX_LINE && !line[..length].contains(&b'\n') {
        match stream.read(&mut line[length..]).await {
            Ok(0) | Err(_) => break,
            Ok(count) => length += count,
        }
    }
    let line = String::from_utf8_lossy(&line[..length]);
    let answer = match Ask::from_line(&line) {
        Err(cause) => format!("error: {cause}"),
        Ok(ask) => {
            let (answer, answered) = oneshot::channel();
            match questions.send(Question { ask, answer }).await {
                Ok(()) => answered
                    .await
                    .unwrap_or_else(|_| "error: the edge is stopping".to_owned()),
                Err(_) => "error: the edge is stopping".to_owned(),
            }
        }
    };
    let _ = stream.write_all(format!("{answer}\n").as_bytes()).await;
}

/// Asks the edge that runs on this data folder.
///
/// # Errors
/// One line that says why there is no answer, and what to do.
pub fn ask(data_dir: &Path, ask: &Ask) -> Result<String, String> {
    let path = path(data_dir);
    let failed = |error: io::Error| {
        format!(
            "{}: {error}: is `tickerml-edge run` running on this data folder?",
            path.display()
        )
    };
    let mut stream = UnixStream::connect(&path).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream
        .write_all(format!("{}\n", ask.line()).as_bytes())
        .map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream.take(MAX_ANSWER))
        .read_line(&mut answer)
        .map_err(failed)?;
    let answer = answer.trim_end().to_owned();
    match answer.strip_prefix("error: ") {
        Some(error) => Err(error.to_owned()),
        None if answer.is_empty() => Err(format!("{}: the edge gave no answer", path.display())),
        None => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use tickerml_shared::instrument::Venue;

    use super::*;

    #[test]
    fn a_question_survives_its_line() {
        for ask in [
            Ask::Status,
            Ask::Flatten,
            Ask::Halt {
                scope: "kraken:BTC/USD".to_owned(),
            },
            Ask::Resume {
                scope: String::new(),
                reason: "the feed is back".to_owned(),
            },
        ] {
            assert_eq!(Ask::from_line(&format!("{}\n", ask.line())), Ok(ask));
        }
        let sly = Ask::Resume {
            scope: String::new(),
            reason: "a\tb\nhalt".to_owned(),
        };
        assert_eq!(sly.line(), "resume\t\ta b halt");
        for (line, wanted) in [
            ("resume", "reason"),
            ("restart", "no command"),
            ("", "no command"),
        ] {
            let error = Ask::from_line(line).expect_err(line);
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }

    #[test]
    fn a_scope_is_portfolio_venue_or_instrument() {
        let instruments = [
            Instrument::unknown(Venue::Binance, "BTCUSDT").expect("short"),
            Instrument::unknown(Venue::Kraken, "BTC/USD").expect("short"),
        ];
        let scope = |text| scope(text, &instruments);
        assert_eq!(scope(""), Ok(Scope::Portfolio));
        assert_eq!(scope("kraken"), Ok(Scope::Venue(Venue::Kraken)));
        assert_eq!(
            scope("kraken:BTC/USD"),
            Ok(Scope::Instrument(InstrumentId(1)))
        );
        for unknown in ["coinbase", "kraken:ETH/USD", "binance:BTC/USD"] {
            let error = scope(unknown).expect_err(unknown);
            assert!(error.contains("binance:BTCUSDT"), "{error}");
        }
    }
}
