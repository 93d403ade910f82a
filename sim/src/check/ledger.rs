//! The ledger's invariants (protocol.md, section 8): money is neither made nor lost, nobody has less than nothing, and each job is
//! paid at most once.
//!
//! 1. When a node has applied something, then in its own eyes what is free, reserved and staked adds up to what everybody began
//!    with, and so do the balances, of which none is below zero.
//! 2. By the rows of all certified transactions, added up here, no account has paid more than it began with and got.
//! 3. No two certified transactions, and no transaction twice, name one job.
//!
//! Whether what is certified is really certified is for [`super::s3`] to say.

use std::collections::BTreeMap;

use marlos::id::{JobId, NodeId};
use marlos::ledger::Supply;
use marlos::wire::binary;
use marlos::wire::message::{AccountRecord, TokenTransaction};

use super::{Fact, Violation};
use crate::observe::{Observation, Truth};
use crate::scenario::{NodeNo, Scenario};

const CONSERVED: &str = "money is neither made nor lost";
const COVERED: &str = "nobody has less than nothing";
const PAID: &str = "a job is paid at most once";

/// The state of the check.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    /// What each node's account began with.
    genesis: Vec<u64>,
    /// The newest certified row of each account, and its number.
    rows: BTreeMap<NodeNo, (u64, BTreeMap<NodeId, u64>)>,
    /// What the rows say that each account got.
    received: BTreeMap<NodeId, u128>,
    /// Which transaction has named each job.
    paid: BTreeMap<JobId, Fact>,
    checked: u64,
}

impl Ledger {
    pub fn new(scenario: &Scenario) -> Ledger {
        Ledger {
            genesis: scenario.nodes.iter().map(|node| node.config.genesis_balance.0).collect(),
            rows: BTreeMap::new(),
            received: BTreeMap::new(),
            paid: BTreeMap::new(),
            checked: 0,
        }
    }

    /// Certified transactions, and views of all money, that were checked.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    /// To be called when `S3` has found what happened to be sound.
    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>) -> Result<(), Box<Violation>> {
        match *o {
            Observation::TransactionCertified { node, seq, certificate } => {
                let Ok((transaction, record)) = binary::decode::<(TokenTransaction, AccountRecord)>(certificate) else {
                    return Ok(());
                };
                self.checked += 1;
                self.names_jobs(truth, node, &transaction)?;
                self.moves(truth, node, seq, &record)
            }
            Observation::TransactionApplied { node, account, seq, supply: Some(supply), .. } => {
                self.checked += 1;
                adds_up(truth, node, format!("it applies number {seq} of n{account}"), &supply)
            }
            _ => Ok(()),
        }
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
        let spent: u128 = before.values().map(|paid| u128::from(*paid)).sum();
        let got = self.received.get(&truth.ids[node]).copied().unwrap_or(0);
        if spent <= u128::from(self.genesis[node]) + got {
            return Ok(());
        }
        let began =
            format!("it began with {} micro-tokens, and was paid {got} by certified transactions", self.genesis[node]);
        let pays = format!("with its number {seq} it has paid {spent}");
        violated(COVERED, Fact::now(truth, node, began), Fact::now(truth, node, pays))
    }
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
    use marlos::units::Tokens;
    use marlos::wire::Signature;
    use marlos::wire::message::{RowEntry, Transfer, TransferReason};

    use super::*;
    use crate::check::history::{History, scenario};

    /// A world of three nodes that begin with a hundred each.
    struct World {
        check: Ledger,
        history: History,
    }

    impl World {
        fn new() -> World {
            let mut scenario = scenario(3, "1000s");
            scenario.nodes.iter_mut().for_each(|node| node.config.genesis_balance = Tokens(100));
            World { check: Ledger::new(&scenario), history: History::new(&scenario) }
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
            let seen = self.history.at(1, o.clone(), |truth, o| self.check.observe(truth, o));
            seen.map_err(|violation| violation.sentence)
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
}
