//! What this node submitted, until it has a result or says why there is none (protocol.md, section 7).
//!
//! A submitter asks for its job until somebody claims it, and the claimer for a sign of life until there is a result. Where none
//! comes for a lease, it says so to all, and the job is claimed in a later round. Everything that a restart must know is persisted.

use std::collections::{BTreeMap, VecDeque};

use bincode::{Decode, Encode};

use super::{Effect, send};
use crate::auction::{Claim, Lapse, is_gone, job_id, provisional};
use crate::cx::{Ctx, store_key};
use crate::id::{JobId, NodeId, PeerIdx};
use crate::io::{Event, FailReason, JobStatus, Refusal};
use crate::ledger::settle;
use crate::membership::Members;
use crate::quorum::Statement;
use crate::reputation::score::Deed;
use crate::time::{Span, Time, WallTime};
use crate::timers::Timers;
use crate::wire::Payload;
use crate::wire::message::{
    CertificateRequest, ClaimCertificate, JobBroadcast, JobResult, LeaseLapsed, OUTPUT_CHUNK, OutputChunk,
    OutputRequest, PrivateCommand, SealedCommand,
};

/// Own jobs that have ended and are still shown.
const SHOWN_AFTERWARDS: usize = 1_000;
/// An own job that is claimed, and shows signs of life, is given up at this many times its span.
const LATEST_RESULT: u64 = 3;
/// How long a live backup is given after its executor was lost: longer than voters wait for each other to see the death.
const BACKUPS_TURN: Span = Span::secs(5);
/// No more often than this an executor is told again what to run.
const TELL_AGAIN_AFTER: Span = Span::secs(1);
/// How soon after a restart a job of an earlier life is asked for: connections come up first. A guess.
const ASK_AFTER_RESTART: Span = Span::secs(1);

/// The open jobs of this node, and how the latest of the others ended.
#[derive(Clone, Debug, Default)]
pub struct Submitter {
    own: BTreeMap<JobId, Own>,
    ended: BTreeMap<JobId, Ended>,
    ended_order: VecDeque<JobId>,
    timers: Timers<JobId>,
}

/// An open job as the store remembers it.
#[derive(Clone, Debug, Encode, Decode)]
pub struct OwnRecord {
    /// The job.
    pub broadcast: JobBroadcast,
    /// Its newest claim.
    pub claim: Option<Claim>,
    /// Runs that failed, and the round of the last of them.
    pub failed: Option<(u32, u32)>,
    /// What its broadcast only commits to, where it is private.
    pub secret: Option<PrivateCommand>,
}

/// A job of this node that has no result yet.
#[derive(Clone, Debug)]
struct Own {
    record: OwnRecord,
    bids_seen: bool,
    sign_of_life: Time,
    ask_at: Time,
    lapse_at: Time,
    deadline: Time,
    latest: Time,
    /// A result that came before the proof of its claim.
    unproven: Option<(PeerIdx, JobResult)>,
    /// A result whose output is not all there yet.
    partial: Option<JobResult>,
    /// When its command was sent last, for the claim of which round.
    told: Option<(Time, u32)>,
}

/// How a job of this node ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The job.
    pub broadcast: JobBroadcast,
    /// Who ran it, where somebody did.
    pub executor: Option<NodeId>,
    /// With a result, or without and why.
    pub end: Result<JobStatus, FailReason>,
}

