//! What a member may do in the eyes of this node, as the auctions see it (protocol.md, section 9).
//!
//! Who is in quarantine gets *trial work* and no other: of every `TRIAL_ONE_IN` jobs one, by a hash over the job and the member.
//! There its bid counts as a newcomer's, not as its score would have it, or it would never win one. The hash is the
//! same for everyone, so that a coordinator's proposal of it and the votes for it need no further agreement, and nobody can
//! choose the job it is tried with. Whose misbehaviour is proven gets no work at all until that is over.
//!
//! Only what a node saw itself, or can prove, excludes anybody. What others say moves trust, and trust only orders the bids.

use sha2::{Digest, Sha256};

use super::score::AT_START;
use crate::id::{JobId, NodeId};
use crate::units::Ppm;

/// One job of this many is trial work for a member in quarantine: a guess. Who fails all of its trials costs the others one job in
/// sixteen at most, and of those only its share among the bidders.
const TRIAL_ONE_IN: u8 = 16;

/// How far a member is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Own experience and hearsay together.
    pub trust: Ppm,
    /// What this node saw of it excludes it from all but trial work.
    pub quarantined: bool,
    /// It signed what excludes each other: no vote of it counts, and it gets no work.
    pub proven: bool,
}

impl Default for Standing {
    fn default() -> Standing {
        Standing { trust: AT_START, quarantined: false, proven: false }
    }
}

impl Standing {
    /// Whether anything is held against it.
    #[must_use]
    pub fn excluded(&self) -> bool {
        self.quarantined || self.proven
    }

    /// The trust with which its bid for a job is ranked, or nothing where the bid is not accepted.
    #[must_use]
    pub fn trust_for(&self, job: JobId, member: NodeId) -> Option<Ppm> {
        match (self.proven, self.quarantined) {
            (true, _) => None,
            (false, true) => is_trial(job, member).then_some(AT_START),
            (false, false) => Some(self.trust),
        }
    }
}

/// Whether a job is trial work for a member.
#[must_use]
pub fn is_trial(job: JobId, member: NodeId) -> bool {
    let digest = Sha256::new().chain_update(b"marlos/trial/1").chain_update(job.0).chain_update(member.0).finalize();
    digest[0] % TRIAL_ONE_IN == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_in_sixteen_is_trial_work_and_not_the_same_for_everyone() {
        let (a, b) = (NodeId([1; 16]), NodeId([2; 16]));
        let jobs = || (0..4_096u32).map(|n| JobId(std::array::from_fn(|at| n.to_le_bytes()[at % 4])));
        let trials = |member| jobs().filter(|job| is_trial(*job, member)).count();
        assert!((200..312).contains(&trials(a)) && (200..312).contains(&trials(b)), "{} {}", trials(a), trials(b));
        let both = jobs().filter(|job| is_trial(*job, a) && is_trial(*job, b)).count();
        assert!(both < 40, "{both} of 4096 are for both");
    }

    #[test]
    fn a_bid_counts_by_trust_in_trial_work_as_a_newcomers_and_once_proven_not_at_all() {
        let member = NodeId([1; 16]);
        let job = |trial: bool| {
            let mut jobs = (0..=255u8).map(|n| JobId([n; 16]));
            jobs.find(|job| is_trial(*job, member) == trial).expect("one of both kinds")
        };
        let (trusted, low) = (Ppm(800_000), Ppm(50_000));
        for (trust, quarantined, proven, in_trial, elsewhere) in [
            (trusted, false, false, Some(trusted), Some(trusted)),
            (low, true, false, Some(AT_START), None),
            (low, true, true, None, None),
            (trusted, false, true, None, None),
        ] {
            let standing = Standing { trust, quarantined, proven };
            assert_eq!(standing.trust_for(job(true), member), in_trial, "{standing:?}");
            assert_eq!(standing.trust_for(job(false), member), elsewhere, "{standing:?}");
        }
    }
}
