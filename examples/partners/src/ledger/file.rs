//! The file under the ledger: opened under a lock, read back, cut where it was torn.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::row::{LINE_BYTES_MAX, decode, encode};
use crate::Error;

const VERSION: u32 = 1;

/// The first line: a file of another partner is not taken for ours.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    partner: String,
    version: u32,
}

/// A ledger's file, ready to be appended to.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    /// Where the next row goes.
    pub(crate) end: u64,
}

/// Opens `<dir>/<partner>.ledger`, makes it if there is none, and hands each row to `each`
/// with its place. `each` says what is wrong with a row.
///
/// A last line without its line feed was never synced, so never answered: it
/// is cut off. Any other line that is not whole is an error, since what was
/// answered would be forgotten.
///
/// # Errors
///
/// The directory or file cannot be made or read; another process has it; a
/// line other than a torn last one is damaged.
pub(crate) fn open(
    dir: &Path,
    partner: &str,
    mut each: impl FnMut(&[u8], u64) -> Result<(), String>,
) -> Result<Opened, Error> {
    let path = dir.join(format!("{partner}.ledger"));
    let failed = |doing| {
        let path = path.clone();
        move |source| Error::ledger(&path, doing, source)
    };
    std::fs::create_dir_all(dir).map_err(failed("make the folder of"))?;
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(&path)
        .map_err(failed("open"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(Error::ledger_in_use(&path)),
        Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
    }

    let head = Head {
        partner: partner.to_owned(),
        version: VERSION,
    };
    let mut line = Vec::new();
    let mut lines = BufReader::with_capacity(1 << 20, &file);
    let (mut end, mut number) = (0, 0_u64);
    loop {
        line.clear();
        let read = (&mut lines)
            .take(LINE_BYTES_MAX as u64)
            .read_until(b'\n', &mut line)
            .map_err(failed("read"))?;
        number += 1;
        let damaged = |what: &str| Error::ledger_damaged(&path, number, what);
        if read == 0 {
            break;
        }
        if line.pop_if(|last| *last == b'\n').is_none() {
            if read == LINE_BYTES_MAX {
                return Err(damaged("it is longer than any row"));
            }
            tracing::warn!(path = %path.display(), line = number, "cutting off a torn last line");
            break;
        }
        let json = decode(&line).ok_or_else(|| damaged("its checksum is wrong"))?;
        if number == 1 {
            let found: Head = serde_json::from_slice(json).map_err(|e| damaged(&e.to_string()))?;
            if found != head {
                return Err(damaged("it names another partner or version"));
            }
        } else {
            each(json, end).map_err(|what| damaged(&what))?;
        }
        end += read as u64;
    }
    drop(lines);

    file.set_len(end).map_err(failed("cut"))?;
    if end == 0 {
        let mut first = Vec::new();
        encode(&mut first, &head).map_err(|e| failed("write")(e.into()))?;
        file.write_all(&first).map_err(failed("write"))?;
        end = first.len() as u64;
    }
    // Also what an earlier process wrote and did not live to sync: it is about to be answered from.
    file.sync_all().map_err(failed("sync"))?;
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed("sync the folder of"))?;
    Ok(Opened { file, path, end })
}

/// Reads `bytes` from `offset` on.
pub(crate) fn read_at(mut file: &File, offset: u64, bytes: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; bytes];
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(&mut buffer)?;
    Ok(buffer)
}