impl Submitter {
    /// How many own jobs are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.own.len()
    }

    /// The open jobs that were submitted at this moment or later, oldest first.
    pub fn open_since(&self, since: WallTime) -> Vec<(JobId, &JobBroadcast)> {
        let open = self.own.iter().map(|(id, own)| (*id, &own.record.broadcast));
        let mut open: Vec<_> = open.filter(|(_, broadcast)| broadcast.body.submitted >= since).collect();
        open.sort_by_key(|(id, broadcast)| (broadcast.body.submitted, *id));
        open
    }

    /// The jobs that have ended, by id.
    pub fn ended(&self) -> impl Iterator<Item = (JobId, &Ended)> {
        self.ended.iter().map(|(id, ended)| (*id, ended))
    }

    /// How a job ended, if it has.
    #[must_use]
    pub fn ended_job(&self, job: JobId) -> Option<&Ended> {
        self.ended.get(&job)
    }

    /// When something here is due.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }

    /// A new job: persisted before it is broadcast.
    pub fn begin(&mut self, cx: &mut Ctx<'_>, broadcast: JobBroadcast, secret: Option<PrivateCommand>) {
        let record = OwnRecord { broadcast, claim: None, failed: None, secret };
        let id = job_id(&record.broadcast);
        cx.persist(&store_key::of_job(store_key::OWN_JOB, id), &record);
        cx.report(Event::JobSubmitted { job: id });
        cx.broadcast(&Payload::JobBroadcast(record.broadcast.clone()));
        self.watch(cx, id, record, cx.config.rebroadcast_interval);
    }

    /// A job of an earlier life of this node, from the store.
    pub fn recover(&mut self, cx: &Ctx<'_>, id: JobId, record: OwnRecord) {
        self.watch(cx, id, record, ASK_AFTER_RESTART);
    }

    fn watch(&mut self, cx: &Ctx<'_>, id: JobId, record: OwnRecord, ask_after: Span) {
        let now = cx.now.mono;
        let body = &record.broadcast.body;
        let deadline = now + body.deadline.since(cx.wall());
        let latest = body.submitted + body.deadline.since(body.submitted).times(LATEST_RESULT);
        let own = Own {
            bids_seen: false,
            sign_of_life: now,
            ask_at: now + ask_after,
            lapse_at: if record.claim.is_some() { now + cx.config.lease } else { Time::NEVER },
            deadline,
            // From its submission, also where that was in an earlier life; but not before who has run it since could be asked.
            latest: now + latest.since(cx.wall()).max(cx.config.lease),
            unproven: None,
            partial: None,
            told: None,
            record,
        };
        self.timers.arm(id, own.due());
        self.own.insert(id, own);
    }

    /// Somebody holds a claim: whom to wait for.
    pub fn on_claimed(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        id: JobId,
        claim: Claim,
        effects: &mut Vec<Effect>,
    ) {
        let Some(own) = self.own.get_mut(&id) else { return };
        own.record.claim = Some(claim);
        own.partial = None;
        // Nothing that is sent depends on it: where it is lost, the claimer is found by asking for the job again.
        cx.persist(&store_key::of_job(store_key::OWN_JOB, id), &own.record);
        own.on_sign_of_life(cx);
        self.timers.arm(id, own.due());
        if let Some((from, result)) = own.unproven.take() {
            // It was kept until its claim was proven; if this is another claim, it is dropped.
            let _ = self.on_result(cx, members, from, result, effects);
        }
    }

    /// The command of an open private job.
    #[must_use]
    pub fn secret(&self, id: JobId) -> Option<&PrivateCommand> {
        self.own.get(&id)?.record.secret.as_ref()
    }

    /// The claim of an own job is proven, and not only said: who may run it, and its backup, are told what to run, each in a box of
    /// its own (11). Shown the proof again, because the command was lost, they are told again.
    pub fn on_proof(&mut self, cx: &mut Ctx<'_>, members: &Members, certificate: &ClaimCertificate) {
        let Statement { job_id, round, winner, backup, .. } = certificate.statement;
        let Some(own) = self.own.get_mut(&job_id) else { return };
        let Some(secret) = &own.record.secret else { return };
        let of_claim = own
            .record
            .claim
            .is_some_and(|claim| (claim.round, claim.claimer) == (round, winner) && claim.lapsed.is_none());
        let just_told = own.told.is_some_and(|(at, of)| of == round && cx.now.mono.since(at) < TELL_AGAIN_AFTER);
        if !of_claim || just_told {
            return;
        }
        own.told = Some((cx.now.mono, round));
        let plain = secret.encoded();
        for reader in std::iter::once(winner).chain(backup) {
            let Some(peer) = members.find(reader).filter(|peer| *peer != PeerIdx::SELF) else { continue };
            if let Some(sealed) = cx.seal(members.peer(peer).key(), &plain) {
                cx.direct(peer, reader, &Payload::SealedCommand(SealedCommand { job_id, sealed }));
            }
        }
    }

    /// A proposal was seen: there were bids.
    pub fn on_proposal_seen(&mut self, id: JobId) {
        if let Some(own) = self.own.get_mut(&id) {
            own.bids_seen = true;
        }
    }

    /// The executor says that it lives.
    pub fn on_heartbeat(&mut self, cx: &Ctx<'_>, id: JobId, round: u32, from: NodeId) {
        if let Some(own) = self.own.get_mut(&id)
            && own.record.claim.is_some_and(|claim| claim.round == round && claim.claimer == from)
        {
            own.on_sign_of_life(cx);
            self.timers.arm(id, own.due());
        }
    }

    /// A result: of the claim we know, or kept until its executor has proven its claim. The first valid one of the newest
    /// certified round counts.
    pub fn on_result(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        result: JobResult,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let id = result.job_id;
        let executor = members.id(from);
        let Some(own) = self.own.get_mut(&id) else { return Ok(()) };
        // A claim that stands after a run failed is another one, whatever its round (10).
        let over = own.record.claim.is_none_or(|claim| claim.lapsed.is_some());
        if over && own.record.failed.is_some_and(|(_, round)| round >= result.round) {
            return Err(Refusal::OutOfPlace);
        }
        match own.record.claim {
            Some(claim) if (claim.round, claim.claimer) == (result.round, executor) => {
                if result.output.len() > OUTPUT_CHUNK || result.output.len() > result.output_bytes as usize {
                    return Err(Refusal::Malformed);
                }
                // Asked twice, it came twice: what is there already is worth more, and shows no progress. Another length is another word.
                let known = own.partial.as_ref().is_some_and(|partial| {
                    partial.output_bytes == result.output_bytes && partial.output.len() >= result.output.len()
                });
                if !known {
                    own.partial = Some(result);
                    own.on_sign_of_life(cx);
                    self.timers.arm(id, own.due());
                }
                return self.gather(cx, members, id, effects);
            }
            // 10: a provisional claim may end before one of an earlier round, if that one is proven.
            Some(claim) if claim.round >= result.round && !claim.provisional => return Err(Refusal::OutOfPlace),
            Some(_) | None => {
                own.unproven = Some((from, result));
                send(cx, members, executor, &Payload::CertificateRequest(CertificateRequest { job_id: id }));
            }
        }
        Ok(())
    }

    /// More of an output.
    pub fn on_output_chunk(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        chunk: &OutputChunk,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let id = chunk.job_id;
        let Some(own) = self.own.get_mut(&id) else { return Ok(()) };
        let of_claim = own.record.claim.is_some_and(|c| (c.round, c.claimer) == (chunk.round, members.id(from)));
        let Some(partial) = own.partial.as_mut().filter(|_| of_claim) else { return Err(Refusal::OutOfPlace) };
        if partial.output.len() != chunk.offset as usize {
            return Err(Refusal::OutOfPlace);
        }
        let missing = partial.output_bytes as usize - partial.output.len();
        if chunk.bytes.is_empty() || chunk.bytes.len() > missing.min(OUTPUT_CHUNK) {
            return Err(Refusal::Malformed);
        }
        partial.output.extend_from_slice(&chunk.bytes);
        own.on_sign_of_life(cx);
        self.timers.arm(id, own.due());
        self.gather(cx, members, id, effects)
    }

    /// Takes a result whose output is all there, or asks for more of it.
    fn gather(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        id: JobId,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let own = self.own.get_mut(&id).expect("the caller found it");
        let claim = own.record.claim.expect("a result belongs to a claim");
        let Some(partial) = &own.partial else { return Ok(()) };
        let wanted = partial.output_bytes.min(cx.config.max_output_bytes) as usize;
        if partial.output.len() < wanted {
            let offset = u32::try_from(partial.output.len()).expect("bounded by max_output_bytes");
            send(cx, members, claim.claimer, &Payload::OutputRequest(OutputRequest { job_id: id, offset }));
            return Ok(());
        }
        let mut result = own.partial.take().expect("just seen");
        result.truncated |= result.output_bytes as usize > wanted;
        result.output.truncate(wanted);
        let mut taken = Ok(());
        if own.record.secret.is_some() {
            let writers = members.find(claim.claimer).map(|peer| members.peer(peer).sealing_keys(cx.now.mono));
            match cx.open(&writers.unwrap_or_default(), &result.output) {
                Some(plain) => result.output = plain,
                // 11: a result that its submitter cannot read is none.
                None => {
                    result.output.clear();
                    result.status = JobStatus::Failure;
                    taken = Err(Refusal::CannotOpen);
                }
            }
        }
        self.take_result(cx, id, claim.claimer, result, effects);
        taken
    }

    /// A result is there as a whole: the job is over, or is tried again.
    pub fn take_result(
        &mut self,
        cx: &mut Ctx<'_>,
        id: JobId,
        executor: NodeId,
        result: JobResult,
        effects: &mut Vec<Effect>,
    ) {
        let Some(own) = self.own.get_mut(&id) else { return };
        let deed = match result.status {
            JobStatus::Success if cx.wall() <= own.record.broadcast.body.deadline => Deed::OnTime,
            JobStatus::Success => Deed::Late,
            JobStatus::Failure => Deed::Failure,
        };
        effects.push(Effect::Judged { executor, deed });
        let failed = own.record.failed.map_or(0, |(failed, _)| failed);
        let again = result.status == JobStatus::Failure
            && failed + 1 < own.record.broadcast.body.max_attempts
            && cx.now.mono < own.deadline;
        if again {
            own.record.failed = Some((failed + 1, result.round));
            cx.persist(&store_key::of_job(store_key::OWN_JOB, id), &own.record);
            cx.report(Event::JobRetried { job: id, attempt: failed + 2 });
            return self.lapse(cx, id, effects);
        }
        let own = self.own.remove(&id).expect("just seen");
        // Persisted before the job is forgotten: no crash loses the payment.
        let payment = settle::owed(cx.self_id(), id, &own.record.broadcast.body, executor, result.status, cx.wall());
        settle::persist(cx, &payment);
        effects.push(Effect::Owed { payment });
        let output = cx.out.put(&result.output);
        cx.report(Event::JobCompleted { job: id, executor, status: result.status, output });
        self.end(cx, id, Ended { broadcast: own.record.broadcast, executor: Some(executor), end: Ok(result.status) });
    }

    /// The claim brings no result: everyone is told, and the job can be claimed in a later round.
    fn lapse(&mut self, cx: &mut Ctx<'_>, id: JobId, effects: &mut Vec<Effect>) {
        let own = self.own.get_mut(&id).expect("the caller found it");
        let claim = own.record.claim.as_mut().expect("only a claim can lapse");
        claim.lapsed = Some(Lapse::Told);
        let round = claim.round;
        own.lapse_at = Time::NEVER;
        own.ask_at = cx.now.mono + cx.config.rebroadcast_interval;
        self.timers.arm(id, own.due());
        cx.broadcast(&Payload::LeaseLapsed(LeaseLapsed { job_id: id, round }));
        effects.push(Effect::Lapsed { job: id });
    }

    /// A member died or left: what it ran is given up, once its backup has had its turn.
    pub fn on_peer_lost(&mut self, cx: &Ctx<'_>, members: &Members, lost: NodeId) {
        let lives = |node: NodeId| !is_gone(members, node);
        for (id, own) in &mut self.own {
            let Some(claim) = own.record.claim.filter(|claim| claim.lapsed.is_none()) else { continue };
            if claim.claimer == lost || claim.backup == Some(lost) && !lives(claim.claimer) {
                let turn = if claim.backup.is_some_and(lives) { BACKUPS_TURN } else { Span::ZERO };
                own.lapse_at = own.lapse_at.min(cx.now.mono + turn);
                self.timers.arm(*id, own.due());
            }
        }
    }

    /// This node's own execution of its own job shows that it lives.
    pub fn on_own_heartbeat(&mut self, cx: &Ctx<'_>, id: JobId) {
        if let Some(own) = self.own.get_mut(&id) {
            own.on_sign_of_life(cx);
            self.timers.arm(id, own.due());
        }
    }

    /// Everything that is due now.
    pub fn on_timers(&mut self, cx: &mut Ctx<'_>, members: &Members, effects: &mut Vec<Effect>) {
        while let Some(id) = self.timers.pop_due(cx.now.mono) {
            self.on_due(cx, members, id, effects);
        }
    }

    /// An own job has waited long enough: asked for again, given to somebody else, or given up with the reason.
    fn on_due(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId, effects: &mut Vec<Effect>) {
        let now = cx.now.mono;
        let own = self.own.get_mut(&id).expect("the caller found it");
        let standing = own.record.claim.filter(|claim| claim.lapsed.is_none());
        let silent = now.since(own.sign_of_life) >= cx.config.lease;
        let over = now >= own.deadline && (standing.is_none() || silent || now >= own.latest);
        if over && !super::deadline_ignored_planted(cx) {
            let reason = match own.record.claim {
                Some(_) => FailReason::NoResult,
                None if !own.claimable(cx, members) => FailReason::NoQuorum,
                None if own.bids_seen => FailReason::NoClaim,
                None => FailReason::NoBids,
            };
            let own = self.own.remove(&id).expect("found above");
            cx.report(Event::JobFailed { job: id, reason });
            let executor = own.record.claim.map(|claim| claim.claimer);
            // Whose run has failed was judged by that.
            if let Some(executor) = executor.filter(|_| standing.is_some()) {
                effects.push(Effect::Judged { executor, deed: Deed::Timeout });
            }
            self.end(cx, id, Ended { broadcast: own.record.broadcast, executor, end: Err(reason) });
            return;
        }
        if own.deadline <= now {
            // Past its deadline, with a claimer that shows signs of life: looked at again when it may have fallen silent.
            own.deadline = now + cx.config.job_heartbeat_interval;
        }
        let gives_up = own.lapse_at <= now && standing.is_some();
        if gives_up && own.claimable(cx, members) {
            return self.lapse(cx, id, effects);
        }
        if own.lapse_at <= now {
            // Nobody could claim it now: looked at again when it is asked for.
            own.lapse_at = now + cx.config.rebroadcast_interval;
        }
        let asked = own.ask_at <= now;
        if asked {
            own.ask_at = now + cx.config.rebroadcast_interval;
        }
        self.timers.arm(id, own.due());
        if asked {
            self.ask_again(cx, members, id, effects);
        }
    }

    /// Asks the claimer, or everyone where none is known.
    fn ask_again(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId, effects: &mut Vec<Effect>) {
        let own = &self.own[&id];
        match own.record.claim {
            Some(claim) if claim.lapsed.is_none() && claim.claimer == cx.self_id() => {
                effects.push(Effect::Resume { job: id, asker: claim.claimer });
            }
            Some(claim) if claim.lapsed.is_none() => {
                send(cx, members, claim.claimer, &Payload::CertificateRequest(CertificateRequest { job_id: id }));
                // What cannot be read has ended its run.
                let _ = self.gather(cx, members, id, effects);
            }
            // Nobody will claim it now; becoming able to is what asks for it again.
            Some(_) | None if !own.claimable(cx, members) => {}
            claim => {
                cx.broadcast(&Payload::JobBroadcast(own.record.broadcast.clone()));
                if let Some(claim) = claim {
                    cx.broadcast(&Payload::LeaseLapsed(LeaseLapsed { job_id: id, round: claim.round }));
                    effects.push(Effect::Lapsed { job: id });
                }
            }
        }
    }

    /// Enough members are reachable again: every open own job that can be claimed now is asked for at once.
    pub fn on_recovered(&mut self, cx: &mut Ctx<'_>, members: &Members, effects: &mut Vec<Effect>) {
        let open = self.own.iter().filter(|(_, own)| own.claimable(cx, members));
        let open: Vec<JobId> = open.map(|(id, _)| *id).collect();
        for id in open {
            let own = self.own.get_mut(&id).expect("listed above");
            own.ask_at = cx.now.mono + cx.config.rebroadcast_interval;
            self.timers.arm(id, own.due());
            self.ask_again(cx, members, id, effects);
        }
    }

    fn end(&mut self, cx: &mut Ctx<'_>, id: JobId, ended: Ended) {
        cx.forget(&store_key::of_job(store_key::OWN_JOB, id));
        self.timers.disarm(id);
        self.ended.insert(id, ended);
        self.ended_order.push_back(id);
        if self.ended_order.len() > SHOWN_AFTERWARDS {
            let oldest = self.ended_order.pop_front().expect("just checked");
            self.ended.remove(&oldest);
        }
    }

    /// Asserts what must always hold, in constant time.
    pub fn check_invariants(&self) {
        assert!(self.ended.len() <= SHOWN_AFTERWARDS, "ended jobs are bounded");
        assert_eq!(self.timers.len(), self.own.len(), "every open job is looked at again");
    }
}

impl Own {
    /// Whether anybody could claim it now, where its claim is over or there is none.
    fn claimable(&self, cx: &Ctx<'_>, members: &Members) -> bool {
        members.may_claim(provisional::needed(cx.config, &self.record.broadcast.body, self.record.claim))
    }

    fn due(&self) -> Time {
        self.deadline.min(self.ask_at).min(self.lapse_at)
    }

    /// The claimer lives: neither asked nor given up for a while.
    fn on_sign_of_life(&mut self, cx: &Ctx<'_>) {
        self.sign_of_life = cx.now.mono;
        self.ask_at = cx.now.mono + cx.config.rebroadcast_interval;
        if self.record.claim.is_some_and(|claim| claim.lapsed.is_none()) {
            self.lapse_at = cx.now.mono + cx.config.lease;
        }
    }
}
