//! Queues against what queueing theory has for them, and full ones.

use super::*;
use crate::draw::exponential;
use crate::scenario::QueueFull;

/// 1,000 bytes take one millisecond.
fn narrow() -> NetworkSpec {
    NetworkSpec { bandwidth_bps: Some(8_000_000), queue_bytes: 1 << 30, ..plain() }
}

/// What each of `count` frames of 1,000 bytes waited for others, in microseconds; they come at random, so many in a thousand ms.
fn waits(spec: &NetworkSpec, per_1000_ms: u64, count: u64) -> (World, Vec<u64>) {
    let mut world = World::meshed(spec, 2);
    let draws = Draws::new(1);
    let (mut at, mut sent) = (world.now.0 << 32, Vec::new());
    for n in 0..count {
        let gap = exponential(draws.one(Purpose::NodeSeed, 0, 0, 0, n));
        at += 1_000 * gap / per_1000_ms * MS;
        sent.push(at >> 32);
        world.until(at >> 32).send(0, None, 1_000);
    }
    let now = world.now.0;
    let arrivals = world.until(now + 600_000 * MS).arrivals();
    assert_eq!(arrivals.len() as u64, count);
    let waits = arrivals.iter().map(|(frame, arrived)| arrived - sent[*frame as usize] - 11 * MS);
    let waits = waits.collect();
    (world, waits)
}

fn mean(values: &[u64]) -> f64 {
    values.iter().sum::<u64>() as f64 / values.len() as f64
}

/// Arrivals at random, and all take the same time: M/D/1. Its mean wait is s * load / (2 (1 - load)) (Pollaczek, Khinchin).
#[test]
fn the_queue_waits_as_long_as_theory_says() {
    for (load, tolerance) in [(300, 0.06), (500, 0.06), (800, 0.1)] {
        let share = load as f64 / 1_000.0;
        let expected = 1_000.0 * share / (2.0 * (1.0 - share));
        let (_, waits) = waits(&narrow(), load, 20_000);
        let found = mean(&waits);
        assert!((found / expected - 1.0).abs() < tolerance, "load {load}: {found} us instead of {expected}");
        // And the share that does not wait at all is what the load leaves.
        let none = waits.iter().filter(|wait| **wait <= 1).count() as f64 / waits.len() as f64;
        assert!((none - (1.0 - share)).abs() < 0.02, "load {load}: {none} do not wait");
    }
}

/// Twice as slow inwards as outwards: the receiver's line is the one that queues.
#[test]
fn the_slower_of_upload_and_download_is_what_queues() {
    let spec = NetworkSpec { bandwidth_bps: Some(16_000_000), download_bps: Some(8_000_000), ..narrow() };
    let found = mean(&waits(&spec, 500, 20_000).1);
    assert!((found / 500.0 - 1.0).abs() < 0.06, "{found}");
    let found = mean(&waits(&NetworkSpec { download_bps: Some(80_000_000), ..narrow() }, 500, 20_000).1);
    assert!((found / 500.0 - 1.0).abs() < 0.06, "{found}");
}

/// 40 ms of queue: what is dropped waits for the timer outside, and what is in it never longer than it.
#[test]
fn a_queue_that_drops_is_never_longer_than_it_is() {
    let full = |queue_full| {
        let spec = NetworkSpec { queue_bytes: 40_000, queue_full, ..narrow() };
        let mut world = World::meshed(&spec, 2);
        // A second's work at once, then a datagram every 10 ms, which the queue delays.
        for _ in 0..1_000 {
            world.send(0, None, 1_000);
        }
        let mut delays = Vec::new();
        for at in 1..=300 {
            let now = 1_000 * MS + at * 10 * MS;
            world.until(now).beacon(0, &[]);
            let lost = world.net.effects.udp_lost;
            delays.push((now, lost));
        }
        world.until(60_000 * MS);
        let mut frames = 0;
        let mut worst = 0;
        for (at, heard) in std::mem::take(&mut world.heard) {
            let Heard::Frame(delivery) = heard else { panic!("{heard:?}") };
            if delivery.link == Link::BEACON {
                let sent = delays[delivery.frame as usize - 1_000].0;
                worst = worst.max(at - sent);
            } else {
                frames += 1;
            }
        }
        (world.net.effects.tcp_lost, frames, worst, world.net.effects.udp_lost)
    };
    let (lost, frames, worst, datagrams_lost) = full(QueueFull::Drop);
    assert_eq!(frames, 1_000, "every frame gets through in the end");
    assert!(lost > 900, "{lost} drops");
    assert!(worst <= 10 * MS + 42 * MS, "{worst}: a datagram meets 40 ms of queue at most");
    assert!(datagrams_lost < 100, "{datagrams_lost}: and most find room");
    let (lost, frames, _, datagrams_lost) = full(QueueFull::Wait);
    assert_eq!((lost, frames), (959, 1_000), "each is late once");
    assert!((90..=100).contains(&datagrams_lost), "{datagrams_lost}: a second's work is before them");
}

#[test]
fn what_is_dropped_comes_in_order_and_its_stream_waits_for_it() {
    let spec = NetworkSpec { queue_bytes: 5_000, queue_full: QueueFull::Drop, ..narrow() };
    let mut world = World::meshed(&spec, 2);
    for _ in 0..10 {
        world.send(0, None, 1_000);
    }
    let arrivals = world.until(4_000 * MS).arrivals();
    let at: Vec<u64> = arrivals.iter().map(|(_, at)| (at - 1_000 * MS) / MS).collect();
    // Six fit; the others come together, 200 ms later.
    assert_eq!(at, [11, 12, 13, 14, 15, 16, 211, 212, 213, 214]);
    assert_eq!(world.net.effects.tcp_lost, 4);
}
