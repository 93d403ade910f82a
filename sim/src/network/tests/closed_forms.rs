//! What the network must do by arithmetic: the delay that retransmission adds, and how fast a rumour spreads over datagrams.

use super::*;

/// Of `count` tries with probability `p`, five standard deviations.
fn five_deviations(count: f64, p: f64) -> f64 {
    5.0 * (count * p * (1.0 - p)).sqrt()
}

/// A segment is lost at least k times with probability p^k; a frame of m segments waits for the unluckiest of them, so it is delayed
/// by at most k retransmissions with probability (1 - p^(k+1))^m. They come 200 ms, 400 ms, .. after each other, up to 3 s.
#[test]
fn a_frame_is_as_late_as_its_unluckiest_segment() {
    const FRAMES: u64 = 4_000;
    const APART_MS: u64 = 60_000; // longer than seventeen losses in a row: no frame waits for another
    let p: f64 = 0.2;
    let waits_ms: Vec<u64> = (0..17).map(|round| (200u64 << round).min(3_000)).collect();
    let late_by_ms = |rounds: usize| waits_ms[..rounds].iter().sum::<u64>();
    for segments in [1, 3, 10] {
        let mut world = World::meshed(&NetworkSpec { loss: Ppm(200_000), ..plain() }, 2);
        world.until(APART_MS * MS).arrivals();
        let first = world.frames;
        for n in 0..FRAMES {
            world.until((n + 1) * APART_MS * MS).send(0, Some(1), segments * 1_460);
        }
        let arrivals = world.until((FRAMES + 2) * APART_MS * MS).arrivals();
        assert_eq!(arrivals.len() as u64, FRAMES, "none vanishes");
        let late = |(frame, at): &(FrameNo, u64)| at - u64::from(frame - first + 1) * APART_MS * MS - 10 * MS;
        let lates: Vec<u64> = arrivals.iter().map(late).collect();
        let at_most = |rounds: usize| (1.0 - p.powi(rounds as i32 + 1)).powi(segments as i32);
        let mut expected_mean = 0.0;
        for rounds in 0..16 {
            let share = at_most(rounds) - if rounds == 0 { 0.0 } else { at_most(rounds - 1) };
            expected_mean += share * late_by_ms(rounds) as f64;
            let seen = lates.iter().filter(|late| **late == late_by_ms(rounds) * MS).count() as f64;
            let off = (seen - share * FRAMES as f64).abs();
            assert!(off <= five_deviations(FRAMES as f64, share) + 1.0, "{segments} segments, {rounds} rounds: {seen}");
        }
        let mean = lates.iter().sum::<u64>() as f64 / FRAMES as f64 / MS as f64;
        assert!(
            (mean - expected_mean).abs() < expected_mean * 0.1,
            "{segments}: {mean} ms, expected {expected_mean} ms"
        );
    }
}

/// In each round everyone who knows it tells one other, chosen evenly, and a share p of that is lost: who does not know it yet still
/// does not with probability (1 - (1 - p) / (n - 1)) to the power of those who tell (Pittel 1987, with loss). Each round is compared
/// with what the round before leads to, and the whole curve with the recurrence from its beginning.
#[test]
fn a_rumour_covers_the_network_by_the_known_recurrence() {
    const N: usize = 500;
    const BEGIN: usize = 25;
    for loss_ppm in [0, 300_000] {
        let spec = NetworkSpec { loss: Ppm(loss_ppm), multicast: false, ..plain() };
        let mut world = World::new(&spec, N);
        let draws = Draws::new(7);
        let misses = 1.0 - (1.0 - f64::from(loss_ppm) / 1e6) / (N as f64 - 1.0);
        let mut knows: Vec<bool> = (0..N).map(|node| node < BEGIN).collect();
        let mut curve = BEGIN as f64;
        for round in 0..30 {
            let told = knows.iter().filter(|knows| **knows).count();
            for node in (0..N).filter(|node| knows[*node]) {
                let other = below(draws.one(Purpose::Chaos, node, 0, 0, round), N as u64 - 1) as usize;
                world.beacon(node, &[if other < node { other } else { other + 1 }]);
            }
            for (_, heard) in std::mem::take(&mut world.until((round + 1) * 20 * MS).heard) {
                let Heard::Frame(delivery) = heard else { panic!("{heard:?}") };
                knows[delivery.to] = true;
            }
            let left = knows.iter().filter(|knows| !**knows).count() as f64;
            let (unaware, still) = ((N - told) as f64, misses.powi(told as i32));
            let off = (left - unaware * still).abs();
            assert!(off <= five_deviations(unaware, still) + 1.0, "round {round}: {left} left, {} told", told);
            curve = N as f64 - (N as f64 - curve) * misses.powf(curve);
            assert!((curve - (N as f64 - left)).abs() < N as f64 * 0.06, "round {round}: {left} left, curve {curve}");
        }
        assert!(loss_ppm > 0 || knows.iter().all(|knows| *knows), "after 30 rounds everyone knows");
        assert!(N as f64 - curve < 1.0);
    }
}
