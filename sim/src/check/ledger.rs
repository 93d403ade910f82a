//! The ledger's invariants (protocol.md, section 8): money is neither made nor lost, nobody has less than nothing, each job is paid
//! at most once, and a stake is lost at most once, for a claim that another's claim ended.
//!
//! 1. When a node has applied something, then in its own eyes what is free, reserved and staked adds up to what everybody began
//!    with, and so do the balances, of which none is below zero.
//! 2. By all certified transactions and penalties, added up here, no account has paid and lost more than it began with and got.
//! 3. No two certified transactions, and no transaction twice, name one job.
//! 4. A penalty was voted for, really, by a quorum of an electorate that its submitter may have held (see [`super::electorates`]), and a
//!    node applies none that was not certified.
//! 5. Nobody loses more stakes to a submitter than it held claims of its jobs that a later claim of another ended.
//!
//! Whether transactions that are certified are really certified is for [`super::s3`] to say.

use std::collections::{BTreeMap, BTreeSet};

use marlos::id::{JobId, NodeId};
use marlos::io::Verify;
use marlos::ledger::Supply;
use marlos::ledger::penalty::PenaltyStatement;
use marlos::wire::binary;
use marlos::wire::message::{AccountRecord, PenaltyRecord, PenaltyRecords, TokenTransaction};

use super::electorates::Electorates;
use super::{Fact, Violation};
use crate::observe::{Observation, Truth};
use crate::scenario::{NodeNo, Scenario};

const CONSERVED: &str = "money is neither made nor lost";
const COVERED: &str = "nobody has less than nothing";
const PAID: &str = "a job is paid at most once";
const VOTED: &str = "a penalty holds the votes of a quorum of its submitter's members";
const SAME: &str = "a penalty that a node applies was certified";
const LAPSED: &str = "a stake is lost at most once, for a claim that another's ended";

/// The state of the check.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    /// What each node's account began with, and loses at once.
    genesis: Vec<u64>,
    stakes: Vec<u64>,
    /// The newest certified row of each account, and its number.
    rows: BTreeMap<NodeNo, (u64, BTreeMap<NodeId, u64>)>,
    /// What the rows say that each account got.
    received: BTreeMap<NodeId, u128>,
    /// Which transaction has named each job.
    paid: BTreeMap<JobId, Fact>,
    submitters: BTreeMap<JobId, NodeNo>,
    /// Who has claimed each job, the newest last.
    claimers: BTreeMap<JobId, Vec<NodeNo>>,
    /// The jobs of a submitter that a claimer held and another holds, by submitter and claimer.
    lapsed: BTreeMap<(NodeNo, NodeNo), BTreeSet<JobId>>,
    /// The largest number certified, by submitter and claimer.
    penalties: BTreeMap<(NodeNo, NodeNo), u64>,
    checked: u64,
}

impl Ledger {
    pub fn new(scenario: &Scenario) -> Ledger {
        Ledger {
            genesis: scenario.nodes.iter().map(|node| node.config.genesis_balance.0).collect(),
            stakes: scenario.nodes.iter().map(|node| node.config.stake.0).collect(),
            rows: BTreeMap::new(),
            received: BTreeMap::new(),
            paid: BTreeMap::new(),
            submitters: BTreeMap::new(),
            claimers: BTreeMap::new(),
            lapsed: BTreeMap::new(),
            penalties: BTreeMap::new(),
            checked: 0,
        }
    }

    /// Certified transactions and penalties, and views of all money, that were checked.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    /// To be called when `S3` has found what happened to be sound.
    pub fn observe(
        &mut self,
        truth: &Truth,
        o: &Observation<'_>,
        electorates: &Electorates,
        verify: &mut dyn Verify,
    ) -> Result<(), Box<Violation>> {
        match *o {
            Observation::TransactionCertified { node, seq, certificate } => {
                self.certified(truth, node, seq, certificate)
            }
            Observation::TransactionApplied { node, account, seq, supply: Some(supply), .. } => {
                self.checked += 1;
                adds_up(truth, node, format!("it applies number {seq} of n{account}"), &supply)
            }
            Observation::JobSubmitted { node, job } => {
                self.submitters.insert(job, node);
                Ok(())
            }
            Observation::Certified { node, job, .. } => {
                self.claimed(node, job);
                Ok(())
            }
            Observation::PenaltyCertified { node, claimer, number, certificate } => {
                self.checked += 1;
                voted(truth, node, claimer, number, certificate, electorates, verify)?;
                self.penalised(truth, node, claimer, number)
            }
            Observation::PenaltyApplied { node, submitter, claimer, number, supply } => {
                let applies = format!("it applies {number} penalties of n{claimer} for n{submitter}");
                let certified = self.penalties.get(&(submitter, claimer)).copied().unwrap_or(0);
                if number > certified {
                    let fact = Fact::now(truth, submitter, format!("{certified} of them are certified"));
                    return violated(SAME, fact, Fact::now(truth, node, applies));
                }
                let Some(supply) = supply else { return Ok(()) };
                self.checked += 1;
                adds_up(truth, node, applies, &supply)
            }
            _ => Ok(()),
        }
    }

