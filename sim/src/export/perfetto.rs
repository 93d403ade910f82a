//! A run on a time axis that can be zoomed: the JSON that <https://ui.perfetto.dev> and `chrome://tracing` open.
//!
//! What is in it: every fault as a slice; every job as a slice with its phases below it (auction with the broadcast within it, claim, run,
//! result); for each node the executions, the times in which it was down, paused or degraded, as instants the deaths and returns that it
//! sees and the takeovers that it makes, and what it sends as a counter. Microseconds of simulated time are the format's own unit.
//!
//! The format is the [Trace Event Format](https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU): `X` is a
//! slice that is known as a whole, `b` and `e` begin and end an asynchronous one, `n` and `i` are instants, `C` is a counter, `M` names
//! things. Events need not be in order.

use std::collections::BTreeMap;
use std::io::{self, Write};

use marlos::id::JobId;
use marlos::io::PeerState;
use marlos::time::Time;
use serde::Serialize;
use serde_json::{Value, json};

use crate::fault;
use crate::observe::Observation;
use crate::report::words;
use crate::scenario::{NodeNo, Scenario};

/// Jobs that may be open at once; of further ones only the executions are shown.
const OPEN_JOBS: usize = 20_000;
/// The processes of the page, in the order in which they stand: faults, jobs, the network, and then the nodes.
const FAULTS: usize = 1;
const JOBS: usize = 2;
const NETWORK: usize = 3;
const FIRST_NODE: usize = 10;

/// A trace under way.
#[derive(Debug)]
pub struct Perfetto<W> {
    file: W,
    names: Vec<String>,
    jobs: BTreeMap<JobId, Open>,
    /// What lasts at nodes: its name by its node and id.
    lasting: BTreeMap<(NodeNo, String), &'static str>,
    /// The second that is being counted, in it what each node sends, and what was last said of it.
    second: u64,
    sent: Vec<u64>,
    said: Vec<u64>,
    lost: u64,
    failed: Option<io::Error>,
}

/// A job whose end has not come.
#[derive(Debug)]
struct Open {
    submitted: Time,
    /// When a further node last heard of it.
    seen: Time,
    phase: Option<&'static str>,
    /// Who runs it.
    runs: Option<NodeNo>,
}

/// An event as the format has it.
#[derive(Serialize)]
struct Entry<'e> {
    name: &'e str,
    cat: &'static str,
    ph: &'static str,
    ts: u64,
    pid: usize,
    tid: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'e str>,
    /// How far an instant is drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
    #[serde(skip_serializing_if = "Value::is_null")]
    args: Value,
}

impl<'e> Entry<'e> {
    fn new(ph: &'static str, ts: Time, pid: usize, cat: &'static str, name: &'e str) -> Entry<'e> {
        Entry { name, cat, ph, ts: ts.0, pid, tid: 0, dur: None, id: None, s: None, args: Value::Null }
    }
}

impl<W: Write> Perfetto<W> {
    /// Of a world before its first event.
    pub fn begin(mut file: W, scenario: &Scenario) -> Perfetto<W> {
        let n = scenario.nodes.len();
        let about = json!({ "scenario": scenario.name, "seed": scenario.seed, "version": env!("CARGO_PKG_VERSION") });
        let head = write!(file, "{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[");
        let names = scenario.nodes.iter().map(|node| node.name.clone()).collect();
        let (jobs, lasting) = (BTreeMap::new(), BTreeMap::new());
        let (sent, said) = (vec![0; n], vec![0; n]);
        let mut trace = Perfetto { file, names, jobs, lasting, second: 0, sent, said, lost: 0, failed: head.err() };
        // The first one has no comma before it.
        let first =
            json!({"name": "process_name", "ph": "M", "ts": 0, "pid": FAULTS, "tid": 0, "args": {"name": "faults"}});
        trace.failed = trace.failed.or(write!(trace.file, "\n{first}").err());
        trace.name_process(JOBS, "jobs");
        trace.name_process(NETWORK, "network");
        for node in 0..n {
            trace.name_process(FIRST_NODE + node, &trace.names[node].clone());
        }
        for (number, fault) in scenario.faults.iter().enumerate() {
            let until = fault.until.unwrap_or(scenario.duration);
            let name = fault::describe(&fault.kind);
            let slice = Entry::new("X", fault.at, FAULTS, "fault", &name);
            trace.write(&Entry { dur: Some(until.since(fault.at).0), tid: number + 1, ..slice });
        }
        trace
    }

    fn name_process(&mut self, pid: usize, name: &str) {
        let entry = Entry::new("M", Time(0), pid, "__metadata", "process_name");
        self.write(&Entry { args: json!({ "name": name }), ..entry });
        let entry = Entry::new("M", Time(0), pid, "__metadata", "process_sort_index");
        self.write(&Entry { args: json!({ "sort_index": pid }), ..entry });
    }

