//! A job from its submission to its end, at the nodes that have to do with it (protocol.md, section 7).
//!
//! `submitter` sees own jobs to a result or a visible failure, `executor` runs what this node claimed, `backup` watches what
//! another node runs. One node may be all three of one job. What they ask of the auctions is left in [`Jobs::effects`].

mod backup;
mod executor;
mod submitter;

use rand_chacha::rand_core::Rng;

use crate::auction::{Claim, Job, LONGEST_DEADLINE};
use crate::cx::Ctx;
use crate::id::{JobId, NodeId, PeerIdx};
use crate::io::{JobSpec, Outcome, Refusal, SubmitRefusal};
use crate::membership::Members;
use crate::reputation::score::Deed;
use crate::time::{Span, Time, WallTime};
use crate::units::Ppm;
use crate::wire::message::private::is_commitment;
use crate::wire::message::{
    ClaimCertificate, JobBody, JobBroadcast, JobHeartbeat, JobResult, MAX_ATTEMPTS, MAX_CAPABILITY_BYTES,
    MAX_REQUIREMENTS, OutputChunk, OutputRequest, PrivateCommand, SealedCommand, Transfer,
};
use crate::wire::{Payload, binary};
use backup::Backups;
use executor::Executor;
use submitter::Submitter;
pub use submitter::{Ended, OwnRecord};

/// A job gets this long at least, however little is left until its deadline.
const SHORTEST_RUN: Span = Span::secs(1);

/// What this node runs, watches, and has submitted.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    executor: Executor,
    backups: Backups,
    submitter: Submitter,
    submitted: u32,
    /// What `node.rs` must do now.
    pub effects: Vec<Effect>,
}

/// What a job asks of the rest of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant's line says what its fields are")]
pub enum Effect {
    /// An executor of an own job did well, or not.
    Judged { executor: NodeId, deed: Deed },
    /// The executor of a job that this node watches is gone or silent: take over.
    TakeOver { job: JobId },
    /// The newest claim of this own job brings no result: everyone was told.
    Lapsed { job: JobId },
    /// An own job has its result: what that has earned, persisted already.
    Owed { payment: Transfer },
    /// Its submitter asks for a job that this node claimed and does not run, since a restart: run it.
    Resume { job: JobId, asker: NodeId },
}

impl Jobs {
    /// How many jobs this node runs.
    #[must_use]
    pub fn active(&self) -> u32 {
        self.executor.active()
    }

    /// Whether this node runs a job.
    #[must_use]
    pub fn is_running(&self, job: JobId) -> bool {
        self.executor.is_running(job)
    }

    /// The open jobs of this node that were submitted at this moment or later, oldest first.
    #[must_use]
    pub fn open_since(&self, since: WallTime) -> Vec<(JobId, &JobBroadcast)> {
        self.submitter.open_since(since)
    }

    /// The jobs of this node that have ended, by id.
    pub fn ended(&self) -> impl Iterator<Item = (JobId, &Ended)> {
        self.submitter.ended()
    }

    /// How a job of this node ended, if it has.
    #[must_use]
    pub fn ended_job(&self, job: JobId) -> Option<&Ended> {
        self.submitter.ended_job(job)
    }

