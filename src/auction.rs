//! Who gets the job: rounds of bids, a proposal, votes, and a certificate (protocol.md, section 6).
//!
//! Every node keeps every open job. A coordinator only proposes; voters decide, each once per round, and persist their vote
//! before it leaves. Whoever collects a quorum of votes for itself holds the claim. What the rest of the node must do about
//! it is left in [`Auctions::effects`] for `node.rs`.

mod claim;
pub mod election;
mod job;
pub mod provisional;
pub mod round;
pub mod score;
mod takeover;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::config::{Config, planted};
use crate::cx::{Ctx, store_key};
use crate::id::{JobId, NodeId, PeerIdx};
use crate::io::{Event, PeerState, Refusal};
use crate::membership::Members;
use crate::time::{Span, Time, WallTime};
use crate::timers::Timers;
use crate::units::Ppm;
use crate::wire::message::{AuctionCoordinate, Consistency, Evidence, JobBid, JobBroadcast, ListedBid, Offer};
use crate::wire::{Payload, binary};
use claim::votes_forgotten_planted;
pub use job::{Claim, Job, Lapse, Proposal};
use round::Promise;
pub use takeover::is_gone;

/// Messages about jobs that are not known yet, because another link was faster than the submitter's.
const EARLY_MESSAGES: usize = 1_024;
/// How long they are kept: a guess, well above any delay that is not a partition.
const EARLY_LIFE: Span = Span::secs(5);
/// Rounds are not followed further than this ahead at once, so that nobody can push a job to the end of its numbers.
const ROUNDS_AHEAD: u32 = 64;
/// The furthest deadline of a job, for who submits it and for who hears of it.
pub const LONGEST_DEADLINE: Span = Span::secs(30 * 86_400);

/// All open jobs this node knows, and their auctions.
#[derive(Clone, Debug, Default)]
pub struct Auctions {
    jobs: BTreeMap<JobId, Job>,
    timers: Timers<(JobId, Timer)>,
    early: VecDeque<(Time, JobId, PeerIdx, Payload)>,
    /// Votes that the store remembers of jobs that are not known again yet.
    remembered: BTreeMap<JobId, Promise>,
    /// Jobs submitted before this are not voted on: a node that lost its store might have voted on them already.
    vote_floor: WallTime,
    /// Whom and what the money does not reach.
    pub funds: Funds,
    /// What `node.rs` must do now.
    pub effects: Vec<Effect>,
    /// Votes of members that exclude each other; `node.rs` carries them to the evidence.
    pub conflicts: Vec<Evidence>,
}

/// Whom and what the money does not reach, as `node.rs` carries it over from the ledger (8).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Funds {
    /// Jobs whose submitter could not reserve what they may cost: they get no vote until it can.
    pub unfunded: BTreeSet<JobId>,
    /// Members that could not stake a claim: they get no vote, and do not bid.
    pub without_stake: BTreeSet<NodeId>,
}

/// What an auction asks of the rest of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant's line says what its fields are")]
pub enum Effect {
    /// This node holds a certificate: run the job.
    Won { job: JobId, claim: Claim },
    /// Somebody, perhaps this node, holds the claim of this round; `before` held that of an earlier one.
    Claimed { job: JobId, claim: Claim, before: Option<NodeId> },
    /// This node, as coordinator, has made a proposal: there were bids.
    Proposed { job: JobId },
    /// The submitter broadcast again a job that this node claimed.
    Reasked { job: JobId },
    /// A job is not kept any more.
    Expired { job: JobId },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    BidsClose,
    RoundEnds,
    Expires,
}

impl Auctions {
    /// Starts with what the store remembers. `vote_floor` is when the store began: no vote is cast on older jobs.
    pub fn start(&mut self, remembered: BTreeMap<JobId, Promise>, vote_floor: WallTime) {
        self.remembered = remembered;
        self.vote_floor = vote_floor;
    }

