//! Money: who has how much, and how a job is paid, once (protocol.md, section 8).
//!
//! Only its owner spends from an account, so no order among accounts is needed: a payer signs its transactions one after the
//! other, voters vote at most once for each number, and a quorum of votes is a certificate that every node applies, in the order
//! of the account (the FastPay and Astro designs).
//!
//! What is voted for names, besides the transaction, the account's *row*: all that it has paid to whom so far. So the newest
//! certificate of each account, with its row, is everything there is to know: a newcomer, or who missed something, takes the
//! newest record of an account and needs nothing before it, and the store does not grow with history.
//!
//! A certified transaction that arrives before the credit which it spends waits for it, so no balance is ever seen below
//! zero. A vote waits likewise.
//!
//! An identity whose store was lost asks a quorum how far its account is before it pays anything: else it would sign a second
//! transaction of a number it has used. As a voter it is one of those that the quorum allows to be faulty: it may vote again for
//! the one number of each account that was under way when its store was lost.
//!
//! A stake is bound by a claim and released with the job, or by a better claim; where the claim lapsed, it is lost to the submitter.
//!
//! `transaction` is what is signed, `account` the sums, `bound` what jobs and claims have bound: all three pure. `settle` makes
//! this node's transactions, `vote` judges and certifies everyone's, `renew` has the newest certified again by later members, `penalty`
//! takes stakes, `sync` fetches what was missed.

pub mod account;
pub mod bound;
pub mod penalty;
mod renew;
pub mod settle;
mod sync;
pub mod transaction;
mod vote;

use std::collections::{BTreeMap, BTreeSet};

use account::Accounts;
pub use account::Supply;
use bound::{Bound, RESERVE_PERCENT};
use penalty::{Pair, Penalties};
use settle::Own;
use sync::Asks;
use vote::Poll;

use crate::auction::{Claim, Funds};
use crate::config::Config;
use crate::cx::Ctx;
use crate::id::{JobId, NodeId};
use crate::io::SubmitRefusal;
use crate::membership::Members;
use crate::time::Time;
use crate::timers::Timers;
use crate::units::Tokens;
use crate::wire::message::{AccountRecord, PenaltyRecord, TokenTransaction, Transfer};

/// All accounts, and this node's part in them: as payer, as voter, as who keeps them.
#[derive(Clone, Debug)]
pub struct Ledger {
    owner: NodeId,
    accounts: Accounts,
    bound: Bound,
    penalties: Penalties,
    /// Accounts of which more than the certified record is known.
    polls: BTreeMap<NodeId, Poll>,
    own: Own,
    asks: Asks,
    /// How many heartbeats of each member in a row had another digest than this node's; empty while there is no difference.
    differs: Vec<u8>,
    /// Accounts to look at again: they have got or freed something, or have something new.
    touched: BTreeSet<NodeId>,
    /// Whose votes were last collected and asked for, as the electorate counts itself.
    electorate: u64,
    stake: Tokens,
    /// Planted: nobody looks at a balance.
    unchecked: bool,
    timers: Timers<Timer>,
    funds: Funds,
    funds_changed: bool,
    /// Payments that were certified just now; `node.rs` carries them to the reputation.
    pub settled: Vec<Settled>,
}

/// A job was paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Whose job it was.
    pub payer: NodeId,
    /// Who ran it.
    pub executor: NodeId,
    /// Whether it was done after its deadline.
    pub late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// Payments have waited long enough for company.
    Settle,
    /// The own transaction is not certified yet.
    Repeat,
    /// Not enough members have said how far the own account is.
    Ask,
    /// Votes for penalties have waited long enough for company.
    Penalties,
    /// Certified records have waited long enough for the money of their accounts.
    Together,
}

/// What the store remembers of money.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// The newest record of each account.
    pub records: Vec<AccountRecord>,
    /// What each submitter was awarded.
    pub penalties: Vec<(NodeId, Vec<PenaltyRecord>)>,
    /// The last transaction of each account that was voted for, or made; of the own one also the one before.
    pub transactions: Vec<TokenTransaction>,
    /// Payments that no transaction carries yet.
    pub payments: Vec<Transfer>,
    /// Whether the store is new: perhaps an earlier one was lost.
    pub new_store: bool,
}

