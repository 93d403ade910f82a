//! What waits for the node: small frames first, each queue bounded, and who sends junk is cut off.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::front::standing::{Sentence, Standing, strikes};
use crate::guard::rate::Bucket;
use crate::id::Link;
use crate::io::{Action, Event, Refusal};
use crate::time::Time;

/// Heartbeats, votes, bids and claims are smaller; records, certificates, results are mostly not.
const SMALL: usize = 1024;
/// Memory of the large frames that wait.
const BULK_BYTES: usize = 64 * 1024 * 1024;
/// Frames that are neither junk nor of use, which a connection may bring in a second: copies of what came over another path,
/// and whatever a peer says that is not known here, or not any more. An honest one brings no more than its rate limit allows.
const IDLE_PER_SECOND: u32 = 200;
/// And at once: what a peer and the network held up for ten seconds, twice over.
const IDLE_BURST: u32 = 2_000;
/// And of an address that did wrong lately: half a second's worth.
const IDLE_BURST_OF_THE_SUSPECT: u32 = 100;
/// A connection that was dialled to us and over which nothing of use came for so long gives its place back: ten heartbeats.
const UNHEARD: Duration = Duration::from_secs(30);
/// Connections that were cut off last, of which frames may still be on their way to the loop.
const CUT_REMEMBERED: usize = 512;

/// What a frame was worth to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It was admitted.
    Useful,
    /// It had been admitted before, over another path.
    Copy,
    /// It was refused before its signature was checked, as an honest sender's frames may be: late, unknown, of another network.
    Idle,
    /// Nobody sends this who follows the protocol: it is no envelope, or its signature is wrong.
    Junk,
}

impl Worth {
    /// What follows from how the node took a frame.
    #[must_use]
    pub fn of(actions: &[Action]) -> Worth {
        let mut worth = Worth::Copy;
        for action in actions {
            match action {
                // A payload in it may be refused all the same: for that its sender answers, not the connection.
                Action::Report(Event::Accepted { .. }) => return Worth::Useful,
                Action::Report(Event::Refused { reason, .. }) if worth == Worth::Copy => {
                    worth = Worth::refused(*reason)
                }
                _ => {}
            }
        }
        worth
    }

    /// What a frame is worth that admission refuses for this reason.
    #[must_use]
    pub fn refused(reason: Refusal) -> Worth {
        match reason {
            Refusal::TooLarge | Refusal::Malformed | Refusal::WrongVersion | Refusal::BadSignature => Worth::Junk,
            // A record in an announce that is a stranger's first word was checked, and is false.
            Refusal::BadRecord => Worth::Junk,
            Refusal::WrongNetwork
            | Refusal::WrongRecipient
            | Refusal::UnknownSender
            | Refusal::Blacklisted
            | Refusal::RateLimited
            | Refusal::StaleTimestamp
            | Refusal::Replayed
            | Refusal::StaleIncarnation
            | Refusal::FromSelf
            | Refusal::TooManyMembers => Worth::Idle,
            // After admission, which reports its own event.
            Refusal::NotAMember
            | Refusal::UnknownJob
            | Refusal::TooManyJobs
            | Refusal::OutOfPlace
            | Refusal::ElectorateDiffers
            | Refusal::WrongCoordinator
            | Refusal::BadCertificate
            | Refusal::Quarantined
            | Refusal::BadTransaction
            | Refusal::ConflictingTransaction
            | Refusal::InsufficientBalance
            | Refusal::BadEvidence
            | Refusal::RetiredKey
            | Refusal::StaleRotation
            | Refusal::ForkedKey
            | Refusal::CannotOpen => Worth::Idle,
        }
    }
}

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

#[derive(Debug)]
struct Shared {
    start: Instant,
    bulk_bytes: AtomicUsize,
    dropped: AtomicU64,
    dropped_cut: AtomicU64,
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    open: BTreeMap<u32, Connection>,
    cut: VecDeque<u32>,
}

#[derive(Debug)]
struct Connection {
    standing: Arc<Standing>,
    idle: Bucket,
    /// When something of use came last, or the connection began.
    useful: Instant,
    was_of_use: bool,
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
    let shared = Arc::new(Shared {
        start: Instant::now(),
        bulk_bytes: AtomicUsize::default(),
        dropped: AtomicU64::default(),
        dropped_cut: AtomicU64::default(),
        connections: Mutex::default(),
    });
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

