//! Claims that a part of the network makes for itself, and what becomes of them when it is whole again (protocol.md, section 10).
//!
//! A job whose submitter asked for `"available"` is claimed with a quorum of all where one can be reached. Where none can, a
//! quorum of the reachable is enough: of those that the coordinator and every voter alike hold for alive. Such a claim is
//! provisional, and its certificate says who was reachable. Two parts of a network may both make one.
//!
//! What a quorum has claimed, only a quorum gives to another: a part that lost sight of the executor waits for it. So any two
//! claims of a job compare by their certificates alone, and everyone who has seen both holds the same one:
//! - a quorum's claim beats a provisional one, whatever their rounds;
//! - of two of one kind the later round is better;
//! - of two provisional ones of one round, the one with the lower SHA-256(job ‖ claimer).
//!
//! The page compares timestamp and trust before the hash. Both are left out: a timestamp is what a claimer says, and trust is
//! what each node thinks, so that two nodes might hold two claims for ever.
//!
//! Who is shown a claim that is worse than its own answers with its own, and holders of provisional claims show them to whoever
//! comes back. A better claim fences the worse one's executor; its result is not taken. What neither of them can undo is that both
//! ran: whoever asks for `"available"` has a job that may run twice, and is paid once. And as any member can claim to be alone,
//! the claim of a liar may stand where it is the only one or has the later round, until its submitter says that it brings no
//! result.

use sha2::{Digest, Sha256};

use super::{Auctions, Claim, Job};
use crate::config::Config;
use crate::cx::Ctx;
use crate::id::{JobId, NodeId, PeerIdx};
use crate::membership::Members;
use crate::wire::Payload;
use crate::wire::message::{ClaimCertificate, Consistency, JobBody};

/// What the next claim of a job needs: what a quorum has claimed, only a quorum gives to another.
#[must_use]
pub fn needed(config: &Config, body: &JobBody, claim: Option<Claim>) -> Consistency {
    match claim {
        Some(claim) if !claim.provisional => Consistency::Quorum,
        Some(_) | None => asked_for(config, body),
    }
}

/// What the submitter of a job asked for.
pub(super) fn asked_for(config: &Config, body: &JobBody) -> Consistency {
    #[cfg(feature = "plant")]
    if config.plant == crate::config::Plant::ProvisionalForQuorum {
        return Consistency::Available;
    }
    let _ = config;
    body.consistency
}

impl Job {
    /// What its next claim needs.
    pub(super) fn needs(&self, config: &Config) -> Consistency {
        needed(config, &self.broadcast.body, self.claim)
    }

    /// Whether a part of the network may claim it for itself.
    pub(super) fn may_be_provisional(&self, config: &Config) -> bool {
        asked_for(config, &self.broadcast.body) == Consistency::Available
    }
}

impl Claim {
    /// What a certificate proves.
    #[must_use]
    pub fn of(certificate: &ClaimCertificate) -> Claim {
        let statement = certificate.statement;
        let provisional = !certificate.reachable.is_empty();
        Claim { round: statement.round, claimer: statement.winner, backup: statement.backup, provisional, lapsed: None }
    }

    /// Whether this claim of a job ends the other one. It never ends itself, and no two end each other.
    #[must_use]
    pub fn beats(&self, other: &Claim, job: JobId) -> bool {
        match (self.provisional, other.provisional) {
            (false, true) => true,
            (true, false) => false,
            (false, false) => self.round > other.round,
            (true, true) => (self.round, tie(job, other.claimer)) > (other.round, tie(job, self.claimer)),
        }
    }
}

/// Of two provisional claims of one round, the lower is better.
fn tie(job: JobId, claimer: NodeId) -> [u8; 32] {
    Sha256::new().chain_update(job.0).chain_update(claimer.0).finalize().into()
}

impl Auctions {
    /// The proofs of the provisional claims that this node holds itself, for whoever was out of reach: it may know others.
    pub fn own_provisional(&self, own: NodeId) -> impl Iterator<Item = &ClaimCertificate> {
        let held = self.jobs.values().filter(move |job| job.claim.is_some_and(|c| c.provisional && c.claimer == own));
        held.filter_map(|job| job.certificate.as_ref())
    }

    /// The sender of a result is shown the claim held here where its own may be a worse one. Only of jobs that may have two.
    pub fn fence_result(&self, cx: &mut Ctx<'_>, members: &Members, from: PeerIdx, id: JobId, round: u32) {
        if self.jobs.get(&id).is_some_and(|job| job.may_be_provisional(cx.config)) {
            self.fence(cx, members, from, id, round);
        }
    }

    /// Who has shown a claim is shown the better one that this node can prove (10).
    pub(super) fn answer_worse(&self, cx: &mut Ctx<'_>, members: &Members, from: PeerIdx, id: JobId, shown: &Claim) {
        let job = &self.jobs[&id];
        let Some(held) = job.certificate.as_ref().filter(|held| Claim::of(held).beats(shown, id)) else { return };
        if job.may_be_provisional(cx.config) {
            cx.direct(from, members.id(from), &Payload::ClaimCertificate(held.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobId = JobId([7; 16]);

    fn claim(provisional: bool, round: u32, claimer: u8) -> Claim {
        Claim { round, claimer: NodeId([claimer; 16]), backup: None, provisional, lapsed: None }
    }

    #[test]
    fn a_quorum_beats_a_part_then_the_later_round_wins_then_the_lower_hash() {
        let lower = if tie(JOB, NodeId([1; 16])) < tie(JOB, NodeId([2; 16])) { 1 } else { 2 };
        let (low, high) = (lower, 3 - lower);
        // Best first.
        let order = [
            claim(false, 4, 1),
            claim(false, 0, 2),
            claim(true, 9, high),
            claim(true, 8, low),
            claim(true, 8, high),
            claim(true, 0, low),
        ];
        for (a, first) in order.iter().enumerate() {
            for (b, second) in order.iter().enumerate() {
                assert_eq!(first.beats(second, JOB), a < b, "{first:?} against {second:?}");
            }
        }
    }
}
