//! One round of one job's auction at one voter: may it vote for this proposal? Pure, arm by arm (protocol.md, section 6).

use crate::id::NodeId;
use crate::io::Refusal;
use crate::time::{Span, Time};

/// What a voter has promised about a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Promise {
    /// The last round it voted in, and for whom. Persisted before the vote is sent.
    pub voted: Option<(u32, NodeId)>,
    /// Until when it votes for nobody else.
    pub lease_until: Time,
}

/// Whether a voter that promised `promise` may vote for `winner` in `round`.
///
/// # Errors
/// `OutOfPlace` where it voted in this round or a later one, or where its lease for another still runs.
pub fn may_vote(promise: &Promise, round: u32, winner: NodeId, now: Time) -> Result<(), Refusal> {
    match promise.voted {
        // 6.4: a voter votes once per (job, round), and never backwards.
        Some((voted, _)) if voted >= round => Err(Refusal::OutOfPlace),
        // 6.4: its vote is a lease; while it runs, it votes for nobody else.
        Some((_, holder)) if holder != winner && now < promise.lease_until => Err(Refusal::OutOfPlace),
        Some(_) | None => Ok(()),
    }
}

/// How long a round may take: the first two as configured, so that two silent coordinators in a row cost less than two
/// seconds, then each as much longer, up to eight times. So a network slower than the operator guessed still comes to an end.
#[must_use]
pub fn timeout(round_timeout: Span, round: u32) -> Span {
    round_timeout.times(u64::from(round.clamp(1, 8)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_voter_votes_once_a_round_never_backwards_and_keeps_its_lease() {
        let (a, b) = (NodeId([1; 16]), NodeId([2; 16]));
        let promise = Promise { voted: Some((3, a)), lease_until: Time(1_000) };
        for (round, winner, now, allowed) in [
            (2, a, 5_000, false),
            (3, a, 5_000, false),
            (3, b, 5_000, false),
            (4, b, 999, false),
            (4, a, 999, true),
            (4, b, 1_000, true),
        ] {
            assert_eq!(may_vote(&promise, round, winner, Time(now)).is_ok(), allowed, "round {round} at {now}");
        }
        assert_eq!(may_vote(&Promise::default(), 0, a, Time(0)), Ok(()));
    }

    #[test]
    fn later_rounds_have_more_time_but_not_without_bound() {
        let first = Span::millis(700);
        assert_eq!([0, 1, 2, 8, 1_000].map(|r| timeout(first, r).as_millis()), [700, 700, 1_400, 5_600, 5_600]);
    }
}
