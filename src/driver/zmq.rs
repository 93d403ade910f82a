//! PUB/SUB between nodes: the `zeromq` sockets inside, and the links that connect them with peers through the front.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinHandle;
use zeromq::{PubSocket, Socket, SocketRecv, SocketSend, SubSocket, ZmqMessage};

use super::front::standing::Standing;
use super::front::subscribe::{Listening, Mark, MarkKind, listen};
use super::front::{self, Counters, Limits, publish};
use super::inbound::{End, FromPeer, Inbound};
use super::refusals::Refusals;
use crate::id::{Link, NodeId};
use crate::wire::Door;

/// The topic of everyone.
pub const TOPIC_ALL: &str = "*";
/// The first pause between two attempts to reach a peer.
const BACKOFF_LEAST: Duration = Duration::from_millis(100);
/// The longest: after a cut, what is published before a peer is back is lost to it, so a second is much.
const BACKOFF_MOST: Duration = Duration::from_secs(1);
/// A connection of ours to a peer's SUB that stood this long was a good one.
const STOOD: Duration = Duration::from_secs(5);
/// How long the library gets to take a subscription in.
const SUBSCRIPTION_TAKEN: Duration = Duration::from_millis(5);
/// Memory that large messages of all connections share while they come in.
const LARGE_POOL: usize = 64 * 1024 * 1024;
/// The path of a UNIX socket has room for 108 bytes.
const LONGEST_SOCKET_DIR: usize = 90;

/// The topic of one node: `@` and the first quarter of its id. Subscriptions of the `zeromq` crate are text, so it is written in
/// hex, and each of the some twenty directed messages of a job carries it. Nodes that share it hear each other's messages and refuse
/// them: the envelope's own recipient is what counts.
#[must_use]
pub fn topic_of(id: NodeId) -> String {
    let mut topic = format!("@{id}");
    topic.truncate(9);
    topic
}

/// Both sockets and every link.
pub struct Transport {
    publisher: PubSocket,
    shared: Arc<Shared>,
    links: BTreeMap<Link, Vec<Task>>,
    _tasks: Vec<Task>,
    _directory: SocketDirectory,
}

/// What the links share.
struct Shared {
    listening: Listening,
    inner_pub: PathBuf,
    inbound: Inbound,
    counters: Arc<Counters>,
    next_connection: AtomicU32,
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where the transport listens, and for whom.
#[derive(Debug)]
pub struct Where<'a> {
    /// The public address of the PUB socket.
    pub pub_address: SocketAddr,
    /// The public address of the SUB socket.
    pub sub_address: SocketAddr,
    /// A directory of ours, for the inner sockets.
    pub directory: &'a Path,
    /// What a frame's header has to say, and whose topic is the second one.
    pub door: Door,
    /// Bounds of each connection.
    pub limits: Limits,
}

impl Transport {
    /// Binds both public addresses and starts to serve them; what comes in goes to `inbound`.
    ///
    /// # Errors
    /// A sentence that names the address or directory that cannot be used.
    pub async fn bind(
        at: Where<'_>,
        inbound: Inbound,
        counters: Arc<Counters>,
        refusals: Arc<Refusals>,
    ) -> Result<Transport, String> {
        let pub_listener = bind(at.pub_address, "pub_port")?;
        let sub_listener = bind(at.sub_address, "sub_port")?;
        let directory = SocketDirectory::new(at.directory)
            .map_err(|e| format!("no private directory for the inner sockets under {}: {e}", at.directory.display()))?;
        let (inner_pub, inner_sub) = (directory.0.join("pub"), directory.0.join("sub"));
        let refused = |e: zeromq::ZmqError| format!("inner sockets in {}: {e}", directory.0.display());
        let mut publisher = PubSocket::new();
        publisher.bind(&format!("ipc://{}", inner_pub.display())).await.map_err(refused)?;
        let mut subscriber = SubSocket::new();
        subscriber.bind(&format!("ipc://{}", inner_sub.display())).await.map_err(refused)?;
        subscriber.subscribe("").await.map_err(refused)?;
        let shared = Arc::new(Shared {
            listening: Listening {
                inner: inner_sub,
                door: at.door,
                inbound: inbound.clone(),
                refusals,
                topics: [TOPIC_ALL.to_owned(), topic_of(at.door.own_id)],
                limits: at.limits,
                large: Arc::new(Semaphore::new(LARGE_POOL)),
            },
            inner_pub,
            inbound,
            counters,
            next_connection: AtomicU32::new(1),
        });
        let tasks = vec![
            Task(tokio::spawn(receive(subscriber, Arc::clone(&shared)))),
            Task(tokio::spawn(front::accept(pub_listener, "PUB", Arc::clone(&shared.counters), {
                let shared = Arc::clone(&shared);
                move |stream, visitor| {
                    let shared = Arc::clone(&shared);
                    async move { shared.serve(stream, || visitor.welcome(), None).await }
                }
            }))),
            Task(tokio::spawn(front::accept(sub_listener, "SUB", Arc::clone(&shared.counters), {
                let shared = Arc::clone(&shared);
                move |stream, visitor| {
                    let shared = Arc::clone(&shared);
                    async move {
                        let standing = Arc::clone(&visitor.standing);
                        shared.listen(stream, Link::INBOUND, standing, || visitor.welcome()).await.1
                    }
                }
            }))),
        ];
        Ok(Transport { publisher, shared, links: BTreeMap::new(), _tasks: tasks, _directory: directory })
    }

