//! What strangers may do to the public sockets, and what peers get all the same.
//!
//! A hostile review of the `zeromq` crate found what an exposed socket of it suffers. Each finding, and the test that shows
//! that a node does not (here, unless another file stands before it):
//!
//! | finding | test |
//! |---|---|
//! | 73 bytes announce a terabyte: the process aborts | `lengths_beyond_all_measure_close_the_connection_and_nothing_else`; `real_nodes::strangers_leave_a_node_alive_and_working` |
//! | huge frames and endless MORE frames fill memory | `floods_are_cut_off`, `driver_memory::no_stranger_fills_memory` |
//! | a stalled subscriber's queue has no bound | `whoever_says_nothing_is_sent_away_and_a_slow_reader_costs_others_nothing`, `driver_memory::no_stranger_fills_memory` |
//! | a burst loses its newest messages silently | `a_burst_within_the_high_water_mark_arrives_whole`; beyond it they are counted |
//! | XPUB waits for its slowest peer, XSUB panics | neither is used |
//! | no heartbeat: a publisher that vanished leaves its subscriber deaf | `a_publisher_that_falls_silent_is_given_up_and_dialled_anew` |
//! | a reconnect that meets a tarpit waits for ever; one dead peer holds up all | `a_tarpit_is_given_up_and_holds_nobody_up` |
//! | a publisher that greets and closes is dialled ten times a second | `a_publisher_that_greets_and_closes_or_sends_junk_is_not_dialled_in_a_hurry` |
//! | a peer that starts later is not dialled again; there is no disconnect | `a_broken_connection_is_reported_at_once_and_comes_back_with_the_peer` |
//! | no attribution of a message to its connection | `a_directed_frame_reaches_its_peer_only_and_a_broadcast_everyone`, `a_connection_whose_frames_are_junk_is_closed_and_no_other` |
//! | silent connections stay for ever, in any number | `four_hundred_silent_connections_are_gone`, `one_address_has_its_share_of_connections_and_gets_places_back` |
//! | without file descriptors the accept loop spins | `hostile_nodes::a_node_without_file_descriptors_does_not_spin_and_recovers` |
//! | subscriptions without bound slow everybody down | `a_subscriber_may_hold_thirty_two_topics_and_no_more`, `floods_are_cut_off` |
//! | a hostile PUB gets unasked topics through | `a_publisher_that_was_dialled_gets_nothing_through_that_was_not_asked_for`, `floods_are_cut_off` |
//! | an Identity is trusted and evicts its namesake | `an_identity_is_no_name_two_peers_may_have_the_same` |
//! | PLAIN and CURVE are greeted and ignored | `what_is_no_handshake_is_closed` |
//! | a PING closes the connection | `a_libzmq_peer_with_heartbeats_gets_its_pong`, `interop` |
//! | every PUB socket has 4 MB; a kept slice pins its read buffer | one PUB socket a node; what is kept is copied (`zmq::receive`) |
//! | a half-closed subscriber leaves task and queue | `a_half_closed_subscriber_is_let_go` |
//! | the monitor loses events | it is not used: connections are ours |
//! | malformed handshakes | `what_is_no_handshake_is_closed`, `random_bytes_do_nothing` |
//! | IPv6 | `two_nodes_meet_over_ipv6` |
//! | cancelled receives lose messages (they do not) | `a_receive_that_is_cancelled_loses_nothing` |
//! | libzmq both ways | `interop` |
//!
//! And beside them: a byte a second (`a_trickle_of_bytes_does_not_hold_a_connection`), reconnecting for ever
//! (`who_comes_back_with_junk_again_and_again_is_kept_out_and_old_connections_stay`), frames that are no envelope
//! (`what_needs_no_key_to_be_refused_does_not_get_past_the_front`).
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the driver under test has sockets and clocks; what is skipped is said"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use marlos::driver::front::zmtp::{self, Role};
use marlos::driver::front::{Counters, Limits};
use marlos::driver::inbound::{self, FromPeer, Waiting, Worth};
use marlos::driver::refusals::Refusals;
use marlos::driver::zmq::{TOPIC_ALL, Transport, Where, topic_of};
use marlos::id::{Link, NodeId};
use marlos::io::Refusal;
use marlos::wire::{Door, network_tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;

struct Peer {
    transport: Transport,
    waiting: Waiting,
    counters: Arc<Counters>,
    refusals: Arc<Refusals>,
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
    peer_with(number, pub_address, idle, Duration::from_secs(30)).await
}

async fn peer_with(number: u8, pub_address: SocketAddr, idle: Duration, message: Duration) -> Peer {
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
    let limits =
        Limits { max_message: 1024 * 1024, queue_messages: 1_000, queue_bytes: 4 * 1024 * 1024, idle, message };
    let door = Door { network_tag: network_tag("marlos"), own_id: id, max_message_size: 1024 * 1024 };
    let at = Where { pub_address, sub_address, directory: directory.path(), door, limits };
    let refusals = Arc::<Refusals>::default();
    let transport = Transport::bind(at, inbound, Arc::clone(&counters), Arc::clone(&refusals)).await.unwrap();
    Peer { transport, waiting, counters, refusals, pub_address, sub_address, id, _directory: directory }
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
        speaker.transport.send(TOPIC_ALL, b"{are you there").await;
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
    a.transport.send(&topic_of(b.id), b"{for b").await;
    a.transport.send(TOPIC_ALL, &[b"{".as_slice(), &[9; 299_999]].concat()).await;
    a.transport.send(TOPIC_ALL, b"{for all").await;
    assert_eq!(payload(&next(&mut b).await), b"{for b");
    let mut sizes: Vec<usize> = vec![payload(&next(&mut b).await).len(), payload(&next(&mut b).await).len()];
    sizes.sort_unstable();
    assert_eq!(sizes, [8, 300_000]);
    let item = next(&mut c).await;
    assert!(matches!(item, FromPeer::Frame { link: Link(8), .. }), "a frame for somebody else, or on another link");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dials_in_is_heard_on_the_inbound_link() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    a.transport.reach(Link(5), &format!("tcp://{}", b.sub_address));
    assert_eq!(next(&mut a).await, FromPeer::Up(Link(5)));
    a.transport.send(TOPIC_ALL, b"{hello").await;
    let item = next(&mut b).await;
    assert!(matches!(&item, FromPeer::Frame { link: Link::INBOUND, .. }));
    assert_eq!(payload(&item), b"{hello");
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
    let large = vec![b'{'; 200_000];
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
            // Whose address is kept out by then for what it did finds nobody to shake hands with.
            role => {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let _ = zmtp::handshake(&mut stream, [Role::Subscriber, Role::Publisher][role - 2]).await;
                stream
            }
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
async fn a_publisher_that_greets_and_closes_or_sends_junk_is_not_dialled_in_a_hurry() {
    for junk in [false, true] {
        let mut b = peer(2).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        b.transport.connect(Link(1), &format!("tcp://{}", listener.local_addr().unwrap()));
        let mut since = Instant::now();
        for attempt in 0..6 {
            let (mut stream, _) = listener.accept().await.unwrap();
            if attempt == 0 {
                since = Instant::now();
            }
            let _ = zmtp::handshake(&mut stream, Role::Publisher).await;
            if junk {
                let _ = stream.write_all(&[1u8, 1, b'*', 0, 1, 0xee].repeat(10)).await;
            }
        }
        // Five pauses, each at least half of 100, 200, 400, 800 and 1000 ms: a slow machine makes it longer, never shorter.
        assert!(since.elapsed() >= Duration::from_millis(1_250), "junk {junk}: {:?}", since.elapsed());
    }
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
    publisher.write_all(&[1u8, 1, b'*', 0, 2, b'{', b'y']).await.unwrap();
    let FromPeer::Frame { connection, .. } = next(&mut a).await else { panic!("no frame") };
    for _ in 0..200 {
        a.waiting.judge(connection, Worth::Junk, 2);
    }
    closed(publisher).await;
    honest.write_all(&[1u8, 1, b'*', 0, 3, b'{', b'o', b'k']).await.unwrap();
    assert_eq!(payload(&next(&mut a).await), b"{ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_no_key_to_be_refused_does_not_get_past_the_front() {
    let mut a = peer(1).await;
    let mut publisher = stranger(a.sub_address, Role::Publisher).await;
    let header = |tag: u16, to: Option<u8>, sender: u8| {
        let mut frame = vec![1u8, (tag >> 8) as u8, tag as u8, 3, u8::from(to.is_some())];
        frame.extend_from_slice(&[sender; 16]);
        frame.extend_from_slice(&[0, 1, 1]);
        frame.extend(to.iter().flat_map(|to| [*to; 16]));
        frame.extend_from_slice(&[7; 80]);
        frame
    };
    let tag = network_tag("marlos");
    let fine = header(tag, Some(1), 2);
    for (frame, reason) in [
        (vec![], Some(Refusal::Malformed)),
        (vec![0xee; 40], Some(Refusal::WrongVersion)),
        (vec![1; 40], Some(Refusal::Malformed)),
        (header(tag ^ 1, None, 2), Some(Refusal::WrongNetwork)),
        (header(tag, Some(3), 2), Some(Refusal::WrongRecipient)),
        (header(tag, None, 1), Some(Refusal::FromSelf)),
        ([header(tag, None, 2), vec![0; 5_000]].concat(), Some(Refusal::TooLarge)),
        (fine.clone(), None),
    ] {
        let mut message = vec![1u8, 1, b'*'];
        zmtp::put_frame(false, false, &frame, &mut message);
        publisher.write_all(&message).await.unwrap();
        let Some(reason) = reason else { continue };
        let since = Instant::now();
        while a.refusals.counted(reason) == 0 {
            assert!(since.elapsed() < Duration::from_secs(20), "{reason:?} was not counted");
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(payload(&next(&mut a).await), fine, "the only one that the node sees");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_with_junk_again_and_again_is_kept_out_and_old_connections_stay() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    subscribe(&mut b, 7, &mut a).await;
    // Before the storm, from the same address, over the port that the storm hits.
    let mut honest = stranger(a.sub_address, Role::Publisher).await;
    honest.write_all(&[1u8, 1, b'*', 0, 3, b'{', b'o', b'k']).await.unwrap();
    assert_eq!(payload(&next(&mut a).await), b"{ok");
    let (mut came_in, mut kept_out) = (0, 0);
    for _ in 0..200 {
        let mut stream = TcpStream::connect(a.sub_address).await.unwrap();
        if zmtp::handshake(&mut stream, Role::Publisher).await.is_err() {
            kept_out += 1;
            continue;
        }
        came_in += 1;
        let _ = stream.write_all(&[1u8, 1, b'*', 0, 1, 0xee].repeat(2_000)).await;
        closed(stream).await;
    }
    let junk = a.refusals.counted(Refusal::WrongVersion);
    assert!(kept_out > came_in, "{came_in} came in, {kept_out} were kept out");
    assert!(a.counters.kept_out.load(Relaxed) >= kept_out && a.counters.cut_off.load(Relaxed) >= 1);
    // Two hundred in the beginning, and a few for each time that it came back: never two hundred each time.
    assert!(junk < 200 + 100 * came_in, "{junk} junk frames were looked at in {came_in} connections");
    honest.write_all(&[1u8, 1, b'*', 0, 3, b'{', b'o', b'k']).await.unwrap();
    assert_eq!(payload(&next(&mut a).await), b"{ok", "a connection that sent no junk, from the same address");
    hears(&mut b, &mut a).await;
    // Nor is the other port any worse.
    let mut c = peer(3).await;
    subscribe(&mut c, 9, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_hundred_silent_connections_are_gone() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    subscribe(&mut b, 7, &mut a).await;
    let mut silent = Vec::new();
    for n in 0..400 {
        silent.push(TcpStream::connect([a.pub_address, a.sub_address][n % 2]).await.unwrap());
    }
    for stream in silent {
        closed(stream).await;
    }
    hears(&mut b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_its_share_of_connections_and_gets_places_back() {
    let a = peer(1).await;
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(stranger(a.pub_address, Role::Subscriber).await);
    }
    closed(TcpStream::connect(a.pub_address).await.unwrap()).await;
    assert_eq!(a.counters.turned_away.load(Relaxed), 1);
    // Another address has its own share.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.9:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(a.pub_address).await.unwrap();
    zmtp::handshake(&mut other, Role::Subscriber).await.unwrap();
    drop(held);
    let since = Instant::now();
    loop {
        let mut again = TcpStream::connect(a.pub_address).await.unwrap();
        if zmtp::handshake(&mut again, Role::Subscriber).await.is_ok() {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "places are never given back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_may_hold_thirty_two_topics_and_no_more() {
    let a = peer(1).await;
    let mut subscriber = stranger(a.pub_address, Role::Subscriber).await;
    // The same topic again and again, and topics given up, are no more.
    let topics = (0u8..32).flat_map(|n| [0, 2, 1, n, 0, 2, 1, n, 0, 2, 1, 200, 0, 2, 0, 200]).take(31 * 16 + 8);
    subscriber.write_all(&topics.collect::<Vec<u8>>()).await.unwrap();
    subscriber.write_all(b"\x04\x09\x04PING\0\x0aab").await.unwrap();
    let mut answer = [0; 9];
    timeout(Duration::from_secs(20), subscriber.read_exact(&mut answer)).await.unwrap().unwrap();
    subscriber.write_all(&[0, 2, 1, 99]).await.unwrap();
    closed(subscriber).await;
    // Nor a topic longer than any.
    let mut subscriber = stranger(a.pub_address, Role::Subscriber).await;
    subscriber.write_all(&[&[0u8, 66, 1][..], &[b'x'; 65]].concat()).await.unwrap();
    closed(subscriber).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_within_the_high_water_mark_arrives_whole() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    subscribe(&mut b, 7, &mut a).await;
    for n in 0..900 {
        a.transport.send(TOPIC_ALL, format!("{{{n}").as_bytes()).await;
    }
    for n in 0..900 {
        assert_eq!(payload(&next(&mut b).await), format!("{{{n}").as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tarpit_is_given_up_and_holds_nobody_up() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    let tarpit = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for link in 1..=20 {
        b.transport.connect(Link(link), &format!("tcp://{}", tarpit.local_addr().unwrap()));
    }
    subscribe(&mut b, 77, &mut a).await;
    // It accepts, never greets, and holds on to what it has.
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(
            timeout(Duration::from_secs(60), tarpit.accept()).await.expect("dialled once and never again").unwrap(),
        );
    }
    hears(&mut b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_that_was_dialled_gets_nothing_through_that_was_not_asked_for() {
    let mut b = peer(2).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    b.transport.connect(Link(1), &format!("tcp://{}", listener.local_addr().unwrap()));
    let (mut hostile, _) = listener.accept().await.unwrap();
    zmtp::handshake(&mut hostile, Role::Publisher).await.unwrap();
    assert_eq!(next(&mut b).await, FromPeer::Up(Link(1)));
    let mut said = Vec::new();
    for topic in [&b""[..], b"**", b"@00000000", b"x", b"* "] {
        zmtp::put_frame(true, false, topic, &mut said);
        zmtp::put_frame(false, false, b"{unasked", &mut said);
    }
    zmtp::put_frame(true, false, b"*", &mut said);
    zmtp::put_frame(false, false, b"{asked", &mut said);
    hostile.write_all(&said).await.unwrap();
    assert_eq!(payload(&next(&mut b).await), b"{asked");
    assert_eq!(b.counters.unasked.load(Relaxed), 5);
    // Half a message, three frames, or none at all: never handed on.
    let _ = hostile.write_all(b"\x01\x01*\x01\x02{a\x00\x01b").await;
    assert_eq!(next(&mut b).await, FromPeer::Down(Link(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_is_no_name_two_peers_may_have_the_same() {
    let mut a = peer(1).await;
    let mut connections = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(a.sub_address).await.unwrap();
        let mut said = [0u8; 64];
        (said[0], said[9], said[10]) = (0xff, 0x7f, 3);
        said[12..16].copy_from_slice(b"NULL");
        stream.write_all(&said).await.unwrap();
        let mut ready = Vec::new();
        let properties = b"\x05READY\x0bSocket-Type\0\0\0\x03PUB\x08Identity\0\0\0\x04same";
        zmtp::put_frame(false, true, properties, &mut ready);
        stream.write_all(&ready).await.unwrap();
        // Their greeting, their READY, and the two subscriptions that say that we are in.
        let mut theirs = vec![0; 64 + 27];
        timeout(Duration::from_secs(20), stream.read_exact(&mut theirs)).await.unwrap().unwrap();
        connections.push(stream);
    }
    for (n, connection) in connections.iter_mut().enumerate() {
        connection.write_all(&[1, 1, b'*', 0, 2, b'{', n as u8]).await.unwrap();
        assert_eq!(payload(&next(&mut a).await), [b'{', n as u8]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_handshake_is_closed() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    subscribe(&mut b, 7, &mut a).await;
    let greeting = |version: u8, mechanism: &[u8]| {
        let mut bytes = vec![0u8; 64];
        (bytes[0], bytes[9], bytes[10]) = (0xff, 0x7f, version);
        bytes[12..12 + mechanism.len()].copy_from_slice(mechanism);
        bytes
    };
    let with = |command: &[u8]| {
        let mut bytes = greeting(3, b"NULL");
        zmtp::put_frame(false, true, command, &mut bytes);
        bytes
    };
    let cases: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0; 200],
        vec![0xff; 200],
        b"\xff\0\0\0\0\0\0\0\x01\x7f\x01\x00".iter().copied().chain([0; 60]).collect(),
        greeting(2, b"NULL"),
        greeting(3, b"PLAIN"),
        greeting(3, b"CURVE"),
        greeting(3, b"NULLX"),
        greeting(3, b""),
        with(b"\x05READY"),
        with(b"\x05READY\x0bSocket-Type\0\0\0\x03"),
        with(b"\x05READY\x0bSocket-Type\xff\xff\xff\xffSUB"),
        with(b"\x05READY\x0bSocket-Type\0\0\0\x04PAIR"),
        with(b"\x05READY\x0bSocket-Type\0\0\0\x06STREAM"),
        with(b"\x05HELLO\x0bSocket-Type\0\0\0\x03SUB"),
        with(&[b"\x05READY\x08Identity\0\0\x02\0".as_slice(), &[b'i'; 512]].concat()),
        [greeting(3, b"NULL"), b"\0\x02\x01*".to_vec()].concat(),
    ];
    for case in cases {
        for address in [a.pub_address, a.sub_address] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream.write_all(&case).await;
            closed(stream).await;
        }
    }
    hears(&mut b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trickle_of_bytes_does_not_hold_a_connection() {
    let message = Duration::from_millis(400);
    let a = peer_with(1, free_port().await, Duration::from_secs(12), message).await;
    // In the greeting, in a subscription, in a topic, in a frame: a byte now and then, and never an end.
    let trickle = async |mut stream: TcpStream, first: &[u8]| {
        let _ = stream.write_all(first).await;
        let since = Instant::now();
        while stream.write_all(&[0x7f]).await.is_ok() {
            assert!(since.elapsed() < Duration::from_secs(60), "a trickle held its connection");
            let mut byte = [0; 64];
            let read = timeout(Duration::from_millis(100), stream.read(&mut byte)).await;
            if matches!(read, Ok(Ok(0) | Err(_))) {
                return;
            }
        }
    };
    let greeter = TcpStream::connect(a.sub_address).await.unwrap();
    let subscriber = stranger(a.pub_address, Role::Subscriber).await;
    let (topic, frame) =
        (stranger(a.sub_address, Role::Publisher).await, stranger(a.sub_address, Role::Publisher).await);
    tokio::join!(
        trickle(greeter, &[0xff]),
        trickle(subscriber, &[0, 60, 1]),
        trickle(topic, &[1, 60]),
        trickle(frame, &[1, 1, b'*', 2, 0, 0, 0, 0, 0, 0, 0xff, 0xff]),
    );
    assert!(a.counters.refused.load(Relaxed) >= 4, "{:?}", a.counters);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_subscriber_is_let_go() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    subscribe(&mut b, 7, &mut a).await;
    let mut half = stranger(a.pub_address, Role::Subscriber).await;
    half.write_all(&[0, 2, 1, b'*']).await.unwrap();
    half.shutdown().await.unwrap();
    closed(half).await;
    hears(&mut b, &mut a).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receive_that_is_cancelled_loses_nothing() {
    let (mut a, mut b) = (peer(1).await, peer(2).await);
    subscribe(&mut b, 7, &mut a).await;
    let speaker = tokio::spawn(async move {
        for n in 0..5_000u32 {
            a.transport.send(TOPIC_ALL, format!("{{{n}").as_bytes()).await;
            if n % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        a
    });
    let (mut heard, since) = (0, Instant::now());
    while heard < 5_000 {
        tokio::select! {
            biased;
            () = tokio::task::yield_now() => {}
            item = b.waiting.next() => {
                assert_eq!(payload(&item.expect("it goes on")), format!("{{{heard}").as_bytes());
                heard += 1;
            }
        }
        // What comes without a pause can be more than the high-water mark on a slow machine; then it is counted.
        assert!(since.elapsed() < Duration::from_secs(60), "{heard} of 5000");
    }
    drop(speaker.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_meet_over_ipv6() {
    let Ok(probe) = TcpListener::bind("[::1]:0").await else {
        eprintln!("skipped: this machine has no IPv6");
        return;
    };
    let address = probe.local_addr().unwrap();
    drop(probe);
    let (mut a, mut b) = (peer_at(1, address, Duration::from_secs(12)).await, peer(2).await);
    subscribe(&mut b, 7, &mut a).await;
}
