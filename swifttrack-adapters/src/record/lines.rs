//! Files of one JSON object a line.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub(super) fn load<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, CassetteError> {
    let failed = |line, source| CassetteError {
        path: path.display().to_string(),
        line,
        source,
    };
    let length = fs::metadata(path)
        .map_err(|error| failed(0, error.into()))?
        .len();
    if length > FILE_BYTES_MAX {
        return Err(failed(0, "it is longer than 64 MiB".into()));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(0, error.into()))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    lines
        .map(|(n, line)| serde_json::from_str(line).map_err(|error| failed(n + 1, error.into())))
        .collect()
}

pub(super) fn save(path: &Path, rows: &[impl Serialize]) -> Result<(), CassetteError> {
    let write = || -> io::Result<()> {
        let mut file = io::BufWriter::new(fs::File::create(path)?);
        for row in rows {
            serde_json::to_writer(&mut file, row)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    };
    write().map_err(|error| CassetteError {
        path: path.display().to_string(),
        line: 0,
        source: error.into(),
    })
}

/// A cassette could not be read or written.
#[derive(Debug)]
pub struct CassetteError {
    path: String,
    line: usize,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl fmt::Display for CassetteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the cassette {}", self.path)?;
        match self.line {
            0 => Ok(()),
            line => write!(f, ", line {line}"),
        }?;
        f.write_str(", cannot be used")
    }
}

impl std::error::Error for CassetteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}
