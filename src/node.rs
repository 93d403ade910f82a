//! Routes inputs to the sub-machines; the only file that knows more than one of them.
//!
//! Every call goes the same way: what came in is admitted and dispatched, what is due is done, what one sub-machine asks of
//! another is carried over, and what piled up leaves.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;

use crate::auction::round::Promise;
use crate::auction::{Auctions, Effect};
use crate::config::{Config, ConfigError};
use crate::cx::{Ctx, store_key};
use crate::egress::{Egress, Sealing};
use crate::guard::{Guard, Passage};
use crate::id::{JobId, Link, NodeId, PeerIdx};
use crate::identity::Keys;
use crate::io::{
    Command, Event, FailReason, Input, JobSpec, JobStatus, Outbox, PeerState, Record, Refusal, SubmitRefusal, To,
    Verify,
};
use crate::jobs::Jobs;
use crate::membership::Members;
use crate::metrics::Metrics;
use crate::time::{Now, Span, Time, WallTime};
use crate::units::{Ppm, Tokens};
use crate::wire::message::{Announce, Goodbye, JobBroadcast};
use crate::wire::{self, Envelope, MsgType, Payload, Signature, binary};

/// One node of the network: the whole protocol, without clock, randomness, sockets or files.
#[derive(Clone, Debug)]
pub struct Node {
    config: Config,
    rng: ChaCha8Rng,
    egress: Egress,
    members: Members,
    guard: Guard,
    auctions: Auctions,
    jobs: Jobs,
    metrics: Metrics,
    /// Newest incarnations of others that the store remembers, until they are met again.
    floors: BTreeMap<NodeId, u32>,
    network_tag: u16,
    started: bool,
    leaving: bool,
    degraded_before: bool,
    /// The earliest deadline, kept so that a heartbeat's arrival costs no search for it.
    deadline: Time,
    /// Payloads of the frame being handled; kept for its room.
    inbox: Vec<Payload>,
}

impl Node {
    /// A node that has not started yet. `rng` is its only source of randomness.
    ///
    /// # Errors
    /// A configuration field out of bounds.
    pub fn new(config: Config, keys: Keys, rng: ChaCha8Rng) -> Result<Node, ConfigError> {
        config.validate()?;
        let egress = Egress::new(keys, &config);
        let members = Members::new(own_record(&config, egress.keys()), &config);
        Ok(Node {
            network_tag: wire::network_tag(&config.network_id),
            egress,
            members,
            rng,
            guard: Guard::default(),
            auctions: Auctions::default(),
            jobs: Jobs::default(),
            metrics: Metrics::default(),
            floors: BTreeMap::new(),
            started: false,
            leaving: false,
            degraded_before: true,
            deadline: Time::NEVER,
            inbox: Vec::new(),
            config,
        })
    }

