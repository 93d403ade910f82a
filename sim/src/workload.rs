//! The jobs that arrive, one by one.
//!
//! Job `n` depends on (seed, `"workload"`, n) alone, not on what the network or the nodes do: two versions of the protocol
//! are offered the same jobs at the same times.

use marlos::id::JobId;
use marlos::time::{Span, Time};
use marlos::units::Ppm;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use crate::draw::exponential;
use crate::network::latency::LatencyTable;
use crate::scenario::{Arrival, JobTemplate, LatencyLaw, MixedJob, NodeNo, Scenario, WorkloadSpec};

pub mod ramp;

/// A client hands a job to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Counts the jobs of the run, from 0.
    pub n: u64,
    /// When.
    pub at: Time,
    /// To which node.
    pub node: NodeNo,
    /// Of which kind, as [`Workload::kinds`] numbers them.
    pub kind: usize,
    /// What it does when it runs.
    pub job: SimulatedJob,
}

/// The jobs of a scenario in the order of their submission.
#[derive(Clone, Debug)]
pub struct Workload {
    seed: u64,
    spec: Option<WorkloadSpec>,
    /// Every kind of job: of a mix, of a trace one by one, or the only one.
    kinds: Vec<JobTemplate>,
    n: u64,
    /// When job `n` arrives: in 2^-32 microseconds since `start`, so that gaps are not rounded one by one. Where the rate changes
    /// it is how many jobs are due before it, in 2^-32. Of a trace it says nothing.
    next: u128,
}

/// What a draw is for. Each has a stream of its own, so that one more kind of draw moves no other.
#[derive(Clone, Copy)]
enum Purpose {
    Arrival = 0,
    Submitter = 1,
    JobDuration = 2,
    JobFailure = 3,
    Kind = 4,
}

impl Workload {
    /// The workload of a scenario; without one, no job ever comes.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Workload {
        let spec = scenario.workload.clone();
        let kinds = spec.iter().flat_map(WorkloadSpec::kinds).cloned().collect();
        let mut workload = Workload { seed: scenario.seed, spec, kinds, n: 0, next: 0 };
        workload.next = workload.gap_before(0);
        workload
    }

    /// What jobs of each kind are like, for [`marlos::io::JobSpec`].
    #[must_use]
    pub fn kinds(&self) -> &[JobTemplate] {
        &self.kinds
    }

    /// When the next job comes, if one does.
    #[must_use]
    pub fn next_at(&self) -> Option<Time> {
        let spec = self.spec.as_ref()?;
        let at = if let Some(trace) = &spec.trace {
            spec.start + trace.jobs.get(usize::try_from(self.n).ok()?)?.at
        } else if spec.rates.is_empty() {
            let at = u128::from(spec.start.0) + (self.next >> 32);
            (at < u128::from(spec.end.0)).then_some(Time(at as u64))?
        } else {
            ramp::when(&spec.rates, spec.start, spec.end, self.next)?
        };
        (at < spec.end).then_some(at)
    }

    /// The next job. `sample` draws a duration of a kind of job from a uniform number.
    pub fn next_job(&mut self, sample: impl Fn(usize, u64) -> Span) -> Option<Submission> {
        let at = self.next_at()?;
        let spec = self.spec.as_ref()?;
        let draw = |purpose| draw(self.seed, purpose, self.n);
        let traced = spec.trace.as_ref().map(|trace| &trace.jobs[self.n as usize]);
        let kind = if traced.is_some() { self.n as usize } else { mixed(&spec.mix, draw(Purpose::Kind)) };
        let job = &self.kinds[kind];
        let submitter = below(draw(Purpose::Submitter), spec.from.len() as u64) as usize;
        let submission = Submission {
            n: self.n,
            at,
            node: traced.and_then(|job| job.from).unwrap_or(spec.from[submitter]),
            kind,
            job: SimulatedJob {
                duration: sample(kind, draw(Purpose::JobDuration)),
                fails: below(draw(Purpose::JobFailure), u64::from(Ppm::ONE.0)) < u64::from(job.failing.0),
                output_bytes: job.output_bytes,
                noise: !job.compressible,
            },
        };
        self.n += 1;
        self.next += self.gap_before(self.n);
        Some(submission)
    }

    /// What lies between jobs `n - 1` and `n`, or between the start and job 0: time, or where the rate changes what is due, in 2^-32.
    fn gap_before(&self, n: u64) -> u128 {
        let Some(spec) = &self.spec else {
            return 0;
        };
        let mean = if spec.rates.is_empty() { mean_gap(spec) } else { 1 << 32 };
        match spec.arrival {
            // Below 2^62 times below 2^38: it fits.
            Arrival::Poisson => (mean * u128::from(exponential(draw(self.seed, Purpose::Arrival, n)))) >> 32,
            Arrival::Uniform if n == 0 => 0,
            Arrival::Uniform => mean,
            Arrival::Burst { size } if n == 0 || !n.is_multiple_of(u64::from(size)) => 0,
            Arrival::Burst { size } => mean * u128::from(size),
        }
    }
}

