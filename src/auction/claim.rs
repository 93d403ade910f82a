//! Votes, and the claim that enough of them make (protocol.md, section 6, steps 4 and 5).

use super::{Auctions, Claim, Effect, Job, Proposal, Timer};
use crate::auction::round::{Promise, may_vote};
use crate::config::Config;
use crate::cx::{Ctx, store_key};
use crate::evidence::votes::{double_votes, votes_of};
use crate::id::{JobId, NodeId, PeerIdx};
use crate::io::{Event, Refusal};
use crate::membership::Members;
use crate::membership::electorate::Electorate;
use crate::quorum;
use crate::time::Span;
use crate::wire::message::{CertificateRequest, ClaimCertificate, ClaimVote, Evidence, JobClaim};
use crate::wire::{Payload, Signature, Signed, binary};

impl Auctions {
    pub(super) fn cast_vote(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        id: JobId,
        proposal: Proposal,
        lease: Span,
    ) -> Result<(), Refusal> {
        let own = cx.self_id();
        if self.funds.unfunded.contains(&id) || self.funds.without_stake.contains(&proposal.winner) {
            return Err(Refusal::InsufficientBalance); // 6.4: the submitter can pay, and the winner can stake
        }
        let job = self.jobs.get_mut(&id).expect("the caller found it");
        // 9: whom this node would not give the job does not get its vote.
        let peer = members.find(proposal.winner).ok_or(Refusal::NotAMember)?;
        if members.peer(peer).standing.trust_for(id, proposal.winner).is_none() {
            return Err(Refusal::Quarantined);
        }
        if !votes_forgotten_planted(cx.config) {
            may_vote(&job.promise, proposal.round, proposal.winner, cx.now.mono)?;
        }
        if job.broadcast.body.submitted < self.vote_floor || members.electorate().position(own).is_none() {
            return Ok(());
        }
        job.promise = Promise { voted: Some((proposal.round, proposal.winner)), lease_until: cx.now.mono + lease };
        if !votes_not_persisted_planted(cx.config) {
            cx.persist(&store_key::of_job(store_key::VOTE, id), &(proposal.round, proposal.winner));
        }
        cx.report(Event::Voted { job: id, round: proposal.round, winner: proposal.winner });
        let bytes = proposal.statement(id).signed_bytes();
        let signed = Signed { network_id: &cx.config.network_id, bytes: &bytes };
        let vote_signature = cx.verify.sign(cx.egress.keys(), &signed);
        match members.find(proposal.winner) {
            Some(PeerIdx::SELF) => self.add_vote(cx, members, id, own, vote_signature),
            Some(peer) => {
                let vote = ClaimVote { job_id: id, round: proposal.round, vote_signature };
                cx.direct(peer, proposal.winner, &Payload::ClaimVote(vote));
            }
            None => {}
        }
        Ok(())
    }

    /// A vote for this node (6.5).
    pub fn on_vote(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        vote: ClaimVote,
    ) -> Result<(), Refusal> {
        let own = cx.self_id();
        let voter = members.id(from);
        let job = self.jobs.get_mut(&vote.job_id).ok_or(Refusal::UnknownJob)?;
        if job.claim.is_some_and(|claim| claim.round >= vote.round) {
            return Ok(());
        }
        if members.electorate().position(voter).is_none() {
            return Err(Refusal::NotAMember);
        }
        if members.peer(from).standing.proven {
            return Err(Refusal::Quarantined);
        }
        let proposal = match job.proposal {
            Some(proposal) if proposal.round == vote.round && proposal.winner == own => proposal,
            // The voter's link was faster than the coordinator's.
            _ if vote.round >= job.round => {
                // One of each voter, so that nobody takes the room of the others.
                job.early_votes.retain(|(voter, _)| *voter != from);
                job.early_votes.push((from, vote));
                return Ok(());
            }
            _ => return Err(Refusal::OutOfPlace),
        };
        let bytes = proposal.statement(vote.job_id).signed_bytes();
        let signed = Signed { network_id: &cx.config.network_id, bytes: &bytes };
        if !cx.verify.verify(members.peer(from).key(), &signed, &vote.vote_signature) {
            return Err(Refusal::BadSignature);
        }
        self.add_vote(cx, members, vote.job_id, voter, vote.vote_signature);
        Ok(())
    }

