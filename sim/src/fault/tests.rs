use super::*;
use crate::scenario::{CrashConnection, Overrides, Storage};
use marlos::time::Span;

fn seconds(n: u64) -> Time {
    Time(0) + Span::secs(n)
}

fn fault(at: u64, until: Option<u64>, kind: FaultKind) -> Fault {
    Fault { at: seconds(at), until: until.map(seconds), kind }
}

fn scenario(nodes: usize, faults: Vec<Fault>) -> Scenario {
    let text = format!("name = \"x\"\nduration = \"1000s\"\n[nodes]\ncount = {nodes}\n");
    let scenario = Scenario::parse(&text, "x", Overrides::default(), &|_| Err(String::new())).unwrap();
    Scenario { faults, ..scenario }
}

fn crash(node: NodeNo) -> FaultKind {
    FaultKind::Crash { nodes: vec![node], storage: Storage::Kept, connection: CrashConnection::Silent }
}

/// One row per sender: `1` where frames pass to that column's node.
fn rows(state: &FaultState) -> Vec<String> {
    state.matrix().iter().map(|row| row.iter().map(|reached| if *reached { '1' } else { '.' }).collect()).collect()
}

#[test]
fn of_one_instant_ends_come_before_begins_and_then_the_number_decides() {
    let faults = vec![fault(10, Some(20), crash(0)), fault(10, None, crash(1)), fault(20, Some(30), crash(0))];
    let timeline = Timeline::new(&scenario(3, faults));
    let steps: Vec<_> = timeline.steps().iter().map(|s| (s.at.0 / 1_000_000, s.fault, s.begins)).collect();
    assert_eq!(steps, [(10, 0, true), (10, 1, true), (20, 0, false), (20, 2, true), (30, 2, false)]);
    assert_eq!(timeline.instants().map(|(_, steps)| steps.len()).collect::<Vec<_>>(), [2, 2, 1]);
}

#[test]
fn the_last_fault_ends_when_it_is_over_or_when_one_that_stays_has_begun() {
    assert_eq!(last_fault_end(&scenario(3, vec![])), None);
    let faults = vec![fault(10, Some(40), crash(0)), fault(30, None, crash(1))];
    assert_eq!(last_fault_end(&scenario(3, faults)), Some(seconds(40)));
    let faults = vec![fault(10, Some(20), crash(0)), fault(30, None, crash(1))];
    assert_eq!(last_fault_end(&scenario(3, faults)), Some(seconds(30)));
}

#[test]
fn a_partition_cuts_groups_from_each_other_and_from_the_rest_who_stay_together() {
    let kind = FaultKind::Partition { groups: vec![vec![0, 1], vec![2]] };
    let scenario = scenario(5, vec![fault(10, Some(20), kind)]);
    let timeline = Timeline::new(&scenario);
    let mut state = FaultState::new(&scenario);
    assert!(state.apply(&timeline.steps()[..1]));
    assert_eq!(rows(&state), ["11...", "11...", "..1..", "...11", "...11"]);
    assert!(state.apply(&timeline.steps()[1..]));
    assert_eq!(rows(&state), ["11111"; 5]);
}

#[test]
fn cuts_overlap_and_each_ends_by_itself() {
    let one_way = FaultKind::OneWay { from: vec![0], to: vec![0, 1, 2] };
    let scenario = scenario(
        3,
        vec![
            fault(10, Some(30), FaultKind::Partition { groups: vec![vec![0]] }),
            fault(20, Some(40), one_way),
            fault(25, Some(26), crash(2)),
        ],
    );
    let mut state = FaultState::new(&scenario);
    let seen: Vec<_> = Timeline::new(&scenario)
        .instants()
        .map(|(at, steps)| (at.0 / 1_000_000, state.apply(steps), rows(&state).join(" ")))
        .collect();
    let expected = [
        (10, true, "1.. .11 .11"),
        (20, true, "1.. .11 .11"),
        (25, false, "1.. .11 .11"),
        (26, false, "1.. .11 .11"),
        (30, true, "1.. 111 111"),
        (40, true, "111 111 111"),
    ];
    assert_eq!(seen, expected.map(|(at, changed, rows)| (at, changed, rows.to_owned())));
}

#[test]
fn the_link_fault_that_began_last_decides_value_by_value_in_both_directions() {
    let link = |between, loss: Option<u32>, bandwidth_bps| FaultKind::Link {
        between,
        latency: None,
        loss: loss.map(Ppm),
        bandwidth_bps,
    };
    let scenario = scenario(
        4,
        vec![
            fault(10, Some(40), link([vec![0], vec![1, 2]], Some(5), Some(1_000))),
            fault(20, Some(30), link([vec![2], vec![0]], Some(9), None)),
        ],
    );
    let timeline = Timeline::new(&scenario);
    let mut state = FaultState::new(&scenario);
    state.apply(&timeline.steps()[..1]);
    state.apply(&timeline.steps()[1..2]);
    let values = |link: LinkOverride| (link.loss.map(|loss| loss.0), link.bandwidth_bps);
    for (from, to, expected) in [
        (0, 1, (Some(5), Some(1_000))),
        (1, 0, (Some(5), Some(1_000))),
        (0, 2, (Some(9), Some(1_000))),
        (2, 0, (Some(9), Some(1_000))),
        (1, 2, (None, None)),
        (0, 3, (None, None)),
    ] {
        assert_eq!(values(state.link(from, to)), expected, "{from} to {to}");
    }
    state.apply(&timeline.steps()[2..3]);
    assert_eq!(values(state.link(0, 2)), (Some(5), Some(1_000)));
    assert!(state.reaches(0, 2), "a worse link is still a link");
}

#[test]
fn the_timeline_is_printed_with_ranges_and_sides() {
    let kind = FaultKind::Partition { groups: vec![vec![0, 1, 2, 4]] };
    let scenario = scenario(6, vec![fault(10, Some(20), kind)]);
    assert_eq!(
        Timeline::new(&scenario).describe(&scenario),
        [
            "10.000000s begins: partition [n0..n2, n4] from the rest",
            "10.000000s sides of 4, 2; a quorum of all 6 is 4: the largest has it",
            "20.000000s ends: partition [n0..n2, n4] from the rest",
            "20.000000s everyone reaches everyone",
        ]
    );
}

#[test]
fn the_sides_of_a_cut_are_who_still_hears_whom() {
    let mut reaches = vec![vec![true; 5]; 5];
    assert_eq!(sides(&reaches), [vec![0, 1, 2, 3, 4]]);
    assert_eq!(describe_sides(&sides(&reaches)), "everyone reaches everyone");
    for (one, other) in [(0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4)] {
        reaches[one][other] = false;
        reaches[other][one] = false;
    }
    assert_eq!(sides(&reaches), [vec![0, 1, 2], vec![3, 4]]);
    assert_eq!(describe_sides(&sides(&reaches)), "sides of 3, 2; a quorum of all 5 is 4: no side has it");
    // Node 0 is heard by nobody, though it hears all: alone.
    (0..5).for_each(|to| reaches[0][to] = to == 0);
    assert_eq!(sides(&reaches), [vec![1, 2], vec![3, 4], vec![0]]);
}
