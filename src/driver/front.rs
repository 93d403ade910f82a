//! The bounded front: what strangers can reach (protocol.md, section 3).
//!
//! The `zeromq` crate makes room for whatever length a peer announces, keeps silent connections for ever and queues without
//! bound for a subscriber that does not read. So it never meets a stranger: its sockets are bound inside a private
//! directory, and on the public side stand these connections, which speak ZMTP themselves and pass on only whole messages
//! of checked size. They are also what dials peers, so a broken connection is noticed at once and belongs to somebody.

pub mod publish;
pub mod queue;
pub mod standing;
pub mod subscribe;
pub mod zmtp;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use self::standing::{Sentence, Standing, Standings};

/// A handshake that takes longer is not one.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// A peer that takes nothing for this long is let go.
pub const WRITE_STALL: Duration = Duration::from_secs(5);
/// A message that has begun has to end: 10 MiB at 3 Mbit/s.
pub const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections that one public address serves at once.
const MAX_CONNECTIONS: usize = 256;
/// Of these, from one IP address. A site behind one address has fewer nodes; tests on one machine have several.
const MAX_PER_IP: usize = 64;
/// Junk frames that a broken protocol or limit counts for: after fifty of them an address stays out for a while.
const VIOLATION: u32 = 4;
/// And a connection that ended before its handshake did: whoever dials and hangs up has us work, too.
const NO_HANDSHAKE: u32 = 1;
/// The pause after `accept` failed, usually for want of file descriptors: without it the loop spins.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of one connection.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest frame, in bytes.
    pub max_message: u64,
    /// Messages that may wait for a peer: the high-water mark.
    pub queue_messages: usize,
    /// Bytes that may wait for a peer.
    pub queue_bytes: usize,
    /// Silence of a publisher after which its connection counts as dead.
    pub idle: Duration,
    /// A message that has begun has to end within this: [`MESSAGE_TIMEOUT`].
    pub message: Duration,
}

/// What the front counts.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes written to peers.
    pub bytes_out: AtomicU64,
    /// Bytes of messages read from peers.
    pub bytes_in: AtomicU64,
    /// Messages dropped because a peer did not take them in time.
    pub dropped_out: AtomicU64,
    /// Messages that came in for topics which were not asked for.
    pub unasked: AtomicU64,
    /// Connections turned away because there were too many.
    pub turned_away: AtomicU64,
    /// Connections turned away because of what their address had done.
    pub kept_out: AtomicU64,
    /// Connections cut off because of the junk that came over them.
    pub cut_off: AtomicU64,
    /// Connections closed because they broke the protocol or a limit.
    pub refused: AtomicU64,
}

impl Counters {
    /// Takes note of how a connection ended.
    pub fn ended(&self, error: &io::Error) {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::TimedOut => drop(self.refused.fetch_add(1, Relaxed)),
            io::ErrorKind::PermissionDenied => drop(self.cut_off.fetch_add(1, Relaxed)),
            _ => {}
        }
    }
}

/// Whose connection it is.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// Its address.
    pub ip: IpAddr,
    /// What that address has done at this port.
    pub standing: Arc<Standing>,
    shook_hands: Arc<AtomicBool>,
}

impl Visitor {
    /// It has shaken hands.
    pub fn welcome(&self) {
        self.shook_hands.store(true, Relaxed);
    }
}

/// Counts the connections of one public address.
#[derive(Debug, Default)]
struct Gate {
    per_ip: Mutex<BTreeMap<IpAddr, usize>>,
}

/// The place of one connection; dropping it gives the place back.
struct Place {
    gate: Arc<Gate>,
    ip: IpAddr,
}

