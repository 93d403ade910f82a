//! Tests that read like packet traces: what is done when, and what is heard when.

use marlos::units::Ppm;

use super::*;
use crate::draw::below;
use crate::queue::EventQueue;
use crate::scenario::{CrashConnection, LatencyLaw, RegionMatrix, Topology};

mod burst;
mod closed_forms;
mod datagrams;
mod faults;
mod pairs;
mod queue;
mod storm;

const MS: u64 = 1_000;

/// 10 ms, no loss, unlimited: what happens is plain to compute.
fn plain() -> NetworkSpec {
    NetworkSpec {
        profile: "test".into(),
        latency: LatencyLaw::Constant(Span::millis(10)),
        loss: Ppm(0),
        bandwidth_bps: None,
        queue_bytes: 1 << 20,
        multicast: true,
        high_water_mark: 1_000,
        connection_timeout: Span::secs(5),
        ..NetworkSpec::of_profile("ideal").expect("a profile")
    }
}

/// A network, its queue, and all that was heard.
struct World {
    net: Network,
    queue: EventQueue<NetEvent>,
    now: Time,
    frames: FrameNo,
    released: Vec<FrameNo>,
    heard: Vec<(u64, Heard)>,
}

impl World {
    /// All nodes are up.
    fn new(spec: &NetworkSpec, n: usize) -> World {
        World::with(Network::new(spec, &vec![None; n], 42))
    }

    fn with(net: Network) -> World {
        let (queue, now) = (EventQueue::new(), Time(0));
        let mut world = World { net, queue, now, frames: 0, released: Vec::new(), heard: Vec::new() };
        (0..world.net.n).for_each(|node| world.net.node_up(Time(0), node));
        world.take();
        world
    }

    /// Everyone subscribes to everyone, on the link with the publisher's number; then it is one second later.
    fn meshed(spec: &NetworkSpec, n: usize) -> World {
        let mut world = World::new(spec, n);
        for node in 0..n {
            (0..n).for_each(|to| world.dial(node, to as u32, Dial::Subscribe, to));
        }
        world.until(1_000 * MS);
        assert_eq!(world.heard.len(), n * (n - 1));
        world.heard.clear();
        world
    }

    fn take(&mut self) {
        for Scheduled { at, tie, event } in self.net.effects.scheduled.drain(..) {
            assert!(at >= self.now, "nothing is scheduled in the past");
            self.queue.push(at, tie, event);
        }
        self.released.append(&mut self.net.effects.released);
    }

    /// Lets time pass.
    fn until(&mut self, us: u64) -> &mut World {
        while let Some((at, event)) = self.queue.peek().filter(|(at, _)| at.0 <= us) {
            self.now = at;
            let step = self.net.step(at, *event);
            match step.again {
                Some((at, tie)) => self.queue.advance_top(at, tie),
                None => drop(self.queue.pop()),
            }
            self.take();
            self.heard.extend(step.heard.map(|heard| (at.0, heard)));
        }
        self.now = Time(us);
        self
    }

    fn dial(&mut self, node: NodeNo, link: u32, dial: Dial, target: NodeNo) {
        self.net.dial(self.now, node, Link(link), dial, target);
        self.take();
    }

    fn send(&mut self, from: NodeNo, to: Option<NodeNo>, bytes: u64) -> u64 {
        let parcel = Parcel { from, to, kind: MsgType::Ping, frame: self.frames, bytes };
        self.frames += 1;
        let copies = self.net.publish(self.now, parcel);
        self.take();
        copies
    }

    /// A frame of 100 bytes to everyone.
    fn publish(&mut self, from: NodeNo) -> u64 {
        self.send(from, None, 100)
    }

    fn beacon(&mut self, from: NodeNo, hosts: &[NodeNo]) -> u64 {
        self.frames += 1;
        let sent = self.net.beacon(self.now, from, self.frames - 1, 300, hosts);
        self.take();
        sent
    }

    /// What `from` sends to `to` is cut, or passes again.
    fn cut(&mut self, ways: &[(NodeNo, NodeNo)]) {
        let n = self.net.n;
        let reaches: Vec<Vec<bool>> =
            (0..n).map(|from| (0..n).map(|to| !ways.contains(&(from, to))).collect()).collect();
        self.net.set_reaches(self.now, &reaches);
        self.take();
    }

    fn down(&mut self, node: NodeNo, how: CrashConnection) {
        self.net.node_down(self.now, node, how);
        self.take();
    }

    fn up(&mut self, node: NodeNo) {
        self.net.node_up(self.now, node);
        self.take();
    }