    /// Takes one input and appends what follows from it to `out`, which the caller clears. Never fails, never blocks.
    ///
    /// The driver's contract: apply the actions in order, and finish a `Persist` durably before any `Send` after it; wake at
    /// [`Node::next_deadline`] or earlier and ask again after every call; `now.mono` never goes back.
    pub fn handle(&mut self, now: Now, input: Input<'_>, verify: &mut dyn Verify, out: &mut Outbox) {
        assert!(self.started || matches!(input, Input::Start(_)), "Start is the first input");
        if self.deadline != Time::NEVER {
            self.members.on_late_call(self.deadline, now.mono);
        }
        match input {
            Input::Start(records) => self.on_start(now, records, verify, out),
            Input::Frame { link, bytes } => {
                if let Err((from, reason)) = self.on_frame(now, link, bytes, verify, out) {
                    self.refused(link, from, reason, out);
                }
            }
            Input::Connected(link) => self.on_connected(now, link, verify, out),
            Input::Disconnected(link) => {
                if let Some(peer) = self.members.behind(link) {
                    let (mut cx, parts) = self.split(now, verify, out);
                    parts.members.on_disconnected(&mut cx, peer);
                }
            }
            Input::Command(Command::Submit(spec)) => self.on_submit(now, &spec, verify, out),
            Input::Command(Command::Leave) => {
                self.leaving = true;
                // The driver stops the process after this call.
                self.egress.hurry(now.mono);
            }
            Input::Finished { job, outcome } => {
                let (mut cx, parts) = self.split(now, verify, out);
                parts.jobs.on_finished(&mut cx, parts.members, job, &outcome);
            }
            Input::Wake => {}
        }
        // A heartbeat that only moved a time leaves nothing to do but this comparison.
        if now.mono >= self.deadline {
            self.on_timers(now, verify, out);
        }
        self.carry_effects(now, verify, out);
        self.carry_degraded(now, verify, out);
        let mut sealing = Sealing {
            now,
            sync_offset_us: self.members.sync_offset_us(),
            config: &self.config,
            verify,
            metrics: &mut self.metrics,
            out,
        };
        self.egress.flush(&mut sealing);
        if matches!(input, Input::Command(Command::Leave)) {
            // The last word: whatever came after it would be a sign of life.
            self.egress.send_now(&mut sealing, To::All, &Payload::Goodbye(Goodbye {}));
        }
        // Who leaves does not beat, announce or watch any more: what is due there stays due, and would wake it for ever.
        let members = if self.leaving { Time::NEVER } else { self.members.next_deadline() };
        let timers = members.min(self.auctions.next_deadline()).min(self.jobs.next_deadline());
        self.deadline = timers.min(self.egress.next_deadline().unwrap_or(Time::NEVER));
    }

