use marlos::id::ElectorateId;
use marlos::identity::StrictVerifier;
use marlos::io::PeerState;
use marlos::quorum::{certificate, electorate_digest, provisional_digest};
use marlos::wire::{Signature, Signed};

use super::*;
use crate::check::history::{History, scenario};
use crate::observe::Stop;

const JOB: JobId = JobId([9; 16]);

/// A world of `nodes` that all started at 0 s and have met each other by 1 s.
struct World {
    check: S1,
    electorates: Electorates,
    contact: Contact,
    history: History,
}

impl World {
    fn new(nodes: usize) -> World {
        let scenario = scenario(nodes, "100000s");
        let (check, electorates) = (S1::new(&scenario), Electorates::new(&scenario));
        let mut world = World { check, electorates, contact: Contact::new(nodes), history: History::new(&scenario) };
        for node in 0..nodes {
            world.see(0, Observation::NodeStarted { node, restart: false }).unwrap();
        }
        world
    }

    fn met(nodes: usize) -> World {
        let mut world = World::new(nodes);
        for node in 0..nodes {
            world.meets(1_000, node, 0..nodes);
        }
        world
    }

    fn meets(&mut self, ms: u64, node: NodeNo, peers: impl IntoIterator<Item = NodeNo>) {
        for peer in peers {
            self.see(ms, Observation::Discovered { node, peer }).unwrap();
        }
    }

    fn see(&mut self, ms: u64, o: Observation<'_>) -> Result<(), Box<Violation>> {
        let World { check, electorates, contact, history } = self;
        history.at(ms, o, |truth, o| {
            contact.observe(truth, o, |_, _, _| {});
            electorates.observe(truth, o);
            check.observe(truth, o, contact, electorates, &mut StrictVerifier)
        })
    }

    /// The electorate of these nodes, sorted by id, with the statement that they may vote for.
    fn statement(&self, winner: NodeNo, round: u32, members: &[NodeNo]) -> (Members, Statement) {
        let mut members: Members = members.iter().map(|node| (self.history.truth.ids[*node], *node)).collect();
        members.sort_unstable();
        let electorate = electorate_digest(members.iter().map(|(id, _)| id));
        let winner = self.history.truth.ids[winner];
        (members, Statement { job_id: JOB, round, winner, backup: None, electorate })
    }

    /// A certificate that really bears the votes of `voters`.
    fn certificate(&self, winner: NodeNo, round: u32, members: &[NodeNo], voters: &[NodeNo]) -> ClaimCertificate {
        let (sorted, statement) = self.statement(winner, round, members);
        let bytes = statement.signed_bytes();
        let votes: Vec<(usize, Signature)> = voters
            .iter()
            .map(|voter| {
                let index = sorted.iter().position(|(_, node)| node == voter).unwrap();
                (index, self.history.keys[*voter].sign(&Signed { network_id: "marlos", bytes: &bytes }))
            })
            .collect();
        certificate(statement, sorted.len(), Vec::new(), &votes)
    }

    fn reports(
        &mut self,
        ms: u64,
        node: NodeNo,
        round: u32,
        certificate: &ClaimCertificate,
    ) -> Result<(), Box<Violation>> {
        let mut bytes = Vec::new();
        binary::encode_into(certificate, &mut bytes);
        self.see(ms, Observation::Certified { node, job: JOB, round, votes: 0, members: 0, certificate: &bytes })
    }
}

fn sentence(result: Result<(), Box<Violation>>) -> Option<&'static str> {
    result.err().map(|violation| violation.sentence)
}

fn second_fact(result: Result<(), Box<Violation>>) -> String {
    result.unwrap_err().facts[1].what.clone()
}

#[test]
fn a_certificate_of_a_quorum_is_accepted_and_counted() {
    let mut world = World::met(4);
    let good = world.certificate(1, 0, &[0, 1, 2, 3], &[0, 2, 3]);
    assert_eq!(world.reports(2_000, 1, 0, &good), Ok(()));
    assert_eq!(world.check.checked(), 1);
}

#[test]
fn a_quorum_one_short_is_caught_on_its_first_certificate_at_every_size() {
    for nodes in 2..=12 {
        let all: Vec<NodeNo> = (0..nodes).collect();
        let needed = votes_needed(u32::try_from(nodes).unwrap()) as usize;
        let mut world = World::met(nodes);
        let enough = world.certificate(0, 0, &all, &all[..needed]);
        assert_eq!(world.reports(2_000, 0, 0, &enough), Ok(()), "{nodes}");
        let short = world.certificate(0, 1, &all, &all[..needed - 1]);
        assert_eq!(sentence(world.reports(2_000, 0, 1, &short)), Some(REAL), "{nodes}");
    }
}