    /// Of who has misbehaved, what a quorum has signed still moves money, and its claims lapse like any other's. What it says of its
    /// own view counts for nothing.
    pub fn observe_dishonest(&mut self, truth: &Truth, o: &Observation<'_>) -> Result<(), Box<Violation>> {
        match *o {
            Observation::TransactionCertified { node, seq, certificate } => {
                self.certified(truth, node, seq, certificate)
            }
            Observation::JobSubmitted { node, job } => {
                self.submitters.insert(job, node);
                Ok(())
            }
            Observation::Certified { node, job, .. } => {
                self.claimed(node, job);
                Ok(())
            }
            Observation::PenaltyCertified { node, claimer, number, .. } => {
                let known = self.penalties.entry((node, claimer)).or_default();
                *known = number.max(*known);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn certified(&mut self, truth: &Truth, node: NodeNo, seq: u64, bytes: &[u8]) -> Result<(), Box<Violation>> {
        let Ok((transaction, record)) = binary::decode::<(TokenTransaction, AccountRecord)>(bytes) else {
            return Ok(());
        };
        self.checked += 1;
        self.names_jobs(truth, node, &transaction)?;
        self.moves(truth, node, seq, &record)
    }

    fn claimed(&mut self, node: NodeNo, job: JobId) {
        let claimers = self.claimers.entry(job).or_default();
        if let (Some(submitter), Some(before)) =
            (self.submitters.get(&job), claimers.last().filter(|last| **last != node))
        {
            self.lapsed.entry((*submitter, *before)).or_default().insert(job);
        }
        claimers.push(node);
    }

    /// Rules 5 and 2.
    fn penalised(&mut self, truth: &Truth, node: NodeNo, claimer: NodeNo, number: u64) -> Result<(), Box<Violation>> {
        let known = self.penalties.entry((node, claimer)).or_default();
        if *known >= number {
            return Ok(());
        }
        *known = number;
        let lapsed = self.lapsed.get(&(node, claimer)).map_or(0, |jobs| jobs.len() as u64);
        if number > lapsed {
            let held = format!("of its jobs, {lapsed} that n{claimer} had claimed were claimed by another after it");
            let gets = format!("it is awarded {number} stakes of n{claimer}");
            return violated(LAPSED, Fact::now(truth, node, held), Fact::now(truth, node, gets));
        }
        self.covered(truth, claimer, format!("n{node} is awarded {number} of its stakes"))
    }

    /// Rule 3.
    fn names_jobs(
        &mut self,
        truth: &Truth,
        node: NodeNo,
        transaction: &TokenTransaction,
    ) -> Result<(), Box<Violation>> {
        for transfer in &transaction.transfers {
            let names = Fact::now(truth, node, format!("its number {} names {}", transaction.seq, transfer.job_id));
            let first = self.paid.entry(transfer.job_id).or_insert_with(|| names.clone());
            if (&first.what, first.node) != (&names.what, node) {
                return violated(PAID, first.clone(), names);
            }
        }
        Ok(())
    }

    /// Rule 2. A credit is certified before anybody votes for what it pays, so the rows hold at every moment.
    fn moves(&mut self, truth: &Truth, node: NodeNo, seq: u64, record: &AccountRecord) -> Result<(), Box<Violation>> {
        let (known, before) = self.rows.entry(node).or_default();
        if *known >= seq {
            return Ok(());
        }
        let row: BTreeMap<NodeId, u64> = record.row.iter().map(|entry| (entry.to, entry.paid.0)).collect();
        for (to, paid) in &row {
            let more = paid.saturating_sub(before.get(to).copied().unwrap_or(0));
            *self.received.entry(*to).or_default() += u128::from(more);
        }
        (*known, *before) = (seq, row);
        self.covered(truth, node, format!("its number {seq} is certified"))
    }

    /// Rule 2, for one account.
    fn covered(&self, truth: &Truth, node: NodeNo, when: String) -> Result<(), Box<Violation>> {
        let stakes = |of: fn(&(NodeNo, NodeNo)) -> NodeNo| -> u128 {
            let of_it = self.penalties.iter().filter(|(pair, _)| of(pair) == node);
            of_it.map(|(_, number)| u128::from(*number)).sum::<u128>() * u128::from(self.stakes[node])
        };
        let (awarded, lost) = (stakes(|pair| pair.0), stakes(|pair| pair.1));
        let spent: u128 = self.rows.get(&node).map_or(0, |(_, row)| row.values().map(|paid| u128::from(*paid)).sum());
        let got = self.received.get(&truth.ids[node]).copied().unwrap_or(0);
        let began = u128::from(self.genesis[node]);
        if spent + lost <= began + got + awarded {
            return Ok(());
        }
        let has = format!("it began with {began} micro-tokens, was paid {got} and awarded {awarded}");
        let pays = format!("{when}, and it has paid {spent} and lost {lost}");
        violated(COVERED, Fact::now(truth, node, has), Fact::now(truth, node, pays))
    }
}

/// Rule 4.
fn voted(
    truth: &Truth,
    node: NodeNo,
    claimer: NodeNo,
    number: u64,
    certificate: &[u8],
    electorates: &Electorates,
    verify: &mut dyn Verify,
) -> Result<(), Box<Violation>> {
    let reported = Fact::now(truth, node, format!("it reports {number} penalties of n{claimer} as certified"));
    let wrong = |what: String| violated(VOTED, reported.clone(), Fact::now(truth, node, what));
    let (submitter, loser) = (truth.ids[node], truth.ids[claimer]);
    let record = match binary::decode::<PenaltyRecords>(certificate) {
        Ok(PenaltyRecords { submitter: of, penalties }) if of == submitter => penalties.into_iter().next(),
        Ok(_) | Err(_) => None,
    };
    let Some(PenaltyRecord { proof, .. }) = record.filter(|record| (record.claimer, record.number) == (loser, number))
    else {
        return wrong("its bytes are no record of that".into());
    };
    let electorate = proof.electorate;
    let Some(members) = electorates.members_behind(truth, node, electorate, &[]) else {
        return wrong(format!("no members that it has held of late have the digest {electorate}"));
    };
    let statement = PenaltyStatement { submitter, claimer: loser, number, electorate };
    let votes = (proof.voters.as_slice(), proof.signatures.as_slice());
    electorates
        .count_votes(truth, &members, members.len(), votes, &statement.signed_bytes(), &|_| None, verify)
        .or_else(wrong)
}

/// Rule 1.
fn adds_up(truth: &Truth, node: NodeNo, applies: String, supply: &Supply) -> Result<(), Box<Violation>> {
    let Supply { accounts, genesis, total, lowest, free, reserved, staked } = *supply;
    let sentence = if total != genesis || free + reserved + staked != genesis {
        CONSERVED
    } else if lowest < 0 || reserved < 0 || staked < 0 {
        COVERED
    } else {
        return Ok(());
    };
    let what = format!(
        "in its eyes {accounts} accounts that began with {genesis} micro-tokens have {total}, of which {free} are free, {reserved} \
         reserved and {staked} staked, and the poorest has {lowest}"
    );
    violated(sentence, Fact::now(truth, node, applies), Fact::now(truth, node, what))
}

fn violated<T>(sentence: &'static str, first: Fact, second: Fact) -> Result<T, Box<Violation>> {
    Err(Box::new(Violation { check: "ledger", sentence, facts: [first, second] }))
}

#[cfg(test)]
mod tests {
    use marlos::identity::StrictVerifier;
    use marlos::quorum::{Proof, electorate_digest};
    use marlos::units::Tokens;
    use marlos::wire::message::{RowEntry, Transfer, TransferReason};
    use marlos::wire::{Signature, Signed};

    use super::*;
    use crate::check::history::{History, scenario};

    /// A world of three nodes that begin with a hundred each.
    struct World {
        check: Ledger,
        electorates: Electorates,
        history: History,
    }

    impl World {
        fn new() -> World {
            let mut scenario = scenario(3, "1000s");
            scenario.nodes.iter_mut().for_each(|node| node.config.genesis_balance = Tokens(100));
            scenario.nodes.iter_mut().for_each(|node| node.config.stake = Tokens(10));
            let (check, electorates) = (Ledger::new(&scenario), Electorates::new(&scenario));
            let mut world = World { check, electorates, history: History::new(&scenario) };
            for (node, peer) in (0..3).flat_map(|node| (0..3).map(move |peer| (node, peer))) {
                world.see(&Observation::Discovered { node, peer }).unwrap();
            }
            world
        }

        /// A transaction that names these jobs is certified, and its payer has paid this much in all.
        fn certifies(
            &mut self,
            node: NodeNo,
            seq: u64,
            jobs: &[u8],
            row: &[(NodeNo, u64)],
        ) -> Result<(), &'static str> {
            let ids = &self.history.truth.ids;
            let transfer = |job: &u8| Transfer {
                job_id: JobId([*job; 16]),
                to: ids[row[0].0],
                amount: Tokens(1),
                reason: TransferReason::OnTime,
            };
            let transfers = jobs.iter().map(transfer).collect();
            let unsigned = Signature([0; 64]);
            let transaction = TokenTransaction { account: ids[node], seq, transfers, transaction_signature: unsigned };
            let row = row.iter().map(|(to, paid)| RowEntry { to: ids[*to], paid: Tokens(*paid) }).collect();
            let record = AccountRecord { account: ids[node], seq, row, proof: None, pending: None };
            let mut certificate = Vec::new();
            binary::encode_into(&(transaction, record), &mut certificate);
            self.see(&Observation::TransactionCertified { node, seq, certificate: &certificate })
        }

        fn see(&mut self, o: &Observation<'_>) -> Result<(), &'static str> {
            let World { check, electorates, history } = self;
            let seen = history.at(1, o.clone(), |truth, o| {
                electorates.observe(truth, o);
                check.observe(truth, o, electorates, &mut StrictVerifier)
            });
            seen.map_err(|violation| violation.sentence)
        }

        /// n0's job is claimed by these, one after the other.
        fn claimed(&mut self, job: u8, by: &[NodeNo]) {
            let job = JobId([job; 16]);
            self.see(&Observation::JobSubmitted { node: 0, job }).unwrap();
            for (round, node) in (0..).zip(by) {
                let certified =
                    Observation::Certified { node: *node, job, round, votes: 2, members: 3, certificate: &[] };
                self.see(&certified).unwrap();
            }
        }

        /// n0 reports so many penalties of n1, for which these have voted.
        fn penalised(&mut self, number: u64, voters: &[NodeNo]) -> Result<(), &'static str> {
            let ids = &self.history.truth.ids;
            let mut members: Vec<(NodeId, NodeNo)> = ids.iter().copied().zip(0..).collect();
            members.sort_unstable();
            let electorate = electorate_digest(members.iter().map(|(id, _)| id));
            let (submitter, claimer) = (ids[0], ids[1]);
            let bytes = PenaltyStatement { submitter, claimer, number, electorate }.signed_bytes();
            let place = |voter: &NodeNo| members.iter().position(|(_, node)| node == voter).unwrap();
            let signs =
                |voter: &NodeNo| self.history.keys[*voter].sign(&Signed { network_id: "marlos", bytes: &bytes });
            let votes: Vec<_> = voters.iter().map(|voter| (place(voter), signs(voter))).collect();
            let record = PenaltyRecord { claimer, number, jobs: Vec::new(), proof: Proof::new(electorate, 3, &votes) };
            let mut certificate = Vec::new();
            binary::encode_into(&PenaltyRecords { submitter, penalties: vec![record] }, &mut certificate);
            self.see(&Observation::PenaltyCertified { node: 0, claimer: 1, number, certificate: &certificate })
        }
    }

    #[test]
    fn a_job_is_named_by_one_transaction() {
        let mut world = World::new();
        assert_eq!(world.certifies(0, 1, &[1, 2], &[(1, 2)]), Ok(()));
        assert_eq!(world.certifies(0, 1, &[1, 2], &[(1, 2)]), Ok(()), "the same, with other votes");
        assert_eq!(world.certifies(0, 2, &[3], &[(1, 3)]), Ok(()));
        assert_eq!(world.certifies(0, 3, &[2], &[(1, 4)]), Err(PAID));
        assert_eq!(world.certifies(2, 1, &[3], &[(1, 1)]), Err(PAID), "by another payer");
    }

    #[test]
    fn an_account_pays_what_it_began_with_and_got() {
        let mut world = World::new();
        assert_eq!(world.certifies(0, 1, &[1], &[(1, 100)]), Ok(()));
        assert_eq!(world.certifies(1, 1, &[2], &[(0, 20), (2, 180)]), Ok(()));
        assert_eq!(world.certifies(0, 2, &[3], &[(1, 120)]), Ok(()));
        assert_eq!(world.certifies(0, 3, &[4], &[(1, 121)]), Err(COVERED));
        assert_eq!(world.check.checked(), 4);
    }

    #[test]
    fn what_a_node_sees_adds_up() {
        let supply = |total, lowest, free, reserved, staked| Supply {
            accounts: 3,
            genesis: 300,
            total,
            lowest,
            free,
            reserved,
            staked,
        };
        let table = [
            ("sound", supply(300, 0, 270, 20, 10), Ok(())),
            ("more bound than there is", supply(300, 0, -5, 295, 10), Ok(())),
            ("made", supply(301, 0, 271, 20, 10), Err(CONSERVED)),
            ("lost", supply(299, 0, 269, 20, 10), Err(CONSERVED)),
            ("a stake that nothing binds", supply(300, 0, 270, 20, 0), Err(CONSERVED)),
            ("below zero", supply(300, -1, 270, 20, 10), Err(COVERED)),
        ];
        for (what, supply, expected) in table {
            let applied =
                Observation::TransactionApplied { node: 1, account: 0, seq: 1, row: [0; 32], supply: Some(supply) };
            assert_eq!(World::new().see(&applied), expected, "{what}");
        }
    }

    #[test]
    fn a_stake_is_lost_once_for_a_claim_that_anothers_ended_and_by_a_quorum() {
        let mut world = World::new();
        assert_eq!(world.penalised(1, &[0, 2]), Err(LAPSED), "it held no claim");
        let mut world = World::new();
        world.claimed(1, &[1]);
        assert_eq!(world.penalised(1, &[0, 2]), Err(LAPSED), "nobody else did after it");
        let mut world = World::new();
        world.claimed(1, &[1, 1, 2]);
        world.claimed(2, &[2, 1]);
        assert_eq!(world.penalised(1, &[0]), Err(VOTED), "two of three are a quorum");
        assert_eq!(world.penalised(1, &[0, 2]), Ok(()));
        assert_eq!(world.penalised(1, &[0, 1, 2]), Ok(()), "the same, with other votes");
        assert_eq!(world.penalised(2, &[0, 2]), Err(LAPSED), "once for each job");
    }

    #[test]
    fn what_is_lost_was_there_and_what_is_applied_was_certified() {
        let applied = |number| Observation::PenaltyApplied { node: 2, submitter: 0, claimer: 1, number, supply: None };
        let mut world = World::new();
        world.claimed(1, &[1, 2]);
        world.claimed(2, &[1, 2]);
        assert_eq!(world.see(&applied(1)), Err(SAME));
        assert_eq!(world.penalised(1, &[0, 2]), Ok(()));
        assert_eq!(world.see(&applied(1)), Ok(()));
        assert_eq!(world.see(&applied(2)), Err(SAME));
        assert_eq!(world.certifies(1, 1, &[3], &[(2, 90)]), Ok(()), "ten of a hundred are lost");
        assert_eq!(world.penalised(2, &[0, 2]), Err(COVERED), "and there is no more");
        let mut world = World::new();
        world.claimed(1, &[1, 2]);
        assert_eq!(world.penalised(1, &[0, 2]), Ok(()));
        assert_eq!(world.certifies(0, 1, &[3], &[(2, 110)]), Ok(()), "an award can be spent");
        assert_eq!(world.certifies(1, 1, &[4], &[(2, 91)]), Err(COVERED));
    }
}
