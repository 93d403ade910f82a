//! What this node runs under a claim of its own (protocol.md, section 7).
//!
//! It tells submitter and backup that it lives, keeps its results until the job is over, and stops when a later round's claim
//! fences it.

use std::collections::BTreeMap;

use super::{SHORTEST_RUN, send};
use crate::auction::{Claim, Job};
use crate::config::Config;
use crate::cx::Ctx;
use crate::id::{JobId, NodeId, PeerIdx};
use crate::identity::seal::OVERHEAD;
use crate::io::{Action, Event, JobStatus, Outcome};
use crate::membership::Members;
use crate::time::{Span, Time};
use crate::timers::Timers;
use crate::units::Ppm;
use crate::wire::Payload;
use crate::wire::message::{
    ClaimCertificate, JobBody, JobHeartbeat, JobResult, OUTPUT_CHUNK, OutputChunk, OutputRequest,
};

/// Executions, and results that may be asked for.
#[derive(Clone, Debug, Default)]
pub struct Executor {
    running: BTreeMap<JobId, Run>,
    finished: BTreeMap<JobId, Finished>,
    /// The commands of private jobs that this node runs or may have to.
    commands: BTreeMap<JobId, String>,
    timers: Timers<(JobId, Timer)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A sign of life is due.
    Heartbeat,
    /// A result need not be kept any more.
    Discard,
    /// Nor the command of a private job.
    ForgetCommand,
}

/// An execution.
#[derive(Clone, Debug)]
struct Run {
    claim: Claim,
    submitter: NodeId,
    kept_until: Time,
    /// Whether command and output are sealed.
    private: bool,
    /// Whether its command is not there yet: submitter and backup hear that it lives all the same.
    waits: bool,
}

/// A result that may be asked for again.
#[derive(Clone, Debug)]
struct Finished {
    submitter: NodeId,
    /// As it is sent, with the beginning of the output.
    result: JobResult,
    output: Vec<u8>,
    /// Before this, what was sent is taken to be on its way still.
    again_from: Time,
    /// How much later than that once more: twice as long each time, or a link that carries less than is asked for would never
    /// bring anything in time.
    again_after: Span,
}

impl Executor {
    /// How many jobs run.
    #[must_use]
    pub fn active(&self) -> u32 {
        u32::try_from(self.running.len()).expect("bounded by the claims a node can win")
    }

    /// Whether this job runs.
    #[must_use]
    pub fn is_running(&self, job: JobId) -> bool {
        self.running.contains_key(&job)
    }

    /// When something here is due.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }

    /// This node holds a claim: run the job, unless it runs already or its result is there (6.5). What failed is run again.
    pub fn on_won(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId, claim: Claim, job: &Job) {
        if self.running.contains_key(&id) {
            return;
        }
        let body = &job.broadcast.body;
        if let Some(finished) = self.finished.get(&id) {
            if finished.result.status == JobStatus::Success {
                let result = Payload::JobResult(finished.result.clone());
                return send(cx, members, finished.submitter, &result);
            }
            self.finished.remove(&id);
            self.timers.disarm((id, Timer::Discard));
        }
        let left = body.deadline.since(cx.wall());
        let run = Run {
            claim,
            submitter: job.broadcast.submitter,
            kept_until: cx.now.mono + left + cx.config.lease.times(2),
            private: body.is_private(),
            waits: body.is_private(),
        };
        self.running.insert(id, run);
        self.timers.arm((id, Timer::Heartbeat), cx.now.mono + cx.config.job_heartbeat_interval);
        if !body.is_private() {
            execute(cx, id, claim.round, body, &body.command);
        } else if let Some(command) = self.commands.get(&id).cloned() {
            self.run_private(cx, id, body, &command);
        }
    }

    /// The command of a private job is known: it is kept for as long as the job is, and run if this node's claim waits for it (11).
    pub fn know(&mut self, cx: &mut Ctx<'_>, id: JobId, command: String, job: &Job) {
        let body = &job.broadcast.body;
        let until = cx.now.mono + body.deadline.since(cx.wall()) + cx.config.lease.times(2);
        self.timers.arm((id, Timer::ForgetCommand), until);
        self.run_private(cx, id, body, &command);
        self.commands.insert(id, command);
    }

    fn run_private(&mut self, cx: &mut Ctx<'_>, id: JobId, body: &JobBody, command: &str) {
        if let Some(run) = self.running.get_mut(&id).filter(|run| run.waits) {
            run.waits = false;
            execute(cx, id, run.claim.round, body, command);
        }
    }

    /// Somebody holds a claim: an execution under a worse one, mostly of an earlier round, is fenced (7, 10).
    pub fn on_claimed(&mut self, cx: &mut Ctx<'_>, id: JobId, claim: Claim) {
        if claim.claimer == cx.self_id() {
            // A later round of a job it has: submitter and voters know that claim now, and take results of no other.
            if let Some(run) = self.running.get_mut(&id) {
                run.claim = claim;
            }
            if let Some(finished) = self.finished.get_mut(&id) {
                finished.result.round = claim.round;
            }
        } else if self.running.get(&id).is_some_and(|run| claim.beats(&run.claim, id))
            && !fence_ignored_planted(cx.config)
        {
            let run = self.running.remove(&id).expect("just seen");
            self.timers.disarm((id, Timer::Heartbeat));
            if !run.waits {
                cx.out.actions.push(Action::Cancel(id));
                cx.report(Event::ExecutionCancelled { job: id });
            }
        }
    }