    /// What was heard since the last look: `40ms n1 hears #0 of n0 on 5`.
    fn trace(&mut self) -> Vec<String> {
        let line = |(us, heard)| {
            let at = Span(us);
            match heard {
                Heard::Frame(Delivery { from, to, link, frame, .. }) => {
                    format!("{at} n{to} hears #{frame} of n{from} on {}", name(link))
                }
                Heard::Connected { node, link } => format!("{at} n{node} connected {}", name(link)),
                Heard::Disconnected { node, link } => format!("{at} n{node} disconnected {}", name(link)),
            }
        };
        std::mem::take(&mut self.heard).into_iter().map(line).collect()
    }

    /// When each frame was heard, by anyone.
    fn arrivals(&mut self) -> Vec<(FrameNo, u64)> {
        let frame = |(us, heard)| match heard {
            Heard::Frame(delivery) => Some((delivery.frame, us)),
            Heard::Connected { .. } | Heard::Disconnected { .. } => None,
        };
        std::mem::take(&mut self.heard).into_iter().filter_map(frame).collect()
    }
}

fn name(link: Link) -> String {
    match link {
        Link::INBOUND => "inbound".into(),
        Link::BEACON => "beacon".into(),
        Link(number) => number.to_string(),
    }
}

#[test]
fn a_subscription_is_up_after_three_ways_and_what_was_published_before_is_lost() {
    let mut world = World::new(&plain(), 2);
    world.dial(1, 5, Dial::Subscribe, 0);
    world.until(30 * MS - 1);
    assert_eq!(world.publish(0), 0);
    assert_eq!(world.released, [0], "a frame that nobody gets is released at once");
    world.until(30 * MS);
    assert_eq!(world.publish(0), 1);
    assert_eq!(world.until(99 * MS).trace(), ["30ms n1 connected 5", "40ms n1 hears #1 of n0 on 5"]);
    assert_eq!(world.released, [0, 1]);
}

#[test]
fn a_publisher_that_reaches_out_is_heard_inbound() {
    let mut world = World::new(&plain(), 2);
    world.dial(0, 9, Dial::Reach, 1);
    world.until(50 * MS).publish(0);
    assert_eq!(world.until(99 * MS).trace(), ["30ms n0 connected 9", "60ms n1 hears #0 of n0 on inbound"]);
}

#[test]
fn a_broadcast_goes_to_all_subscribers_and_a_directed_frame_to_one() {
    let mut world = World::meshed(&plain(), 4);
    assert_eq!(world.publish(2), 3);
    assert_eq!(world.send(2, Some(1), 100), 1);
    let heard = [
        "1010ms n0 hears #0 of n2 on 2",
        "1010ms n1 hears #0 of n2 on 2",
        "1010ms n3 hears #0 of n2 on 2",
        "1010.001ms n1 hears #1 of n2 on 2",
    ];
    assert_eq!(
        world.until(2_000 * MS).trace(),
        heard.map(|line| line.replace("1010ms", "1.01s").replace("1010.001ms", "1.010001s"))
    );
}

#[test]
fn at_the_same_time_receivers_and_senders_come_by_their_number() {
    let mut world = World::meshed(&plain(), 3);
    for from in [2, 0, 1] {
        world.publish(from);
    }
    let order: Vec<String> = world.until(2_000 * MS).trace().iter().map(|line| line[6..].to_string()).collect();
    assert_eq!(
        order,
        [
            "n0 hears #2 of n1 on 1",
            "n0 hears #0 of n2 on 2",
            "n1 hears #1 of n0 on 0",
            "n1 hears #0 of n2 on 2",
            "n2 hears #1 of n0 on 0",
            "n2 hears #2 of n1 on 1",
        ]
    );
}

#[test]
fn a_stream_keeps_its_order_and_frames_do_not_add_up_their_delays() {
    let law = LatencyLaw::Lognormal { median: Span::millis(10), p99: Span::millis(100) };
    let mut world = World::meshed(&NetworkSpec { latency: law, ..plain() }, 2);
    for at in 0..2_000 {
        world.until(1_000 * MS + 100 * at).publish(0);
    }
    let arrivals = world.until(60_000 * MS).arrivals();
    assert_eq!(arrivals.len(), 2_000);
    assert!(arrivals.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "in order, and one after the other");
    let longest = arrivals.iter().map(|(frame, at)| at - 1_000 * MS - 100 * u64::from(*frame)).max().unwrap();
    assert!(longest < 1_000 * MS, "{longest}: the slowest holds up the others, but they do not add up");
}