    /// When the node wants to be woken, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        (self.deadline != Time::NEVER).then_some(self.deadline)
    }

    /// A read-only look inside, for status, metrics and checkers.
    #[must_use]
    pub fn view(&self) -> NodeView<'_> {
        NodeView { node: self }
    }

    /// Asserts what must always hold, in constant time; the simulator calls it after every event.
    pub fn check_invariants(&self) {
        self.members.check_invariants();
        self.auctions.check_invariants();
        self.jobs.check_invariants();
        assert_eq!(self.guard.len(), self.members.len(), "every member has its guard");
        assert_eq!(self.degraded_before, self.members.degraded(), "what follows from a change of mode was done");
    }

    fn on_start(&mut self, now: Now, records: &[Record], verify: &mut dyn Verify, out: &mut Outbox) {
        assert!(!self.started, "a node starts once; a restart is another Node");
        self.started = true;
        let stored = Stored::read(records);
        self.floors = stored.floors;
        self.members.recall_from_store(stored.records);
        self.guard.add_sender(PeerIdx::SELF, 0, &self.config, now.mono);
        let own_jobs = stored.own_jobs;
        self.begin_incarnation(now, stored.incarnation + 1, verify, out);
        let (mut cx, parts) = self.split(now, verify, out);
        let vote_floor = if records.is_empty() { cx.wall() } else { stored.vote_floor };
        if records.is_empty() {
            cx.persist(store_key::VOTE_FLOOR, &vote_floor);
        }
        parts.auctions.start(stored.votes, vote_floor);
        parts.members.start_heartbeat(&mut cx);
        for broadcast in own_jobs {
            parts.jobs.on_recovered_job(&cx, broadcast.clone());
            // Past its deadline it is not auctioned again; its end is reported all the same.
            let _ = parts.auctions.on_broadcast(&mut cx, parts.members, 0, PeerIdx::SELF, broadcast);
        }
    }

    /// A new life: persisted before anything is sent in it.
    fn begin_incarnation(&mut self, now: Now, incarnation: u32, verify: &mut dyn Verify, out: &mut Outbox) {
        self.egress.begin_incarnation(incarnation);
        let (mut cx, parts) = self.split(now, verify, out);
        cx.persist(store_key::INCARNATION, &incarnation);
        cx.report(Event::Started { incarnation });
        parts.members.renew_own_record(&mut cx, incarnation, parts.jobs.active());
        parts.members.start_discovery(&mut cx);
    }

    /// Admission (protocol.md, section 5), then dispatch. What fails changes nothing else.
    fn on_frame(
        &mut self,
        now: Now,
        link: Link,
        bytes: &[u8],
        verify: &mut dyn Verify,
        out: &mut Outbox,
    ) -> Result<(), (Option<PeerIdx>, Refusal)> {
        let envelope = Envelope::peek(bytes, self.config.max_message_size).map_err(|reason| (None, reason))?;
        let header = envelope.header;
        if header.network_tag != self.network_tag {
            return Err((None, Refusal::WrongNetwork));
        }
        if header.to.is_some_and(|to| to != self.egress.keys().id()) {
            return Err((None, Refusal::WrongRecipient));
        }
        if header.sender == self.egress.keys().id() {
            // A multicast group returns what is sent to it.
            return if link == Link::BEACON { Ok(()) } else { Err((None, Refusal::FromSelf)) };
        }
        let known = match self.members.behind(link) {
            Some(peer) if self.members.id(peer) == header.sender => Some(peer),
            _ => self.members.find(header.sender),
        };
        let Some(from) = known else {
            return self.on_stranger(now, link, &envelope, bytes.len(), verify, out).map_err(|reason| (None, reason));
        };
        let refuse = |reason| (Some(from), reason);
        let offset = self.members.sync_offset_us();
        let passage = match self.guard.check(from, &header, now, offset, &self.config) {
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
        let key = self.members.peer(from).key();
        if !verify.verify(key, &envelope.signed(&self.config.network_id), &envelope.signature) {
            return Err(refuse(Refusal::BadSignature));
        }
        if passage == Passage::OverRate {
            self.guard.blacklist(from, now.mono + self.config.blacklist_duration);
            out.report(Event::Blacklisted { peer: from });
            return Err(refuse(Refusal::RateLimited));
        }
        self.admit_and_dispatch(now, link, from, &envelope, bytes.len(), verify, out).map_err(refuse)
    }

    /// A frame whose signature was verified: marked, noted as a sign of life, unpacked, and each payload handled.
    #[expect(clippy::too_many_arguments, reason = "the context of a frame, split as the borrows need it")]
    fn admit_and_dispatch(
        &mut self,
        now: Now,
        link: Link,
        from: PeerIdx,
        envelope: &Envelope<'_>,
        size: usize,
        verify: &mut dyn Verify,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let header = envelope.header;
        let mut inbox = std::mem::take(&mut self.inbox);
        let unpacked = if header.kind == MsgType::PeerAnnounce
            && envelope.repeats_record(&self.members.peer(from).record.record_signature)
        {
            Ok(())
        } else {
            envelope.payloads(self.config.max_message_size, &mut |payload| inbox.push(payload))
        };
        self.guard.admit(from, &header, &self.config);
        let (mut cx, parts) = self.split(now, verify, out);
        parts.members.on_sign_of_life(&mut cx, from);
        parts.members.on_heard_over(&mut cx, link, from);
        let one_way = cx.wall().since(header.timestamp);
        parts.metrics.messages_received += 1;
        parts.metrics.bytes_received += size as u64;
        parts.metrics.latency_us_sum += one_way.as_micros();
        cx.report(Event::Accepted { from, kind: header.kind, one_way });
        let mut outcome = unpacked;
        for payload in inbox.drain(..) {
            // One refused payload of a bundle does not take the others with it.
            if let Err(reason) = self.dispatch(now, link, from, header.timestamp, payload, verify, out) {
                outcome = outcome.and(Err(reason));
            }
            self.meet_new_members(now, verify, out);
        }
        self.inbox = inbox;
        outcome
    }

    #[expect(clippy::too_many_arguments, reason = "the context of a frame, split as the borrows need it")]
    fn dispatch(
        &mut self,
        now: Now,
        link: Link,
        from: PeerIdx,
        sent: WallTime,
        payload: Payload,
        verify: &mut dyn Verify,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let active = self.jobs.active();
        let (mut cx, parts) = self.split(now, verify, out);
        let cx = &mut cx;
        let (members, auctions, jobs) = (parts.members, parts.auctions, parts.jobs);
        match payload {
            Payload::PeerAnnounce(announce) if announce.record.node_id != members.id(from) => Err(Refusal::BadRecord),
            Payload::PeerAnnounce(announce) => members.on_announce(cx, &announce, link),
            Payload::PeerRecords(records) => {
                if let Some(incarnation) = members.outlived_by(cx, &records) {
                    // Our store was lost, or is older than our last life: that life's number must be exceeded.
                    self.begin_incarnation(now, incarnation.saturating_add(1), verify, out);
                    return Ok(());
                }
                members.on_records(cx, from, &records)
            }
            Payload::Ping(ping) => {
                members.on_ping(cx, from, sent, &ping);
                Ok(())
            }
            Payload::PeerProbe(probe) => members.on_probe(cx, from, &probe),
            Payload::PeerSeen(seen) => members.on_seen(cx, from, &seen),
            Payload::Goodbye(_) => {
                members.on_goodbye(cx, from);
                Ok(())
            }
            Payload::JobBroadcast(broadcast) => auctions.on_broadcast(cx, members, active, from, broadcast),
            Payload::JobBid(bid) => auctions.on_bid(cx, members, active, from, bid),
            Payload::AuctionCoordinate(proposal) => {
                jobs.on_proposal_seen(proposal.job_id);
                auctions.on_coordinate(cx, members, active, from, proposal)
            }
            Payload::ClaimVote(vote) => auctions.on_vote(cx, members, from, vote),
            Payload::JobClaim(claim) => auctions.on_claim(cx, members, from, claim),
            Payload::ClaimCertificate(certificate) => auctions.on_certificate(cx, members, certificate),
            Payload::CertificateRequest(request) => {
                let asker = members.id(from);
                if let Some(held) = auctions.job(request.job_id).and_then(|job| job.certificate.clone()) {
                    cx.direct(from, asker, &Payload::ClaimCertificate(held));
                }
                jobs.on_asked_again(cx, members, request.job_id, asker);
                Ok(())
            }
            Payload::JobHeartbeat(beat) => {
                jobs.on_heartbeat(cx, members, from, &beat);
                Ok(())
            }
            Payload::JobResult(result) => jobs.on_result(cx, members, from, result),
        }
    }

    /// A sender that is no member: heard only if the message carries its own sound record.
    fn on_stranger(
        &mut self,
        now: Now,
        link: Link,
        envelope: &Envelope<'_>,
        size: usize,
        verify: &mut dyn Verify,
        out: &mut Outbox,
    ) -> Result<(), Refusal> {
        let header = envelope.header;
        if !matches!(header.kind, MsgType::PeerAnnounce | MsgType::PeerRecords) {
            return Err(Refusal::UnknownSender);
        }
        if now.wall.offset(self.members.sync_offset_us()).distance(header.timestamp) > self.config.clock_sync_tolerance
        {
            return Err(Refusal::StaleTimestamp);
        }
        if header.incarnation < self.floors.get(&header.sender).copied().unwrap_or(0) {
            self.recall_outlived(now, envelope, verify, out);
            return Err(Refusal::StaleIncarnation);
        }
        let mut record = None;
        envelope.payloads(self.config.max_message_size, &mut |payload| {
            record = match payload {
                Payload::PeerAnnounce(announce) => Some(announce.record),
                Payload::PeerRecords(message) => message.records.into_iter().find(|r| r.node_id == header.sender),
                _ => None,
            };
        })?;
        let record = record.filter(|record| record.node_id == header.sender).ok_or(Refusal::UnknownSender)?;
        if NodeId::of_key(&record.public_key) != header.sender {
            return Err(Refusal::BadRecord);
        }
        if !verify.verify(&record.public_key, &envelope.signed(&self.config.network_id), &envelope.signature) {
            return Err(Refusal::BadSignature);
        }
        let (mut cx, parts) = self.split(now, verify, out);
        parts.members.take_in(&mut cx, &record, link != Link::BEACON)?;
        self.meet_new_members(now, verify, out);
        let Some(from) = self.members.find(header.sender) else { return Err(Refusal::TooManyMembers) };
        self.guard.check(from, &header, now, self.members.sync_offset_us(), &self.config)?;
        self.admit_and_dispatch(now, link, from, envelope, size, verify, out)
    }

    /// A stranger that has forgotten a life which our store remembers: a member again, so that it can be told.
    fn recall_outlived(&mut self, now: Now, envelope: &Envelope<'_>, verify: &mut dyn Verify, out: &mut Outbox) {
        let Some(record) = self.members.stored(envelope.header.sender).cloned() else { return };
        if verify.verify(&record.public_key, &envelope.signed(&self.config.network_id), &envelope.signature) {
            let (mut cx, parts) = self.split(now, verify, out);
            // Without room for it, or damaged in the store: it stays a stranger.
            let _ = parts.members.take_in(&mut cx, &record, false);
            self.meet_new_members(now, verify, out);
        }
    }

    /// Gives every member that was added its guard, and lets the electorate follow.
    fn meet_new_members(&mut self, now: Now, verify: &mut dyn Verify, out: &mut Outbox) {
        while self.guard.len() < self.members.len() {
            let peer = PeerIdx(u32::try_from(self.guard.len()).expect("bounded by max_members"));
            let floor = self.floors.get(&self.members.id(peer)).copied().unwrap_or(0);
            self.guard.add_sender(peer, floor, &self.config, now.mono);
        }
        let (mut cx, parts) = self.split(now, verify, out);
        parts.members.settle(&mut cx);
    }

    fn on_connected(&mut self, now: Now, link: Link, verify: &mut dyn Verify, out: &mut Outbox) {
        match self.members.behind(link) {
            Some(peer) => self.members.on_connected(peer),
            None => {
                let (mut cx, parts) = self.split(now, verify, out);
                parts.members.on_contact_connected(&mut cx, link);
                // It may have brought the announce forward to now.
                self.deadline = self.deadline.min(self.members.next_deadline());
            }
        }
    }

    fn on_submit(&mut self, now: Now, spec: &JobSpec<'_>, verify: &mut dyn Verify, out: &mut Outbox) {
        if self.leaving {
            return out.report(Event::SubmitRefused { reason: SubmitRefusal::Leaving });
        }
        let active = self.jobs.active();
        let (mut cx, parts) = self.split(now, verify, out);
        match parts.jobs.on_submit(&mut cx, spec) {
            Ok(broadcast) => {
                let known = parts.auctions.on_broadcast(&mut cx, parts.members, active, PeerIdx::SELF, broadcast);
                debug_assert!(known.is_ok() || parts.auctions.len() >= cx.config.max_known_jobs as usize, "{known:?}");
            }
            Err(reason) => cx.report(Event::SubmitRefused { reason }),
        }
    }

    fn on_timers(&mut self, now: Now, verify: &mut dyn Verify, out: &mut Outbox) {
        let active = self.jobs.active();
        let leaving = self.leaving;
        let (mut cx, parts) = self.split(now, verify, out);
        let heartbeat = if leaving { None } else { parts.members.on_heartbeat_timer(&mut cx) };
        parts.members.on_sweep_timer(&mut cx);
        parts.members.settle(&mut cx);
        let announces = if leaving { Vec::new() } else { parts.members.on_announce_timer(&mut cx) };
        parts.auctions.on_timers(&mut cx, parts.members, active);
        parts.jobs.on_timers(&mut cx, parts.members);
        let mut sealing = Sealing {
            now,
            sync_offset_us: parts.members.sync_offset_us(),
            config: &self.config,
            verify,
            metrics: &mut self.metrics,
            out,
        };
        for (to, payload) in heartbeat.map(|ping| (To::All, ping)).into_iter().chain(announces) {
            self.egress.send_now(&mut sealing, to, &payload);
        }
    }

    /// What an auction asks of the executions.
    fn carry_effects(&mut self, now: Now, verify: &mut dyn Verify, out: &mut Outbox) {
        while let Some(effect) = self.auctions.effects.first().copied() {
            self.auctions.effects.remove(0);
            let (mut cx, parts) = self.split(now, verify, out);
            match effect {
                // A job may have expired later in the same call: where the node stood still, or at the very end of it.
                Effect::Won { job, round } => {
                    if let Some(held) = parts.auctions.job(job) {
                        parts.jobs.on_won(&mut cx, job, round, held);
                    }
                }
                Effect::Claimed { job, round, claimer } => {
                    parts.jobs.on_claimed(&mut cx, parts.members, job, round, claimer)
                }
                Effect::Proposed { job } => parts.jobs.on_proposal_seen(job),
                Effect::Reasked { job } => {
                    let Some(held) = parts.auctions.job(job) else { continue };
                    let submitter = held.broadcast.submitter;
                    if let (Some(peer), Some(proof)) = (parts.members.find(submitter), held.certificate.clone())
                        && peer != PeerIdx::SELF
                    {
                        cx.direct(peer, submitter, &Payload::ClaimCertificate(proof));
                    }
                    parts.jobs.on_asked_again(&mut cx, parts.members, job, submitter);
                }
            }
        }
    }

    /// What follows from becoming degraded or recovering.
    fn carry_degraded(&mut self, now: Now, verify: &mut dyn Verify, out: &mut Outbox) {
        let degraded = self.members.degraded();
        if std::mem::replace(&mut self.degraded_before, degraded) && !degraded {
            let active = self.jobs.active();
            let (mut cx, parts) = self.split(now, verify, out);
            parts.jobs.on_recovered(&mut cx, parts.members);
            parts.auctions.on_recovered(&mut cx, parts.members, active);
            self.carry_effects(now, verify, out);
        }
    }

    fn refused(&mut self, link: Link, from: Option<PeerIdx>, reason: Refusal, out: &mut Outbox) {
        self.metrics.refusals[reason as usize] += 1;
        out.report(Event::Refused { link, from, reason });
    }

    /// The context of a call beside the sub-machines that it is handed to.
    fn split<'a>(&'a mut self, now: Now, verify: &'a mut dyn Verify, out: &'a mut Outbox) -> (Ctx<'a>, Parts<'a>) {
        let cx = Ctx {
            now,
            sync_offset_us: self.members.sync_offset_us(),
            config: &self.config,
            rng: &mut self.rng,
            verify,
            egress: &mut self.egress,
            out,
        };
        let parts = Parts {
            members: &mut self.members,
            auctions: &mut self.auctions,
            jobs: &mut self.jobs,
            metrics: &mut self.metrics,
        };
        (cx, parts)
    }
}

