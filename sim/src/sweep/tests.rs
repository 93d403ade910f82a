use std::collections::BTreeMap;

use super::row::{KpiRow, RunRow};
use super::tally::Tally;
use super::*;
use crate::many::Panicked;
use crate::outcome::Verdict;
use crate::scenario::Overrides;

/// Three nodes that meet and do a few jobs, too few for most KPIs.
fn case(name: &str, setting: &str) -> Case {
    let text = format!(
        r#"
name = "{name}"
crypto = "token"
duration = "8s"
warmup = "2s"
settle = "3s"
[nodes]
count = 3
[network]
profile = "lan"
[workload]
jobs_per_second = 5.0
from = ["n0..n2"]
job = {{ type = "simulated", duration = {{ distribution = "constant", value = "200ms" }}, deadline = "20s" }}
[kpi]
heartbeat_interval = false
overhead_per_job = false
consensus = false
job_broadcast = false
[expect]
jobs_completed = ">= 5"
"#
    );
    let beside = |file: &str| Err(format!("{file} is not there"));
    let scenario = Scenario::parse(&text, "test.toml", Overrides::default(), &beside).expect("valid");
    Case { file: format!("{name}.toml"), settings: vec![Setting::parse(setting).expect("valid")], scenario }
}

fn plan(shard: Option<&str>) -> Plan {
    let cases = vec![case("one", "network.loss=0%"), case("one", "network.loss=1%"), case("two", "a=b c")];
    Plan { cases, seeds: "1..2,7".parse().expect("seeds"), shard: shard.map(|shard| shard.parse().expect("a shard")) }
}

/// Every file below a directory.
#[expect(clippy::disallowed_methods, reason = "tests read what was written")]
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut dirs) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(next) = dirs.pop() {
        for entry in std::fs::read_dir(next).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let name = path.strip_prefix(dir).expect("below it").display().to_string();
                files.insert(name, std::fs::read(&path).expect("a file"));
            }
        }
    }
    files
}

fn swept(plan: &Plan, threads: usize, fail_fast: bool) -> (tempfile::TempDir, Results) {
    let dir = tempfile::tempdir().expect("a directory");
    let threads = NonZeroUsize::new(threads).expect("at least one");
    let results = sweep(plan, threads, fail_fast, &AtomicBool::new(false), dir.path()).expect("written");
    (dir, results)
}

#[test]
fn one_thread_or_two_or_three_shards_merged_leave_the_same_bytes() {
    let (one, results) = swept(&plan(None), 1, false);
    let whole = files(one.path());
    assert!(whole.len() > 10 && whole.contains_key("histograms/one/2/consensus.v2"), "{:?}", whole.keys());
    assert_eq!((results.manifest.done, results.tallies[0].runs), (9, 3));
    let (two, _) = swept(&plan(None), 2, false);
    assert!(whole == files(two.path()), "two threads");

    let shards: Vec<_> = ["2/3", "1/3", "3/3"].map(|shard| swept(&plan(Some(shard)), 1, false)).into();
    let dirs: Vec<_> = shards.iter().map(|(dir, _)| dir.path().to_owned()).collect();
    let joined = tempfile::tempdir().expect("a directory");
    let merged = merge::merge(&dirs, joined.path()).expect("they belong together");
    for (name, bytes) in &whole {
        assert!(files(joined.path()).get(name) == Some(bytes), "{name} differs");
    }
    assert_eq!(files(joined.path()).len(), whole.len());
    assert_eq!(table::render(&merged), table::render(&results));
}

#[test]
fn shards_that_do_not_belong_together_are_not_merged() {
    let other = Plan { seeds: "1..2,8".parse().expect("seeds"), ..plan(Some("2/2")) };
    let shards = [swept(&plan(Some("1/2")), 1, false), swept(&plan(Some("1/2")), 1, false), swept(&other, 1, false)];
    let merged = |which: &[usize]| {
        let dirs: Vec<_> = which.iter().map(|which| shards[*which].0.path().to_owned()).collect();
        merge::merge(&dirs, tempfile::tempdir().expect("a directory").path()).map(drop).unwrap_err().to_string()
    };
    assert!(merged(&[0]).contains("shard 2/2 is missing"), "{}", merged(&[0]));
    assert!(merged(&[0, 1]).contains("is shard 1/2, and so is"), "{}", merged(&[0, 1]));
    assert!(merged(&[0, 2]).contains("is no shard of the sweep in"), "{}", merged(&[0, 2]));
}

#[test]
fn the_first_failure_ends_a_sweep_that_shall_fail_fast() {
    let mut plan = plan(None);
    let none = |case: &mut Case| case.scenario.expect[0].value = 1_000;
    plan.cases.iter_mut().skip(1).for_each(none);
    for threads in [1, 2] {
        let (_dir, results) = swept(&plan, threads, true);
        assert_eq!(
            results.tallies.iter().map(|tally| tally.runs).collect::<Vec<_>>(),
            [3, 1, 0],
            "{}",
            table::render(&results)
        );
        assert_eq!((results.exit_code(), results.manifest.done, results.manifest.planned), (1, 4, 9));
        let text = table::render(&results);
        let command = "marlos-sim run one.toml --seed 1 --set network.loss=1%\n    exit 1, jobs_completed";
        assert!(text.contains(command) && text.contains("5 of 9 planned were not done"), "{text}");
    }
}