    /// Others remember a life of this node that its store does not: it may have voted on any job that was submitted before now,
    /// by a submitter whose clock may be ahead by as much as admission tolerates. On those it does not vote; on what it first
    /// hears of later, it has not voted either. So a voter without memory never votes twice (protocol.md, section 6.4).
    pub fn on_amnesia(&mut self, cx: &mut Ctx<'_>) {
        self.vote_floor = self.vote_floor.max(cx.wall() + cx.config.clock_sync_tolerance);
        cx.persist(store_key::VOTE_FLOOR, &self.vote_floor);
    }

    /// A job by its id.
    #[must_use]
    pub fn job(&self, job: JobId) -> Option<&Job> {
        self.jobs.get(&job)
    }

    /// All open jobs, by id.
    pub fn iter(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.iter().map(|(id, job)| (*id, job))
    }

    /// How many jobs are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether no job is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    /// When something here is due.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }

    /// A job becomes known, by its broadcast or because this node submits it (6.1).
    pub fn on_broadcast(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        active: u32,
        from: PeerIdx,
        broadcast: JobBroadcast,
    ) -> Result<(), Refusal> {
        if broadcast.submitter != members.id(from) {
            return Err(Refusal::OutOfPlace);
        }
        let id = job_id(&broadcast);
        if let Some(job) = self.jobs.get(&id) {
            match job.standing() {
                Some(claim) if claim.claimer == cx.self_id() => self.effects.push(Effect::Reasked { job: id }),
                // 7: asking for a job means having no result of it. Whose claimer is gone has nobody else to wait for.
                Some(claim) if is_gone(members, claim.claimer) => {
                    self.lapse(cx, members, active, id, Lapse::Told);
                }
                Some(_) | None => {}
            }
            return Ok(());
        }
        check_limits(&broadcast, cx)?;
        if self.jobs.len() >= cx.config.max_known_jobs as usize {
            return Err(Refusal::TooManyJobs);
        }
        let left = broadcast.body.deadline.since(cx.wall());
        self.insert(cx, id, broadcast, left);
        if from != PeerIdx::SELF {
            cx.report(Event::JobSeen { job: id, submitter: from });
        }
        self.enter_round(cx, members, active, id, 0);
        self.replay_early(cx, members, active, id);
        Ok(())
    }

    fn insert(&mut self, cx: &Ctx<'_>, id: JobId, broadcast: JobBroadcast, left: Span) -> &mut Job {
        let promise = self.remembered.remove(&id).unwrap_or_default();
        self.timers.arm((id, Timer::Expires), cx.now.mono + left + cx.config.lease.times(2));
        self.jobs.entry(id).or_insert(Job::new(broadcast, promise))
    }

    /// Begins a round: everyone who has the job bids or declines to the coordinator of its own view (6.2).
    fn enter_round(&mut self, cx: &mut Ctx<'_>, members: &Members, active: u32, id: JobId, round: u32) {
        let coordinator = election::coordinator(cx.config.election, id, round, &members.coordinators(cx.config, false));
        self.jobs.get_mut(&id).expect("the caller found it").begin(round, coordinator);
        self.timers.disarm((id, Timer::BidsClose));
        if !members.may_claim(self.jobs[&id].needs(cx.config)) {
            // Jobs are kept and claims wait: the round goes on when enough members are reachable again.
            self.timers.disarm((id, Timer::RoundEnds));
            return;
        }
        self.timers.arm((id, Timer::RoundEnds), cx.now.mono + round::timeout(cx.config.round_timeout, round));
        let job = &self.jobs[&id];
        let bid = JobBid { job_id: id, round, offer: self.offer(cx, &job.broadcast, active) };
        #[cfg(feature = "plant")]
        if cx.config.plant == crate::config::Plant::ExecuteWithoutClaim && bid.offer.is_some() {
            let claim = Claim { round, claimer: cx.self_id(), backup: None, provisional: false, lapsed: None };
            self.effects.push(Effect::Won { job: id, claim });
        }
        match members.find(coordinator) {
            Some(PeerIdx::SELF) => {
                self.timers.arm((id, Timer::BidsClose), cx.now.mono + cx.config.bid_window);
                self.take_bid(cx, members, PeerIdx::SELF, bid);
            }
            Some(peer) => cx.direct(peer, coordinator, &Payload::JobBid(bid)),
            None => unreachable!("coordinators are elected among members"),
        }
    }

