//! Cuts, crashes, and links that get worse.

use super::*;

#[test]
fn a_short_cut_holds_frames_in_order_until_the_next_retransmission() {
    let mut world = World::meshed(&plain(), 2);
    world.publish(0); // under way when the cut begins
    world.until(1_001 * MS).cut(&[(0, 1), (1, 0)]);
    world.until(1_500 * MS).publish(0);
    world.until(2_000 * MS).publish(0);
    assert!(world.trace().is_empty());
    world.cut(&[]);
    world.publish(0);
    // The first was due at 1.01 s. It is sent again after 200, 400, 800 ms: that is at 2.41 s.
    assert_eq!(
        world.until(9_000 * MS).trace(),
        [
            "2.41s n1 hears #0 of n0 on 0",
            "2.410001s n1 hears #1 of n0 on 0",
            "2.410002s n1 hears #2 of n0 on 0",
            "2.410003s n1 hears #3 of n0 on 0",
        ]
    );
    assert_eq!(world.net.effects.frames_cut, 0);
}

#[test]
fn a_short_cut_of_an_idle_stream_leaves_no_trace() {
    let mut world = World::meshed(&plain(), 2);
    world.cut(&[(0, 1)]);
    world.until(5_999 * MS).cut(&[]);
    world.until(9_000 * MS).publish(0);
    assert_eq!(world.until(20_000 * MS).trace(), ["9.01s n1 hears #0 of n0 on 0"]);
}

#[test]
fn a_long_cut_resets_the_connection_at_its_timeout_and_the_dialler_comes_back() {
    let mut world = World::meshed(&plain(), 2);
    world.cut(&[(0, 1), (1, 0)]);
    world.publish(0);
    world.publish(0);
    world.until(10_000 * MS);
    // Both had dialled: each hears of its own connection, once.
    assert_eq!(world.trace(), ["6s n0 disconnected 1", "6s n1 disconnected 0"]);
    assert_eq!(world.net.effects.frames_cut, 2);
    assert_eq!(world.publish(0), 0, "nobody is subscribed");
    world.until(20_000 * MS).cut(&[]);
    world.until(24_000 * MS);
    assert_eq!(world.publish(0), 1);
    let trace = world.until(30_000 * MS).trace();
    assert_eq!(trace.len(), 3, "two connections and a frame: {trace:?}");
    assert_eq!(trace[2], "24.01s n1 hears #3 of n0 on 0");
    assert_eq!(world.released.len(), 4);
}

#[test]
fn a_one_way_cut_stalls_streams_both_ways_and_datagrams_one_way() {
    let mut world = World::meshed(&plain(), 3);
    world.cut(&[(0, 1)]);
    for from in 0..3 {
        world.publish(from);
    }
    for from in 0..3 {
        world.beacon(from, &[]);
    }
    let trace = world.until(1_500 * MS).trace();
    let heard = |line: &str| trace.iter().any(|other| other.ends_with(line));
    assert!(heard("n1 hears #5 of n2 on beacon") && heard("n0 hears #4 of n1 on beacon"));
    assert!(!heard("n1 hears #3 of n0 on beacon"), "this way is cut");
    assert!(!heard("n1 hears #0 of n0 on 0"), "its data does not pass");
    assert!(!heard("n0 hears #1 of n1 on 1"), "its acknowledgements do not pass");
    assert!(heard("n2 hears #0 of n0 on 0") && heard("n2 hears #1 of n1 on 1") && heard("n1 hears #2 of n2 on 2"));
    assert_eq!(world.net.effects.frames_cut, 1, "the datagram; streams only hold");
}

#[test]
fn a_datagram_that_meets_a_cut_is_lost_though_it_was_sent_before() {
    let mut world = World::new(&plain(), 2);
    world.beacon(0, &[]);
    world.until(5 * MS).cut(&[(0, 1)]);
    world.until(20 * MS).cut(&[]);
    assert!(world.until(100 * MS).trace().is_empty());
    assert_eq!(world.net.effects.frames_cut, 1);
}

