//! The KPIs of a run (contract.md, "The KPI table"), computed from what the world observes.
//!
//! Judged on honest, live nodes after the warm-up; discovery in it too. What should have happened and had not when the run ended
//! (a *miss*) is a sample without bound: it is recorded with the time waited so far, and a maximum, a mean, or a percentile whose
//! rank falls among the misses is then above every target.

pub(crate) mod counters;
mod detection;
mod discovery;
mod heal;
mod heartbeat;
mod jobs;
mod samples;
mod takeover;
#[cfg(test)]
mod tests;
mod traffic;

use std::collections::BTreeMap;

use marlos::io::PeerState;
use marlos::time::Time;

use crate::check::contact::Contact;
use crate::check::views::Views;
use crate::observe::{Mishap, Observation, Truth};
use crate::outcome::{JobCounts, KpiResult, Verdict};
use crate::scenario::{Comparison, Fault, FaultKind, KpiTarget, Scenario, Statistic};
use samples::{Judgement, Samples};

/// What a KPI is, whatever the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KpiSpec {
    /// As in the contract's table.
    pub name: &'static str,
    /// Of targets and measured values: `ms`, `s`, `B`, `B/s`, `1/s` or `1`.
    pub unit: &'static str,
    /// What the samples are, for people.
    pub one_sample_per: &'static str,
    /// What is judged unless the scenario says otherwise.
    pub target: Option<KpiTarget>,
    /// Histogram units per unit: 1000 where the histogram holds microseconds and the unit is ms.
    pub raw_per_unit: f64,
}

const fn spec(name: &'static str, unit: &'static str, raw_per_unit: f64, one_sample_per: &'static str) -> KpiSpec {
    KpiSpec { name, unit, one_sample_per, target: None, raw_per_unit }
}

impl KpiSpec {
    /// The KPI of this name, if it is measured.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static KpiSpec> {
        KPIS.iter().find(|spec| spec.name == name)
    }

    const fn with(self, statistic: Statistic, comparison: Comparison, target: f64) -> KpiSpec {
        KpiSpec { target: Some(KpiTarget { statistic, comparison, target }), ..self }
    }
}

/// Every KPI that is measured, in the order of the contract's table.
pub static KPIS: [KpiSpec; 16] = [
    spec("message_latency", "ms", 1e3, "message and receiver").with(Statistic::P99, Comparison::Less, 50.0),
    spec("peer_discovery", "s", 1e6, "start").with(Statistic::Max, Comparison::Less, 5.0),
    spec("heartbeat_interval", "s", 1e6, "PING").with(Statistic::Mean, Comparison::Within(5), 3.0),
    spec("failure_detection", "s", 1e6, "observer and victim").with(Statistic::Max, Comparison::Less, 15.0),
    spec("job_broadcast", "ms", 1e3, "job").with(Statistic::P99, Comparison::Less, 100.0),
    spec("consensus", "s", 1e6, "job").with(Statistic::P99, Comparison::Less, 2.0),
    spec("overhead_per_job", "B", 1.0, "job").with(Statistic::Mean, Comparison::Less, 10_000.0),
    spec("throughput", "1/s", 1.0, "second of load").with(Statistic::Mean, Comparison::AtLeast, 100.0),
    spec("consensus_learned", "s", 1e6, "job"),
    spec("takeover", "s", 1e6, "job taken over"),
    spec("heal", "s", 1e6, "end of a cut"),
    spec("false_deaths", "1", 1.0, "live and connected peer marked dead").with(
        Statistic::Count,
        Comparison::Equal,
        0.0,
    ),
    spec("background_bytes_per_node_s", "B/s", 1.0, "second"),
    spec("jobs_lost", "1", 1.0, "lost job").with(Statistic::Count, Comparison::Equal, 0.0),
    spec("duplicate_executions", "1", 1.0, "execution beyond a job's first"),
    spec("election_disagreement", "1", 1.0, "round that two coordinators closed"),
];

/// Follows a run.
#[derive(Clone, Debug)]
pub struct Kpis {
    warmup: Time,
    latency: Samples,
    contact: Contact,
    views: Views,
    discovery: discovery::Discovery,
    detection: detection::Detection,
    heartbeats: heartbeat::Heartbeats,
    jobs: jobs::Jobs,
    takeovers: takeover::Takeovers,
    heals: heal::Heals,
    traffic: traffic::Traffic,
    counters: counters::Counters,
    /// Submitted after the warm-up by nodes that are not judged.
    dishonest_jobs: u64,
}