    /// Starts to judge a connection, whose junk is charged to `standing`.
    #[must_use]
    pub fn watch(&self, connection: u32, standing: Arc<Standing>) -> Watched {
        let (end, ended) = oneshot::channel();
        let now = Instant::now();
        // Whoever comes from an address that did wrong lately begins with little.
        let burst = if standing.is_clean(now) { IDLE_BURST } else { IDLE_BURST_OF_THE_SUSPECT };
        let idle = Bucket::full(burst, self.shared.time(now));
        let entry = Connection { standing, idle, useful: now, was_of_use: false, end: Some(end) };
        self.shared.connections.lock().expect("no panic while it is held").open.insert(connection, entry);
        Watched { connection, ended: Mutex::new(Some(ended)), shared: Arc::clone(&self.shared) }
    }

    /// The front looked at a frame itself: [`Waiting::judge`].
    pub fn judge(&self, connection: u32, worth: Worth, bytes: usize) {
        self.shared.judge(connection, worth, bytes);
    }
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Too much of what came over it was refused.
    CutOff,
    /// Nothing of use has come over it.
    Unheard,
}

impl Watched {
    /// Waits until the connection has to end. `dialled`: we asked for it, so that silence is no reason.
    pub async fn closed(&self, dialled: bool) -> End {
        let Some(mut ended) = self.ended.lock().expect("no panic while it is held").take() else { return End::CutOff };
        loop {
            if tokio::time::timeout(UNHEARD, &mut ended).await.is_ok() {
                return End::CutOff;
            }
            if !dialled && self.is_unheard(Instant::now()) {
                return End::Unheard;
            }
        }
    }

    /// Whether nothing of use came for so long that the place is better given to somebody else.
    fn is_unheard(&self, now: Instant) -> bool {
        let connections = self.shared.connections.lock().expect("no panic while it is held");
        let useful = connections.open.get(&self.connection).map(|entry| entry.useful);
        useful.is_some_and(|at| now.saturating_duration_since(at) >= UNHEARD)
    }

    /// Whether something of use has come.
    #[must_use]
    pub fn was_of_use(&self) -> bool {
        let connections = self.shared.connections.lock().expect("no panic while it is held");
        connections.open.get(&self.connection).is_some_and(|entry| entry.was_of_use)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shared.connections.lock().expect("no panic while it is held").open.remove(&self.connection);
    }
}

impl Shared {
    fn time(&self, now: Instant) -> Time {
        let since_start = now.saturating_duration_since(self.start).as_micros();
        Time(u64::try_from(since_start).expect("584,000 years"))
    }

    fn judge(&self, connection: u32, worth: Worth, bytes: usize) {
        let now = Instant::now();
        let mut connections = self.connections.lock().expect("no panic while it is held");
        let Some(entry) = connections.open.get_mut(&connection) else { return };
        let sentence = match worth {
            Worth::Useful => {
                (entry.useful, entry.was_of_use) = (now, true);
                return;
            }
            Worth::Copy | Worth::Idle => {
                if worth == Worth::Copy {
                    entry.useful = now;
                }
                if entry.idle.has_token(self.time(now), IDLE_PER_SECOND, IDLE_BURST) {
                    entry.idle.take();
                    return;
                }
                entry.standing.charge(u32::MAX, now)
            }
            Worth::Junk => entry.standing.charge(strikes(bytes), now),
        };
        let Sentence::CutOff(time) = sentence else { return };
        if entry.end.take().is_none() {
            return;
        }
        let shut_s = time.unwrap_or_default().as_secs();
        tracing::warn!(connection, ?worth, shut_s, "a connection is cut off for what came over it");
        connections.cut.push_back(connection);
        if connections.cut.len() > CUT_REMEMBERED {
            connections.cut.pop_front();
        }
    }

    /// Whether a frame is of a connection that was cut off after it came in.
    fn is_of_the_cut(&self, item: &FromPeer) -> bool {
        let FromPeer::Frame { connection, .. } = item else { return false };
        let cut = self.connections.lock().expect("no panic while it is held").cut.contains(connection);
        self.dropped_cut.fetch_add(u64::from(cut), Relaxed);
        cut
    }
}

impl Waiting {
    /// The next item, small ones first; nothing of a connection that was cut off meanwhile. Cancel-safe.
    pub async fn next(&mut self) -> Option<FromPeer> {
        loop {
            let item = tokio::select! {
                biased;
                item = self.small.recv() => item,
                item = self.bulk.recv() => item,
            };
            let item = self.taken(item)?;
            if !self.shared.is_of_the_cut(&item) {
                return Some(item);
            }
        }
    }

    /// A small item, if one waits.
    pub fn try_small(&mut self) -> Option<FromPeer> {
        loop {
            let item = self.small.try_recv().ok()?;
            if !self.shared.is_of_the_cut(&item) {
                return Some(item);
            }
        }
    }