    fn add_vote(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId, voter: NodeId, signature: Signature) {
        let electorate = members.electorate();
        let job = self.jobs.get_mut(&id).expect("the caller found it");
        let proposal = job.proposal.expect("votes are counted for a proposal");
        if job.votes.iter().all(|(known, _)| *known != voter) {
            job.votes.push((voter, signature));
        }
        if job.votes.len() < votes_needed(cx.config, electorate.quorum()) || proposal.electorate != electorate.digest()
        {
            return;
        }
        let at = |(voter, signature): &(NodeId, Signature)| Some((electorate.position(*voter)?, *signature));
        let votes: Vec<(usize, Signature)> = job.votes.iter().filter_map(at).collect();
        assert_eq!(votes.len(), job.votes.len(), "every vote is of a member of this electorate");
        let certificate = quorum::certificate(proposal.statement(id), electorate.members().len(), &votes);
        self.claim(cx, members, id, proposal, certificate);
    }

    /// This node holds a certificate: persist it, tell everyone, run the job (6.5).
    fn claim(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        id: JobId,
        proposal: Proposal,
        certificate: ClaimCertificate,
    ) {
        let round = proposal.round;
        let broadcast = &self.jobs[&id].broadcast;
        cx.persist(&store_key::of_job(store_key::CERTIFICATE, id), &(broadcast.clone(), certificate.clone()));
        let votes = u32::try_from(certificate.signatures.len()).expect("bounded by members");
        let start = cx.out.at();
        binary::encode_into(&certificate, &mut cx.out.bytes);
        let bytes = start..cx.out.at();
        let electorate = u32::try_from(members.electorate().members().len()).expect("bounded by max_members");
        cx.report(Event::Certified { job: id, round, votes, members: electorate, certificate: bytes });
        cx.broadcast(&Payload::JobClaim(JobClaim { job_id: id, round }));
        let submitter = self.jobs[&id].broadcast.submitter;
        if let Some(peer) = members.find(submitter).filter(|peer| *peer != PeerIdx::SELF) {
            cx.direct(peer, submitter, &Payload::ClaimCertificate(certificate.clone()));
        }
        self.jobs.get_mut(&id).expect("known").certificate = Some(certificate);
        self.accept_claim(cx, id, round, cx.self_id(), proposal.backup);
        let claim = Claim { round, claimer: cx.self_id(), backup: proposal.backup, lapsed: None };
        self.effects.push(Effect::Won { job: id, claim });
    }

    /// Somebody says that it holds a certificate. Believed where it is the winner we saw proposed; else it must show it.
    pub fn on_claim(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        claim: JobClaim,
    ) -> Result<(), Refusal> {
        let id = claim.job_id;
        let claimer = members.id(from);
        let Some(job) = self.jobs.get_mut(&id) else {
            return self.keep_early(cx, id, from, Payload::JobClaim(claim));
        };
        if job.claim.is_some_and(|held| held.round == claim.round && held.claimer == claimer) {
            return Ok(());
        }
        if job.claim.is_some_and(|held| held.round > claim.round) {
            return Err(Refusal::OutOfPlace);
        }
        let seen = job.proposal.filter(|p| p.round == claim.round && p.winner == claimer);
        // Of two claims of one round, only proof tells which is right; and who holds a standing claim is not replaced by a word.
        let open = job.standing().is_none() && job.claim.is_none_or(|held| held.round < claim.round);
        if let Some(proposal) = seen.filter(|_| open) {
            self.accept_claim(cx, id, claim.round, claimer, proposal.backup);
        } else if job.asked_for_certificate.replace((claim.round, claimer)) != Some((claim.round, claimer)) {
            cx.direct(from, claimer, &Payload::CertificateRequest(CertificateRequest { job_id: id }));
        }
        Ok(())
    }

