//! What strangers may do to the public sockets, and what peers get all the same.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the driver under test has sockets and clocks")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use marlos::driver::front::zmtp::{self, Role};
use marlos::driver::front::{Counters, Limits};
use marlos::driver::inbound::{self, FromPeer, Waiting};
use marlos::driver::zmq::{TOPIC_ALL, Transport, Where, topic_of};
use marlos::id::{Link, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

struct Peer {
    transport: Transport,
    waiting: Waiting,
    counters: Arc<Counters>,
    pub_address: SocketAddr,
    sub_address: SocketAddr,
    id: NodeId,
    _directory: tempfile::TempDir,
}

/// A port below those that the system gives to outgoing connections, of which the tests make many.
async fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let offset = (std::process::id() * 97 + u32::from(NEXT.fetch_add(1, Relaxed))) % 10_000;
        let address = SocketAddr::from(([127, 0, 0, 1], 20_000 + offset as u16));
        if TcpListener::bind(address).await.is_ok() {
            return address;
        }
    }
}

async fn peer(number: u8) -> Peer {
    peer_at(number, free_port().await, Duration::from_secs(12)).await
}

async fn peer_at(number: u8, pub_address: SocketAddr, idle: Duration) -> Peer {
    let since = Instant::now();
    // Tasks of a peer that was dropped just now may still hold the address for a moment.
    while TcpListener::bind(pub_address).await.is_err() {
        assert!(since.elapsed() < Duration::from_secs(20), "{pub_address} is never free");
        tokio::task::yield_now().await;
    }
    let directory = tempfile::tempdir().unwrap();
    let (inbound, waiting) = inbound::channel(10_000);
    let counters = Arc::<Counters>::default();
    let (sub_address, id) = (free_port().await, NodeId([number; 16]));
    let limits = Limits { max_message: 1024 * 1024, queue_messages: 1_000, queue_bytes: 4 * 1024 * 1024, idle };
    let at = Where { pub_address, sub_address, directory: directory.path(), id, limits };
    let transport = Transport::bind(at, inbound, Arc::clone(&counters)).await.unwrap();
    Peer { transport, waiting, counters, pub_address, sub_address, id, _directory: directory }
}

/// The next item; a test that waits longer has failed.
async fn next(peer: &mut Peer) -> FromPeer {
    timeout(Duration::from_secs(20), peer.waiting.next()).await.expect("nothing came").expect("the receiver ended")
}

/// `listener` subscribes to `speaker` and waits until that works.
async fn subscribe(listener: &mut Peer, link: u32, speaker: &mut Peer) {
    listener.transport.connect(Link(link), &format!("tcp://{}", speaker.pub_address));
    assert_eq!(next(listener).await, FromPeer::Up(Link(link)));
    hears(listener, speaker).await;
}

/// Waits until something that `speaker` says comes through, and for the end of the repetitions.
async fn hears(listener: &mut Peer, speaker: &mut Peer) {
    let since = Instant::now();
    loop {
        speaker.transport.send(TOPIC_ALL, b"are you there").await;
        if timeout(Duration::from_millis(20), listener.waiting.next()).await.is_ok() {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "nothing came through");
    }
    while timeout(Duration::from_millis(50), listener.waiting.next()).await.is_ok() {}
}

/// A stranger that has shaken hands.
async fn stranger(address: SocketAddr, role: Role) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    zmtp::handshake(&mut stream, role).await.unwrap();
    stream
}

/// Waits until the other side closes.
async fn closed(mut stream: TcpStream) {
    let mut buffer = vec![0; 4096];
    let read = async { while matches!(stream.read(&mut buffer).await, Ok(1..)) {} };
    timeout(Duration::from_secs(10), read).await.expect("the connection was kept");
}

