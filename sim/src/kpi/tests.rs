use marlos::id::JobId;
use marlos::io::{JobStatus, Refusal};
use marlos::time::Span;
use marlos::wire::MsgType;

use super::*;
use crate::check::history::{History, scenario, scenario_with_jobs};
use crate::observe::{Stop, Truth};
use crate::scenario::{Fault, NodeNo};
use Verdict::{Fail, NotApplicable, Pass, Unknown};

/// A run by hand.
struct Run {
    scenario: Scenario,
    kpis: Kpis,
    history: History,
}

impl Run {
    fn new(scenario: Scenario) -> Run {
        Run { kpis: Kpis::new(&scenario), history: History::new(&scenario), scenario }
    }

    /// All nodes start at 0 s and know and hold each other for alive from 100 ms on.
    fn met(scenario: Scenario) -> Run {
        let nodes = scenario.nodes.len();
        let mut run = Run::new(scenario);
        for node in 0..nodes {
            run.at(0, Observation::NodeStarted { node, restart: false });
        }
        for node in 0..nodes {
            run.meets(100, node, 0..nodes);
        }
        run
    }

    fn at(&mut self, ms: u64, o: Observation<'_>) -> &mut Run {
        let kpis = &mut self.kpis;
        self.history.at(ms, o, |truth: &Truth, o| kpis.observe(truth, o));
        self
    }

    fn meets(&mut self, ms: u64, node: NodeNo, peers: impl IntoIterator<Item = NodeNo>) -> &mut Run {
        for peer in peers {
            self.at(ms, Observation::Discovered { node, peer });
            self.state(ms, node, peer, PeerState::Alive);
        }
        self
    }

    fn state(&mut self, ms: u64, node: NodeNo, peer: NodeNo, state: PeerState) -> &mut Run {
        self.at(ms, Observation::PeerState { node, peer, state })
    }

    fn start(&mut self, ms: u64, node: NodeNo, restart: bool) -> &mut Run {
        self.at(ms, Observation::NodeStarted { node, restart })
    }

    fn stop(&mut self, ms: u64, node: NodeNo, how: Stop) -> &mut Run {
        self.at(ms, Observation::NodeStopped { node, how })
    }

    fn reach(&mut self, ms: u64, a: &[NodeNo], b: &[NodeNo], reaches: bool) -> &mut Run {
        self.history.reach(a, b, reaches);
        self.at(ms, Observation::ReachChanged)
    }

    fn submit(&mut self, ms: u64, node: NodeNo, job: u8) -> &mut Run {
        self.at(ms, Observation::JobSubmitted { node, job: id(job) })
    }

    fn seen(&mut self, ms: u64, node: NodeNo, job: u8) -> &mut Run {
        self.at(ms, Observation::JobSeen { node, job: id(job) })
    }

    fn certified(&mut self, ms: u64, node: NodeNo, job: u8) -> &mut Run {
        self.at(ms, Observation::Certified { node, job: id(job), round: 0, votes: 3, members: 4, certificate: &[] })
    }

    fn learned(&mut self, ms: u64, node: NodeNo, job: u8) -> &mut Run {
        self.at(ms, Observation::ClaimLearned { node, job: id(job), round: 0, claimer: 1 })
    }

    fn completed(&mut self, ms: u64, job: u8) -> &mut Run {
        self.at(ms, Observation::JobCompleted { node: 0, job: id(job), executor: 1, status: JobStatus::Success })
    }

    fn end(&mut self, ms: u64) -> Findings {
        self.at(ms, Observation::FramesCut { count: 0 });
        self.kpis.clone().finish(&self.history.truth, &self.scenario)
    }

    /// This run, if both its nodes stopped.
    fn clone_stopped(&mut self, ms: u64) -> Run {
        let history = History { truth: self.history.truth.clone(), keys: self.history.keys.clone() };
        let mut run = Run { scenario: self.scenario.clone(), kpis: self.kpis.clone(), history };
        run.stop(ms, 0, Stop::Leave).stop(ms, 1, Stop::Leave);
        run
    }

    /// (samples, measured, verdict) of one KPI at the end.
    fn kpi(&mut self, end_ms: u64, name: &str) -> (u64, Option<f64>, Verdict) {
        let result = self.result(end_ms, name);
        (result.histogram.len(), result.measured, result.verdict)
    }

    fn result(&mut self, end_ms: u64, name: &str) -> KpiResult {
        self.end(end_ms).kpis.into_iter().find(|kpi| kpi.name == name).unwrap()
    }
}

fn id(job: u8) -> JobId {
    JobId([job; 16])
}

fn judged(statistic: Statistic, comparison: Comparison, target: f64) -> Option<KpiTarget> {
    Some(KpiTarget { statistic, comparison, target })
}

/// A scenario that judges one KPI so.
fn with_target(mut scenario: Scenario, name: &str, target: Option<KpiTarget>) -> Scenario {
    scenario.kpi.insert(name.into(), target);
    scenario
}

/// Judges a maximum, so that one sample is enough.
fn by_max(scenario: Scenario, name: &str, target: f64) -> Scenario {
    with_target(scenario, name, judged(Statistic::Max, Comparison::Less, target))
}

