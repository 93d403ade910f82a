//! Accounts as sums: what each has paid out, what it has got, and that nothing is lost in between (protocol.md, section 8). Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use super::penalty::Pair;
use super::transaction::{LedgerStatement, Row, row_digest, row_of_entries};
use crate::id::{ElectorateId, NodeId};
use crate::io::Refusal;
use crate::quorum::Proof;
use crate::units::Tokens;
use crate::wire::message::{AccountRecord, HeadProof, PenaltyRecord, RowEntry};

/// Every account that this node knows. One is opened for each member, and for each payee of a certified transaction, and stays.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    accounts: BTreeMap<NodeId, Account>,
    /// How many stakes each submitter was awarded of each claimer, and what proves it.
    penalties: BTreeMap<Pair, (u64, Proof)>,
    genesis: Tokens,
    stake: Tokens,
    digest: u64,
}

/// One account: its newest certified transaction with the votes for it, and the sums that follow from everyone's.
#[derive(Clone, Debug)]
pub struct Account {
    seq: u64,
    /// Of most accounts of a network of hundreds there is none.
    head: Option<Box<Head>>,
    /// The sum of the row.
    spent: Tokens,
    /// The sum of what stands for it in the rows of others.
    received: Tokens,
    /// Stakes of others that it was awarded.
    awarded: Tokens,
    /// Its own stakes that it has lost.
    lost: Tokens,
}

/// What an account's newest certified transaction says.
#[derive(Clone, Debug)]
struct Head {
    row: Row,
    row_digest: [u8; 32],
    proof: Option<HeadProof>,
}

/// In place of an account's that has paid nothing.
static NOTHING_PAID: LazyLock<Head> =
    LazyLock::new(|| Head { row: Row::new(), row_digest: row_digest(&Row::new()), proof: None });

/// All money, counted anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supply {
    /// How many accounts there are.
    pub accounts: u64,
    /// What they all began with.
    pub genesis: i128,
    /// What they have now, in micro-tokens.
    pub total: i128,
    /// What the poorest of them has.
    pub lowest: i128,
    /// What they have beyond all that is bound.
    pub free: i128,
    /// What open jobs reserve, counted anew from the jobs.
    pub reserved: i128,
    /// What claims stake, counted anew from the claims.
    pub staked: i128,
}

impl Accounts {
    /// None yet; each will begin with `genesis`, and loses `stake` for a claim that lapses.
    #[must_use]
    pub fn new(genesis: Tokens, stake: Tokens) -> Accounts {
        Accounts { genesis, stake, ..Accounts::default() }
    }

    /// Opens an account, where there is none. Says whether there was none.
    pub fn open(&mut self, id: NodeId) -> bool {
        let before = self.accounts.len();
        self.accounts.entry(id).or_insert_with(Account::new);
        self.accounts.len() > before
    }

