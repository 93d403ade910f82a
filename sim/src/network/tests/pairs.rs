//! Pairs that have a delay of their own, and directions that differ.

use super::*;

/// What each of `rounds` datagrams took from each node to each other, in microseconds.
fn delays(spec: &NetworkSpec, n: usize, rounds: u64) -> Vec<Vec<Vec<u64>>> {
    let mut world = World::new(spec, n);
    let mut found = vec![vec![Vec::new(); n]; n];
    for round in 0..rounds {
        for (from, of_one) in found.iter_mut().enumerate() {
            let sent = (round * n as u64 + from as u64) * 2_000 * MS;
            world.until(sent).beacon(from, &[]);
            world.until(sent + 1_999 * MS);
            for (at, heard) in std::mem::take(&mut world.heard) {
                let Heard::Frame(delivery) = heard else { panic!("{heard:?}") };
                of_one[delivery.to].push(at - sent);
            }
        }
    }
    found
}

fn spec() -> NetworkSpec {
    NetworkSpec {
        latency: LatencyLaw::Uniform { min: Span::millis(10), max: Span::millis(110) },
        jitter: Some(LatencyLaw::Uniform { min: Span::ZERO, max: Span::millis(2) }),
        ..plain()
    }
}

#[test]
fn a_pair_keeps_its_distance_and_each_message_adds_only_its_jitter() {
    let found = delays(&spec(), 20, 30);
    let mut bases = Vec::new();
    for (low, high) in (0..20).flat_map(|low| (low + 1..20).map(move |high| (low, high))) {
        let both: Vec<u64> = [&found[low][high][..], &found[high][low][..]].concat();
        let (least, most) = (both.iter().min().unwrap(), both.iter().max().unwrap());
        assert!(most - least <= 2 * MS, "n{low} to n{high}, both directions: {least} to {most}");
        assert!(most - least > MS, "the jitter is there: {least} to {most}");
        bases.push(least - least % MS);
    }
    // 190 pairs, evenly from 10 to 110 ms: the mean is 60, one standard deviation of it 2.1.
    let mean = bases.iter().sum::<u64>() / bases.len() as u64;
    assert!(mean.abs_diff(60 * MS) < 7 * MS, "{mean}");
    assert!(*bases.iter().min().unwrap() < 15 * MS && *bases.iter().max().unwrap() > 105 * MS);
}

#[test]
fn without_jitter_every_message_draws_the_whole_delay() {
    let found = delays(&NetworkSpec { jitter: None, ..spec() }, 2, 50);
    let (least, most) = (found[0][1].iter().min().unwrap(), found[0][1].iter().max().unwrap());
    assert!(most - least > 60 * MS, "{least} to {most}");
}

#[test]
fn directions_differ_by_the_asymmetry_at_most_and_the_round_trip_stays() {
    let still = NetworkSpec { jitter: Some(LatencyLaw::Constant(Span::ZERO)), ..spec() };
    let (even, odd) = (delays(&still, 12, 1), delays(&NetworkSpec { asymmetry: Ppm(300_000), ..still }, 12, 1));
    let mut largest = 0;
    for (low, high) in (0..12).flat_map(|low| (low + 1..12).map(move |high| (low, high))) {
        let (there, back) = (odd[low][high][0], odd[high][low][0]);
        let both = even[low][high][0] + even[high][low][0];
        assert!((there + back).abs_diff(both) <= 2, "{there} + {back} is not {both}");
        let off = there.abs_diff(back) * 1_000 / both;
        assert!(off <= 300, "{off} of a thousand");
        largest = largest.max(off);
    }
    assert!(largest > 250, "{largest}");
}

#[test]
fn a_worse_link_has_its_own_delay_instead_of_the_pairs() {
    let spec = NetworkSpec { jitter: Some(LatencyLaw::Constant(Span::ZERO)), ..spec() };
    let mut world = World::meshed(&spec, 2);
    let links = Override {
        between: [vec![0], vec![1]],
        latency: Some(LatencyLaw::Constant(Span::millis(5))),
        loss: None,
        until: Time::NEVER,
        bandwidth_bps: None,
    };
    world.publish(0);
    let usual = world.until(1_900 * MS).arrivals()[0].1 - 1_000 * MS;
    assert!(usual >= 10 * MS, "{usual}");
    world.until(2_000 * MS).net.set_override(0, links);
    world.publish(0);
    assert_eq!(world.until(2_900 * MS).arrivals(), [(1, 2_005 * MS)]);
    world.until(3_000 * MS).net.clear_override(0);
    world.publish(0);
    assert_eq!(world.until(3_900 * MS).arrivals(), [(2, 3_000 * MS + usual)]);
}

#[test]
fn a_pairs_own_delay_does_not_depend_on_how_many_nodes_there_are() {
    let (few, many) = (delays(&spec(), 3, 2), delays(&spec(), 9, 2));
    assert_eq!(few[0][1], many[0][1]);
    assert_eq!(few[2][1], many[2][1]);
}