fn crash_scenario(nodes: usize) -> Scenario {
    let mut scenario = scenario(nodes, "100s");
    let kind = FaultKind::Crash {
        nodes: vec![1],
        storage: crate::scenario::Storage::Kept,
        connection: crate::scenario::CrashConnection::Silent,
    };
    scenario.faults = vec![Fault { at: Time(10_000_000), until: None, kind }];
    scenario
}

fn latency(ms: u64) -> Observation<'static> {
    let latency = Span::millis(ms);
    Observation::Accepted { node: 0, sender: 1, claimed: 1, kind: MsgType::Ping, frame: 0, latency }
}

#[test]
fn latency_is_judged_by_its_99th_percentile_after_the_warm_up() {
    let mut scenario = scenario(2, "60s");
    scenario.warmup = Time(10_000_000);
    let mut run = Run::met(scenario);
    run.at(9_999, latency(900));
    for _ in 0..99 {
        run.at(10_000, latency(10));
    }
    run.at(11_000, latency(80));
    let (samples, measured, verdict) = run.kpi(60_000, "message_latency");
    assert_eq!((samples, verdict), (100, Pass));
    assert!((measured.unwrap() - 10.0).abs() < 0.02, "{measured:?}");
    run.at(60_000, latency(80));
    let (_, measured, verdict) = run.kpi(60_000, "message_latency");
    assert_eq!((measured, verdict), (Some(80.0), Fail));
}

#[test]
fn nineteen_samples_are_no_percentile_but_twenty_are() {
    let mut run = Run::met(scenario(2, "60s"));
    for _ in 0..19 {
        run.at(1_000, latency(10));
    }
    let result = run.result(2_000, "message_latency");
    assert_eq!((result.verdict, result.note.as_str()), (Unknown, "19 samples, 20 needed"));
    run.at(2_000, latency(10));
    assert_eq!(run.kpi(2_000, "message_latency").2, Pass);
}

#[test]
fn a_target_of_the_scenario_replaces_the_default_and_false_judges_nothing() {
    let own = judged(Statistic::Max, Comparison::AtMost, 9.0);
    let mut run = Run::met(with_target(scenario(2, "60s"), "message_latency", own));
    run.at(1_000, latency(10));
    assert_eq!(run.kpi(2_000, "message_latency"), (1, Some(10.0), Fail));
    let mut run = Run::met(with_target(scenario(2, "60s"), "message_latency", None));
    let result = run.at(1_000, latency(10)).result(2_000, "message_latency");
    assert_eq!((result.verdict, result.note.as_str(), result.target), (NotApplicable, "not judged here", None));
}

#[test]
fn a_start_is_over_when_every_live_node_in_reach_is_known() {
    let mut run = Run::new(scenario(4, "60s"));
    run.start(0, 0, false).start(0, 1, false).start(0, 2, false);
    run.meets(200, 0, [1]).meets(300, 0, [2]).meets(400, 1, [0, 2]).meets(500, 2, [0, 1]);
    assert_eq!(run.kpi(1_000, "peer_discovery"), (3, Some(0.5), Pass));
    // A join is a start of its own, and does not open the others' starts again.
    run.start(2_000, 3, false).meets(2_700, 3, [0, 1]).meets(8_000, 3, [2]);
    assert_eq!(run.kpi(9_000, "peer_discovery"), (4, Some(6.0), Fail));
}

#[test]
fn a_restart_knows_nobody_and_a_node_that_stops_before_it_knows_all_gives_no_sample() {
    let mut run = Run::met(scenario(3, "60s"));
    run.stop(1_000, 2, Stop::CrashKept).start(2_000, 2, true).meets(2_250, 2, [0]);
    run.stop(3_000, 2, Stop::CrashKept).start(4_000, 2, true).meets(4_400, 2, [0, 1]);
    assert_eq!(run.kpi(9_000, "peer_discovery"), (4, Some(0.4), Pass));
}

#[test]
fn only_those_in_reach_need_be_known_and_a_node_alone_waits_for_company() {
    let mut run = Run::new(scenario(4, "60s"));
    run.reach(0, &[0, 1], &[2], false).reach(0, &[0, 1, 2], &[3], false);
    for node in 0..4 {
        run.start(0, node, false);
    }
    run.meets(300, 0, [1]).meets(300, 1, [0]);
    assert_eq!(run.kpi(1_000, "peer_discovery").0, 2, "n2 and n3 are alone");
    run.reach(20_000, &[2], &[3], true).meets(20_600, 2, [3]).meets(20_700, 3, [2]);
    assert_eq!(run.kpi(21_000, "peer_discovery"), (4, Some(0.7), Pass));
}

#[test]
fn the_time_that_a_start_spends_cut_off_from_all_does_not_count() {
    let mut run = Run::new(scenario(2, "60s"));
    run.start(0, 0, false).start(0, 1, false).reach(1_000, &[0], &[1], false);
    run.reach(20_000, &[0], &[1], true).meets(20_300, 0, [1]).meets(20_400, 1, [0]);
    assert_eq!(run.kpi(30_000, "peer_discovery"), (2, Some(0.4), Pass));
}

