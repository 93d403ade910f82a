use super::*;
use crate::scenario::Overrides;

fn scenario(workload: &str) -> Scenario {
    let text = format!("name = \"x\"\nduration = \"2000s\"\n[nodes]\ncount = 10\n[workload]\n{workload}");
    Scenario::parse(&text, "x", Overrides::default(), &|_| Err(String::new())).unwrap()
}

fn all(scenario: &Scenario) -> Vec<Submission> {
    let mut workload = Workload::new(scenario);
    std::iter::from_fn(|| workload.next_job(|_, uniform| Span(uniform >> 44))).collect()
}

#[test]
fn the_same_seed_gives_the_same_jobs_and_another_seed_others() {
    let scenario_1 = scenario("jobs_per_second = 5\nend = \"100s\"");
    assert_eq!(all(&scenario_1), all(&scenario_1));
    let scenario_2 = Scenario { seed: 2, ..scenario_1.clone() };
    assert_ne!(all(&scenario_1)[0], all(&scenario_2)[0]);
}

/// Values that must never change on any platform: a saved seed would name another run.
#[test]
fn the_first_jobs_of_seed_1_are_these() {
    let jobs: Vec<_> = all(&scenario("jobs_per_second = 5\nend = \"100s\"")).into_iter().take(3).collect();
    let facts: Vec<_> = jobs.iter().map(|s| (s.n, s.at.0, s.node, s.job.duration.0)).collect();
    assert_eq!(facts, [(0, 10_044_469, 9, 976_994), (1, 10_061_960, 6, 152_767), (2, 10_315_363, 3, 1_003_423)]);
}

#[test]
fn what_else_a_scenario_says_moves_no_draw() {
    let plain = all(&scenario("jobs_per_second = 5\nend = \"100s\""));
    let failing = all(&scenario("jobs_per_second = 5\nend = \"100s\"\njob = { failing = \"50%\", output_bytes = 9 }"));
    let facts = |jobs: &[Submission]| jobs.iter().map(|s| (s.at, s.node, s.job.duration)).collect::<Vec<_>>();
    assert_eq!(facts(&plain), facts(&failing));
}

#[test]
fn poisson_arrivals_have_the_rate_and_the_spread_of_their_law() {
    let jobs = all(&scenario("jobs_per_second = 10\nstart = \"0s\"\nend = \"2000s\""));
    // 20,000 expected, standard deviation 141.
    assert!((19_500..20_500).contains(&jobs.len()), "{}", jobs.len());
    let gaps: Vec<u64> = jobs.windows(2).map(|pair| pair[1].at.0 - pair[0].at.0).collect();
    // Of an exponential law, 1 - 1/e = 63.2 % lie below the mean; of evenly spaced ones, none or all.
    let below_mean = gaps.iter().filter(|gap| **gap < 100_000).count() * 1_000 / gaps.len();
    assert!((622..643).contains(&below_mean), "{below_mean}");
}

#[test]
fn uniform_arrivals_are_equally_spaced_and_rounding_adds_up_to_nothing() {
    let jobs = all(&scenario("jobs_per_second = 3\narrival = \"uniform\"\nstart = \"10s\"\nend = \"1010s\""));
    assert_eq!(jobs.len(), 3_000, "none at the end itself");
    assert_eq!(jobs[0].at, Time(10_000_000));
    assert_eq!(jobs[2_999].at, Time(1_009_666_666));
}

#[test]
fn bursts_come_together_as_often_as_the_rate_says() {
    let jobs =
        all(&scenario("jobs_per_second = 5\narrival = \"burst\"\nburst_size = 10\nstart = \"10s\"\nend = \"20s\""));
    let times: Vec<u64> = jobs.iter().map(|s| s.at.0 / 1_000_000).collect();
    assert_eq!(times, [10, 12, 14, 16, 18].map(|second| [second; 10]).concat());
}

#[test]
fn submitters_and_failures_are_drawn_at_their_rates() {
    let jobs =
        all(&scenario("jobs_per_second = 10\nend = \"1010s\"\nfrom = [\"n2\", \"n5\"]\njob = { failing = \"20%\" }"));
    let share = |is: &dyn Fn(&Submission) -> bool| jobs.iter().filter(|s| is(s)).count() * 1_000 / jobs.len();
    assert!(jobs.iter().all(|s| s.node == 2 || s.node == 5));
    assert!((480..520).contains(&share(&|s| s.node == 2)));
    assert!((184..216).contains(&share(&|s| s.job.fails)));
}

