use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

use super::family::Says;
use super::side::{Check, Kpi};
use super::*;
use crate::outcome::{CheckKind, Verdict};
use crate::scenario::{Overrides, Scenario, Setting};
use crate::sweep::{self, Plan};

/// Four nodes that do fifteen jobs a second for a while, on a network whose delays scatter fourfold.
const SMALL: &str = r#"
name = "small"
crypto = "token"
duration = "14s"
warmup = "2s"
settle = "4s"
[nodes]
count = 4
[network]
latency = { distribution = "lognormal", median = "10ms", p99 = "40ms" }
[workload]
jobs_per_second = 15.0
from = ["n0..n3"]
end = "9s"
job = { type = "simulated", duration = { distribution = "constant", value = "200ms" }, deadline = "20s" }
"#;

/// What so many seeds of it leave, with something set.
fn swept(seeds: &str, settings: &[&str], dir: &Path) {
    let settings: Vec<Setting> = settings.iter().map(|text| Setting::parse(text).expect("a setting")).collect();
    let file = dir.with_extension("toml");
    crate::report::write_file(&file, SMALL).expect("written");
    let scenario = Scenario::load_with(&file, Overrides::default(), &settings).expect("valid");
    let case = sweep::Case { file: "small.toml".to_owned(), settings, scenario };
    let plan = Plan { cases: vec![case], seeds: seeds.parse().expect("seeds"), shard: None };
    let two = NonZeroUsize::new(2).expect("two");
    std::fs::create_dir_all(dir).expect("created");
    sweep::sweep(&plan, two, false, &AtomicBool::new(false), dir).expect("swept");
}

fn read(seeds: &str, settings: &[&str]) -> Side {
    let dir = tempfile::tempdir().expect("a directory");
    let results = dir.path().join("results");
    swept(seeds, settings, &results);
    Side::read(&results).expect("results")
}

fn judged(base: &Side, new: &Side) -> Comparison {
    compare(base, new, &Tolerances::of(&[])).expect("pairs")
}

fn says(comparison: &Comparison, label: &str) -> Says {
    let rows = comparison.cases.iter().flat_map(|case| &case.rows);
    let row = rows.into_iter().find(|row| table::label(row) == label);
    row.unwrap_or_else(|| panic!("no {label} in\n{}", table::render(comparison))).says
}

/// Whether no figure is called better or worse, and no verdict turned that counts.
fn calls_equal(comparison: &Comparison) -> bool {
    let mut rows = comparison.cases.iter().flat_map(|case| &case.rows);
    !comparison.regressed && rows.all(|row| !matches!(row.says, Says::Better | Says::Worse))
}

#[test]
fn five_per_cent_more_consensus_time_is_found_with_ten_seeds_and_five_per_cent_less_as_well() {
    let base = read("1..10", &[]);
    // Every message takes a twentieth longer, and so does all that is decided by messages. What each node does shifts with it.
    let slower = r#"network.latency={ distribution = "lognormal", median = "10.5ms", p99 = "42ms" }"#;
    let new = read("1..10", &[slower]);
    let forward = judged(&base, &new);
    let text = table::render(&forward);
    assert_eq!((says(&forward, "consensus mean"), forward.regressed), (Says::Worse, true), "{text}");
    assert_eq!(says(&forward, "heartbeat_interval mean"), Says::Identical, "{text}");
    let row = forward.cases[0].rows.iter().find(|row| table::label(row) == "consensus mean").expect("there");
    let change = row.change.expect("measured");
    assert!((0.03..0.07).contains(&change), "{text}");
    assert!(row.interval.expect("in doubt").low < change, "{text}");

    let backward = judged(&new, &base);
    let text = table::render(&backward);
    assert_eq!((says(&backward, "consensus mean"), backward.regressed), (Says::Better, false), "{text}");
}

#[test]
fn equal_builds_with_other_noise_are_called_equal_in_99_of_100_tries() {
    // Two builds with nothing in common but what they are: all noise there can be, for none of it is on both sides.
    let pool = read("1..32", &[]);
    let (name, case) = pool.cases.iter().next().expect("one case");
    let runs: Vec<&Run> = case.runs.values().collect();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut equal = 0;
    for _ in 0..100 {
        let mut order: Vec<usize> = (0..runs.len()).collect();
        for at in 0..20 {
            order.swap(at, at + (rng.next_u64() % (runs.len() - at) as u64) as usize);
        }
        let side = |which: &[usize]| {
            let runs = which.iter().zip(1..).map(|(run, seed)| (seed, runs[*run].clone())).collect();
            Side { cases: BTreeMap::from([(name.clone(), Case { resolved: None, runs })]) }
        };
        equal += u32::from(calls_equal(&judged(&side(&order[..10]), &side(&order[10..20]))));
    }
    assert!(equal >= 99, "{equal} of 100");
}