/// What the KPIs found: those parts of an [`crate::outcome::Outcome`].
#[derive(Clone, Debug)]
pub struct Findings {
    /// In the order of [`KPIS`].
    pub kpis: Vec<KpiResult>,
    /// What became of the jobs, over the whole run.
    pub jobs: JobCounts,
    /// All bytes sent after the warm-up, by message type's name, every receiver counted; only types that were sent.
    pub bytes_per_message_type: BTreeMap<&'static str, u64>,
    /// Refusals by reason's name over the whole run, where there were any.
    pub refusals: BTreeMap<String, u64>,
    /// What `[expect]` can name, over the whole run.
    pub counters: BTreeMap<&'static str, u64>,
    /// What misbehaving nodes did over the whole run, by the behaviour's name, where they did anything.
    pub misdeeds: BTreeMap<&'static str, u64>,
}

impl Findings {
    /// What `[expect]` names: a counter, or a part of one, such as `refused.bad_signature`. A part that never happened is zero.
    #[must_use]
    pub fn counted(&self, name: &str) -> Option<u64> {
        match name.split_once('.') {
            Some(("refused", reason)) => Some(self.refusals.get(reason).copied().unwrap_or(0)),
            Some(("misdeeds", behaviour)) => Some(self.misdeeds.get(behaviour).copied().unwrap_or(0)),
            Some(_) => None,
            None if Mishap::ALL.iter().any(|mishap| mishap.counter() == name) => {
                Some(self.counters.get(name).copied().unwrap_or(0))
            }
            None => self.counters.get(name).copied(),
        }
    }
}