    /// An account, if it is open.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Account> {
        self.accounts.get(&id)
    }

    /// How many accounts there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.accounts.len() as u64
    }

    /// Every account, by id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Account)> {
        self.accounts.iter().map(|(id, account)| (*id, account))
    }

    /// The number of the newest certified transaction of an account.
    #[must_use]
    pub fn seq(&self, id: NodeId) -> u64 {
        self.accounts.get(&id).map_or(0, |account| account.seq)
    }

    /// What an account has, in micro-tokens.
    #[must_use]
    pub fn balance(&self, id: NodeId) -> i128 {
        let Some(account) = self.accounts.get(&id) else { return 0 };
        account.income(self.genesis) - i128::from(account.spent.0)
    }

    /// Whether an account can have paid `spent` in all by what is known here.
    #[must_use]
    pub fn covers(&self, id: NodeId, spent: Tokens) -> bool {
        i128::from(spent.0) <= self.income(id)
    }

    /// Which of these newer records, one of an account, are covered when they are applied together: the most that are. Each may spend
    /// what another of them pays.
    #[must_use]
    pub fn covered_together<'a>(&self, records: impl Iterator<Item = &'a AccountRecord>) -> BTreeSet<NodeId> {
        let read = |record: &AccountRecord| Some((record.account, self.follows(record).ok()?));
        let mut rows: BTreeMap<NodeId, (Row, Tokens)> = records.filter_map(read).collect();
        loop {
            let mut brought: BTreeMap<NodeId, i128> = BTreeMap::new();
            for (payer, (row, _)) in &rows {
                let before = self.accounts.get(payer).map_or(&NOTHING_PAID.row, Account::row);
                for (to, paid) in row.iter().filter(|(to, _)| rows.contains_key(to)) {
                    let paid_before = before.get(to).copied().unwrap_or_default();
                    *brought.entry(*to).or_default() += i128::from(paid.0) - i128::from(paid_before.0);
                }
            }
            let all = rows.len();
            rows.retain(|id, (_, spent)| {
                let income = self.income(*id) + brought.get(id).copied().unwrap_or(0);
                i128::from(spent.0) <= income
            });
            if rows.len() == all {
                return rows.into_keys().collect();
            }
        }
    }

    /// What an account may have spent in all by what is known here, in micro-tokens.
    fn income(&self, id: NodeId) -> i128 {
        self.accounts.get(&id).map_or(i128::from(self.genesis.0), |account| account.income(self.genesis))
    }

    /// How many stakes a submitter was awarded of a claimer.
    #[must_use]
    pub fn penalty(&self, pair: Pair) -> u64 {
        self.penalties.get(&pair).map_or(0, |(number, _)| *number)
    }

    /// What proves that, if there is anything.
    #[must_use]
    pub fn penalty_proof(&self, pair: Pair) -> Option<&Proof> {
        self.penalties.get(&pair).map(|(_, proof)| proof)
    }

    /// Other members have voted for the number that is applied: their proof takes the place of the older one.
    ///
    /// # Panics
    /// Where none is applied: the caller has seen it.
    pub fn prove_penalty(&mut self, pair: Pair, proof: Proof) {
        self.penalties.get_mut(&pair).expect("it is applied").1 = proof;
    }

    /// What a submitter was awarded, as it is passed on and stored.
    #[must_use]
    pub fn penalties(&self, submitter: NodeId) -> Vec<PenaltyRecord> {
        let of_it = self.awarded_to(submitter);
        of_it
            .map(|(claimer, number, proof)| PenaltyRecord { claimer, number, jobs: Vec::new(), proof: proof.clone() })
            .collect()
    }

    /// How many stakes a submitter was awarded, of all claimers.
    #[must_use]
    pub fn penalties_of(&self, submitter: NodeId) -> u64 {
        self.awarded_to(submitter).map(|(_, number, _)| number).sum()
    }

    fn awarded_to(&self, submitter: NodeId) -> impl Iterator<Item = (NodeId, u64, &Proof)> {
        let (least, most) = (NodeId([0; 16]), NodeId([0xff; 16]));
        let pairs = Pair { submitter, claimer: least }..=Pair { submitter, claimer: most };
        self.penalties.range(pairs).map(|(pair, (number, proof))| (pair.claimer, *number, proof))
    }

    /// What a penalty takes beyond what was taken before.
    ///
    /// # Panics
    /// Where it is more than there can be: the caller has checked it.
    fn taken(&self, pair: Pair, number: u64) -> Tokens {
        let more = number.checked_sub(self.penalty(pair)).expect("the number only grows");
        Tokens(self.stake.0.checked_mul(more).expect("checked where it came in"))
    }

    /// Whether the claimer has what a penalty takes, by what is known here.
    #[must_use]
    pub fn covers_penalty(&self, pair: Pair, number: u64) -> bool {
        let has = if self.accounts.contains_key(&pair.claimer) {
            self.balance(pair.claimer)
        } else {
            i128::from(self.genesis.0)
        };
        i128::from(self.taken(pair, number).0) <= has
    }

    /// Takes a proven penalty from the claimer and gives it to the submitter.
    ///
    /// # Panics
    /// Where it is not newer: the caller has checked it.
    pub fn penalise(&mut self, pair: Pair, number: u64, proof: Proof) {
        let before = self.penalty(pair);
        assert!(number > before, "the number only grows");
        let more = self.taken(pair, number);
        self.open(pair.submitter);
        self.open(pair.claimer);
        let fits = "all money fits: `Config::validate`";
        let submitter = self.accounts.get_mut(&pair.submitter).expect("just opened");
        submitter.awarded = submitter.awarded.checked_add(more).expect(fits);
        let claimer = self.accounts.get_mut(&pair.claimer).expect("just opened");
        claimer.lost = claimer.lost.checked_add(more).expect(fits);
        self.penalties.insert(pair, (number, proof));
        self.digest ^= penalty_digest(pair, before) ^ penalty_digest(pair, number);
    }

    /// One number for all certified transactions and penalties: equal where everyone has applied the same.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The row that a record brings, and its sum, where it can follow what is known: it has paid nobody less than before.
    ///
    /// # Errors
    /// `BadRecord` where it cannot.
    pub fn follows(&self, record: &AccountRecord) -> Result<(Row, Tokens), Refusal> {
        let row = row_of_entries(record.account, &record.row)?;
        let spent = row.values().copied().try_fold(Tokens(0), Tokens::checked_add).ok_or(Refusal::BadRecord)?;
        let grows = |(to, paid): (&NodeId, &Tokens)| row.get(to).is_some_and(|now| now >= paid);
        match self.accounts.get(&record.account) {
            Some(account) if !account.row().iter().all(grows) => Err(Refusal::BadRecord),
            Some(_) | None => Ok((row, spent)),
        }
    }

    /// Puts a proven record in place of an older one, and returns whom it pays more.
    ///
    /// # Panics
    /// Where the record is not newer, or does not follow: the caller has checked both.
    pub fn adopt(&mut self, record: AccountRecord) -> Vec<NodeId> {
        let (row, spent) = self.follows(&record).expect("the caller has checked it");
        self.open(record.account);
        let account = self.accounts.get_mut(&record.account).expect("just opened");
        assert!(record.seq > account.seq, "an account only moves on");
        let old_digest = account.head_digest(record.account);
        let head = Head { row_digest: row_digest(&row), row: row.clone(), proof: record.proof };
        let before = account.head.replace(Box::new(head)).map_or_else(Row::new, |before| before.row);
        account.seq = record.seq;
        account.spent = spent;
        self.digest ^= old_digest ^ account.head_digest(record.account);
        let mut paid = Vec::new();
        for (to, now) in row {
            let more = now.checked_sub(before.get(&to).copied().unwrap_or_default()).expect("rows only grow");
            if more > Tokens(0) {
                self.open(to);
                let payee = self.accounts.get_mut(&to).expect("just opened");
                payee.received = payee.received.checked_add(more).expect("all money fits: `Config::validate`");
                paid.push(to);
            }
        }
        paid
    }

    /// Other members have voted for the newest record of an account: their proof takes the place of the older one.
    ///
    /// # Panics
    /// Where it is another record: the caller has made it of this one.
    pub fn prove(&mut self, record: &AccountRecord) {
        let account = self.accounts.get_mut(&record.account).expect("it has paid");
        assert!(record.seq == account.seq && record.row == entries(account.row()), "it is the newest record");
        let head = account.head.as_mut().expect("it has paid");
        head.proof.clone_from(&record.proof);
    }

    /// Counts all money anew, from the rows and not from the sums that are kept. Nothing of it is bound here.
    ///
    /// # Panics
    /// Where a kept sum is not what the rows say.
    #[must_use]
    pub fn supply(&self) -> Supply {
        let mut received: BTreeMap<NodeId, u128> = BTreeMap::new();
        let (mut awarded, mut lost): (BTreeMap<NodeId, u128>, BTreeMap<NodeId, u128>) = Default::default();
        for (pair, (number, _)) in &self.penalties {
            let stakes = u128::from(*number) * u128::from(self.stake.0);
            *awarded.entry(pair.submitter).or_default() += stakes;
            *lost.entry(pair.claimer).or_default() += stakes;
        }
        for account in self.accounts.values() {
            for (to, paid) in account.row() {
                *received.entry(*to).or_default() += u128::from(paid.0);
            }
        }
        let genesis = i128::from(self.genesis.0) * self.accounts.len() as i128;
        let accounts = self.accounts.len() as u64;
        let mut supply = Supply { accounts, genesis, total: 0, lowest: i128::MAX, free: 0, reserved: 0, staked: 0 };
        for (id, account) in &self.accounts {
            let spent: u128 = account.row().values().map(|paid| u128::from(paid.0)).sum();
            assert_eq!(u128::from(account.spent.0), spent, "what {id} spent is the sum of its row");
            let got = received.remove(id).unwrap_or_default();
            assert_eq!(u128::from(account.received.0), got, "what {id} got is what others paid it");
            let stakes = [&mut awarded, &mut lost].map(|sums| sums.remove(id).unwrap_or_default());
            let kept = [account.awarded, account.lost].map(|sum| u128::from(sum.0));
            assert_eq!(kept, stakes, "what {id} was awarded and lost is what the penalties say");
            let balance = self.balance(*id);
            supply.total += balance;
            supply.lowest = supply.lowest.min(balance);
        }
        assert!(received.is_empty() && awarded.is_empty() && lost.is_empty(), "everyone named has an account");
        supply.free = supply.total;
        supply
    }
}

