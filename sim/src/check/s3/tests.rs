use marlos::id::{ElectorateId, JobId, NodeId};
use marlos::identity::StrictVerifier;
use marlos::ledger::transaction::row_digest;
use marlos::quorum::{Proof, electorate_digest};
use marlos::units::Tokens;
use marlos::wire::message::{HeadProof, RowEntry, Transfer, TransferReason};
use marlos::wire::{Signature, Signed};

use super::*;
use crate::check::history::{History, scenario};

/// A world of four nodes that have met; n0 pays.
struct World {
    electorates: Electorates,
    s3: S3,
    history: History,
}

impl World {
    fn met() -> World {
        let scenario = scenario(4, "1000s");
        let (electorates, s3) = (Electorates::new(&scenario), S3::new(&scenario));
        let mut world = World { electorates, s3, history: History::new(&scenario) };
        for node in 0..4 {
            world.see(Observation::NodeStarted { node, restart: false }).unwrap();
            for peer in 0..4 {
                world.see(Observation::Discovered { node, peer }).unwrap();
            }
        }
        world
    }

    fn see(&mut self, o: Observation<'_>) -> Result<(), &'static str> {
        let World { electorates, s3, history } = self;
        let ms = history.truth.now.0 / 1_000 + 1;
        let seen = history.at(ms, o, |truth, o| {
            electorates.observe(truth, o);
            s3.observe(truth, o, electorates, &mut StrictVerifier)
        });
        seen.map_err(|violation| violation.sentence)
    }

    fn id(&self, node: NodeNo) -> NodeId {
        self.history.truth.ids[node]
    }

    fn transaction(&self, seq: u64, jobs: &[u8]) -> TokenTransaction {
        let transfer = |job: &u8| Transfer {
            job_id: JobId([*job; 16]),
            to: self.id(1),
            amount: Tokens(12),
            reason: TransferReason::OnTime,
        };
        let transfers = jobs.iter().map(transfer).collect();
        TokenTransaction { account: self.id(0), seq, transfers, transaction_signature: Signature([0; 64]) }
    }

    /// What n0 reports of a transaction that these nodes voted for, with which it has paid this much in all.
    fn certified(&self, transaction: &TokenTransaction, paid: u64, voters: &[NodeNo]) -> Vec<u8> {
        let mut members: Vec<(NodeId, NodeNo)> = (0..4).map(|node| (self.id(node), node)).collect();
        members.sort_unstable();
        let electorate: ElectorateId = electorate_digest(members.iter().map(|(id, _)| id));
        let row = vec![RowEntry { to: self.id(1), paid: Tokens(paid) }];
        let (account, seq) = (transaction.account, transaction.seq);
        let mut record = AccountRecord { account, seq, row, proof: None, pending: None };
        let digest = transaction.digest();
        let bytes = record.statement(digest, electorate).unwrap().signed_bytes();
        let place = |voter: &NodeNo| members.iter().position(|(_, node)| node == voter).unwrap();
        let signs = |voter: &NodeNo| self.history.keys[*voter].sign(&Signed { network_id: "marlos", bytes: &bytes });
        let votes: Vec<_> = voters.iter().map(|voter| (place(voter), signs(voter))).collect();
        record.proof = Some(HeadProof { transaction: digest, votes: Proof::new(electorate, 4, &votes) });
        let mut encoded = Vec::new();
        binary::encode_into(&(transaction, &record), &mut encoded);
        encoded
    }

    fn certifies(&mut self, seq: u64, jobs: &[u8], paid: u64, voters: &[NodeNo]) -> Result<(), &'static str> {
        let bytes = self.certified(&self.transaction(seq, jobs), paid, voters);
        self.see(Observation::TransactionCertified { node: 0, seq, certificate: &bytes })
    }

    fn applies(&mut self, node: NodeNo, seq: u64, paid: u64) -> Result<(), &'static str> {
        let row = row_digest(&[(self.id(1), Tokens(paid))].into());
        self.see(Observation::TransactionApplied { node, account: 0, seq, row, supply: None })
    }
}

#[test]
fn a_transaction_needs_a_quorum_that_really_signed_it() {
    assert_eq!(World::met().certifies(1, &[1], 12, &[0, 1, 2]), Ok(()));
    assert_eq!(World::met().certifies(1, &[1], 12, &[0, 1]), Err(REAL), "three of four are a quorum");
    let mut world = World::met();
    let mut bytes = world.certified(&world.transaction(1, &[1]), 12, &[0, 1, 2]);
    *bytes.iter_mut().rev().nth(20).unwrap() ^= 1;
    let o = Observation::TransactionCertified { node: 0, seq: 1, certificate: &bytes };
    assert_eq!(world.see(o), Err(REAL), "a changed signature");
    let mut world = World::met();
    let bytes = world.certified(&world.transaction(1, &[1]), 12, &[0, 1, 2]);
    let o = Observation::TransactionCertified { node: 2, seq: 1, certificate: &bytes };
    assert_eq!(world.see(o), Err(REAL), "another's");
}

#[test]
fn one_number_has_one_transaction() {
    let all = &[0, 1, 2];
    let mut world = World::met();
    assert_eq!(world.certifies(1, &[1, 2], 24, all), Ok(()));
    assert_eq!(world.certifies(1, &[1, 2], 24, &[1, 2, 3]), Ok(()), "the same with other votes");
    assert_eq!(world.certifies(2, &[3], 36, all), Ok(()));
    let mut world = World::met();
    assert_eq!(world.certifies(1, &[1], 12, all), Ok(()));
    assert_eq!(world.certifies(1, &[2], 12, all), Err(ONE));
}

#[test]
fn a_vote_is_for_one_transaction_unless_the_store_was_lost_between() {
    let voted = |transaction: u8| Observation::TransactionVoted {
        node: 1,
        account: 0,
        seq: 1,
        transaction: TxId([transaction; 16]),
    };
    let stopped = |how| Observation::NodeStopped { node: 1, how };
    for (between, expected) in [(Stop::CrashKept, Err(ONCE)), (Stop::CrashLost, Ok(()))] {
        let mut world = World::met();
        assert_eq!(world.see(voted(1)), Ok(()));
        assert_eq!(world.see(voted(1)), Ok(()), "the same again");
        assert_eq!(world.see(stopped(between)), Ok(()));
        assert_eq!(world.see(voted(2)), expected, "{between:?}");
    }
}

#[test]
fn what_is_applied_was_certified() {
    assert_eq!(World::met().applies(1, 1, 12), Err(SAME), "nobody certified it");
    for (paid, expected) in [(12, Ok(())), (13, Err(SAME))] {
        let mut world = World::met();
        assert_eq!(world.certifies(1, &[1], 12, &[0, 1, 2]), Ok(()));
        assert_eq!(world.applies(2, 1, paid), expected, "{paid}");
    }
}

#[test]
fn where_nothing_was_due_for_long_there_is_nothing_to_check() {
    let mut world = World::met();
    let completed =
        |executor| Observation::JobCompleted { node: 0, job: JobId([1; 16]), executor, status: JobStatus::Success };
    world.see(completed(0)).unwrap();
    assert!(world.s3.no_occasion(Time(900_000_000)), "nothing is due for one's own work");
    world.see(completed(1)).unwrap();
    assert!(world.s3.no_occasion(Time(60_000_000)));
    assert!(!world.s3.no_occasion(Time(60_100_000)), "after `settle_after` and the patience");
}
