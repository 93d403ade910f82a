//! What leaves: payloads wait here until the end of a call, then go out in one envelope per destination.
//!
//! An idle node sends at once. A busy one keeps payloads for `bundle_window`, so that what goes to one destination shares
//! one envelope and one signature; one that stays busy waits longer, so that it stays under the rate limit at any load
//! (protocol.md, section 2). A flush carries one envelope for each destination, however much is pending: the rest waits for the next
//! one. So no receiver ever gets more than two envelopes of one flush, and flushes are counted.
//!
//! With `encryption`, what is said to one member leaves in a box that only it opens. Who says it to whom, when and in how many bytes
//! stays visible, and each envelope costs both sides a multiplication on the curve.
//!
//! Every `Persist` of a call is appended while handling, every `Send` at its end: what a message relies on is durable before it
//! leaves.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use crate::config::{Codec, Config};
use crate::guard::rate::Bucket;
use crate::id::{NodeId, PeerIdx};
use crate::identity::{Keys, seal};
use crate::io::{Action, Outbox, To, Verify};
use crate::membership::Members;
use crate::metrics::Metrics;
use crate::time::{Now, Span, Time};
use crate::wire::message::SealedBundle;
use crate::wire::{self, Header, MsgType, Payload, Signed, binary};

/// Envelopes that may leave at once before a node counts as busy: a guess, a third of the rate limit's own rate.
const IDLE_BURST: u32 = 30;
/// Flushes that may follow each other at `bundle_window`, before they are paced: a guess. Of one flush, a receiver gets at
/// most two envelopes, one for all and one for itself.
const FLUSH_BURST: u32 = 50;
/// How long what did not fit waits at least for the next flush.
const REST_WAITS: Span = Span::millis(1);
/// Payloads in one bundle, and their bytes: what does not fit waits for the next flush.
const BUNDLE_ITEMS: usize = 256;
const BUNDLE_BYTES: usize = 256 * 1024;
/// Room for pending payloads that is kept while nothing is pending: a guess, several flushes of a busy node.
const ROOM_KEPT: usize = 16 * 1024;

/// Payloads on their way out, and what is needed to seal them.
#[derive(Clone, Debug)]
pub struct Egress {
    keys: Keys,
    network_tag: u16,
    incarnation: u32,
    counter: u64,
    /// Counts what was sealed in this incarnation.
    sealed: u64,
    pending: Vec<Pending>,
    encoded: Vec<u8>,
    scratch: Vec<u8>,
    idle: Bucket,
    pace: Bucket,
    flush_at: Option<Time>,
    /// All that is pending leaves in the next flush: there will be no other.
    last: bool,
}

#[derive(Clone, Debug)]
struct Pending {
    to: To,
    to_id: Option<NodeId>,
    kind: MsgType,
    /// In the binary codec, for a [`SealedBundle`].
    secret: bool,
    start: usize,
    end: usize,
}

/// What becomes of a payload in a flush.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Done {
    No,
    Sent,
    /// Its destination gets one envelope already, and it is full.
    Later,
}

/// Whether it never shares an envelope. Records introduce their sender to a newcomer, which opens no bundle of a stranger.
fn travels_alone(kind: MsgType) -> bool {
    kind == MsgType::PeerRecords
}

impl Egress {
    /// Nothing to send yet. `incarnation` counts from 1.
    #[must_use]
    pub fn new(keys: Keys, config: &Config) -> Egress {
        Egress {
            keys,
            network_tag: wire::network_tag(&config.network_id),
            incarnation: 0,
            counter: 0,
            sealed: 0,
            pending: Vec::new(),
            encoded: Vec::new(),
            scratch: Vec::new(),
            idle: Bucket::full(IDLE_BURST, Time(0)),
            pace: Bucket::full(FLUSH_BURST, Time(0)),
            flush_at: None,
            last: false,
        }
    }

    /// This node's keys.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Signs with these from now on.
    pub fn set_keys(&mut self, keys: Keys) {
        assert_eq!(keys.id(), self.keys.id(), "a rotation keeps the identity");
        self.keys = keys;
    }

    /// Seals for one reader, with the next nonce.
    pub fn seal_for(
        &mut self,
        verify: &mut dyn Verify,
        reader: &[u8; 32],
        random: [u8; 16],
        plain: &[u8],
    ) -> Option<Vec<u8>> {
        self.sealed += 1;
        let nonce = seal::nonce(self.keys.id(), self.incarnation, self.sealed, random);
        verify.seal(&self.keys, reader, &nonce, plain)
    }