    /// Something happened.
    pub fn observe(&mut self, now: Time, o: &Observation<'_>) {
        self.count_until(now);
        match *o {
            Observation::Sent { node, bytes, copies, .. } => self.sent[node] += bytes * copies,
            Observation::FramesCut { count } => self.lost += count,
            Observation::SegmentLost { .. } => self.lost += 1,
            Observation::NodeStarted { node, .. } => self.last_no_more(now, node, "down"),
            Observation::NodeStopped { node, .. } => {
                self.last_no_more(now, node, "paused");
                self.last_no_more(now, node, "degraded");
                self.lasts(now, node, "down".to_owned(), "down");
            }
            Observation::NodePaused { node, paused: true } => self.lasts(now, node, "paused".to_owned(), "paused"),
            Observation::NodePaused { node, paused: false } => self.last_no_more(now, node, "paused"),
            Observation::Degraded { node, degraded: true } => {
                self.lasts(now, node, "degraded".to_owned(), "without quorum");
            }
            Observation::Degraded { node, degraded: false } => self.last_no_more(now, node, "degraded"),
            Observation::PeerState { node, peer, state } => {
                let state = match state {
                    PeerState::Dead => "is dead",
                    PeerState::Suspect => "is suspected",
                    PeerState::Known => "is known",
                    PeerState::Alive => "is alive",
                    PeerState::Left => "has left",
                };
                self.instant(now, node, &format!("{} {state}", self.names[peer]));
            }
            Observation::Blacklisted { node, peer } => self.about_peer(now, node, "blacklists", peer),
            Observation::Quarantined { node, peer } => self.about_peer(now, node, "quarantines", peer),
            Observation::Proven { node, peer } => self.about_peer(now, node, "has proof against", peer),
            Observation::KeyRotated { node } => self.instant(now, node, "has another key"),
            Observation::NodeLeaving { node } => self.instant(now, node, "says goodbye"),
            Observation::NodeTurned { node } => self.instant(now, node, "misbehaves from here on"),
            Observation::StoreCut { node, records, .. } => {
                self.instant(now, node, &format!("loses {records} records"));
            }
            Observation::JobSubmitted { node, job } => self.submitted(now, node, job),
            Observation::JobSeen { job, .. } => {
                if let Some(open) = self.jobs.get_mut(&job) {
                    open.seen = now;
                }
            }
            Observation::AuctionClosed { job, winner, .. } => self.auction_closed(now, job, winner),
            Observation::ExecutionStarted { node, job, round } => self.runs(now, node, job, round),
            Observation::ExecutionEnded { node, job, by_itself } => self.runs_no_more(now, node, job, by_itself),
            Observation::JobCompleted { node, job, executor, status } => {
                let status = format!("{status:?}").to_lowercase();
                let args = json!({ "submitter": self.names[node], "executor": self.names[executor], "status": status });
                self.close(now, job, args);
            }
            Observation::JobFailed { job, reason, .. } => {
                self.close(now, job, json!({ "failed": words::fail_reason(reason) }));
            }
            Observation::ReachChanged
            | Observation::DatagramMishap { .. }
            | Observation::Accepted { .. }
            | Observation::Refused { .. }
            | Observation::Pinged { .. }
            | Observation::Discovered { .. }
            | Observation::Recalled { .. }
            | Observation::Digest { .. }
            | Observation::SubmitRefused { .. }
            | Observation::Voted { .. }
            | Observation::Certified { .. }
            | Observation::ClaimLearned { .. }
            | Observation::Fenced { .. }
            | Observation::Misdeeds { .. }
            | Observation::TransactionVoted { .. }
            | Observation::TransactionCertified { .. }
            | Observation::TransactionApplied { .. }
            | Observation::PenaltyCertified { .. }
            | Observation::PenaltyApplied { .. } => {}
        }
    }

    /// The run is over at `reached`.
    ///
    /// # Errors
    /// The first thing that could not be written.
    pub fn end(mut self, reached: Time) -> io::Result<()> {
        self.count_until(Time((self.second + 1) * 1_000_000));
        let open: Vec<JobId> = self.jobs.keys().copied().collect();
        open.into_iter().for_each(|job| self.close(reached, job, json!({ "unfinished": true })));
        let lasting: Vec<(NodeNo, String)> = self.lasting.keys().cloned().collect();
        lasting.into_iter().for_each(|(node, id)| self.last_no_more(reached, node, &id));
        match self.failed.take() {
            Some(error) => Err(error),
            None => writeln!(self.file, "\n]}}").and_then(|()| self.file.flush()),
        }
    }

    fn submitted(&mut self, now: Time, node: NodeNo, job: JobId) {
        if self.jobs.len() < OPEN_JOBS {
            let id = job.to_string();
            self.jobs.insert(job, Open { submitted: now, seen: now, phase: None, runs: None });
            let entry = Entry::new("b", now, JOBS, "job", &id);
            self.write(&Entry { id: Some(&id), args: json!({ "submitter": self.names[node] }), ..entry });
            self.phase(now, job, Some("auction"));
        }
    }