#[test]
fn one_that_is_known_by_hearsay_counts_when_it_comes_into_reach_and_only_once() {
    let mut run = Run::new(scenario(3, "60s"));
    run.start(0, 0, false).start(0, 1, false).start(0, 2, false);
    run.reach(0, &[0], &[1, 2], false).meets(100, 0, [1, 2, 1]);
    run.reach(2_000, &[0], &[1, 2], true);
    assert_eq!(run.kpi(3_000, "peer_discovery").0, 1);
    run.meets(3_000, 1, [0]).meets(3_000, 1, [0]);
    assert_eq!(run.kpi(3_000, "peer_discovery").0, 1, "n1 still does not know n2");
}

#[test]
fn a_start_that_never_knows_all_fails() {
    let mut run = Run::new(scenario(2, "60s"));
    run.start(0, 0, false).start(0, 1, false).meets(300, 0, [1]);
    assert_eq!(run.kpi(4_000, "peer_discovery"), (1, Some(0.3), Pass), "too young to say");
    let result = run.result(6_000, "peer_discovery");
    assert_eq!((result.measured, result.verdict), (Some(6.0), Fail));
    assert_eq!(result.note, "1 of 2 never happened before the end");
    // Even where the time waited so far is below the target.
    let mut run = Run::new(by_max(scenario(2, "60s"), "peer_discovery", 30.0));
    run.start(0, 0, false).start(0, 1, false).meets(300, 0, [1]);
    assert_eq!(run.kpi(6_000, "peer_discovery"), (2, Some(6.0), Fail));
}

#[test]
fn heartbeats_are_measured_from_ping_to_ping_and_broken_by_restart_and_pause() {
    let mut run = Run::met(scenario(2, "60s"));
    let ping = Observation::Pinged { node: 0 };
    for ms in [1_000, 4_000, 7_000] {
        run.at(ms, ping.clone()).at(ms, Observation::Pinged { node: 1 });
    }
    assert_eq!(run.kpi(7_000, "heartbeat_interval"), (4, Some(3.0), Pass));
    run.stop(8_000, 0, Stop::CrashKept).start(8_100, 0, true).at(8_200, ping.clone());
    run.at(8_300, Observation::NodePaused { node: 0, paused: true });
    run.at(9_000, Observation::NodePaused { node: 0, paused: false }).at(9_100, ping.clone());
    assert_eq!(run.kpi(9_200, "heartbeat_interval").0, 4);
    run.at(9_500, ping);
    assert_eq!(run.kpi(9_500, "heartbeat_interval"), (5, Some(2.48), Fail));
}

#[test]
fn a_heartbeat_that_began_in_the_warm_up_is_not_measured() {
    let mut scenario = scenario(1, "60s");
    scenario.warmup = Time(4_000_000);
    let mut run = Run::met(scenario);
    for ms in [1_000, 3_999, 7_000, 10_000] {
        run.at(ms, Observation::Pinged { node: 0 });
    }
    assert_eq!(run.kpi(10_000, "heartbeat_interval"), (1, Some(3.0), Pass));
}

#[test]
fn a_live_node_that_stops_pinging_fails_and_a_node_set_otherwise_is_scaled() {
    let ping = |node| Observation::Pinged { node };
    let mut run = Run::met(scenario(2, "60s"));
    run.at(1_000, ping(0)).at(4_000, ping(0)).at(5_000, ping(1));
    assert_eq!(run.clone_stopped(9_000).kpi(60_000, "heartbeat_interval").2, Pass, "who is down owes none");
    assert_eq!(run.kpi(10_500, "heartbeat_interval").2, Fail, "n0 owes one since 10 s");
    let mut other = scenario(2, "60s");
    other.nodes[1].config.heartbeat_interval = Span::secs(1);
    let mut run = Run::met(other);
    run.at(1_000, ping(0)).at(4_000, ping(0)).at(4_000, ping(1)).at(5_000, ping(1));
    let result = run.result(5_500, "heartbeat_interval");
    assert_eq!((result.histogram.len(), result.measured, result.verdict), (2, Some(3.0), Pass));
    assert_eq!(result.note, "scaled to the setting of node 0");
    let mut fast = scenario(1, "60s");
    fast.nodes[0].config.heartbeat_interval = Span::secs(1);
    let mut run = Run::met(fast);
    run.at(1_000, ping(0)).at(2_000, ping(0));
    assert_eq!(run.result(2_500, "heartbeat_interval").target.unwrap().target, 1.0);
}

#[test]
fn a_crash_is_detected_by_each_live_observer_in_its_own_time() {
    let mut run = Run::met(crash_scenario(3));
    run.stop(10_000, 1, Stop::CrashKept).state(17_000, 0, 1, PeerState::Suspect);
    run.state(18_500, 0, 1, PeerState::Dead).state(19_000, 2, 1, PeerState::Dead);
    assert_eq!(run.kpi(100_000, "failure_detection"), (2, Some(9.0), Pass));
    assert_eq!(run.end(100_000).counters["deaths_detected"], 2);
}

#[test]
fn a_crash_that_is_never_detected_is_a_miss_once_15_s_have_passed() {
    let mut run = Run::met(crash_scenario(3));
    run.stop(10_000, 1, Stop::CrashKept).state(18_000, 0, 1, PeerState::Dead);
    assert_eq!(run.kpi(24_999, "failure_detection"), (1, Some(8.0), Pass));
    assert_eq!(run.kpi(40_000, "failure_detection"), (2, Some(30.0), Fail));
}

