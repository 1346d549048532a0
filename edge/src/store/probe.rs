//! Opening a database that may be damaged: first in a child process, under a time limit; a bad
//! file is set aside and a fresh one made.

use super::{CACHE_BYTES, StoreError, begin, features, gaps, path_io, state};
use crate::journal::{stamp, sync_dir};
use redb::{Builder, Database, ReadableTable, TableDefinition, TableError};
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// A check that takes longer counts as hanging. Repairing a whole 2.5 GB file took 4 s; ours hold
/// a few MB.
pub const PROBE_LIMIT: Duration = Duration::from_secs(60);

const PROBE_PAUSE: Duration = Duration::from_millis(10);
/// Most of a child's last words that are kept, in bytes.
const LAST_WORDS_BYTES: u64 = 2_048;
/// Set-aside files kept for each database; older ones are deleted, so that a dying card does not
/// fill itself up.
const MAX_SET_ASIDE: usize = 4;
const SET_ASIDE: &str = ".corrupt-";

/// Exit codes of the child: the file is sound, damaged, could not be looked at, or
/// is open elsewhere.
const EXIT_SOUND: u8 = 0;
const EXIT_DAMAGED: u8 = 10;
const EXIT_UNCHECKED: u8 = 11;
const EXIT_IN_USE: u8 = 12;
/// Signals by which a person or the service manager ends a process, not a damaged file.
const ENDED_BY_OTHERS: [i32; 4] = [1, 2, 9, 15];

/// How a file is checked before this process opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// In a child process: `<this program> probe-store <file>`, which calls [`probe_main`].
    Child(PathBuf),
    /// Here, catching panics. A file that hangs, hangs; for tests.
    InProcess,
}

/// What opening a database found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// The database is new and empty.
    pub fresh: bool,
    /// The damaged file was renamed to this: alarm, and rebuild from the journal.
    pub set_aside: Option<PathBuf>,
    /// What was wrong with it.
    pub reason: Option<String>,
}

/// What the hidden subcommand `probe-store <file>` runs and exits with: opens the file, repairs
/// it if it was not closed, and reads every row.
pub fn probe_main(path: &Path) -> u8 {
    let (code, words) = match check(path) {
        Ok(()) => return EXIT_SOUND,
        Err(StoreError::Damaged(what)) => (EXIT_DAMAGED, what),
        Err(StoreError::InUse(what)) => (EXIT_IN_USE, what),
        Err(StoreError::Io { what, .. }) => (EXIT_UNCHECKED, what),
        Err(error) => (EXIT_UNCHECKED, error.to_string()),
    };
    eprintln!("{words}");
    code
}

fn open_database(path: &Path) -> Result<Database, StoreError> {
    Ok(Builder::new().set_cache_size(CACHE_BYTES).create(path)?)
}

/// Opens again a file that this process had open and sound until a device error.
pub(super) fn reopen_database(path: &Path) -> Result<Database, StoreError> {
    Ok(Builder::new().set_cache_size(CACHE_BYTES).open(path)?)
}

fn check(path: &Path) -> Result<(), StoreError> {
    let mut db = open_database(path)?;
    if path.file_name().is_some_and(|name| name == features::FILE) {
        return features::check_features(&db);
    }
    check_database(&mut db)
}

/// Opens a file of somebody else's after a check; nothing is set aside.
pub(super) fn open_probed(path: &Path, probe: &Probe) -> Result<Database, StoreError> {
    checked(path, probe)?;
    guarded(|| reopen_database(path))
}

fn checked(path: &Path, probe: &Probe) -> Result<(), StoreError> {
    match probe {
        Probe::Child(exe) => {
            let mut command = Command::new(exe);
            command.arg("probe-store").arg(path);
            probe_child(command, PROBE_LIMIT)
        }
        Probe::InProcess => guarded(|| check(path)),
    }
}

/// Verifies the checksums of all pages and reads every row of the tables that are ours.
pub(super) fn check_database(db: &mut Database) -> Result<(), StoreError> {
    db.check_integrity()?;
    read_rows(db, state::TRADING)?;
    read_rows(db, state::CHECKPOINT)?;
    read_rows(db, state::META)?;
    read_rows(db, gaps::GAPS)
}

fn read_rows<K: redb::Key + 'static>(
    db: &Database,
    table: TableDefinition<'_, K, &'static [u8]>,
) -> Result<(), StoreError> {
    let table = match redb::ReadableDatabase::begin_read(db)?.open_table(table) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    for row in table.iter()? {
        row?;
    }
    Ok(())
}

