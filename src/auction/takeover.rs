//! When a claim brings no result any more: the backup's turn, and if there is none, another auction (protocol.md, section 7).
//!
//! A voter knows for itself whether a claim is over: its holder is dead or has left in the voter's own eyes, or the submitter
//! says that no sign of life came, or that the run failed. Nobody else can say so. The backup then asks everyone for a later
//! round; who saw the claim that named it backup votes for it. It needs no certificate of that claim to show, as the page has it:
//! a voter that did not see the claim could not tell either whether it is over, and 650 bytes for each job are spared.
//!
//! Where nobody takes over, only the submitter opens another auction, with LEASE_LAPSED: it alone knows that the job is not
//! done, since results go to it. So the death of a node whose jobs are all done costs nothing.

use super::{Auctions, Lapse, Proposal, Timer};
use crate::cx::Ctx;
use crate::id::{JobId, NodeId, PeerIdx};
use crate::io::{Event, PeerState, Refusal};
use crate::membership::Members;
use crate::time::{Span, Time};
use crate::wire::Payload;
use crate::wire::message::{ClaimCertificate, Consistency, JobBroadcast, LeaseLapsed, Takeover};

/// How long voters wait for the certificate of a takeover: they do not see a death at the same moment, and who has not yet
/// seen it keeps the wish. A guess: the heartbeats that two nodes heard last of a third lie at most 3 s apart.
const TAKEOVER_PATIENCE: Span = Span::secs(4);

/// Whether this node holds a member for dead or gone.
#[must_use]
pub fn is_gone(members: &Members, node: NodeId) -> bool {
    match members.find(node).map(|peer| members.peer(peer).state) {
        Some(PeerState::Alive | PeerState::Known | PeerState::Suspect) => false,
        Some(PeerState::Dead | PeerState::Left) | None => true,
    }
}

impl Auctions {
    /// A job that an earlier life of this node claimed, or submitted and saw claimed: nobody needs to auction it.
    pub fn recover(
        &mut self,
        cx: &Ctx<'_>,
        id: JobId,
        broadcast: JobBroadcast,
        claim: super::Claim,
        certificate: Option<ClaimCertificate>,
    ) {
        let left = broadcast.body.deadline.since(cx.wall());
        let job = self.insert(cx, id, broadcast, left);
        if job.claim.is_none_or(|held| !held.beats(&claim, id)) {
            job.round = claim.round;
            job.claim = Some(claim);
            job.certificate = certificate.or(job.certificate.take());
        }
    }

    /// The submitter says that a claim brings no result (7).
    pub fn on_lapsed(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        active: u32,
        from: PeerIdx,
        lapsed: &LeaseLapsed,
    ) -> Result<(), Refusal> {
        let id = lapsed.job_id;
        let job = self.jobs.get(&id).ok_or(Refusal::UnknownJob)?;
        if job.broadcast.submitter != members.id(from) {
            return Err(Refusal::OutOfPlace);
        }
        match job.claim {
            Some(claim) if claim.round == lapsed.round => self.lapse(cx, members, active, id, Lapse::Told),
            Some(claim) if claim.round > lapsed.round => {}
            // The claim was missed here; its round is over all the same.
            Some(_) | None if job.round <= lapsed.round => {
                self.follow(cx, members, active, id, lapsed.round.saturating_add(1))?;
            }
            Some(_) | None => {}
        }
        Ok(())
    }

    /// The newest claim of a job is over: its backup asks for a later round, the others give it time to, where it lives.
    pub fn lapse(&mut self, cx: &mut Ctx<'_>, members: &Members, active: u32, id: JobId, why: Lapse) {
        let known = self.jobs.get(&id).and_then(|job| job.claim).and_then(|claim| claim.lapsed);
        if known == Some(Lapse::Told) && self.timers.is_armed((id, Timer::RoundEnds)) {
            return; // Told again while somebody's turn runs.
        }
        let Some(backup) = self.end_claim(cx, id, why) else { return };
        if self.jobs[&id].takeover.is_some() && self.grant(cx, members, id).is_ok() {
            return;
        }
        if backup == Some(cx.self_id()) {
            self.take_over(cx, members, id);
        } else if backup.is_some_and(|backup| !is_gone(members, backup)) {
            self.timers.arm((id, Timer::RoundEnds), cx.now.mono + cx.config.round_timeout.times(2));
        } else {
            let round = self.jobs[&id].round.saturating_add(1);
            self.begin_round(cx, members, active, id, round);
        }
    }

    /// Marks a claim as over, and with it this voter's promise to its holder. Says who its backup is.
    fn end_claim(&mut self, cx: &mut Ctx<'_>, id: JobId, why: Lapse) -> Option<Option<NodeId>> {
        let job = self.jobs.get_mut(&id)?;
        let claim = job.claim.as_mut()?;
        let first = claim.lapsed.replace(why).is_none();
        let claim = *claim;
        job.promise.lease_until = Time(0);
        if first {
            cx.report(Event::ClaimLapsed { job: id, round: claim.round, claimer: claim.claimer });
        }
        Some(claim.backup)
    }

