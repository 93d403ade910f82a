//! Misbehaving nodes do what their behaviour says, as often as it says; the others refuse it, and are judged without them.

#[path = "support/worlds.rs"]
mod worlds;

use marlos_sim::byzantine::{BEHAVIOURS, Behaviour};
use marlos_sim::observe::Observation;
use marlos_sim::outcome::{CheckKind, Outcome, Verdict};
use marlos_sim::scenario::{FaultKind, Overrides, Scenario};
use worlds::{failed, run, scenario, watched};

/// Seven nodes with jobs, of which n5 and n6 misbehave from 8 s to 20 s.
fn world(behaviour: &str) -> String {
    format!(
        r#"
name = "byzantine"
duration = "40s"
warmup = "5s"
settle = "12s"
[nodes]
count = 7
membership = "fixed"
[network]
profile = "lan"
[workload]
jobs_per_second = 4.0
from = ["n0..n6"]
end = "24s"
job = {{ type = "simulated", duration = {{ distribution = "uniform", min = "100ms", max = "1s" }}, deadline = "12s" }}
[[fault]]
at = "8s"
until = "20s"
kind = "byzantine"
nodes = ["n5..n6"]
behaviour = {behaviour}
"#
    )
}

fn misdeeds(text: &str) -> (Outcome, u64) {
    let (outcome, deeds) = watched(text, 1, |_, o| match *o {
        Observation::Misdeeds { node, count, .. } => {
            assert!(node == 5 || node == 6, "{o:?}");
            Some(count)
        }
        _ => None,
    });
    let count = deeds.iter().map(|(_, count)| count).sum();
    assert_eq!(outcome.counters["misdeeds"], count);
    (outcome, count)
}

#[test]
fn every_behaviour_is_written_as_it_was_read() {
    for spec in BEHAVIOURS {
        for keys in ["", spec.example] {
            let read = scenario(&world(&format!("\"{}\"\n{keys}", spec.name)), 1);
            let again = Scenario::parse(&read.to_toml(), "again.toml", Overrides::default(), &|_| Err(String::new()));
            let again = again.unwrap_or_else(|diagnostic| panic!("{}", diagnostic.render(false)));
            assert_eq!(again, read, "{}", spec.name);
            let FaultKind::Byzantine { behaviour, .. } = &read.faults[0].kind else { panic!("{:?}", read.faults) };
            assert_eq!(
                keys.is_empty(),
                *behaviour == Behaviour::plain(spec),
                "{}: its example says something",
                spec.name
            );
        }
    }
}

#[test]
fn two_runs_with_every_behaviour_at_once_are_the_same_and_safe() {
    // Large frames and floods are slow to run unoptimised: small ones, and for a moment.
    let mut text = world(&format!("\"{}\"", BEHAVIOURS[0].name))
        .replace("count = 7", "count = 7\nconfig = { max_message_size = 262144, max_command_bytes = 65536 }");
    for spec in &BEHAVIOURS[1..] {
        text += &format!(
            "[[fault]]\nat = \"9s\"\nuntil = \"11s\"\nkind = \"byzantine\"\nnodes = [\"n5..n6\"]\nbehaviour = \"{}\"\n",
            spec.name
        );
    }
    let (first, second) = (run(&text, 1), run(&text, 1));
    assert_eq!(first.action_hash, second.action_hash);
    let unsafe_checks: Vec<_> =
        first.checks.iter().filter(|c| c.kind == CheckKind::Safety && c.verdict == Verdict::Fail).collect();
    assert!(unsafe_checks.is_empty(), "{unsafe_checks:#?}");
}

#[test]
fn forged_frames_are_as_many_as_was_asked_for_and_none_is_taken() {
    let (none, deeds) = misdeeds(&world("\"forge\"\nshare = \"0%\""));
    assert_eq!((deeds, none.refusals.get("bad_signature")), (0, None));
    let (half, few) = misdeeds(&world("\"forge\"\nshare = \"25%\"\nhow = \"key\""));
    let (all, many) = misdeeds(&world("\"forge\"\nshare = \"100%\"\nhow = \"key\""));
    assert!(few > 20 && many > 3 * few && many < 5 * few, "{few} of {many}");
    for outcome in [half, all] {
        assert!(outcome.refusals["bad_signature"] > 20, "{:?}", outcome.refusals);
        let wrong: Vec<_> = failed(&outcome).into_iter().filter(|(name, _)| name != "overhead_per_job").collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

#[test]
fn what_is_withheld_in_one_role_is_withheld_in_no_other() {
    let said = |role: &str| {
        let (_, kinds) = watched(&world(&format!("\"withhold\"\nrole = \"{role}\"")), 1, |now, o| match *o {
            Observation::Sent { node: 5 | 6, kind, .. } if (worlds::at(9)..worlds::at(20)).contains(&now) => Some(kind),
            _ => None,
        });
        let said = |kind| kinds.iter().any(|(_, said)| *said == kind);
        use marlos::wire::MsgType::{AuctionCoordinate, ClaimVote, JobClaim, Ping};
        [said(AuctionCoordinate), said(JobClaim), said(ClaimVote), said(Ping)]
    };
    assert_eq!(said("coordinator"), [false, true, true, true]);
    assert_eq!(said("winner"), [true, false, true, true]);
    assert_eq!(said("voter"), [true, true, false, true]);
    assert_eq!(said("any"), [false, false, false, true]);
}

#[test]
fn whoever_misbehaves_is_neither_judged_nor_counted() {
    let (outcome, seen) = watched(&world("\"withhold\"\nrole = \"winner\""), 1, |_, o| match *o {
        Observation::NodeTurned { node } => Some(node),
        _ => None,
    });
    assert_eq!(seen, [(worlds::at(8), 5), (worlds::at(8), 6)]);
    assert_eq!(outcome.counters["nodes_byzantine"], 2);
    let detail = |name: &str| outcome.checks.iter().find(|check| check.name == name).map(|check| check.detail.clone());
    assert_eq!(detail("L1").as_deref(), Some("20 live nodes held for alive, each by a node it can reach"));
}