#[test]
fn a_victim_or_observer_that_changes_first_gives_no_sample_and_a_goodbye_is_no_failure() {
    let mut run = Run::met(crash_scenario(4));
    run.stop(10_000, 1, Stop::CrashKept).stop(11_000, 2, Stop::CrashKept);
    run.at(11_500, Observation::NodePaused { node: 3, paused: true });
    run.start(12_000, 1, true).state(13_000, 0, 1, PeerState::Dead);
    run.state(19_000, 0, 2, PeerState::Dead);
    assert_eq!(run.kpi(100_000, "failure_detection"), (1, Some(8.0), Pass), "only n2, only by n0");
    let mut run = Run::met(crash_scenario(2));
    run.stop(10_000, 1, Stop::Leave).state(10_100, 0, 1, PeerState::Left);
    assert_eq!(run.kpi(100_000, "failure_detection"), (0, None, Unknown));
}

#[test]
fn a_cut_is_detected_from_both_sides_and_a_heal_ends_the_wait() {
    let mut run = Run::met(crash_scenario(3));
    run.reach(10_000, &[0], &[1, 2], false);
    run.state(18_000, 0, 1, PeerState::Dead).state(19_000, 1, 0, PeerState::Dead);
    run.reach(20_000, &[0], &[1, 2], true);
    assert_eq!(run.kpi(100_000, "failure_detection"), (2, Some(9.0), Pass));
    // Who is held for dead already cannot be detected again.
    let mut run = Run::met(crash_scenario(2));
    run.reach(10_000, &[0], &[1], false).state(18_000, 0, 1, PeerState::Dead).state(19_000, 1, 0, PeerState::Dead);
    assert_eq!(run.stop(30_000, 1, Stop::CrashKept).kpi(100_000, "failure_detection"), (2, Some(9.0), Pass));
    // One direction is no cut: who is still heard need not be marked dead.
    let mut run = Run::met(crash_scenario(2));
    run.history.truth.reaches[0][1] = false;
    run.at(10_000, Observation::ReachChanged);
    assert_eq!(run.kpi(100_000, "failure_detection").0, 0);
    run.history.truth.reaches[1][0] = false;
    run.at(100_000, Observation::ReachChanged).state(109_000, 0, 1, PeerState::Dead);
    assert_eq!(run.kpi(110_000, "failure_detection"), (1, Some(9.0), Pass));
}

#[test]
fn detection_is_not_applicable_without_a_lasting_fault_and_unknown_where_nobody_could_see_it() {
    assert_eq!(Run::met(scenario(2, "60s")).kpi(60_000, "failure_detection"), (0, None, NotApplicable));
    let mut brief = crash_scenario(2);
    brief.faults[0].until = Some(Time(20_000_000));
    assert_eq!(Run::met(brief).kpi(60_000, "failure_detection"), (0, None, NotApplicable));
    assert_eq!(Run::met(crash_scenario(2)).kpi(60_000, "failure_detection"), (0, None, Unknown));
}

#[test]
fn a_death_is_false_only_of_a_peer_in_contact_for_a_whole_timeout() {
    let mut run = Run::met(scenario(3, "60s"));
    run.state(14_999, 0, 1, PeerState::Dead).state(15_000, 0, 2, PeerState::Dead);
    assert_eq!(run.kpi(16_000, "false_deaths"), (1, Some(1.0), Fail));
    let counters = run.end(16_000).counters;
    assert_eq!((counters["false_deaths"], counters["deaths_detected"]), (1, 1));
    run.at(20_000, Observation::NodePaused { node: 2, paused: true });
    run.state(40_000, 1, 2, PeerState::Dead).state(41_000, 0, 2, PeerState::Alive);
    let counters = run.end(42_000).counters;
    assert_eq!((counters["false_deaths"], counters["deaths_detected"], counters["rejoins"]), (1, 2, 1));
    assert_eq!(Run::met(scenario(3, "60s")).kpi(60_000, "false_deaths"), (0, Some(0.0), Pass));
}

#[test]
fn a_broadcast_ends_at_the_last_node_of_the_submitters_side() {
    let mut run = Run::met(by_max(scenario_with_jobs(4, "60s", 1), "job_broadcast", 100.0));
    run.reach(1_000, &[0, 1, 2], &[3], false);
    run.submit(2_000, 0, 1).seen(2_010, 1, 1).seen(2_040, 2, 1);
    assert_eq!(run.kpi(3_000, "job_broadcast"), (1, Some(40.0), Pass));
    // One that crashes first is not waited for: the last of the others counts.
    run.submit(4_000, 0, 2).seen(4_020, 1, 2).stop(4_500, 2, Stop::CrashKept);
    assert_eq!(run.kpi(5_000, "job_broadcast"), (2, Some(40.0), Pass));
    // Nor is a job of a submitter that crashes, though some have seen it.
    let mut run = Run::met(by_max(scenario_with_jobs(3, "60s", 1), "job_broadcast", 100.0));
    run.submit(6_000, 1, 3).seen(6_900, 0, 3).stop(6_901, 1, Stop::CrashKept);
    assert_eq!(run.kpi(20_000, "job_broadcast"), (0, None, Unknown));
}

