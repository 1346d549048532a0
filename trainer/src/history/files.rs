//! Files as they are shipped: plain, gzip, zstd or zip, with a bar that shows how far a reader is.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest as _, Sha256};
use zip::{CompressionMethod, ZipArchive};

use super::HistoryError;

/// The first bytes of a zip archive.
const ZIP: &[u8] = b"PK\x03\x04";
/// The first bytes of a zstd frame.
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// The first bytes of a gzip member.
const GZIP: &[u8] = &[0x1f, 0x8b];
/// Bytes read at once when a file is fingerprinted.
const CHUNK_BYTES: usize = 1 << 20;

/// A decompressed file.
pub(super) type Stream = Box<dyn BufRead>;

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing is printed.
    Quiet,
    /// A bar for each file on standard error, when it is a terminal.
    Bars,
}

impl Progress {
    fn bar(self, path: &Path, bytes: u64) -> ProgressBar {
        if self == Self::Quiet {
            return ProgressBar::hidden();
        }
        // Hides itself where standard error is no terminal.
        let style =
            ProgressStyle::with_template("{msg:40!} {wide_bar} {bytes}/{total_bytes} {eta}");
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let bar = ProgressBar::new(bytes).with_message(name);
        match style {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }
}

/// An error about a file.
pub(super) fn unreadable(path: &Path, cause: impl fmt::Display) -> HistoryError {
    HistoryError(format!(
        "{}: {cause}: is it whole, and readable for this user?",
        path.display()
    ))
}

/// Opens a file, whatever it is packed in. A zip archive must hold one file, or one that ends in `.npy`.
pub(super) fn open(path: &Path, progress: Progress) -> Result<Stream, HistoryError> {
    try_open(path, progress).map_err(|error| unreadable(path, error))
}

fn try_open(path: &Path, progress: Progress) -> io::Result<Stream> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    let mut magic = [0; 4];
    let mut read = 0;
    while read < magic.len() {
        match file.read(&mut magic[read..])? {
            0 => break,
            more => read += more,
        }
    }
    let magic = &magic[..read];
    file.seek(SeekFrom::Start(0))?;
    if magic.starts_with(ZIP) {
        return unzipped(file, progress.bar(path, bytes));
    }
    let file = BufReader::new(progress.bar(path, bytes).wrap_read(file));
    Ok(if magic.starts_with(ZSTD) {
        Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(
            file,
        )?))
    } else if magic.starts_with(GZIP) {
        Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

/// The one file of an archive, or its first `.npy`, as a stream.
fn unzipped(mut file: File, bar: ProgressBar) -> io::Result<Stream> {
    let (start, length, method) = {
        let mut archive = ZipArchive::new(&mut file)?;
        let npy = archive
            .file_names()
            .find(|name| name.ends_with(".npy"))
            .map(str::to_owned);
        let names = archive.len();
        let entry = match npy {
            Some(name) => archive.by_name(&name)?,
            None if names == 1 => archive.by_index(0)?,
            None => {
                return Err(io::Error::other(format!(
                    "the archive holds {names} files; unpack it and name them one by one"
                )));
            }
        };
        (
            entry.data_start(),
            entry.compressed_size(),
            entry.compression(),
        )
    };
    file.seek(SeekFrom::Start(start))?;
    let packed = bar.wrap_read(file).take(length);
    match method {
        CompressionMethod::Stored => Ok(Box::new(BufReader::new(packed))),
        CompressionMethod::Deflated => Ok(Box::new(BufReader::new(
            flate2::read::DeflateDecoder::new(packed),
        ))),
        other => Err(io::Error::other(format!(
            "the archive is packed with {other}; pack it with deflate, or unpack it"
        ))),
    }
}

/// The SHA-256 of a file's bytes.
pub(super) fn fingerprint(path: &Path) -> Result<[u8; 32], HistoryError> {
    let attempt = || -> io::Result<[u8; 32]> {
        let mut file = File::open(path)?;
        let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK_BYTES]);
        loop {
            match file.read(&mut chunk)? {
                0 => return Ok(hash.finalize().into()),
                read => hash.update(&chunk[..read]),
            }
        }
    };
    attempt().map_err(|error| unreadable(path, error))
}
