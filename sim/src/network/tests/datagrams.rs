//! What happens to datagrams besides delay and loss, and what a late subscription misses.

use super::*;
use crate::scenario::Reorder;

/// One beacon of n0 every `every_us`; what was heard of each, and whether it had changed.
fn heard(spec: &NetworkSpec, every_us: u64, count: u64) -> (World, Vec<(FrameNo, u64, bool)>) {
    let mut world = World::new(spec, 2);
    for number in 0..count {
        world.until(number * every_us).beacon(0, &[]);
    }
    world.until(count * every_us + 10_000 * MS);
    let arrivals = std::mem::take(&mut world.heard).into_iter().map(|(at, heard)| {
        let Heard::Frame(delivery) = heard else { panic!("{heard:?}") };
        (delivery.frame, at, delivery.changed.is_some())
    });
    let arrivals = arrivals.collect();
    (world, arrivals)
}

#[test]
fn datagrams_come_twice_at_the_asked_rate_and_the_second_takes_its_own_time() {
    let law = LatencyLaw::Uniform { min: Span::millis(1), max: Span::millis(50) };
    let spec = NetworkSpec { latency: law, duplicate: Ppm(100_000), ..plain() };
    let (world, arrivals) = heard(&spec, 100 * MS, 5_000);
    let twice = arrivals.len() as u64 - 5_000;
    // One standard deviation is 21.
    assert!(twice.abs_diff(500) < 85, "{twice}");
    assert_eq!(world.net.effects.mishaps, [twice, 0, 0]);
    let pairs = arrivals.windows(2).filter(|pair| pair[0].0 == pair[1].0);
    assert!(pairs.filter(|pair| pair[0].1 != pair[1].1).count() as u64 > twice * 9 / 10);
    assert_eq!(world.released.len(), 5_000, "a frame is released once, however often it came");
}

#[test]
fn datagrams_are_held_up_at_the_asked_rate_and_overtaken() {
    let by = LatencyLaw::Constant(Span::millis(250));
    let spec = NetworkSpec { reorder: Some(Reorder { share: Ppm(50_000), by }), ..plain() };
    let (world, arrivals) = heard(&spec, 100 * MS, 5_000);
    let late = arrivals.iter().filter(|(frame, at, _)| *at == u64::from(*frame) * 100 * MS + 260 * MS).count();
    assert_eq!((arrivals.len(), world.net.effects.mishaps), (5_000, [0, late as u64, 0]));
    assert!(late.abs_diff(250) < 62, "{late}");
    // Each is overtaken by the two that follow, but for those that are held up themselves.
    let backwards = arrivals.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
    assert!(backwards > late * 8 / 10, "{backwards} of {late}");
    assert!(heard(&plain(), 100 * MS, 100).1.is_sorted(), "without it none is");
}

#[test]
fn a_corrupted_datagram_is_dropped_unless_its_checksum_is_right_all_the_same() {
    let spec = NetworkSpec { corrupt: Ppm(100_000), undetected: Ppm(250_000), ..plain() };
    let (world, arrivals) = heard(&spec, 10 * MS, 10_000);
    let (corrupted, changed) =
        (world.net.effects.mishaps[2], arrivals.iter().filter(|(_, _, changed)| *changed).count() as u64);
    assert!(corrupted.abs_diff(1_000) < 120, "{corrupted}");
    assert!(changed.abs_diff(250) < 60, "{changed}");
    assert_eq!(arrivals.len() as u64, 10_000 - corrupted + changed);
    assert_eq!(world.net.effects.udp_lost, 0, "it is not lost: it is dropped where it arrives");
    let usual = NetworkSpec { undetected: NetworkSpec::of_profile("lan").unwrap().undetected, ..spec };
    assert!(heard(&usual, 10 * MS, 2_000).1.iter().all(|(_, _, changed)| !changed), "one in 65,536 of them");
}

#[test]
fn a_corrupted_segment_is_sent_again() {
    let mut world = World::meshed(&NetworkSpec { corrupt: Ppm(40_000), loss: Ppm(10_000), ..plain() }, 2);
    let before = world.net.effects.tcp_lost;
    for at in 0..10_000 {
        world.until((1_000 + at * 5_000) * MS).publish(0);
    }
    let arrivals = world.until(60_000_000 * MS).arrivals();
    assert_eq!(arrivals.len(), 10_000);
    // Either: 1 - 0.96 * 0.99 = 4.96 %, and as much of those again.
    let lost = world.net.effects.tcp_lost - before;
    assert!(lost.abs_diff(522) < 92, "{lost}");
}

#[test]
fn what_happens_to_a_datagram_moves_no_other_draw() {
    let law = LatencyLaw::Uniform { min: Span::millis(1), max: Span::millis(50) };
    let spec = NetworkSpec { latency: law, loss: Ppm(100_000), ..plain() };
    let worse = NetworkSpec { duplicate: Ppm(300_000), ..spec.clone() };
    let (mut plain, mut twice) = (heard(&spec, 100 * MS, 500).1, heard(&worse, 100 * MS, 500).1);
    plain.sort_unstable();
    twice.sort_unstable();
    assert!(twice.len() > plain.len() && plain.iter().all(|arrival| twice.contains(arrival)));
}

#[test]
fn a_slow_joiner_misses_what_is_published_before_its_subscription_arrives() {
    let slow = LatencyLaw::Constant(Span::millis(25));
    let mut world = World::new(&NetworkSpec { slow_joiner: Some(slow), ..plain() }, 2);
    world.dial(1, 5, Dial::Subscribe, 0);
    // Up after three ways of 10 ms, subscribed 25 ms later.
    for at in [31, 54, 56] {
        world.until(at * MS).publish(0);
    }
    assert_eq!(world.until(99 * MS).trace(), ["30ms n1 connected 5", "66ms n1 hears #2 of n0 on 5"]);
    assert_eq!(world.released, [0, 1, 2]);
}

#[test]
fn a_slow_joiner_joins_slowly_again_after_a_reset() {
    let slow = LatencyLaw::Constant(Span::millis(400));
    let mut world = World::new(&NetworkSpec { slow_joiner: Some(slow), ..plain() }, 2);
    world.dial(1, 5, Dial::Subscribe, 0);
    world.until(100 * MS).down(0, CrashConnection::Reset);
    world.until(200 * MS).up(0);
    let mut published = Vec::new();
    for at in 0..20 {
        world.until((200 + 50 * at) * MS);
        published.push(world.publish(0));
    }
    let (first, connected) = (published.iter().position(|copies| *copies > 0), world.until(2_000 * MS).trace());
    let again = connected.iter().filter(|line| line.contains("n1 connected 5")).nth(1);
    assert!(again.is_some_and(|line| line.starts_with("398.")), "{connected:?}");
    assert!(first.is_some_and(|first| first == 12), "{published:?}: not from its first life's subscription");
}

#[test]
fn a_cut_holds_up_a_subscription() {
    let slow = LatencyLaw::Constant(Span::millis(100));
    let mut world = World::new(&NetworkSpec { slow_joiner: Some(slow), ..plain() }, 2);
    world.dial(1, 5, Dial::Subscribe, 0);
    world.until(50 * MS).cut(&[(1, 0)]);
    world.until(1_000 * MS).cut(&[]);
    assert_eq!(world.publish(0), 0);
    assert_eq!(world.until(1_500 * MS).publish(0), 1);
}
