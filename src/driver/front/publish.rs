//! One connection on which we publish: a stranger that subscribed to us, or a peer's SUB that we dialled.
//!
//! Towards the library's PUB socket this is a subscriber of its own, so filtering and fan-out stay the library's. What it
//! says is read at once and kept here, bounded: the library's own queue for a subscriber is not.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::queue::Outgoing;
use super::zmtp::{self, Command, Role, refuse};
use super::{Counters, HANDSHAKE_TIMEOUT, Limits, WRITE_STALL};

/// Subscriptions that one connection may hold: a peer needs two.
const MAX_SUBSCRIPTIONS: usize = 32;
/// The longest topic: `@` and 32 hex digits are 33.
const MAX_TOPIC: usize = 64;
/// Bytes per second that a peer has to take while something waits for it.
const LEAST_RATE: u64 = 16 * 1024;
/// How much is handed to the system at once.
const WRITE_BATCH: usize = 64 * 1024;

/// Serves the connection until it ends. `welcome` is called when hands are shaken, and `up` is told once the peer has subscribed.
///
/// # Errors
/// Always: how it ended.
pub async fn serve(
    mut remote: TcpStream,
    inner: &Path,
    limits: &Limits,
    counters: &Counters,
    welcome: impl FnOnce(),
    up: Option<oneshot::Sender<()>>,
) -> io::Result<()> {
    timeout(HANDSHAKE_TIMEOUT, zmtp::handshake(&mut remote, Role::Publisher)).await??;
    welcome();
    let mut inner = UnixStream::connect(inner).await?;
    timeout(HANDSHAKE_TIMEOUT, zmtp::handshake(&mut inner, Role::Subscriber)).await??;
    let (from_remote, mut to_remote) = remote.into_split();
    let (from_inner, mut to_inner) = inner.into_split();
    let queue = Outgoing::new(limits.queue_messages, limits.queue_bytes);
    // Whichever ends first ends the connection, and with it everything that waits.
    tokio::select! {
        end = hear_subscriptions(BufReader::new(from_remote), &mut to_inner, &queue, limits.message, up) => end,
        end = fill(BufReader::new(from_inner), &queue, limits, counters) => end,
        end = drain(&queue, &mut to_remote, counters) => end,
    }
}

/// Passes subscriptions on, each once, and answers PINGs.
async fn hear_subscriptions<R, W>(
    mut from: R,
    inner: &mut W,
    queue: &Outgoing,
    patience: Duration,
    mut up: Option<oneshot::Sender<()>>,
) -> io::Result<()>
where
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut held = BTreeSet::new();
    let mut body = Vec::new();
    loop {
        // Whoever has subscribed may be silent for ever; before that, and in the middle of a word, there is an end to patience.
        let first = from.fill_buf();
        let more = if held.is_empty() { timeout(patience, first).await?? } else { first.await? };
        if more.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        body.clear();
        let header = timeout(patience, async {
            let header = zmtp::read_header(&mut from, zmtp::MAX_COMMAND).await?;
            zmtp::read_body(&mut from, header.length, &mut body).await?;
            io::Result::Ok(header)
        });
        let header = header.await??;
        let (topic, wanted) = if header.command {
            match zmtp::parse_command(&body) {
                Command::Subscribe(topic) => (topic, true),
                Command::Cancel(topic) => (topic, false),
                Command::Ping(context) => {
                    queue.push(zmtp::pong(&context));
                    continue;
                }
                Command::Error => return refuse("the subscriber gave up"),
                Command::Other => continue,
            }
        } else {
            match body.split_first() {
                Some((1, topic)) if !header.more => (topic.to_vec(), true),
                Some((0, topic)) if !header.more => (topic.to_vec(), false),
                _ => return refuse("a subscriber sent something that is no subscription"),
            }
        };
        if topic.len() > MAX_TOPIC {
            return refuse("a topic is too long");
        }
        let changed = if wanted { held.insert(topic.clone()) } else { held.remove(&topic) };
        if held.len() > MAX_SUBSCRIPTIONS {
            return refuse("too many subscriptions");
        }
        if changed {
            let mut frame = Vec::with_capacity(topic.len() + 3);
            frame.extend_from_slice(&[0, topic.len() as u8 + 1, u8::from(wanted)]);
            frame.extend_from_slice(&topic);
            inner.write_all(&frame).await?;
            if let Some(up) = up.take() {
                // Whoever waited may have gone.
                let _ = up.send(());
            }
        }
    }
}

/// Takes from the library as fast as it gives; what finds no room is dropped and counted.
async fn fill<R>(mut from: R, queue: &Outgoing, limits: &Limits, counters: &Counters) -> io::Result<()>
where
    R: AsyncRead + Unpin,
{
    loop {
        let mut message = Vec::new();
        loop {
            let header = zmtp::read_header(&mut from, limits.max_message).await?;
            zmtp::put_header(header, &mut message);
            zmtp::read_body(&mut from, header.length, &mut message).await?;
            if !header.more {
                break;
            }
        }
        if !queue.push(message) {
            counters.dropped_out.fetch_add(1, Relaxed);
        }
    }
}

/// Writes what waits; a peer that takes nothing for five seconds is let go.
async fn drain<W: AsyncWrite + Unpin>(queue: &Outgoing, to: &mut W, counters: &Counters) -> io::Result<()> {
    let mut batch = Vec::new();
    loop {
        batch.clear();
        batch.shrink_to(2 * WRITE_BATCH);
        queue.take(&mut batch, WRITE_BATCH).await;
        // A peer that takes a byte now and then makes progress, too, but holds what waits for it for ever.
        let patience = WRITE_STALL + Duration::from_secs(batch.len() as u64 / LEAST_RATE);
        timeout(patience, write_with_progress(to, &batch, WRITE_STALL)).await??;
        counters.bytes_out.fetch_add(batch.len() as u64, Relaxed);
    }
}

/// Writes everything, as long as something moves every `stall`.
pub async fn write_with_progress<W: AsyncWrite + Unpin>(to: &mut W, bytes: &[u8], stall: Duration) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match timeout(stall, to.write(rest)).await?? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => rest = &rest[written..],
        }
    }
    Ok(())
}
