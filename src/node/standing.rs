//! What members are thought of: deeds that the others saw carried to the reputation, contradictions to the evidence, and what both
//! say of a member to where the auctions look it up.

use super::{Node, Parts};
use crate::cx::Ctx;
use crate::evidence::Verdict;
use crate::id::{NodeId, PeerIdx};
use crate::io::{Event, Outbox, Refusal, Verify};
use crate::reputation::score::Deed;
use crate::reputation::standing::Standing;
use crate::time::Now;
use crate::wire::message::{Evidence, ReputationUpdate};

impl Node {
    /// What the other sub-machines saw: who was paid, who contradicts itself, and what follows from that.
    pub(super) fn carry_deeds(&mut self, now: Now, verify: &mut dyn Verify, out: &mut Outbox) {
        let mut found = std::mem::take(&mut self.members.conflicts);
        found.append(&mut self.auctions.conflicts);
        let (mut cx, parts) = self.split(now, verify, out);
        for settled in parts.ledger.settled.drain(..) {
            parts.reputation.on_settled(&cx, parts.members, settled.payer, settled.executor, settled.late);
        }
        for evidence in found {
            parts.proofs.on_found(&mut cx, parts.members, evidence);
        }
        for verdict in parts.proofs.changed.drain(..) {
            match verdict {
                Verdict::Proven(author) => {
                    parts.reputation.on_deed(&cx, parts.members, author, Deed::Misbehaviour);
                    parts.reputation.changed.insert(author);
                    parts.reputation.hurry(&mut cx);
                }
                Verdict::Over(author) => {
                    parts.reputation.changed.insert(author);
                }
            }
        }
    }

    /// What is thought of members now, where the auctions look it up.
    pub(super) fn carry_standing(&mut self, out: &mut Outbox) {
        while let Some(member) = self.reputation.changed.pop_first() {
            let Some(peer) = self.members.find(member).filter(|peer| *peer != PeerIdx::SELF) else { continue };
            let standing = self.standing(member);
            match (self.members.peer(peer).standing.excluded(), standing.excluded()) {
                (false, true) => out.report(Event::Quarantined { peer }),
                (true, false) => out.report(Event::Released { peer }),
                (false, false) | (true, true) => {}
            }
            self.members.set_standing(peer, standing);
        }
    }

    pub(super) fn standing(&self, member: NodeId) -> Standing {
        Standing { proven: self.proofs.is_proven(member), ..self.reputation.standing(member) }
    }
}

impl Parts<'_> {
    /// Somebody tells what it has seen of others.
    pub(super) fn on_reputation(
        &mut self,
        cx: &mut Ctx<'_>,
        from: PeerIdx,
        update: &ReputationUpdate,
    ) -> Result<(), Refusal> {
        self.reputation.on_update(cx, self.members, from, update)?;
        self.proofs.on_digest(cx, self.members, from, update.proven_digest);
        Ok(())
    }

    /// Somebody accuses a member. An honest node checks first, so that what does not hold is held against who says it.
    pub(super) fn on_evidence(&mut self, cx: &mut Ctx<'_>, from: PeerIdx, evidence: Evidence) -> Result<(), Refusal> {
        let taken = self.proofs.on_evidence(cx, self.members, evidence);
        if taken == Err(Refusal::BadEvidence) {
            self.reputation.on_deed(cx, self.members, self.members.id(from), Deed::Invalid);
        }
        taken
    }
}
