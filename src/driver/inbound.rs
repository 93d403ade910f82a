//! What waits for the node: small frames first, each queue bounded, and who sends junk is cut off.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::id::Link;

/// Heartbeats, votes, bids and claims are smaller; records, certificates, results are mostly not.
const SMALL: usize = 1024;
/// Memory of the large frames that wait.
const BULK_BYTES: usize = 64 * 1024 * 1024;
/// Frames of a connection that may be refused as junk before it is closed. An honest connection has none; a few are a
/// peer of another version.
const STRIKES: u32 = 200;

/// What reaches the loop from other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromPeer {
    /// A frame, without its topic.
    #[expect(missing_docs, reason = "the variant says it")]
    Frame { link: Link, connection: u32, bytes: Bytes },
    /// A subscription is up.
    Up(Link),
    /// A subscription broke.
    Down(Link),
}

/// The sending end, shared by whoever receives.
#[derive(Clone, Debug)]
pub struct Inbound {
    small: mpsc::Sender<FromPeer>,
    bulk: mpsc::Sender<FromPeer>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    bulk_bytes: AtomicUsize,
    dropped: AtomicU64,
    connections: Mutex<BTreeMap<u32, Connection>>,
}

#[derive(Debug)]
struct Connection {
    strikes: u32,
    /// Dropped to close it.
    end: Option<oneshot::Sender<()>>,
}

/// The receiving end: the loop's.
#[derive(Debug)]
pub struct Waiting {
    small: mpsc::Receiver<FromPeer>,
    bulk: mpsc::Receiver<FromPeer>,
    shared: Arc<Shared>,
}

/// Says when a connection has to end; dropping it forgets the connection.
#[derive(Debug)]
pub struct Watched {
    connection: u32,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
    shared: Arc<Shared>,
}

/// Both ends, for this many frames of each class.
#[must_use]
pub fn channel(queue: usize) -> (Inbound, Waiting) {
    let (small, small_out) = mpsc::channel(queue);
    let (bulk, bulk_out) = mpsc::channel(queue);
    let shared = Arc::new(Shared::default());
    (Inbound { small, bulk, shared: Arc::clone(&shared) }, Waiting { small: small_out, bulk: bulk_out, shared })
}

impl Inbound {
    /// Hands over what came in. Where small frames are too many, this waits, so that the library serves every connection in
    /// turn and TCP holds the senders back; large frames that find no room are dropped, so that they never hold up small ones.
    pub async fn put(&self, item: FromPeer) {
        let size = match &item {
            FromPeer::Frame { bytes, .. } => bytes.len(),
            FromPeer::Up(_) | FromPeer::Down(_) => 0,
        };
        if size < SMALL {
            // An error means that the loop has ended, and with it all interest.
            let _ = self.small.send(item).await;
            return;
        }
        let waiting = self.shared.bulk_bytes.fetch_add(size, Relaxed);
        if waiting + size > BULK_BYTES || self.bulk.try_send(item).is_err() {
            self.shared.bulk_bytes.fetch_sub(size, Relaxed);
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Starts to count the strikes of a connection.
    #[must_use]
    pub fn watch(&self, connection: u32) -> Watched {
        let (end, ended) = oneshot::channel();
        let entry = Connection { strikes: 0, end: Some(end) };
        self.shared.connections.lock().expect("no panic while it is held").insert(connection, entry);
        Watched { connection, ended: Mutex::new(Some(ended)), shared: Arc::clone(&self.shared) }
    }
}

impl Watched {
    /// Waits until the connection has to end.
    pub async fn closed(&self) {
        let ended = self.ended.lock().expect("no panic while it is held").take();
        if let Some(ended) = ended {
            let _ = ended.await;
        }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.connections.lock().expect("no panic while it is held").remove(&self.connection);
    }
}

impl Waiting {
    /// The next item, small ones first. Cancel-safe.
    pub async fn next(&mut self) -> Option<FromPeer> {
        let item = tokio::select! {
            biased;
            item = self.small.recv() => item,
            item = self.bulk.recv() => item,
        };
        self.taken(item)
    }

    /// A small item, if one waits.
    pub fn try_small(&mut self) -> Option<FromPeer> {
        self.small.try_recv().ok()
    }

    /// A large frame, if one waits.
    pub fn try_bulk(&mut self) -> Option<FromPeer> {
        let item = self.bulk.try_recv().ok();
        self.taken(item)
    }

    fn taken(&self, item: Option<FromPeer>) -> Option<FromPeer> {
        if let Some(FromPeer::Frame { bytes, .. }) = &item
            && bytes.len() >= SMALL
        {
            self.shared.bulk_bytes.fetch_sub(bytes.len(), Relaxed);
        }
        item
    }

    /// A frame of this connection was junk: undecodable, or its signature wrong. The connection is closed when that happens
    /// too often.
    pub fn strike(&self, connection: u32) {
        let mut connections = self.shared.connections.lock().expect("no panic while it is held");
        if let Some(entry) = connections.get_mut(&connection) {
            entry.strikes += 1;
            if entry.strikes >= STRIKES {
                entry.end = None;
            }
        }
    }

    /// Large frames that were dropped for want of room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(size: usize) -> FromPeer {
        FromPeer::Frame { link: Link(1), connection: 7, bytes: Bytes::from(vec![0; size]) }
    }

    #[tokio::test]
    async fn small_frames_come_before_large_ones_and_large_ones_are_dropped_when_full() {
        let (inbound, mut waiting) = channel(2);
        for _ in 0..3 {
            inbound.put(frame(5_000)).await;
        }
        inbound.put(frame(10)).await;
        assert_eq!(waiting.dropped(), 1);
        assert_eq!(waiting.next().await, Some(frame(10)));
        assert_eq!(waiting.try_small(), None);
        assert_eq!(waiting.try_bulk(), Some(frame(5_000)));
        assert_eq!(waiting.next().await, Some(frame(5_000)));
        assert_eq!(waiting.shared.bulk_bytes.load(Relaxed), 0);
    }

    #[tokio::test]
    async fn a_connection_that_sends_only_junk_is_told_to_end() {
        let (inbound, waiting) = channel(2);
        let watched = inbound.watch(7);
        for _ in 0..STRIKES {
            waiting.strike(7);
            waiting.strike(8);
        }
        watched.closed().await;
        drop(watched);
        assert!(waiting.shared.connections.lock().unwrap().is_empty());
    }
}