#[test]
fn datagrams_overtake_each_other_and_reach_multicast_or_the_named_hosts() {
    let law = LatencyLaw::Uniform { min: Span::millis(1), max: Span::millis(50) };
    let mut world = World::new(&NetworkSpec { latency: law, ..plain() }, 3);
    for at in 0..100 {
        world.until(at * MS);
        assert_eq!(world.beacon(0, &[1]), 2, "one to everyone and one to the host");
    }
    let arrivals = world.until(1_000 * MS).arrivals();
    assert_eq!(arrivals.len(), 200);
    assert!(!arrivals.is_sorted());
    let mut world = World::new(&NetworkSpec { multicast: false, ..plain() }, 3);
    assert_eq!(world.beacon(0, &[2, 0]), 1);
    assert_eq!(world.beacon(0, &[]), 0);
    assert_eq!(world.until(100 * MS).trace(), ["10ms n2 hears #0 of n0 on beacon"]);
    assert_eq!(world.released, [1, 0]);
}

#[test]
fn a_kinds_delays_do_not_depend_on_other_kinds_or_other_receivers() {
    let law = LatencyLaw::Uniform { min: Span::millis(1), max: Span::millis(50) };
    let arrivals = |busy: bool| {
        let mut world = World::meshed(&NetworkSpec { latency: law.clone(), ..plain() }, 3);
        let mut heard = Vec::new();
        for at in 0..50 {
            world.until((1_000 + 100 * at) * MS);
            if busy {
                let parcel = Parcel { from: 0, to: None, kind: MsgType::JobBid, frame: 1_000, bytes: 100 };
                world.net.publish(world.now, parcel);
                world.take();
                world.until((1_050 + 100 * at) * MS);
                world.send(0, Some(2), 100);
                world.frames -= 1;
            }
            world.until((1_060 + 100 * at) * MS).publish(0);
            world.until((1_099 + 100 * at) * MS);
            world.heard.retain(|(_, heard)| matches!(heard, Heard::Frame(delivery) if delivery.to == 1));
            heard.extend(world.arrivals().into_iter().filter(|(frame, _)| *frame < 1_000));
        }
        heard
    };
    assert_eq!(arrivals(false), arrivals(true));
}

#[test]
fn segments_are_lost_at_the_asked_rate_and_arrive_later() {
    let mut world = World::meshed(&NetworkSpec { loss: Ppm(50_000), ..plain() }, 2);
    let start = world.now.0;
    let (before, count) = (world.net.effects.tcp_lost, 20_000);
    for at in 0..count {
        world.until(start + at * 10_000 * MS).publish(0);
    }
    let arrivals = world.until(start + (count + 1) * 10_000 * MS).arrivals();
    assert_eq!(arrivals.len() as u64, count, "none vanishes");
    let delays: Vec<u64> = arrivals.iter().map(|(frame, at)| at - start - u64::from(*frame) * 10_000 * MS).collect();
    let times = |delay_ms: u64| delays.iter().filter(|delay| **delay == delay_ms * MS).count();
    // 5 % of 20,000, one standard deviation is 31; then 5 % of those; each retransmission waits twice as long.
    assert!(times(210).abs_diff(950) < 120, "{}", times(210));
    assert!(times(610).abs_diff(47) < 28, "{}", times(610));
    let lost = (world.net.effects.tcp_lost - before) as usize;
    assert!(lost >= count as usize - times(10) && lost.abs_diff(1_052) < 130, "{lost}");
}

#[test]
fn a_lost_segment_holds_up_what_follows_on_its_stream_only() {
    let mut world = World::meshed(&NetworkSpec { loss: Ppm(300_000), ..plain() }, 3);
    world.until(60_000 * MS).trace();
    for at in 0..10 {
        world.until(60_000 * MS + at * MS).publish(0);
    }
    world.until(120_000 * MS);
    let late = |world: &World, node: NodeNo| -> Vec<u64> {
        let at = |(us, heard): &(u64, Heard)| match heard {
            Heard::Frame(delivery) if delivery.to == node => Some(us - 60_000 * MS),
            _ => None,
        };
        world.heard.iter().filter_map(at).collect()
    };
    let (first, second) = (late(&world, 1), late(&world, 2));
    assert!(first.len() == 10 && second.len() == 10 && first != second);
    assert!([first, second].iter().all(|times| times.is_sorted_by(|a, b| a < b) && times[9] > 200 * MS));
}

#[test]
fn every_segment_of_a_long_frame_can_be_lost() {
    let mut world = World::meshed(&NetworkSpec { loss: Ppm(10_000), ..plain() }, 2);
    let before = world.net.effects.tcp_lost;
    for at in 0..500 {
        world.until((1_000 + at * 20_000) * MS).send(0, None, 100 * 1_460);
    }
    let lost = world.net.effects.tcp_lost - before;
    assert!(lost.abs_diff(505) < 90, "{lost} of 50,000 segments, at 1 %");
}