/// The sub-machines, borrowed one by one.
struct Parts<'a> {
    members: &'a mut Members,
    auctions: &'a mut Auctions,
    jobs: &'a mut Jobs,
    metrics: &'a mut Metrics,
}

/// What the store remembers, sorted out. A record that cannot be read was not written by us: it is left out.
#[derive(Default)]
struct Stored {
    incarnation: u32,
    floors: BTreeMap<NodeId, u32>,
    records: BTreeMap<NodeId, Announce>,
    votes: BTreeMap<JobId, Promise>,
    vote_floor: WallTime,
    own_jobs: Vec<JobBroadcast>,
}

impl Stored {
    fn read(records: &[Record]) -> Stored {
        let mut stored = Stored::default();
        for Record { key, value } in records {
            let id = || key.get(1..).and_then(|id| <[u8; 16]>::try_from(id).ok());
            match (key.first().copied(), id()) {
                _ if key == store_key::INCARNATION => stored.incarnation = binary::decode(value).unwrap_or(0),
                _ if key == store_key::VOTE_FLOOR => stored.vote_floor = binary::decode(value).unwrap_or_default(),
                (Some(store_key::FLOOR), Some(id)) => {
                    stored.floors.insert(NodeId(id), binary::decode(value).unwrap_or(0));
                }
                (Some(store_key::RECORD), Some(id)) => {
                    stored.records.extend(binary::decode(value).map(|record| (NodeId(id), record)));
                }
                (Some(store_key::VOTE), Some(id)) => {
                    if let Ok(voted) = binary::decode(value) {
                        let promise = Promise { voted: Some(voted), lease_until: Time(0) };
                        stored.votes.insert(JobId(id), promise);
                    }
                }
                (Some(store_key::OWN_JOB), Some(_)) => stored.own_jobs.extend(binary::decode::<JobBroadcast>(value)),
                _ => {}
            }
        }
        stored
    }
}

