//! Routes inputs to the sub-machines; the only file that knows more than one of them.
//!
//! Every call goes the same way: what came in is admitted and dispatched, what is due is done, what one sub-machine asks of
//! another is carried over, and what piled up leaves.

mod admission;
mod standing;
mod stored;
mod view;

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;

use stored::Stored;
pub use view::{JobPhase, JobView, NodeView, PeerView};

use crate::auction::{Auctions, Claim, Effect, Lapse, job_id};
use crate::config::{Config, ConfigError};
use crate::cx::{Ctx, store_key};
use crate::egress::{Egress, Sealing};
use crate::evidence::Proofs;
use crate::guard::Guard;
use crate::id::{Link, NodeId, PeerIdx};
use crate::identity::Keys;
use crate::io::{Command, Event, Input, JobSpec, Outbox, PeerState, Record, Refusal, SubmitRefusal, To, Verify};
use crate::jobs::{self, Jobs};
use crate::ledger::Ledger;
use crate::membership::Members;
use crate::metrics::Metrics;
use crate::reputation::Reputation;
use crate::reputation::score::Deed;
use crate::sync::{MAX_JOBS, Sync};
use crate::time::{Now, Time, WallTime};
use crate::units::{Ppm, Tokens};
use crate::wire::message::{Announce, Goodbye, JobClaim, KeyRotation};
use crate::wire::{self, Payload, Signature};

