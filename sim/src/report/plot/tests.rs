use super::*;
use crate::report::fixture;
use crate::scenario::{Fault, FaultKind};
use marlos::time::Time;

fn names(outcome: &Outcome) -> Vec<String> {
    charts(outcome).iter().map(Chart::name).collect()
}

fn drawn(outcome: &Outcome, name: &str) -> String {
    register_fonts();
    let chart = charts(outcome).into_iter().find(|c| c.name() == name).unwrap();
    svg(&chart, outcome).unwrap()
}

#[test]
fn a_plot_without_anything_to_show_is_left_out() {
    let mut outcome = fixture::outcome(3, 10);
    assert!(!names(&outcome).contains(&"kpi_throughput".to_owned()), "it has no samples");
    assert!(names(&outcome).contains(&"kpi_takeover".to_owned()), "it has one sample");
    outcome.timeline.clear();
    outcome.kpis.clear();
    outcome.bytes_per_message_type.clear();
    assert_eq!(names(&outcome), Vec::<String>::new());
}

#[test]
fn every_size_of_run_can_be_drawn() {
    for (nodes, seconds) in [(1, 1), (3, 30), (100, 600), (250, 1_300)] {
        let outcome = fixture::outcome(nodes, seconds);
        register_fonts();
        for chart in charts(&outcome) {
            let text = svg(&chart, &outcome).unwrap();
            assert!(
                text.len() < 1_000_000,
                "{} of {nodes} nodes and {seconds} s has {} bytes",
                chart.name(),
                text.len()
            );
        }
    }
}

#[test]
fn a_histogram_shows_its_target_and_what_was_measured() {
    let text = drawn(&fixture::outcome(10, 60), "kpi_message_latency");
    assert!(text.contains("target p99 &lt; 50 ms") && text.contains("measured p99 28.7 ms"), "{text}");
}

#[test]
fn faults_are_named_above_a_chart_over_time() {
    for chart in ["latency", "members", "jobs"] {
        let text = drawn(&fixture::outcome(10, 60), chart);
        assert!(text.contains("partition 5 | 5") && text.contains("crash n9"), "{chart}");
    }
}

#[test]
fn more_faults_than_there_is_room_for_are_counted() {
    let mut outcome = fixture::outcome(10, 60);
    let pause = |i: u64| Fault { at: Time(i * 1_000_000), until: None, kind: FaultKind::Pause { nodes: vec![1] } };
    outcome.scenario.faults = (0..40).map(pause).collect();
    assert!(drawn(&outcome, "jobs").contains("35 more faults without a label"));
}

/// It leaves them in `target/pictures`, for eyes.
#[test]
fn the_pictures_of_a_short_run_and_of_a_crowded_one_are_written() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pictures");
    let chaos = |i: u64| Fault {
        at: Time(i * 97_000_000),
        until: Some(Time((i * 97 + i * 41 % 190) * 1_000_000)),
        kind: FaultKind::Leave { nodes: (0..=usize::try_from(i % 4).unwrap()).collect() },
    };
    for (nodes, seconds, faults) in [(3, 30, 0), (250, 3_600, 36)] {
        let dir = root.join(format!("{nodes}-nodes-{seconds}-s"));
        std::fs::create_dir_all(&dir).unwrap();
        let mut outcome = fixture::outcome(nodes, seconds);
        outcome.scenario.faults = (1..=faults).map(chaos).collect();
        write_all(&outcome, &dir).unwrap();
        assert!(std::fs::read_dir(&dir).unwrap().all(|file| file.unwrap().metadata().unwrap().len() > 0));
    }
}