    /// When something here is due.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.executor.next_deadline().min(self.backups.next_deadline()).min(self.submitter.next_deadline())
    }

    /// A client submits a job: persisted, then broadcast here, and auctioned by `node.rs` (6.1).
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn on_submit(&mut self, cx: &mut Ctx<'_>, spec: &JobSpec<'_>) -> Result<JobBroadcast, SubmitRefusal> {
        check_spec(cx, spec)?;
        if self.submitter.open() >= cx.config.max_known_jobs as usize {
            return Err(SubmitRefusal::TooManyJobs);
        }
        if is_commitment(spec.command) {
            return Err(SubmitRefusal::ReservedCommand);
        }
        self.submitted += 1;
        let secret = (spec.private || cx.config.encryption).then(|| {
            let mut salt = [0; 32];
            cx.rng.fill_bytes(&mut salt);
            PrivateCommand { salt, command: spec.command.to_owned() }
        });
        let command = secret.as_ref().map_or_else(|| spec.command.to_owned(), PrivateCommand::commitment);
        let submitted = cx.wall();
        let broadcast = JobBroadcast {
            // The incarnation is persisted, so the pair never repeats, whatever a restart forgets.
            // A small number is short on the wire.
            counter: ((u64::from(cx.egress.incarnation()) << 24) + u64::from(self.submitted)) & ((1 << 53) - 1),
            submitter: cx.self_id(),
            body: JobBody {
                job_type: spec.job_type.to_owned(),
                command,
                priority: spec.priority.min(Ppm::ONE),
                submitted,
                deadline: submitted + spec.deadline,
                payment: spec.payment,
                requirements: spec.requirements.to_vec(),
                consistency: spec.consistency,
                max_attempts: spec.max_attempts,
            },
        };
        self.submitter.begin(cx, broadcast.clone(), secret);
        Ok(broadcast)
    }

    /// A job of an earlier life of this node, from the store.
    pub fn on_recovered_job(&mut self, cx: &Ctx<'_>, id: JobId, record: OwnRecord) {
        self.submitter.recover(cx, id, record);
    }

    /// This node holds a claim: run the job (6.5).
    pub fn on_won(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId, claim: Claim, job: &Job) {
        if let Some(secret) = self.submitter.secret(id) {
            self.executor.know(cx, id, secret.command.clone(), job);
        }
        self.executor.on_won(cx, members, id, claim, job);
    }

    /// The claim of a private job of this node is proven, perhaps again: executor and backup get its command (11).
    pub fn on_proof(&mut self, cx: &mut Ctx<'_>, members: &Members, certificate: &ClaimCertificate) {
        self.submitter.on_proof(cx, members, certificate);
    }

    /// The command of a private job, from its submitter. It is kept, whether this node runs the job now or may have to later.
    ///
    /// # Errors
    /// `UnknownJob`; `OutOfPlace` where it is not the sender's or not private; `CannotOpen`.
    pub fn on_sealed_command(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        message: &SealedCommand,
        job: Option<&Job>,
    ) -> Result<(), Refusal> {
        let job = job.ok_or(Refusal::UnknownJob)?;
        if job.broadcast.submitter != members.id(from) || !job.broadcast.body.is_private() {
            return Err(Refusal::OutOfPlace);
        }
        let writers = members.peer(from).sealing_keys(cx.now.mono);
        let plain = cx.open(&writers, &message.sealed).ok_or(Refusal::CannotOpen)?;
        let secret: PrivateCommand = binary::decode(&plain).map_err(|_| Refusal::CannotOpen)?;
        let bounded = secret.command.len() <= cx.config.max_command_bytes as usize;
        if !bounded || secret.commitment() != job.broadcast.body.command {
            return Err(Refusal::CannotOpen);
        }
        self.executor.know(cx, message.job_id, secret.command, job);
        Ok(())
    }

    /// Somebody, perhaps this node, holds a claim.
    pub fn on_claimed(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId, claim: Claim, job: &Job) {
        self.executor.on_claimed(cx, id, claim);
        self.backups.on_claimed(cx, id, claim, job);
        self.submitter.on_claimed(cx, members, id, claim, &mut self.effects);
    }

    /// The submitter saw a proposal: there were bids.
    pub fn on_proposal_seen(&mut self, id: JobId) {
        self.submitter.on_proposal_seen(id);
    }

    /// An execution ended by itself.
    pub fn on_finished(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId, outcome: &Outcome<'_>) {
        if let Some((result, output)) = self.executor.on_finished(cx, members, id, outcome) {
            let own = cx.self_id();
            self.submitter.take_result(cx, id, own, JobResult { output, ..result }, &mut self.effects);
        }
    }

    /// A result, for the submitter or for the backup.
    pub fn on_result(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        result: JobResult,
    ) -> Result<(), Refusal> {
        self.backups.on_result(result.job_id, result.round, members.id(from));
        self.submitter.on_result(cx, members, from, result, &mut self.effects)
    }

    /// The submitter wants more of an output.
    pub fn on_output_request(&self, cx: &mut Ctx<'_>, members: &Members, from: PeerIdx, request: &OutputRequest) {
        self.executor.on_output_request(cx, members, members.id(from), request);
    }

    /// More of an output.
    pub fn on_output_chunk(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        chunk: &OutputChunk,
    ) -> Result<(), Refusal> {
        self.submitter.on_output_chunk(cx, members, from, chunk, &mut self.effects)
    }

    /// An executor says that it lives.
    pub fn on_heartbeat(&mut self, cx: &Ctx<'_>, members: &Members, from: PeerIdx, beat: &JobHeartbeat) {
        self.submitter.on_heartbeat(cx, beat.job_id, beat.round, members.id(from));
        self.backups.on_heartbeat(cx, beat.job_id, beat.round, members.id(from));
    }

    /// Its submitter asks about a job that this node claimed: it gets the result, or the job is run, where a restart lost it.
    pub fn on_asked_again(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId, who: NodeId) {
        self.executor.on_asked_again(cx, members, id, who);
        if !self.executor.is_running(id) && !self.executor.has_result(id) {
            self.effects.push(Effect::Resume { job: id, asker: who });
        }
    }

    /// A member died or left.
    pub fn on_peer_lost(&mut self, cx: &Ctx<'_>, members: &Members, lost: NodeId) {
        self.backups.on_peer_lost(lost, &mut self.effects);
        self.submitter.on_peer_lost(cx, members, lost);
    }

    /// Everything that is due now.
    /// `certificate_of` finds what proves a claim of this node.
    pub fn on_timers(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        certificate_of: &dyn Fn(JobId) -> Option<ClaimCertificate>,
    ) {
        for id in self.executor.on_timers(cx, members, certificate_of) {
            self.submitter.on_own_heartbeat(cx, id);
        }
        self.backups.on_timers(cx, &mut self.effects);
        self.submitter.on_timers(cx, members, &mut self.effects);
    }

    /// Enough members are reachable again.
    pub fn on_recovered(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        self.backups.on_recovered(members, &mut self.effects);
        self.submitter.on_recovered(cx, members, &mut self.effects);
    }

    /// Asserts what must always hold, in constant time.
    pub fn check_invariants(&self) {
        self.submitter.check_invariants();
        assert!(self.effects.is_empty(), "node.rs has dealt with every effect");
    }
}

