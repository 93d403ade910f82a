//! Losses that come together, against what Gilbert and Elliott have for them.

use super::*;
use crate::scenario::LossBurst;

fn bursty(loss_ppm: u32, mean: Span, within_ppm: u32) -> NetworkSpec {
    let burst = LossBurst { mean, within: Ppm(within_ppm) };
    NetworkSpec { loss: Ppm(loss_ppm), loss_burst: Some(burst), ..plain() }
}

/// Whether each datagram of one every `every_us` from n0 was lost on its way to each of the others, in order.
fn losses(spec: &NetworkSpec, n: usize, every_us: u64, count: u64) -> Vec<Vec<bool>> {
    let mut world = World::new(spec, n);
    let mut lost = vec![vec![true; count as usize]; n - 1];
    for number in 0..count {
        world.until(number * every_us).beacon(0, &[]);
    }
    world.until(count * every_us + 1_000 * MS);
    for (_, heard) in std::mem::take(&mut world.heard) {
        let Heard::Frame(delivery) = heard else { panic!("{heard:?}") };
        lost[delivery.to - 1][delivery.frame as usize] = false;
    }
    lost
}

/// The share that is lost, and how many are lost in a row, on the mean.
fn seen(lost: &[Vec<bool>]) -> (f64, f64) {
    let all: usize = lost.iter().map(Vec::len).sum();
    let gone = lost.iter().flatten().filter(|lost| **lost).count();
    let runs = lost.iter().flat_map(|way| way.chunk_by(|a, b| a == b)).filter(|run| run[0]).count();
    (gone as f64 / all as f64, gone as f64 / runs as f64)
}

/// 2 % of the time is bad, for 100 ms on the mean. Probes 50 ms apart: one after a lost one is lost, too, with probability
/// b + (1 - b) exp(-t (1/B + 1/G)), and so the runs have a mean of one over what is left.
#[test]
fn mean_loss_and_mean_burst_are_those_of_the_keys() {
    let lost = losses(&bursty(20_000, Span::millis(100), 1_000_000), 21, 50 * MS, 12_000);
    let (share, run) = seen(&lost);
    // 12,000 s with 2,400 bursts: one standard deviation of the share is 3 % of it.
    assert!((share / 0.02 - 1.0).abs() < 0.1, "{share}");
    let (bad, b, g) = (0.02, 0.1, 0.1 * 0.98 / 0.02);
    let stays = bad + (1.0 - bad) * (-0.05f64 * (1.0 / b + 1.0 / g)).exp();
    let expected = 1.0 / (1.0 - stays);
    assert!((run / expected - 1.0).abs() < 0.08, "{run} in a row instead of {expected}");
    // Lost one by one, the runs would hardly be longer than one.
    let single = seen(&losses(&NetworkSpec { loss: Ppm(20_000), ..plain() }, 21, 50 * MS, 3_000));
    assert!((single.1 - 1.0 / 0.98).abs() < 0.02 && (single.0 / 0.02 - 1.0).abs() < 0.1, "{single:?}");
}

#[test]
fn a_burst_that_loses_half_lasts_twice_the_share_of_time() {
    let lost = losses(&bursty(20_000, Span::millis(200), 500_000), 11, 20 * MS, 20_000);
    let (share, run) = seen(&lost);
    assert!((share / 0.02 - 1.0).abs() < 0.15, "{share}");
    // Within a burst every other one is lost: some two in a row.
    assert!((1.7..2.2).contains(&run), "{run}");
}

#[test]
fn bursts_are_the_same_whatever_is_sent() {
    let spec = bursty(200_000, Span::millis(500), 1_000_000);
    let often = losses(&spec, 3, 50 * MS, 400);
    let rarely = losses(&spec, 3, 200 * MS, 100);
    for way in 0..2 {
        let same: Vec<bool> = often[way].iter().copied().step_by(4).collect();
        assert_eq!(same, rarely[way], "to n{}", way + 1);
    }
    assert_ne!(often[0], often[1], "each way has its own");
}

/// A segment that meets a burst is sent again 200 ms later, then 400 ms, and so on: it passes with the first that the burst
/// does not reach.
#[test]
fn a_stream_waits_until_the_burst_is_over() {
    let spec = bursty(100_000, Span::millis(300), 1_000_000);
    let mut world = World::meshed(&spec, 2);
    let (start, count) = (world.now.0, 3_000);
    let before = world.net.effects.tcp_lost;
    for at in 0..count {
        world.until(start + at * 20_000 * MS).publish(0);
    }
    let arrivals = world.until(start + (count + 1) * 20_000 * MS).arrivals();
    assert_eq!(arrivals.len() as u64, count, "none vanishes");
    let waits: Vec<u64> =
        arrivals.iter().map(|(frame, at)| at - start - u64::from(*frame) * 20_000 * MS - 10 * MS).collect();
    assert!(waits.iter().all(|wait| [0, 200, 600, 1_400, 3_000, 6_000].contains(&(wait / MS))), "{waits:?}");
    // A tenth of the time is bad. What is bad is still bad 200 ms later with this probability:
    let stays = |ms: f64| 0.1 + 0.9 * (-ms * (1.0 / 300.0 + 1.0 / 2_700.0)).exp();
    let share = |least: u64| waits.iter().filter(|wait| **wait >= least * MS).count() as f64 / count as f64;
    assert!((share(200) / 0.1 - 1.0).abs() < 0.15, "{}", share(200));
    let second = share(600) / share(200);
    assert!((second / stays(200.0) - 1.0).abs() < 0.2, "{second} instead of {}", stays(200.0));
    assert!(world.net.effects.tcp_lost - before >= (share(200) * count as f64) as u64);
}

#[test]
fn every_segment_of_a_long_frame_meets_the_same_burst() {
    let spec = bursty(50_000, Span::millis(50), 1_000_000);
    let mut world = World::meshed(&spec, 2);
    let mut hit = 0;
    for at in 0..2_000 {
        let before = world.net.effects.tcp_lost;
        world.until((1_000 + at * 20_000) * MS).send(0, None, 50 * 1_460);
        let lost = world.net.effects.tcp_lost - before;
        assert!(lost.is_multiple_of(50), "{lost} of 50 segments");
        hit += u64::from(lost > 0);
    }
    assert!(hit.abs_diff(100) < 40, "{hit} of 2,000, at 5 %");
}