#[test]
fn a_shard_does_every_nth_run_and_all_shards_do_all() {
    let all: Vec<Planned> = plan(None).planned().collect();
    let mut found = vec![None; all.len()];
    for (shard, begins) in [("1/4", 0), ("2/4", 1), ("3/4", 2), ("4/4", 3)] {
        let part: Vec<Planned> = plan(Some(shard)).planned().collect();
        assert_eq!(part.len() as u64, plan(Some(shard)).planned_len());
        for (nth, planned) in part.into_iter().enumerate() {
            found[begins + 4 * nth] = Some(planned);
        }
    }
    assert_eq!(found, all.into_iter().map(Some).collect::<Vec<_>>());
}

#[test]
fn a_cluster_tells_the_shard() {
    let told = |variables: &[(&str, &str)]| {
        let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
        Shard::of_cluster(variable).map(|shard| shard.map(|shard| shard.to_string()))
    };
    let (id, count, min) = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN");
    assert_eq!(told(&[]), Ok(None));
    assert_eq!(told(&[(id, "0"), (count, "8"), (min, "0")]), Ok(Some("1/8".to_owned())));
    assert_eq!(told(&[(id, "8"), (count, "8"), (min, "1")]), Ok(Some("8/8".to_owned())));
    assert_eq!(
        told(&[(id, "14"), (count, "3"), (min, "10"), ("SLURM_ARRAY_TASK_STEP", "2")]),
        Ok(Some("3/3".to_owned()))
    );
    assert_eq!(told(&[("JOB_COMPLETION_INDEX", "7"), ("JOB_COMPLETIONS", "8")]), Ok(Some("8/8".to_owned())));
    assert!(told(&[("JOB_COMPLETION_INDEX", "7")]).unwrap_err().contains("JOB_COMPLETIONS is not"));
    assert!(told(&[(id, "9"), (count, "8")]).is_err());
    assert!(told(&[(id, "x"), (count, "8")]).is_err());
}

#[test]
fn seeds_are_named_with_both_ends_and_once() {
    let seeds: Seeds = "3..5,9".parse().expect("seeds");
    assert_eq!((seeds.iter().collect::<Vec<_>>(), seeds.len()), (vec![3, 4, 5, 9], 4));
    assert_eq!(seeds.to_string(), "3..5,9");
    for wrong in ["", "5..3", "1..", "a", "1..5,3", "0..18446744073709551615"] {
        assert!(wrong.parse::<Seeds>().is_err(), "{wrong}");
    }
}

#[test]
fn the_worst_of_a_kpi_is_on_the_wrong_side_of_its_target() {
    let kpi = |seed, comparison: &str, measured| KpiRow {
        scenario: String::new(),
        setting: String::new(),
        seed,
        kpi: "heal".to_owned(),
        unit: "s".to_owned(),
        statistic: "p99".to_owned(),
        comparison: comparison.to_owned(),
        target: Some(3.0),
        measured: Some(measured),
        samples: 1,
        mean: None,
        p50: None,
        p90: None,
        p99: None,
        max: None,
        verdict: Verdict::Pass,
    };
    for (comparison, worst) in [("<", (5.0, 3)), (">=", (0.5, 2)), ("within 5%", (0.5, 2)), ("", (5.0, 3))] {
        let mut tally = Tally::default();
        for (seed, measured) in [(1, 3.0), (2, 0.5), (3, 5.0), (4, 5.0)] {
            let mut report = Report::of_panic("s", "", seed, &Panicked { message: "m".into(), place: "p".into() });
            report.kpis.push(kpi(seed, comparison, measured));
            tally.add(&report);
        }
        assert_eq!(tally.kpis[0].worst(), Some(worst), "{comparison}");
        assert_eq!(tally.kpis[0].median(), Some(3.0));
    }
}

#[test]
fn an_assertion_that_ends_a_run_counts_as_a_violated_check() {
    let panicked = Panicked { message: "a balance is below zero".into(), place: "src/x.rs:1".into() };
    let report = Report::of_panic("s", "", 7, &panicked);
    assert_eq!(report.run, RunRow { panic: "a balance is below zero at src/x.rs:1".into(), ..report.run.clone() });
    let mut tally = Tally::default();
    tally.add(&report);
    assert_eq!((tally.exit, tally.violated["assertion"].count, tally.worst[0].seed), (3, 1, 7));
    assert_eq!(tally.worst[0].why, "assertion: a balance is below zero at src/x.rs:1");
}

#[test]
fn a_command_is_quoted_where_a_shell_would_take_it_apart() {
    assert_eq!(table::shell("network.loss=1%"), "network.loss=1%");
    assert_eq!(table::shell("a=[1, 2]"), "'a=[1, 2]'");
    assert_eq!(table::shell("it's"), r"'it'\''s'");
}