#[test]
fn two_statements_for_one_round_are_caught_and_the_first_is_shown() {
    let mut world = World::met(4);
    let (first, second) =
        (world.certificate(1, 0, &[0, 1, 2, 3], &[0, 1, 2]), world.certificate(2, 0, &[0, 1, 2, 3], &[1, 2, 3]));
    assert_eq!(world.reports(2_000, 1, 0, &first), Ok(()));
    let found = world.reports(3_000, 2, 0, &second).unwrap_err();
    assert_eq!((found.sentence, found.facts[0].node, found.facts[0].at.0), (ONE, 1, 2_000_000));
    // Another round of the same job may have another winner.
    let mut world = World::met(4);
    let later = world.certificate(2, 1, &[0, 1, 2, 3], &[1, 2, 3]);
    assert_eq!(world.reports(2_000, 1, 0, &first), Ok(()));
    assert_eq!(world.reports(3_000, 2, 1, &later), Ok(()));
}

#[test]
fn every_vote_must_be_signed_by_the_voter_it_is_counted_for() {
    let mut world = World::met(4);
    let mut swapped = world.certificate(1, 0, &[0, 1, 2, 3], &[0, 1, 2]);
    swapped.signatures.swap(0, 1);
    assert!(second_fact(world.reports(2_000, 1, 0, &swapped)).contains("has not signed"));
    let mut twice = world.certificate(1, 0, &[0, 1, 2, 3], &[0, 1]);
    twice.signatures.push(twice.signatures[0]);
    assert!(second_fact(world.reports(2_000, 1, 0, &twice)).contains("2 voters have 3 signatures"));
    let mut outside = world.certificate(1, 0, &[0, 1, 2, 3], &[0, 1, 2]);
    outside.voters[0] = 0b1001_0100;
    assert!(second_fact(world.reports(2_000, 1, 0, &outside)).contains("voter 7 of 4"));
}

#[test]
fn a_certificate_for_something_else_is_none() {
    let mut world = World::met(4);
    let of_1 = world.certificate(1, 0, &[0, 1, 2, 3], &[0, 1, 2]);
    assert!(second_fact(world.reports(2_000, 2, 0, &of_1)).contains("as the winner"));
    assert!(second_fact(world.reports(2_000, 1, 1, &of_1)).contains("of round 0"));
    let garbage = Observation::Certified { node: 1, job: JOB, round: 0, votes: 3, members: 4, certificate: &[1, 2, 3] };
    assert_eq!(sentence(world.see(2_000, garbage)), Some(REAL));
}

#[test]
fn an_electorate_of_those_who_answer_instead_of_those_who_are_known_is_caught() {
    let mut world = World::met(6);
    for peer in [4, 5] {
        world.see(20_000, Observation::PeerState { node: 0, peer, state: PeerState::Dead }).unwrap();
    }
    let of_the_living = world.certificate(0, 0, &[0, 1, 2, 3], &[0, 1, 2]);
    assert!(second_fact(world.reports(21_000, 0, 0, &of_the_living)).contains("no set of members"));
    let (_, mut statement) = world.statement(0, 0, &[0, 1, 2, 3]);
    statement.electorate = ElectorateId([0; 8]);
    assert_eq!(sentence(world.reports(21_000, 0, 0, &certificate(statement, 4, Vec::new(), &[]))), Some(REAL));
}

#[test]
fn a_member_that_joins_while_votes_are_under_way_changes_nothing_for_ten_seconds() {
    let mut world = World::new(5);
    for node in 0..4 {
        world.meets(1_000, node, 0..4);
    }
    world.meets(20_000, 0, [4]);
    let before = world.certificate(0, 0, &[0, 1, 2, 3], &[0, 1, 2]);
    assert_eq!(world.reports(29_000, 0, 0, &before), Ok(()));
    let after = world.certificate(0, 1, &[0, 1, 2, 3, 4], &[0, 1, 2, 3]);
    assert_eq!(world.reports(29_000, 0, 1, &after), Ok(()));
    let too_late = world.certificate(0, 2, &[0, 1, 2, 3], &[0, 1, 2]);
    assert_eq!(sentence(world.reports(31_000, 0, 2, &too_late)), Some(REAL));
}

