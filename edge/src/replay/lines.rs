//! The lines of a capture, whatever it is packed in.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use tickerml_shared::instrument::Venue;
use tickerml_shared::time::Time;

use super::ReplayError;
use crate::venue::session::Session;

/// Longest line of a capture: a Coinbase snapshot has a few megabytes.
const MAX_LINE_BYTES: usize = 32 << 20;

/// How a capture ends.
pub(super) enum Ending {
    /// As it should.
    Whole,
    /// In the middle of its compressed stream; the line there is left out.
    Torn,
}

/// The lines of a capture, decompressed, with their receive stamps. Understands plain
/// `<stamp> <frame>` lines (nanoseconds or seconds), bare frames, and cryptofeed's recordings.
pub(super) fn for_each_line(
    path: &Path,
    venue: Venue,
    mut each: impl FnMut(Option<Time>, &str),
) -> Result<Ending, ReplayError> {
    let failed = |error: io::Error| {
        ReplayError(format!(
            "{}: {error}: is it a capture that this user can read?",
            path.display()
        ))
    };
    let mut reader = open(path).map_err(failed)?;
    let session = Session::capture(venue);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut reader)
            .take(MAX_LINE_BYTES as u64)
            .read_until(b'\n', &mut line);
        match read {
            Ok(0) => return Ok(Ending::Whole),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Ending::Torn),
            Err(error) => return Err(failed(error)),
        }
        // A damaged line is a damaged frame, not a damaged capture.
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        if text.is_empty() {
            continue;
        }
        match split(text) {
            Line::Frame(received, frame) => each(received, frame),
            Line::Reply {
                received,
                url,
                body,
            } => {
                let symbol = url
                    .split_once("symbol=")
                    .map(|(_, rest)| rest.split('&').next().unwrap_or(rest));
                let wrapped =
                    symbol.and_then(|symbol| session.dialect().capture_snapshot(symbol, body));
                if let Some(wrapped) = wrapped {
                    each(received, &wrapped);
                }
            }
            Line::Note => {}
        }
    }
}

fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let mut file = BufReader::new(File::open(path)?);
    let magic = file.fill_buf()?;
    Ok(if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(
            file,
        )?))
    } else if magic.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(file)))
    } else {
        Box::new(file)
    })
}

/// What a line of a capture is.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Frame(Option<Time>, &'a str),
    /// A REST answer of a cryptofeed recording.
    Reply {
        received: Option<Time>,
        url: &'a str,
        body: &'a str,
    },
    /// Something that no venue sent.
    Note,
}

fn split(line: &str) -> Line<'_> {
    if let Some((url, rest)) = line.split_once(" -> ")
        && url.starts_with("http")
    {
        return match rest.split_once(": ") {
            Some((stamp, body)) => Line::Reply {
                received: self::stamp(stamp),
                url,
                body,
            },
            None => Line::Note,
        };
    }
    if line.starts_with("wss:") || line.starts_with("ws:") || line.starts_with("configuration:") {
        return Line::Note;
    }
    match line.split_once(' ') {
        Some((first, frame)) => match stamp(first.trim_end_matches(':')) {
            Some(received) => Line::Frame(Some(received), frame),
            None => Line::Frame(None, line),
        },
        None => Line::Frame(None, line),
    }
}

/// Nanoseconds as an integer, or seconds with or without decimals.
fn stamp(text: &str) -> Option<Time> {
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return None;
    }
    match text.split_once('.') {
        None => text.parse().ok().map(Time::from_epoch),
        Some((whole, fraction)) => {
            let digits: String = fraction
                .chars()
                .chain("000000000".chars())
                .take(9)
                .collect();
            let seconds: u64 = whole.parse().ok()?;
            Some(Time(
                seconds
                    .checked_mul(1_000_000_000)?
                    .checked_add(digits.parse().ok()?)?,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_told_apart() {
        let frame = |stamp: u64, text| Line::Frame(Some(Time(stamp)), text);
        assert_eq!(
            split(r#"1723161253937085768 {"a":1}"#),
            frame(1_723_161_253_937_085_768, r#"{"a":1}"#)
        );
        assert_eq!(
            split(r#"1633998512.0633569: {"a":1}"#),
            frame(1_633_998_512_063_356_900, r#"{"a":1}"#)
        );
        assert_eq!(split(r#"{"a": 1}"#), Line::Frame(None, r#"{"a": 1}"#));
        assert_eq!(split("wss://x <-> 1.5"), Line::Note);
        assert_eq!(
            split("https://x/depth?symbol=A&limit=5 -> 1.5: {}"),
            Line::Reply {
                received: Some(Time(1_500_000_000)),
                url: "https://x/depth?symbol=A&limit=5",
                body: "{}"
            }
        );
    }
}
