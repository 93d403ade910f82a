//! Keyed draws: every random choice of the simulated world is a pure function of (seed, purpose, source, destination, kind, n).
//!
//! There is no stream that one more message would shift, so two versions of the protocol meet the same network, message by
//! message, and a shrunk scenario keeps what happened to the messages that are left.
//!
//! The seed is a ChaCha8 key. Purpose, source, kind and n are hashed to its stream number, and the destination is the
//! position in that stream: a broadcast draws for all its receivers from one stream, front to back.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::scenario::NodeNo;

/// What a draw is for. Two purposes never share a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Purpose {
    /// Delay and loss of a frame to every subscriber.
    Broadcast = 1,
    /// Delay and loss of a frame to one subscriber.
    Directed = 2,
    /// Delay and loss of a datagram.
    Beacon = 3,
    /// How often each segment of a long frame, or of a handshake, is lost.
    Segments = 4,
    /// The three legs of a connection's handshake.
    Handshake = 5,
    /// The jitter of a dialler's back-off.
    Backoff = 6,
    /// How long the news of a broken connection is on its way.
    Reset = 7,
    /// Where a crash tears a store.
    Tear = 8,
    /// What a misbehaving node decides.
    Misbehaviour = 9,
    /// What a run of chaos is: see [`crate::chaos`].
    Chaos = 11,
    /// What the tokens of a world are made with.
    Tokens = 12,
    /// A node's own generator.
    NodeSeed = 13,
    /// A node's keys.
    NodeKey = 14,
    /// What a pair of nodes has as its own delay, and how its directions differ.
    Pair = 15,
    /// How long a way stays good, and bad.
    Burst = 16,
    /// What happens to a datagram besides delay and loss.
    Datagram = 17,
    /// Who may connect to whom.
    Topology = 18,
}

/// The source of all draws of a world.
#[derive(Clone, Debug)]
pub struct Draws {
    /// At the beginning of its stream 0, and never advanced: each draw copies it.
    base: ChaCha8Rng,
}

impl Draws {
    /// The draws of the world with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Draws {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..24].copy_from_slice(b"marlos-sim/draws");
        Draws { base: ChaCha8Rng::from_seed(key) }
    }

    /// One draw, all 64 bits uniform. `n` counts what `source` has done of this `kind`, towards `destination` where it is directed.
    #[must_use]
    pub fn one(&self, purpose: Purpose, source: NodeNo, destination: NodeNo, kind: u8, n: u64) -> u64 {
        let mut stream = self.stream(purpose, source, kind, n);
        stream.set_word_pos(2 * destination as u128);
        stream.next_u64()
    }

    /// The same draw for every destination 0, 1, .. : `into[d]` is what [`Draws::one`] gives for `d`.
    pub fn all(&self, purpose: Purpose, source: NodeNo, kind: u8, n: u64, into: &mut [u64]) {
        let mut stream = self.stream(purpose, source, kind, n);
        for draw in into {
            *draw = stream.next_u64();
        }
    }

    /// A seed for something that has a generator of its own, such as a node.
    #[must_use]
    pub fn seed_of(&self, purpose: Purpose, source: NodeNo, n: u64) -> [u8; 32] {
        let mut seed = [0; 32];
        self.stream(purpose, source, 0, n).fill_bytes(&mut seed);
        seed
    }

    fn stream(&self, purpose: Purpose, source: NodeNo, kind: u8, n: u64) -> ChaCha8Rng {
        let mut stream = self.base.clone();
        stream.set_stream(stream_no(purpose, source, kind, n));
        stream
    }
}

/// A draw as a number below `bound`, which is not zero. Off by less than `bound / 2^64`.
#[must_use]
pub fn below(draw: u64, bound: u64) -> u64 {
    assert!(bound > 0, "a number below zero does not exist");
    let scaled = (u128::from(draw) * u128::from(bound)) >> 64;
    u64::try_from(scaled).expect("a product of two 64-bit numbers, shifted by 64 bits")
}