fn send(cx: &mut Ctx<'_>, members: &Members, to: NodeId, payload: &Payload) {
    if let Some(peer) = members.find(to).filter(|peer| *peer != PeerIdx::SELF) {
        cx.direct(peer, to, payload);
    }
}

fn check_spec(cx: &Ctx<'_>, spec: &JobSpec<'_>) -> Result<(), SubmitRefusal> {
    if spec.command.len() > cx.config.max_command_bytes as usize {
        return Err(SubmitRefusal::CommandTooLarge);
    }
    let bad = |name: &str| name.is_empty() || name.len() > MAX_CAPABILITY_BYTES;
    if bad(spec.job_type)
        || spec.requirements.len() > MAX_REQUIREMENTS
        || spec.requirements.iter().any(|name| bad(name))
    {
        return Err(SubmitRefusal::BadRequirements);
    }
    if spec.deadline == Span::ZERO || spec.deadline > LONGEST_DEADLINE {
        return Err(SubmitRefusal::BadDeadline);
    }
    if !(1..=MAX_ATTEMPTS).contains(&spec.max_attempts) {
        return Err(SubmitRefusal::BadAttempts);
    }
    Ok(())
}

fn deadline_ignored_planted(cx: &Ctx<'_>) -> bool {
    #[cfg(feature = "plant")]
    if cx.config.plant == crate::config::Plant::DeadlineIgnored {
        return true;
    }
    let _ = cx;
    false
}