impl Ledger {
    /// The ledger of a node that has not started yet.
    #[must_use]
    pub fn new(owner: NodeId, config: &Config) -> Ledger {
        let mut ledger = Ledger {
            owner,
            accounts: Accounts::new(config.genesis_balance, config.stake),
            bound: Bound::default(),
            penalties: Penalties::default(),
            polls: BTreeMap::new(),
            own: Own::default(),
            asks: Asks::default(),
            differs: Vec::new(),
            touched: BTreeSet::new(),
            electorate: 0,
            stake: config.stake,
            unchecked: balance_unchecked_planted(config),
            timers: Timers::default(),
            funds: Funds::default(),
            funds_changed: false,
            settled: Vec::new(),
        };
        ledger.open(owner);
        ledger
    }

    /// Starts with what the store remembers. It was proven, or made here, before it was stored.
    pub fn start(&mut self, cx: &mut Ctx<'_>, remembered: Remembered) {
        for (submitter, records) in remembered.penalties {
            for PenaltyRecord { claimer, number, proof, .. } in records {
                let pair = Pair { submitter, claimer };
                self.accounts.penalise(pair, number, proof);
                self.penalties.recall(pair, number);
            }
        }
        // The disk may have finished some of those that were applied together and not the others.
        let covered = self.accounts.covered_together(remembered.records.iter());
        for record in remembered.records {
            if record.seq <= self.tip(record.account) || self.accounts.follows(&record).is_err() {
                continue;
            }
            if covered.contains(&record.account) || self.unchecked {
                self.accounts.adopt(record);
            } else {
                self.certified(record);
            }
        }
        for transaction in remembered.transactions {
            let account = transaction.account;
            if transaction.seq > self.accounts.seq(account) {
                self.polls.entry(account).or_default().voted = Some(transaction);
            } else if transaction.seq == self.accounts.seq(account) {
                self.recall_newest(transaction);
            }
        }
        self.start_settling(cx, remembered.payments, remembered.new_store);
        let opened: Vec<NodeId> = self.accounts.iter().map(|(id, _)| id).collect();
        opened.into_iter().for_each(|id| self.note_free(id));
    }

    /// A member is known: it has an account.
    pub fn open(&mut self, member: NodeId) {
        if self.accounts.open(member) {
            self.note_free(member);
            // A transaction may have waited for this payee.
            self.touched.extend(self.polls.keys().copied());
        }
    }

    /// What an account has, in whole micro-tokens.
    #[must_use]
    pub fn balance(&self, account: NodeId) -> Tokens {
        Tokens(u64::try_from(self.accounts.balance(account).max(0)).expect("all money fits: `Config::validate`"))
    }

    /// What an account has and has not bound by jobs and claims that are known here.
    #[must_use]
    pub fn free(&self, account: NodeId) -> Tokens {
        Tokens(u64::try_from(self.unbound(account).max(0)).expect("less than the balance"))
    }

    /// What an account has reserved for its jobs, and staked on its claims, as far as they are known here.
    #[must_use]
    pub fn bound(&self, account: NodeId) -> (Tokens, Tokens) {
        let (reserved, staked) = self.bound.parts(account);
        let staked = staked + self.stakes(self.penalties.owed(account));
        let tokens = |sum| Tokens(u64::try_from(sum).expect("bonds are added before they are taken away"));
        (tokens(reserved), tokens(staked))
    }

    fn unbound(&self, account: NodeId) -> i128 {
        if self.unchecked {
            return i128::from(u64::MAX);
        }
        self.accounts.balance(account) - self.bound.of(account) - self.stakes(self.penalties.owed(account))
    }

    fn stakes(&self, number: u64) -> i128 {
        i128::from(self.stake.0) * i128::from(number)
    }

    /// Whether this node may submit a job that pays this much.
    ///
    /// # Errors
    /// `InsufficientBalance`: its reserve does not fit. `TooManyJobs`: that many are done and not paid yet.
    pub fn may_submit(&self, payment: Tokens, most_unpaid: u32) -> Result<(), SubmitRefusal> {
        if self.own.unpaid() >= most_unpaid as usize {
            return Err(SubmitRefusal::TooManyJobs);
        }
        let most = i128::from(payment.percent(RESERVE_PERCENT).0);
        if most <= self.unbound(self.owner) { Ok(()) } else { Err(SubmitRefusal::InsufficientBalance) }
    }