    /// Publishes a frame. Never waits for a peer.
    pub async fn send(&mut self, topic: &str, frame: &[u8]) {
        let mut message = ZmqMessage::from(topic);
        message.push_back(Bytes::copy_from_slice(frame));
        if let Err(error) = self.publisher.send(message).await {
            tracing::warn!(%error, "a frame could not be published");
        }
    }

    /// Subscribes to the PUB at `endpoint`, and keeps trying.
    pub fn connect(&mut self, link: Link, endpoint: &str) {
        let task = tokio::spawn(keep_subscribed(Arc::clone(&self.shared), link, endpoint.to_owned()));
        self.links.entry(link).or_default().push(Task(task));
    }

    /// Connects our PUB to the SUB at `endpoint`, and keeps trying.
    pub fn reach(&mut self, link: Link, endpoint: &str) {
        let task = tokio::spawn(keep_reached(Arc::clone(&self.shared), link, endpoint.to_owned()));
        self.links.entry(link).or_default().push(Task(task));
    }

    /// Drops what [`Transport::connect`] or [`Transport::reach`] built under this number.
    pub fn disconnect(&mut self, link: Link) {
        self.links.remove(&link);
    }
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").field("links", &self.links.len()).finish_non_exhaustive()
    }
}

fn bind(address: SocketAddr, key: &str) -> Result<tokio::net::TcpListener, String> {
    front::bind(address)
        .map_err(|e| format!("cannot listen on {address}: {e}; choose another network.{key} or stop what uses it"))
}

impl Shared {
    /// A subscriber of ours, until it ends.
    async fn serve(
        &self,
        stream: tokio::net::TcpStream,
        welcome: impl FnOnce(),
        up: Option<oneshot::Sender<()>>,
    ) -> io::Error {
        match publish::serve(stream, &self.inner_pub, &self.listening.limits, &self.counters, welcome, up).await {
            Ok(()) => io::ErrorKind::UnexpectedEof.into(),
            Err(error) => error,
        }
    }

    /// A publisher, until it ends.
    async fn listen(
        &self,
        stream: tokio::net::TcpStream,
        link: Link,
        standing: Arc<Standing>,
        welcome: impl FnOnce(),
    ) -> (Heard, io::Error) {
        let connection = self.next_connection.fetch_add(1, Relaxed);
        let watched = self.inbound.watch(connection, standing);
        let mut heard = Heard { up: true, of_use: false };
        let error = tokio::select! {
            (up, error) = listen(stream, link, connection, &self.listening, &self.counters, welcome) => {
                heard.up = up;
                error
            }
            end = watched.closed(link != Link::INBOUND) => match end {
                End::CutOff => io::Error::new(io::ErrorKind::PermissionDenied, "too much of what came was refused"),
                End::Unheard => io::Error::new(io::ErrorKind::TimedOut, "nothing of use came"),
            },
        };
        heard.of_use = watched.was_of_use();
        (heard, error)
    }
}

/// How a subscription went, besides its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Heard {
    /// It was up, so that its end has to be reported.
    up: bool,
    /// Something that came over it was of use: a back-off may start over.
    of_use: bool,
}

/// The pauses between attempts: doubling, and spread so that peers of one that restarts do not come all at once.
#[derive(Debug)]
struct Backoff(Duration);

impl Backoff {
    fn new() -> Backoff {
        Backoff(BACKOFF_LEAST)
    }

    /// A connection that was of use: the next attempt comes soon.
    fn reset(&mut self) {
        self.0 = BACKOFF_LEAST;
    }