    /// Proof of a claim.
    pub fn on_certificate(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        certificate: ClaimCertificate,
    ) -> Result<(), Refusal> {
        let statement = certificate.statement;
        let job = self.jobs.get_mut(&statement.job_id).ok_or(Refusal::UnknownJob)?;
        job.asked_for_certificate = None;
        let electorate = members.electorate();
        let known = job.certificate.as_ref().map(|held| held.statement);
        if known.is_some_and(|known| known.round > statement.round || known == statement) {
            return Ok(());
        }
        let needed = u32::try_from(votes_needed(cx.config, electorate.quorum())).expect("bounded by max_members");
        quorum::check_certificate(&certificate, electorate.members(), needed, &cx.config.network_id, cx.verify)
            .map_err(|_| Refusal::BadCertificate)?;
        // 9: whoever voted for this and for another in the same round is caught by it.
        self.conflicts.extend(double_voters(job, &certificate, electorate));
        if known.is_some_and(|known| known.round == statement.round) {
            return Ok(());
        }
        let claimer = job.claim.filter(|held| held.round == statement.round).map(|held| held.claimer);
        if let Some(other) = claimer.filter(|claimer| *claimer != statement.winner)
            && let Some(peer) = members.find(other).filter(|peer| *peer != PeerIdx::SELF)
        {
            // The claim that was believed without proof: if it has one, voters lied, and the two prove which.
            cx.direct(peer, other, &Payload::CertificateRequest(CertificateRequest { job_id: statement.job_id }));
        }
        job.certificate = Some(certificate);
        if job.claim.is_none_or(|held| held.round < statement.round) {
            self.accept_claim(cx, statement.job_id, statement.round, statement.winner, statement.backup);
        }
        Ok(())
    }

    pub(super) fn accept_claim(
        &mut self,
        cx: &mut Ctx<'_>,
        id: JobId,
        round: u32,
        claimer: NodeId,
        backup: Option<NodeId>,
    ) {
        let job = self.jobs.get_mut(&id).expect("the caller found it");
        assert!(job.claim.is_none_or(|held| held.round < round), "claims only move to later rounds");
        let claim = Claim { round, claimer, backup, lapsed: None };
        let before = job.claim.replace(claim).map(|held| held.claimer);
        job.takeover = None;
        job.round = job.round.max(round);
        job.promise.lease_until = cx.now.mono + cx.config.lease;
        job.bids = Vec::new();
        job.votes = Vec::new();
        job.early_votes = Vec::new();
        self.timers.disarm((id, Timer::BidsClose));
        self.timers.disarm((id, Timer::RoundEnds));
        cx.report(Event::ClaimLearned { job: id, round, claimer });
        self.effects.push(Effect::Claimed { job: id, claim, before });
    }
}

/// Evidence against who voted for a certificate, and for what else this node holds votes of that round.
fn double_voters(job: &Job, certificate: &ClaimCertificate, electorate: &Electorate) -> Vec<Evidence> {
    let statement = certificate.statement;
    let held = job
        .certificate
        .as_ref()
        .filter(|held| held.statement.round == statement.round && held.statement.electorate == statement.electorate);
    let proposed = job.proposal.filter(|proposal| proposal.round == statement.round && !job.votes.is_empty());
    if held.is_none() && proposed.is_none() {
        return Vec::new();
    }
    let votes: Vec<_> = votes_of(certificate, electorate.members()).collect();
    let mut found = Vec::new();
    if let Some(held) = held {
        let others: Vec<_> = votes_of(held, electorate.members()).collect();
        found.extend(double_votes((held.statement, &others), (statement, &votes)));
    }
    if let Some(proposal) = proposed {
        found.extend(double_votes((proposal.statement(statement.job_id), &job.votes), (statement, &votes)));
    }
    found
}

fn votes_needed(config: &Config, quorum: u32) -> usize {
    #[cfg(feature = "plant")]
    if config.plant == crate::config::Plant::QuorumOneShort {
        return quorum.saturating_sub(1).max(1) as usize;
    }
    let _ = config;
    quorum as usize
}

pub(super) fn votes_forgotten_planted(config: &Config) -> bool {
    #[cfg(feature = "plant")]
    if matches!(config.plant, crate::config::Plant::VotesForgotten | crate::config::Plant::AnyCoordinator) {
        return true;
    }
    let _ = config;
    false
}

fn votes_not_persisted_planted(config: &Config) -> bool {
    #[cfg(feature = "plant")]
    if matches!(config.plant, crate::config::Plant::VotesForgotten | crate::config::Plant::VotesNotPersisted) {
        return true;
    }
    let _ = config;
    false
}
