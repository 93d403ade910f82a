//! May this message in, and whose is it? Every check in its order, cheapest first (protocol.md, section 5).
//!
//! What fails is refused with its reason and changes nothing else. What passes is marked, noted as a sign of life, unpacked,
//! and each payload handed to `dispatch`.

use std::mem::offset_of;
use std::slice::from_ref;

use prefetch_index::prefetch_index;

use super::Node;
use crate::config::planted;
use crate::guard::Passage;
use crate::id::{Link, NodeId, PeerIdx};
use crate::identity::chain::last_key;
use crate::io::{Event, Outbox, Refusal, Verify};
use crate::time::{Now, WallTime};
use crate::wire::message::{Announce, SealedBundle};
use crate::wire::{Door, Envelope, MsgType, Payload, binary};

/// Bytes that a processor fetches at once.
const CACHE_LINE: usize = 64;

impl Node {
    /// Admission (protocol.md, section 5), then dispatch. What fails changes nothing else.
    pub(super) fn on_frame(
        &mut self,
        now: Now,
        link: Link,
        bytes: &[u8],
        verify: &mut dyn Verify,
        out: &mut Outbox,
    ) -> Result<(), (Option<PeerIdx>, Refusal)> {
        let envelope = Envelope::peek(bytes, self.config.max_message_size).map_err(|reason| (None, reason))?;
        let header = envelope.header;
        match self.door().check(&header) {
            Ok(()) => {}
            // A multicast group returns what is sent to it.
            Err(Refusal::FromSelf) if link == Link::BEACON => return Ok(()),
            Err(reason) => return Err((None, reason)),
        }
        let Some(from) = self.members.speaking(link, header.sender) else {
            return self.on_stranger(now, link, &envelope, bytes, verify, out).map_err(|reason| (None, reason));
        };
        let refuse = |reason| (Some(from), reason);
        let offset = self.members.sync_offset_us();
        let passage = match self.guard.check(from, link, &header, now, offset, &self.config) {
            Ok(passage) => passage,
            Err(reason @ (Refusal::Replayed | Refusal::StaleIncarnation)) => {
                let newest = self.guard.claims_to_be_newest(from, &header);
                if !newest && self.members.has_second_path(from, link, now.mono) {
                    self.metrics.duplicates += 1;
                    return Ok(());
                }
                if newest {
                    let (mut cx, parts) = self.split(now, verify, out);
                    parts.members.on_stale_announce(&mut cx, from);
                }
                return Err(refuse(reason));
            }
            Err(reason) => return Err(refuse(reason)),
        };
        let signed = envelope.signed(&self.config.network_id);
        if !self.members.peer(from).has_signed(now.mono, verify, &signed, &envelope.signature)
            && !planted!(self.config, SignaturesUnchecked)
        {
            self.on_other_key(now, from, &envelope, verify, out).map_err(refuse)?;
        }
        if passage == Passage::OverRate {
            self.guard.blacklist(from, now.mono + self.config.blacklist_duration);
            out.report(Event::Blacklisted { peer: from });
            return Err(refuse(Refusal::RateLimited));
        }
        self.admit_and_dispatch(now, link, from, &envelope, bytes, verify, out).map_err(refuse)
    }

    /// Has the processor fetch this node itself, where a frame will soon come in: what tells where its tables are, and when anything is
    /// due, is all over it. Changes nothing, waits for nothing.
    ///
    /// For a driver of hundreds of nodes; to be followed by [`Node::expect_frame`].
    #[inline]
    pub fn expect_soon(&self) {
        for line in (0..size_of::<Node>()).step_by(CACHE_LINE) {
            // From a field of one byte, since an index counts elements; it may lie before that field.
            prefetch_index(from_ref(&self.started), line.wrapping_sub(offset_of!(Node, started)));
        }
    }

    /// Has the processor fetch what a frame of `sender` over `link` will touch of it. Changes nothing, waits for nothing.
    ///
    /// For a driver of hundreds of nodes, whose tables do not fit the processor's caches: where it is told of a frame one frame
    /// ahead, a delivery does not wait for memory line after line.
    #[inline]
    pub fn expect_frame(&self, link: Link, sender: NodeId) {
        let from = self.members.likely_speaking(link, sender);
        self.members.prefetch(from);
        self.guard.prefetch(from);
    }