#[test]
fn a_restarted_node_remembers_whom_it_has_met_as_far_as_its_store_does() {
    // What n1 certifies after it has met n0 again: with all four, and with the two that it has met since.
    let after = |how: Stop, cut: Option<u64>| {
        let mut world = World::met(4);
        let good = world.certificate(1, 0, &[0, 1, 2, 3], &[0, 2, 3]);
        world.reports(2_000, 1, 0, &good).unwrap();
        world.see(20_000, Observation::NodeStopped { node: 1, how }).unwrap();
        if let Some(since_ms) = cut {
            let since = Time(since_ms * 1_000);
            world.see(20_000, Observation::StoreCut { node: 1, records: 1, since, torn: false }).unwrap();
        }
        world.see(21_000, Observation::NodeStarted { node: 1, restart: true }).unwrap();
        assert_eq!(world.reports(21_000, 1, 0, &good), Ok(()), "it keeps its certificates");
        world.meets(21_200, 1, [0]);
        let all = world.certificate(1, 1, &[0, 1, 2, 3], &[0, 2, 3]);
        let few = world.certificate(1, 2, &[0, 1], &[0, 1]);
        (sentence(world.reports(21_500, 1, 1, &all)), sentence(world.reports(21_500, 1, 2, &few)))
    };
    assert_eq!(after(Stop::CrashKept, None), (None, Some(REAL)));
    assert_eq!(after(Stop::Leave, None), (None, Some(REAL)));
    assert_eq!(after(Stop::CrashUnsynced, Some(2_000)), (None, Some(REAL)), "it had met them before that");
    assert_eq!(after(Stop::CrashUnsynced, Some(1_000)), (Some(REAL), None));
    assert_eq!(after(Stop::CrashLost, None), (Some(REAL), None));
}

#[test]
fn whom_a_quorum_has_never_known_a_node_that_restarts_may_leave_out() {
    // n4 has met n1 alone, and is gone.
    let mut world = World::new(5);
    (0..4).for_each(|node| world.meets(1_000, node, 0..4));
    world.meets(1_500, 1, [4]);
    world.see(20_000, Observation::NodeStopped { node: 1, how: Stop::Leave }).unwrap();
    world.see(21_000, Observation::NodeStarted { node: 1, restart: true }).unwrap();
    world.meets(21_200, 1, [0, 2, 3]);
    let without = world.certificate(1, 0, &[0, 1, 2, 3], &[0, 2, 3]);
    assert_eq!(world.reports(21_500, 1, 0, &without), Ok(()));
    // But not one that is known to the others.
    let short = world.certificate(1, 1, &[0, 1, 2], &[0, 1, 2]);
    assert_eq!(sentence(world.reports(21_500, 1, 1, &short)), Some(REAL));
}

#[test]
fn an_electorate_too_small_to_meet_every_other_is_caught_once_its_node_could_have_met_more() {
    // Ten nodes in contact from 0 s on, of which n0 has met only two others.
    let mut world = World::new(10);
    world.meets(1_000, 0, [1, 2]);
    let narrow = |world: &World, round| world.certificate(0, round, &[0, 1, 2], &[0, 1]);
    let early = narrow(&world, 0);
    assert_eq!(world.reports(29_999, 0, 0, &early), Ok(()));
    let late = narrow(&world, 1);
    assert_eq!(sentence(world.reports(30_000, 0, 1, &late)), Some(WIDE));
}

#[test]
fn members_that_were_never_in_reach_do_not_make_an_electorate_too_small() {
    let mut world = World::new(10);
    let (left, right): (Vec<NodeNo>, Vec<NodeNo>) = ((0..3).collect(), (3..10).collect());
    world.history.reach(&left, &right, false);
    world.see(0, Observation::ReachChanged).unwrap();
    world.meets(1_000, 0, [1, 2]);
    let of_its_side = world.certificate(0, 0, &[0, 1, 2], &[0, 1]);
    assert_eq!(world.reports(60_000, 0, 0, &of_its_side), Ok(()));
}