#[test]
fn the_same_runs_are_identical_whatever_the_directory() {
    let base = read("1..3", &[]);
    let comparison = judged(&base, &read("1..3", &[]));
    assert!(calls_equal(&comparison));
    assert!(comparison.cases[0].rows.iter().all(|row| row.says == Says::Identical));
    let text = table::render(&comparison);
    assert!(text.contains("small: 3 seeds paired, all the same to the last action"), "{text}");
}

/// A run in which everything passed, and this was measured.
fn run(consensus: f64, lost: f64) -> Run {
    let kpi = |name: &str, unit: &str, statistic: &str, comparison: &str, target, measured| {
        let mut kpi = Kpi::unmeasured(name, unit, statistic);
        comparison.clone_into(&mut kpi.comparison);
        (kpi.target, kpi.measured, kpi.verdict) = (Some(target), Some(measured), Verdict::Pass);
        kpi
    };
    let check = |kind| Check { kind, verdict: Verdict::Pass, detail: String::new() };
    Run {
        action_hash: format!("{consensus} {lost}"),
        jobs_completed: 100,
        jobs_failed: 0,
        kpis: vec![
            kpi("consensus", "s", "mean", "<", 2.0, consensus),
            kpi("throughput", "1/s", "mean", ">=", 100.0, 120.0),
            kpi("heartbeat_interval", "s", "mean", "within 5%", 3.0, 3.0),
            kpi("jobs_lost", "1", "count", "<=", 0.0, lost),
        ],
        checks: BTreeMap::from([
            ("S1".to_owned(), check(CheckKind::Safety)),
            ("deaths_detected".to_owned(), check(CheckKind::Expect)),
        ]),
    }
}

fn side(runs: Vec<Run>) -> Side {
    let name = CaseName { scenario: "made".to_owned(), setting: String::new() };
    Side { cases: BTreeMap::from([(name, Case { resolved: None, runs: (1..).zip(runs).collect() })]) }
}

/// Ten runs, of seeds that differ by a fifth, and whatever else.
fn ten(mut change: impl FnMut(u64, &mut Run)) -> Side {
    let runs = (1..=10).map(|seed| {
        let mut run = run(1.0 + 0.05 * (seed % 5) as f64, 0.0);
        change(seed, &mut run);
        run
    });
    side(runs.collect())
}

fn kpi<'r>(run: &'r mut Run, name: &str) -> &'r mut Kpi {
    run.kpis.iter_mut().find(|kpi| kpi.kpi == name).expect("there")
}

