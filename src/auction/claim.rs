//! Votes, and the claim that enough of them make (protocol.md, section 6, steps 4 and 5).

use super::{Auctions, Claim, Effect, Job, Proposal, Timer};
use crate::auction::round::{Promise, may_vote};
use crate::config::{Config, planted};
use crate::cx::{Ctx, store_key};
use crate::evidence::votes::{double_votes, votes_of};
use crate::id::{JobId, NodeId, PeerIdx};
use crate::identity::chain::WithOlder;
use crate::io::{Event, Refusal};
use crate::membership::Members;
use crate::membership::electorate::Electorate;
use crate::quorum;
use crate::time::{Span, Time};
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
            let leased = if planted!(cx.config, LeaseUnheld) { Time(0) } else { job.promise.lease_until };
            may_vote(&Promise { lease_until: leased, ..job.promise }, proposal.round, proposal.winner, cx.now.mono)?;
        }
        let forgot = job.broadcast.body.submitted < self.vote_floor && !planted!(cx.config, VoteFloorIgnored);
        if forgot || members.electorate().position(own).is_none() {
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
        let place = members.electorate().position(voter).ok_or(Refusal::NotAMember)?;
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
        if proposal.provisional
            && members
                .ballot_named(job.needs(cx.config), proposal.electorate)
                .is_none_or(|ballot| !ballot.counts(place))
        {
            return Err(Refusal::ElectorateDiffers); // 10: only the reachable vote, and they are others by now
        }
        let bytes = proposal.statement(vote.job_id).signed_bytes();
        let signed = Signed { network_id: &cx.config.network_id, bytes: &bytes };
        if !members.peer(from).has_signed(cx.now.mono, cx.verify, &signed, &vote.vote_signature) {
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
        let Some(ballot) = members.ballot_named(job.needs(cx.config), proposal.electorate) else { return };
        if job.votes.len() < votes_needed(cx.config, ballot.needed()) {
            return;
        }
        let at = |(voter, signature): &(NodeId, Signature)| Some((electorate.position(*voter)?, *signature));
        let votes: Vec<(usize, Signature)> = job.votes.iter().filter_map(at).collect();
        assert_eq!(votes.len(), job.votes.len(), "every vote is of a member of this electorate");
        let (voters, statement) = (ballot.voters, proposal.statement(id));
        let certificate = quorum::certificate(statement, electorate.members().len(), ballot.reachable, &votes);
        self.claim(cx, members, id, proposal, voters, certificate);
    }

    /// This node holds a certificate: persist it, tell everyone, run the job (6.5).
    fn claim(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        id: JobId,
        proposal: Proposal,
        voters: u32,
        certificate: ClaimCertificate,
    ) {
        let round = proposal.round;
        let broadcast = &self.jobs[&id].broadcast;
        cx.persist(&store_key::of_job(store_key::CERTIFICATE, id), &(broadcast.clone(), certificate.clone()));
        let votes = u32::try_from(certificate.signatures.len()).expect("bounded by members");
        let start = cx.out.at();
        binary::encode_into(&certificate, &mut cx.out.bytes);
        let bytes = start..cx.out.at();
        cx.report(Event::Certified { job: id, round, votes, members: voters, certificate: bytes });
        cx.broadcast(&Payload::JobClaim(JobClaim { job_id: id, round }));
        let submitter = self.jobs[&id].broadcast.submitter;
        if let Some(peer) = members.find(submitter).filter(|peer| *peer != PeerIdx::SELF) {
            cx.direct(peer, submitter, &Payload::ClaimCertificate(certificate.clone()));
        }
        self.jobs.get_mut(&id).expect("known").certificate = Some(certificate);
        let claim = proposal.claim();
        self.accept_claim(cx, id, claim);
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
        // 10: a provisional claim may end before one of an earlier round, if that one is proven.
        if job.claim.is_some_and(|held| held.round > claim.round && !held.provisional) {
            return Err(Refusal::OutOfPlace);
        }
        let seen = job.proposal.filter(|p| p.round == claim.round && p.winner == claimer);
        // Of two claims of one round, only proof tells which is right; and who holds a standing claim is not replaced by a word.
        let open = |said: &Claim| job.standing().is_none() && job.claim.is_none_or(|held| said.beats(&held, id));
        if let Some(said) = seen.map(|proposal| proposal.claim()).filter(open) {
            self.accept_claim(cx, id, said);
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
        from: PeerIdx,
        certificate: ClaimCertificate,
    ) -> Result<(), Refusal> {
        let statement = certificate.statement;
        let id = statement.job_id;
        let shown = Claim::of(&certificate);
        let job = self.jobs.get_mut(&id).ok_or(Refusal::UnknownJob)?;
        job.asked_for_certificate = None;
        let submitted = job.broadcast.body.submitted;
        if shown.provisional && !job.may_be_provisional(cx.config) {
            return Err(Refusal::BadCertificate);
        }
        let electorate = members.electorate();
        let known = job.certificate.as_ref().map(|held| (held.statement, Claim::of(held)));
        let same_round = known.is_some_and(|(known, _)| known.round == statement.round);
        let better = known.is_none_or(|(_, held)| shown.beats(&held, id));
        if !better {
            self.answer_worse(cx, members, from, id, &shown);
        }
        if known.is_some_and(|(known, _)| known == statement) || (!better && !same_round) {
            return Ok(());
        }
        let needed = u32::try_from(votes_needed(cx.config, electorate.quorum())).expect("bounded by max_members");
        // 1: a voter may have had another key when the job was there already; of later jobs it cannot have signed any vote.
        let older = |key: &[u8; 32]| electorate.older_keys(key, submitted);
        let mut verify = WithOlder { verify: cx.verify, older: &older };
        quorum::check_certificate(&certificate, electorate.members(), needed, &cx.config.network_id, &mut verify)
            .map_err(|_| Refusal::BadCertificate)?;
        let job = self.jobs.get_mut(&id).expect("found above");
        // 9: whoever voted for this and for another in the same round is caught by it.
        self.conflicts.extend(double_voters(job, &certificate, electorate));
        if !better {
            return Ok(());
        }
        let unproven = job.claim.filter(|held| held.round == statement.round && !same_round);
        let claimer = unproven.map(|held| held.claimer);
        if let Some(other) = claimer.filter(|claimer| *claimer != statement.winner)
            && let Some(peer) = members.find(other).filter(|peer| *peer != PeerIdx::SELF)
        {
            // The claim that was believed without proof: if it has one, voters lied, and the two prove which.
            cx.direct(peer, other, &Payload::CertificateRequest(CertificateRequest { job_id: statement.job_id }));
        }
        job.certificate = Some(certificate);
        if job.claim.is_none_or(|held| shown.beats(&held, id)) {
            self.accept_claim(cx, id, shown);
        }
        Ok(())
    }

    pub(super) fn accept_claim(&mut self, cx: &mut Ctx<'_>, id: JobId, claim: Claim) {
        let job = self.jobs.get_mut(&id).expect("the caller found it");
        assert!(job.claim.is_none_or(|held| claim.beats(&held, id)), "a claim only ends for a better one");
        // Whose standing claim was provisional has only met a better one: it has missed nothing.
        let missed = |held: &Claim| held.lapsed.is_some() || !held.provisional;
        let before = job.claim.replace(claim).filter(missed).map(|held| held.claimer);
        job.takeover = None;
        job.round = job.round.max(claim.round);
        job.promise.lease_until = cx.now.mono + cx.config.lease;
        job.bids = Vec::new();
        job.votes = Vec::new();
        job.early_votes = Vec::new();
        self.timers.disarm((id, Timer::BidsClose));
        self.timers.disarm((id, Timer::RoundEnds));
        cx.report(Event::ClaimLearned { job: id, round: claim.round, claimer: claim.claimer });
        self.effects.push(Effect::Claimed { job: id, claim, before });
    }
}

/// Evidence against who voted for a certificate, and for what else this node holds votes of that round.
fn double_voters(job: &Job, certificate: &ClaimCertificate, electorate: &Electorate) -> Vec<Evidence> {
    let statement = certificate.statement;
    let all = electorate.digest();
    let of_all = |held: &ClaimCertificate| match held.reachable.as_slice() {
        [] => held.statement.electorate == all,
        reachable => held.statement.electorate == quorum::provisional_digest(all, reachable),
    };
    let held = job.certificate.as_ref().filter(|held| held.statement.round == statement.round && of_all(held));
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
