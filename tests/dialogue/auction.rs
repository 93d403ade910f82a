//! Who gets the job (protocol.md, section 6).

use marlos::auction::{election, job_id};
use marlos::config::Election;
use marlos::id::{ElectorateId, JobId, NodeId};
use marlos::io::{Event, FailReason, Refusal};
use marlos::quorum::{self, Statement, electorate_digest};
use marlos::time::{Span, WallTime};
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::*;
use marlos::wire::{MsgType, Payload, Signature};

use crate::hand::{Hand, among_hands, refusals, sent, shell};
use crate::membership::{met, position};
use crate::net::{EPOCH_US, Net, What, keys};

/// One real node, number 0, and hands 1 to 3: four members, a quorum of three.
pub struct Table {
    pub net: Net,
    pub hands: Vec<Hand>,
    pub job: JobId,
    pub broadcast: JobBroadcast,
    pub electorate: ElectorateId,
}

impl Table {
    /// A job of hand 1 whose coordinators of rounds 0, 1, .. are these nodes.
    pub fn with_coordinators(coordinators: &[usize]) -> Table {
        let (net, hands) = among_hands(3);
        Table::with(net, hands, &[0, 1, 2, 3], Consistency::Quorum, coordinators)
    }

    /// The same with a job that asks for this, and of a network of which node 0 holds these for alive.
    pub fn with(
        net: Net,
        hands: Vec<Hand>,
        alive: &[usize],
        consistency: Consistency,
        coordinators: &[usize],
    ) -> Table {
        let change = |body: &mut JobBody| body.consistency = consistency;
        Table::where_jobs(net, hands, alive, change, |_, coordinator| {
            coordinators.iter().enumerate().all(|(round, who)| coordinator(u32::try_from(round).expect("few")) == *who)
        })
    }

    /// A job of hand 1 of which this is so, by its id and its coordinator of round 0.
    pub fn where_job(fits: impl Fn(JobId, usize) -> bool) -> Table {
        let (net, hands) = among_hands(3);
        Table::where_jobs(net, hands, &[0, 1, 2, 3], |_| {}, |job, coordinator| fits(job, coordinator(0)))
    }

    /// The same, for jobs that pay this much.
    pub fn with_payment(coordinator: usize, payment: Tokens) -> Table {
        let (net, hands) = among_hands(3);
        let change = |body: &mut JobBody| body.payment = payment;
        Table::where_jobs(net, hands, &[0, 1, 2, 3], change, |_, coordinates| coordinates(0) == coordinator)
    }

    fn where_jobs(
        net: Net,
        hands: Vec<Hand>,
        alive: &[usize],
        change: impl Fn(&mut JobBody),
        wanted: impl Fn(JobId, &dyn Fn(u32) -> usize) -> bool,
    ) -> Table {
        let mut ids: Vec<NodeId> = alive.iter().map(|at| keys(*at).id()).collect();
        ids.sort_unstable();
        let fits = |broadcast: &JobBroadcast| {
            let coordinator = |round| {
                let id = election::coordinator(Election::Modulo, job_id(broadcast), round, &ids);
                (0..4).find(|at| keys(*at).id() == id).expect("one of the four")
            };
            wanted(job_id(broadcast), &coordinator)
        };
        let made = |counter| {
            let mut broadcast = job_of(&net, keys(1).id(), counter);
            change(&mut broadcast.body);
            broadcast
        };
        let broadcast = (1..1_000).map(made).find(fits).expect("one of a thousand, where the order of ids allows it");
        let mut all: Vec<NodeId> = (0..4).map(|at| keys(at).id()).collect();
        all.sort_unstable();
        Table { job: job_id(&broadcast), net, hands, broadcast, electorate: electorate_digest(&all) }
    }

    pub fn coordinated_by(who: usize) -> Table {
        Table::with_coordinators(&[who])
    }

    pub fn say(&mut self, who: usize, payload: &Payload) -> Vec<What> {
        self.hands[who - 1].say(&mut self.net, 0, payload)
    }