#[test]
fn a_job_that_one_node_never_sees_is_a_miss_after_5_s() {
    let mut run = Run::met(by_max(scenario_with_jobs(3, "60s", 1), "job_broadcast", 1e9));
    run.submit(2_000, 0, 1).seen(2_010, 1, 1);
    assert_eq!(run.kpi(6_999, "job_broadcast"), (0, None, Unknown));
    assert_eq!(run.kpi(7_000, "job_broadcast"), (1, Some(5_000.0), Fail));
}

#[test]
fn a_percentile_fails_only_when_its_rank_falls_among_the_misses() {
    let with_misses = |good: u8, misses: u8| {
        let mut run = Run::met(scenario_with_jobs(2, "60s", 1));
        for job in 0..good {
            run.submit(1_000 + u64::from(job), 0, job).seen(1_000 + u64::from(job), 1, job);
        }
        for job in 0..misses {
            run.submit(2_000, 0, good + job);
        }
        run.kpi(60_000, "job_broadcast")
    };
    assert_eq!(with_misses(198, 2).2, Pass, "rank 198 of 200");
    assert_eq!(with_misses(197, 3).2, Fail);
    assert_eq!(with_misses(20, 1).2, Fail);
}

#[test]
fn consensus_is_timed_to_the_first_certificate_on_a_side_with_quorum() {
    let mut run = Run::met(by_max(scenario_with_jobs(4, "60s", 1), "consensus", 2.0));
    run.submit(1_000, 0, 1).certified(1_400, 2, 1).certified(3_000, 3, 1);
    assert_eq!(run.kpi(4_000, "consensus"), (1, Some(0.4), Pass));
    // Two of four are no side with quorum; three are, until one more is lost.
    run.reach(5_000, &[0, 1, 2], &[3], false).submit(6_000, 0, 2).certified(6_900, 1, 2);
    run.submit(7_000, 3, 3).certified(7_100, 3, 3);
    run.submit(8_000, 0, 4).stop(8_100, 2, Stop::CrashKept).certified(20_000, 1, 4);
    run.submit(21_000, 0, 5);
    assert_eq!(run.kpi(50_000, "consensus"), (2, Some(0.9), Pass));
}

#[test]
fn a_job_without_a_certificate_is_a_miss_after_10_s() {
    let mut run = Run::met(by_max(scenario_with_jobs(4, "60s", 1), "consensus", 1e6));
    run.submit(1_000, 0, 1);
    assert_eq!(run.kpi(10_999, "consensus"), (0, None, Unknown));
    assert_eq!(run.kpi(11_000, "consensus"), (1, Some(10.0), Fail));
}

#[test]
fn a_claim_is_learned_when_the_last_live_node_knows_it_the_submitter_too() {
    let mut run = Run::met(by_max(scenario_with_jobs(4, "60s", 1), "consensus_learned", 2.0));
    run.submit(1_000, 0, 1).certified(1_400, 1, 1).learned(1_500, 2, 1).learned(1_600, 3, 1);
    assert_eq!(run.kpi(2_000, "consensus_learned").0, 0);
    run.learned(2_500, 0, 1);
    assert_eq!(run.kpi(3_000, "consensus_learned"), (1, Some(1.5), Pass));
}

#[test]
fn overhead_is_every_byte_of_job_traffic_to_every_receiver_per_job() {
    let mut scenario = scenario_with_jobs(3, "60s", 1);
    scenario.warmup = Time(10_000_000);
    let mut run = Run::met(scenario);
    let sent = |kind, bytes, copies| Observation::Sent { node: 0, kind, bytes, copies };
    run.submit(9_000, 0, 9).at(9_000, sent(MsgType::JobBroadcast, 5_000, 2));
    run.submit(11_000, 0, 1).submit(12_000, 0, 2);
    run.at(12_000, sent(MsgType::JobBroadcast, 300, 2)).at(12_500, sent(MsgType::ClaimVote, 100, 1));
    run.at(13_000, sent(MsgType::Bundle, 50, 4)).at(13_000, sent(MsgType::Ping, 1_000, 2));
    assert_eq!(run.kpi(20_000, "overhead_per_job"), (2, Some(450.0), Pass));
    let bytes = run.end(20_000).bytes_per_message_type;
    let expected = [("BUNDLE", 200), ("CLAIM_VOTE", 100), ("JOB_BROADCAST", 600), ("PING", 2_000)];
    assert_eq!(bytes, BTreeMap::from(expected));
    // 2,000 B by three nodes in ten seconds.
    let background = run.result(20_000, "background_bytes_per_node_s");
    assert_eq!((background.verdict, background.note.as_str()), (NotApplicable, "reported, without a target"));
    assert!((background.measured.unwrap() - 2_000.0 / 30.0).abs() < 1e-9, "{:?}", background.measured);
    assert_eq!(Run::met(crate::check::history::scenario(2, "60s")).kpi(60_000, "overhead_per_job").2, NotApplicable);
}

