//! A stranger with a raw socket: it shakes hands, listens to what a node publishes, and sends what it likes, as fast as it can.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use marlos::config::Codec;
use marlos::id::NodeId;
use marlos::time::WallTime;
use marlos::wire::message::Ping;
use marlos::wire::{Header, MsgType, Payload, Signature, encode, network_tag, seal_with};

/// What the other side does not answer in this time it will not answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Connects and shakes hands as `PUB` or `SUB`.
pub fn shake(address: SocketAddr, socket_type: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut said = vec![0u8; 64];
    (said[0], said[9], said[10]) = (0xff, 0x7f, 3);
    said[12..16].copy_from_slice(b"NULL");
    let ready = [&b"\x05READY\x0bSocket-Type\0\0\0"[..], &[socket_type.len() as u8], socket_type.as_bytes()].concat();
    said.extend_from_slice(&[4, ready.len() as u8]);
    said.extend_from_slice(&ready);
    stream.write_all(&said)?;
    let mut greeting = [0; 66];
    stream.read_exact(&mut greeting)?;
    let mut theirs = vec![0; usize::from(greeting[65])];
    stream.read_exact(&mut theirs)?;
    Ok(stream)
}

/// A message of a topic and a frame as it lies on the wire.
pub fn message(topic: &[u8], frame: &[u8]) -> Vec<u8> {
    let mut message = vec![1, topic.len() as u8];
    message.extend_from_slice(topic);
    match u8::try_from(frame.len()) {
        Ok(short) => message.extend_from_slice(&[0, short]),
        Err(_) => {
            message.push(2);
            message.extend_from_slice(&(frame.len() as u64).to_be_bytes());
        }
    }
    message.extend_from_slice(frame);
    message
}

fn read_frame(stream: &mut TcpStream) -> io::Result<(u8, Vec<u8>)> {
    let mut flags = [0];
    stream.read_exact(&mut flags)?;
    let length = if flags[0] & 2 == 0 {
        let mut length = [0];
        stream.read_exact(&mut length)?;
        u64::from(length[0])
    } else {
        let mut length = [0; 8];
        stream.read_exact(&mut length)?;
        u64::from_be_bytes(length)
    };
    let mut body = vec![0; usize::try_from(length).expect("a node says no more than it may")];
    stream.read_exact(&mut body)?;
    Ok((flags[0], body))
}

/// Everything that a node publishes, until `enough` says so of what there is: topic and frame.
pub fn capture(from: SocketAddr, mut enough: impl FnMut(&[(Vec<u8>, Vec<u8>)]) -> bool) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut stream = shake(from, "SUB").unwrap();
    // The empty topic: everything, what is for others too.
    stream.write_all(&[0, 1, 1]).unwrap();
    let mut captured = Vec::new();
    while !enough(&captured) {
        let (flags, topic) = read_frame(&mut stream).unwrap();
        assert_eq!(flags & 1, 1, "a topic and a frame");
        let (_, frame) = read_frame(&mut stream).unwrap();
        captured.push((topic, frame));
    }
    captured
}

/// Sends these messages over one connection and waits until the other side has read them, or hung up.
pub fn inject(address: SocketAddr, messages: &[Vec<u8>]) -> io::Result<()> {
    let mut stream = shake(address, "PUB")?;
    for message in messages {
        stream.write_all(message)?;
    }
    // Answered when all before it was read.
    stream.write_all(b"\x04\x09\x04PING\0\x0aab")?;
    let mut said = Vec::new();
    let mut byte = [0; 1];
    while !said.ends_with(b"PONGab") {
        if stream.read(&mut byte)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        said.push(byte[0]);
    }
    Ok(())
}

/// What a flood is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Junk {
    /// Bytes that are no envelope.
    Noise,
    /// An envelope of a known member, fresh in every respect, whose signature is wrong.
    Forged,
    /// Envelopes that were sent by a member and delivered before.
    Replayed,
    /// Text that has to be parsed before it turns out to be no envelope.
    Json,
}

/// An envelope in the name of `sender`, with a signature that is none.
pub fn forged(sender: NodeId, counter: u64) -> Vec<u8> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let header = Header {
        network_tag: network_tag("marlos"),
        kind: MsgType::Ping,
        sender,
        to: None,
        timestamp: WallTime(now.as_micros() as u64),
        incarnation: 1,
        counter,
        compressed: false,
    };
    let ping = Payload::Ping(Ping { members_digest: 0, ledger_digest: 0, pongs: [None, None] });
    let (mut payload, mut frame) = (Vec::new(), Vec::new());
    encode(Codec::Bincode, &ping, &mut payload);
    let sign = &mut |_: &marlos::wire::Signed<'_>| Signature([7; 64]);
    seal_with(header, Codec::Bincode, &[(MsgType::Ping, &payload)], "marlos", sign, &mut frame);
    frame
}

/// How a flood went.
#[derive(Debug, Default)]
pub struct Tally {
    /// Frames that were due by the flood's rate.
    pub due: AtomicU64,
    /// Frames that the attacker's machine took.
    pub written: AtomicU64,
    /// Connections that got as far as a handshake.
    pub connections: AtomicU64,
    /// Connections that did not.
    pub kept_out: AtomicU64,
}

/// Sends `per_second` frames of junk until told to stop, over a new connection after each cut.
pub fn flood(to: SocketAddr, junk: &[Vec<u8>], per_second: u64, stop: &AtomicBool, tally: &Tally) {
    let start = Instant::now();
    let mut stream: Option<TcpStream> = None;
    let (mut done, mut at, mut batch) = (0u64, 0usize, Vec::new());
    while !stop.load(Relaxed) {
        let due = start.elapsed().as_micros() as u64 * per_second / 1_000_000;
        tally.due.store(due, Relaxed);
        let behind = (due - done).min(256);
        if behind == 0 {
            std::thread::sleep(Duration::from_micros(500));
            continue;
        }
        let Some(open) = &mut stream else {
            match shake(to, "PUB") {
                Ok(open) => {
                    tally.connections.fetch_add(1, Relaxed);
                    stream = Some(open);
                }
                Err(_) => {
                    tally.kept_out.fetch_add(1, Relaxed);
                    done = due;
                }
            }
            continue;
        };
        batch.clear();
        for _ in 0..behind {
            batch.extend_from_slice(&junk[at % junk.len()]);
            at += 1;
        }
        match open.write_all(&batch) {
            Ok(()) => {
                tally.written.fetch_add(behind, Relaxed);
                done += behind;
            }
            Err(_) => {
                stream = None;
                done = due;
            }
        }
    }
}