    pub fn broadcast(&mut self) -> Vec<What> {
        let broadcast = Payload::JobBroadcast(self.broadcast.clone());
        self.say(1, &broadcast)
    }

    pub fn proposal(&self, round: u32, winner: usize, backup: usize) -> Payload {
        let mut ids: Vec<NodeId> = (0..4).map(|at| keys(at).id()).collect();
        ids.sort_unstable();
        let place = |who: usize| ids.iter().position(|id| *id == keys(who).id()).expect("a member");
        let bid = |who: usize| ListedBid { bidder: u32::try_from(place(who)).expect("few"), rank: 750_000 };
        Payload::AuctionCoordinate(AuctionCoordinate {
            job_id: self.job,
            round,
            electorate: self.electorate,
            winner_id: keys(winner).id(),
            backup_id: Some(keys(backup).id()),
            bids: 4,
            best: vec![bid(winner), bid(backup)],
        })
    }

    pub fn statement(&self, round: u32, winner: usize, backup: usize) -> Statement {
        let (winner, backup) = (keys(winner).id(), Some(keys(backup).id()));
        Statement { job_id: self.job, round, winner, backup, electorate: self.electorate }
    }

    pub fn vote(&mut self, who: usize, statement: &Statement) -> Vec<What> {
        let vote = self.hands[who - 1].vote(statement);
        self.say(who, &vote)
    }

    pub fn certificate(&self, statement: Statement, voters: &[usize]) -> ClaimCertificate {
        let mut ids: Vec<NodeId> = (0..4).map(|at| keys(at).id()).collect();
        ids.sort_unstable();
        let place = |who: usize| ids.iter().position(|id| *id == keys(who).id()).expect("a member");
        let votes: Vec<(usize, Signature)> =
            voters.iter().map(|who| (place(*who), Hand::new(*who).vote_signature(&statement))).collect();
        quorum::certificate(statement, 4, Vec::new(), &votes)
    }

    pub fn claim(&self) -> Option<NodeId> {
        self.net.node(0).view().job(self.job).and_then(|job| job.claimer)
    }

    /// Says that this must be refused, that nothing else is done, and that the node is as before.
    pub fn assert_refused(&mut self, who: usize, payload: &Payload, expected: Refusal) {
        let round = self.net.node(0).view().job(self.job).map(|job| (job.round, job.claimer));
        let said = self.say(who, payload);
        assert_eq!(refusals(&said), [expected], "{said:?}");
        let other = |what: &&What| !matches!(what, What::Reported(Event::Accepted { .. } | Event::Refused { .. }));
        assert_eq!(said.iter().find(other), None);
        assert_eq!(self.net.node(0).view().job(self.job).map(|job| (job.round, job.claimer)), round);
    }
}

fn job_of(net: &Net, submitter: NodeId, counter: u64) -> JobBroadcast {
    let submitted = WallTime(EPOCH_US + net.now.0);
    let body = JobBody {
        job_type: "shell".into(),
        command: "true".into(),
        priority: Ppm(0),
        submitted,
        deadline: submitted + Span::secs(60),
        payment: Tokens::whole(1),
        requirements: Vec::new(),
        consistency: Consistency::Quorum,
        max_attempts: 1,
    };
    JobBroadcast { counter, submitter, body }
}

pub fn voted(said: &[What]) -> bool {
    said.iter().any(|what| matches!(what, What::Reported(Event::Voted { .. })))
}

pub fn certified(said: &[What]) -> bool {
    said.iter().any(|what| matches!(what, What::Reported(Event::Certified { .. })))
}

pub fn addressed(said: &[What], wanted: MsgType) -> Vec<Option<NodeId>> {
    let to = |what: &What| match what {
        What::Sent { kind, to, .. } if *kind == wanted => Some(*to),
        _ => None,
    };
    said.iter().filter_map(to).collect()
}