/// The record a node announces, before its first incarnation signs it.
fn own_record(config: &Config, keys: &Keys) -> Announce {
    Announce {
        node_id: keys.id(),
        node_name: config.node_name.clone(),
        public_key: keys.public(),
        incarnation: 0,
        sequence: 0,
        signed_at: WallTime(0),
        pub_endpoint: config.pub_endpoint.clone(),
        sub_endpoint: config.sub_endpoint.clone(),
        protocol_version: u32::from(wire::VERSION),
        capabilities: config.capabilities.clone(),
        trust_score: Ppm(500_000),
        active_jobs: 0,
        wallet_balance: Tokens(0),
        record_signature: Signature([0; 64]),
    }
}

/// A read-only look inside a node.
#[derive(Clone, Copy, Debug)]
pub struct NodeView<'a> {
    node: &'a Node,
}

/// A member as the node sees it.
#[derive(Clone, Debug)]
pub struct PeerView<'a> {
    /// The node's number for it; 0 is the node itself.
    pub peer: PeerIdx,
    /// Its id.
    pub id: NodeId,
    /// Its name, for people.
    pub name: &'a str,
    /// Where its PUB is.
    pub pub_endpoint: &'a str,
    /// How it is seen.
    pub state: PeerState,
    /// Its start count.
    pub incarnation: u32,
    /// Silence since it was last heard, if ever.
    pub silent_for: Option<Span>,
    /// Last measured round trip.
    pub round_trip: Option<Span>,
    /// Last measured offset of its clock to ours, in microseconds.
    pub clock_offset_us: Option<i64>,
    /// What it can run.
    pub capabilities: &'a [String],
}