    /// A bid or a decline for a round that this node coordinates (6.3).
    pub fn on_bid(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        active: u32,
        from: PeerIdx,
        bid: JobBid,
    ) -> Result<(), Refusal> {
        let Some(job) = self.jobs.get(&bid.job_id) else {
            return self.keep_early(cx, bid.job_id, from, Payload::JobBid(bid));
        };
        if job.standing().is_some() {
            return Ok(());
        }
        if bid.round < job.round {
            self.tell_round(cx, members, from, bid.job_id);
            return Ok(());
        }
        if bid.round > job.round {
            self.follow(cx, members, active, bid.job_id, bid.round)?;
        }
        // 9: it counts as an answer, so that nobody waits for its author, and as an offer only in trial work.
        let standing = members.peer(from).standing;
        let refused = bid.offer.is_some() && standing.trust_for(bid.job_id, members.id(from)).is_none();
        self.take_bid(cx, members, from, bid);
        if refused { Err(Refusal::Quarantined) } else { Ok(()) }
    }

    fn take_bid(&mut self, cx: &mut Ctx<'_>, members: &Members, from: PeerIdx, bid: JobBid) {
        let bidder = members.id(from);
        let id = bid.job_id;
        let job = self.jobs.get_mut(&id).expect("the caller found it");
        if job.bids.iter().all(|(known, _)| *known != bidder) {
            job.bids.push((bidder, bid.offer));
        }
        let all_answered = job.bids.len() >= members.reachable() as usize;
        if all_answered {
            self.close_bids(cx, members, id);
        }
    }

    /// The coordinator proposes the best offers, once per round (6.3).
    fn close_bids(&mut self, cx: &mut Ctx<'_>, members: &Members, id: JobId) {
        let own = cx.self_id();
        let job = self.jobs.get_mut(&id).expect("the caller found it");
        if job.coordinator != own
            || job.closed == Some(job.round) && !planted!(cx.config, ProposesTwice)
            || job.standing().is_some()
        {
            return;
        }
        if job.broadcast.body.submitted < self.vote_floor {
            return; // The life that the store forgot may have proposed another winner: as with votes.
        }
        let needs = job.needs(cx.config);
        let Some(ballot) = members.ballot(needs) else { return };
        job.closed = Some(job.round);
        let round = job.round;
        // How far a bidder is trusted with this job, if it is eligible at all.
        let trusted = |bidder: NodeId| {
            let peer = members.peer(members.find(bidder)?);
            let eligible = peer.state == PeerState::Alive && members.electorate().position(bidder).is_some();
            let can_stake = !self.funds.without_stake.contains(&bidder);
            peer.standing.trust_for(id, bidder).filter(|_| eligible && can_stake)
        };
        let ranked = |(bidder, offer): &(NodeId, Option<Offer>)| {
            let (offer, trust) = (offer.as_ref()?, trusted(*bidder)?);
            Some((score::rank(offer.score, trust), trust, *bidder))
        };
        let mut offers: Vec<(u32, Ppm, NodeId)> = job.bids.iter().filter_map(ranked).collect();
        offers.sort_by_cached_key(|(rank, trust, bidder)| score::order(id, *rank, *trust, *bidder));
        self.timers.disarm((id, Timer::BidsClose));
        let Some((_, _, winner)) = offers.first().copied() else {
            cx.report(Event::AuctionEmpty { job: id, round });
            return;
        };
        let bids = u32::try_from(offers.len()).expect("bounded by members");
        let backup = offers.get(1).map(|(_, _, bidder)| *bidder);
        let listed = |(rank, _, bidder): &(u32, Ppm, NodeId)| ListedBid {
            bidder: u32::try_from(members.electorate().position(*bidder).expect("eligible"))
                .expect("bounded by max_members"),
            rank: *rank,
        };
        let proposal = AuctionCoordinate {
            job_id: id,
            round,
            electorate: ballot.electorate,
            winner_id: winner,
            backup_id: backup,
            bids,
            best: offers.iter().take(cx.config.listed_bids as usize).map(listed).collect(),
        };
        cx.report(Event::AuctionClosed { job: id, round, winner, backup, bids });
        cx.broadcast(&Payload::AuctionCoordinate(proposal.clone()));
        self.effects.push(Effect::Proposed { job: id });
        // A voter that refuses its own proposal (its lease runs) leaves the decision to the others.
        if let Ok(proposal) = check_proposal(cx.config, members, needs, own, &proposal) {
            let patience = round::timeout(cx.config.round_timeout, proposal.round);
            let _ = self.vote_on(cx, members, id, proposal, patience);
        }
    }