/// How long jobs of a kind take.
#[derive(Clone, Debug)]
pub enum Durations {
    /// Always as long.
    Always(Span),
    /// As drawn. A trace has thousands of kinds and no tables.
    Drawn(LatencyTable),
}

impl Durations {
    /// Of a law.
    #[must_use]
    pub fn new(law: &LatencyLaw) -> Durations {
        match law {
            LatencyLaw::Constant(span) => Durations::Always(*span),
            LatencyLaw::Uniform { .. }
            | LatencyLaw::Normal { .. }
            | LatencyLaw::Lognormal { .. }
            | LatencyLaw::Pareto { .. }
            | LatencyLaw::Empirical { .. } => Durations::Drawn(LatencyTable::new(law)),
        }
    }

    /// The duration that a uniform number stands for.
    #[must_use]
    pub fn sample(&self, uniform: u64) -> Span {
        match self {
            Durations::Always(span) => *span,
            Durations::Drawn(table) => table.sample(uniform),
        }
    }
}

/// Which kind of a mix a uniform number stands for; the first where there is no mix.
fn mixed(mix: &[MixedJob], uniform: u64) -> usize {
    let all: u64 = mix.iter().map(|mixed| u64::from(mixed.share)).sum();
    if all == 0 {
        return 0;
    }
    let mut left = below(uniform, all);
    let hit = mix.iter().position(|mixed| {
        let is = left < u64::from(mixed.share);
        left = left.saturating_sub(u64::from(mixed.share));
        is
    });
    hit.expect("a number below the sum of all shares")
}

/// In 2^-32 microseconds, rounded up, so that the last of many gaps does not slip in before `end`. The rate counts jobs
/// in 1,000 seconds.
fn mean_gap(spec: &WorkloadSpec) -> u128 {
    assert!(spec.jobs_per_1000_s > 0, "a workload without jobs");
    (1_000_000_000u128 << 32).div_ceil(u128::from(spec.jobs_per_1000_s))
}

/// 64 random bits that depend on nothing but the arguments.
fn draw(seed: u64, purpose: Purpose, n: u64) -> u64 {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(b"workload");
    let mut rng = ChaCha8Rng::from_seed(key);
    rng.set_stream(purpose as u64);
    rng.set_word_pos(u128::from(n) * 2);
    rng.next_u64()
}

/// A uniform number below `n`, from 64 uniform bits. (The bias is n / 2^64.)
fn below(uniform: u64, n: u64) -> u64 {
    ((u128::from(uniform) * u128::from(n)) >> 64) as u64
}

/// What a job of type `simulated` does: its command is the text of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimulatedJob {
    /// How long it runs.
    pub duration: Span,
    /// Whether it fails at its end.
    pub fails: bool,
    /// Bytes of output.
    pub output_bytes: u32,
    /// Whether the output is noise, which cannot be compressed.
    pub noise: bool,
}

impl SimulatedJob {
    /// What comes of a command that is no such text.
    pub const UNREADABLE: SimulatedJob =
        SimulatedJob { duration: Span::ZERO, fails: true, output_bytes: 0, noise: false };

    /// `duration_us=523000 fail=0 output=64`, and `noise=1` where it is.
    #[must_use]
    pub fn to_command(&self) -> String {
        let SimulatedJob { duration, fails, output_bytes, noise } = self;
        let noise = if *noise { " noise=1" } else { "" };
        format!("duration_us={} fail={} output={output_bytes}{noise}", duration.0, u8::from(*fails))
    }

    /// Reads what [`SimulatedJob::to_command`] writes, and nothing else.
    #[must_use]
    pub fn parse(command: &str) -> Option<SimulatedJob> {
        let mut parts = command.split(' ');
        let mut value = |key: &str| parts.next()?.strip_prefix(key)?.strip_prefix('=');
        let duration = Span(value("duration_us")?.parse().ok()?);
        let fails = match value("fail")? {
            "0" => false,
            "1" => true,
            _ => return None,
        };
        let output_bytes = value("output")?.parse().ok()?;
        let job = SimulatedJob { duration, fails, output_bytes, noise: parts.next().is_some() };
        (job.to_command() == command).then_some(job)
    }

    /// What it writes as this job: the same wherever it runs.
    #[must_use]
    pub fn output(&self, job: JobId) -> Vec<u8> {
        let mut output = vec![b'.'; self.output_bytes as usize];
        if self.noise {
            let mut key = [0; 32];
            key[..16].copy_from_slice(&job.0);
            ChaCha8Rng::from_seed(key).fill_bytes(&mut output);
        }
        output
    }
}

#[cfg(test)]
mod tests;