    fn auction_closed(&mut self, now: Time, job: JobId, winner: NodeNo) {
        let Some(open) = self.jobs.get(&job) else { return };
        let (id, submitted, seen) = (job.to_string(), open.submitted, open.seen);
        let winner = json!({ "winner": self.names[winner] });
        if open.phase == Some("auction") {
            self.write(&Entry { id: Some(&id), ..Entry::new("b", submitted, JOBS, "job", "broadcast") });
            self.write(&Entry { id: Some(&id), ..Entry::new("e", seen, JOBS, "job", "broadcast") });
            self.phase(now, job, Some("claim"));
        }
        self.write(&Entry { id: Some(&id), args: winner, ..Entry::new("n", now, JOBS, "job", "auction closed") });
    }

    fn runs(&mut self, now: Time, node: NodeNo, job: JobId, round: u32) {
        let id = job.to_string();
        if let Some(open) = self.jobs.get_mut(&job) {
            let before = open.runs.replace(node);
            if round > 0 && before.is_some_and(|before| before != node) {
                self.instant(now, node, &format!("takes over {id}, round {round}"));
            }
            self.phase(now, job, Some("run"));
        }
        self.lasts(now, node, id, "runs a job");
    }

    fn runs_no_more(&mut self, now: Time, node: NodeNo, job: JobId, by_itself: bool) {
        self.last_no_more(now, node, &job.to_string());
        // An earlier executor that stops later ends nothing.
        if self.jobs.get(&job).is_some_and(|open| open.runs == Some(node)) {
            self.phase(now, job, Some(if by_itself { "result" } else { "lost" }));
        }
    }

    /// The phase of a job that was on ends, and perhaps another begins.
    fn phase(&mut self, now: Time, job: JobId, next: Option<&'static str>) {
        let Some(open) = self.jobs.get_mut(&job) else { return };
        let before = std::mem::replace(&mut open.phase, next);
        let id = job.to_string();
        for (ph, name) in [("e", before), ("b", next)] {
            if let Some(name) = name {
                self.write(&Entry { id: Some(&id), ..Entry::new(ph, now, JOBS, "job", name) });
            }
        }
    }

    fn close(&mut self, now: Time, job: JobId, args: Value) {
        self.phase(now, job, None);
        if self.jobs.remove(&job).is_some() {
            let id = job.to_string();
            self.write(&Entry { id: Some(&id), args, ..Entry::new("e", now, JOBS, "job", &id) });
        }
    }

    /// Something at a node begins that will end.
    fn lasts(&mut self, now: Time, node: NodeNo, id: String, name: &'static str) {
        let pid = FIRST_NODE + node;
        let unique = format!("{}/{id}", self.names[node]);
        if self.lasting.insert((node, id), name).is_none() {
            self.write(&Entry { id: Some(&unique), ..Entry::new("b", now, pid, "node", name) });
        }
    }

    fn last_no_more(&mut self, now: Time, node: NodeNo, id: &str) {
        if let Some(name) = self.lasting.remove(&(node, id.to_owned())) {
            let unique = format!("{}/{id}", self.names[node]);
            self.write(&Entry { id: Some(&unique), ..Entry::new("e", now, FIRST_NODE + node, "node", name) });
        }
    }

    fn about_peer(&mut self, now: Time, node: NodeNo, does: &str, peer: NodeNo) {
        self.instant(now, node, &format!("{does} {}", self.names[peer]));
    }

    fn instant(&mut self, now: Time, node: NodeNo, name: &str) {
        self.write(&Entry { s: Some("p"), ..Entry::new("i", now, FIRST_NODE + node, "seen", name) });
    }

    /// The seconds before `now` are over: what was sent in them is said, where it is not what was said before.
    fn count_until(&mut self, now: Time) {
        while self.second < now.0 / 1_000_000 {
            let at = Time(self.second * 1_000_000);
            for node in 0..self.sent.len() {
                let sent = std::mem::take(&mut self.sent[node]);
                if std::mem::replace(&mut self.said[node], sent) != sent {
                    let entry = Entry::new("C", at, FIRST_NODE + node, "traffic", "bytes sent per second");
                    self.write(&Entry { args: json!({ "bytes": sent }), ..entry });
                }
            }
            let lost = std::mem::take(&mut self.lost);
            let entry = Entry::new("C", at, NETWORK, "traffic", "frames and segments lost per second");
            self.write(&Entry { args: json!({ "lost": lost }), ..entry });
            self.second += 1;
        }
    }

    fn write(&mut self, entry: &Entry<'_>) {
        if self.failed.is_some() {
            return;
        }
        let line = serde_json::to_string(entry).expect("an entry is plain data");
        self.failed = write!(self.file, ",\n{line}").err();
    }
}