#[test]
fn a_mix_draws_each_kind_by_its_share_and_gives_it_what_it_says() {
    let text = "jobs_per_second = 10\nend = \"1010s\"\njob = { payment = 3 }\n\
                mix = [{ share = 7, type = \"quick\" }, { share = 2, type = \"long\", failing = \"100%\" }, { share = 1, output_bytes = 9 }]";
    let scenario = scenario(text);
    let kinds = Workload::new(&scenario).kinds().to_vec();
    assert_eq!(kinds.iter().map(|kind| kind.job_type.as_str()).collect::<Vec<_>>(), ["quick", "long", "simulated"]);
    assert!(
        kinds.iter().all(|kind| kind.payment == marlos::units::Tokens::whole(3)),
        "what a kind does not say is the job's"
    );
    let jobs = all(&scenario);
    let share = |kind| jobs.iter().filter(|job| job.kind == kind).count() * 1_000 / jobs.len();
    assert!(share(0).abs_diff(700) < 20 && share(1).abs_diff(200) < 16 && share(2).abs_diff(100) < 12);
    assert!(jobs.iter().all(|job| job.job.fails == (job.kind == 1)));
    assert!(jobs.iter().all(|job| job.job.output_bytes == if job.kind == 2 { 9 } else { 64 }));
    // And none of it moves when and where they come.
    let plain = all(&self::scenario("jobs_per_second = 10\nend = \"1010s\""));
    assert!(plain.iter().zip(&jobs).all(|(a, b)| (a.at, a.node, a.job.duration) == (b.at, b.node, b.job.duration)));
}

#[test]
fn poisson_arrivals_follow_a_rate_that_changes() {
    let text = "start = \"0s\"\nend = \"1000s\"\nrates = [{ at = \"0s\", jobs_per_second = 0 }, \
                { at = \"500s\", jobs_per_second = 40 }, { at = \"500s\", jobs_per_second = 2 }]";
    let jobs = all(&scenario(text));
    let between = |from: u64, to: u64| jobs.iter().filter(|job| (from..to).contains(&(job.at.0 / 1_000_000))).count();
    // 10,000 while it rises, a quarter of them in the first half; then 1,000. Standard deviations: 50, 87, 32.
    assert!(between(0, 250).abs_diff(2_500) < 200, "{}", between(0, 250));
    assert!(between(250, 500).abs_diff(7_500) < 350, "{}", between(250, 500));
    assert!(between(500, 1_000).abs_diff(1_000) < 130, "{}", between(500, 1_000));
    // Without memory all the same: of the gaps at the constant rate 63.2 % are below the mean.
    let gaps: Vec<u64> =
        jobs.windows(2).filter(|pair| pair[0].at.0 > 500_000_000).map(|p| p[1].at.0 - p[0].at.0).collect();
    let short = gaps.iter().filter(|gap| **gap < 500_000).count() * 1_000 / gaps.len();
    assert!(short.abs_diff(632) < 50, "{short}");
}

#[test]
fn one_rate_is_the_same_as_a_rate_that_stays() {
    let changing = "end = \"100s\"\narrival = \"ARRIVAL\"\nrates = [{ at = \"50s\", jobs_per_second = 5 }]";
    let constant = "end = \"100s\"\narrival = \"ARRIVAL\"\njobs_per_second = 5";
    for arrival in ["poisson", "uniform", "burst\"\nburst_size = \"4"] {
        let arrival = arrival.replace("= \"4", "= 4 #\"");
        let (one, other) = (constant.replace("ARRIVAL", &arrival), changing.replace("ARRIVAL", &arrival));
        let (one, other) = (all(&scenario(&one)), all(&scenario(&other)));
        assert_eq!(one.len(), other.len(), "{arrival}");
        assert!(one.iter().zip(&other).all(|(a, b)| a.at.0.abs_diff(b.at.0) <= 1 && a.node == b.node), "{arrival}");
    }
}

const TRACE: &str = "# as recorded\nat_s, from, type, duration_s, payment, fails, requirements\n\
                     1.5, n3, render, 2.25, 4.5, 0, gpu;disk\n0.25, , , , , 1,\n30, n0, , 0, , ,\n";

