//! UDP beacons: the signed announce, to the local network and to bootstrap hosts (protocol.md, section 3).

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::guard::rate::Bucket;
use crate::time::Time;

/// The largest datagram. Up to 1,200 bytes pass every path without being cut in pieces; a record with more than seven
/// rotations, or a few in JSON, is longer, and local networks put the pieces together again.
const MAX_DATAGRAM: usize = 8_192;
/// Beacons that may wait for the loop. More of them at once are a flood.
const QUEUE: usize = 256;
/// Datagrams that are looked at in a second, and at once: a hundred nodes send forty. Each may cost a signature check, and whoever
/// floods the port can claim any address, so all share this; a flood drowns beacons then, and nothing else.
const PER_SECOND: u32 = 500;
/// How often the names of bootstrap hosts are looked up again.
const LOOKUP: Duration = Duration::from_secs(60);

/// Where beacons come from and go to.
#[derive(Debug)]
pub struct Where {
    /// The address to bind.
    pub bind: IpAddr,
    /// The port, here and of the group.
    pub port: u16,
    /// The multicast group, if any.
    pub group: Option<IpAddr>,
    /// Bootstrap hosts and their beacon ports.
    pub hosts: Vec<(String, u16)>,
}

/// The beacon sockets.
#[derive(Debug)]
pub struct Beacon {
    socket: Arc<UdpSocket>,
    group: Option<SocketAddr>,
    hosts: Arc<Mutex<Vec<SocketAddr>>>,
    counters: Arc<BeaconCounters>,
    too_long_said: bool,
    tasks: Vec<JoinHandle<()>>,
}

/// What the beacon sockets count.
#[derive(Debug, Default)]
pub struct BeaconCounters {
    /// Datagrams that the system did not take: no route, a firewall.
    pub send_errors: AtomicU64,
    /// Datagrams that came in and were too long, or found no room.
    pub dropped: AtomicU64,
}

impl Beacon {
    /// Binds the port and joins the group. A group that cannot be joined is a notice, not an error: containers often have
    /// no multicast.
    ///
    /// # Errors
    /// A sentence that names the address that cannot be bound.
    pub fn bind(at: Where) -> Result<(Beacon, mpsc::Receiver<Bytes>), String> {
        let address = SocketAddr::new(at.bind, at.port);
        let socket = udp(address, at.group.is_some()).map_err(|e| {
            format!("cannot listen on UDP {address}: {e}; choose another network.beacon_port or stop what uses it")
        })?;
        let counters = Arc::new(BeaconCounters::default());
        let (into, from) = mpsc::channel(QUEUE);
        let socket = Arc::new(socket);
        let mut tasks = vec![tokio::spawn(receive(Arc::clone(&socket), into.clone(), Arc::clone(&counters)))];
        let mut group = at.group.map(|group| SocketAddr::new(group, at.port));
        if let Some(address) = group {
            match joined(address, at.bind, &socket) {
                Ok(listener) => tasks.push(tokio::spawn(receive(Arc::new(listener), into, Arc::clone(&counters)))),
                Err(error) => {
                    tracing::warn!(%error, %address, "no multicast here: other nodes are found by bootstrap peers only");
                    group = None;
                }
            }
        }
        let hosts = Arc::new(Mutex::new(Vec::new()));
        if !at.hosts.is_empty() {
            let v6 = at.bind.is_ipv6();
            tasks.push(tokio::spawn(look_up(at.hosts, v6, Arc::clone(&hosts))));
        }
        Ok((Beacon { socket, group, hosts, counters, too_long_said: false, tasks }, from))
    }

