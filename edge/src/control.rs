//! Operator commands to a running edge: a socket in its data folder, guarded by file permissions.
//!
//! One line in, one line out. `status` answers with the page's snapshot as JSON; the others answer
//! when the command is durable and has taken effect.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tickerml_shared::event::{HaltCause, Operator};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// Longest command line.
const MAX_LINE: usize = 64;
/// Longest answer: a snapshot of 64 instruments is well below it.
const MAX_ANSWER: u64 = 4 << 20;
/// How long either side waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);
/// Commands that may wait for the desk.
pub const CHANNEL_COMMANDS: usize = 16;

/// What can be asked of a running edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// The snapshot.
    Status,
    /// A command that changes the desk.
    Operate(Operator),
}

impl Ask {
    /// The question of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "status" => Self::Status,
            "halt" => Self::Operate(Operator::Halt(HaltCause::Command)),
            "resume" => Self::Operate(Operator::Resume),
            "flatten" => Self::Operate(Operator::Flatten(HaltCause::Command)),
            _ => return None,
        })
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
    let name = String::from_utf8_lossy(&line[..length]).trim().to_owned();
    let answer = match Ask::from_name(&name) {
        None => {
            format!("error: {name:?} is no command; there are status, halt, resume and flatten")
        }
        Some(ask) => {
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
pub fn ask(data_dir: &Path, name: &str) -> Result<String, String> {
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
        .write_all(format!("{name}\n").as_bytes())
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