/// A job as the node sees it.
#[derive(Clone, Debug)]
pub struct JobView<'a> {
    /// Its id.
    pub id: JobId,
    /// Its type.
    pub job_type: &'a str,
    /// Its command.
    pub command: &'a str,
    /// Who submitted it.
    pub submitter: NodeId,
    /// The round its auction is in.
    pub round: u32,
    /// Who runs or ran it, as far as is known.
    pub claimer: Option<NodeId>,
    /// Where it stands.
    pub phase: JobPhase,
}

/// Where a job stands, as one node sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// Being auctioned, or waiting for a quorum.
    Open,
    /// Somebody holds a certificate.
    Claimed,
    /// This node runs it.
    Running,
    /// It ended with a result.
    Done(JobStatus),
    /// It ended without.
    Failed(FailReason),
}

impl<'a> JobView<'a> {
    fn of(id: JobId, broadcast: &'a JobBroadcast, round: u32, claimer: Option<NodeId>, phase: JobPhase) -> JobView<'a> {
        let body = &broadcast.body;
        JobView {
            id,
            job_type: &body.job_type,
            command: &body.command,
            submitter: broadcast.submitter,
            round,
            claimer,
            phase,
        }
    }
}

impl<'a> NodeView<'a> {
    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.node.egress.keys().id()
    }