    /// This node's start count.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Begins a new incarnation: nonces count from 1 again. What an earlier one has said is still counted by those who heard it.
    pub fn begin_incarnation(&mut self, incarnation: u32, now: Time) {
        assert!(incarnation > self.incarnation, "incarnations only grow");
        if incarnation > 1 {
            self.pace = Bucket::full(0, now);
        }
        self.incarnation = incarnation;
        self.counter = 0;
        self.sealed = 0;
    }

    /// To every subscriber.
    pub fn broadcast(&mut self, config: &Config, payload: &Payload) {
        self.enqueue(config, To::All, None, payload);
    }

    /// To one member.
    pub fn direct(&mut self, config: &Config, peer: PeerIdx, id: NodeId, payload: &Payload) {
        assert_ne!(peer, PeerIdx::SELF, "a node does not send to itself");
        self.enqueue(config, To::One(peer), Some(id), payload);
    }

    fn enqueue(&mut self, config: &Config, to: To, to_id: Option<NodeId>, payload: &Payload) {
        let (kind, start) = (payload.kind(), self.encoded.len());
        let secret = config.encryption && to_id.is_some() && kind.is_sealed_for_one();
        wire::encode(if secret { Codec::Bincode } else { config.codec }, payload, &mut self.encoded);
        self.pending.push(Pending { to, to_id, kind, secret, start, end: self.encoded.len() });
    }

    /// Seals one payload by itself, now, whatever is pending: heartbeats and beacons do not wait for company.
    pub fn send_now(&mut self, cx: &mut Sealing<'_>, to: To, payload: &Payload) {
        let mut bytes = std::mem::take(&mut self.scratch);
        wire::encode(cx.config.codec, payload, &mut bytes);
        self.seal(cx, to, None, &[(payload.kind(), &bytes)]);
        bytes.clear();
        self.scratch = bytes;
    }