#[test]
fn datagrams_are_lost_at_the_asked_rate_for_each_receiver() {
    let mut world = World::new(&NetworkSpec { loss: Ppm(100_000), ..plain() }, 5);
    for at in 0..5_000 {
        world.until(at * MS).beacon(0, &[]);
    }
    let mut heard = [0u64; 5];
    for (_, event) in std::mem::take(&mut world.until(6_000 * MS).heard) {
        let Heard::Frame(delivery) = event else { panic!("{event:?}") };
        heard[delivery.to] += 1;
    }
    assert_eq!(heard[0], 0);
    assert!(heard[1..].iter().all(|count| count.abs_diff(4_500) < 85), "{heard:?}");
    assert_eq!(world.net.effects.udp_lost, 20_000 - heard.iter().sum::<u64>());
}

#[test]
fn copies_leave_one_after_the_other_and_everyone_is_first_in_turn() {
    // 1,000 bytes take one millisecond.
    let mut world = World::meshed(&NetworkSpec { bandwidth_bps: Some(8_000_000), ..plain() }, 4);
    world.send(0, None, 1_000);
    world.until(1_500 * MS).send(0, None, 1_000);
    assert_eq!(
        world.until(2_000 * MS).trace(),
        [
            "1.011s n1 hears #0 of n0 on 0",
            "1.012s n2 hears #0 of n0 on 0",
            "1.013s n3 hears #0 of n0 on 0",
            "1.511s n2 hears #1 of n0 on 0",
            "1.512s n3 hears #1 of n0 on 0",
            "1.513s n1 hears #1 of n0 on 0",
        ]
    );
}

#[test]
fn what_many_send_to_one_waits_for_its_bandwidth() {
    let mut world = World::meshed(&NetworkSpec { bandwidth_bps: Some(8_000_000), ..plain() }, 4);
    for from in [3, 2, 1] {
        world.send(from, Some(0), 1_000);
    }
    assert_eq!(
        world.until(2_000 * MS).trace(),
        ["1.011s n0 hears #2 of n1 on 1", "1.012s n0 hears #1 of n2 on 2", "1.013s n0 hears #0 of n3 on 3"]
    );
}

#[test]
fn a_full_queue_loses_segments_which_come_later_and_in_order() {
    let spec = NetworkSpec { bandwidth_bps: Some(8_000_000), queue_bytes: 5_000, ..plain() };
    let mut world = World::meshed(&spec, 2);
    for _ in 0..10 {
        world.send(0, None, 1_000);
    }
    let arrivals = world.until(2_000 * MS).arrivals();
    let at: Vec<u64> = arrivals.iter().map(|(_, at)| (at - 1_000 * MS) / MS).collect();
    assert_eq!(at[..6], [11, 12, 13, 14, 15, 16], "five wait in the queue, the first does not");
    assert!(at[6..].iter().all(|at| *at >= 210), "{at:?}");
    assert_eq!(world.net.effects.tcp_lost, 4);
    // At the receiver, of nine at once: the first is in, five milliseconds of others wait, and one more when there was room.
    let mut world = World::meshed(&spec, 10);
    for from in 1..10 {
        world.send(from, Some(0), 1_000);
    }
    let arrivals = world.until(2_000 * MS).arrivals();
    assert_eq!(arrivals.len(), 9);
    assert_eq!(arrivals.iter().filter(|(_, at)| *at < 1_100 * MS).count(), 7);
    assert_eq!(world.net.effects.tcp_lost, 2);
}

#[test]
fn regions_are_half_a_round_trip_apart_on_top_of_the_law() {
    let rtt = vec![vec![Span::ZERO, Span::millis(80)], vec![Span::millis(60), Span::ZERO]];
    let regions = RegionMatrix { file: "test".into(), names: vec!["a".into(), "b".into()], rtt };
    let spec = NetworkSpec { regions: Some(regions), topology: Topology::Regions, ..plain() };
    let mut world = World::with(Network::new(&spec, &[Some(0), Some(1), Some(0)], 42));
    world.beacon(0, &[]);
    world.beacon(1, &[]);
    assert_eq!(
        world.until(200 * MS).trace(),
        [
            "10ms n2 hears #0 of n0 on beacon",
            "40ms n0 hears #1 of n1 on beacon",
            "40ms n2 hears #1 of n1 on beacon",
            "50ms n1 hears #0 of n0 on beacon",
        ]
    );
}

#[test]
fn bytes_on_the_wire_count_topic_and_headers() {
    assert_eq!(wire_bytes(100, false), (2 + 1) + (2 + 100));
    assert_eq!(wire_bytes(255, true), (2 + 9) + (2 + 255));
    assert_eq!(wire_bytes(256, true), (2 + 9) + (9 + 256));
}
