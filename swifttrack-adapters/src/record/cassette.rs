//! The record.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Longest cassette that is read, in bytes.
const CASSETTE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One exchange, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The request's headers, redacted and sorted.
    pub request_headers: Vec<(String, String)>,
    /// The request's body, redacted.
    pub request_body: String,
    /// The answer's status.
    pub status: u16,
    /// The answer's headers, redacted and sorted.
    pub answer_headers: Vec<(String, String)>,
    /// The answer's body, redacted.
    pub answer_body: String,
}

impl Recorded {
    pub(super) fn asks_the_same(&self, other: &Self) -> bool {
        self.method == other.method
            && self.path == other.path
            && self.request_headers == other.request_headers
            && self.request_body == other.request_body
    }
}

/// Exchanges in the order in which they were answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cassette {
    /// The exchanges.
    pub exchanges: Vec<Recorded>,
}

impl Cassette {
    /// Reads a cassette.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, is too long, or a line of it is no exchange. The error names the line.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CassetteError> {
        let path = path.as_ref();
        let failed = |line, source| CassetteError {
            path: path.display().to_string(),
            line,
            source,
        };
        let length = fs::metadata(path)
            .map_err(|error| failed(0, error.into()))?
            .len();
        if length > CASSETTE_BYTES_MAX {
            return Err(failed(0, "it is longer than 64 MiB".into()));
        }
        let text = fs::read_to_string(path).map_err(|error| failed(0, error.into()))?;
        let lines = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.is_empty());
        let exchanges = lines
            .map(|(n, line)| {
                serde_json::from_str(line).map_err(|error| failed(n + 1, error.into()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { exchanges })
    }

    /// Writes a cassette, in place of what was there.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), CassetteError> {
        let path = path.as_ref();
        let write = || -> io::Result<()> {
            let mut file = io::BufWriter::new(fs::File::create(path)?);
            for exchange in &self.exchanges {
                serde_json::to_writer(&mut file, exchange)?;
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