    fn door(&self) -> Door {
        Door {
            network_tag: self.network_tag,
            own_id: self.egress.keys().id(),
            max_message_size: self.config.max_message_size,
        }
    }

    /// A sender that is no member: heard only if the message carries its own sound record.
    fn on_stranger(
        &mut self,
        now: Now,
        link: Link,
        envelope: &Envelope<'_>,
        bytes: &[u8],
        verify: &mut dyn Verify,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let header = envelope.header;
        if !matches!(header.kind, MsgType::PeerAnnounce | MsgType::PeerRecords) {
            return Err(Refusal::UnknownSender);
        }
        if self.guard.is_stale(header.timestamp, false, now, self.members.sync_offset_us(), &self.config) {
            return Err(Refusal::StaleTimestamp);
        }
        if header.incarnation < self.floors.get(&header.sender).copied().unwrap_or(0) {
            self.recall_outlived(now, envelope, verify, out);
            return Err(Refusal::StaleIncarnation);
        }
        let record = self.record_of_sender(envelope)?.ok_or(Refusal::UnknownSender)?;
        let key = last_key(&record.public_key, &record.rotations);
        if !verify.verify(key, &envelope.signed(&self.config.network_id), &envelope.signature) {
            return Err(Refusal::BadSignature);
        }
        let (mut cx, parts) = self.split(now, verify, out);
        parts.members.take_in(&mut cx, &record, link != Link::BEACON)?;
        self.meet_new_members(now, verify, out);
        let Some(from) = self.members.find(header.sender) else { return Err(Refusal::TooManyMembers) };
        self.guard.check(from, link, &header, now, self.members.sync_offset_us(), &self.config)?;
        self.admit_and_dispatch(now, link, from, envelope, bytes, verify, out)
    }

    /// A member's frame that its known key has not signed: if its record inside proves another key, that is its key now.
    fn on_other_key(
        &mut self,
        now: Now,
        from: PeerIdx,
        envelope: &Envelope<'_>,
        verify: &mut dyn Verify,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        if !matches!(envelope.header.kind, MsgType::PeerAnnounce | MsgType::PeerRecords) {
            return Err(Refusal::BadSignature);
        }
        let record = self.record_of_sender(envelope).ok().flatten().ok_or(Refusal::BadSignature)?;
        let network_id = self.config.network_id.clone();
        let (mut cx, parts) = self.split(now, verify, out);
        parts.members.take_new_key(&mut cx, from, &record, &envelope.signed(&network_id), &envelope.signature)?;
        self.meet_new_members(now, verify, out);
        Ok(())
    }

    /// The sender's own record in a frame that carries records, if it is there and its id is its first key's.
    fn record_of_sender(&self, envelope: &Envelope<'_>) -> Result<Option<Announce>, Refusal> {
        let sender = envelope.header.sender;
        let mut record = None;
        envelope.payloads(self.config.max_message_size, &mut |payload| {
            record = match payload {
                Payload::PeerAnnounce(announce) => Some(announce.record),
                Payload::PeerRecords(message) => message.records.into_iter().find(|r| r.node_id == sender),
                _ => None,
            };
        })?;
        let Some(record) = record.filter(|record| record.node_id == sender) else { return Ok(None) };
        if NodeId::of_key(&record.public_key) == sender { Ok(Some(record)) } else { Err(Refusal::BadRecord) }
    }

    /// A stranger that has forgotten a life which our store remembers: a member again, so that it can be told.
    fn recall_outlived(&mut self, now: Now, envelope: &Envelope<'_>, verify: &mut dyn Verify, out: &mut Outbox) {
        let Some(record) = self.members.stored(envelope.header.sender).cloned() else { return };
        let key = last_key(&record.public_key, &record.rotations);
        if verify.verify(key, &envelope.signed(&self.config.network_id), &envelope.signature) {
            let (mut cx, parts) = self.split(now, verify, out);
            // Without room for it, or damaged in the store: it stays a stranger.
            let _ = parts.members.take_in(&mut cx, &record, false);
            self.meet_new_members(now, verify, out);
        }
    }

