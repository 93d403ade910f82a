//! Misbehaving nodes do what their behaviour says, as often as it says; the others refuse it, and are judged without them.

#[path = "support/worlds.rs"]
mod worlds;

use marlos_sim::byzantine::{BEHAVIOURS, Behaviour};
use marlos_sim::observe::Observation;
use marlos_sim::outcome::{CheckKind, CheckResult, Outcome, Verdict};
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
    assert_safe(&first);
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

/// The checks that guard what nobody may break.
fn assert_safe(outcome: &Outcome) {
    let broken = |check: &&CheckResult| check.kind == CheckKind::Safety && check.verdict == Verdict::Fail;
    let broken: Vec<_> = outcome.checks.iter().filter(broken).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn what_is_said_again_is_refused_for_what_is_wrong_with_it() {
    for (changed, reason) in [
        ("nonce", "bad_signature"),
        ("recipient", "wrong_recipient"),
        ("recipient", "bad_signature"),
        ("network", "wrong_network"),
    ] {
        let keys = format!("\"replay\"\nafter = \"at_once\"\nchanged = \"{changed}\"\nshare = \"100%\"");
        let (outcome, deeds) = misdeeds(&world(&keys));
        let refused = outcome.refusals.get(reason).copied().unwrap_or(0);
        assert!(deeds > 100 && refused > 50, "{changed}: {deeds} said again, {:?}", outcome.refusals);
        assert_safe(&outcome);
    }
    // What comes over another link than its sender's is dropped in silence, as a first contact's messages are: nobody takes it.
    let (outcome, deeds) = misdeeds(&world("\"replay\"\nafter = \"10s\"\nchanged = \"nothing\"\nshare = \"100%\""));
    assert!(deeds > 100, "{deeds}");
    assert_safe(&outcome);
    // Where the stamp makes it the newest word of its sender, that is no excuse. The nonce is looked at before the signature.
    let (outcome, _) = misdeeds(&world("\"replay\"\nafter = \"at_once\"\nchanged = \"timestamp\"\nshare = \"100%\""));
    assert!(outcome.refusals["replayed"] > 20, "{:?}", outcome.refusals);
    assert_safe(&outcome);
}

/// Replays to whoever restarts, and one that does.
fn after_restart(plant: &str) -> String {
    let crash = "[[fault]]\nat = \"14s\"\nfor = \"1s\"\nkind = \"crash\"\nnodes = [\"n1\"]\nconnection = \"reset\"\n";
    let world =
        world("\"replay\"\nafter = \"restart\"").replace("count = 7", &format!("count = 7\nconfig = {{ {plant} }}"));
    world + crash
}

#[test]
fn a_restarted_node_takes_nothing_that_its_earlier_life_may_have_taken_and_with_the_defect_it_does() {
    let sound = run(&after_restart(""), 1);
    assert!(sound.refusals["stale_timestamp"] > 20, "{:?}", sound.refusals);
    assert_safe(&sound);
    let planted = run(&after_restart("plant = \"replay-after-restart\""), 1);
    let violated = planted.checks.iter().find(|check| check.verdict == Verdict::Fail).map(|check| check.name.as_str());
    assert_eq!((violated, planted.exit_code()), (Some("S4"), 3));
}

#[test]
fn a_flood_has_its_rate_and_who_floods_with_what_is_sound_is_cut_off() {
    let (junk, deeds) = misdeeds(&world("\"flood\"\nof = \"junk\"\nrate = 100"));
    assert!(deeds.abs_diff(2 * 12 * 100) < 10, "two nodes for twelve seconds: {deeds}");
    assert_eq!(junk.counters["blacklisted_byzantine"], 0);
    assert_safe(&junk);
    let (valid, _) = misdeeds(&world("\"flood\"\nrate = 300"));
    assert_eq!(valid.counters["blacklisted_byzantine"], 10, "by each of five");
    assert!(valid.refusals["blacklisted"] > 1_000);
    assert_safe(&valid);
    let (strangers, _) = misdeeds(&world("\"flood\"\nof = \"strangers\"\nrate = 50"));
    assert!(strangers.refusals["unknown_sender"] > 1_000, "{:?}", strangers.refusals);
}

#[test]
fn what_is_too_large_or_unreadable_is_refused_as_such() {
    let refused = |keys: &str, reason: &str| {
        let text = world(keys).replace("count = 7", "count = 7\nconfig = { max_message_size = 262144 }");
        let (outcome, deeds) = misdeeds(&text);
        assert_safe(&outcome);
        let refused = outcome.refusals.get(reason).copied().unwrap_or(0);
        // By each of the others, or nearly: a bit may be flipped where it hurts in another way.
        assert!(deeds >= 20 && refused >= 3 * deeds, "{keys}: {deeds} sent, {:?}", outcome.refusals);
    };
    refused("\"oversize\"\nwhat = \"frame\"", "too_large");
    refused("\"oversize\"\nwhat = \"bundle\"", "too_large");
    refused("\"oversize\"\nwhat = \"list\"", "malformed");
    refused("\"garbage\"\nwhat = \"bomb\"\ninterval = \"1s\"", "too_large");
    refused("\"garbage\"\nwhat = \"nested\"\ninterval = \"1s\"", "malformed");
}

#[test]
fn lies_about_time_and_others_move_no_honest_clock_and_nobodys_place() {
    for keys in ["\"clock\"", "\"clock\"\nhow = \"pongs\"\nby = \"20s\"", "\"lie\""] {
        let (outcome, deeds) = misdeeds(&world(keys));
        assert!(deeds >= 6, "{keys}: {deeds}");
        let wrong: Vec<_> = failed(&outcome).into_iter().filter(|(name, _)| name != "overhead_per_job").collect();
        assert!(wrong.is_empty(), "{keys}: {wrong:?}");
        assert_eq!(outcome.counters["quarantines"], 0, "{keys}");
    }
}

#[test]
fn twins_speak_with_two_tongues_and_a_double_spender_is_proven() {
    let (outcome, deeds) = misdeeds(&world("\"twin\""));
    assert!(deeds > 50, "{deeds}");
    assert_safe(&outcome);
    let spend = world("\"double_spend\"").replace("count = 7", "count = 7\nconfig = { settle_after = \"1s\" }");
    let (outcome, deeds) = misdeeds(&spend);
    assert!(deeds >= 2 && outcome.counters["evidence_proven"] >= 5, "{deeds}: {:?}", outcome.counters);
    assert_safe(&outcome);
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
