//! One connection on which we listen: a peer's PUB that we dialled, or the PUB of somebody whom we cannot dial.
//!
//! Messages are read whole, checked, and handed to the library's SUB socket with a frame in front that names the
//! connection: the library itself does not say where a message came from. That the stream is up, and that it broke, go the
//! same way, so that they keep their place between the frames.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::publish::write_with_progress;
use super::zmtp::{self, Command, Role, refuse};
use super::{Counters, HANDSHAKE_TIMEOUT, Limits, WRITE_STALL};
use crate::driver::inbound::{Inbound, Worth};
use crate::driver::refusals::Refusals;
use crate::id::Link;
use crate::wire::Door;

/// The longest topic that is ours: `@` and 32 hex digits.
const MAX_TOPIC: u64 = 64;
/// Messages for other topics that a connection may send before it is closed: an honest PUB sends none.
const MAX_UNASKED: u32 = 100;
/// Messages above this size share a pool of memory among all connections.
const LARGE: u64 = 64 * 1024;

/// What the frame in front of every message to the inner socket says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What follows.
    pub kind: MarkKind,
    /// The stream it came in on.
    pub link: Link,
    /// The connection: many share [`Link::INBOUND`].
    pub connection: u32,
}

/// What a message to the inner socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A topic and a frame follow.
    Frame,
    /// The subscription is up; nothing follows.
    Up,
    /// The connection broke; nothing follows.
    Down,
}

impl Mark {
    /// Nine bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 9] {
        let kind = match self.kind {
            MarkKind::Frame => 0,
            MarkKind::Up => 1,
            MarkKind::Down => 2,
        };
        let mut bytes = [kind, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[1..5].copy_from_slice(&self.link.0.to_be_bytes());
        bytes[5..9].copy_from_slice(&self.connection.to_be_bytes());
        bytes
    }

    /// The mark that these bytes say.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Mark> {
        let bytes: &[u8; 9] = bytes.try_into().ok()?;
        let kind = match bytes[0] {
            0 => MarkKind::Frame,
            1 => MarkKind::Up,
            2 => MarkKind::Down,
            _ => return None,
        };
        let number = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Some(Mark { kind, link: Link(number(1)), connection: number(5) })
    }
}

/// What a subscription needs to know.
#[derive(Debug)]
pub struct Listening {
    /// What a header has to say.
    pub door: Door,
    /// Where frames are judged.
    pub inbound: Inbound,
    /// Where refusals are counted.
    pub refusals: Arc<Refusals>,
    /// The inner SUB socket's path.
    pub inner: std::path::PathBuf,
    /// The topics to ask for; nothing else is let through.
    pub topics: [String; 2],
    /// Limits on what comes in.
    pub limits: Limits,
    /// Memory that large messages of all connections share, in bytes.
    pub large: Arc<Semaphore>,
}

/// Listens until the connection ends. `welcome` is called when hands are shaken. Returns whether the subscription is still up for
/// the other side of the inner socket, and how it ended.
pub async fn listen(
    remote: TcpStream,
    link: Link,
    connection: u32,
    how: &Listening,
    counters: &Counters,
    welcome: impl FnOnce(),
) -> (bool, io::Error) {
    let mut up = false;
    match subscribe(remote, link, connection, how, counters, &mut up, welcome).await {
        Ok(never) => match never {},
        Err(error) => (up, error),
    }
}

async fn subscribe(
    mut remote: TcpStream,
    link: Link,
    connection: u32,
    how: &Listening,
    counters: &Counters,
    up: &mut bool,
    welcome: impl FnOnce(),
) -> io::Result<std::convert::Infallible> {
    let from = remote.peer_addr().map(|a| a.ip().to_canonical().to_string()).unwrap_or_default();
    timeout(HANDSHAKE_TIMEOUT, zmtp::handshake(&mut remote, Role::Subscriber)).await??;
    welcome();
    let mut inner = UnixStream::connect(&how.inner).await?;
    timeout(HANDSHAKE_TIMEOUT, zmtp::handshake(&mut inner, Role::Publisher)).await??;
    let mut wanted = Vec::new();
    for topic in &how.topics {
        zmtp::put_frame(false, false, format!("\x01{topic}").as_bytes(), &mut wanted);
    }
    write_with_progress(&mut remote, &wanted, WRITE_STALL).await?;
    let (mut from_inner, mut to_inner) = inner.into_split();
    let (from_remote, mut to_remote) = remote.into_split();
    let mark = Mark { kind: MarkKind::Up, link, connection };
    to_inner.write_all(&only(mark)).await?;
    *up = true;
    let end = {
        let from_remote = BufReader::new(from_remote);
        let relay = relay(from_remote, &mut to_remote, &mut to_inner, mark, &from, how, counters);
        // The inner socket's own subscriptions are of no interest, but have to be read.
        let mut ignored = tokio::io::sink();
        tokio::select! {
            end = relay => end,
            _ = tokio::io::copy(&mut from_inner, &mut ignored) => refuse("the inner socket closed"),
        }
    };
    // A relay that was stopped never leaves half a message behind: it is only ever stopped by its own error.
    if to_inner.write_all(&only(Mark { kind: MarkKind::Down, ..mark })).await.is_ok() {
        *up = false;
    }
    end
}