    /// A job becomes known: 120 % of its payment is reserved, or it waits until that fits.
    pub fn on_job_seen(&mut self, job: JobId, submitter: NodeId, payment: Tokens) {
        if self.bound.see(job, submitter, payment) {
            self.fund(submitter);
            if self.bound.is_waiting(job) {
                self.funds_changed |= self.funds.unfunded.insert(job);
            }
        }
    }

    /// What the auctions must know, where it has changed since it was last asked for; `node.rs` carries it over.
    pub fn changed_funds(&mut self) -> Option<&Funds> {
        std::mem::take(&mut self.funds_changed).then_some(&self.funds)
    }

    /// Somebody holds a claim: its stake is bound, and that of the claim it ends is free.
    pub fn on_claim(&mut self, job: JobId, claim: &Claim) {
        if let Some(freed) = self.bound.claim(job, claim, self.stake) {
            self.note_free(freed);
            self.touched.insert(freed);
        }
        self.funds_changed |= self.funds.unfunded.remove(&job);
        self.note_free(claim.claimer);
        if let Some((submitter, _)) = self.bound.job(job) {
            self.note_free(submitter);
        }
    }

    /// A job is not kept any more: what it bound is free.
    pub fn on_job_expired(&mut self, job: JobId) {
        self.funds_changed |= self.funds.unfunded.remove(&job);
        for account in self.bound.release(job) {
            self.fund(account);
            self.touched.insert(account);
        }
    }

    /// Reserves for the jobs of an account that wait for money.
    fn fund(&mut self, account: NodeId) {
        for job in self.bound.fund(account, self.unbound(account)) {
            self.funds_changed |= self.funds.unfunded.remove(&job);
        }
        self.note_free(account);
    }

    /// Whether an account can stake has perhaps changed.
    fn note_free(&mut self, account: NodeId) {
        self.funds_changed |= if self.unbound(account) < i128::from(self.stake.0) {
            self.funds.without_stake.insert(account)
        } else {
            self.funds.without_stake.remove(&account)
        };
    }

    /// When something here is due.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }

    /// Everything that is due now.
    pub fn on_timers(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        while let Some(timer) = self.timers.pop_due(cx.now.mono) {
            match timer {
                Timer::Settle => self.on_settle_timer(cx, members),
                Timer::Repeat => self.repeat(cx, members),
                Timer::Ask => self.ask_for_own(cx, members),
                Timer::Penalties => self.on_penalties_timer(cx, members),
                Timer::Together => self.apply_together(cx),
            }
        }
    }

    /// What follows from all that came in: waiting transactions that are covered now are applied and voted on.
    pub fn settle(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        if self.electorate != members.electorate().generation() {
            self.electorate = members.electorate().generation();
            self.on_electorate(cx, members);
        }
        while let Some(account) = self.touched.pop_first() {
            self.apply_waiting(cx, account);
            self.apply_penalties(cx, account);
            self.fund(account);
            // What still may not be voted on waits.
            let _ = self.vote_on_pending(cx, members, account);
        }
    }

    /// Everyone's money, by id.
    pub fn accounts(&self) -> impl Iterator<Item = (NodeId, Tokens)> {
        self.accounts.iter().map(|(id, _)| (id, self.balance(id)))
    }

    /// All money, counted anew: linear, for tests and checkers.
    #[must_use]
    pub fn supply(&self) -> Supply {
        let (reserved, staked) = self.bound.counted();
        let supply = self.accounts.supply();
        let owed = self.stakes(self.penalties.owed_by_all());
        Supply { free: supply.total - self.bound.total() - owed, reserved, staked: staked + owed, ..supply }
    }

    /// Asserts that no money was made or lost, and that nobody has less than nothing: linear, for tests and checkers.
    pub fn check_supply(&self) {
        let supply = self.supply();
        assert!(supply.holds(), "money is neither made nor lost, and nobody has less than nothing: {supply:?}");
    }

    /// Asserts what must always hold, in constant time.
    pub fn check_invariants(&self) {
        self.bound.check_invariants();
        self.penalties.check_invariants();
        assert!(self.touched.is_empty(), "every account that changed was looked at");
        assert!(self.funds.unfunded.len() <= self.bound.len(), "what waits for money is known");
    }
}

fn balance_unchecked_planted(config: &Config) -> bool {
    #[cfg(feature = "plant")]
    if config.plant == crate::config::Plant::BalanceUnchecked {
        return true;
    }
    let _ = config;
    false
}