impl Supply {
    /// Whether no money was made or lost, and nobody has less than nothing.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.total == self.genesis && self.free + self.reserved + self.staked == self.genesis && self.lowest >= 0
    }
}

impl Account {
    fn new() -> Account {
        Account { seq: 0, head: None, spent: Tokens(0), received: Tokens(0), awarded: Tokens(0), lost: Tokens(0) }
    }

    /// What it may have spent in all, in micro-tokens.
    fn income(&self, genesis: Tokens) -> i128 {
        [genesis, self.received, self.awarded].iter().map(|sum| i128::from(sum.0)).sum::<i128>()
            - i128::from(self.lost.0)
    }

    /// The number of its newest certified transaction.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// Names all that it has paid.
    #[must_use]
    pub fn row_digest(&self) -> [u8; 32] {
        self.head().row_digest
    }

    /// What proves it; nothing before its first transaction.
    #[must_use]
    pub fn proof(&self) -> Option<&HeadProof> {
        self.head().proof.as_ref()
    }

    /// What it has paid to whom.
    #[must_use]
    pub fn row(&self) -> &Row {
        &self.head().row
    }

    fn head(&self) -> &Head {
        self.head.as_deref().unwrap_or(&NOTHING_PAID)
    }

    /// As it is passed on and stored.
    #[must_use]
    pub fn record(&self, account: NodeId) -> AccountRecord {
        AccountRecord { account, seq: self.seq, row: entries(self.row()), proof: self.proof().cloned(), pending: None }
    }