    /// A frame whose signature was verified: marked, noted as a sign of life, unpacked, and each payload handled.
    #[expect(clippy::too_many_arguments, reason = "the context of a frame, split as the borrows need it")]
    fn admit_and_dispatch(
        &mut self,
        now: Now,
        link: Link,
        from: PeerIdx,
        envelope: &Envelope<'_>,
        bytes: &[u8],
        verify: &mut dyn Verify,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let header = envelope.header;
        let mut inbox = std::mem::take(&mut self.inbox);
        let repeats = envelope.repeats_record(&self.members.peer(from).record.record_signature);
        let unpacked = match repeats {
            Some(_) => Ok(()),
            None => envelope.payloads(self.config.max_message_size, &mut |payload| inbox.push(payload)),
        };
        self.guard.admit(from, &header, now, &self.config);
        let (mut cx, parts) = self.split(now, verify, out);
        parts.members.on_sign_of_life(&mut cx, from);
        parts.members.on_heard_over(&mut cx, link, from);
        let one_way = cx.wall().since(header.timestamp);
        parts.metrics.messages_received += 1;
        parts.metrics.bytes_received += bytes.len() as u64;
        parts.metrics.latency_us_sum += one_way.as_micros();
        cx.report(Event::Accepted { from, kind: header.kind, one_way });
        if repeats == Some(true) {
            parts.members.on_repeated_announce(&mut cx, from, link);
            self.meet_new_members(now, verify, out);
        }
        let mut outcome = unpacked;
        for payload in inbox.drain(..) {
            if let Payload::SealedBundle(bundle) = payload {
                outcome = outcome.and(self.on_sealed_bundle(now, link, from, header.timestamp, &bundle, verify, out));
                continue;
            }
            if matches!(payload, Payload::AuctionCoordinate(_) | Payload::TokenTransaction(_)) {
                let (mut cx, parts) = self.split(now, verify, out);
                parts.proofs.on_said(&mut cx, parts.members, from, header.incarnation, &payload, bytes);
            }
            // One refused payload of a bundle does not take the others with it.
            outcome = outcome.and(self.dispatch(now, link, from, header.timestamp, payload, verify, out));
            self.meet_new_members(now, verify, out);
        }
        self.inbox = inbox;
        outcome
    }

    /// What its sender said to this node alone, taken whole or not at all. It is evidence of nothing: who else could open it?
    #[expect(clippy::too_many_arguments, reason = "the context of a frame, split as the borrows need it")]
    fn on_sealed_bundle(
        &mut self,
        now: Now,
        link: Link,
        from: PeerIdx,
        sent: WallTime,
        bundle: &SealedBundle,
        verify: &mut dyn Verify,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let writers = self.members.peer(from).sealing_keys(now.mono);
        let plain = verify.open(self.egress.keys(), &writers, &bundle.sealed).ok_or(Refusal::CannotOpen)?;
        let payloads = binary::bundle_payloads(self.members.id(from), &plain, self.config.max_message_size)?;
        let mut outcome = Ok(());
        for payload in payloads {
            outcome = outcome.and(self.dispatch(now, link, from, sent, payload, verify, out));
            self.meet_new_members(now, verify, out);
        }
        outcome
    }

    /// Gives every member that was added its guard, and lets the electorate follow.
    pub(super) fn meet_new_members(&mut self, now: Now, verify: &mut dyn Verify, out: &mut Outbox) {
        while self.guard.len() < self.members.len() {
            let peer = PeerIdx(u32::try_from(self.guard.len()).expect("bounded by max_members"));
            let floor = self.floors.get(&self.members.id(peer)).copied().unwrap_or(0);
            self.guard.add_sender(peer, floor, &self.config, now.mono);
            let standing = self.standing(self.members.id(peer));
            self.members.set_standing(peer, standing);
            self.ledger.open(self.members.id(peer));
        }
        let (mut cx, parts) = self.split(now, verify, out);
        parts.members.settle(&mut cx);
    }
}