    async fn pause(&mut self) {
        let byte = getrandom::u32().unwrap_or(0) % 256;
        tokio::time::sleep(self.0 / 2 + self.0 * byte / 256).await;
        self.0 = (self.0 * 2).min(BACKOFF_MOST);
    }
}

async fn keep_subscribed(shared: Arc<Shared>, link: Link, endpoint: String) {
    let mut backoff = Backoff::new();
    let standing = Arc::new(Standing::new(Instant::now()));
    loop {
        match front::dial(&endpoint).await {
            Ok(stream) => {
                let (heard, error) = shared.listen(stream, link, Arc::clone(&standing), || {}).await;
                shared.counters.ended(&error);
                tracing::debug!(link = link.0, endpoint, %error, "subscription ended");
                if heard.up {
                    shared.inbound.put(FromPeer::Down(link)).await;
                }
                // Only what is of use is a reason to be quick again: a peer that greets and closes, or sends junk, is none.
                if heard.of_use {
                    backoff.reset();
                }
                tokio::time::sleep(standing.shut_for(Instant::now())).await;
            }
            Err(error) => tracing::trace!(link = link.0, endpoint, %error, "not reached"),
        }
        backoff.pause().await;
    }
}

async fn keep_reached(shared: Arc<Shared>, link: Link, endpoint: String) {
    let mut backoff = Backoff::new();
    loop {
        if let Ok(stream) = front::dial(&endpoint).await {
            let since = tokio::time::Instant::now();
            let (up, is_up) = oneshot::channel();
            let mut reported = false;
            let error = {
                let mut serving = std::pin::pin!(shared.serve(stream, || {}, Some(up)));
                tokio::select! {
                    error = &mut serving => error,
                    Ok(()) = is_up => {
                        // The library does not say when it has taken a subscription in: until then it would drop what we say.
                        let early = tokio::time::timeout(SUBSCRIPTION_TAKEN, &mut serving).await;
                        if let Ok(error) = early {
                            error
                        } else {
                            shared.inbound.put(FromPeer::Up(link)).await;
                            reported = true;
                            serving.await
                        }
                    }
                }
            };
            if reported {
                shared.inbound.put(FromPeer::Down(link)).await;
            }
            shared.counters.ended(&error);
            tracing::debug!(endpoint, %error, "connection to a peer's SUB ended");
            if since.elapsed() > STOOD {
                backoff.reset();
            }
        }
        backoff.pause().await;
    }
}

/// Takes whole messages from the library, turn by turn from every connection, and hands them to the loop.
async fn receive(mut subscriber: SubSocket, shared: Arc<Shared>) {
    loop {
        // An error means that one connection ended; the others go on.
        let message = match subscriber.recv().await {
            Ok(message) => message,
            Err(error) => {
                tracing::trace!(%error, "a connection to the inner SUB socket ended");
                tokio::task::yield_now().await;
                continue;
            }
        };
        let Some(mark) = message.get(0).and_then(|first| Mark::from_bytes(first)) else { continue };
        match (mark.kind, message.get(2)) {
            (MarkKind::Up, _) if mark.link != Link::INBOUND => shared.inbound.put(FromPeer::Up(mark.link)).await,
            (MarkKind::Down, _) if mark.link != Link::INBOUND => shared.inbound.put(FromPeer::Down(mark.link)).await,
            (MarkKind::Up | MarkKind::Down, _) => {}
            // Copied: what the library hands out pins its whole read buffer.
            (MarkKind::Frame, Some(frame)) => {
                let bytes = Bytes::copy_from_slice(frame);
                shared.inbound.put(FromPeer::Frame { link: mark.link, connection: mark.connection, bytes }).await;
            }
            (MarkKind::Frame, None) => {}
        }
    }
}

/// A directory that only we can enter, removed in the end.
#[derive(Debug)]
struct SocketDirectory(PathBuf);

impl SocketDirectory {
    /// Below `wanted`, or below the system's directory for temporary files where that path would be too long.
    fn new(wanted: &Path) -> io::Result<SocketDirectory> {
        use std::os::unix::fs::DirBuilderExt;
        let mut name = [0; 8];
        getrandom::fill(&mut name).map_err(io::Error::other)?;
        let name = format!("zmq-{:016x}", u64::from_be_bytes(name));
        let wanted = std::path::absolute(wanted)?;
        let short = wanted.as_os_str().len() + name.len() < LONGEST_SOCKET_DIR && wanted.to_str().is_some();
        let parent = if short { wanted } else { std::env::temp_dir() };
        let path = parent.join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(SocketDirectory(path))
    }
}

impl Drop for SocketDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
