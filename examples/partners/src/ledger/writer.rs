//! One thread writes: what queued while it synced is written and synced together.

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use tokio::sync::watch;

/// Beyond this much unwritten, the partner is busy. At a tenth of a disk's speed it is a second's worth.
pub(crate) const PENDING_BYTES_MAX: usize = 64 << 20;

/// How far the file is known to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durable {
    /// Up to this offset.
    To(u64),
    /// A write or sync failed: what is on disk is not known any more, and nothing is answered any more.
    Lost,
}

/// What waits to be written.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) pending: Vec<u8>,
    pub(crate) closed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Desk {
    pub(crate) queue: Mutex<Queue>,
    pub(crate) work: Condvar,
}

/// Writes until the queue is closed and empty, or the disk fails.
pub(crate) fn write_all(
    desk: &Arc<Desk>,
    mut file: File,
    mut end: u64,
    durable: &watch::Sender<Durable>,
) {
    let mut batch = Vec::new();
    loop {
        {
            let queue = desk.queue.lock().unwrap_or_else(PoisonError::into_inner);
            let mut queue = desk
                .work
                .wait_while(queue, |queue| queue.pending.is_empty() && !queue.closed)
                .unwrap_or_else(PoisonError::into_inner);
            if queue.pending.is_empty() {
                return;
            }
            std::mem::swap(&mut queue.pending, &mut batch);
        }
        if let Err(error) = file.write_all(&batch).and_then(|()| file.sync_data()) {
            // After a failed sync the kernel may have dropped the pages; a second try would lie.
            tracing::error!(%error, "the ledger cannot be written any more");
            durable.send_replace(Durable::Lost);
            return;
        }
        end += batch.len() as u64;
        batch.clear();
        durable.send_replace(Durable::To(end));
    }
}