    /// A proposal: checked, then voted on (6.4).
    pub fn on_coordinate(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        active: u32,
        from: PeerIdx,
        message: AuctionCoordinate,
    ) -> Result<(), Refusal> {
        let Some(job) = self.jobs.get(&message.job_id) else {
            return self.keep_early(cx, message.job_id, from, Payload::AuctionCoordinate(message));
        };
        if job.claim.is_some_and(|claim| claim.round >= message.round) {
            return Err(Refusal::OutOfPlace);
        }
        if message.round < job.round {
            self.tell_round(cx, members, from, message.job_id);
            return Err(Refusal::OutOfPlace);
        }
        // Before anything is done about it: what is refused must not move the round either.
        let proposal = check_proposal(cx.config, members, job.needs(cx.config), members.id(from), &message)?;
        if let Some(claim) = job.standing()
            && claim.claimer != proposal.winner
            && cx.now.mono < job.lease_until(cx, members, claim.claimer)
        {
            // 6.4: the claim is a lease. Its holder tells who has missed it, or the coordinators would go on proposing.
            if let Some(held) = job.certificate.clone().filter(|_| claim.claimer == cx.self_id()) {
                cx.direct(from, members.id(from), &Payload::ClaimCertificate(held));
            }
            return Err(Refusal::OutOfPlace);
        }
        if message.round > job.round {
            self.follow(cx, members, active, message.job_id, message.round)?;
        }
        let patience = round::timeout(cx.config.round_timeout, proposal.round);
        self.vote_on(cx, members, message.job_id, proposal, patience)
    }

    /// Votes for a proposal, and waits this long for its certificate.
    fn vote_on(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        id: JobId,
        proposal: Proposal,
        patience: Span,
    ) -> Result<(), Refusal> {
        let job = self.jobs.get_mut(&id).expect("the caller found it");
        if job.proposal.is_some_and(|known| known.round == proposal.round && known != proposal)
            && !votes_forgotten_planted(cx.config)
        {
            return Err(Refusal::OutOfPlace);
        }
        if job.proposal != Some(proposal) {
            // Votes are for one proposal: those of another round would not verify in this one's certificate.
            job.proposal = Some(proposal);
            job.votes.clear();
        }
        self.timers.arm((id, Timer::RoundEnds), cx.now.mono + patience);
        let voted = self.cast_vote(cx, members, id, proposal, patience);
        if proposal.winner == cx.self_id() {
            for (voter, vote) in std::mem::take(&mut self.jobs.get_mut(&id).expect("known").early_votes) {
                // A vote that does not verify is dropped as it would have been on arrival.
                let _ = self.on_vote(cx, members, voter, vote);
            }
        }
        voted
    }

    /// Everything that is due now.
    pub fn on_timers(&mut self, cx: &mut Ctx<'_>, members: &Members, active: u32) {
        while let Some((id, timer)) = self.timers.pop_due(cx.now.mono) {
            match timer {
                Timer::BidsClose => self.close_bids(cx, members, id),
                // 6.6: no proposal, or no certificate: the next coordinator's turn.
                Timer::RoundEnds => self.next_round(cx, members, active, id),
                Timer::Expires => {
                    let over = self.jobs[&id].broadcast.body.deadline + cx.config.lease.times(2);
                    let early = over.since(cx.wall());
                    if early > Span::ZERO {
                        // The clock was wrong when it was armed. A job that could still come again is not forgotten: its
                        // rounds would begin anew, and this node's votes and proposals with them.
                        self.timers.arm((id, Timer::Expires), cx.now.mono + early);
                        continue;
                    }
                    self.jobs.remove(&id);
                    self.effects.push(Effect::Expired { job: id });
                    self.timers.disarm((id, Timer::BidsClose));
                    self.timers.disarm((id, Timer::RoundEnds));
                    cx.forget(&store_key::of_job(store_key::VOTE, id));
                    cx.forget(&store_key::of_job(store_key::CERTIFICATE, id));
                }
            }
        }
    }