    /// Sends one datagram to the group and to every bootstrap host. What the system refuses is counted: the next comes soon.
    pub fn send(&mut self, frame: &[u8]) {
        if frame.len() > MAX_DATAGRAM {
            if !std::mem::replace(&mut self.too_long_said, true) {
                tracing::warn!(
                    bytes = frame.len(),
                    "the announce is too long for a beacon; shorten name or capabilities"
                );
            }
            return;
        }
        let hosts = self.hosts.lock().expect("no panic while it is held");
        for target in self.group.iter().chain(hosts.iter()) {
            if let Err(error) = self.socket.try_send_to(frame, *target) {
                tracing::debug!(%error, %target, "a beacon was not sent");
                self.counters.send_errors.fetch_add(1, Relaxed);
            }
        }
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &BeaconCounters {
        &self.counters
    }
}

impl Drop for Beacon {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A bound socket. With multicast, several nodes on one machine share the port.
fn udp(address: SocketAddr, shared: bool) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        let _ = socket.set_only_v6(false);
    }
    socket.set_reuse_address(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// A socket bound to the group itself, so that it hears the group and nothing else. Prepares `sender` to speak to it.
fn joined(group: SocketAddr, bind: IpAddr, sender: &UdpSocket) -> io::Result<UdpSocket> {
    let listener = udp(group, true)?;
    let (ours, theirs) = (SockRef::from(&listener), SockRef::from(sender));
    match (group.ip(), bind) {
        (IpAddr::V4(group), IpAddr::V4(bind)) => {
            ours.join_multicast_v4(&group, &bind)?;
            theirs.set_multicast_loop_v4(true)?;
            theirs.set_multicast_ttl_v4(1)?;
            if bind != Ipv4Addr::UNSPECIFIED {
                theirs.set_multicast_if_v4(&bind)?;
            }
        }
        (IpAddr::V6(group), IpAddr::V6(_)) => {
            ours.join_multicast_v6(&group, 0)?;
            theirs.set_multicast_loop_v6(true)?;
            theirs.set_multicast_hops_v6(1)?;
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(io::Error::other("network.bind and network.multicast_group are of different IP versions"));
        }
    }
    Ok(listener)
}

/// Sends a datagram to a group that it joined, at a port of no other use, and waits until it comes back.
///
/// # Errors
/// The system's: the group cannot be joined, or there is no way to it.
pub async fn echo(group: IpAddr, bind: IpAddr) -> io::Result<()> {
    let sender = udp(SocketAddr::new(bind, 0), true)?;
    let group = SocketAddr::new(group, sender.local_addr()?.port());
    let listener = joined(group, bind, &sender)?;
    let word = std::process::id().to_be_bytes();
    sender.send_to(&word, group).await?;
    let mut heard = [0; 4];
    while listener.recv(&mut heard).await? != word.len() || heard != word {}
    Ok(())
}

async fn receive(socket: Arc<UdpSocket>, into: mpsc::Sender<Bytes>, counters: Arc<BeaconCounters>) {
    let mut buffer = vec![0; MAX_DATAGRAM + 1];
    let (start, mut bucket) = (Instant::now(), Bucket::full(PER_SECOND, Time(0)));
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, _)) if length <= MAX_DATAGRAM => {
                let now = Time(u64::try_from(start.elapsed().as_micros()).expect("584,000 years"));
                if !bucket.has_token(now, PER_SECOND, PER_SECOND) {
                    counters.dropped.fetch_add(1, Relaxed);
                    continue;
                }
                bucket.take();
                if into.try_send(Bytes::copy_from_slice(&buffer[..length])).is_err() {
                    counters.dropped.fetch_add(1, Relaxed);
                }
            }
            Ok(_) => drop(counters.dropped.fetch_add(1, Relaxed)),
            // An ICMP answer to an earlier beacon comes back this way.
            Err(error) => {
                tracing::debug!(%error, "beacon socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn look_up(names: Vec<(String, u16)>, v6: bool, found: Arc<Mutex<Vec<SocketAddr>>>) {
    loop {
        let mut addresses = Vec::new();
        for (host, port) in &names {
            let Ok(answers) = tokio::net::lookup_host((host.as_str(), *port)).await else { continue };
            // A socket bound to `::` speaks to IPv4 in its mapped form, one bound to IPv4 to nothing else.
            let usable = answers.filter_map(|a| match a {
                SocketAddr::V4(v4) if v6 => Some(SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())),
                SocketAddr::V6(_) if !v6 => None,
                other => Some(other),
            });
            addresses.extend(usable.take(1));
        }
        let pause = if addresses.len() < names.len() { LOOKUP / 12 } else { LOOKUP };
        *found.lock().expect("no panic while it is held") = addresses;
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_beacon_reaches_a_bootstrap_host_and_a_long_one_is_not_sent() {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let port = || UdpSocket::bind("127.0.0.1:0");
        let (port_a, port_b) = {
            let (a, b) = (port().await.unwrap(), port().await.unwrap());
            (a.local_addr().unwrap().port(), b.local_addr().unwrap().port())
        };
        let hosts = vec![("127.0.0.1".to_owned(), port_b)];
        let (mut a, _) = Beacon::bind(Where { bind: local, port: port_a, group: None, hosts }).unwrap();
        let (_b, mut heard) = Beacon::bind(Where { bind: local, port: port_b, group: None, hosts: vec![] }).unwrap();
        while a.hosts.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        a.send(&[1; MAX_DATAGRAM + 1]);
        a.send(&[2; MAX_DATAGRAM]);
        assert_eq!(heard.recv().await.unwrap(), vec![2; MAX_DATAGRAM]);
    }
}
