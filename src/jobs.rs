//! Running jobs that this node claimed, and seeing its own jobs to their end (protocol.md, section 7).
//!
//! Leases, takeover and retries build on this: an executor tells submitter and backup that it lives, keeps its results until
//! the job is over, and stops when a later round's claim fences it. A submitter keeps asking until it has a result, or says
//! why there is none.

use std::collections::{BTreeMap, VecDeque};

use crate::auction::{Job, LONGEST_DEADLINE, job_id};
use crate::cx::{Ctx, store_key};
use crate::id::{JobId, NodeId, PeerIdx};
use crate::io::{Action, Event, FailReason, JobSpec, JobStatus, Outcome, Refusal, SubmitRefusal};
use crate::ledger::settle;
use crate::membership::Members;
use crate::time::{Span, Time};
use crate::timers::Timers;
use crate::units::Ppm;
use crate::wire::Payload;
use crate::wire::message::{
    CertificateRequest, Consistency, JobBody, JobBroadcast, JobHeartbeat, JobResult, MAX_CAPABILITY_BYTES,
    MAX_REQUIREMENTS, Transfer,
};

/// Own jobs that have ended and are still shown.
const SHOWN_AFTERWARDS: usize = 1_000;
/// A job gets this long at least, however little is left until its deadline.
const SHORTEST_RUN: Span = Span::secs(1);
/// An own job that is claimed, and shows signs of life, is given up at this many times its span.
const LATEST_RESULT: u64 = 3;

/// What this node runs, and what it submitted.
#[derive(Clone, Debug, Default)]
pub struct Jobs {
    running: BTreeMap<JobId, Run>,
    finished: BTreeMap<JobId, Finished>,
    own: BTreeMap<JobId, Own>,
    ended: BTreeMap<JobId, Ended>,
    ended_order: VecDeque<JobId>,
    submitted: u32,
    timers: Timers<(JobId, Timer)>,
    /// What accepted results have earned, for `node.rs` to hand to the ledger.
    pub owed: Vec<Transfer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// An execution's sign of life is due.
    Heartbeat,
    /// A result need not be kept any more.
    Discard,
    /// An own job has waited long enough for something.
    Own,
}

/// An execution.
#[derive(Clone, Debug)]
struct Run {
    round: u32,
    submitter: NodeId,
    backup: Option<NodeId>,
    coordinator: Option<NodeId>,
    kept_until: Time,
}

/// A result that may be asked for again.
#[derive(Clone, Debug)]
struct Finished {
    submitter: NodeId,
    result: JobResult,
}

/// A job of this node that has no result yet.
#[derive(Clone, Debug)]
struct Own {
    broadcast: JobBroadcast,
    claim: Option<(u32, NodeId)>,
    bids_seen: bool,
    sign_of_life: Time,
    ask_at: Time,
    deadline: Time,
    latest: Time,
    /// A result that came before the proof of its claim.
    unproven: Option<(PeerIdx, JobResult)>,
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

impl Jobs {
    /// How many jobs this node runs.
    #[must_use]
    pub fn active(&self) -> u32 {
        u32::try_from(self.running.len()).expect("bounded by the claims a node can win")
    }

    /// Whether this node runs a job.
    #[must_use]
    pub fn is_running(&self, job: JobId) -> bool {
        self.running.contains_key(&job)
    }

    /// The jobs of this node that have ended, by id.
    pub fn ended(&self) -> impl Iterator<Item = (JobId, &Ended)> {
        self.ended.iter().map(|(id, ended)| (*id, ended))
    }

    /// How a job of this node ended, if it has.
    #[must_use]
    pub fn ended_job(&self, job: JobId) -> Option<&Ended> {
        self.ended.get(&job)
    }

    /// When something here is due.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }

    /// A client submits a job: persisted, then broadcast by the caller's [`Jobs::on_submit`] and auctioned by `node.rs` (6.1).
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn on_submit(&mut self, cx: &mut Ctx<'_>, spec: &JobSpec<'_>) -> Result<JobBroadcast, SubmitRefusal> {
        check_spec(cx, spec)?;
        if self.own.len() >= cx.config.max_known_jobs as usize {
            return Err(SubmitRefusal::TooManyJobs);
        }
        self.submitted += 1;
        let submitted = cx.wall();
        let broadcast = JobBroadcast {
            // The incarnation is persisted, so the pair never repeats, whatever a restart forgets.
            counter: (u64::from(cx.egress.incarnation()) << 32 | u64::from(self.submitted)) & ((1 << 53) - 1),
            submitter: cx.self_id(),
            body: JobBody {
                job_type: spec.job_type.to_owned(),
                command: spec.command.to_owned(),
                priority: spec.priority.min(Ppm::ONE),
                submitted,
                deadline: submitted + spec.deadline,
                payment: spec.payment,
                requirements: spec.requirements.to_vec(),
                consistency: Consistency::Quorum,
            },
        };
        cx.persist(&store_key::of_job(store_key::OWN_JOB, job_id(&broadcast)), &broadcast);
        cx.report(Event::JobSubmitted { job: job_id(&broadcast) });
        self.watch(cx, broadcast.clone());
        cx.broadcast(&Payload::JobBroadcast(broadcast.clone()));
        Ok(broadcast)
    }

    /// A job of an earlier life of this node, from the store.
    pub fn on_recovered_job(&mut self, cx: &Ctx<'_>, broadcast: JobBroadcast) {
        self.watch(cx, broadcast);
    }

    fn watch(&mut self, cx: &Ctx<'_>, broadcast: JobBroadcast) {
        let left = broadcast.body.deadline.since(cx.wall());
        let span = broadcast.body.deadline.since(broadcast.body.submitted);
        let deadline = cx.now.mono + left;
        let own = Own {
            claim: None,
            bids_seen: false,
            sign_of_life: cx.now.mono,
            ask_at: cx.now.mono + cx.config.rebroadcast_interval,
            deadline,
            latest: deadline + span.times(LATEST_RESULT - 1),
            unproven: None,
            broadcast,
        };
        let id = job_id(&own.broadcast);
        self.timers.arm((id, Timer::Own), own.due());
        self.own.insert(id, own);
    }

    /// This node holds a claim: run the job, once, unless a later round's claim is known (6.5).
    pub fn on_won(&mut self, cx: &mut Ctx<'_>, id: JobId, round: u32, job: &Job) {
        if self.running.contains_key(&id) || self.finished.contains_key(&id) {
            return;
        }
        let body = &job.broadcast.body;
        let left = body.deadline.since(cx.wall());
        let run = Run {
            round,
            submitter: job.broadcast.submitter,
            backup: job.proposal.and_then(|p| p.backup),
            coordinator: job.proposal.map(|p| p.coordinator),
            kept_until: cx.now.mono + left + cx.config.lease.times(2),
        };
        self.running.insert(id, run);
        self.timers.arm((id, Timer::Heartbeat), cx.now.mono + cx.config.job_heartbeat_interval);
        let job_type = cx.out.put(body.job_type.as_bytes());
        let command = cx.out.put(body.command.as_bytes());
        cx.report(Event::ExecutionStarted { job: id, round });
        cx.out.actions.push(Action::Execute { job: id, job_type, command, deadline: left.max(SHORTEST_RUN) });
    }

    /// Somebody holds a claim: the submitter learns whom to wait for; an executor of an earlier round is fenced (7).
    pub fn on_claimed(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId, round: u32, claimer: NodeId) {
        if claimer == cx.self_id() {
            // A later round of a job it has: submitter and voters know that claim now, and take results of no other.
            if let Some(run) = self.running.get_mut(&id) {
                run.round = round;
            }
            if let Some(finished) = self.finished.get_mut(&id) {
                finished.result.round = round;
            }
        } else if self.running.get(&id).is_some_and(|run| run.round < round) {
            self.running.remove(&id);
            self.timers.disarm((id, Timer::Heartbeat));
            cx.out.actions.push(Action::Cancel(id));
            cx.report(Event::ExecutionCancelled { job: id });
        }
        let Some(own) = self.own.get_mut(&id) else { return };
        own.claim = Some((round, claimer));
        own.sign_of_life = cx.now.mono;
        own.ask_at = cx.now.mono + cx.config.rebroadcast_interval;
        self.timers.arm((id, Timer::Own), own.due());
        if let Some((from, result)) = own.unproven.take() {
            // It was kept until its claim was proven; if this is another claim, it is dropped.
            let _ = self.on_result(cx, members, from, result);
        }
    }