impl Gate {
    fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let mut per_ip = self.per_ip.lock().expect("no panic while it is held");
        let all: usize = per_ip.values().sum();
        let from_here = per_ip.get(&ip).copied().unwrap_or(0);
        if all >= MAX_CONNECTIONS || from_here >= MAX_PER_IP {
            return None;
        }
        per_ip.insert(ip, from_here + 1);
        Some(Place { gate: Arc::clone(self), ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut per_ip = self.gate.per_ip.lock().expect("no panic while it is held");
        match per_ip.get_mut(&self.ip) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                per_ip.remove(&self.ip);
            }
        }
    }
}

/// Accepts for ever, within the bounds, and gives each connection to `serve`.
pub async fn accept<F, C>(listener: TcpListener, what: &'static str, counters: Arc<Counters>, serve: F)
where
    F: Fn(TcpStream, Visitor) -> C,
    C: Future<Output = io::Error> + Send + 'static,
{
    let (gate, standings) = (Arc::new(Gate::default()), Standings::default());
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, what, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let ip = from.ip().to_canonical();
        let standing = standings.of(ip, Instant::now());
        if !standing.lets_in(Instant::now()) {
            counters.kept_out.fetch_add(1, Relaxed);
            continue;
        }
        let Some(place) = gate.enter(ip) else {
            counters.turned_away.fetch_add(1, Relaxed);
            continue;
        };
        prepare(&stream);
        let visitor = Visitor { ip, standing, shook_hands: Arc::default() };
        let connection = serve(stream, visitor.clone());
        let counters = Arc::clone(&counters);
        tokio::spawn(async move {
            let _place = place;
            let error = connection.await;
            counters.ended(&error);
            if let Some(frames) = guilt(&error, visitor.shook_hands.load(Relaxed)) {
                let sentence = visitor.standing.charge(frames, Instant::now());
                if let Sentence::CutOff(Some(time)) = sentence {
                    tracing::warn!(%ip, what, shut_s = time.as_secs(), "an address stays out for what it did");
                }
            }
            tracing::debug!(%from, what, %error, "connection ended");
        });
    }
}

/// What the end of a connection counts for, in junk frames.
fn guilt(error: &io::Error, shook_hands: bool) -> Option<u32> {
    match error.kind() {
        io::ErrorKind::InvalidData => Some(VIOLATION),
        _ if !shook_hands => Some(NO_HANDSHAKE),
        _ => None,
    }
}

/// Dials `tcp://host:port`, each address of the host in turn, for at most three seconds.
///
/// # Errors
/// The text is no such endpoint, nobody answers, or not in time.
pub async fn dial(endpoint: &str) -> io::Result<TcpStream> {
    let Some(address) = endpoint.strip_prefix("tcp://") else { return zmtp::refuse("not a tcp:// endpoint") };
    let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, TcpStream::connect(address)).await??;
    prepare(&stream);
    Ok(stream)
}

/// Small messages go at once, and a peer whose machine vanished is noticed by the system after 15 s. Best effort.
fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(5)).with_interval(Duration::from_secs(5));
    #[cfg(target_os = "linux")]
    let keepalive = keepalive.with_retries(2);
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(Duration::from_secs(15)));
}

/// Binds a public TCP address. The port may be taken again at once after a restart.
///
/// # Errors
/// The system's, usually: the address is in use.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(
        socket2::Domain::for_address(address),
        socket2::Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    if address.is_ipv6() {
        let _ = socket.set_only_v6(false);
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(256)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gets_its_share_and_all_together_the_whole() {
        let gate = Arc::new(Gate::default());
        let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut places: Vec<Place> = (0..MAX_PER_IP).map(|_| gate.enter(ip(1)).expect("within the share")).collect();
        assert!(gate.enter(ip(1)).is_none());
        for n in 2..5 {
            places.extend((0..MAX_PER_IP).map(|_| gate.enter(ip(n)).expect("within the whole")));
        }
        assert!(gate.enter(ip(9)).is_none(), "257 connections");
        places.remove(0);
        assert!(gate.enter(ip(1)).is_some(), "a place that was left is free again");
    }
}