#[test]
fn a_stream_holds_no_more_than_its_high_water_mark() {
    let mut world = World::meshed(&NetworkSpec { high_water_mark: 3, ..plain() }, 2);
    world.cut(&[(1, 0)]);
    let copies: u64 = (0..5).map(|_| world.publish(0)).sum();
    assert_eq!((copies, world.net.effects.frames_cut), (3, 2));
    world.until(2_000 * MS).cut(&[]);
    let arrivals = world.until(9_000 * MS).arrivals();
    assert_eq!(arrivals.iter().map(|(frame, _)| *frame).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(world.publish(0), 1, "there is room again");
    assert_eq!(world.released.len(), 5);
}

#[test]
fn a_cut_in_the_middle_of_the_recovery_holds_the_rest_again() {
    let mut world = World::meshed(&plain(), 2);
    world.cut(&[(0, 1)]);
    for _ in 0..3 {
        world.publish(0);
    }
    world.until(1_100 * MS).cut(&[]);
    // The first is sent again at 1.01 s and 200 ms.
    assert_eq!(world.until(1_210 * MS + 1).arrivals().len(), 2);
    world.cut(&[(0, 1)]);
    assert!(world.until(3_000 * MS).arrivals().is_empty());
    world.cut(&[]);
    assert_eq!(world.until(9_000 * MS).arrivals().iter().map(|(frame, _)| *frame).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_process_that_dies_resets_its_connections_after_what_it_sent() {
    let mut world = World::meshed(&plain(), 3);
    world.publish(0);
    world.publish(1);
    world.until(1_005 * MS).down(0, CrashConnection::Reset);
    assert_eq!(
        world.until(1_050 * MS).trace(),
        [
            "1.01s n1 hears #0 of n0 on 0",
            "1.01s n2 hears #0 of n0 on 0",
            "1.01s n2 hears #1 of n1 on 1",
            "1.015s n1 disconnected 0",
            "1.015s n2 disconnected 0",
        ]
    );
    assert_eq!(world.publish(1), 1, "what n0 had dialled is gone");
    world.until(3_000 * MS).trace();
    world.up(0);
    let trace = world.until(7_000 * MS).trace();
    assert!(trace.len() == 2 && trace.iter().all(|line| line.ends_with("connected 0")), "{trace:?}");
    assert_eq!(world.net.effects.frames_cut, 0, "a crash is not a cut");
}

#[test]
fn a_machine_that_vanishes_is_missed_only_when_the_connection_times_out() {
    let mut world = World::meshed(&plain(), 2);
    world.publish(0);
    world.down(0, CrashConnection::Silent);
    assert_eq!(world.until(20_000 * MS).trace(), ["1.01s n1 hears #0 of n0 on 0", "6s n1 disconnected 0"]);
}

#[test]
fn a_machine_that_is_back_early_resets_what_it_does_not_know() {
    let mut world = World::meshed(&plain(), 2);
    world.down(0, CrashConnection::Silent);
    world.until(3_000 * MS).up(0);
    let trace = world.until(4_000 * MS).trace();
    assert_eq!(trace[0], "3.02s n1 disconnected 0");
    assert!(trace.len() == 2 && trace[1].ends_with("n1 connected 0"), "{trace:?}");
}

#[test]
fn a_connection_asked_for_in_an_earlier_life_is_not_reported_to_the_next() {
    let mut world = World::new(&plain(), 2);
    world.dial(1, 5, Dial::Subscribe, 0);
    world.down(1, CrashConnection::Silent);
    world.up(1);
    assert!(world.until(9_000 * MS).trace().is_empty());
}

#[test]
fn a_dialler_goes_on_until_its_target_is_there_and_until_it_hangs_up() {
    let mut world = World::new(&plain(), 2);
    world.down(0, CrashConnection::Silent);
    world.dial(1, 5, Dial::Subscribe, 0);
    world.until(30_000 * MS).up(0);
    let trace = world.until(31_031 * MS).trace();
    assert!(trace.len() == 1 && trace[0].ends_with("n1 connected 5"), "within the longest pause: {trace:?}");
    world.publish(0);
    world.net.hang_up(world.now, 1, Link(5));
    assert_eq!(world.publish(0), 0);
    assert!(world.until(60_000 * MS).trace().is_empty(), "who hangs up hears nothing more");
    assert_eq!(world.released.len(), 2);
}

#[test]
fn attempts_come_after_a_tenth_of_a_second_then_twice_as_late_up_to_one_second() {
    let mut world = World::new(&plain(), 2);
    world.down(0, CrashConnection::Silent);
    world.dial(1, 5, Dial::Subscribe, 0);
    let mut last = 0;
    for longest in [100, 200, 400, 800, 1_000, 1_000, 1_000] {
        let at = world.queue.peek_time().unwrap().0;
        assert!((longest * MS / 2..=longest * MS).contains(&(at - last)), "{} of {longest} ms", at - last);
        last = at;
        world.until(at);
    }
}

#[test]
fn what_a_publisher_sent_before_it_hung_up_arrives() {
    let mut world = World::new(&plain(), 2);
    world.dial(0, 9, Dial::Reach, 1);
    world.until(50 * MS).publish(0);
    world.net.hang_up(world.now, 0, Link(9));
    world.take();
    assert_eq!(world.publish(0), 0);
    world.dial(0, 9, Dial::Reach, 1);
    assert_eq!(
        world.until(999 * MS).trace(),
        ["30ms n0 connected 9", "60ms n1 hears #0 of n0 on inbound", "80ms n0 connected 9"]
    );
}

#[test]
fn a_publisher_that_reached_out_hears_of_the_crash_and_comes_back() {
    let mut world = World::new(&plain(), 2);
    world.dial(0, 9, Dial::Reach, 1);
    world.until(50 * MS).publish(0);
    world.down(1, CrashConnection::Reset);
    assert_eq!(world.publish(0), 0, "its connection is gone, though it does not know yet");
    assert_eq!(world.until(60 * MS).trace(), ["30ms n0 connected 9", "60ms n0 disconnected 9"]);
    world.until(1_000 * MS).up(1);
    let trace = world.until(5_000 * MS).trace();
    assert!(trace.len() == 1 && trace[0].ends_with("n0 connected 9"), "{trace:?}");
    world.publish(0);
    assert_eq!(world.until(6_000 * MS).trace(), ["5.01s n1 hears #2 of n0 on inbound"]);
}

#[test]
fn what_a_dead_publisher_sent_does_not_outlive_a_cut() {
    let mut world = World::meshed(&plain(), 2);
    world.publish(0);
    world.down(0, CrashConnection::Silent);
    world.until(1_005 * MS).cut(&[(0, 1)]);
    world.until(1_006 * MS).cut(&[]);
    assert_eq!(world.until(9_000 * MS).trace(), ["6s n1 disconnected 0"], "nobody is there to send it again");
    assert_eq!(world.net.effects.frames_cut, 1);
}

#[test]
fn a_process_that_dies_behind_a_cut_is_missed_when_the_cut_times_out() {
    let mut world = World::meshed(&plain(), 2);
    world.cut(&[(0, 1), (1, 0)]);
    world.until(2_000 * MS).down(0, CrashConnection::Reset);
    assert_eq!(world.until(20_000 * MS).trace(), ["6s n1 disconnected 0"]);
}

#[test]
fn a_worse_link_is_worse_both_ways_between_the_two_sets_only_and_until_it_is_cleared() {
    let mut world = World::new(&plain(), 4);
    let slow = |ms| Override {
        between: [vec![0], vec![1, 2]],
        latency: Some(LatencyLaw::Constant(Span::millis(ms))),
        loss: None,
        until: Time::NEVER,
        bandwidth_bps: None,
    };
    world.net.set_override(1, slow(50));
    world.net.set_override(2, Override { between: [vec![2], vec![0]], ..slow(70) });
    world.beacon(0, &[]);
    world.beacon(1, &[]);
    assert_eq!(
        world.until(200 * MS).trace(),
        [
            "10ms n2 hears #1 of n1 on beacon",
            "10ms n3 hears #0 of n0 on beacon",
            "10ms n3 hears #1 of n1 on beacon",
            "50ms n0 hears #1 of n1 on beacon",
            "50ms n1 hears #0 of n0 on beacon",
            "70ms n2 hears #0 of n0 on beacon",
        ]
    );
    world.net.clear_override(2);
    world.beacon(0, &[]);
    world.until(300 * MS);
    let at: Vec<u64> = world.arrivals().iter().map(|(_, at)| at / MS - 200).collect();
    assert_eq!(at, [10, 50, 50]);
}

#[test]
fn a_lossy_or_narrow_link_changes_streams_that_are_up() {
    let mut world = World::meshed(&plain(), 3);
    let links = Override {
        between: [vec![0], vec![1]],
        latency: None,
        loss: Some(Ppm(500_000)),
        until: Time::NEVER,
        bandwidth_bps: Some(8_000),
    };
    world.net.set_override(0, links);
    for at in 0..400 {
        world.until((1_000 + at * 60_000) * MS).send(0, None, 1_000);
    }
    world.until(60_000_000 * MS);
    let lost = world.net.effects.tcp_lost;
    assert!(lost.abs_diff(400) < 100, "one for each, in the mean: {lost}");
    let delays = |node: NodeNo| -> Vec<u64> {
        let of = |(us, heard): &(u64, Heard)| match heard {
            Heard::Frame(d) if d.to == node => Some(us / MS - 1_000 - 60_000 * u64::from(d.frame)),
            _ => None,
        };
        world.heard.iter().filter_map(of).collect()
    };
    assert!(delays(2).iter().all(|delay| *delay == 10));
    assert_eq!(delays(1).len(), 400);
    assert!(delays(1).iter().all(|delay| *delay >= 1_010), "1,000 bytes at 8 kbit/s take a second");
    assert!(delays(1).iter().filter(|delay| **delay == 1_010).count().abs_diff(200) < 50);
}

#[test]
fn what_a_lossy_link_has_lost_passes_with_the_first_retransmission_after_it_is_mended() {
    let mut world = World::meshed(&plain(), 2);
    let until = Time(10_000 * MS);
    let between = [vec![0], vec![1]];
    let links = Override { between, latency: None, loss: Some(Ppm(900_000)), until, bandwidth_bps: None };
    world.net.set_override(0, links);
    for at in 0..100 {
        world.until((1_000 + at * 90) * MS).send(0, None, 100);
    }
    world.until(until.0).net.clear_override(0);
    let heard = |world: &World| world.heard.iter().filter(|(_, heard)| matches!(heard, Heard::Frame(_))).count();
    assert!(heard(&world) < 100, "some are lost again and again");
    world.until((10_000 + 3_000 + 10) * MS);
    assert_eq!(heard(&world), 100, "a sender waits for three seconds at most");
}

#[test]
fn what_a_narrow_link_has_queued_passes_when_it_is_mended() {
    let mut world = World::meshed(&plain(), 2);
    let narrow = |until_ms: u64| Override {
        between: [vec![0], vec![1]],
        latency: None,
        loss: None,
        until: Time(until_ms * MS),
        bandwidth_bps: Some(8_000),
    };
    // A frame takes a second; of ten, three pass before the link is mended.
    world.net.set_override(0, narrow(4_500));
    (0..10).for_each(|_| {
        world.send(0, None, 1_000);
    });
    world.until(4_500 * MS).net.clear_override(0);
    // Nothing of it is left where the link becomes narrow again.
    world.until(5_000 * MS).net.set_override(1, narrow(60_000));
    world.send(0, None, 1_000);
    let at: Vec<u64> = world.until(60_000 * MS).arrivals().iter().map(|(_, at)| at / MS).collect();
    assert_eq!(at, [2_010, 3_010, 4_010, 4_510, 4_510, 4_510, 4_510, 4_510, 4_510, 4_510, 6_010]);
}