#[test]
fn throughput_is_judged_only_where_a_hundred_jobs_a_second_are_offered() {
    let run_with = |per_second: u64, completed: u64| {
        let mut scenario = scenario_with_jobs(2, "60s", per_second);
        let load = scenario.workload.as_mut().unwrap();
        (load.start, load.end) = (Time(1_000_000), Time(3_000_000));
        let mut run = Run::met(scenario);
        for n in 0..completed {
            let job = JobId([
                u8::try_from(n % 256).unwrap(),
                u8::try_from(n / 256).unwrap(),
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
            ]);
            let at = 1_000 + n * 2_000 / completed;
            run.at(at, Observation::JobSubmitted { node: 0, job });
            run.at(at, Observation::JobCompleted { node: 0, job, executor: 1, status: JobStatus::Success });
        }
        run.submit(3_000, 0, 255).completed(3_000, 255);
        run.kpi(10_000, "throughput")
    };
    assert_eq!(run_with(100, 200), (2, Some(100.0), Pass));
    assert_eq!(run_with(100, 199), (2, Some(99.5), Fail));
    assert_eq!(run_with(99, 200).2, NotApplicable);
    let mut late = scenario_with_jobs(2, "60s", 100);
    (late.warmup, late.workload.as_mut().unwrap().end) = (Time(10_000_000), Time(12_000_000));
    let mut run = Run::met(late);
    run.submit(9_000, 0, 1).completed(9_999, 1).submit(10_000, 0, 2).completed(10_000, 2);
    assert_eq!(run.kpi(20_000, "throughput"), (2, Some(0.5), Fail));
}

#[test]
fn a_job_is_lost_when_its_submitter_is_up_and_neither_end_has_come_in_time() {
    // A deadline of 20 s and 30 s to settle.
    let mut run = Run::met(scenario_with_jobs(3, "100s", 1));
    assert_eq!(run.submit(1_000, 0, 1).kpi(1_000, "jobs_lost").2, Unknown);
    run.submit(1_000, 0, 2).submit(1_000, 1, 3).submit(2_000, 0, 4).completed(3_000, 1);
    run.stop(4_000, 1, Stop::CrashKept);
    assert_eq!(run.kpi(50_999, "jobs_lost"), (0, Some(0.0), Pass));
    assert_eq!(run.kpi(51_000, "jobs_lost"), (1, Some(1.0), Fail));
    let jobs = run.end(51_000).jobs;
    let expected = JobCounts { submitted: 4, completed: 1, failed: 0, lost: 1, duplicate_executions: 0 };
    assert_eq!(jobs, expected);
}

#[test]
fn executions_beyond_a_jobs_first_and_rounds_closed_by_two_are_counted_once_each() {
    let mut run = Run::met(scenario_with_jobs(3, "60s", 1));
    let executes = |node, round| Observation::ExecutionStarted { node, job: id(1), round };
    run.submit(1_000, 0, 1).at(2_000, executes(1, 0)).at(9_000, executes(2, 1));
    let closes = |node, round| Observation::AuctionClosed { node, job: id(1), round, winner: 1 };
    run.at(9_000, closes(0, 0)).at(9_000, closes(0, 0)).at(9_000, closes(1, 1));
    assert_eq!(run.kpi(10_000, "election_disagreement").1, Some(0.0));
    run.at(10_000, closes(2, 0)).at(10_000, closes(1, 0));
    assert_eq!(run.kpi(10_000, "election_disagreement"), (1, Some(1.0), NotApplicable));
    assert_eq!(run.kpi(10_000, "duplicate_executions"), (1, Some(1.0), NotApplicable));
    let counters = run.end(10_000).counters;
    assert_eq!((counters["duplicate_executions"], counters["rounds_beyond_first"]), (1, 1));
}

#[test]
fn counters_count_the_whole_run_and_refusals_are_named() {
    let mut run = Run::met(scenario_with_jobs(3, "60s", 1));
    run.at(1_000, Observation::FramesCut { count: 7 }).at(1_000, Observation::SegmentLost { udp: true });
    run.at(1_000, Observation::Refused { node: 0, reason: Refusal::BadSignature });
    run.at(1_000, Observation::Degraded { node: 0, degraded: true });
    run.at(1_000, Observation::Degraded { node: 0, degraded: false });
    run.at(1_000, Observation::Fenced { node: 1, job: id(1) });
    run.at(1_000, Observation::Quarantined { node: 1, peer: 2 });
    run.at(1_000, Observation::Voted { node: 0, job: id(1), round: 0, winner: 1 });
    run.submit(1_000, 0, 1).certified(1_100, 1, 1).completed(2_000, 1).completed(2_000, 1);
    run.stop(3_000, 1, Stop::CrashUnsynced);
    run.at(3_000, Observation::StoreCut { node: 1, records: 5, since: Time(2_999_000), torn: true });
    run.start(4_000, 1, true);
    let findings = run.end(10_000);
    assert_eq!(findings.refusals, BTreeMap::from([("bad_signature".to_string(), 1)]));
    let expected = [
        ("blacklisted_byzantine", 0),
        ("certificates", 1),
        ("certificates_provisional", 0),
        ("deaths_detected", 0),
        ("degraded", 1),
        ("duplicate_executions", 0),
        ("evidence_proven", 0),
        ("executions_fenced", 1),
        ("false_deaths", 0),
        ("frames_cut", 7),
        ("jobs_completed", 1),
        ("jobs_failed", 0),
        ("jobs_submitted", 1),
        ("misdeeds", 0),
        ("nodes_byzantine", 0),
        ("quarantined_byzantine", 0),
        ("recovered", 1),
        ("refused", 1),
        ("quarantines", 1),
        ("records_lost", 5),
        ("records_torn", 1),
        ("keys_rotated", 0),
        ("rejoins", 0),
        ("restarts", 1),
        ("rounds_beyond_first", 0),
        ("segments_lost", 1),
        ("takeovers", 0),
        ("transactions", 0),
        ("penalties", 0),
        ("votes", 1),
    ];
    assert_eq!(findings.counters, BTreeMap::from(expected));
}