#[test]
fn a_change_is_worse_only_in_the_bad_direction_and_beyond_the_tolerance() {
    let base = ten(|_, _| {});
    // What is done to each run's KPI, what is said, and whether it is a regression.
    type Line = (&'static str, fn(u64, f64) -> f64, Says, bool);
    let table: [Line; 11] = [
        ("consensus", |_, value| value, Says::Identical, false),
        ("consensus", |_, value| value * 1.05, Says::Worse, true),
        ("consensus", |_, value| value * 0.95, Says::Better, false),
        ("consensus", |_, value| value * 1.005, Says::Same, false),
        ("consensus", |seed, value| if seed == 3 { value * 1.5 } else { value }, Says::CannotTell, false),
        ("throughput", |_, value| value * 1.05, Says::Better, false),
        ("throughput", |_, value| value * 0.95, Says::Worse, true),
        ("heartbeat_interval", |_, value| value * 1.04, Says::Worse, true),
        ("heartbeat_interval", |_, value| value * 0.96, Says::Worse, true),
        ("jobs_lost", |_, value| value + 2.0, Says::Worse, true),
        ("jobs_lost", |seed, value| value + f64::from(u8::from(seed == 3)), Says::CannotTell, false),
    ];
    for (number, (name, change, said, regressed)) in table.into_iter().enumerate() {
        let new = ten(|seed, run| {
            let kpi = kpi(run, name);
            kpi.measured = kpi.measured.map(|value| change(seed, value));
        });
        let comparison = judged(&base, &new);
        let label = if name == "jobs_lost" { name.to_owned() } else { format!("{name} mean") };
        let text = table::render(&comparison);
        assert_eq!((says(&comparison, &label), comparison.regressed), (said, regressed), "line {number}: {text}");
    }
    let new = ten(|_, run| kpi(run, "consensus").measured = kpi(run, "consensus").measured.map(|value| value * 1.05));
    let tolerant = compare(&base, &new, &Tolerances::of(&["consensus=10%".parse().expect("valid")])).expect("pairs");
    assert_eq!((says(&tolerant, "consensus mean"), tolerant.regressed), (Says::Same, false));
}

/// Ten runs in which this check, or the target of the KPI, is so in some seeds.
fn ten_with(what: &str, verdict: Verdict, seeds: &[u64]) -> Side {
    ten(|seed, run| {
        if seeds.contains(&seed) {
            match run.checks.get_mut(what) {
                Some(check) => check.verdict = verdict,
                None => kpi(run, what).verdict = verdict,
            }
        }
    })
}

#[test]
fn what_passed_and_does_not_any_more_is_a_regression_whatever_the_figures_say() {
    use Verdict::{Fail, NotApplicable, Pass, Unknown};
    let all: Vec<u64> = (1..=10).collect();
    // What ends how, in which seeds of BASE and of NEW, and whether that is a regression.
    type Line<'s> = (&'static str, Verdict, &'s [u64], &'s [u64], bool);
    let table: [Line<'_>; 13] = [
        ("S1", Pass, &[], &[], false),
        ("S1", Fail, &[], &[3], true),
        ("S1", Unknown, &[], &[3], true),
        ("S1", NotApplicable, &[], &[3], false),
        ("S1", Fail, &[2], &[3], true),
        ("S1", Fail, &[2, 3], &[3], false),
        ("S1", Fail, &all, &[], false),
        ("deaths_detected", Fail, &[], &[3], true),
        ("deaths_detected", Fail, &[2], &[3], false),
        ("consensus", Fail, &[], &[3], false),
        ("consensus", Fail, &[], &[3, 4, 5, 6, 7, 8], true),
        ("consensus", Unknown, &[], &[3, 4, 5, 6, 7, 8], true),
        ("consensus", Fail, &[1, 2, 9], &[3, 4, 5, 6, 7, 8], false),
    ];
    for (number, (what, verdict, base, new, regressed)) in table.into_iter().enumerate() {
        let comparison = judged(&ten_with(what, verdict, base), &ten_with(what, verdict, new));
        assert_eq!(comparison.regressed, regressed, "line {number}: {}", table::render(&comparison));
    }
    // Of too few seeds nothing can be said of chance.
    let few = |mut side: Side| {
        side.cases.values_mut().for_each(|case| case.runs.retain(|seed, _| *seed <= 2));
        side
    };
    assert!(judged(&few(ten(|_, _| {})), &few(ten_with("consensus", Fail, &[2]))).regressed);
}

#[test]
fn a_turn_is_told_with_its_seeds() {
    let all: Vec<u64> = (1..=10).collect();
    let comparison = judged(&ten_with("S1", Verdict::Fail, &all), &ten(|_, _| {}));
    let text = table::render(&comparison);
    assert!(text.contains("S1 (safety) newly passes in seeds 1, 2, 3, 4, 5, 6, 7, 8, .. (10)"), "{text}");
    let comparison = judged(&ten(|_, _| {}), &ten(|_, run| drop(run.checks.remove("S1"))));
    assert!(table::render(&comparison).contains("S1 (safety) is not judged any more in seeds 1, 2, 3"));
    let unknown_to_base = ten(|_, run| run.checks.clear());
    assert!(judged(&unknown_to_base, &ten_with("S1", Verdict::Fail, &[3])).regressed);
}

#[test]
fn a_run_that_an_assertion_ended_is_told_of_by_that_alone() {
    let new = ten(|seed, run| {
        if seed == 3 {
            let check = Check { kind: CheckKind::Safety, verdict: Verdict::Fail, detail: "a balance".to_owned() };
            *run = Run { checks: BTreeMap::from([("assertion".to_owned(), check)]), ..Run::default() };
        }
    });
    let comparison = judged(&ten(|_, _| {}), &new);
    let turned: Vec<&str> = comparison.cases[0].turns.iter().map(|turn| turn.what.as_str()).collect();
    assert_eq!((turned.as_slice(), comparison.regressed), (["assertion"].as_slice(), true));
}