    /// Enough members are reachable again, for some jobs at least: auctions that waited go on.
    pub fn on_recovered(&mut self, cx: &mut Ctx<'_>, members: &Members, active: u32) {
        let waiting = |id: &JobId, job: &Job| {
            job.standing().is_none()
                && !self.timers.is_armed((*id, Timer::RoundEnds))
                && members.may_claim(job.needs(cx.config))
        };
        let ids: Vec<JobId> = self.jobs.iter().filter(|(id, job)| waiting(id, job)).map(|(id, _)| *id).collect();
        for id in ids {
            self.next_round(cx, members, active, id);
        }
    }

    /// The round brought nothing: the next one's turn, unless the claim that it was to replace stands again.
    fn next_round(&mut self, cx: &mut Ctx<'_>, members: &Members, active: u32, id: JobId) {
        if !self.stands_again(members, id) {
            let round = self.jobs[&id].round.saturating_add(1);
            self.begin_round(cx, members, active, id, round);
        }
    }

    /// Another member is in a later round: follow it, as far as makes sense.
    fn follow(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        active: u32,
        id: JobId,
        round: u32,
    ) -> Result<(), Refusal> {
        if round - self.jobs[&id].round > ROUNDS_AHEAD {
            return Err(Refusal::OutOfPlace);
        }
        self.begin_round(cx, members, active, id, round);
        Ok(())
    }

    fn begin_round(&mut self, cx: &mut Ctx<'_>, members: &Members, active: u32, id: JobId, round: u32) {
        let job = self.jobs.get_mut(&id).expect("the caller found it");
        job.early_votes.retain(|(_, vote)| vote.round >= round);
        self.enter_round(cx, members, active, id, round);
    }

    /// Who is in an earlier round of an open job is told of the later one, as by a bidder that declines: after a cut, the two sides
    /// have come to different rounds, and would go on past each other.
    fn tell_round(&self, cx: &mut Ctx<'_>, members: &Members, to: PeerIdx, id: JobId) {
        let decline = JobBid { job_id: id, round: self.jobs[&id].round, offer: None };
        cx.direct(to, members.id(to), &Payload::JobBid(decline));
    }

    fn keep_early(&mut self, cx: &Ctx<'_>, id: JobId, from: PeerIdx, message: Payload) -> Result<(), Refusal> {
        while self.early.front().is_some_and(|(at, ..)| cx.now.mono.since(*at) > EARLY_LIFE) {
            self.early.pop_front();
        }
        if self.early.len() >= EARLY_MESSAGES {
            return Err(Refusal::UnknownJob);
        }
        self.early.push_back((cx.now.mono, id, from, message));
        Ok(())
    }

    fn replay_early(&mut self, cx: &mut Ctx<'_>, members: &Members, active: u32, id: JobId) {
        let (now_known, rest) = std::mem::take(&mut self.early).into_iter().partition(|(_, job, ..)| *job == id);
        self.early = rest;
        let now_known: VecDeque<_> = now_known;
        for (_, _, from, message) in now_known {
            // Refused or not, it is dealt with: its sender is no worse off than if it had come a moment later.
            let _ = match message {
                Payload::JobBid(bid) => self.on_bid(cx, members, active, from, bid),
                Payload::AuctionCoordinate(proposal) => self.on_coordinate(cx, members, active, from, proposal),
                Payload::JobClaim(claim) => self.on_claim(cx, members, from, claim),
                Payload::Takeover(takeover) => self.on_takeover(cx, members, from, takeover),
                other => unreachable!("{:?} is never kept", other.kind()),
            };
        }
    }