#[test]
fn every_kpi_is_reported_once_in_the_order_of_the_table() {
    let names: Vec<&str> = Run::met(scenario(2, "60s")).end(60_000).kpis.iter().map(|kpi| kpi.name).collect();
    assert_eq!(names, KPIS.iter().map(|spec| spec.name).collect::<Vec<_>>());
    assert!(names.iter().all(|name| KpiSpec::named(name).is_some_and(|spec| spec.name == *name)));
    assert_eq!(KpiSpec::named("no such thing"), None);
    assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
}

/// Ten nodes that crash, stand still and are cut off, judged by their slowest takeover.
fn with_takeovers() -> Run {
    let mut scenario = by_max(scenario_with_jobs(10, "100s", 1), "takeover", 12.0);
    scenario.faults = crash_scenario(10).faults;
    Run::met(scenario)
}

fn executes(node: NodeNo, job: u8, round: u32) -> Observation<'static> {
    Observation::ExecutionStarted { node, job: id(job), round }
}

fn stops_executing(node: NodeNo, job: u8, by_itself: bool) -> Observation<'static> {
    Observation::ExecutionEnded { node, job: id(job), by_itself }
}

#[test]
fn a_takeover_is_timed_from_the_crash_of_the_executor_to_the_start_of_another_in_a_later_round() {
    let mut run = with_takeovers();
    run.at(1_000, executes(1, 1, 0))
        .at(1_000, executes(1, 2, 0))
        .at(1_000, executes(1, 3, 0))
        .at(1_000, executes(2, 4, 0));
    run.at(5_000, stops_executing(1, 3, true));
    for job in [1, 2] {
        run.at(10_000, stops_executing(1, job, false));
    }
    run.stop(10_000, 1, Stop::CrashKept);
    run.at(18_500, executes(3, 1, 1)).at(19_000, executes(4, 2, 1));
    // Not of the crash: an execution that had ended, and one of another node.
    run.at(20_000, executes(5, 3, 1)).at(20_000, executes(5, 4, 1));
    assert_eq!(run.kpi(30_000, "takeover"), (2, Some(9.0), Pass));
}

#[test]
fn a_job_gives_one_sample_and_an_execution_of_the_same_round_is_no_takeover() {
    let mut run = with_takeovers();
    run.at(1_000, executes(1, 1, 2)).stop(10_000, 1, Stop::CrashLost);
    run.at(11_000, executes(3, 1, 2)).at(12_000, executes(4, 1, 1)).at(16_000, executes(2, 1, 3));
    run.stop(20_000, 2, Stop::CrashKept).at(50_000, executes(5, 1, 4));
    assert_eq!(run.kpi(60_000, "takeover"), (1, Some(6.0), Pass));
    // The backup that crashes before it has begun does not begin the time anew.
    let mut run = with_takeovers();
    run.at(1_000, executes(1, 1, 0)).stop(10_000, 1, Stop::CrashKept).stop(12_000, 2, Stop::CrashKept);
    run.at(21_000, executes(3, 1, 2));
    assert_eq!(run.kpi(60_000, "takeover"), (1, Some(11.0), Pass));
}

#[test]
fn an_executor_that_stands_still_is_taken_over_from_and_one_that_goes_on_soon_is_not() {
    let pause = |node, paused| Observation::NodePaused { node, paused };
    let mut run = with_takeovers();
    run.at(1_000, executes(1, 1, 0)).at(1_000, executes(2, 2, 0)).at(1_000, executes(3, 3, 0));
    run.at(10_000, pause(1, true)).at(10_000, pause(2, true)).at(10_000, pause(3, true));
    // It ends while its node stands still: the others do not know.
    run.at(15_000, stops_executing(1, 1, true)).at(17_000, executes(4, 1, 1)).at(18_000, pause(2, false));
    assert_eq!(run.kpi(18_000, "takeover"), (1, Some(7.0), Pass));
    run.at(25_000, pause(3, false));
    let result = run.result(26_000, "takeover");
    assert_eq!((result.measured, result.verdict), (Some(15.0), Fail), "n3 was away for 15 s");
    assert_eq!(result.note, "1 of 2 never happened before the end");
}

