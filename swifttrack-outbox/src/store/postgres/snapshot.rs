//! `pg_snapshot`, as the reader's cursor.

/// What `pg_current_snapshot()` said: `xmin:xmax:xip_list`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    text: String,
    /// Where the numbers begin that were not given out yet.
    xmax: String,
    /// The transactions that were open.
    xip: Vec<String>,
}

impl Snapshot {
    /// None if it is not a snapshot.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, ':');
        let (_xmin, xmax, xip) = (parts.next()?, parts.next()?, parts.next()?);
        xmax.parse::<u64>().ok()?;
        let xip: Vec<String> = xip
            .split(',')
            .filter(|x| !x.is_empty())
            .map(str::to_owned)
            .collect();
        Some(Self {
            text: text.to_owned(),
            xmax: xmax.to_owned(),
            xip,
        })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn xmax(&self) -> &str {
        &self.xmax
    }

    pub(crate) fn xip(&self) -> &[String] {
        &self.xip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_taken_apart() {
        let busy = Snapshot::parse("10:20:10,14,15").unwrap();
        assert_eq!((busy.xmax(), busy.xip().len()), ("20", 3));
        let quiet = Snapshot::parse("20:20:").unwrap();
        assert!(quiet.xip().is_empty());
        assert_eq!(quiet.text(), "20:20:");
        assert!(Snapshot::parse("20").is_none());
    }
}