#[test]
fn members_dead_for_longer_than_forget_after_may_be_forgotten() {
    let mut world = World::met(4);
    world.see(20_000, Observation::NodeStopped { node: 3, how: Stop::CrashKept }).unwrap();
    world.see(30_000, Observation::PeerState { node: 0, peer: 3, state: PeerState::Dead }).unwrap();
    let without = |world: &World, round| world.certificate(0, round, &[0, 1, 2], &[0, 1]);
    let forgotten = without(&world, 0);
    assert_eq!(world.reports(3_630_000, 0, 0, &forgotten), Ok(()));
    // It comes back while votes for an electorate without it are under way.
    world.see(3_640_000, Observation::PeerState { node: 0, peer: 3, state: PeerState::Alive }).unwrap();
    let without_it = without(&world, 1);
    assert_eq!(world.reports(3_650_000, 0, 1, &without_it), Ok(()));
    let too_late = without(&world, 2);
    assert_eq!(sentence(world.reports(3_650_001, 0, 2, &too_late)), Some(REAL));
    let mut world = World::met(4);
    world.see(30_000, Observation::PeerState { node: 0, peer: 3, state: PeerState::Dead }).unwrap();
    let too_early = without(&world, 0);
    assert_eq!(sentence(world.reports(3_000_000, 0, 0, &too_early)), Some(REAL));
}

#[test]
fn in_fixed_mode_exactly_the_listed_ids_vote() {
    let mut world = World::met(5);
    let mut fixed = scenario(5, "100000s");
    let listed = Membership::Fixed(world.history.truth.ids[..4].to_vec());
    fixed.nodes.iter_mut().for_each(|node| node.config.membership = listed.clone());
    (world.check, world.electorates) = (S1::new(&fixed), Electorates::new(&fixed));
    let listed = world.certificate(0, 0, &[0, 1, 2, 3], &[0, 1, 2]);
    assert_eq!(world.reports(2_000, 0, 0, &listed), Ok(()));
    let all = world.certificate(0, 1, &[0, 1, 2, 3, 4], &[0, 1, 2, 3]);
    assert_eq!(sentence(world.reports(2_000, 0, 1, &all)), Some(REAL));
}

#[test]
fn a_node_that_votes_for_two_winners_of_one_round_is_caught_whatever_became_of_its_store() {
    let vote = |round, winner| Observation::Voted { node: 2, job: JOB, round, winner };
    let stop = |how| Observation::NodeStopped { node: 2, how };
    let ends_in = |history: &[Observation<'_>]| {
        let mut world = World::met(4);
        let mut result = Ok(());
        for o in history {
            assert_eq!(result, Ok(()));
            result = world.see(2_000, o.clone());
        }
        sentence(result)
    };
    assert_eq!(ends_in(&[vote(0, 1), vote(0, 1), vote(1, 3)]), None);
    assert_eq!(ends_in(&[vote(0, 1), vote(0, 3)]), Some(ONCE));
    assert_eq!(ends_in(&[vote(0, 1), stop(Stop::CrashKept), vote(0, 3)]), Some(ONCE));
    assert_eq!(ends_in(&[vote(0, 1), stop(Stop::CrashLost), vote(0, 3)]), Some(ONCE));
    // A vote that was not durable has not left the node either; one that was written before the first that is gone has.
    let cut = |since_ms: u64| Observation::StoreCut { node: 2, records: 1, since: Time(since_ms * 1_000), torn: false };
    assert_eq!(ends_in(&[vote(0, 1), stop(Stop::CrashUnsynced), cut(2_000), vote(0, 3)]), None);
    assert_eq!(ends_in(&[vote(0, 1), stop(Stop::CrashUnsynced), cut(2_001), vote(0, 3)]), Some(ONCE));
    assert_eq!(ends_in(&[vote(0, 1), stop(Stop::CrashUnsynced), vote(0, 3)]), Some(ONCE));
    let mut world = World::met(4);
    world.see(2_000, vote(0, 1)).unwrap();
    let text = world.see(3_000, vote(0, 3)).unwrap_err().to_string();
    let facts = format!(
        "at 2.000000s at n2: it votes for n1 in round 0 of {JOB}; but at 3.000000s (event 22) at n2: it votes for n3"
    );
    assert!(text.contains(&facts), "{text}");
}

/// Seven nodes whose submitters ask for available jobs. All have met; then n0 to n2 are on one side of a cut.
fn split() -> World {
    let mut scenario = crate::check::history::scenario_with_jobs(7, "100000s", 1);
    scenario.workload.as_mut().unwrap().job.consistency = Consistency::Available;
    let mut world = World { check: S1::new(&scenario), ..World::met(7) };
    for node in 0..7 {
        world.meets(1_000, node, 0..7);
    }
    for (a, b) in (0..3).flat_map(|a| (3..7).map(move |b| (a, b))) {
        world.history.truth.reaches[a][b] = false;
        world.history.truth.reaches[b][a] = false;
    }
    world.see(2_000, Observation::ReachChanged).unwrap();
    world
}