    /// The submitter saw a proposal: there were bids.
    pub fn on_proposal_seen(&mut self, id: JobId) {
        if let Some(own) = self.own.get_mut(&id) {
            own.bids_seen = true;
        }
    }

    /// An execution ended by itself: the result goes to the submitter with its output, to backup and coordinator without (7).
    pub fn on_finished(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId, outcome: &Outcome<'_>) {
        let Some(run) = self.running.remove(&id) else { return };
        let kept = outcome.output.len().min(cx.config.max_output_bytes as usize);
        let result = JobResult {
            job_id: id,
            round: run.round,
            status: outcome.status,
            output: outcome.output[..kept].to_vec(),
            truncated: kept < outcome.output.len(),
            duration: outcome.duration,
        };
        let brief = Payload::JobResult(JobResult { output: Vec::new(), ..result.clone() });
        let watchers: Vec<NodeId> = [run.backup, run.coordinator].into_iter().flatten().collect();
        for (at, watcher) in watchers.iter().enumerate() {
            if *watcher != run.submitter && !watchers[..at].contains(watcher) {
                send(cx, members, *watcher, &brief);
            }
        }
        send(cx, members, run.submitter, &Payload::JobResult(result.clone()));
        if run.submitter == cx.self_id() {
            self.accept_result(cx, id, run.submitter, &result);
        }
        self.finished.insert(id, Finished { submitter: run.submitter, result });
        self.timers.disarm((id, Timer::Heartbeat));
        self.timers.arm((id, Timer::Discard), run.kept_until.max(cx.now.mono + cx.config.lease));
    }

    /// A result: of the claim we know, or kept until its executor has proven its claim.
    pub fn on_result(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        result: JobResult,
    ) -> Result<(), Refusal> {
        let id = result.job_id;
        let executor = members.id(from);
        // Backup and coordinator learn that it is over; what they do about it comes with takeover.
        let Some(own) = self.own.get_mut(&id) else { return Ok(()) };
        match own.claim {
            Some(claim) if claim == (result.round, executor) => self.accept_result(cx, id, executor, &result),
            Some((round, _)) if round >= result.round => return Err(Refusal::OutOfPlace),
            _ => {
                own.unproven = Some((from, result));
                send(cx, members, executor, &Payload::CertificateRequest(CertificateRequest { job_id: id }));
            }
        }
        Ok(())
    }

    fn accept_result(&mut self, cx: &mut Ctx<'_>, id: JobId, executor: NodeId, result: &JobResult) {
        let Some(own) = self.own.remove(&id) else { return };
        // Persisted before the job is forgotten: no crash loses the payment.
        let owed = settle::owed(cx.self_id(), id, &own.broadcast.body, executor, result.status, cx.wall());
        settle::persist(cx, &owed);
        self.owed.push(owed);
        let output = cx.out.put(&result.output);
        cx.report(Event::JobCompleted { job: id, executor, status: result.status, output });
        self.end(cx, id, Ended { broadcast: own.broadcast, executor: Some(executor), end: Ok(result.status) });
    }

    /// An executor says that it lives.
    pub fn on_heartbeat(&mut self, cx: &Ctx<'_>, members: &Members, from: PeerIdx, beat: &JobHeartbeat) {
        if let Some(own) = self.own.get_mut(&beat.job_id)
            && own.claim == Some((beat.round, members.id(from)))
        {
            own.sign_of_life = cx.now.mono;
            own.ask_at = cx.now.mono + cx.config.rebroadcast_interval;
            self.timers.arm((beat.job_id, Timer::Own), own.due());
        }
    }

