//! The checks: what must hold after every event (safety), and what must hold once the faults are over (liveness).
//!
//! What a node reports of its own start comes after [`Observation::NodeStarted`], as that forgets what its last process knew.
//!
//! Nothing here relies on what a node says of itself where the world knows better, nor on the node's own counting: the quorum
//! is computed by a formula of its own, and every signature is verified.

pub mod contact;
pub mod digests;
mod electorates;
mod hearing;
#[cfg(test)]
pub(crate) mod history;
mod l1;
mod l2;
mod l3;
mod ledger;
mod s1;
mod s2;
mod s3;
mod s4;
mod s5;
pub mod views;

use std::fmt;

use marlos::io::Verify;
use marlos::time::Time;

use crate::observe::{Observation, Truth};
use crate::outcome::{CheckKind, CheckResult, Verdict};
use crate::scenario::{Comparison, Expectation, NodeNo, Scenario};
use contact::Contact;
use views::Views;

/// A safety check that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// `S1`, `S2`, `S3`, ...
    pub check: &'static str,
    /// The sentence that is violated.
    pub sentence: &'static str,
    /// The two facts that contradict each other.
    pub facts: [Fact; 2],
}

/// Something that was so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    /// In words.
    pub what: String,
    /// When.
    pub at: Time,
    /// Where.
    pub node: NodeNo,
    /// The number of the event, where it is still known.
    pub event: Option<u64>,
}

impl Fact {
    /// Something that is so at `node` now.
    fn now(truth: &Truth, node: NodeNo, what: String) -> Fact {
        Fact { what, at: truth.now, node, event: Some(truth.event) }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}", self.at)?;
        if let Some(event) = self.event {
            write!(f, " (event {event})")?;
        }
        write!(f, " at n{}: {}", self.node, self.what)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second] = &self.facts;
        write!(f, "{} violated: {}. {first}; but {second}", self.check, self.sentence)
    }
}

/// All checks of a run.
#[derive(Clone, Debug)]
pub struct Checks {
    contact: Contact,
    views: Views,
    electorates: electorates::Electorates,
    s1: s1::S1,
    s2: s2::S2,
    s3: s3::S3,
    s4: s4::S4,
    s5: s5::S5,
    ledger: ledger::Ledger,
    l2: l2::L2,
    l3: l3::L3,
    violation: Option<Violation>,
}

