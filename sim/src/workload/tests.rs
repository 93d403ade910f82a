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
