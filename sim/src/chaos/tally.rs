//! What many runs have found: each kind of finding once, with its clearest run, and the passing runs that came closest to a target.

use std::collections::BTreeMap;

use super::storm::Kind;
use super::{Plan, Ran};
use crate::finding::{Finding, Wrong};
use crate::outcome::{Outcome, Verdict};
use crate::scenario::Scenario;

/// The KPIs whose worst passing run is worth a look, whatever its network: those that are a matter of the protocol.
const WORST_OF: [&str; 5] = ["failure_detection", "consensus", "takeover", "heal", "duplicate_executions"];

/// A kind of finding.
#[derive(Clone, Debug)]
pub struct Found {
    /// The first run that had it.
    pub first: u64,
    /// How many had it.
    pub times: u64,
    /// The run with the fewest faults that has it, and what was found there.
    pub run: u64,
    /// What was found there.
    pub finding: Finding,
    /// That run, as a scenario.
    pub scenario: Scenario,
}

/// The worst passing run of a KPI.
#[derive(Clone, Debug)]
pub struct Worst {
    /// Its value, in the KPI's unit.
    pub value: f64,
    /// The unit.
    pub unit: &'static str,
    /// The run.
    pub run: u64,
    /// That run, as a scenario.
    pub scenario: Scenario,
}

/// What many runs have found.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Runs that came to an end.
    pub runs: u64,
    /// Runs with a finding.
    pub failed: u64,
    /// Events of all.
    pub events: u64,
    /// Simulated seconds of all.
    pub seconds: u64,
    /// Findings, by severity and fingerprint.
    pub found: BTreeMap<(Wrong, String), Found>,
    /// By KPI.
    pub worst: BTreeMap<&'static str, Worst>,
    /// Faults by kind.
    pub faults: BTreeMap<Kind, u64>,
    /// Runs in which each check had something to check.
    pub checked: BTreeMap<String, u64>,
    /// Sums of what happened, by counter.
    pub counters: BTreeMap<&'static str, u64>,
    /// Jobs submitted and completed.
    pub jobs: (u64, u64),
}

impl Tally {
    /// Takes a run; says whether it is the first with its finding.
    pub fn add(&mut self, plan: &Plan, ran: &Ran) -> bool {
        self.runs += 1;
        for fault in &plan.scenario.faults {
            *self.faults.entry(Kind::of(&fault.kind)).or_default() += 1;
        }
        if let Some(outcome) = &ran.outcome {
            self.add_outcome(outcome);
        }
        match (&ran.finding, &ran.outcome) {
            (Some(finding), _) => self.add_finding(plan, finding),
            (None, Some(outcome)) => {
                self.add_passing(plan, outcome);
                false
            }
            (None, None) => false,
        }
    }

    fn add_outcome(&mut self, outcome: &Outcome) {
        self.events += outcome.events;
        self.seconds += outcome.reached.0 / 1_000_000;
        self.jobs.0 += outcome.jobs.submitted;
        self.jobs.1 += outcome.jobs.completed;
        for (counter, value) in &outcome.counters {
            *self.counters.entry(counter).or_default() += value;
        }
        for check in outcome.checks.iter().filter(|check| matches!(check.verdict, Verdict::Pass | Verdict::Fail)) {
            *self.checked.entry(check.name.clone()).or_default() += 1;
        }
    }

    fn add_finding(&mut self, plan: &Plan, finding: &Finding) -> bool {
        self.failed += 1;
        let key = (finding.wrong, finding.fingerprint.clone());
        let first = !self.found.contains_key(&key);
        let found = self.found.entry(key).or_insert_with(|| Found {
            first: plan.run,
            times: 0,
            run: plan.run,
            finding: finding.clone(),
            scenario: plan.scenario.clone(),
        });
        found.times += 1;
        let size = |scenario: &Scenario| (scenario.faults.len(), scenario.nodes.len(), scenario.duration);
        if size(&plan.scenario) < size(&found.scenario) {
            (found.run, found.finding, found.scenario) = (plan.run, finding.clone(), plan.scenario.clone());
        }
        first
    }

    fn add_passing(&mut self, plan: &Plan, outcome: &Outcome) {
        for kpi in outcome.kpis.iter().filter(|kpi| WORST_OF.contains(&kpi.name) && !kpi.histogram.is_empty()) {
            let value = kpi.histogram.max() as f64 / kpi.raw_per_unit;
            if self.worst.get(kpi.name).is_none_or(|worst| worst.value < value) {
                let worst = Worst { value, unit: kpi.unit, run: plan.run, scenario: plan.scenario.clone() };
                self.worst.insert(kpi.name, worst);
            }
        }
    }

    /// The contract's exit code: 3 for safety and panics, 4 for liveness, 1 where nothing was there to check, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if let Some((wrong, _)) = self.found.keys().next() {
            return wrong.exit_code();
        }
        u8::from(self.runs == 0 || self.checked.is_empty())
    }
}