#[test]
fn five_per_cent_are_told_from_noise_of_one_and_a_half_in_95_of_100_tries() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let mut uniform = move || (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0;
    // Twelve uniform numbers less six have variance 1.
    let mut noise = move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
    let base = ten(|_, _| {});
    let mut tries = |rise: f64| {
        let mut found = 0;
        for _ in 0..100 {
            let new = ten(|_, run| {
                for kpi in &mut run.kpis {
                    let times = rise + 0.015 * noise();
                    kpi.measured = kpi.measured.map(|value| value * times);
                }
            });
            let comparison = judged(&base, &new);
            found += u32::from(says(&comparison, "consensus mean") == Says::Worse);
        }
        found
    };
    let (risen, equal) = (tries(1.05), tries(1.0));
    assert!(risen >= 95 && equal == 0, "{risen} and {equal} of 100");
}

#[test]
fn an_interval_without_an_end_worth_printing_is_not_printed() {
    let new = ten(|seed, run| {
        if seed == 3 {
            kpi(run, "consensus").measured = Some(0.1);
        }
    });
    let comparison = judged(&ten(|_, _| {}), &new);
    let text = table::render(&comparison);
    assert_eq!(says(&comparison, "consensus mean"), Says::CannotTell);
    assert!(text.contains("beyond tenfold") && !text.contains("-100.0 %"), "{text}");
}

#[test]
fn seeds_and_cases_of_one_side_alone_are_named() {
    let mut base = ten(|_, _| {});
    let mut new = ten(|_, _| {});
    let name = |scenario: &str| CaseName { scenario: scenario.to_owned(), setting: String::new() };
    let case = base.cases[&name("made")].clone();
    base.cases.insert(name("gone"), case.clone());
    new.cases.insert(name("come"), case);
    base.cases.get_mut(&name("made")).expect("there").runs.remove(&2);
    new.cases.get_mut(&name("made")).expect("there").runs.remove(&7);
    let comparison = judged(&base, &new);
    let text = table::render(&comparison);
    assert!(
        text.contains(
            "made: 8 seeds paired, all the same to the last action; in BASE alone: seed 7; in NEW alone: seed 2"
        ),
        "{text}"
    );
    assert!(text.contains("in BASE alone: gone\nin NEW alone: come\n"), "{text}");
    assert!(!comparison.regressed);
    new.cases.remove(&name("made"));
    new.cases.remove(&name("gone"));
    let why = compare(&base, &new, &Tolerances::of(&[])).expect_err("nothing is paired");
    assert!(why.contains("BASE holds gone (10 seeds between 1 and 10), made (9 seeds"), "{why}");
}

#[test]
fn a_build_is_compared_with_itself_under_another_setting_whatever_else_is_swept() {
    let of = |settings: &[&str]| {
        let case = ten(|_, _| {}).cases.into_values().next().expect("one");
        let name = |setting: &&str| CaseName { scenario: "made".to_owned(), setting: (*setting).to_owned() };
        Side { cases: settings.iter().map(|setting| (name(setting), case.clone())).collect() }
    };
    for (base, new, paired) in [
        (&[""][..], &["a=1"][..], &["made, BASE with nothing set, NEW with a=1"][..]),
        (
            &["l=0 t=x", "l=1 t=x"],
            &["l=0 t=x c=2", "l=1 t=x c=2"],
            &["made, BASE with l=0 t=x, NEW with l=0 t=x c=2", "made, BASE with l=1 t=x, NEW with l=1 t=x c=2"],
        ),
        // What is the same on both sides goes first; of the rest nothing says which belong together.
        (&["l=0", "l=1", "l=2"], &["l=2", "l=3", "l=4"], &["made with l=2"]),
    ] {
        let comparison = judged(&of(base), &of(new));
        assert_eq!(comparison.cases.iter().map(|case| case.name.as_str()).collect::<Vec<_>>(), paired);
    }
    let why = compare(&of(&["l=0", "l=1"]), &of(&["l=2", "l=3"]), &Tolerances::of(&[])).expect_err("nothing is paired");
    assert!(why.contains("over the same settings"), "{why}");
}

#[test]
fn names_and_details_do_not_break_out_of_markdown_or_xml() {
    let new = ten(|seed, run| {
        if seed == 3 {
            let check = run.checks.get_mut("S1").expect("there");
            *check = Check { verdict: Verdict::Fail, detail: "<b>\"|@all & \u{1}".to_owned(), ..check.clone() };
        }
    });
    let comparison = judged(&ten(|_, _| {}), &new);
    let (markdown, xml) = (markdown::render(&comparison), junit::render(&comparison));
    assert!(
        markdown.contains("❌ S1 (safety) NEWLY FAILS in seed 3  \n     &lt;b&gt;\"\\|&#64;all &amp; "),
        "{markdown}"
    );
    assert!(xml.contains("&lt;b&gt;&quot;|@all &amp; ?\"/>"), "{xml}");
    assert!(xml.contains("failures=\"1\""), "{xml}");
}
