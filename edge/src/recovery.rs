//! Start-up is recovery: newest checkpoint, journal tail, durable trading events. No other path.
//!
//! The checkpoint holds the whole state; the journal every record since; the store the trading
//! events since, each committed before it took effect. After a power cut the journal's last seconds
//! may be missing while the trading events that followed them are not: those are applied on top, so
//! nothing that was acknowledged is lost. A checkpoint that does not hash to what it says is passed
//! over and the state rebuilt from the journal.

use std::fmt;
use std::path::Path;

use tickerml_shared::engine::{Engine, Setup};
use tickerml_shared::event::{Event, Record};
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
    /// Trading events applied from the store, because the journal no longer had them.
    pub restored: Vec<Record>,
    /// The newest number that was ever journaled or committed.
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
    if journal_dir.is_dir() {
        replay(&mut engine, journal_dir, &mut found)?;
    }
    found.last_seq = engine.seq();
    for (seq, bytes) in loaded.trading.iter().filter(|(seq, _)| *seq > engine.seq()) {
        match postcard::from_bytes::<Record>(bytes) {
            Ok(record) => found.restored.push(record),
            Err(error) => found.troubles.push(format!("trading event {seq}: {error}")),
        }
    }
    for record in &found.restored {
        apply(&mut engine, record);
        found.last_seq = record.seq;
    }
    Ok((engine, found))
}

/// A checkpoint as stored: the state's hash, then the state.
#[must_use]
pub fn seal_checkpoint(engine: &Engine) -> Vec<u8> {
    let mut bytes = engine.state_hash().to_vec();
    bytes.extend(engine.checkpoint());
    bytes
}

/// The state in a checkpoint, when it is whole.
fn open_checkpoint(bytes: &[u8]) -> Option<&[u8]> {
    let (hash, state) = bytes.split_at_checked(32)?;
    let probe = Engine::restored_hash(state)?;
    (probe == hash).then_some(state)
}

/// Applies the journal's records after the engine's own.
fn replay(engine: &mut Engine, dir: &Path, found: &mut Recovered) -> Result<(), RecoveryError> {
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
                            apply(engine, &record);
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

/// Whether an event must be in the store before it takes effect.
#[must_use]
pub const fn is_trading(event: &Event) -> bool {
    matches!(
        event,
        Event::Report(_) | Event::Mark(_) | Event::Operator(_)
    )
}
