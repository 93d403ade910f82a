//! ZMTP 3.0 (rfc.zeromq.org/spec/23), as little of it as PUB and SUB need, with every length checked before room is made for it.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// A command is never longer: the longest that honest peers send is a READY with an identity of 255 bytes.
pub const MAX_COMMAND: u64 = 512;

/// Room that is reserved before the bytes of a frame have really arrived.
const RESERVE_AHEAD: u64 = 64 * 1024;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Which end of PUB/SUB we are on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We send messages and hear subscriptions.
    Publisher,
    /// We send subscriptions and hear messages.
    Subscriber,
}

/// What stands in front of a frame's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Another frame of the same message follows.
    pub more: bool,
    /// The body is a command, not part of a message.
    pub command: bool,
    /// Bytes of the body.
    pub length: u64,
}

/// What a peer says besides messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// It wants a PONG with this context.
    Ping(Vec<u8>),
    /// ZMTP 3.1's way to subscribe.
    Subscribe(Vec<u8>),
    /// ZMTP 3.1's way to unsubscribe.
    Cancel(Vec<u8>),
    /// It gives up.
    Error,
    /// Nothing that PUB and SUB need.
    Other,
}

/// An `InvalidData` error that says what the peer did.
pub fn refuse<T>(what: &'static str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Reads a frame's header.
///
/// # Errors
/// The stream's, or `InvalidData` where a flag is reserved or the body is longer than `limit`.
pub async fn read_header<R: AsyncRead + Unpin>(from: &mut R, limit: u64) -> io::Result<Header> {
    let flags = from.read_u8().await?;
    if flags & !(MORE | LONG | COMMAND) != 0 {
        return refuse("a reserved flag is set");
    }
    let length = if flags & LONG != 0 { from.read_u64().await? } else { u64::from(from.read_u8().await?) };
    let header = Header { more: flags & MORE != 0, command: flags & COMMAND != 0, length };
    if header.command && (header.more || length > MAX_COMMAND) {
        return refuse("a command is too long or said to continue");
    }
    if length > limit {
        return refuse("a frame is longer than allowed here");
    }
    Ok(header)
}

/// Appends exactly `length` bytes to `to`. Room grows with what arrives, not with what was announced.
///
/// # Errors
/// The stream's; `UnexpectedEof` where it ends early.
pub async fn read_body<R: AsyncRead + Unpin>(from: &mut R, length: u64, to: &mut Vec<u8>) -> io::Result<()> {
    to.reserve(length.min(RESERVE_AHEAD) as usize);
    let read = (&mut *from).take(length).read_to_end(to).await?;
    if (read as u64) < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

/// Appends one frame.
pub fn put_frame(more: bool, command: bool, body: &[u8], to: &mut Vec<u8>) {
    put_header(Header { more, command, length: body.len() as u64 }, to);
    to.extend_from_slice(body);
}

/// Appends a frame's header.
pub fn put_header(header: Header, to: &mut Vec<u8>) {
    let flags = (u8::from(header.more) * MORE) | (u8::from(header.command) * COMMAND);
    match u8::try_from(header.length) {
        Ok(short) => to.extend_from_slice(&[flags, short]),
        Err(_) => {
            to.push(flags | LONG);
            to.extend_from_slice(&header.length.to_be_bytes());
        }
    }
}

/// Reads a command's body.
#[must_use]
pub fn parse_command(body: &[u8]) -> Command {
    let Some((&name_length, rest)) = body.split_first() else { return Command::Other };
    let Some((name, data)) = rest.split_at_checked(usize::from(name_length)) else { return Command::Other };
    match name {
        // Two bytes of time to live, then at most 16 bytes of context that the PONG repeats.
        b"PING" if (2..=18).contains(&data.len()) => Command::Ping(data[2..].to_vec()),
        b"SUBSCRIBE" => Command::Subscribe(data.to_vec()),
        b"CANCEL" => Command::Cancel(data.to_vec()),
        b"ERROR" => Command::Error,
        _ => Command::Other,
    }
}

/// The answer to a PING.
#[must_use]
pub fn pong(context: &[u8]) -> Vec<u8> {
    let mut body = b"\x04PONG".to_vec();
    body.extend_from_slice(context);
    let mut frame = Vec::new();
    put_frame(false, true, &body, &mut frame);
    frame
}

/// Greets, agrees on ZMTP 3 without security (messages are signed above it), and checks that the peer is the other end of PUB/SUB.
/// No identity is sent, and the peer's is ignored: the library would take it for the name of the connection.
///
/// # Errors
/// The stream's, or `InvalidData` where the peer is not what it has to be. The caller bounds the time.
pub async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, role: Role) -> io::Result<()> {
    let mut ours = [0; 64];
    (ours[0], ours[9], ours[10]) = (0xff, 0x7f, 3);
    ours[12..16].copy_from_slice(b"NULL");
    stream.write_all(&ours).await?;
    let mut theirs = [0; 64];
    // A stranger that speaks something else is sent away after ten bytes, not after 64.
    stream.read_exact(&mut theirs[..10]).await?;
    if theirs[0] != 0xff || theirs[9] != 0x7f {
        return refuse("not a ZMTP greeting");
    }
    stream.read_exact(&mut theirs[10..]).await?;
    if theirs[10] < 3 {
        return refuse("a ZMTP version before 3");
    }
    if &theirs[12..17] != b"NULL\0" {
        return refuse("a security mechanism other than NULL");
    }
    let (socket_type, accepted): (&[u8], [&[u8]; 2]) = match role {
        Role::Publisher => (b"PUB", [b"SUB", b"XSUB"]),
        Role::Subscriber => (b"SUB", [b"PUB", b"XPUB"]),
    };
    let mut body = b"\x05READY\x0bSocket-Type\0\0\0\x03".to_vec();
    body.extend_from_slice(socket_type);
    let mut ready = Vec::new();
    put_frame(false, true, &body, &mut ready);
    stream.write_all(&ready).await?;
    stream.flush().await?;
    let header = read_header(stream, MAX_COMMAND).await?;
    if !header.command {
        return refuse("a message before READY");
    }
    let mut body = Vec::new();
    read_body(stream, header.length, &mut body).await?;
    match peer_type(&body) {
        Some(peer) if accepted.contains(&peer) => Ok(()),
        Some(_) => refuse("a socket type that does not fit"),
        None => refuse("no READY"),
    }
}

/// The `Socket-Type` in a READY.
fn peer_type(body: &[u8]) -> Option<&[u8]> {
    let mut rest = body.strip_prefix(b"\x05READY")?;
    while let Some((&name_length, after)) = rest.split_first() {
        let (name, after) = after.split_at_checked(usize::from(name_length))?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let (value, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            return Some(value);
        }
        rest = after;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_survives_its_header_short_or_long() {
        for length in [0usize, 1, 255, 256, 70_000] {
            let mut bytes = Vec::new();
            put_frame(true, false, &vec![7; length], &mut bytes);
            let mut from = bytes.as_slice();
            let header = read_header(&mut from, 70_000).await.expect("own header");
            assert_eq!(header, Header { more: true, command: false, length: length as u64 });
            let mut body = Vec::new();
            read_body(&mut from, header.length, &mut body).await.expect("own body");
            assert_eq!(body, vec![7; length]);
        }
    }

    #[tokio::test]
    async fn a_length_beyond_the_limit_is_refused_before_room_is_made() {
        for length in [101u64, 1 << 32, 1 << 40, 1 << 63, u64::MAX] {
            let mut bytes = vec![LONG];
            bytes.extend_from_slice(&length.to_be_bytes());
            let error = read_header(&mut bytes.as_slice(), 100).await.expect_err("too long");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        assert!(read_header(&mut [0x80u8, 0].as_slice(), 100).await.is_err(), "a reserved flag passed");
        let mut body = Vec::new();
        assert!(read_body(&mut [1u8, 2].as_slice(), 1 << 30, &mut body).await.is_err());
        assert!(body.capacity() <= 2 * RESERVE_AHEAD as usize, "room was made for what never came");
    }

    #[tokio::test]
    async fn two_ends_shake_hands_and_two_alike_do_not() {
        for (left, right, fits) in [
            (Role::Publisher, Role::Subscriber, true),
            (Role::Publisher, Role::Publisher, false),
            (Role::Subscriber, Role::Subscriber, false),
        ] {
            let (mut a, mut b) = tokio::io::duplex(256);
            let (a, b) = tokio::join!(handshake(&mut a, left), handshake(&mut b, right));
            assert_eq!((a.is_ok(), b.is_ok()), (fits, fits));
        }
    }

    #[test]
    fn any_command_is_parsed_or_ignored_never_fatal() {
        assert_eq!(parse_command(b"\x04PING\0\x0aabc"), Command::Ping(b"abc".to_vec()));
        assert_eq!(parse_command(b"\x09SUBSCRIBE*"), Command::Subscribe(b"*".to_vec()));
        for broken in [&b""[..], b"\xff", b"\x04PIN", b"\x04PING", b"\x05READY"] {
            assert_eq!(parse_command(broken), Command::Other);
            assert!(peer_type(broken).is_none());
        }
        assert!(peer_type(b"\x05READY\x0bSocket-Type\xff\xff\xff\xffPUB").is_none());
    }
}