impl Checks {
    /// Before the first event.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Checks {
        let nodes = scenario.nodes.len();
        Checks {
            contact: Contact::new(nodes),
            views: Views::new(nodes),
            electorates: electorates::Electorates::new(scenario),
            s1: s1::S1::new(scenario),
            s2: s2::S2::new(scenario),
            s3: s3::S3::new(scenario),
            s4: s4::S4::new(scenario),
            s5: s5::S5::new(scenario),
            ledger: ledger::Ledger::new(scenario),
            l2: l2::L2::new(scenario),
            l3: l3::L3::new(scenario),
            violation: None,
        }
    }

    /// Takes one observation, in the order in which they happened. `verify` must be strict Ed25519, or remember its answers.
    ///
    /// # Errors
    /// A safety check does not hold any more. The run is to end here; [`Checks::finish`] still reports.
    #[inline]
    pub fn observe(
        &mut self,
        truth: &Truth,
        o: &Observation<'_>,
        verify: &mut dyn Verify,
    ) -> Result<(), Box<Violation>> {
        // Nearly every observation of a run is this one.
        let found = if let Observation::Accepted { .. } = o {
            self.s4.observe(truth, o)
        } else {
            self.observe_others(truth, o, verify)
        };
        if let Err(violation) = &found {
            self.violation.get_or_insert_with(|| (**violation).clone());
        }
        found
    }

    /// Takes what a node says that has misbehaved. Of that, only what a quorum has signed says anything: where its money went.
    ///
    /// # Errors
    /// As [`Checks::observe`].
    pub fn observe_dishonest(&mut self, truth: &Truth, o: &Observation<'_>) -> Result<(), Box<Violation>> {
        let found = self.ledger.observe_dishonest(truth, o);
        if let Err(violation) = &found {
            self.violation.get_or_insert_with(|| (**violation).clone());
        }
        found
    }

    fn observe_others(
        &mut self,
        truth: &Truth,
        o: &Observation<'_>,
        verify: &mut dyn Verify,
    ) -> Result<(), Box<Violation>> {
        self.contact.observe(truth, o, |_, _, _| {});
        self.views.observe(truth.now, o);
        self.electorates.observe(truth, o);
        self.l2.observe(truth, o);
        self.l3.observe(truth, o, &self.contact);
        self.s4.observe(truth, o)?;
        self.s5.observe(truth, o)?;
        self.s1.observe(truth, o, &self.contact, &self.electorates, verify)?;
        self.s2.observe(truth, o, &self.contact)?;
        self.s3.observe(truth, o, &self.electorates, verify)?;
        self.ledger.observe(truth, o, &self.electorates, verify)
    }

    /// Judges, at the end of the run: safety, then liveness, then what the scenario expects of what was `counted`
    /// ([`crate::kpi::Findings::counted`]).
    #[must_use]
    pub fn finish(
        &self,
        truth: &Truth,
        scenario: &Scenario,
        counted: &dyn Fn(&str) -> Option<u64>,
    ) -> Vec<CheckResult> {
        let no_jobs = scenario.workload.is_none();
        let mut results = vec![
            self.safety("S1", self.s1.checked(), no_jobs, "claim certificates, each with every vote verified"),
            self.s2_at_end(truth, no_jobs),
            self.safety(
                "S3",
                self.s3.checked(),
                self.s3.no_occasion(truth.now),
                "certified transactions, each with every vote verified",
            ),
            self.safety(
                "S4",
                self.s4.checked(),
                scenario.nodes.len() < 2,
                "accepted frames, none forged, replayed or stale",
            ),
            self.safety("S5", self.s4.checked(), scenario.nodes.len() < 2, "accepted frames, nobody banned for any"),
            self.safety(
                "ledger",
                self.ledger.checked(),
                self.s3.no_occasion(truth.now),
                "certified transactions, penalties and views of all money, none made or lost, and no job paid twice",
            ),
        ];
        let quiet = Quiet::of(scenario);
        for (name, judged) in [
            ("L1", l1::judge(truth, scenario, &quiet, &self.contact, &self.views)),
            ("L2", self.l2.judge(truth, scenario, &quiet, &self.contact)),
            ("L3", self.l3.judge(truth, &self.contact)),
        ] {
            let (verdict, detail) = match (&self.violation, judged) {
                (Some(_), _) => (Verdict::Unknown, "not judged: the run ended at a violation".to_string()),
                (None, judged) => judged,
            };
            results.push(CheckResult { name: name.into(), kind: CheckKind::Liveness, verdict, detail });
        }
        results.extend(scenario.expect.iter().map(|expected| expectation(expected, counted)));
        results
    }

    fn s2_at_end(&self, truth: &Truth, no_jobs: bool) -> CheckResult {
        let result =
            self.safety("S2", self.s2.checked(), no_jobs, "executions, each under a certificate of its own node");
        match self.s2.judge(truth, &self.contact) {
            Err(violation) if self.violation.is_none() => {
                CheckResult { verdict: Verdict::Fail, detail: violation.to_string(), ..result }
            }
            Err(_) | Ok(()) => result,
        }
    }

    fn safety(&self, name: &'static str, checked: u64, no_occasion: bool, what: &str) -> CheckResult {
        let (verdict, detail) = match &self.violation {
            Some(violation) if violation.check == name => (Verdict::Fail, violation.to_string()),
            _ if checked > 0 => (Verdict::Pass, format!("{checked} {what}")),
            _ if no_occasion => (Verdict::NotApplicable, "the scenario gives no occasion for it".to_string()),
            _ => (Verdict::Unknown, format!("0 {what}: there was nothing to check")),
        };
        CheckResult { name: name.into(), kind: CheckKind::Safety, verdict, detail }
    }
}