    /// When held payloads must leave.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.flush_at
    }

    /// The node stops after this call: what is pending waits for nothing.
    pub fn finish(&mut self) {
        self.last = true;
    }

    /// At the end of a call: sends what is pending, or decides that it may wait for company.
    pub fn flush(&mut self, cx: &mut Sealing<'_>) {
        if self.pending.is_empty() {
            self.flush_at = None;
            return;
        }
        if !self.last && !self.is_due(cx) {
            return;
        }
        self.pace.take();
        self.flush_at = None;
        let all = std::mem::take(&mut self.last);
        let pending = std::mem::take(&mut self.pending);
        let encoded = std::mem::take(&mut self.encoded);
        let mut done = vec![Done::No; pending.len()];
        for first in 0..pending.len() {
            if done[first] != Done::No {
                continue;
            }
            let mut items = Vec::new();
            let mut secret = Vec::new();
            let mut bytes = 0;
            let mut full = false;
            for (index, item) in pending.iter().enumerate().skip(first) {
                if done[index] != Done::No || item.to != pending[first].to {
                    continue;
                }
                let taken = items.len() + secret.len();
                let fits = taken == 0 || (taken < BUNDLE_ITEMS && bytes + (item.end - item.start) <= BUNDLE_BYTES);
                // What comes after something that does not fit waits behind it: one destination gets all in the order it was said.
                full |= !fits;
                full |= taken > 0 && (travels_alone(item.kind) || travels_alone(pending[first].kind));
                full |= taken > 0 && bundling_off_planted(cx.config);
                if !full {
                    done[index] = Done::Sent;
                    bytes += item.end - item.start;
                    let said = if item.secret { &mut secret } else { &mut items };
                    said.push((item.kind, &encoded[item.start..item.end]));
                } else if !all && !bundling_off_planted(cx.config) {
                    done[index] = Done::Later;
                }
            }
            let sealed = self.sealed_bundle(cx, pending[first].to, &secret);
            items.extend(sealed.iter().map(|bytes| (MsgType::SealedBundle, bytes.as_slice())));
            if !items.is_empty() {
                self.seal(cx, pending[first].to, pending[first].to_id, &items);
            }
        }
        self.keep(pending, encoded, &done);
        if !self.pending.is_empty() {
            self.flush_at = Some(cx.now.mono + cx.config.bundle_window.max(REST_WAITS));
        }
    }

    /// Whether a flush may be now; else when it may.
    fn is_due(&mut self, cx: &Sealing<'_>) -> bool {
        // Two envelopes for one receiver each time, and room for heartbeats and for clocks that differ: four fifths of the limit.
        let flushes_per_second = (cx.config.rate_limit_msgs_per_sec * 2 / 5).max(1);
        let burst = FLUSH_BURST.min(cx.config.rate_limit_burst / 4).max(1);
        if !bundling_off_planted(cx.config) && !self.pace.has_token(cx.now.mono, flushes_per_second, burst) {
            let window = Span(1_000_000_u64.div_ceil(u64::from(flushes_per_second)));
            let due = *self.flush_at.get_or_insert(cx.now.mono + window);
            if cx.now.mono >= due {
                self.flush_at = Some(cx.now.mono + window);
            }
            return false;
        }
        self.idle.has_token(cx.now.mono, cx.config.bundle_above_msgs_per_sec, IDLE_BURST)
            || cx.now.mono >= *self.flush_at.get_or_insert(cx.now.mono + cx.config.bundle_window)
    }

    /// Keeps what waits for the next flush, and the memory of what has left.
    fn keep(&mut self, mut pending: Vec<Pending>, mut encoded: Vec<u8>, done: &[Done]) {
        let mut end = 0;
        let mut at = 0;
        pending.retain_mut(|item| {
            let later = done[at] == Done::Later;
            at += 1;
            if later {
                encoded.copy_within(item.start..item.end, end);
                (item.start, item.end) = (end, end + item.end - item.start);
                end = item.end;
            }
            later
        });
        encoded.truncate(end);
        // Records for a newcomer may have taken a megabyte; heartbeats take no room here.
        if end == 0 && encoded.capacity() > ROOM_KEPT {
            encoded = Vec::new();
        }
        (self.pending, self.encoded) = (pending, encoded);
    }

    /// What is said to one member alone, as the payload that only it can open. Nothing where its key is none that anyone can have.
    fn sealed_bundle(&mut self, cx: &mut Sealing<'_>, to: To, items: &[(MsgType, &[u8])]) -> Option<Vec<u8>> {
        let To::One(peer) = to else { return None };
        if items.is_empty() {
            return None;
        }
        let mut random = [0; 16];
        cx.rng.fill_bytes(&mut random);
        let sealed = self.seal_for(cx.verify, cx.members.peer(peer).key(), random, &binary::bundle(items))?;
        let mut encoded = Vec::new();
        wire::encode(cx.config.codec, &Payload::SealedBundle(SealedBundle { sealed }), &mut encoded);
        Some(encoded)
    }

    fn seal(&mut self, cx: &mut Sealing<'_>, to: To, to_id: Option<NodeId>, items: &[(MsgType, &[u8])]) {
        assert!(self.incarnation > 0, "the node has started");
        self.counter += 1;
        let kind = if items.len() > 1 { MsgType::Bundle } else { items[0].0 };
        let header = Header {
            network_tag: self.network_tag,
            kind,
            sender: self.keys.id(),
            to: to_id,
            timestamp: cx.now.wall.offset(cx.members.sync_offset_us()),
            incarnation: self.incarnation,
            counter: self.counter,
            compressed: false,
        };
        let start = cx.out.at();
        let (keys, verify) = (&self.keys, &mut *cx.verify);
        let mut sign = |message: &Signed<'_>| verify.sign(keys, message);
        wire::seal_with(header, cx.config.codec, items, &cx.config.network_id, &mut sign, &mut cx.out.bytes);
        let frame = start..cx.out.at();
        cx.metrics.messages_sent += 1;
        cx.metrics.bytes_sent += u64::from(frame.end - frame.start);
        if self.idle.has_token(cx.now.mono, cx.config.bundle_above_msgs_per_sec, IDLE_BURST) {
            self.idle.take();
        }
        cx.out.actions.push(Action::Send { to, kind, frame });
    }
}

fn bundling_off_planted(config: &Config) -> bool {
    #[cfg(feature = "plant")]
    if config.plant == crate::config::Plant::NothingBundled {
        return true;
    }
    let _ = config;
    false
}

/// What sealing an envelope needs of the call it happens in.
pub struct Sealing<'a> {
    /// The moment.
    pub now: Now,
    /// Whose keys boxes are for, and who know the time.
    pub members: &'a Members,
    /// The configuration.
    pub config: &'a Config,
    /// The node's only randomness.
    pub rng: &'a mut ChaCha8Rng,
    /// Makes the signatures.
    pub verify: &'a mut dyn Verify,
    /// Counts what leaves.
    pub metrics: &'a mut Metrics,
    /// Where it goes.
    pub out: &'a mut Outbox,
}
