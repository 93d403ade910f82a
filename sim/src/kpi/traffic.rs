//! What is sent and what is completed per second: `overhead_per_job`, `background_bytes_per_node_s`, `throughput`.

use marlos::time::{Span, Time};
use marlos::wire::MsgType;

use super::samples::Samples;
use crate::observe::Observation;
use crate::scenario::Scenario;

const SECOND: u64 = 1_000_000;

/// Jobs per 1,000 seconds from which on throughput is judged (contract.md).
const JUDGED_FROM: u64 = 100_000;

/// Bytes and completed jobs over time.
#[derive(Clone, Debug)]
pub(super) struct Traffic {
    warmup: Time,
    /// While load is offered, after the warm-up.
    load: Option<(Time, Time)>,
    enough_offered: bool,
    job_bytes: u64,
    background_bytes: u64,
    /// Microseconds of all nodes together that they were up after the warm-up.
    up_us: u128,
    nodes_up: u64,
    counted_until: Time,
    second: Second,
    completed_under_load: u64,
    pub background: Samples,
    pub throughput: Samples,
}

/// The second that runs, after the warm-up.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    end: Time,
    background_bytes: u64,
    completed: u64,
}

impl Traffic {
    pub fn new(scenario: &Scenario) -> Traffic {
        let load =
            scenario.workload.as_ref().map(|load| (load.start.max(scenario.warmup), load.end.min(scenario.duration)));
        Traffic {
            warmup: scenario.warmup,
            load: load.filter(|(start, end)| start < end),
            enough_offered: scenario.workload.as_ref().is_some_and(|load| load.jobs_per_1000_s >= JUDGED_FROM),
            job_bytes: 0,
            background_bytes: 0,
            up_us: 0,
            nodes_up: 0,
            counted_until: scenario.warmup,
            second: Second { end: scenario.warmup + Span(SECOND), ..Second::default() },
            completed_under_load: 0,
            background: Samples::new(),
            throughput: Samples::new(),
        }
    }

    pub fn observe(&mut self, now: Time, o: &Observation<'_>) {
        match *o {
            Observation::NodeStarted { .. } | Observation::NodeStopped { .. } => {
                self.pass(now);
                let started = matches!(o, Observation::NodeStarted { .. });
                self.nodes_up = if started { self.nodes_up + 1 } else { self.nodes_up.saturating_sub(1) };
            }
            Observation::Sent { kind, bytes, copies, .. } if now >= self.warmup => {
                self.pass(now);
                self.on_sent(kind, bytes.saturating_mul(copies));
            }
            _ => {}
        }
    }

    fn on_sent(&mut self, kind: MsgType, bytes: u64) {
        if kind.is_job_traffic() {
            self.job_bytes += bytes;
        } else {
            self.background_bytes += bytes;
            self.second.background_bytes += bytes;
        }
    }

    pub fn on_completed(&mut self, now: Time) {
        self.pass(now);
        if self.load.is_some_and(|(start, end)| (start..end).contains(&now)) {
            self.completed_under_load += 1;
            self.second.completed += 1;
        }
    }

    /// Closes the seconds that are over.
    fn pass(&mut self, now: Time) {
        while now >= self.second.end {
            if let Some(per_node) = self.second.background_bytes.checked_div(self.nodes_up) {
                self.background.record(per_node);
            }
            let start = self.second.end - Span(SECOND);
            if self.enough_offered && self.load.is_some_and(|(from, to)| from <= start && self.second.end <= to) {
                self.throughput.record(self.second.completed);
            }
            self.second = Second { end: self.second.end + Span(SECOND), ..Second::default() };
        }
        self.count_up(now);
    }

    fn count_up(&mut self, until: Time) {
        self.up_us += u128::from(until.since(self.counted_until).as_micros()) * u128::from(self.nodes_up);
        self.counted_until = self.counted_until.max(until);
    }

    pub fn finish(&mut self, now: Time) {
        self.pass(now);
    }

    /// Bytes per job, of all the job traffic and all the jobs after the warm-up.
    pub fn overhead_per_job(&self, jobs: u64) -> Option<f64> {
        (jobs > 0).then(|| self.job_bytes as f64 / jobs as f64)
    }

    /// Mean over all nodes and the whole time.
    pub fn background_per_node_s(&self) -> Option<f64> {
        (self.up_us > 0).then(|| self.background_bytes as f64 / (self.up_us as f64 / 1e6))
    }

    /// Jobs completed per second of load offered so far.
    pub fn throughput(&self, now: Time) -> Option<f64> {
        let (start, end) = self.load?;
        let offered = end.min(now).since(start).as_micros();
        (self.enough_offered && offered > 0).then(|| self.completed_under_load as f64 / (offered as f64 / 1e6))
    }

    /// Whether the scenario gives occasion to judge the throughput.
    pub fn throughput_occasion(&self) -> Result<(), &'static str> {
        match (self.enough_offered, self.load) {
            (true, Some(_)) => Ok(()),
            (true, None) => Err("no load is offered after the warm-up"),
            (false, _) => Err("fewer than 100 jobs per second are offered"),
        }
    }
}