/// When nothing goes wrong any more.
#[derive(Clone, Copy, Debug)]
struct Quiet {
    /// The end of the last fault that ends, the start of one that does not, or the end of the warm-up.
    from: Time,
    /// From when on the liveness checks must hold.
    judged: Time,
}

impl Quiet {
    fn of(scenario: &Scenario) -> Quiet {
        let ends = |until: &Time| *until <= scenario.duration;
        let last = scenario.faults.iter().map(|fault| fault.until.filter(ends).unwrap_or(fault.at)).max();
        let from = last.map_or(scenario.warmup, |last| last.max(scenario.warmup));
        let settled = last.map_or(scenario.warmup, |last| last + scenario.settle);
        Quiet { from, judged: settled.max(scenario.warmup) }
    }
}

fn expectation(expected: &Expectation, counted: &dyn Fn(&str) -> Option<u64>) -> CheckResult {
    let Expectation { counter, comparison, value } = expected;
    let is = counted(counter);
    let (symbol, met): (String, fn(u64, u64) -> bool) = match comparison {
        Comparison::Less => ("<".into(), |is, value| is < value),
        Comparison::AtMost => ("<=".into(), |is, value| is <= value),
        Comparison::AtLeast => (">=".into(), |is, value| is >= value),
        Comparison::Greater => (">".into(), |is, value| is > value),
        Comparison::Equal => ("==".into(), |is, value| is == value),
        Comparison::Within(percent) => (format!("within {percent} % of"), |_, _| false),
    };
    let met = match (is, comparison) {
        (Some(is), Comparison::Within(percent)) => {
            u128::from(is.abs_diff(*value)) * 100 <= u128::from(*value) * u128::from(*percent)
        }
        (Some(is), _) => met(is, *value),
        (None, _) => false,
    };
    let (verdict, detail) = match is {
        Some(is) if met => (Verdict::Pass, format!("{counter} is {is}, expected {symbol} {value}")),
        Some(is) => {
            let detail = format!("the run proves nothing: {counter} is {is}, expected {symbol} {value}");
            (Verdict::Unknown, detail)
        }
        None => (Verdict::Unknown, format!("the run proves nothing: {counter} is not counted")),
    };
    CheckResult { name: counter.clone(), kind: CheckKind::Expect, verdict, detail }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use marlos::identity::StrictVerifier;
    use marlos::time::Span;

    use super::*;

    #[test]
    fn an_expectation_that_is_not_met_is_unknown_and_says_what_was_counted() {
        let counters = BTreeMap::from([("frames_cut", 0), ("restarts", 2)]);
        let ask = |counter: &str, comparison, value| {
            let expected = Expectation { counter: counter.into(), comparison, value };
            let result = expectation(&expected, &|name| counters.get(name).copied());
            (result.verdict, result.detail)
        };
        let (verdict, detail) = ask("frames_cut", Comparison::AtLeast, 1);
        assert_eq!(verdict, Verdict::Unknown);
        assert_eq!(detail, "the run proves nothing: frames_cut is 0, expected >= 1");
        assert_eq!(ask("restarts", Comparison::Equal, 2).0, Verdict::Pass);
        assert_eq!(ask("restarts", Comparison::Less, 2).0, Verdict::Unknown);
        assert_eq!(ask("restarts", Comparison::Within(50), 4).0, Verdict::Pass);
        assert_eq!(ask("restarts", Comparison::Within(49), 4).0, Verdict::Unknown);
        assert_eq!(ask("unheard_of", Comparison::AtLeast, 0).0, Verdict::Unknown);
    }

    /// What the checks say at the end of a run of two nodes in which this happened.
    fn verdicts(scenario: &Scenario, observed: &[Observation<'_>]) -> (Option<Violation>, Vec<(String, Verdict)>) {
        let (mut checks, mut world) = (Checks::new(scenario), history::History::new(scenario));
        let mut violation = None;
        for o in observed {
            let found = world.at(1_000, o.clone(), |truth, o| checks.observe(truth, o, &mut StrictVerifier));
            violation = violation.or(found.err());
        }
        world.truth.now = scenario.duration;
        let results = checks.finish(&world.truth, scenario, &|name| (name == "votes").then_some(1));
        (violation.map(|found| *found), results.into_iter().map(|r| (r.name, r.verdict)).collect())
    }

    fn frame(claimed: NodeNo) -> Observation<'static> {
        let kind = marlos::wire::MsgType::Ping;
        Observation::Accepted { node: 0, sender: 1, claimed, kind, frame: 3, latency: Span::millis(1) }
    }

    #[test]
    fn a_safety_check_with_nothing_to_check_is_unknown_and_without_occasion_not_applicable() {
        let mut with_jobs = history::scenario_with_jobs(2, "60s", 1);
        with_jobs.expect = vec![Expectation { counter: "votes".into(), comparison: Comparison::AtLeast, value: 1 }];
        let unknown = Verdict::Unknown;
        let (violation, results) = verdicts(&with_jobs, &[frame(1)]);
        assert_eq!(violation, None);
        let results: Vec<(&str, Verdict)> = results.iter().map(|(name, verdict)| (name.as_str(), *verdict)).collect();
        let (pass, none) = (Verdict::Pass, Verdict::NotApplicable);
        let jobs = [("ledger", none), ("L1", unknown), ("L2", unknown), ("L3", unknown), ("votes", Verdict::Pass)];
        let safety = [("S1", unknown), ("S2", unknown), ("S3", none), ("S4", pass), ("S5", pass)];
        assert_eq!(results, [&safety[..], &jobs].concat());
        let (_, results) = verdicts(&history::scenario(2, "60s"), &[]);
        let of = |name: &str| results.iter().find(|(n, _)| n == name).map(|(_, verdict)| *verdict);
        assert_eq!([of("S1"), of("S2"), of("L2")], [Some(Verdict::NotApplicable); 3]);
        assert_eq!(of("S4"), Some(unknown));
    }

    #[test]
    fn the_first_violation_is_kept_and_liveness_is_then_not_judged() {
        let (violation, results) = verdicts(&history::scenario(2, "60s"), &[frame(0), frame(1), frame(1)]);
        let violation = violation.expect("a forged frame was accepted");
        assert_eq!((violation.check, violation.sentence), ("S4", "no forged message is accepted"));
        assert!(results.contains(&("S4".to_string(), Verdict::Fail)));
        assert!(results.contains(&("L1".to_string(), Verdict::Unknown)));
    }

    #[test]
    fn it_is_quiet_after_the_last_change_and_settled_after_the_settle_time() {
        use crate::scenario::{Fault, FaultKind};
        let mut scenario = history::scenario(2, "100s");
        scenario.warmup = Time(10_000_000);
        let quiet = |scenario: &Scenario| {
            let Quiet { from, judged } = Quiet::of(scenario);
            (from.0 / 1_000_000, judged.0 / 1_000_000)
        };
        assert_eq!(quiet(&scenario), (10, 10));
        let pause = |at: u64, until: Option<u64>| Fault {
            at: Time(0) + Span::secs(at),
            until: until.map(|until| Time(0) + Span::secs(until)),
            kind: FaultKind::Pause { nodes: vec![0] },
        };
        scenario.faults = vec![pause(20, Some(40)), pause(30, None)];
        assert_eq!(quiet(&scenario), (40, 70));
        scenario.faults = vec![pause(50, Some(200))];
        assert_eq!(quiet(&scenario), (50, 80));
        scenario.faults = vec![pause(2, Some(3))];
        assert_eq!(quiet(&scenario), (10, 33));
    }
}