/// A message of nothing but the mark.
fn only(mark: Mark) -> Vec<u8> {
    let mut message = Vec::new();
    zmtp::put_frame(false, false, &mark.to_bytes(), &mut message);
    message
}

async fn relay<R, W, I>(
    mut from: R,
    to_remote: &mut W,
    to_inner: &mut I,
    mark: Mark,
    address: &str,
    how: &Listening,
    counters: &Counters,
) -> io::Result<std::convert::Infallible>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    I: AsyncWrite + Unpin,
{
    let mark = Mark { kind: MarkKind::Frame, ..mark };
    let (mut message, mut topic, mut unasked) = (Vec::new(), Vec::new(), 0);
    loop {
        message.clear();
        message.shrink_to(2 * LARGE as usize);
        // The first byte may take as long as four heartbeats; once a message has begun, it has to end.
        let header = timeout(how.limits.idle, zmtp::read_header(&mut from, MAX_TOPIC.max(zmtp::MAX_COMMAND))).await??;
        topic.clear();
        timeout(how.limits.message, zmtp::read_body(&mut from, header.length, &mut topic)).await??;
        if header.command {
            match zmtp::parse_command(&topic) {
                Command::Ping(context) => {
                    write_with_progress(to_remote, &zmtp::pong(&context), WRITE_STALL).await?;
                }
                Command::Error => return refuse("the publisher gave up"),
                Command::Subscribe(_) | Command::Cancel(_) | Command::Other => {}
            }
            continue;
        }
        if !header.more || header.length > MAX_TOPIC {
            return refuse("a message that is not a topic and a frame");
        }
        zmtp::put_frame(true, false, &mark.to_bytes(), &mut message);
        zmtp::put_frame(true, false, &topic, &mut message);
        let length = timeout(how.limits.message, read_frame(&mut from, how, &mut message)).await??;
        counters.bytes_in.fetch_add(header.length + length + 4, Relaxed);
        if !how.topics.iter().any(|ours| ours.as_bytes() == topic) {
            counters.unasked.fetch_add(1, Relaxed);
            unasked += 1;
            if unasked > MAX_UNASKED {
                return refuse("messages for topics that were not asked for");
            }
            continue;
        }
        // What needs neither keys nor memory to be refused goes no further: it costs its sender more than us.
        let frame = &message[message.len() - usize::try_from(length).expect("within max_message")..];
        if let Err(reason) = how.door.glance(frame) {
            how.refusals.by_front(mark.link, address, reason);
            how.inbound.judge(mark.connection, Worth::refused(reason), frame.len());
            // So that it is noticed when this was one too many.
            tokio::task::yield_now().await;
            continue;
        }
        to_inner.write_all(&message).await?;
    }
}

/// Appends the last frame of a message, header and body.
async fn read_frame<R: AsyncRead + Unpin>(from: &mut R, how: &Listening, message: &mut Vec<u8>) -> io::Result<u64> {
    let header = zmtp::read_header(from, how.limits.max_message).await?;
    if header.command || header.more {
        return refuse("a message of more than a topic and a frame");
    }
    let _share: Option<OwnedSemaphorePermit> = if header.length > LARGE {
        let share = u32::try_from(header.length).expect("max_message is below 4 GiB");
        Some(how.large.clone().acquire_many_owned(share).await.expect("the pool is never closed"))
    } else {
        None
    };
    zmtp::put_header(header, message);
    zmtp::read_body(from, header.length, message).await?;
    Ok(header.length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_bytes() {
        for kind in [MarkKind::Frame, MarkKind::Up, MarkKind::Down] {
            let mark = Mark { kind, link: Link(77), connection: 0xdead_beef };
            assert_eq!(Mark::from_bytes(&mark.to_bytes()), Some(mark));
        }
        assert_eq!(Mark::from_bytes(&[9; 9]), None);
        assert_eq!(Mark::from_bytes(&[0; 8]), None);
    }
}