/// Calls in a row that may leave something due: one sub-machine's turn may make another's due at once, and a driver that is
/// late has much to hand over before it wakes the node. Far fewer than a loop without end.
const SPINS_MOST: u32 = 100_000;

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
    ledger: Ledger,
    sync: Sync,
    reputation: Reputation,
    proofs: Proofs,
    metrics: Metrics,
    /// Newest incarnations of others that the store remembers, until they are met again.
    floors: BTreeMap<NodeId, u32>,
    network_tag: u16,
    started: bool,
    leaving: bool,
    degraded_before: bool,
    isolated_before: bool,
    /// The earliest deadline, kept so that a heartbeat's arrival costs no search for it.
    deadline: Time,
    /// Calls in a row that left something due.
    spins: u32,
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
        let id = keys.id();
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
            ledger: Ledger::new(id, &config),
            sync: Sync::default(),
            reputation: Reputation::default(),
            proofs: Proofs::default(),
            metrics: Metrics::default(),
            floors: BTreeMap::new(),
            started: false,
            leaving: false,
            degraded_before: true,
            isolated_before: true,
            deadline: Time::NEVER,
            spins: 0,
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
            Input::Command(Command::Rotate(keys)) => self.on_rotate(now, keys, verify, out),
            Input::Command(Command::Leave) => {
                self.leaving = true;
                let (mut cx, parts) = self.split(now, verify, out);
                parts.ledger.on_leave(&mut cx, parts.members);
                // The driver stops the process after this call.
                self.egress.finish();
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
        let (mut cx, parts) = self.split(now, verify, out);
        parts.ledger.settle(&mut cx, parts.members);
        self.carry_deeds(now, verify, out);
        self.carry_standing(out);
        let mut sealing = Sealing {
            now,
            members: &self.members,
            config: &self.config,
            rng: &mut self.rng,
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
        let present = self.members.next_deadline().min(self.sync.next_deadline()).min(self.reputation.next_deadline());
        let present = present.min(self.proofs.next_deadline());
        let present = if self.leaving { Time::NEVER } else { present };
        let timers = present.min(self.auctions.next_deadline()).min(self.jobs.next_deadline());
        let timers = timers.min(self.ledger.next_deadline());
        self.deadline = timers.min(self.egress.next_deadline().unwrap_or(Time::NEVER));
        self.spins = if self.deadline > now.mono { 0 } else { self.spins + 1 };
        assert!(self.spins < SPINS_MOST, "what is due gets done, or the driver would wake the node for ever");
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
        self.ledger.check_invariants();
        self.reputation.check_invariants();
        self.proofs.check_invariants();
        assert_eq!(self.guard.len(), self.members.len(), "every member has its guard");
        let mode = (self.members.degraded(), self.members.isolated());
        assert_eq!((self.degraded_before, self.isolated_before), mode, "what follows from a change of mode was done");
    }

    fn on_start(&mut self, now: Now, records: &[Record], verify: &mut dyn Verify, out: &mut Outbox) {
        assert!(!self.started, "a node starts once; a restart is another Node");
        self.started = true;
        let stored = Stored::read(records);
        self.floors = stored.floors;
        self.guard.add_sender(PeerIdx::SELF, 0, &self.config, now.mono);
        if !records.is_empty() {
            self.guard.begin_again(now.mono);
            self.members.recall_clock(stored.clock_offset_us);
        }
        let (own_jobs, seen, proven) = (stored.own_jobs, stored.seen, stored.proven);
        self.begin_incarnation(now, stored.incarnation + 1, verify, out);
        let (mut cx, parts) = self.split(now, verify, out);
        let vote_floor = if records.is_empty() { cx.wall() } else { stored.vote_floor };
        if records.is_empty() {
            cx.persist(store_key::VOTE_FLOOR, &vote_floor);
        }
        parts.auctions.start(stored.votes, vote_floor);
        parts.ledger.start(&mut cx, stored.ledger);
        parts.members.start_heartbeat(&mut cx);
        parts.reputation.start(&mut cx, seen);
        if cx.egress.keys().before_rotation().is_some() {
            parts.members.await_key_known();
        }
        parts.proofs.start(&cx, proven);
        parts.members.recall_from_store(&mut cx, stored.records, &stored.forgotten);
        self.meet_new_members(now, verify, out);
        let (mut cx, parts) = self.split(now, verify, out);
        for (id, broadcast, proof) in stored.claims {
            let claim = Claim::of(&proof);
            parts.ledger.on_job_seen(id, broadcast.submitter, broadcast.body.payment);
            parts.ledger.on_claim(id, &claim);
            parts.auctions.recover(&cx, id, broadcast, claim, Some(proof));
        }
        for (id, record) in own_jobs {
            if parts.ledger.has_settled(id) {
                // The crash came between its payment and the end of the job.
                cx.forget(&store_key::of_job(store_key::OWN_JOB, id));
                continue;
            }
            parts.ledger.on_job_seen(id, record.broadcast.submitter, record.broadcast.body.payment);
            carry_funds(parts.ledger, parts.auctions);
            if let Some(claim) = record.claim {
                parts.auctions.recover(&cx, id, record.broadcast.clone(), claim, None);
            } else {
                // Past its deadline it is not auctioned again; its end is reported all the same.
                let broadcast = record.broadcast.clone();
                let _ = parts.auctions.on_broadcast(&mut cx, parts.members, 0, PeerIdx::SELF, broadcast);
            }
            parts.jobs.on_recovered_job(&cx, id, record);
        }
    }

    /// A new life: persisted before anything is sent in it.
    fn begin_incarnation(&mut self, now: Now, incarnation: u32, verify: &mut dyn Verify, out: &mut Outbox) {
        self.egress.begin_incarnation(incarnation, now.mono);
        let (mut cx, parts) = self.split(now, verify, out);
        cx.persist(store_key::INCARNATION, &incarnation);
        cx.report(Event::Started { incarnation });
        parts.members.renew_own_record(&mut cx, incarnation, parts.jobs.active());
        parts.members.start_discovery(&mut cx);
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
        let (mut cx, mut parts) = self.split(now, verify, out);
        let cx = &mut cx;
        let (members, auctions, jobs, ledger) =
            (&mut *parts.members, &mut *parts.auctions, &mut *parts.jobs, &mut *parts.ledger);
        carry_funds(ledger, auctions);
        match payload {
            Payload::PeerAnnounce(announce) if announce.record.node_id != members.id(from) => Err(Refusal::BadRecord),
            Payload::PeerAnnounce(announce) => members.on_announce(cx, &announce, link),
            Payload::PeerRecords(records) => {
                if let Some(incarnation) = members.outlived_by(cx, &records) {
                    // Our store was lost, or is older than our last life: that life's number must be exceeded.
                    self.begin_incarnation(now, incarnation.saturating_add(1), verify, out);
                    let (mut cx, parts) = self.split(now, verify, out);
                    parts.auctions.on_amnesia(&mut cx);
                    return Ok(());
                }
                members.on_records(cx, from, &records)
            }
            Payload::Ping(ping) => {
                members.on_ping(cx, from, sent, &ping);
                ledger.on_ping_digest(cx, members, from, ping.ledger_digest);
                Ok(())
            }
            Payload::PeerProbe(probe) => members.on_probe(cx, from, &probe),
            Payload::PeerSeen(seen) => members.on_seen(cx, from, &seen),
            Payload::Goodbye(_) => {
                members.on_goodbye(cx, from);
                Ok(())
            }
            Payload::JobBroadcast(broadcast) => {
                let id = job_id(&broadcast);
                if broadcast.submitter == members.id(from) && auctions.job(id).is_none() {
                    // Before it is voted on, which it may be at once.
                    ledger.on_job_seen(id, broadcast.submitter, broadcast.body.payment);
                    carry_funds(ledger, auctions);
                }
                let outcome = auctions.on_broadcast(cx, members, active, from, broadcast);
                if auctions.job(id).is_none() {
                    ledger.on_job_expired(id);
                }
                outcome
            }
            Payload::JobBid(bid) => auctions.on_bid(cx, members, active, from, bid),
            Payload::AuctionCoordinate(proposal) => {
                jobs.on_proposal_seen(proposal.job_id);
                auctions.on_coordinate(cx, members, active, from, proposal)
            }
            Payload::ClaimVote(vote) => auctions.on_vote(cx, members, from, vote),
            Payload::JobClaim(claim) => auctions.on_claim(cx, members, from, claim),
            Payload::ClaimCertificate(certificate) => {
                let id = certificate.statement.job_id;
                let outcome = auctions.on_certificate(cx, members, from, certificate);
                if let Some(held) =
                    auctions.job(id).and_then(|job| job.certificate.as_ref()).filter(|_| outcome.is_ok())
                {
                    jobs.on_proof(cx, members, held);
                }
                outcome
            }
            Payload::SealedCommand(message) => {
                jobs.on_sealed_command(cx, members, from, &message, auctions.job(message.job_id))
            }
            // Opened before, and never one in another.
            Payload::SealedBundle(_) => Err(Refusal::Malformed),
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
                auctions.fence(cx, members, from, beat.job_id, beat.round);
                Ok(())
            }
            Payload::JobResult(result) => {
                let (id, round) = (result.job_id, result.round);
                let outcome = jobs.on_result(cx, members, from, result);
                auctions.fence_result(cx, members, from, id, round);
                outcome
            }
            Payload::Takeover(takeover) => auctions.on_takeover(cx, members, from, takeover),
            Payload::LeaseLapsed(lapsed) => auctions.on_lapsed(cx, members, active, from, &lapsed),
            Payload::OutputRequest(request) => {
                jobs.on_output_request(cx, members, from, &request);
                Ok(())
            }
            Payload::StateRequest(request) => {
                parts.sync.on_request(now.mono, from)?;
                let asker = members.id(from);
                for (id, broadcast) in jobs.open_since(request.since).into_iter().take(MAX_JOBS) {
                    cx.direct(from, asker, &Payload::JobBroadcast(broadcast.clone()));
                    if let Some(proof) = auctions.job(id).and_then(|job| job.certificate.as_ref()) {
                        cx.direct(from, asker, &Payload::ClaimCertificate(proof.clone()));
                    }
                }
                // 10: and of the provisional claims of this node, which the asker may have to weigh against another.
                for proof in auctions.own_provisional(cx.self_id()).take(MAX_JOBS) {
                    cx.direct(from, asker, &Payload::ClaimCertificate(proof.clone()));
                }
                if members.is_teller_of(members.id(PeerIdx::SELF), from) {
                    ledger.send_heads(cx, members, from);
                }
                ledger.repeat_penalty_votes(cx, members, Some(asker));
                Ok(())
            }
            Payload::OutputChunk(chunk) => jobs.on_output_chunk(cx, members, from, &chunk),
            Payload::TokenTransaction(transaction) => ledger.on_transaction(cx, members, from, transaction),
            Payload::LedgerVote(vote) => ledger.on_vote(cx, members, from, &vote),
            Payload::LedgerCertificate(certificate) => ledger.on_certificate(cx, members, from, certificate),
            Payload::AccountHeads(heads) => ledger.on_heads(cx, members, from, &heads),
            Payload::AccountRequest(request) => ledger.on_account_request(cx, members, from, &request),
            Payload::AccountRecord(record) => ledger.take_record(cx, members, from, record),
            Payload::PenaltyVote(vote) => ledger.on_penalty_vote(cx, members, from, &vote),
            Payload::PenaltyRecords(records) => ledger.on_penalties(cx, members, from, records),
            Payload::ReputationUpdate(update) => parts.on_reputation(cx, from, &update),
            Payload::Evidence(evidence) => parts.on_evidence(cx, from, *evidence),
            Payload::KeyRotation(rotation) => members.on_key_rotation(cx, from, &rotation.record),
        }
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
        let accepted = parts
            .ledger
            .may_submit(spec.payment, cx.config.max_known_jobs)
            .and_then(|()| parts.jobs.on_submit(&mut cx, spec));
        match accepted {
            Ok(broadcast) => {
                parts.ledger.on_job_seen(job_id(&broadcast), broadcast.submitter, broadcast.body.payment);
                carry_funds(parts.ledger, parts.auctions);
                let known = parts.auctions.on_broadcast(&mut cx, parts.members, active, PeerIdx::SELF, broadcast);
                debug_assert!(known.is_ok() || parts.auctions.len() >= cx.config.max_known_jobs as usize, "{known:?}");
            }
            Err(reason) => cx.report(Event::SubmitRefused { reason }),
        }
    }

    /// The node has another key: the last word of the old one says so, and everything after it is the new one's (1).
    fn on_rotate(&mut self, now: Now, keys: &Keys, verify: &mut dyn Verify, out: &mut Outbox) {
        let before = self.egress.keys().chain();
        let grown = keys.chain().len() == before.len() + 1 && keys.chain().starts_with(before);
        assert!(grown && keys.id() == self.egress.keys().id(), "the driver rotates the keys that it gave the node");
        let old = self.egress.keys().clone();
        self.egress.set_keys(keys.clone());
        let (mut cx, parts) = self.split(now, verify, out);
        let incarnation = cx.egress.incarnation();
        parts.members.renew_own_record(&mut cx, incarnation, parts.jobs.active());
        parts.members.start_discovery_again(&mut cx);
        parts.members.await_key_known();
        let sequence = u32::try_from(keys.chain().len()).expect("bounded by MAX_ROTATIONS");
        cx.report(Event::KeyRotated { peer: PeerIdx::SELF, sequence });
        let record = parts.members.own_record().clone();
        self.egress.set_keys(old);
        let mut sealing = Sealing {
            now,
            members: &self.members,
            config: &self.config,
            rng: &mut self.rng,
            verify,
            metrics: &mut self.metrics,
            out,
        };
        self.egress.send_now(&mut sealing, To::All, &Payload::KeyRotation(Box::new(KeyRotation { record })));
        self.egress.set_keys(keys.clone());
        let (mut cx, parts) = self.split(now, verify, out);
        parts.members.settle(&mut cx);
        self.deadline = self.deadline.min(self.members.next_deadline());
    }

    fn on_timers(&mut self, now: Now, verify: &mut dyn Verify, out: &mut Outbox) {
        let active = self.jobs.active();
        let leaving = self.leaving;
        let (mut cx, parts) = self.split(now, verify, out);
        let heartbeat =
            if leaving { None } else { parts.members.on_heartbeat_timer(&mut cx, parts.ledger.short_digest()) };
        parts.members.on_sweep_timer(&mut cx);
        parts.members.settle(&mut cx);
        let announces = if leaving { Vec::new() } else { parts.members.on_announce_timer(&mut cx) };
        carry_funds(parts.ledger, parts.auctions);
        parts.auctions.on_timers(&mut cx, parts.members, active);
        let certificate_of = |id| parts.auctions.job(id).and_then(|job| job.certificate.clone());
        parts.jobs.on_timers(&mut cx, parts.members, &certificate_of);
        parts.ledger.on_timers(&mut cx, parts.members);
        if !leaving {
            parts.sync.on_timer(&mut cx, parts.members);
            parts.proofs.on_timers(&mut cx);
            let speak = parts.proofs.must_be_said();
            if parts.reputation.on_timer(&mut cx, parts.proofs.digest(), speak) {
                parts.proofs.on_digest_said();
            }
        }
        let mut sealing = Sealing {
            now,
            members: &self.members,
            config: &self.config,
            rng: &mut self.rng,
            verify,
            metrics: &mut self.metrics,
            out,
        };
        for (to, payload) in heartbeat.map(|ping| (To::All, ping)).into_iter().chain(announces) {
            self.egress.send_now(&mut sealing, to, &payload);
        }
    }

    /// What the sub-machines ask of each other, until nothing is left to ask.
    fn carry_effects(&mut self, now: Now, verify: &mut dyn Verify, out: &mut Outbox) {
        for member in std::mem::take(&mut self.members.rotated) {
            self.ledger.on_rotated(member);
        }
        for (peer, since) in self.members.take_missed() {
            self.sync.on_missed(now.mono, peer, since);
        }
        loop {
            let lost = self.members.take_lost();
            let auction = std::mem::take(&mut self.auctions.effects);
            let jobs = std::mem::take(&mut self.jobs.effects);
            if lost.is_empty() && auction.is_empty() && jobs.is_empty() {
                return;
            }
            let (mut cx, mut parts) = self.split(now, verify, out);
            for node in lost {
                parts.auctions.on_peer_lost(&mut cx, parts.members, node);
                parts.jobs.on_peer_lost(&cx, parts.members, node);
            }
            auction.into_iter().for_each(|effect| parts.carry_auction(&mut cx, effect));
            jobs.into_iter().for_each(|effect| parts.carry_job(&mut cx, effect));
        }
    }

    /// What follows from becoming able to make claims: all, or provisional ones alone.
    fn carry_degraded(&mut self, now: Now, verify: &mut dyn Verify, out: &mut Outbox) {
        let (degraded, isolated) = (self.members.degraded(), self.members.isolated());
        let recovered = std::mem::replace(&mut self.degraded_before, degraded) && !degraded;
        let joined = std::mem::replace(&mut self.isolated_before, isolated) && !isolated;
        if recovered || joined {
            let active = self.jobs.active();
            let (mut cx, parts) = self.split(now, verify, out);
            parts.jobs.on_recovered(&mut cx, parts.members);
            parts.auctions.on_recovered(&mut cx, parts.members, active);
            if recovered {
                parts.ledger.on_recovered(&mut cx, parts.members);
            }
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
            ledger: &mut self.ledger,
            sync: &mut self.sync,
            reputation: &mut self.reputation,
            proofs: &mut self.proofs,
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
    ledger: &'a mut Ledger,
    sync: &'a mut Sync,
    reputation: &'a mut Reputation,
    proofs: &'a mut Proofs,
    metrics: &'a mut Metrics,
}

impl Parts<'_> {
    /// What an auction asks of the others. A job may have expired later in the same call: where the node stood still, or at the
    /// very end of it.
    fn carry_auction(&mut self, cx: &mut Ctx<'_>, effect: Effect) {
        match effect {
            Effect::Won { job, claim } => {
                if let Some(held) = self.auctions.job(job) {
                    self.jobs.on_won(cx, self.members, job, claim, held);
                }
            }
            Effect::Claimed { job, claim, before } => {
                self.ledger.on_claim(job, &claim);
                if let Some(lapsed) = before.filter(|before| *before != claim.claimer) {
                    let dead = |peer| self.members.peer(peer).state == PeerState::Dead;
                    if self.members.find(lapsed).is_some_and(dead) {
                        self.ledger.on_lapsed(cx, self.members, job, lapsed);
                    }
                    self.reputation.on_deed(cx, self.members, lapsed, Deed::Timeout);
                }
                if let Some(held) = self.auctions.job(job) {
                    self.jobs.on_claimed(cx, self.members, job, claim, held);
                }
            }
            Effect::Proposed { job } => self.jobs.on_proposal_seen(job),
            Effect::Expired { job } => self.ledger.on_job_expired(job),
            Effect::Reasked { job } => {
                let Some(held) = self.auctions.job(job) else { return };
                let submitter = held.broadcast.submitter;
                if let (Some(peer), Some(proof)) = (self.members.find(submitter), held.certificate.clone())
                    && peer != PeerIdx::SELF
                {
                    cx.direct(peer, submitter, &Payload::ClaimCertificate(proof));
                }
                self.jobs.on_asked_again(cx, self.members, job, submitter);
            }
        }
    }

    /// What a job asks of the others.
    fn carry_job(&mut self, cx: &mut Ctx<'_>, effect: jobs::Effect) {
        match effect {
            jobs::Effect::Judged { executor, deed } => self.reputation.on_deed(cx, self.members, executor, deed),
            jobs::Effect::Owed { payment } => self.ledger.on_owed(cx, self.members, payment),
            jobs::Effect::TakeOver { job } => self.auctions.take_over(cx, self.members, job),
            jobs::Effect::Lapsed { job } => {
                let active = self.jobs.active();
                self.auctions.lapse(cx, self.members, active, job, Lapse::Told);
            }
            jobs::Effect::Resume { job, asker } => {
                let Some(held) = self.auctions.job(job).filter(|held| held.broadcast.submitter == asker) else {
                    return;
                };
                // Its proof is forgotten when the job expires, which its submitter may outwait: then it is not run once more.
                let proven = held.certificate.as_ref().map(|proof| (proof.statement.round, proof.statement.winner));
                let own = |claim: &Claim| claim.claimer == cx.self_id() && proven == Some((claim.round, claim.claimer));
                if let Some(claim) = held.standing().filter(own) {
                    // 6.4: voters that have restarted, too, have forgotten it, and would give the job to another.
                    cx.broadcast(&Payload::JobClaim(JobClaim { job_id: job, round: claim.round }));
                    self.jobs.on_won(cx, self.members, job, claim, held);
                }
            }
        }
    }
}

/// What the auctions must know of money, where it has changed.
fn carry_funds(ledger: &mut Ledger, auctions: &mut Auctions) {
    if let Some(funds) = ledger.changed_funds() {
        auctions.funds.clone_from(funds);
    }
}

/// The record a node announces, before its first incarnation signs it.
fn own_record(config: &Config, keys: &Keys) -> Announce {
    Announce {
        node_id: keys.id(),
        node_name: config.node_name.clone(),
        public_key: *keys.genesis(),
        rotations: keys.chain().to_vec(),
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