#[test]
fn a_job_is_bid_for_to_its_coordinator_and_the_vote_goes_to_the_winner_after_it_is_durable() {
    let mut table = Table::coordinated_by(2);
    let said = table.broadcast();
    assert_eq!(addressed(&said, MsgType::JobBid), [Some(keys(2).id())]);
    assert_eq!(sent(&said), [MsgType::JobBid], "and nothing else");
    let said = table.say(2, &table.proposal(0, 3, 2));
    assert_eq!(addressed(&said, MsgType::ClaimVote), [Some(keys(3).id())]);
    assert_eq!(sent(&said), [MsgType::ClaimVote], "and nothing else");
    let persisted = position(&said, |what| *what == What::Persisted(b'v'));
    assert!(persisted < position(&said, |what| matches!(what, What::Sent { .. })), "{said:?}");
}

#[test]
fn a_coordinator_closes_when_all_have_answered_or_after_the_bid_window() {
    for answering in [3, 1] {
        let mut table = Table::coordinated_by(0);
        table.broadcast();
        let offer = Offer { score: Ppm(900_000), stake: Tokens::whole(10), estimated_completion: Span::ZERO };
        let mut said = Vec::new();
        for who in 1..=answering {
            assert_eq!(sent(&said), []);
            said = table.say(who, &Payload::JobBid(JobBid { job_id: table.job, round: 0, offer: Some(offer.clone()) }));
        }
        if answering < 3 {
            table.net.said.clear();
            table.net.run_for(Span::millis(299));
            assert!(
                !table
                    .net
                    .said
                    .iter()
                    .any(|said| matches!(said.what, What::Sent { kind: MsgType::AuctionCoordinate, .. }))
            );
            table.net.run_for(Span::millis(1));
            said = table.net.said.iter().map(|said| said.what.clone()).collect();
        }
        assert_eq!(addressed(&said, MsgType::AuctionCoordinate), [None], "{said:?}");
        let bids = said.iter().find_map(|what| match what {
            What::Reported(Event::AuctionClosed { bids, winner, .. }) => Some((*bids, *winner)),
            _ => None,
        });
        assert_eq!(
            bids,
            Some((u32::try_from(answering).expect("few") + 1, keys(0).id())),
            "its own offer of a whole is the best"
        );
    }
}

#[test]
fn a_voter_votes_once_a_round() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    assert!(voted(&table.say(2, &table.proposal(0, 3, 2))));
    let again = table.proposal(0, 3, 2);
    table.assert_refused(2, &again, Refusal::OutOfPlace);
    let other_backup = table.proposal(0, 3, 1);
    for other in [table.proposal(0, 1, 2), other_backup] {
        // That its coordinator is caught is another dialogue.
        let said = table.say(2, &other);
        assert_eq!((voted(&said), refusals(&said)), (false, vec![Refusal::OutOfPlace]));
    }
}

#[test]
fn an_unsound_proposal_is_refused_and_changes_nothing() {
    let edit = |table: &Table, round, change: fn(&mut AuctionCoordinate)| {
        let Payload::AuctionCoordinate(mut proposal) = table.proposal(round, 3, 2) else { unreachable!() };
        change(&mut proposal);
        Payload::AuctionCoordinate(proposal)
    };
    type Spoil = fn(&mut AuctionCoordinate);
    let rows: [(usize, u32, Spoil, Refusal); 10] = [
        (3, 0, |_| {}, Refusal::WrongCoordinator),
        (2, 1, |_| {}, Refusal::WrongCoordinator),
        (2, 0, |p| p.electorate.0[0] ^= 1, Refusal::ElectorateDiffers),
        (2, 0, |p| p.best.clear(), Refusal::Malformed),
        (2, 0, |p| p.best.reverse(), Refusal::Malformed),
        (2, 0, |p| p.best[1].rank += 1, Refusal::Malformed),
        (2, 0, |p| p.winner_id = keys(1).id(), Refusal::Malformed),
        (2, 0, |p| p.backup_id = None, Refusal::Malformed),
        (2, 0, |p| p.winner_id = keys(9).id(), Refusal::NotAMember),
        (2, 0, |p| p.backup_id = Some(keys(9).id()), Refusal::NotAMember),
    ];
    for (who, round, change, expected) in rows {
        let mut table = Table::coordinated_by(2);
        table.broadcast();
        let proposal = edit(&table, round, change);
        table.assert_refused(who, &proposal, expected);
        assert!(voted(&table.say(2, &table.proposal(0, 3, 2))), "the sound one is voted for after all");
    }
}