    /// A large frame, if one waits.
    pub fn try_bulk(&mut self) -> Option<FromPeer> {
        loop {
            let item = self.bulk.try_recv().ok();
            let item = self.taken(item)?;
            if !self.shared.is_of_the_cut(&item) {
                return Some(item);
            }
        }
    }

    fn taken(&self, item: Option<FromPeer>) -> Option<FromPeer> {
        if let Some(FromPeer::Frame { bytes, .. }) = &item
            && bytes.len() >= SMALL
        {
            self.shared.bulk_bytes.fetch_sub(bytes.len(), Relaxed);
        }
        item
    }

    /// What a frame of this connection, of so many bytes, was worth. One that brings too much junk is closed.
    pub fn judge(&self, connection: u32, worth: Worth, bytes: usize) {
        self.shared.judge(connection, worth, bytes);
    }

    /// Frames that were dropped because their connection had been cut off before their turn came.
    #[must_use]
    pub fn dropped_cut(&self) -> u64 {
        self.shared.dropped_cut.load(Relaxed)
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
    use crate::driver::front::standing::BUDGET;

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

    fn standing() -> Arc<Standing> {
        Arc::new(Standing::new(Instant::now()))
    }

    #[tokio::test]
    async fn a_connection_that_sends_only_junk_is_told_to_end_and_what_it_sent_is_let_go() {
        let (inbound, mut waiting) = channel(1_000);
        let (bad, good) = (inbound.watch(7, standing()), inbound.watch(8, standing()));
        for _ in 0..300 {
            inbound.put(frame(10)).await;
        }
        inbound.put(FromPeer::Frame { link: Link(1), connection: 8, bytes: Bytes::from_static(b"good") }).await;
        for _ in 0..BUDGET {
            let item = waiting.next().await;
            assert_eq!(item, Some(frame(10)));
            waiting.judge(7, Worth::Junk, 10);
            waiting.judge(8, Worth::Useful, 10);
        }
        assert_eq!(bad.closed(false).await, End::CutOff);
        let next = waiting.next().await;
        assert!(matches!(next, Some(FromPeer::Frame { connection: 8, .. })), "{next:?}");
        assert_eq!(waiting.dropped_cut(), 300 - u64::from(BUDGET));
        drop((bad, good));
        assert!(waiting.shared.connections.lock().unwrap().open.is_empty());
    }

    #[tokio::test]
    async fn behind_one_address_the_sender_of_junk_is_cut_off_and_nobody_else() {
        let (inbound, waiting) = channel(2);
        let address = standing();
        let connections: Vec<Watched> = (0..10).map(|n| inbound.watch(n, Arc::clone(&address))).collect();
        // Nine share the work of one flooder; the tenth says what is of use.
        for n in 0..1_000 {
            waiting.judge(n % 9, Worth::Junk, 10);
            waiting.judge(9, Worth::Useful, 10);
            waiting.judge(9, Worth::Copy, 10);
        }
        let open = |n: u32| waiting.shared.connections.lock().unwrap().open[&n].end.is_some();
        assert!((0..9).all(|n| !open(n)) && open(9));
        assert!(!address.lets_in(Instant::now()));
        drop(connections);
    }

    #[tokio::test]
    async fn copies_at_an_honest_rate_are_no_reason_and_a_storm_of_them_is() {
        let (inbound, waiting) = channel(2);
        let (honest, replayer) = (inbound.watch(1, standing()), inbound.watch(2, standing()));
        for _ in 0..IDLE_BURST {
            waiting.judge(1, Worth::Copy, 10);
        }
        (0..100 * IDLE_BURST).for_each(|_| waiting.judge(2, Worth::Copy, 10));
        assert_eq!(replayer.closed(false).await, End::CutOff);
        assert!(waiting.shared.connections.lock().unwrap().open[&1].end.is_some());
        drop(honest);
    }

    #[test]
    fn a_connection_over_which_nothing_of_use_comes_gives_its_place_back() {
        let (inbound, waiting) = channel(2);
        let (idle, useful) = (inbound.watch(1, standing()), inbound.watch(2, standing()));
        for connection in [1, 2] {
            let mut connections = waiting.shared.connections.lock().unwrap();
            connections.open.get_mut(&connection).unwrap().useful -= Duration::from_secs(1);
        }
        let later = Instant::now() + UNHEARD - Duration::from_millis(500);
        waiting.judge(1, Worth::Idle, 10);
        waiting.judge(2, Worth::Copy, 10);
        assert!(idle.is_unheard(later) && !useful.is_unheard(later));
    }
}
