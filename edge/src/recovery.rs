//! Start-up is recovery: newest checkpoint, journal tail, durable trading events. No other path.
//!
//! The checkpoint holds the whole state; the journal every record since; the store the trading
//! events since, each committed before it took effect. After a power cut the journal's last seconds
//! may be missing while the trading events among them are not, and a disk that was full for a while
//! leaves a hole: journal and store are merged by number, so nothing that was acknowledged is lost.
//! A checkpoint may be ahead of the journal on the device; then the records before it stay missing
//! there, and numbers go on above both. A checkpoint that does not hash to what it says is passed
//! over and the state rebuilt from the journal; where the journal no longer holds the account's
//! beginning, there is nothing to rebuild from, and the start is refused.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;

use tickerml_shared::engine::{Engine, Setup};
use tickerml_shared::event::Record;
use tickerml_shared::record::Decoder;

use crate::journal::{self, Item};
use crate::store::Loaded;

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The checkpoint's `seq`, when one was used.
    pub checkpoint: Option<u64>,
    /// Records replayed from the journal.
    pub replayed: u64,
    /// The number of the first of them.
    pub first_replayed: Option<u64>,
    /// Trading events applied from the store that the journal lacks between records it has.
    pub bridged: u64,
    /// Trading events applied from the store behind the journal's end: to be journaled again.
    pub restored: Vec<Record>,
    /// The newest number found anywhere, in a damaged checkpoint too: go on above it.
    pub last_seq: u64,
    /// What was wrong, one line each.
    pub troubles: Vec<String>,
}

/// Why there is no way to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryError(pub String);

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RecoveryError {}

/// Rebuilds the engine.
///
/// # Errors
/// When the configuration does not fit the state, or the journal's folder cannot be read.
pub fn recover(
    setup: Setup,
    loaded: &Loaded,
    journal_dir: &Path,
) -> Result<(Engine, Recovered), RecoveryError> {
    let mut found = Recovered::default();
    let mut engine = match &loaded.checkpoint {
        None => Engine::new(setup),
        Some((seq, bytes)) => match open_checkpoint(bytes) {
            None => {
                found.troubles.push(format!(
                    "the checkpoint at {seq} does not hash to what it says"
                ));
                Engine::new(setup)
            }
            Some(state) => {
                let engine = Engine::restore(setup, state)
                    .map_err(|error| RecoveryError(format!("checkpoint at {seq}: {error}")))?;
                found.checkpoint = Some(*seq);
                engine
            }
        },
    };
    let mut trading = VecDeque::new();
    for (seq, bytes) in &loaded.trading {
        match open_trading(bytes) {
            Ok(record) => trading.push_back(record),
            Err(error) => found.troubles.push(format!("trading event {seq}: {error}")),
        }
    }
    if journal_dir.is_dir() {
        replay(&mut engine, journal_dir, &mut trading, &mut found)?;
    }
    let lost = loaded.checkpoint.is_some() || !loaded.damaged.is_empty();
    if lost && found.checkpoint.is_none() && found.first_replayed != Some(1) {
        return Err(RecoveryError(
            "no checkpoint can be read, and the journal does not reach back to the beginning of the \
             account: start the release that wrote them, or move the data folder away to begin anew"
                .to_owned(),
        ));
    }
    trading.retain(|record| record.seq > engine.seq());
    found.restored = trading.into();
    for record in &found.restored {
        apply(&mut engine, record);
    }
    let numbers = loaded.trading.iter().map(|(seq, _)| *seq);
    let numbers = numbers.chain(loaded.checkpoint.iter().map(|(seq, _)| *seq));
    let numbers = numbers.chain(loaded.damaged.iter().copied());
    found.last_seq = numbers.fold(engine.seq(), u64::max);
    Ok((engine, found))
}

/// A checkpoint as stored: the state's hash, then the state.
#[must_use]
pub fn seal_checkpoint(engine: &Engine) -> Vec<u8> {
    let mut bytes = engine.state_hash().to_vec();
    bytes.extend(engine.checkpoint());
    bytes
}

/// A trading event as stored.
///
/// # Panics
/// Never: a record is plain data in memory.
#[must_use]
pub fn seal_trading(record: &Record) -> Vec<u8> {
    postcard::to_allocvec(record).expect("plain data in memory")
}

/// The trading event in a row of the store.
///
/// # Errors
/// When its bytes are damaged or of another version.
pub fn open_trading(bytes: &[u8]) -> Result<Record, postcard::Error> {
    postcard::from_bytes(bytes)
}

/// The state in a checkpoint, when it is whole.
fn open_checkpoint(bytes: &[u8]) -> Option<&[u8]> {
    let (hash, state) = bytes.split_at_checked(32)?;
    let probe = Engine::restored_hash(state)?;
    (probe == hash).then_some(state)
}

/// Applies the journal's records after the engine's own, and in its holes the store's.
fn replay(
    engine: &mut Engine,
    dir: &Path,
    trading: &mut VecDeque<Record>,
    found: &mut Recovered,
) -> Result<(), RecoveryError> {
    let failed = |error: journal::JournalError| {
        RecoveryError(format!("journal in {}: {error}", dir.display()))
    };
    let mut reader = journal::read_dir(dir).map_err(failed)?;
    reader.seek(engine.seq() + 1).map_err(failed)?;
    loop {
        match reader.next_item() {
            Ok(None) => return Ok(()),
            Ok(Some(Item::Run(_))) => {}
            Ok(Some(Item::Batch {
                first_seq,
                count,
                bytes,
                ..
            })) => {
                for record in Decoder::new(first_seq, count, bytes) {
                    match record {
                        Ok(record) if record.seq > engine.seq() => {
                            while let Some(earlier) =
                                trading.pop_front_if(|earlier| earlier.seq <= record.seq)
                            {
                                if earlier.seq > engine.seq() && earlier.seq < record.seq {
                                    apply(engine, &earlier);
                                    found.bridged += 1;
                                }
                            }
                            apply(engine, &record);
                            found.first_replayed.get_or_insert(record.seq);
                            found.replayed += 1;
                        }
                        Ok(_) => {}
                        Err(error) => {
                            found
                                .troubles
                                .push(format!("journal batch at {first_seq}: {error}"));
                            break;
                        }
                    }
                }
            }
            Ok(Some(Item::Missing { from_seq, to_seq })) => {
                if to_seq > engine.seq() {
                    found.troubles.push(format!(
                        "journal records {from_seq} to {to_seq} are missing"
                    ));
                }
            }
            Ok(Some(Item::Damaged {
                offset,
                bytes,
                reason,
            })) => {
                found
                    .troubles
                    .push(format!("journal: {bytes} bytes at {offset}: {reason}"));
            }
            Err(error) => found.troubles.push(format!("journal: {error}")),
        }
    }
}

/// Applies a record whose consequences are records themselves.
pub fn apply(engine: &mut Engine, record: &Record) {
    engine.handle(record);
    while engine.poll().is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_cannot_be_rebuilt_is_not_begun_anew_in_silence() {
        let nowhere = Path::new("/nowhere");
        let recovered = recover(Setup::market_only(Vec::new()), &Loaded::default(), nowhere);
        assert!(recovered.is_ok(), "a first start");
        let loaded = Loaded {
            checkpoint: Some((9, vec![0; 99])),
            ..Loaded::default()
        };
        let refused = recover(Setup::market_only(Vec::new()), &loaded, nowhere);
        let refused = refused
            .expect_err("no journal to rebuild it from")
            .to_string();
        assert!(refused.contains("move the data folder away"), "{refused}");
    }
}
