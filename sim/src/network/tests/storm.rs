//! Everything at once, at random: what must hold in any case.

use super::*;
use crate::scenario::{LossBurst, QueueFull, Reorder};

/// 400 random things happen to six nodes, some of them in the same instant.
fn storm(seed: u64, spec: &NetworkSpec) -> World {
    let (n, draws) = (6, Draws::new(seed));
    let mut world = World::with(Network::new(spec, &vec![None; n], seed));
    let mut links = 0;
    for step in 0..400 {
        let draw =
            |what: usize, bound: usize| below(draws.one(Purpose::NodeSeed, 0, what, 0, step), bound as u64) as usize;
        world.until(world.now.0 + [0, 3, 700, 40_000, 900_000][draw(0, 5)]);
        let (a, b) = (draw(1, n), draw(2, n));
        match draw(3, 12) {
            0..=2 if world.net.up[a] => {
                let dial = if draw(4, 3) == 0 { Dial::Reach } else { Dial::Subscribe };
                world.dial(a, links, dial, b);
                links += 1;
            }
            3 if world.net.up[a] => {
                world.net.hang_up(world.now, a, Link(draw(4, 1 + links as usize) as u32));
                world.take();
            }
            4 if world.net.up[a] => {
                world.down(a, [CrashConnection::Reset, CrashConnection::Silent][draw(4, 2)]);
            }
            4 => world.up(a),
            5 => world.cut(&[(a, b), (b, draw(4, n))]),
            6 => world.cut(&[]),
            _ if world.net.up[a] => {
                for _ in 0..draw(4, 20) {
                    let _ = match draw(5, 4) {
                        0 => world.beacon(a, &[b]),
                        1 => world.send(a, Some(b), 5_000),
                        _ => world.publish(a),
                    };
                }
            }
            _ => {}
        }
    }
    world.cut(&[]);
    world.until(world.now.0 + 120_000 * MS);
    world
}

fn specs() -> [NetworkSpec; 4] {
    let law = LatencyLaw::Lognormal { median: Span::millis(5), p99: Span::millis(300) };
    let lossy = NetworkSpec { latency: law, loss: Ppm(100_000), high_water_mark: 30, ..plain() };
    let narrow = NetworkSpec { bandwidth_bps: Some(2_000_000), queue_bytes: 8_000, ..lossy.clone() };
    let bursty = NetworkSpec {
        jitter: Some(LatencyLaw::Pareto { scale: Span(100), shape_millionths: 1_500_000 }),
        asymmetry: Ppm(500_000),
        loss_burst: Some(LossBurst { mean: Span::millis(300), within: Ppm(800_000) }),
        queue_full: QueueFull::Drop,
        download_bps: Some(1_000_000),
        duplicate: Ppm(200_000),
        reorder: Some(Reorder { share: Ppm(100_000), by: LatencyLaw::Constant(Span::millis(50)) }),
        corrupt: Ppm(100_000),
        undetected: Ppm(500_000),
        slow_joiner: Some(LatencyLaw::Constant(Span::millis(20))),
        ..narrow.clone()
    };
    [plain(), lossy, narrow, bursty]
}

#[test]
fn every_frame_is_released_once_and_nothing_is_left_over() {
    for (seed, spec) in (0..20).flat_map(|seed| specs().map(|spec| (seed, spec))) {
        let mut world = storm(seed, &spec);
        world.released.sort_unstable();
        assert!(world.released.iter().copied().eq(0..world.frames), "seed {seed}");
        assert!(world.net.streams.hot.iter().all(|stream| stream.outstanding == 0), "seed {seed}");
        assert!(world.net.streams.cold.iter().all(|connection| connection.held.is_empty()), "seed {seed}");
    }
}

#[test]
fn no_stream_ever_changes_the_order_of_its_frames() {
    for (seed, spec) in (0..20).flat_map(|seed| specs().map(|spec| (seed, spec))) {
        let world = storm(seed, &spec);
        let mut last = std::collections::BTreeMap::new();
        for (at, heard) in &world.heard {
            let Heard::Frame(delivery) = heard else { continue };
            // A peer that two streams bring in on one link number is two streams.
            if delivery.link == Link::BEACON || delivery.link == Link::INBOUND {
                continue;
            }
            let before = last.insert((delivery.to, delivery.link), delivery.frame);
            assert!(before < Some(delivery.frame), "seed {seed} at {at}: {delivery:?} after {before:?}");
        }
        assert!(!last.is_empty(), "seed {seed}: nobody heard anything");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let spec = &specs()[2];
    let traces: Vec<Vec<String>> = [1, 1, 2].map(|seed| storm(seed, spec).trace()).into();
    assert_eq!(traces[0], traces[1]);
    assert_ne!(traces[0], traces[2]);
}