    fn head_digest(&self, id: NodeId) -> u64 {
        if self.seq == 0 {
            return 0;
        }
        let hash = Sha256::new()
            .chain_update(id.0)
            .chain_update(self.seq.to_le_bytes())
            .chain_update(self.row_digest())
            .finalize();
        u64::from_le_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes"))
    }
}

fn penalty_digest(pair: Pair, number: u64) -> u64 {
    if number == 0 {
        return 0;
    }
    let hash = Sha256::new()
        .chain_update(b"penalty")
        .chain_update(pair.submitter.0)
        .chain_update(pair.claimer.0)
        .chain_update(number.to_le_bytes())
        .finalize();
    u64::from_le_bytes(hash[..8].try_into().expect("SHA-256 has 32 bytes"))
}

impl AccountRecord {
    /// What the votes for it must be of, if it came about by this transaction.
    ///
    /// # Errors
    /// `BadRecord` where its row is none.
    pub fn statement(&self, transaction: [u8; 32], electorate: ElectorateId) -> Result<LedgerStatement, Refusal> {
        let row = row_digest(&row_of_entries(self.account, &self.row)?);
        Ok(LedgerStatement { account: self.account, seq: self.seq, transaction, row, electorate })
    }
}

/// A row as it is written.
#[must_use]
pub fn entries(row: &Row) -> Vec<RowEntry> {
    row.iter().map(|(to, paid)| RowEntry { to: *to, paid: *paid }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GENESIS: Tokens = Tokens(100);
    const STAKE: Tokens = Tokens(10);

    fn id(n: u8) -> NodeId {
        NodeId([n; 16])
    }

    fn record(account: u8, seq: u64, row: &[(u8, u64)]) -> AccountRecord {
        let row = row.iter().map(|(to, paid)| RowEntry { to: id(*to), paid: Tokens(*paid) }).collect();
        AccountRecord { account: id(account), seq, row, proof: None, pending: None }
    }

    #[test]
    fn money_moves_and_is_neither_made_nor_lost() {
        let mut accounts = Accounts::new(GENESIS, STAKE);
        (1..=3).for_each(|n| assert!(accounts.open(id(n))));
        // Of whom, its number, what it has paid in all; then who is paid more, and the balances of 1, 2, 3 and 4.
        type Step<'a> = (u8, u64, &'a [(u8, u64)], &'a [u8], [i128; 4]);
        let table: [Step<'_>; 4] = [
            (1, 1, &[(2, 30)], &[2], [70, 130, 100, 0]),
            (2, 1, &[(1, 5), (3, 125)], &[1, 3], [75, 0, 225, 0]),
            // Two transactions at once, and a payee nobody has met here.
            (1, 3, &[(2, 40), (4, 1)], &[2, 4], [64, 10, 225, 101]),
            (1, 4, &[(2, 40), (4, 1)], &[], [64, 10, 225, 101]),
        ];
        for (account, seq, row, paid, balances) in table {
            let paid: Vec<NodeId> = paid.iter().map(|n| id(*n)).collect();
            assert_eq!(accounts.adopt(record(account, seq, row)), paid, "{account} {seq}");
            assert_eq!([1, 2, 3, 4].map(|n| accounts.balance(id(n))), balances, "{account} {seq}");
            assert!(accounts.supply().holds());
        }
        assert_eq!(
            accounts.supply(),
            Supply { accounts: 4, genesis: 400, total: 400, lowest: 10, free: 400, reserved: 0, staked: 0 }
        );
    }

    #[test]
    fn an_account_is_covered_up_to_what_it_began_with_and_got() {
        let mut accounts = Accounts::new(GENESIS, STAKE);
        accounts.open(id(1));
        assert!(accounts.covers(id(1), Tokens(100)) && !accounts.covers(id(1), Tokens(101)));
        accounts.adopt(record(2, 1, &[(1, 7)]));
        assert!(accounts.covers(id(1), Tokens(107)) && !accounts.covers(id(1), Tokens(108)));
        accounts.adopt(record(1, 1, &[(2, 50)]));
        assert!(accounts.covers(id(1), Tokens(107)), "in all, and not once more");
    }

    #[test]
    fn records_that_spend_what_others_of_them_pay_are_covered_together_and_only_with_all_of_these() {
        // What 1, 2, 3 and 4 have paid in all by records that wait; then who of them is covered.
        type Paid<'a> = &'a [(u8, u64)];
        let table: [([Paid<'_>; 4], &[u8]); 6] = [
            ([&[(2, 150)], &[(1, 150)], &[], &[]], &[1, 2]),
            ([&[(2, 150)], &[(3, 150)], &[(1, 150)], &[]], &[1, 2, 3]),
            ([&[(2, 150)], &[(1, 49)], &[], &[]], &[2]),
            // Who cannot have it takes along who lives by it, and nobody else.
            ([&[(2, 202)], &[(1, 100), (3, 200)], &[(4, 300)], &[(1, 1)]], &[4]),
            ([&[(2, 150)], &[(1, 150)], &[(4, 101)], &[(3, 101), (1, 101)]], &[1, 2]),
            ([&[(2, 100)], &[(3, 200)], &[], &[]], &[1, 2]),
        ];
        for (paid, covered) in table {
            let mut accounts = Accounts::new(GENESIS, STAKE);
            (1..=4).for_each(|n| assert!(accounts.open(id(n))));
            let records: Vec<AccountRecord> =
                (1..).zip(paid).filter(|(_, row)| !row.is_empty()).map(|(of, row)| record(of, 7, row)).collect();
            let together: Vec<NodeId> = accounts.covered_together(records.iter()).into_iter().collect();
            assert_eq!(together, covered.iter().map(|n| id(*n)).collect::<Vec<_>>(), "{paid:?}");
            for record in records.into_iter().filter(|record| together.contains(&record.account)) {
                accounts.adopt(record);
            }
            assert!(accounts.supply().holds(), "{paid:?}");
        }
    }

    #[test]
    fn what_an_account_has_paid_before_is_not_brought_once_more() {
        let mut accounts = Accounts::new(GENESIS, STAKE);
        accounts.adopt(record(1, 1, &[(2, 60)]));
        let (more, spends) = (record(1, 2, &[(2, 100)]), |all| record(2, 1, &[(1, all)]));
        assert_eq!(accounts.covered_together([&more, &spends(200)].into_iter()).len(), 2);
        assert_eq!(accounts.covered_together([&more, &spends(201)].into_iter()).len(), 1);
    }

    #[test]
    fn a_record_that_takes_back_what_was_paid_does_not_follow() {
        let mut accounts = Accounts::new(GENESIS, STAKE);
        accounts.adopt(record(1, 1, &[(2, 7), (3, 1)]));
        let table: [(&[(u8, u64)], bool); 5] = [
            (&[(2, 7), (3, 1)], true),
            (&[(2, 8), (3, 1), (4, 9)], true),
            (&[(2, 6), (3, 2)], false),
            (&[(2, 9)], false),
            (&[(2, u64::MAX), (3, 1)], false),
        ];
        for (row, follows) in table {
            assert_eq!(accounts.follows(&record(1, 2, row)).is_ok(), follows, "{row:?}");
        }
    }

    proptest! {
        #[test]
        fn the_digest_is_that_of_what_was_applied_whatever_the_order(order in Just([0usize, 1, 2, 3]).prop_shuffle()) {
            let records =
                [record(1, 1, &[(2, 7)]), record(2, 4, &[(1, 3)]), record(3, 1, &[(1, 1)]), record(4, 2, &[(3, 50)])];
            let apply = |order: &[usize]| {
                let mut accounts = Accounts::new(GENESIS, STAKE);
                for at in order {
                    accounts.adopt(records[*at].clone());
                }
                (accounts.digest(), accounts.supply())
            };
            prop_assert_eq!(apply(&order), apply(&[0, 1, 2, 3]));
            prop_assert!(apply(&order).1.holds());
            prop_assert_ne!(apply(&order[..3]).0, apply(&order).0);
        }
    }
}