#[test]
fn a_trace_is_replayed_as_it_was_and_what_it_leaves_open_is_the_jobs_or_drawn() {
    let text = "name = \"x\"\nduration = \"100s\"\n[nodes]\ncount = 10\n[workload]\ntrace = \"t.csv\"\nfrom = [\"n7\"]\n\
                job = { payment = 2, deadline = \"9s\" }";
    let parsed = Scenario::parse(text, "x", Overrides::default(), &|_| Ok(TRACE.to_owned()));
    let scenario = parsed.unwrap_or_else(|diagnostic| panic!("{diagnostic}"));
    let durations: Vec<_> =
        Workload::new(&scenario).kinds().iter().map(|kind| Durations::new(&kind.duration)).collect();
    let mut workload = Workload::new(&scenario);
    let jobs: Vec<_> = std::iter::from_fn(|| workload.next_job(|kind, draw| durations[kind].sample(draw))).collect();
    // The workload starts after ten seconds of warm-up.
    let facts: Vec<_> = jobs.iter().map(|job| (job.at.0 / 1_000, job.node, job.job.fails)).collect();
    assert_eq!(facts, [(10_250, 7, true), (11_500, 3, false), (40_000, 0, false)]);
    assert_eq!((jobs[1].job.duration, jobs[2].job.duration), (Span::millis(2_250), Span::ZERO));
    let kinds = workload.kinds();
    assert_eq!((kinds[1].job_type.as_str(), kinds[0].job_type.as_str()), ("render", "simulated"));
    assert_eq!(kinds[1].requirements, ["gpu", "disk"]);
    assert_eq!((kinds[1].payment.0, kinds[0].payment.0), (4_500_000, 2_000_000));
    assert!(kinds.iter().all(|kind| kind.deadline == Span::secs(9)));
    // And it needs no file any more once it is resolved.
    let again = Scenario::parse(&scenario.to_toml(), "again", Overrides::default(), &|_| panic!("reads a file"));
    assert_eq!(again.unwrap_or_else(|diagnostic| panic!("{diagnostic}")), scenario);
}

#[test]
fn a_trace_that_cannot_be_read_is_refused_with_its_line() {
    for (trace, said) in [
        ("at_s, typ\n1, a\n", "there is no column `typ`: did you mean `type`?"),
        ("when\n1\n", "there is no column `when`; there may be `at_s`"),
        ("type\na\n", "the first line names no column `at_s`"),
        ("at_s,at_s\n1,2\n", "two columns are named `at_s`"),
        ("at_s\n", "no job in it"),
        ("at_s,type\n1,a\n,b\n", "line 3 has no `at_s`"),
        ("at_s,type\n1\n", "line 2: 1 cells, not 2"),
        ("at_s\nsoon\n", "line 2, at_s: `soon` is no number"),
        ("at_s,from\n1,n10\n", "line 2, from: there is no node `n10`; they are n0 .. n9"),
        ("at_s,type\n1,a b\n", "line 2, type: `a b` is no name"),
        ("at_s,fails\n1,yes\n", "line 2, fails: `yes` is neither 0 nor 1"),
        ("at_s,output_bytes\n1,99999999\n", "no number of bytes up to 16 MiB"),
        ("at_s\n61\n", "the trace's last job comes 61s after `start`"),
    ] {
        let text = "name = \"x\"\nduration = \"100s\"\n[nodes]\ncount = 10\n[workload]\ntrace = \"t.csv\"";
        let diagnostic = Scenario::parse(text, "x", Overrides::default(), &|_| Ok(trace.to_owned())).unwrap_err();
        assert!(diagnostic.to_string().contains(said), "{diagnostic}");
        assert_eq!(diagnostic.line_column(), (6, 9));
    }
}

#[test]
fn the_exponential_is_the_logarithm() {
    for uniform in [0, 1, 1 << 32, u64::MAX / 3, u64::MAX / 2, u64::MAX - 1_000_000, u64::MAX - 1, u64::MAX] {
        let rest = ((1u128 << 64) - u128::from(uniform)) as f64 / 2f64.powi(64);
        let (found, expected) = (exponential(uniform) as f64 / 2f64.powi(32), -rest.ln());
        assert!((found - expected).abs() < 1e-8, "{uniform}: {found} instead of {expected}");
    }
}

#[test]
fn without_a_workload_no_job_comes() {
    let mut empty = scenario("jobs_per_second = 5");
    empty.workload = None;
    assert_eq!(Workload::new(&empty).next_at(), None);
    assert_eq!(all(&empty), []);
}

#[test]
fn a_command_reads_back_as_its_job_and_nothing_else_does() {
    let job = SimulatedJob { duration: Span(523_000), fails: true, output_bytes: 64, noise: false };
    assert_eq!(job.to_command(), "duration_us=523000 fail=1 output=64");
    let noisy = SimulatedJob { noise: true, ..job };
    assert_eq!(SimulatedJob::parse(&noisy.to_command()), Some(noisy));
    let (plain, noise) = (job.output(JobId([7; 16])), noisy.output(JobId([7; 16])));
    assert_eq!((plain.len(), noise.len()), (64, 64));
    assert!(noise != plain && noise == noisy.output(JobId([7; 16])) && noise != noisy.output(JobId([8; 16])));
    assert_eq!(SimulatedJob::parse(&job.to_command()), Some(job));
    for command in [
        "",
        "duration_us=1",
        "duration_us=1 fail=2 output=0",
        "duration_us=+1 fail=0 output=0",
        "duration_us=1 fail=0 output=0 noise=0",
    ] {
        assert_eq!(SimulatedJob::parse(command), None, "{command}");
    }
    assert_eq!(SimulatedJob::parse("duration_us=1 fail=0 output=0 more"), None);
}