fn payload(item: &FromPeer) -> &[u8] {
    match item {
        FromPeer::Frame { bytes, .. } => bytes,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directed_frame_reaches_its_peer_only_and_a_broadcast_everyone() {
    let (mut a, mut b, mut c) = (peer(1).await, peer(2).await, peer(3).await);
    subscribe(&mut b, 7, &mut a).await;
    subscribe(&mut c, 8, &mut a).await;
    while timeout(Duration::from_millis(50), b.waiting.next()).await.is_ok() {}
    a.transport.send(&topic_of(b.id), b"for b").await;
    a.transport.send(TOPIC_ALL, &vec![9; 300_000]).await;
    a.transport.send(TOPIC_ALL, b"for all").await;
    assert_eq!(payload(&next(&mut b).await), b"for b");
    let mut sizes: Vec<usize> = vec![payload(&next(&mut b).await).len(), payload(&next(&mut b).await).len()];
    sizes.sort_unstable();
    assert_eq!(sizes, [7, 300_000]);
    let item = next(&mut c).await;
    assert!(matches!(item, FromPeer::Frame { link: Link(8), .. }), "a frame for somebody else, or on another link");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dials_in_is_heard_on_the_inbound_link() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    a.transport.reach(Link(5), &format!("tcp://{}", b.sub_address));
    assert_eq!(next(&mut a).await, FromPeer::Up(Link(5)));
    a.transport.send(TOPIC_ALL, b"hello").await;
    let item = next(&mut b).await;
    assert!(matches!(&item, FromPeer::Frame { link: Link::INBOUND, .. }));
    assert_eq!(payload(&item), b"hello");
    a.transport.disconnect(Link(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_reported_at_once_and_comes_back_with_the_peer() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    subscribe(&mut b, 7, &mut a).await;
    let address = a.pub_address;
    drop(a);
    let since = Instant::now();
    assert_eq!(next(&mut b).await, FromPeer::Down(Link(7)));
    assert!(since.elapsed() < Duration::from_secs(5));
    let mut again = peer_at(1, address, Duration::from_secs(12)).await;
    assert_eq!(next(&mut b).await, FromPeer::Up(Link(7)));
    hears(&mut b, &mut again).await;
    b.transport.disconnect(Link(7));
    drop(again);
    assert!(timeout(Duration::from_millis(300), b.waiting.next()).await.is_err(), "a link that was dropped spoke");
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_beyond_all_measure_close_the_connection_and_nothing_else() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    subscribe(&mut b, 7, &mut a).await;
    for length in [2u64 * 1024 * 1024, 1 << 32, 1 << 40, 1 << 62, 1 << 63, u64::MAX] {
        for address in [a.pub_address, a.sub_address] {
            for flags in [2u8, 3, 6] {
                // Right after the greeting, before any handshake is complete: 73 bytes.
                let mut stream = TcpStream::connect(address).await.unwrap();
                let mut bytes = [0u8; 73];
                (bytes[0], bytes[9], bytes[10], bytes[64]) = (0xff, 0x7f, 3, flags);
                bytes[12..16].copy_from_slice(b"NULL");
                bytes[65..].copy_from_slice(&length.to_be_bytes());
                stream.write_all(&bytes).await.unwrap();
                closed(stream).await;
            }
        }
        let mut subscriber = stranger(a.pub_address, Role::Subscriber).await;
        subscriber.write_all(&[&[2u8][..], &length.to_be_bytes()].concat()).await.unwrap();
        closed(subscriber).await;
        let mut publisher = stranger(a.sub_address, Role::Publisher).await;
        publisher.write_all(&[&[1u8, 1, b'*', 2][..], &length.to_be_bytes()].concat()).await.unwrap();
        closed(publisher).await;
    }
    hears(&mut b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_are_cut_off() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    subscribe(&mut b, 7, &mut a).await;
    // Endless MORE frames.
    let mut publisher = stranger(a.sub_address, Role::Publisher).await;
    let _ = publisher.write_all(&[1u8, 0].repeat(10_000)).await;
    closed(publisher).await;
    // Endless subscriptions.
    let mut subscriber = stranger(a.pub_address, Role::Subscriber).await;
    let all: Vec<u8> = (0u8..200).flat_map(|n| [0, 2, 1, n]).collect();
    let _ = subscriber.write_all(&all).await;
    closed(subscriber).await;
    // Messages that nobody asked for.
    let mut publisher = stranger(a.sub_address, Role::Publisher).await;
    let _ = publisher.write_all(&[1u8, 1, b'x', 0, 1, 0].repeat(1_000)).await;
    closed(publisher).await;
    assert!(a.counters.unasked.load(Relaxed) >= 100);
    hears(&mut b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_is_sent_away_and_a_slow_reader_costs_others_nothing() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    subscribe(&mut b, 7, &mut a).await;
    let silent = TcpStream::connect(a.pub_address).await.unwrap();
    let mut half = TcpStream::connect(a.sub_address).await.unwrap();
    half.write_all(&[0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 3]).await.unwrap();
    let mut slow = stranger(a.pub_address, Role::Subscriber).await;
    slow.write_all(&[0, 2, 1, b'*']).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    // 40 MB to everyone: the slow reader takes none of it.
    let large = vec![7; 200_000];
    for sent in 0..200u32 {
        a.transport.send(TOPIC_ALL, &large).await;
        assert_eq!(payload(&next(&mut b).await).len(), large.len(), "frame {sent}");
    }
    assert!(a.counters.dropped_out.load(Relaxed) > 0, "nothing was dropped for the slow reader");
    // Not by reading, which would end the stall.
    let since = Instant::now();
    while a.counters.refused.load(Relaxed) < 3 {
        assert!(since.elapsed() < Duration::from_secs(20), "{:?}", a.counters);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop((silent, half, slow));
    hears(&mut b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_do_nothing() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    subscribe(&mut b, 7, &mut a).await;
    // A small generator of its own: the same bytes on every run.
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for round in 0..400 {
        let address = if round % 2 == 0 { a.pub_address } else { a.sub_address };
        let bytes: Vec<u8> = (0..random() % 300).map(|_| random() as u8).collect();
        let mut stream = match round % 4 {
            0 | 1 => TcpStream::connect(address).await.unwrap(),
            2 => stranger(address, Role::Subscriber).await,
            _ => stranger(address, Role::Publisher).await,
        };
        let _ = stream.write_all(&bytes).await;
    }
    hears(&mut b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_libzmq_peer_with_heartbeats_gets_its_pong() {
    let a = peer(1).await;
    let mut subscriber = stranger(a.pub_address, Role::Subscriber).await;
    subscriber.write_all(b"\x04\x09\x04PING\0\x0aab").await.unwrap();
    let mut answer = [0; 9];
    timeout(Duration::from_secs(5), subscriber.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"\x04\x07\x04PONGab");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_greets_and_closes_is_not_dialled_in_a_hurry() {
    let mut b = peer(2).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    b.transport.connect(Link(1), &format!("tcp://{}", listener.local_addr().unwrap()));
    let mut attempts = 0;
    let _ = timeout(Duration::from_secs(3), async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = zmtp::handshake(&mut stream, Role::Publisher).await;
            attempts += 1;
        }
    })
    .await;
    assert!((2..=10).contains(&attempts), "{attempts} attempts in 3 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_falls_silent_is_given_up_and_dialled_anew() {
    let mut b = peer_at(2, free_port().await, Duration::from_millis(300)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    b.transport.connect(Link(1), &format!("tcp://{}", listener.local_addr().unwrap()));
    for _ in 0..2 {
        // It stays open, as the connection to a machine does that lost its power.
        let (mut stream, _) = listener.accept().await.unwrap();
        zmtp::handshake(&mut stream, Role::Publisher).await.unwrap();
        assert_eq!(next(&mut b).await, FromPeer::Up(Link(1)));
        assert_eq!(next(&mut b).await, FromPeer::Down(Link(1)));
        drop(stream);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_frames_are_junk_is_closed_and_no_other() {
    let mut a = peer(1).await;
    let mut publisher = stranger(a.sub_address, Role::Publisher).await;
    let mut honest = stranger(a.sub_address, Role::Publisher).await;
    publisher.write_all(&[1u8, 1, b'*', 0, 2, b'x', b'y']).await.unwrap();
    let FromPeer::Frame { connection, .. } = next(&mut a).await else { panic!("no frame") };
    for _ in 0..200 {
        a.waiting.strike(connection);
    }
    closed(publisher).await;
    honest.write_all(&[1u8, 1, b'*', 0, 2, b'o', b'k']).await.unwrap();
    assert_eq!(payload(&next(&mut a).await), b"ok");
}