#[test]
fn a_quorum_of_votes_makes_a_claim_and_the_job_runs() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    let said = table.say(2, &table.proposal(0, 0, 3));
    assert!(voted(&said) && !certified(&said));
    let statement = table.statement(0, 0, 3);
    assert!(!certified(&table.vote(1, &statement)), "two of three");
    assert!(!certified(&table.vote(1, &statement)), "the same voter twice is one vote");
    let said = table.vote(2, &statement);
    assert!(certified(&said));
    assert_eq!(addressed(&said, MsgType::JobClaim), [None]);
    assert_eq!(addressed(&said, MsgType::ClaimCertificate), [Some(keys(1).id())], "the submitter");
    let persisted = position(&said, |what| *what == What::Persisted(b'c'));
    assert!(persisted < position(&said, |what| matches!(what, What::Sent { .. })));
    assert!(persisted < position(&said, |what| *what == What::Executed(table.job)));
}

#[test]
fn a_forged_vote_does_not_count() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    table.say(2, &table.proposal(0, 0, 3));
    let statement = table.statement(0, 0, 3);
    let of_another = Payload::ClaimVote(ClaimVote {
        job_id: table.job,
        round: 0,
        vote_signature: Hand::new(1).vote_signature(&statement),
    });
    table.assert_refused(2, &of_another, Refusal::BadSignature);
    let for_another = table.hands[1].vote(&table.statement(0, 2, 3));
    let Payload::ClaimVote(mut vote) = for_another else { unreachable!() };
    vote.round = 0;
    table.assert_refused(2, &Payload::ClaimVote(vote), Refusal::BadSignature);
    assert!(!certified(&table.vote(1, &statement)));
    assert!(certified(&table.vote(3, &statement)));
}

#[test]
fn votes_that_come_before_the_proposal_count() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    let statement = table.statement(0, 0, 3);
    table.vote(1, &statement);
    table.vote(2, &statement);
    assert!(certified(&table.say(2, &table.proposal(0, 0, 3))));
}

#[test]
fn one_voter_cannot_crowd_out_the_early_votes_of_the_others() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    for round in 1..20 {
        let noise = table.statement(round, 1, 3);
        table.vote(3, &noise);
    }
    let statement = table.statement(0, 0, 3);
    table.vote(1, &statement);
    table.vote(2, &statement);
    assert!(certified(&table.say(2, &table.proposal(0, 0, 3))));
}

#[test]
fn a_vote_of_the_last_round_does_not_spoil_the_certificate_of_the_next() {
    let order = |a: usize, b: usize| {
        let mut ids: Vec<NodeId> = (0..4).map(|at| keys(at).id()).collect();
        ids.sort_unstable();
        let place = |who: usize| ids.iter().position(|id| *id == keys(who).id()).expect("a member");
        (place(a) + 1) % 4 == place(b)
    };
    let (first, second) = (0..4)
        .flat_map(|a| (0..4).map(move |b| (a, b)))
        .find(|(a, b)| *a != 0 && *b != 0 && order(*a, *b))
        .expect("two hands in a row");
    let mut table = Table::with_coordinators(&[first, second]);
    table.broadcast();
    table.say(first, &table.proposal(0, 0, 3));
    table.net.run_for(Span::millis(701));
    assert_eq!(table.net.node(0).view().job(table.job).expect("kept").round, 1);
    let late = table.statement(0, 0, 3);
    table.vote(1, &late);
    assert!(voted(&table.say(second, &table.proposal(1, 0, 3))));
    let statement = table.statement(1, 0, 3);
    table.vote(1, &statement);
    let said = table.vote(2, &statement);
    assert!(certified(&said), "the network has checked it: {said:?}");
}

