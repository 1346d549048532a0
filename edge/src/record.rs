//! `tickerml-edge record`: captures of the venues' frames, as replay reads them.
//!
//! One file per venue and hour: `<venue>-<UTC stamp>.jsonl.zst`, each line `<receive ns> <frame>`
//! with the frame's exact text; REST snapshots stand where they arrived. A file is compressed as one
//! stream, flushed every few seconds, and finished when its hour is over or the program ends.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tickerml_shared::instrument::Venue;
use tickerml_shared::time::{MINUTES, SECONDS, Time};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::clock;
use crate::config::Config;
use crate::feed::{self, CHANNEL_LINES, CHANNEL_UPDATES, Line};
use crate::net::tls;
use crate::run::channels;
use crate::venue::session::Session;

/// A file covers so much time.
const ROTATE_EVERY_NS: u64 = 60 * MINUTES;
/// What was received reaches the file at the latest after this time.
const FLUSH_EVERY: Duration = Duration::from_secs(5);
/// zstd level: captures repeat themselves, and this machine is small.
const LEVEL: i32 = 3;

/// What was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Files, with their lines.
    pub files: Vec<(PathBuf, u64)>,
    /// Lines lost because the disk was behind.
    pub lost: u64,
}

/// Records every venue of the configuration into `dir`, until a signal or for so many seconds.
///
/// # Errors
/// One line with cause and remedy.
pub async fn record(config: &Config, dir: &Path, seconds: Option<u64>) -> Result<Recorded, String> {
    std::fs::create_dir_all(dir).map_err(|error| {
        format!(
            "{}: {error}: --out must be a writable folder",
            dir.display()
        )
    })?;
    let mut writers = Vec::new();
    let (updates, mut drain) = mpsc::channel(CHANNEL_UPDATES);
    let mut feeds = Vec::new();
    for venue in &config.venues {
        let tls =
            tls::client_config(venue.ca_file.as_deref()).map_err(|error| error.to_string())?;
        let (tap, lines) = mpsc::channel(CHANNEL_LINES);
        let instruments = &venue.instruments;
        for channel in channels(venue.venue) {
            let (endpoint, seed) = (venue.endpoint.clone(), config.setup.seed);
            let session = Session::new(venue.venue, *channel, endpoint, instruments.clone(), seed);
            feeds.push(feed::spawn(
                session,
                Arc::clone(&tls),
                updates.clone(),
                Some(tap.clone()),
            ));
        }
        writers.push(tokio::spawn(write(venue.venue, dir.to_owned(), lines)));
    }
    drop(updates);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let deadline = sleep(Duration::from_secs(seconds.unwrap_or(u64::MAX / 4)));
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
            () = &mut deadline => break,
            // Sessions must see that their updates are taken; the frames are what is kept.
            update = drain.recv() => if update.is_none() { break },
        }
    }
    let mut recorded = Recorded::default();
    for feed in feeds {
        recorded.lost += feed.status().lines_lost;
        feed.stop().await;
    }
    for writer in writers {
        let files = writer.await.map_err(|error| error.to_string())?;
        recorded
            .files
            .extend(files.map_err(|error| format!("{}: {error}", dir.display()))?);
    }
    Ok(recorded)
}

/// Writes one venue's lines until its connections end.
async fn write(
    venue: Venue,
    dir: PathBuf,
    mut lines: mpsc::Receiver<Line>,
) -> io::Result<Vec<(PathBuf, u64)>> {
    let mut file: Option<Capture> = None;
    let mut files = Vec::new();
    let mut flush = interval(FLUSH_EVERY);
    flush.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            line = lines.recv() => {
                let Some(line) = line else { break };
                let hour = line.received_ns / ROTATE_EVERY_NS;
                if file.as_ref().is_some_and(|file| file.hour != hour)
                    && let Some(full) = file.take()
                {
                    files.push(full.finish()?);
                }
                let open = match &mut file {
                    Some(open) => open,
                    None => file.insert(Capture::create(&dir, venue, clock::now())?),
                };
                open.line(&line)?;
            }
            _ = flush.tick() => if let Some(open) = &mut file { open.stream.flush()? },
        }
    }
    if let Some(last) = file {
        files.push(last.finish()?);
    }
    Ok(files)
}

/// A file being written.
struct Capture {
    path: PathBuf,
    hour: u64,
    lines: u64,
    stream: zstd::stream::write::Encoder<'static, BufWriter<File>>,
}

impl Capture {
    /// A new file; one that exists is never written over.
    fn create(dir: &Path, venue: Venue, now: Time) -> io::Result<Self> {
        let (year, month, day) = now.civil();
        let seconds = now.0 / SECONDS % 86_400;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let stamp = format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z");
        let path = dir.join(format!("{venue}-{stamp}.jsonl.zst"));
        let file = File::options().write(true).create_new(true).open(&path)?;
        let stream = zstd::stream::write::Encoder::new(BufWriter::new(file), LEVEL)?;
        Ok(Self {
            path,
            hour: now.0 / ROTATE_EVERY_NS,
            lines: 0,
            stream,
        })
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        self.lines += 1;
        writeln!(self.stream, "{} {}", line.received_ns, line.text)
    }

    fn finish(self) -> io::Result<(PathBuf, u64)> {
        let mut file = self.stream.finish()?;
        file.flush()?;
        file.get_ref().sync_all()?;
        Ok((self.path, self.lines))
    }
}