    /// The configuration it runs with.
    #[must_use]
    pub fn config(&self) -> &'a Config {
        &self.node.config
    }

    /// Its start count.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.node.egress.incarnation()
    }

    /// How many members it knows, itself included; they are numbered from 0.
    #[must_use]
    pub fn members(&self) -> u32 {
        u32::try_from(self.node.members.len()).expect("bounded by max_members")
    }

    /// The id of a member.
    #[must_use]
    pub fn peer_id(&self, peer: PeerIdx) -> NodeId {
        self.node.members.id(peer)
    }

    /// How a member is seen; the node itself is `Alive`.
    #[must_use]
    pub fn peer_state(&self, peer: PeerIdx) -> PeerState {
        self.node.members.peer(peer).state
    }

    /// Every member but the node itself.
    pub fn peers(&self, now: Time) -> impl Iterator<Item = PeerView<'a>> {
        self.node.members.iter().skip(1).map(move |(peer, entry)| PeerView {
            peer,
            id: entry.record.node_id,
            name: &entry.record.node_name,
            pub_endpoint: &entry.record.pub_endpoint,
            state: entry.state,
            incarnation: entry.record.incarnation,
            silent_for: entry.last_heard.map(|heard| now.since(heard)),
            round_trip: entry.round_trip(),
            clock_offset_us: entry.clock_offset_us(),
            capabilities: &entry.record.capabilities,
        })
    }

    /// Every job it keeps: open ones by id, then its own that have ended.
    pub fn jobs(&self) -> impl Iterator<Item = JobView<'a>> {
        let open = self.node.auctions.iter().filter(|(id, _)| self.node.jobs.ended_job(*id).is_none());
        let open = open.map(|(id, job)| {
            let phase = match job.claim {
                _ if self.node.jobs.is_running(id) => JobPhase::Running,
                Some(_) => JobPhase::Claimed,
                None => JobPhase::Open,
            };
            let claimer = job.claim.map(|(_, claimer)| claimer);
            JobView::of(id, &job.broadcast, job.round, claimer, phase)
        });
        let ended = self.node.jobs.ended().map(|(id, ended)| {
            let phase = match ended.end {
                Ok(status) => JobPhase::Done(status),
                Err(reason) => JobPhase::Failed(reason),
            };
            JobView::of(id, &ended.broadcast, 0, ended.executor, phase)
        });
        open.chain(ended)
    }

    /// One job, if it is kept.
    #[must_use]
    pub fn job(&self, job: JobId) -> Option<JobView<'a>> {
        self.jobs().find(|view| view.id == job)
    }

    /// Reachable members, itself included.
    #[must_use]
    pub fn reachable(&self) -> u32 {
        self.node.members.reachable()
    }

    /// Votes that a certificate needs, by the members it knows.
    #[must_use]
    pub fn quorum(&self) -> u32 {
        self.node.members.electorate().quorum()
    }

    /// Whether it is degraded: the document's `partition_detected`.
    #[must_use]
    pub fn degraded(&self) -> bool {
        self.node.members.degraded()
    }

    /// Blacklisted senders.
    #[must_use]
    pub fn blacklisted(&self, now: Time) -> usize {
        self.node.guard.blacklisted(now)
    }

    /// The offset it applies to its own wall clock, in microseconds.
    #[must_use]
    pub fn clock_offset_us(&self) -> i64 {
        self.node.members.sync_offset_us()
    }

    /// Its counters.
    #[must_use]
    pub fn metrics(&self) -> &'a Metrics {
        &self.node.metrics
    }
}
