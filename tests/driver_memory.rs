//! Strangers do not fill the memory of a process. Alone in its binary, as memory is measured by the process.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the driver under test has sockets and clocks, and what was measured is said"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use marlos::driver::front::zmtp::{self, Role};
use marlos::driver::front::{Counters, Limits};
use marlos::driver::inbound;
use marlos::driver::zmq::{TOPIC_ALL, Transport, Where};
use marlos::id::NodeId;
use marlos::wire::{Door, network_tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What all the strangers of this test may cost together: 50 MiB.
const MOST: usize = 50 << 20;
/// What a subscriber that reads nothing is sent: far more than it may make wait.
const SENT: usize = 200 << 20;
/// How far ahead of the one that reads.
const AHEAD: usize = 512 << 10;

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

async fn stranger(address: SocketAddr, role: Role) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    zmtp::handshake(&mut stream, role).await.unwrap();
    stream
}

async fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_stranger_fills_memory() {
    let directory = tempfile::tempdir().unwrap();
    let (inbound, mut waiting) = inbound::channel(10_000);
    let counters = Arc::<Counters>::default();
    let (pub_address, sub_address) = (free().await, free().await);
    let limits = Limits {
        max_message: 10 << 20,
        queue_messages: 1_000,
        queue_bytes: 4 << 20,
        idle: Duration::from_secs(12),
        message: Duration::from_secs(30),
    };
    let door = Door { network_tag: network_tag("marlos"), own_id: NodeId([1; 16]), max_message_size: 10 << 20 };
    let at = Where { pub_address, sub_address, directory: directory.path(), door, limits };
    let mut node = Transport::bind(at, inbound, Arc::clone(&counters), Arc::default()).await.unwrap();
    let reader = tokio::spawn(async move { while waiting.next().await.is_some() {} });
    let before = resident();
    let grown = |what: &str| {
        let grown = resident().saturating_sub(before);
        eprintln!("{:>6} KiB more after {what}", grown >> 10);
        assert!(grown < MOST, "{grown} B more after {what}");
    };

    // Announced, and never sent: a terabyte, and the largest message that there may be, many times.
    let mut held = Vec::new();
    for _ in 0..60 {
        let mut publisher = stranger(sub_address, Role::Publisher).await;
        let length = (10u64 << 20).to_be_bytes();
        publisher.write_all(&[&[1u8, 1, b'*', 2][..], &length, &[b'{'; 1_000]].concat()).await.unwrap();
        held.push(publisher);
    }
    grown("sixty connections that announced 10 MiB each");
    drop(held);

    // Nine megabytes of frames that never end a message.
    let mut publisher = stranger(sub_address, Role::Publisher).await;
    let more = [1u8, 0].repeat(1 << 20);
    for _ in 0..5 {
        if publisher.write_all(&more).await.is_err() {
            break;
        }
    }
    grown("endless MORE frames");

    // Ten subscribers that read nothing, five of which have hung up halfway.
    let mut stalled = Vec::new();
    for n in 0..10 {
        let mut subscriber = stranger(pub_address, Role::Subscriber).await;
        subscriber.write_all(&[0, 2, 1, b'*']).await.unwrap();
        if n % 2 == 0 {
            subscriber.shutdown().await.unwrap();
        }
        stalled.push(subscriber);
    }
    let mut healthy = stranger(pub_address, Role::Subscriber).await;
    healthy.write_all(&[0, 2, 1, b'*']).await.unwrap();
    let heard = Arc::<AtomicUsize>::default();
    let ear = tokio::spawn({
        let heard = Arc::clone(&heard);
        async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(read @ 1..) = healthy.read(&mut buffer).await {
                heard.fetch_add(read, Relaxed);
            }
        }
    });
    let frame = vec![b'{'; 4 << 10];
    // What is said before the library has taken the subscription in is lost, and not to be waited for.
    while heard.load(Relaxed) == 0 {
        node.send(TOPIC_ALL, b"{").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for n in 0..SENT / frame.len() {
        node.send(TOPIC_ALL, &frame).await;
        // As fast as somebody who reads can hear it: what is measured is what the others hold up.
        while n * frame.len() > heard.load(Relaxed) + AHEAD {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if n % 4_096 == 0 {
            grown("stalled subscribers");
        }
    }
    grown("stalled subscribers");
    assert!(counters.dropped_out.load(Relaxed) > 0 || counters.refused.load(Relaxed) > 0, "{counters:?}");
    drop((stalled, node));
    ear.await.unwrap();
    eprintln!("{:>6} KiB reached the subscriber that reads", heard.load(Relaxed) >> 10);
    reader.abort();
}