    /// This node is the backup of a claim that is over: it asks for a later round, directly as winner (7).
    pub fn take_over(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId) {
        let own = cx.self_id();
        let named = |claim: super::Claim| claim.backup == Some(own) && claim.claimer != own;
        let Some(claim) = self.jobs.get(&id).and_then(|job| job.claim).filter(|claim| named(*claim)) else { return };
        // Where nobody can vote it in, `on_recovered` looks again.
        let Some(ballot) = members.ballot(self.jobs[&id].needs(cx.config)) else { return };
        self.end_claim(cx, id, Lapse::Seen.or_told(claim.lapsed));
        let job = self.jobs.get_mut(&id).expect("found above");
        let round = job.round.max(claim.round).saturating_add(1);
        let (electorate, provisional) = (ballot.electorate, ballot.is_provisional());
        let proposal = Proposal { round, coordinator: own, winner: own, backup: None, electorate, provisional };
        job.begin(round, own);
        self.timers.disarm((id, Timer::BidsClose));
        cx.report(Event::TakeoverAsked { job: id, round });
        cx.broadcast(&Payload::Takeover(Takeover { job_id: id, round, electorate }));
        // A backup that has promised this round to another leaves it to the others, and to the round after.
        let _ = self.vote_on(cx, members, id, proposal, TAKEOVER_PATIENCE);
    }

    /// A backup asks to be voted for.
    pub fn on_takeover(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        takeover: Takeover,
    ) -> Result<(), Refusal> {
        let id = takeover.job_id;
        let Some(job) = self.jobs.get_mut(&id) else {
            return self.keep_early(cx, id, from, Payload::Takeover(takeover));
        };
        let backup = members.id(from);
        let claim = job.claim.filter(|claim| claim.backup == Some(backup)).ok_or(Refusal::OutOfPlace)?;
        if takeover.round <= claim.round || takeover.round < job.round {
            return Err(Refusal::OutOfPlace);
        }
        let provisional = takeover.electorate != members.electorate().digest();
        match job.needs(cx.config) {
            Consistency::Quorum if provisional => return Err(Refusal::ElectorateDiffers),
            // 10: who does not see the executor's death yet reaches others than the backup does. The wish waits for that.
            Consistency::Quorum | Consistency::Available => {}
        }
        job.takeover = Some(Proposal {
            round: takeover.round,
            coordinator: backup,
            winner: backup,
            backup: None,
            electorate: takeover.electorate,
            provisional,
        });
        self.grant(cx, members, id)
    }

    /// Votes for the backup, if the claim is over in this node's own eyes; else the wish is kept.
    fn grant(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId) -> Result<(), Refusal> {
        let job = &self.jobs[&id];
        let (Some(claim), Some(proposal)) = (job.claim, job.takeover) else { return Ok(()) };
        if claim.lapsed.is_none() && !is_gone(members, claim.claimer) && !lease_ignored_planted(cx) {
            return Ok(());
        }
        if proposal.round < job.round {
            self.jobs.get_mut(&id).expect("found above").takeover = None;
            return Err(Refusal::OutOfPlace);
        }
        if proposal.provisional && members.ballot_named(job.needs(cx.config), proposal.electorate).is_none() {
            return Err(Refusal::ElectorateDiffers);
        }
        self.end_claim(cx, id, Lapse::Seen.or_told(claim.lapsed));
        let job = self.jobs.get_mut(&id).expect("found above");
        job.takeover = None;
        job.begin(proposal.round, proposal.coordinator);
        self.timers.disarm((id, Timer::BidsClose));
        self.vote_on(cx, members, id, proposal, TAKEOVER_PATIENCE)
    }

    /// A member is seen dead or gone: wishes to take over from it are granted.
    pub fn on_peer_lost(&mut self, cx: &mut Ctx<'_>, members: &Members, lost: NodeId) {
        let wished = |job: &super::Job| job.takeover.is_some() && job.claim.is_some_and(|claim| claim.claimer == lost);
        let ids: Vec<JobId> = self.jobs.iter().filter(|(_, job)| wished(job)).map(|(id, _)| *id).collect();
        for id in ids {
            // What is too late is refused as it would have been on arrival.
            let _ = self.grant(cx, members, id);
        }
    }

    /// Whether a claim that was over in this node's eyes alone has its holder back.
    pub(super) fn stands_again(&mut self, members: &Members, id: JobId) -> bool {
        let job = self.jobs.get_mut(&id).expect("the caller found it");
        let Some(claim) = job.claim.as_mut().filter(|claim| claim.lapsed == Some(Lapse::Seen)) else { return false };
        let back = !is_gone(members, claim.claimer);
        if back {
            claim.lapsed = None;
        }
        back
    }

    /// An executor of an earlier round is shown the later claim, where this node can prove it: it is fenced (7). Which of two
    /// claims is better is not said by their rounds alone where one may be provisional (10): it is shown any other claim than its own, and
    /// answers a worse one.
    pub fn fence(&self, cx: &mut Ctx<'_>, members: &Members, from: PeerIdx, id: JobId, round: u32) {
        let Some(job) = self.jobs.get(&id) else { return };
        let differs = |held: &&ClaimCertificate| {
            let (of, winner) = (held.statement.round, held.statement.winner);
            of > round || job.may_be_provisional(cx.config) && (of, winner) != (round, members.id(from))
        };
        if let Some(held) = job.certificate.as_ref().filter(differs) {
            cx.direct(from, members.id(from), &Payload::ClaimCertificate(held.clone()));
        }
    }
}

impl Lapse {
    /// The stronger of two reasons: the submitter's word does not end when its subject turns out to live.
    fn or_told(self, known: Option<Lapse>) -> Lapse {
        known.filter(|known| *known == Lapse::Told).unwrap_or(self)
    }
}

fn lease_ignored_planted(cx: &Ctx<'_>) -> bool {
    #[cfg(feature = "plant")]
    if cx.config.plant == crate::config::Plant::LeaseIgnored {
        return true;
    }
    let _ = cx;
    false
}