/// Opens a database with the tables that `init` makes in it; sets a damaged file aside first.
pub(super) fn open_or_set_aside(
    path: &Path,
    now_ns: u64,
    probe: &Probe,
    init: impl Fn(&redb::WriteTransaction) -> Result<(), StoreError>,
) -> Result<(Database, OpenReport), StoreError> {
    let mut report = OpenReport::default();
    // A power cut while the file was made leaves it empty, which is as good as none.
    let exists = path.try_exists().map_err(|e| path_io(path, e))?
        && path.metadata().map_err(|e| path_io(path, e))?.len() > 0;
    if exists && let Err(error) = checked(path, probe) {
        set_aside(path, now_ns, error, &mut report)?;
    }
    let open = || -> Result<Database, StoreError> {
        let db = open_database(path)?;
        let transaction = begin(&db)?;
        init(&transaction)?;
        transaction.commit()?;
        Ok(db)
    };
    let db = match guarded(open) {
        Ok(db) => db,
        Err(error) if report.set_aside.is_none() => {
            set_aside(path, now_ns, error, &mut report)?;
            open()?
        }
        Err(error) => return Err(error),
    };
    report.fresh = !exists || report.set_aside.is_some();
    if report.fresh {
        // The name of the new file must survive a power cut as its bytes do.
        path.parent()
            .map_or(Ok(()), sync_dir)
            .map_err(|e| path_io(path, e))?;
    }
    Ok((db, report))
}

/// Runs it and makes a panic an error: damage shows as either.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no words");
        Err(StoreError::Damaged(format!("opening it panicked: {words}")))
    })
}

/// Runs the check in a child; a crash or a hang is damage.
pub(super) fn probe_child(mut command: Command, limit: Duration) -> Result<(), StoreError> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let program = PathBuf::from(command.get_program());
    let mut child = command.spawn().map_err(|e| {
        StoreError::Unchecked(format!(
            "{} could not be started to check the store: {e}",
            program.display()
        ))
    })?;
    let status = wait(&mut child, limit)
        .map_err(|e| StoreError::Unchecked(format!("the check of the store was lost: {e}")))?;
    let Some(status) = status else {
        return Err(StoreError::Damaged(format!(
            "opening it took over {} s",
            limit.as_secs()
        )));
    };
    let mut words = String::new();
    if let Some(stderr) = child.stderr.take() {
        let mut bytes = Vec::new();
        // What the child said is a courtesy; its exit code decides.
        if stderr
            .take(LAST_WORDS_BYTES)
            .read_to_end(&mut bytes)
            .is_ok()
        {
            words = String::from_utf8_lossy(&bytes).trim().to_owned();
        }
    }
    verdict(status, words)
}

/// Waits within the limit; `None` if the child had to be killed.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    for _ in 0..=limit.as_millis() / PROBE_PAUSE.as_millis() {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        thread::sleep(PROBE_PAUSE);
    }
    child.kill()?;
    child.wait()?;
    Ok(None)
}

fn verdict(status: ExitStatus, words: String) -> Result<(), StoreError> {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    match (code, status.signal()) {
        (Some(EXIT_SOUND), _) => Ok(()),
        (Some(EXIT_UNCHECKED), _) => Err(StoreError::Unchecked(words)),
        (Some(EXIT_IN_USE), _) => Err(StoreError::InUse(words)),
        (_, Some(signal)) if ENDED_BY_OTHERS.contains(&signal) => Err(StoreError::Unchecked(
            format!("the check of the store was ended by signal {signal}"),
        )),
        (Some(EXIT_DAMAGED), _) => Err(StoreError::Damaged(words)),
        _ => Err(StoreError::Damaged(format!(
            "the check ended with {status}: {words}"
        ))),
    }
}

/// Renames the file if the error means damage; passes other errors on.
pub(super) fn set_aside(
    path: &Path,
    now_ns: u64,
    error: StoreError,
    report: &mut OpenReport,
) -> Result<(), StoreError> {
    let StoreError::Damaged(reason) = error else {
        return Err(error);
    };
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(format!("{SET_ASIDE}{}", stamp(now_ns)));
    let name = PathBuf::from(name);
    fs::rename(path, &name).map_err(|e| path_io(path, e))?;
    tracing::error!(file = %name.display(), %reason, "damaged store set aside");
    prune(path);
    report.set_aside = Some(name);
    report.reason = Some(reason);
    Ok(())
}

/// Deletes all but the newest set-aside files of a database. Their names sort by time.
fn prune(path: &Path) {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return;
    };
    let prefix = format!("{name}{SET_ASIDE}");
    let Ok(list) = fs::read_dir(dir) else { return };
    let mut files: Vec<PathBuf> = list
        .filter_map(Result::ok)
        .filter(|entry| {
            entry
                .file_name()
                .to_str()
                .is_some_and(|n| n.starts_with(&prefix))
        })
        .map(|entry| entry.path())
        .collect();
    files.sort_unstable();
    for file in files.iter().rev().skip(MAX_SET_ASIDE) {
        if let Err(error) = fs::remove_file(file) {
            tracing::warn!(file = %file.display(), %error, "old damaged store not deleted");
        }
    }
}