impl Kpis {
    /// Before the first event.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Kpis {
        let nodes = scenario.nodes.len();
        Kpis {
            warmup: scenario.warmup,
            latency: Samples::new(),
            contact: Contact::new(nodes),
            views: Views::new(nodes),
            discovery: discovery::Discovery::new(scenario),
            detection: detection::Detection::new(scenario),
            heartbeats: heartbeat::Heartbeats::new(scenario),
            jobs: jobs::Jobs::new(scenario),
            takeovers: takeover::Takeovers::new(scenario),
            heals: heal::Heals::new(scenario),
            traffic: traffic::Traffic::new(scenario),
            counters: counters::Counters::default(),
            dishonest_jobs: 0,
        }
    }

    /// Takes one observation, in the order in which they happened.
    #[inline]
    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>) {
        // Nearly every observation of a run is this one.
        if let Observation::Accepted { latency, claimed, .. } = o {
            if truth.now >= self.warmup && truth.honest(*claimed) {
                self.latency.record(latency.as_micros());
            }
        } else {
            self.observe_others(truth, o);
        }
    }

    /// Takes what a node says that has misbehaved: its jobs cost the honest nodes as much as any, and nothing else counts.
    pub fn observe_dishonest(&mut self, truth: &Truth, o: &Observation<'_>) {
        if let Observation::JobSubmitted { .. } = o {
            self.dishonest_jobs += u64::from(truth.now >= self.warmup);
        }
    }

    fn observe_others(&mut self, truth: &Truth, o: &Observation<'_>) {
        let now = truth.now;
        self.counters.observe(truth, o);
        self.traffic.observe(now, o);
        match *o {
            Observation::Sent { kind, bytes, copies, .. } => {
                if now >= self.warmup {
                    self.counters.bytes.0[kind as usize] += bytes.saturating_mul(copies);
                }
                return;
            }
            Observation::Pinged { node } => return self.heartbeats.on_pinged(now, node),
            Observation::NodeStarted { node, .. } => {
                self.heartbeats.on_break(now, node, truth.honest(node));
                self.discovery.on_started(node);
            }
            Observation::NodeStopped { node, .. } => self.heartbeats.on_break(now, node, false),
            Observation::NodeTurned { node } => self.heartbeats.on_break(now, node, false),
            Observation::NodePaused { node, paused } => {
                self.heartbeats.on_break(now, node, !paused && truth.honest(node))
            }
            Observation::Discovered { node, peer } => self.discovery.on_discovered(now, node, peer, &self.contact),
            Observation::PeerState { .. } => self.on_peer_state(truth, o),
            _ => {}
        }
        // Before the views forget what the stopped node saw.
        self.detection.observe(truth, o, &self.views);
        self.views.observe(now, o);
        self.follow_contacts(truth, o);
        self.takeovers.observe(truth, o, &self.contact);
        self.heals.observe(truth, o, &self.contact, &self.views);
        if self.jobs.observe(truth, o, &self.contact) {
            self.traffic.on_completed(now);
        }
    }

    fn on_peer_state(&mut self, truth: &Truth, o: &Observation<'_>) {
        let Observation::PeerState { node, peer, state } = *o else { return };
        let before = self.views.of(node, peer).map(|view| view.state);
        if before == Some(state) {
            return;
        }
        if state == PeerState::Dead {
            if self.detection.is_false_death(truth, node, peer, &self.contact) {
                self.counters.false_deaths += 1;
            } else if truth.honest(peer) {
                self.counters.deaths_detected += 1;
            }
        }
        let was_gone = matches!(before, Some(PeerState::Dead | PeerState::Left));
        self.counters.rejoins += u64::from(was_gone && state == PeerState::Alive);
    }

    fn follow_contacts(&mut self, truth: &Truth, o: &Observation<'_>) {
        let (mut any, discovery) = (false, &mut self.discovery);
        self.contact.observe(truth, o, |a, b, gained| {
            any = true;
            discovery.on_contact(truth.now, a, b, gained);
        });
        // A pause or crash of a node that has no contacts still matters to its own jobs, a start to everyone's quorum.
        let matters = any
            || matches!(
                o,
                Observation::NodeStarted { .. } | Observation::NodeStopped { .. } | Observation::NodePaused { .. }
            );
        if matters {
            self.discovery.settle_all(truth.now);
            self.jobs.on_contact_changed(truth, &self.contact);
        }
    }

    /// Judges, at the end of the run.
    #[must_use]
    pub fn finish(mut self, truth: &Truth, scenario: &Scenario) -> Findings {
        self.discovery.finish(truth.now);
        self.detection.finish(truth.now);
        self.heartbeats.finish(truth.now);
        self.traffic.finish(truth.now);
        self.jobs.finish(truth, scenario);
        self.takeovers.finish(truth.now);
        self.heals.finish(truth.now);
        let mut counters = self.counters.named();
        let jobs = self.jobs.counts;
        counters.extend([
            ("jobs_submitted", jobs.submitted),
            ("jobs_completed", jobs.completed),
            ("jobs_failed", jobs.failed),
            ("duplicate_executions", jobs.duplicate_executions),
            ("takeovers", self.takeovers.takeovers),
        ]);
        counters.extend(self.counters.mishaps());
        Findings {
            kpis: KPIS.iter().map(|spec| self.result(spec, truth, scenario)).collect(),
            jobs,
            bytes_per_message_type: self.counters.bytes(),
            refusals: self.counters.refusals(),
            misdeeds: self.counters.misdeeds.clone(),
            counters,
        }
    }

    fn result(&self, spec: &KpiSpec, truth: &Truth, scenario: &Scenario) -> KpiResult {
        let overhead = self.overhead();
        let (samples, exact) = match spec.name {
            "message_latency" => (&self.latency, None),
            "peer_discovery" => (&self.discovery.samples, None),
            "heartbeat_interval" => (&self.heartbeats.samples, None),
            "failure_detection" => (&self.detection.samples, None),
            "job_broadcast" => (&self.jobs.broadcast, None),
            "consensus" => (&self.jobs.consensus, None),
            "overhead_per_job" => (&overhead, self.traffic.overhead_per_job(self.jobs.judged + self.dishonest_jobs)),
            "throughput" => (&self.traffic.throughput, self.traffic.throughput(truth.now)),
            "consensus_learned" => (&self.jobs.learned, None),
            "takeover" => (&self.takeovers.samples, None),
            "heal" => (&self.heals.samples, None),
            "false_deaths" => (&self.detection.false_deaths, None),
            "background_bytes_per_node_s" => (&self.traffic.background, self.traffic.background_per_node_s()),
            "jobs_lost" => (&self.jobs.lost, None),
            "duplicate_executions" => (&self.jobs.duplicates, None),
            "election_disagreement" => (&self.jobs.disagreements, None),
            other => unreachable!("{other} is in the table and not measured"),
        };
        let (target, judgement) = self.judge(spec, samples, exact, scenario);
        KpiResult {
            name: spec.name,
            unit: spec.unit,
            one_sample_per: spec.one_sample_per,
            target,
            measured: judgement.measured,
            verdict: judgement.verdict,
            note: judgement.note,
            histogram: samples.histogram.clone(),
            raw_per_unit: spec.raw_per_unit,
        }
    }

    /// The mean, once for each job: what one job cost cannot be told from what another did.
    fn overhead(&self) -> Samples {
        let mut samples = Samples::new();
        if let Some(mean) = self.traffic.overhead_per_job(self.jobs.judged + self.dishonest_jobs) {
            (0..self.jobs.judged).for_each(|_| samples.record(mean.round() as u64));
        }
        samples
    }

    /// What is judged in this scenario, and the judgement.
    fn judge(
        &self,
        spec: &KpiSpec,
        samples: &Samples,
        exact: Option<f64>,
        scenario: &Scenario,
    ) -> (Option<KpiTarget>, Judgement) {
        let own = scenario.kpi.get(spec.name);
        let target = match own {
            Some(target) => *target,
            None if spec.name == "heartbeat_interval" => {
                spec.target.map(|target| KpiTarget { target: self.heartbeats.reference_s(), ..target })
            }
            None => spec.target,
        };
        let statistic = target.or(spec.target).map_or(Statistic::Mean, |target| target.statistic);
        let statistic = if target.is_none() && spec.unit == "1" { Statistic::Count } else { statistic };
        let mean = statistic == Statistic::Mean;
        let measured = samples.value(statistic, spec.raw_per_unit);
        let measured = if mean { exact.or(measured) } else { measured };
        let not_applicable =
            |note: &str| Judgement { measured, verdict: Verdict::NotApplicable, note: note.to_string() };
        let judgement = match (target, self.occasion(spec, samples, scenario)) {
            (None, _) if own.is_some() => not_applicable("not judged here"),
            (None, _) => not_applicable("reported, without a target"),
            (Some(_), Err(why)) => not_applicable(why),
            (Some(_), Ok(())) if spec.name == "jobs_lost" && self.jobs.none_came_to_its_end() => {
                Judgement { measured, verdict: Verdict::Unknown, note: "no job came to its end or its time".into() }
            }
            (Some(target), Ok(())) => samples.judge(&target, spec.raw_per_unit, exact.filter(|_| mean)),
        };
        let scaled = spec.name == "heartbeat_interval" && self.heartbeats.mixed();
        (target, if scaled { add(judgement, "scaled to the setting of node 0") } else { judgement })
    }

    /// Whether the scenario gives occasion for a KPI; if not, why not.
    fn occasion(&self, spec: &KpiSpec, samples: &Samples, scenario: &Scenario) -> Result<(), &'static str> {
        let met = |met: bool, why| if met { Ok(()) } else { Err(why) };
        match spec.name {
            "failure_detection" => {
                let lasting = scenario.faults.iter().any(|fault| {
                    let end = fault.until.unwrap_or(scenario.duration).min(scenario.duration);
                    matches!(fault.kind, FaultKind::Crash { .. } | FaultKind::Partition { .. })
                        && end >= scenario.warmup
                        && end.since(fault.at) >= detection::JUDGED_AFTER
                });
                met(lasting || samples.len() > 0, "no crash and no cut that lasts 15 s")
            }
            "throughput" => self.traffic.throughput_occasion(),
            "takeover" => {
                let lose = |kind: &FaultKind| match kind {
                    FaultKind::Crash { .. }
                    | FaultKind::Pause { .. }
                    | FaultKind::Partition { .. }
                    | FaultKind::OneWay { .. } => true,
                    FaultKind::Link { .. }
                    | FaultKind::Slow { .. }
                    | FaultKind::Join { .. }
                    | FaultKind::Leave { .. }
                    | FaultKind::Rotate { .. }
                    | FaultKind::Clock { .. }
                    | FaultKind::Byzantine { .. } => false,
                };
                met(scenario.faults.iter().any(|fault| lose(&fault.kind)), "no crash, no pause and no cut")
            }
            "heal" => {
                let cuts = |kind: &FaultKind| matches!(kind, FaultKind::Partition { .. } | FaultKind::OneWay { .. });
                let ends = |fault: &Fault| cuts(&fault.kind) && fault.until.is_some();
                met(scenario.faults.iter().any(ends), "no cut that ends")
            }
            "peer_discovery" | "false_deaths" => met(scenario.nodes.len() > 1, "one node has no peers"),
            "job_broadcast"
            | "consensus"
            | "consensus_learned"
            | "overhead_per_job"
            | "jobs_lost"
            | "duplicate_executions"
            | "election_disagreement" => {
                met(scenario.workload.is_some() || self.jobs.counts.submitted > 0, "no jobs are offered")
            }
            _ => Ok(()),
        }
    }
}

fn add(judgement: Judgement, words: &str) -> Judgement {
    let note = if judgement.note.is_empty() { words.to_string() } else { format!("{}; {words}", judgement.note) };
    Judgement { note, ..judgement }
}