    /// This node's offer for a job, or nothing where it declines: also where it could not stake (8).
    fn offer(&self, cx: &Ctx<'_>, broadcast: &JobBroadcast, active: u32) -> Option<Offer> {
        let can = |need: &String| cx.config.capabilities.contains(need);
        let suited = can(&broadcast.body.job_type) && broadcast.body.requirements.iter().all(can);
        let can_stake = !self.funds.without_stake.contains(&cx.self_id());
        (suited && can_stake && active < cx.config.max_active_jobs).then(|| Offer {
            score: score::score(active, cx.config.max_active_jobs),
            stake: cx.config.stake,
            estimated_completion: Span::ZERO,
        })
    }

    /// Asserts what must always hold, in constant time.
    pub fn check_invariants(&self) {
        assert!(self.timers.len() >= self.jobs.len(), "every job expires");
        assert!(self.early.len() <= EARLY_MESSAGES, "early messages are bounded");
        assert!(self.effects.is_empty(), "node.rs has dealt with every effect");
    }
}

/// The id of a job: nobody else can make a job with the same one.
#[must_use]
pub fn job_id(broadcast: &JobBroadcast) -> JobId {
    let mut body = Vec::new();
    binary::encode_into(&broadcast.body, &mut body);
    JobId::of_job(broadcast.submitter, broadcast.counter, &body)
}

fn check_limits(broadcast: &JobBroadcast, cx: &Ctx<'_>) -> Result<(), Refusal> {
    let body = &broadcast.body;
    let left = body.deadline.since(cx.wall());
    if left == Span::ZERO || left > LONGEST_DEADLINE {
        return Err(Refusal::OutOfPlace);
    }
    // A stamp from the future would lie after the vote floor of lives to come.
    if body.submitted.since(cx.wall()) > cx.config.clock_sync_tolerance {
        return Err(Refusal::OutOfPlace);
    }
    if body.command.len() > cx.config.max_command_bytes as usize {
        return Err(Refusal::TooLarge);
    }
    Ok(())
}

/// A coordinator's message as a proposal, if it comes from the right one, for this electorate, about its members (6.4).
fn check_proposal(
    config: &Config,
    members: &Members,
    needs: Consistency,
    coordinator: NodeId,
    message: &AuctionCoordinate,
) -> Result<Proposal, Refusal> {
    if !is_coordinator(config, members, message.job_id, message.round, coordinator) {
        return Err(Refusal::WrongCoordinator);
    }
    let ballot = members.ballot_named(needs, message.electorate).ok_or(Refusal::ElectorateDiffers)?;
    let (winner, backup) = (message.winner_id, message.backup_id);
    let place = |at: usize| message.best.get(at).map(|bid| bid.bidder as usize);
    let position = |node: NodeId| members.electorate().position(node).ok_or(Refusal::NotAMember);
    // The winner is the best of the bids, the backup the second, and nobody is ranked above who is ranked higher.
    if place(0) != Some(position(winner)?)
        || place(1) != backup.map(position).transpose()?
        || !message.best.is_sorted_by(|a, b| a.rank >= b.rank)
    {
        return Err(Refusal::Malformed);
    }
    let provisional = ballot.is_provisional();
    Ok(Proposal { round: message.round, coordinator, winner, backup, electorate: message.electorate, provisional })
}

/// Whether `node` coordinates the round, among the members held for alive, or among those and the suspected ones: two views
/// that differ by a suspicion must not cost a round.
fn is_coordinator(config: &Config, members: &Members, job: JobId, round: u32, node: NodeId) -> bool {
    let elected =
        |suspects| election::coordinator(config.election, job, round, &members.coordinators(config, suspects)) == node;
    two_coordinators_planted(config) || elected(false) || elected(true)
}

fn two_coordinators_planted(config: &Config) -> bool {
    #[cfg(feature = "plant")]
    if config.plant == crate::config::Plant::AnyCoordinator {
        return true;
    }
    let _ = config;
    false
}
