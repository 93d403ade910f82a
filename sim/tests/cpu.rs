//! A node whose work costs time is a server with a queue: how long things wait, and what `slow` does to whom and when.

#[path = "support/worlds.rs"]
mod worlds;

use std::collections::BTreeMap;

use marlos::id::JobId;
use marlos::time::{Span, Time};
use marlos_sim::observe::Observation;
use marlos_sim::scenario::NodeNo;
use marlos_sim::workload::Workload;
use worlds::{at, scenario, watched};

/// What one submission costs in the queueing test, in microseconds.
const SERVICE_US: u64 = 10_000;

/// One node that refuses every job for want of money: each is one message that costs 10 ms, and nothing else costs anything.
fn refusing(jobs_per_second: u64, seconds: u64) -> String {
    format!(
        r#"
name = "queue"
duration = "{}s"
warmup = "1s"
settle = "1s"
[nodes]
count = 1
cpu = {{ per_message = "10ms" }}
[network]
profile = "ideal"
[workload]
jobs_per_second = {jobs_per_second}
arrival = "poisson"
start = "1s"
end = "{seconds}s"
job = {{ type = "simulated", duration = "1ms", payment = 1000000000, deadline = "10s" }}
"#,
        seconds + 10
    )
}

/// The mean time that a submission waited for its turn, in microseconds, and how many were counted.
fn mean_wait_us(jobs_per_second: u64, seconds: u64) -> (f64, usize) {
    let text = refusing(jobs_per_second, seconds);
    let (_, answered) = watched(&text, 1, |_, o| matches!(o, Observation::SubmitRefused { .. }).then_some(()));
    let mut workload = Workload::new(&scenario(&text, 1));
    let arrivals = std::iter::from_fn(|| workload.next_job(|_, _| Span::ZERO)).map(|job| job.at);
    let waits: Vec<u64> =
        arrivals.zip(&answered).map(|(arrived, (at, ()))| at.since(arrived).as_micros() - SERVICE_US).collect();
    (waits.iter().sum::<u64>() as f64 / waits.len() as f64, waits.len())
}

/// Pollaczek and Khinchine: with Poisson arrivals and one constant service time D, the mean wait is rho D / 2 (1 - rho). Tens of
/// thousands of arrivals come within a twentieth of it, and within a tenth at 90 % load, where waits are alike over hundreds of jobs.
#[test]
fn submissions_wait_as_long_as_a_queue_of_one_server_and_constant_work_makes_them() {
    for (jobs_per_second, seconds, tolerance) in [(30, 1000, 0.05), (60, 600, 0.05), (90, 600, 0.10)] {
        let load = (jobs_per_second * SERVICE_US) as f64 / 1e6;
        let expected = load * SERVICE_US as f64 / (2.0 * (1.0 - load));
        let (measured, jobs) = mean_wait_us(jobs_per_second, seconds);
        assert!(jobs as u64 * 100 > jobs_per_second * seconds * 95, "{jobs} jobs were answered");
        let off = (measured - expected).abs() / expected;
        assert!(off < tolerance, "at {load}: {measured:.0} us, expected {expected:.0} us");
    }
}

/// Three nodes on an even network whose messages cost 1 ms each; n1 is slow for a while, and the only one that runs jobs.
const SLOW: &str = r#"
name = "slow"
duration = "60s"
warmup = "5s"
settle = "5s"
[nodes]
cpu = { per_message = "1ms" }
[[nodes.group]]
name = "asks"
count = 1
config = { capabilities = ["asks"] }
[[nodes.group]]
name = "runs"
count = 1
[[nodes.group]]
name = "votes"
count = 1
config = { capabilities = ["votes"] }
[network]
profile = "ideal"
latency = "2ms"
[workload]
jobs_per_second = 2.0
arrival = "uniform"
start = "5s"
end = "55s"
job = { type = "simulated", duration = "100ms", deadline = "10s" }
[[fault]]
at = "20s"
for = "20s"
kind = "slow"
nodes = ["n1"]
factor = 8
"#;

/// What a test of `slow` looks at.
#[derive(Clone, Copy, Debug)]
enum Seen {
    Frame { latency: Span },
    Began(JobId),
    Ended(JobId),
}

#[test]
fn slow_multiplies_the_work_and_the_executions_of_its_nodes_in_its_time_and_no_other() {
    let (_, seen) = watched(SLOW, 1, |_, o| match *o {
        Observation::Accepted { node, latency, .. } => Some((node, Seen::Frame { latency })),
        Observation::ExecutionStarted { node, job, .. } => Some((node, Seen::Began(job))),
        Observation::ExecutionEnded { node, job, .. } => Some((node, Seen::Ended(job))),
        _ => None,
    });
    // The quickest frame found nothing before it: 2 ms of network, and its own work.
    let quickest = |who: NodeNo, from: Time, until: Time| {
        let of = |(when, (node, seen)): &(Time, (NodeNo, Seen))| match seen {
            Seen::Frame { latency } if *node == who && (from..until).contains(when) => Some(*latency),
            _ => None,
        };
        seen.iter().filter_map(of).min().expect("frames were heard")
    };
    for node in 0..3 {
        let work = |from, until| quickest(node, from, until).saturating_sub(Span::millis(2));
        let (before, during, after) = (work(at(8), at(20)), work(at(21), at(40)), work(at(41), at(60)));
        let slowed = if node == 1 { Span::millis(8) } else { Span::millis(1) };
        assert_eq!((before, during, after), (Span::millis(1), slowed, Span::millis(1)), "n{node}");
    }
    let of = |(when, (_, seen)): &(Time, (NodeNo, Seen))| match seen {
        Seen::Ended(job) => Some((*job, *when)),
        _ => None,
    };
    let ended: BTreeMap<JobId, Time> = seen.iter().filter_map(of).collect();
    let runs = |from: Time, until: Time| {
        let began = seen.iter().filter(|(when, _)| (from..until).contains(when));
        let spans = began.filter_map(|(when, (_, seen))| match seen {
            Seen::Began(job) => Some(ended[job].since(*when)),
            _ => None,
        });
        spans.collect::<Vec<Span>>()
    };
    for (from, until, takes) in [(5, 20, 100), (21, 40, 800), (41, 55, 100)] {
        let runs = runs(at(from), at(until));
        assert!(runs.len() > 5 && runs.iter().all(|run| *run == Span::millis(takes)), "from {from} s: {runs:?}");
    }
}

#[test]
fn a_node_with_more_to_do_than_it_can_falls_behind_without_end() {
    let overloaded = refusing(150, 50);
    let (_, answered) = watched(&overloaded, 1, |_, o| matches!(o, Observation::SubmitRefused { .. }).then_some(()));
    // It answers one every 10 ms, however many ask; what was asked by 50 s takes longer than until the end.
    assert_eq!(answered.iter().filter(|(when, ())| (at(10)..at(50)).contains(when)).count(), 4_000);
    assert!(answered.len() <= 5_900, "{}", answered.len());
}