#[test]
fn what_overtakes_the_job_counts_once_the_job_is_known() {
    let mut table = Table::coordinated_by(2);
    assert_eq!(sent(&table.say(2, &table.proposal(0, 3, 2))), []);
    let said = table.broadcast();
    assert!(voted(&said), "a proposal: {said:?}");

    let mut table = Table::coordinated_by(0);
    for who in 2..=3 {
        let offer = Offer { score: Ppm(900_000), stake: Tokens::whole(10), estimated_completion: Span::ZERO };
        table.say(who, &Payload::JobBid(JobBid { job_id: table.job, round: 0, offer: Some(offer) }));
    }
    table.broadcast();
    let said = table.say(1, &Payload::JobBid(JobBid { job_id: table.job, round: 0, offer: None }));
    assert_eq!(addressed(&said, MsgType::AuctionCoordinate), [None], "bids: {said:?}");

    let mut table = Table::coordinated_by(2);
    table.say(2, &table.proposal(0, 3, 2));
    table.say(3, &Payload::JobClaim(JobClaim { job_id: table.job, round: 0 }));
    table.broadcast();
    assert_eq!(table.claim(), Some(keys(3).id()), "a claim");
}

#[test]
fn a_claim_that_no_proposal_announced_must_be_proven() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    let said = table.say(3, &Payload::JobClaim(JobClaim { job_id: table.job, round: 0 }));
    assert_eq!(addressed(&said, MsgType::CertificateRequest), [Some(keys(3).id())]);
    assert_eq!(table.claim(), None);
    let statement = table.statement(0, 3, 2);
    let short = Payload::ClaimCertificate(table.certificate(statement, &[1, 2]));
    table.assert_refused(3, &short, Refusal::BadCertificate);
    let mut stolen = table.certificate(statement, &[1, 2, 3]);
    stolen.statement.winner = keys(1).id();
    table.assert_refused(3, &Payload::ClaimCertificate(stolen), Refusal::BadCertificate);
    table.say(3, &Payload::ClaimCertificate(table.certificate(statement, &[1, 2, 3])));
    assert_eq!(table.claim(), Some(keys(3).id()));
}

#[test]
fn a_liars_claim_does_not_keep_a_node_from_asking_for_the_proof_of_the_true_one() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    table.say(1, &Payload::JobClaim(JobClaim { job_id: table.job, round: 9 }));
    let said = table.say(3, &Payload::JobClaim(JobClaim { job_id: table.job, round: 0 }));
    assert_eq!(addressed(&said, MsgType::CertificateRequest), [Some(keys(3).id())]);
}

#[test]
fn while_the_claimer_lives_nobody_votes_for_another() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    table.say(2, &table.proposal(0, 3, 2));
    table.say(3, &Payload::JobClaim(JobClaim { job_id: table.job, round: 0 }));
    assert_eq!(table.claim(), Some(keys(3).id()));
    let mut ids: Vec<NodeId> = (0..4).map(|at| keys(at).id()).collect();
    ids.sort_unstable();
    let mut votes = 0;
    for second in 1..40u32 {
        table.net.run_for(Span::secs(1));
        for hand in &mut table.hands {
            let frame = hand.ping(table.net.now);
            table.net.deliver(0, marlos::id::Link::INBOUND, &frame);
        }
        // A coordinator that missed the claim proposes another.
        let coordinator = election::coordinator(Election::Modulo, table.job, second, &ids);
        let Some(who) = (1..4).find(|who| keys(*who).id() == coordinator) else { continue };
        votes += u32::from(voted(&table.say(who, &table.proposal(second, 1, 2))));
    }
    assert_eq!(votes, 0, "its claim is a lease, extended by its signs of life");
    assert_eq!(table.net.node(0).view().job(table.job).expect("kept").round, 0, "and rounds do not go on");
}

