//! How good an offer is: integers, so that every node ranks alike (protocol.md, section 6). Pure.

use sha2::{Digest, Sha256};

use crate::id::{JobId, NodeId};
use crate::units::Ppm;

/// What a bidder says of itself: the share of its capacity that is free.
#[must_use]
pub fn score(active_jobs: u32, max_active_jobs: u32) -> Ppm {
    let free = max_active_jobs.saturating_sub(active_jobs);
    let share = u64::from(free) * u64::from(Ppm::ONE.0) / u64::from(max_active_jobs.max(1));
    Ppm(u32::try_from(share).expect("at most one million"))
}

/// How the coordinator ranks an offer: half the bidder's score, half the coordinator's own view of its trust, in hundredths
/// of a per cent.
#[must_use]
pub fn rank(score: Ppm, trust: Ppm) -> u32 {
    u32::midpoint(score.0.min(Ppm::ONE.0), trust.0.min(Ppm::ONE.0)) / 100
}

/// The order among offers, best first: higher rank, then higher trust, then lower SHA-256(job ‖ bidder).
#[must_use]
pub fn order(job: JobId, rank: u32, trust: Ppm, bidder: NodeId) -> impl Ord {
    let tie: [u8; 32] = Sha256::new().chain_update(job.0).chain_update(bidder.0).finalize().into();
    (std::cmp::Reverse(rank), std::cmp::Reverse(trust), tie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idle_and_the_trusted_come_first() {
        assert_eq!(
            [score(0, 4), score(1, 4), score(4, 4), score(9, 4), score(0, 0)].map(|p| p.0),
            [1_000_000, 750_000, 0, 0, 0]
        );
        let job = JobId([1; 16]);
        let of = |score, trust, node| order(job, rank(Ppm(score), Ppm(trust)), Ppm(trust), NodeId([node; 16]));
        assert!(of(900_000, 500_000, 1) < of(800_000, 500_000, 2), "freer first");
        assert!(of(500_000, 900_000, 1) < of(500_000, 500_000, 2), "more trusted first");
        assert!(of(400_000, 600_000, 1) < of(600_000, 400_000, 2), "equal rank: trust decides");
        assert!((of(1, 1, 1) < of(1, 1, 2)) != (of(1, 1, 2) < of(1, 1, 1)), "equal in all: the hash decides");
    }
}