    /// An execution ended by itself: the result goes to the submitter with its output, to the backup without. The page sends
    /// it to the coordinator too, which has no use for it. Says what the result is where this node is the submitter itself.
    pub fn on_finished(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        id: JobId,
        outcome: &Outcome<'_>,
    ) -> Option<(JobResult, Vec<u8>)> {
        let run = self.running.remove(&id)?;
        // A private output is sealed as a whole, and then sent as any other; only this node as submitter reads it as it is.
        let reader = members.find(run.submitter).filter(|reader| run.private && *reader != PeerIdx::SELF);
        let room = if reader.is_some() { OVERHEAD } else { 0 };
        let taken = outcome.output.len().min((cx.config.max_output_bytes as usize).saturating_sub(room));
        let output = match reader {
            Some(reader) => cx.seal(members.peer(reader).key(), &outcome.output[..taken]).unwrap_or_default(),
            None => outcome.output[..taken].to_vec(),
        };
        let kept = output.len();
        let result = JobResult {
            job_id: id,
            round: run.claim.round,
            status: outcome.status,
            output: output[..kept.min(OUTPUT_CHUNK)].to_vec(),
            output_bytes: u32::try_from(kept).expect("bounded by max_output_bytes"),
            truncated: taken < outcome.output.len(),
            duration: outcome.duration,
        };
        if let Some(backup) = run.claim.backup.filter(|backup| *backup != run.submitter) {
            let brief = JobResult { output: Vec::new(), output_bytes: 0, ..result.clone() };
            send(cx, members, backup, &Payload::JobResult(brief));
        }
        send(cx, members, run.submitter, &Payload::JobResult(result.clone()));
        let own = (run.submitter == cx.self_id()).then(|| (result.clone(), output.clone()));
        let (again_from, again_after) = (cx.now.mono, cx.config.rebroadcast_interval);
        self.finished.insert(id, Finished { submitter: run.submitter, result, output, again_from, again_after });
        self.timers.disarm((id, Timer::Heartbeat));
        self.timers.arm((id, Timer::Discard), run.kept_until.max(cx.now.mono + cx.config.lease));
        own
    }

    /// Whether there is a result of this job.
    #[must_use]
    pub fn has_result(&self, id: JobId) -> bool {
        self.finished.contains_key(&id)
    }

    /// Somebody asks about a job that this node claimed: its submitter gets the result, where there is one.
    pub fn on_asked_again(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId, who: NodeId) {
        if let Some(finished) = self.finished.get_mut(&id).filter(|finished| finished.submitter == who)
            && cx.now.mono >= finished.again_from
        {
            finished.again_from = cx.now.mono + finished.again_after;
            finished.again_after = finished.again_after.times(2);
            send(cx, members, who, &Payload::JobResult(finished.result.clone()));
        }
    }

    /// The submitter wants more of an output (7).
    pub fn on_output_request(&self, cx: &mut Ctx<'_>, members: &Members, who: NodeId, request: &OutputRequest) {
        let id = request.job_id;
        let Some(finished) = self.finished.get(&id).filter(|finished| finished.submitter == who) else { return };
        let Some(rest) = finished.output.get(request.offset as usize..) else { return };
        let bytes = rest[..rest.len().min(OUTPUT_CHUNK)].to_vec();
        let chunk = OutputChunk { job_id: id, round: finished.result.round, offset: request.offset, bytes };
        send(cx, members, who, &Payload::OutputChunk(chunk));
    }

    /// The next thing that is due now: the job whose sign of life was sent, if that is what it was.
    /// `certificate_of` finds what proves a claim of this node.
    pub fn on_timers(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        certificate_of: &dyn Fn(JobId) -> Option<ClaimCertificate>,
    ) -> Vec<JobId> {
        let mut alive = Vec::new();
        while let Some((id, timer)) = self.timers.pop_due(cx.now.mono) {
            match timer {
                Timer::Heartbeat => {
                    if self.running[&id].waits {
                        self.ask_for_command(cx, members, id, certificate_of(id));
                    }
                    if self.running.contains_key(&id) {
                        self.send_heartbeat(cx, members, id);
                        alive.push(id);
                    }
                }
                Timer::ForgetCommand => drop(self.commands.remove(&id)),
                Timer::Discard => drop(self.finished.remove(&id)),
            }
        }
        alive
    }

    /// The command of a private job has not come: the submitter, shown the proof once more, sends it again. Where it does not until
    /// nobody needs the job any more, that is over.
    fn ask_for_command(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        id: JobId,
        certificate: Option<ClaimCertificate>,
    ) {
        let run = &self.running[&id];
        if cx.now.mono >= run.kept_until {
            self.running.remove(&id);
        } else if let Some(certificate) = certificate {
            send(cx, members, run.submitter, &Payload::ClaimCertificate(certificate));
        }
    }

    fn send_heartbeat(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId) {
        let run = &self.running[&id];
        let beat = Payload::JobHeartbeat(JobHeartbeat { job_id: id, round: run.claim.round, progress: Ppm(0) });
        send(cx, members, run.submitter, &beat);
        if let Some(backup) = run.claim.backup.filter(|backup| *backup != run.submitter) {
            send(cx, members, backup, &beat);
        }
        self.timers.arm((id, Timer::Heartbeat), cx.now.mono + cx.config.job_heartbeat_interval);
    }
}

fn execute(cx: &mut Ctx<'_>, id: JobId, round: u32, body: &JobBody, command: &str) {
    let left = body.deadline.since(cx.wall());
    let job_type = cx.out.put(body.job_type.as_bytes());
    let command = cx.out.put(command.as_bytes());
    cx.report(Event::ExecutionStarted { job: id, round });
    cx.out.actions.push(Action::Execute { job: id, job_type, command, deadline: left.max(SHORTEST_RUN) });
}

fn fence_ignored_planted(config: &Config) -> bool {
    #[cfg(feature = "plant")]
    if config.plant == crate::config::Plant::FenceIgnored {
        return true;
    }
    let _ = config;
    false
}