#[test]
fn a_claimer_that_meets_a_later_proposal_shows_its_certificate() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    table.say(2, &table.proposal(0, 0, 3));
    let statement = table.statement(0, 0, 3);
    table.vote(1, &statement);
    assert!(certified(&table.vote(2, &statement)));
    let mut ids: Vec<NodeId> = (0..4).map(|at| keys(at).id()).collect();
    ids.sort_unstable();
    let hand_of =
        |round| (1..4).find(|who| keys(*who).id() == election::coordinator(Election::Modulo, table.job, round, &ids));
    let (round, who) = (1..4).find_map(|round| Some((round, hand_of(round)?))).expect("not all are node 0's");
    let said = table.say(who, &table.proposal(round, 1, 2));
    assert_eq!(addressed(&said, MsgType::ClaimCertificate), [Some(keys(who).id())]);
}

#[test]
fn four_nodes_auction_a_job_in_the_order_of_the_protocol() {
    let mut net = met(4);
    net.said.clear();
    let submitted = net.now;
    let job = net.submit(0, shell(Span::secs(30)));
    assert!(net.run_until(Span::secs(1), |net| net.outputs.contains_key(&job)));
    assert!(net.now.since(submitted) < Span::millis(200), "four hops of 10 ms, and the run of 50 ms");
    let first = |wanted: MsgType| {
        net.said
            .iter()
            .position(|said| matches!(&said.what, What::Sent { kind, .. } if *kind == wanted))
            .unwrap_or(usize::MAX)
    };
    let order = [
        MsgType::JobBroadcast,
        MsgType::JobBid,
        MsgType::AuctionCoordinate,
        MsgType::ClaimVote,
        MsgType::JobClaim,
        MsgType::JobResult,
    ];
    let places: Vec<usize> = order.iter().map(|kind| first(*kind)).filter(|place| *place != usize::MAX).collect();
    assert!(places.len() >= 4 && places.is_sorted(), "what a node says to itself is not sent: {places:?}");
    let count =
        |is: fn(&Event) -> bool| (0..4).map(|at| net.reports(at).filter(|(_, event)| is(event)).count()).sum::<usize>();
    assert_eq!(count(|event| matches!(event, Event::Voted { .. })), 4);
    assert_eq!(count(|event| matches!(event, Event::AuctionClosed { .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::Certified { .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::ExecutionStarted { .. })), 1);
    assert_eq!(count(|event| matches!(event, Event::ClaimLearned { .. })), 4);
    assert_eq!((0..4).flat_map(|at| net.refusals(at)).collect::<Vec<_>>(), [], "and nothing was out of place");
}

/// Submits at node 0 until the coordinator of round 0 is this node.
pub fn submit_coordinated_by(net: &mut Net, count: usize, who: usize, deadline: Span) -> JobId {
    let mut ids: Vec<NodeId> = (0..count).map(|at| keys(at).id()).collect();
    ids.sort_unstable();
    for _ in 0..100 {
        let job = net.submit(0, shell(deadline));
        if election::coordinator(Election::Modulo, job, 0, &ids) == keys(who).id() {
            return job;
        }
    }
    unreachable!("one in {count} is")
}

#[test]
fn a_coordinator_that_crashed_costs_less_than_two_seconds() {
    let mut net = met(4);
    let victim = 2;
    net.fate = Box::new(move |from, _, _| (from != victim).then_some(Span::ZERO));
    let job = submit_coordinated_by(&mut net, 4, victim, Span::secs(30));
    let submitted = net.now;
    let claimed = |net: &Net| net.certified.keys().any(|(claimed, _)| *claimed == job);
    assert!(net.run_until(Span::secs(2), claimed), "no claim {} after it", net.now.since(submitted));
    assert!(net.run_until(Span::secs(1), |net| net.outputs.contains_key(&job)));
}

#[test]
fn a_node_cut_off_keeps_its_job_claims_nothing_and_completes_it_after_the_heal() {
    let mut net = met(4);
    for other in 1..4 {
        net.cut[0][other] = true;
        net.cut[other][0] = true;
    }
    net.run_for(Span::secs(20));
    assert!(net.node(0).view().degraded());
    assert!(!net.node(1).view().degraded(), "three of four go on");
    let job = net.submit(0, shell(Span::secs(300)));
    net.run_for(Span::secs(20));
    assert!(net.certified.is_empty() && net.node(0).view().job(job).is_some());
    for other in 1..4 {
        net.cut[0][other] = false;
        net.cut[other][0] = false;
    }
    assert!(net.run_until(Span::secs(6), |net| net.outputs.contains_key(&job)), "within two heartbeats of the heal");
}

#[test]
fn a_voter_that_restarts_does_not_vote_again_in_a_round() {
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    assert!(voted(&table.say(2, &table.proposal(0, 3, 2))));
    let restarted = |table: &mut Table| {
        table.net.stop(0);
        table.net.run_for(Span::secs(1));
        table.net.start(0);
        // From then on it takes what comes over other connections than its own.
        table.net.run_for(Span::millis(250));
        for hand in &mut table.hands {
            let frame = hand.announce(table.net.now);
            table.net.deliver(0, marlos::id::Link::INBOUND, &frame);
        }
        table.broadcast();
    };
    restarted(&mut table);
    let round = table.net.node(0).view().job(table.job).expect("known again").round;
    let again = table.proposal(0, 1, 2);
    assert!(!voted(&table.say(2, &again)), "in round {round}");

    // Without its store it does not know what it voted for: it votes on no job from before, also after a second restart.
    table.net.stop(0);
    table.net.slots[0].store.clear();
    for _ in 0..2 {
        restarted(&mut table);
        let again = table.proposal(0, 1, 2);
        assert!(!voted(&table.say(2, &again)));
    }
    let newer = job_of(&table.net, keys(1).id(), 5_000);
    table.say(1, &Payload::JobBroadcast(newer.clone()));
    let mut ids: Vec<NodeId> = (0..4).map(|at| keys(at).id()).collect();
    ids.sort_unstable();
    let coordinator = election::coordinator(Election::Modulo, job_id(&newer), 0, &ids);
    if let Some(who) = (1..4).find(|who| keys(*who).id() == coordinator) {
        table.job = job_id(&newer);
        assert!(voted(&table.say(who, &table.proposal(0, 3, 2))), "on jobs from after it, it does");
    }
}

#[test]
fn a_job_that_comes_again_at_its_very_end_is_no_panic() {
    // The node stood still past everything; the first thing it hears is the job that it claimed.
    let mut table = Table::coordinated_by(2);
    table.broadcast();
    table.say(2, &table.proposal(0, 0, 3));
    let statement = table.statement(0, 0, 3);
    table.vote(1, &statement);
    assert!(certified(&table.vote(2, &statement)));
    table.net.now += Span::secs(90);
    table.broadcast();
    table.net.run_for(Span::secs(10));
}

#[test]
fn a_winner_that_declines_everything_is_never_named() {
    let mut net = met(4);
    for at in 1..4 {
        net.stop(at);
        net.slots[at].config.capabilities.clear();
        net.run_for(Span::secs(1));
        net.start(at);
    }
    net.run_for(Span::secs(5));
    let job = net.submit(1, shell(Span::secs(30)));
    assert!(net.run_until(Span::secs(5), |net| net.outputs.contains_key(&job)));
    assert!(net.certified.values().all(|winner| *winner == keys(0).id()), "the only one that can");
    let no = net.submit(0, marlos::io::JobSpec { job_type: "quantum", ..shell(Span::secs(5)) });
    net.run_for(Span::secs(10));
    assert!(net.reports(0).any(|(_, event)| *event == Event::JobFailed { job: no, reason: FailReason::NoBids }));
}