#[test]
fn an_executor_is_cut_off_when_it_reaches_no_quorum_and_others_do() {
    let mut run = with_takeovers();
    run.at(1_000, executes(9, 1, 0)).at(1_000, executes(0, 2, 0)).at(1_000, executes(8, 3, 0));
    let (majority, minority) = ([0, 1, 2, 3, 4, 5, 6], [7, 8, 9]);
    run.reach(10_000, &majority, &minority, false).at(18_000, executes(1, 1, 1)).at(19_000, executes(3, 2, 1));
    assert_eq!(run.kpi(20_000, "takeover"), (1, Some(8.0), Pass), "n0 is on the side that decides");
    run.reach(22_000, &majority, &minority, true);
    assert_eq!(run.kpi(60_000, "takeover"), (1, Some(8.0), Pass), "n8 is back before anybody had to act");
    // Six to four: nobody decides, so nobody can take over.
    let mut run = with_takeovers();
    run.at(1_000, executes(9, 1, 0)).reach(10_000, &[0, 1, 2, 3, 4, 5], &[6, 7, 8, 9], false);
    run.stop(11_000, 9, Stop::CrashKept);
    assert_eq!(run.kpi(60_000, "takeover"), (0, None, Unknown));
}

#[test]
fn a_job_that_nobody_took_over_is_a_miss_unless_its_executor_ran_it_again_or_its_result_was_there() {
    let mut run = with_takeovers();
    for job in [1, 2, 3, 4] {
        run.at(1_000, executes(1, job, 0)).submit(1_000, 0, job);
    }
    run.stop(10_000, 1, Stop::CrashKept).completed(10_010, 1).start(12_000, 1, true).at(12_001, executes(1, 2, 0));
    run.at(24_999, Observation::JobFailed { node: 0, job: id(4), reason: marlos::io::FailReason::NoResult });
    assert_eq!(run.kpi(24_999, "takeover"), (0, None, Unknown), "job 3 may still be");
    assert_eq!(run.kpi(25_000, "takeover"), (1, Some(15.0), Fail));
    assert_eq!(Run::met(by_max(scenario(3, "60s"), "takeover", 1.0)).kpi(1_000, "takeover").2, NotApplicable);
}

fn with_heals() -> Run {
    let mut scenario = by_max(scenario(4, "100s"), "heal", 10.0);
    let kind = FaultKind::Partition { groups: vec![vec![0, 1]] };
    scenario.faults = vec![Fault { at: Time(10_000_000), until: Some(Time(20_000_000)), kind }];
    let mut run = Run::met(scenario);
    for node in 0..4 {
        run.at(100, Observation::Digest { node, digest: 7 });
    }
    run
}

#[test]
fn a_cut_is_healed_when_all_in_reach_hold_each_other_for_alive_and_have_equal_digests() {
    let mut run = with_heals();
    run.at(5_000, Observation::Digest { node: 0, digest: 8 }).at(6_000, Observation::Digest { node: 0, digest: 7 });
    run.reach(10_000, &[0, 1], &[2, 3], false);
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        run.state(18_000, a, b, PeerState::Dead).state(18_000, b, a, PeerState::Dead);
    }
    run.at(19_000, Observation::Digest { node: 3, digest: 9 }).reach(20_000, &[0, 1], &[2, 3], true);
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        run.state(22_000, a, b, PeerState::Alive).state(22_000, b, a, PeerState::Alive);
    }
    assert_eq!(run.kpi(22_500, "heal"), (0, None, Unknown), "n3 knows something that the others do not");
    run.at(23_000, Observation::Digest { node: 0, digest: 9 }).at(23_000, Observation::Digest { node: 1, digest: 9 });
    run.at(24_000, Observation::Digest { node: 2, digest: 9 });
    run.at(30_000, Observation::Digest { node: 2, digest: 1 });
    assert_eq!(run.kpi(90_000, "heal"), (1, Some(4.0), Pass));
}

#[test]
fn who_is_down_or_still_cut_off_is_not_waited_for() {
    let mut run = with_heals();
    run.reach(10_000, &[0, 1], &[2, 3], false).reach(10_000, &[2], &[3], false);
    run.at(11_000, Observation::Digest { node: 3, digest: 1 }).at(11_000, Observation::Digest { node: 1, digest: 2 });
    run.reach(20_000, &[0, 1], &[2], true);
    assert_eq!(run.kpi(21_000, "heal").0, 0, "n1 differs");
    run.stop(22_500, 1, Stop::CrashKept);
    assert_eq!(run.kpi(23_000, "heal"), (1, Some(2.5), Pass));
    // It starts again with a digest that nobody has heard yet, after the heal was over.
    run.start(24_000, 1, true);
    assert_eq!(run.kpi(90_000, "heal").0, 1);
}

#[test]
fn a_heal_that_never_comes_is_a_miss_unless_the_next_cut_comes_too_soon() {
    let differs = Observation::Digest { node: 0, digest: 1 };
    let mut run = with_heals();
    run.at(5_000, differs.clone()).reach(10_000, &[0], &[1], false).reach(20_000, &[0], &[1], true);
    run.reach(39_999, &[0], &[1], false);
    assert_eq!(run.kpi(40_000, "heal"), (0, None, Unknown));
    let mut run = with_heals();
    run.at(5_000, differs).reach(10_000, &[0], &[1], false).reach(20_000, &[0], &[1], true);
    run.reach(40_000, &[0], &[1], false).reach(41_000, &[0], &[1], true);
    run.at(42_000, Observation::Digest { node: 0, digest: 7 });
    let result = run.result(50_000, "heal");
    assert_eq!((result.histogram.len(), result.measured, result.verdict), (2, Some(20.0), Fail));
    assert_eq!(result.note, "1 of 2 never happened before the end");
}