    /// Somebody asks about a job that this node claimed: its submitter gets the result, where there is one.
    pub fn on_asked_again(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId, who: NodeId) {
        if let Some(finished) = self.finished.get(&id).filter(|finished| finished.submitter == who) {
            let result = Payload::JobResult(finished.result.clone());
            send(cx, members, who, &result);
        }
    }

    /// Everything that is due now.
    pub fn on_timers(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        while let Some((id, timer)) = self.timers.pop_due(cx.now.mono) {
            match timer {
                Timer::Heartbeat => self.send_heartbeat(cx, members, id),
                Timer::Discard => drop(self.finished.remove(&id)),
                Timer::Own => self.on_own_due(cx, members, id),
            }
        }
    }

    fn send_heartbeat(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId) {
        let run = &self.running[&id];
        if let Some(own) = self.own.get_mut(&id) {
            own.sign_of_life = cx.now.mono;
        }
        let beat = Payload::JobHeartbeat(JobHeartbeat { job_id: id, round: run.round, progress: Ppm(0) });
        send(cx, members, run.submitter, &beat);
        if let Some(backup) = run.backup.filter(|backup| *backup != run.submitter) {
            send(cx, members, backup, &beat);
        }
        self.timers.arm((id, Timer::Heartbeat), cx.now.mono + cx.config.job_heartbeat_interval);
    }

    /// An own job has waited long enough: asked for again, or given up with the reason.
    fn on_own_due(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId) {
        let now = cx.now.mono;
        let own = self.own.get_mut(&id).expect("the caller found it");
        let silent = now.since(own.sign_of_life) >= cx.config.lease;
        let over = now >= own.deadline && (own.claim.is_none() || silent || now >= own.latest);
        if over && !deadline_ignored_planted(cx) {
            let reason = match own.claim {
                Some(_) => FailReason::NoResult,
                None if members.degraded() => FailReason::NoQuorum,
                None if own.bids_seen => FailReason::NoClaim,
                None => FailReason::NoBids,
            };
            let own = self.own.remove(&id).expect("found above");
            cx.report(Event::JobFailed { job: id, reason });
            let executor = own.claim.map(|(_, claimer)| claimer);
            self.end(cx, id, Ended { broadcast: own.broadcast, executor, end: Err(reason) });
            return;
        }
        let asked = own.ask_at <= now;
        if asked {
            own.ask_at = now + cx.config.rebroadcast_interval;
        }
        if own.deadline <= now {
            // Past its deadline, with a claimer that shows signs of life: looked at again when it may have fallen silent.
            own.deadline = now + cx.config.job_heartbeat_interval;
        }
        self.timers.arm((id, Timer::Own), own.due());
        if asked {
            self.ask_again(cx, members, id);
        }
    }

    /// Asks the claimer, or everyone where none is known.
    fn ask_again(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId) {
        let own = &self.own[&id];
        match own.claim {
            Some((_, claimer)) if claimer == cx.self_id() => {}
            Some((_, claimer)) => {
                send(cx, members, claimer, &Payload::CertificateRequest(CertificateRequest { job_id: id }))
            }
            // Nobody will claim it now; becoming able to is what asks for it again.
            None if members.degraded() => {}
            None => cx.broadcast(&Payload::JobBroadcast(own.broadcast.clone())),
        }
    }

    /// Enough members are reachable again: every open own job is asked for at once.
    pub fn on_recovered(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        let open: Vec<JobId> = self.own.keys().copied().collect();
        for id in open {
            let own = self.own.get_mut(&id).expect("listed above");
            own.ask_at = cx.now.mono + cx.config.rebroadcast_interval;
            self.timers.arm((id, Timer::Own), own.due());
            self.ask_again(cx, members, id);
        }
    }

    fn end(&mut self, cx: &mut Ctx<'_>, id: JobId, ended: Ended) {
        cx.forget(&store_key::of_job(store_key::OWN_JOB, id));
        self.timers.disarm((id, Timer::Own));
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
    }
}

impl Own {
    fn due(&self) -> Time {
        self.deadline.min(self.ask_at)
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