/// -ln(1 - u) for u = `uniform` / 2^64, in units of 2^-32, with integers alone: `ln` differs between platforms.
///
/// The logarithm to base 2 is found bit by bit: squaring a number in [1, 2) doubles its logarithm, and where the square
/// reaches 2 the next bit is one.
#[must_use]
pub fn exponential(uniform: u64) -> u64 {
    /// ln 2 in units of 2^-64.
    const LN_2: u128 = 0xB172_17F7_D1CF_79AB;
    let rest = (1u128 << 64) - u128::from(uniform);
    let whole = 127 - rest.leading_zeros();
    // In [1, 2), in units of 2^-63; the whole part of the logarithm is split off.
    let mut mantissa = if whole >= 63 { rest >> (whole - 63) } else { rest << (63 - whole) };
    let mut log2 = u128::from(whole) << 32;
    for bit in (0..32).rev() {
        mantissa = (mantissa * mantissa) >> 63;
        if mantissa >> 64 != 0 {
            mantissa >>= 1;
            log2 |= 1 << bit;
        }
    }
    ((((64u128 << 32) - log2) * LN_2) >> 64) as u64
}

/// The fields in one word and n in another, each through `SplitMix64`'s finaliser. It is a bijection of n for fixed fields,
/// so frames of the same kind never share a stream.
fn stream_no(purpose: Purpose, source: NodeNo, kind: u8, n: u64) -> u64 {
    let fields = ((source as u64) << 16) | (u64::from(purpose as u8) << 8) | u64::from(kind);
    mix(mix(fields).wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood 2014; constants by Stafford, variant 13).
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_depends_on_its_key_and_not_on_what_was_drawn_before() {
        let draws = Draws::new(42);
        let forwards: Vec<u64> = (0..200).map(|d| draws.one(Purpose::Directed, 3, d, 7, 11)).collect();
        let mut backwards: Vec<u64> = (0..200).rev().map(|d| draws.one(Purpose::Directed, 3, d, 7, 11)).collect();
        backwards.reverse();
        assert_eq!(forwards, backwards);
    }

    #[test]
    fn a_broadcast_draws_for_each_receiver_what_one_draw_would() {
        let draws = Draws::new(42);
        let mut all = [0; 300];
        draws.all(Purpose::Broadcast, 3, 7, 11, &mut all);
        for (destination, draw) in all.into_iter().enumerate() {
            assert_eq!(draw, draws.one(Purpose::Broadcast, 3, destination, 7, 11), "receiver {destination}");
        }
    }

    #[test]
    fn every_part_of_the_key_changes_the_draw() {
        let draws = Draws::new(42);
        let mut seen = vec![
            draws.one(Purpose::Directed, 3, 4, 7, 11),
            Draws::new(43).one(Purpose::Directed, 3, 4, 7, 11),
            draws.one(Purpose::Broadcast, 3, 4, 7, 11),
            draws.one(Purpose::Directed, 2, 4, 7, 11),
            draws.one(Purpose::Directed, 3, 5, 7, 11),
            draws.one(Purpose::Directed, 3, 4, 8, 11),
            draws.one(Purpose::Directed, 3, 4, 7, 12),
        ];
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 7);
        assert_ne!(draws.seed_of(Purpose::NodeSeed, 0, 0), draws.seed_of(Purpose::NodeSeed, 1, 0));
    }

    #[test]
    fn draws_are_the_same_on_every_machine() {
        let draws = Draws::new(42);
        let found: Vec<u64> = (0..3).map(|n| draws.one(Purpose::Broadcast, 1, 2, 3, n)).collect();
        assert_eq!(found, PINNED, "a change here changes every run of every scenario");
    }

    const PINNED: [u64; 3] = [6_134_351_984_187_854_898, 2_771_507_875_751_602_721, 3_020_304_775_573_844_845];

    #[test]
    fn draws_are_evenly_spread() {
        let draws = Draws::new(1);
        let mut buckets = [0u32; 16];
        for n in 0..1_000 {
            let mut all = [0; 100];
            draws.all(Purpose::Broadcast, 0, 1, n, &mut all);
            for draw in all {
                buckets[usize::try_from(below(draw, 16)).unwrap()] += 1;
            }
        }
        // 6,250 each; one standard deviation is 77.
        assert!(buckets.iter().all(|count| count.abs_diff(6_250) < 390), "{buckets:?}");
    }
}