/// A certificate of round 0 that says that these were reachable.
fn provisional(world: &World, winner: NodeNo, reachable: &[NodeNo], voters: &[NodeNo]) -> ClaimCertificate {
    let (sorted, mut statement) = world.statement(winner, 0, &[0, 1, 2, 3, 4, 5, 6]);
    let place = |of: &NodeNo| sorted.iter().position(|(_, node)| node == of).unwrap();
    let bits = marlos::quorum::bitmap(sorted.len(), reachable.iter().map(place));
    statement.electorate = provisional_digest(statement.electorate, &bits);
    let bytes = statement.signed_bytes();
    let sign = |of: &NodeNo| world.history.keys[*of].sign(&Signed { network_id: "marlos", bytes: &bytes });
    let votes: Vec<(usize, Signature)> = voters.iter().map(|voter| (place(voter), sign(voter))).collect();
    certificate(statement, sorted.len(), bits, &votes)
}

#[test]
fn two_sides_may_claim_one_round_provisionally_with_a_quorum_of_whom_each_reaches() {
    let mut world = split();
    let (left, right) =
        (provisional(&world, 0, &[0, 1, 2], &[0, 1]), provisional(&world, 5, &[3, 4, 5, 6], &[3, 5, 6]));
    assert_eq!(world.reports(3_000, 0, 0, &left), Ok(()));
    assert_eq!(world.reports(3_000, 5, 0, &right), Ok(()));
    assert_eq!(world.check.checked(), 2);
    assert_eq!(world.reports(4_000, 0, 0, &left), Ok(()), "shown again after a restart");
    assert_eq!(world.check.checked(), 2);
}

#[test]
fn a_provisional_claim_with_too_few_or_foreign_voters_or_of_another_electorate_is_caught() {
    let mut world = split();
    let short = provisional(&world, 5, &[3, 4, 5, 6], &[3, 5]);
    assert_eq!(sentence(world.reports(3_000, 5, 0, &short)), Some(REAL));
    let foreign = provisional(&world, 0, &[0, 1, 2], &[0, 1, 3]);
    assert_eq!(sentence(world.reports(3_000, 0, 0, &foreign)), Some(REAL));
    let mut other = provisional(&world, 0, &[0, 1, 2], &[0, 1]);
    other.reachable[0] ^= 0b111_1111;
    assert_eq!(sentence(world.reports(3_000, 0, 0, &other)), Some(REAL));
}

#[test]
fn a_provisional_claim_where_a_quorum_was_asked_for_or_could_be_reached_is_caught() {
    let mut world = split();
    world.check.consistency = Consistency::Quorum;
    let part = provisional(&world, 0, &[0, 1, 2], &[0, 1]);
    assert_eq!(sentence(world.reports(3_000, 0, 0, &part)), Some(ASKED));

    let mut world = split();
    for (a, b) in (0..3).flat_map(|a| (3..7).map(move |b| (a, b))) {
        world.history.truth.reaches[a][b] = true;
        world.history.truth.reaches[b][a] = true;
    }
    world.see(60_000, Observation::ReachChanged).unwrap();
    let hears = |world: &mut World, ms: u64, sender: NodeNo| {
        let (kind, latency) = (marlos::wire::MsgType::Ping, marlos::time::Span::ZERO);
        world.see(ms, Observation::Accepted { node: 0, sender, claimed: sender, kind, frame: 0, latency }).unwrap();
    };
    for ms in (60_000..=90_000).step_by(5_000) {
        for sender in 1..4 {
            hears(&mut world, ms, sender);
        }
        if ms == 80_000 {
            assert_eq!(world.reports(ms, 0, 0, &part), Ok(()), "it may not know yet");
            world.check.provisional.clear();
        }
    }
    assert_eq!(world.reports(91_000, 0, 0, &part), Ok(()), "it hears four, and five of seven are a quorum");
    world.check.provisional.clear();
    for ms in (92_000..=127_000).step_by(5_000) {
        for sender in 1..5 {
            hears(&mut world, ms, sender);
        }
    }
    assert_eq!(sentence(world.reports(128_000, 0, 0, &part)), Some(SPLIT));
}
