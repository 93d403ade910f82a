//! What open jobs and claims bind of their submitters' and claimers' money, by what this voter knows (protocol.md, section 8). Pure.
//!
//! No message says it: a job reserves 120 % of its payment from when it becomes known, and its claim binds a stake, until a
//! certified transaction of the submitter names the job, or the job expires. A job whose reserve did not fit waits for money,
//! and gets no vote meanwhile. A better claim frees the stake of the one that it ends, or leaves it to `penalty`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::auction::Claim;
use crate::id::{JobId, NodeId};
use crate::units::Tokens;

/// What a job may cost, in hundredths of its payment: it is what a result by the deadline earns.
pub const RESERVE_PERCENT: u64 = 120;
/// Jobs known to be paid that are remembered, so that nobody votes to pay them again: a guess, as many as `max_known_jobs`.
/// Who pays twice harms only himself.
const PAID_JOBS: usize = 65_536;
/// What is bound.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    jobs: BTreeMap<JobId, Bond>,
    sums: BTreeMap<NodeId, Sums>,
    /// Jobs whose reserve did not fit, by their submitter.
    waiting: BTreeSet<(NodeId, JobId)>,
    paid: BTreeSet<(NodeId, JobId)>,
    paid_order: VecDeque<(NodeId, JobId)>,
}

/// What one job binds.
#[derive(Clone, Debug)]
struct Bond {
    submitter: NodeId,
    most: Tokens,
    reserved: bool,
    /// The claim of the job, and the stake that it binds.
    claim: Option<(Claim, Tokens)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    reserved: i128,
    staked: i128,
}

impl Bound {
    /// A job becomes known: it waits for its reserve, unless it is known or paid already. Says whether it is new.
    pub fn see(&mut self, job: JobId, submitter: NodeId, payment: Tokens) -> bool {
        if self.jobs.contains_key(&job) || self.paid.contains(&(submitter, job)) {
            return false;
        }
        let most = payment.percent(RESERVE_PERCENT);
        self.jobs.insert(job, Bond { submitter, most, reserved: false, claim: None });
        self.waiting.insert((submitter, job));
        true
    }

    /// Reserves for the waiting jobs of a submitter, as far as `free` reaches, and returns which.
    pub fn fund(&mut self, submitter: NodeId, mut free: i128) -> Vec<JobId> {
        let mut funded = Vec::new();
        let waiting = self.waiting.range((submitter, JobId([0; 16]))..=(submitter, JobId([0xff; 16])));
        for job in waiting.map(|(_, job)| *job) {
            let most = i128::from(self.jobs[&job].most.0);
            if most <= free {
                free -= most;
                funded.push(job);
            }
        }
        funded.iter().for_each(|job| self.reserve(*job));
        funded
    }

    /// Somebody holds a claim. Whatever was known of the job's money, a quorum has granted it. Returns whose stake is free with it.
    pub fn claim(&mut self, job: JobId, claim: &Claim, stake: Tokens) -> Option<NodeId> {
        let held = self.jobs.get(&job)?.claim;
        if held.is_some_and(|(held, _)| !claim.beats(&held, job)) {
            return None;
        }
        if !self.jobs[&job].reserved {
            self.reserve(job);
        }
        let freed = self.free_stake(job);
        self.jobs.get_mut(&job).expect("found above").claim = Some((*claim, stake));
        self.sums.entry(claim.claimer).or_default().staked += i128::from(stake.0);
        freed.filter(|freed| *freed != claim.claimer)
    }

    /// A job is over: what it bound is free. Returns whose money that was.
    pub fn release(&mut self, job: JobId) -> Vec<NodeId> {
        let Some(bond) = self.jobs.get(&job) else { return Vec::new() };
        let submitter = bond.submitter;
        let freed = self.free_stake(job).into_iter().chain([submitter]).collect();
        let bond = self.jobs.remove(&job).expect("just seen");
        if bond.reserved {
            self.sums.entry(submitter).or_default().reserved -= i128::from(bond.most.0);
        }
        self.waiting.remove(&(submitter, job));
        freed
    }

    /// A certified transaction of `payer` names a job: remembered, and what its own jobs bound is free. Returns whose money.
    pub fn name(&mut self, payer: NodeId, job: JobId) -> Vec<NodeId> {
        if self.paid.insert((payer, job)) {
            self.paid_order.push_back((payer, job));
            if self.paid_order.len() > PAID_JOBS {
                let oldest = self.paid_order.pop_front().expect("just pushed");
                self.paid.remove(&oldest);
            }
        }
        let own = self.jobs.get(&job).is_some_and(|bond| bond.submitter == payer);
        if own { self.release(job) } else { Vec::new() }
    }

    /// Whether a certified transaction of `payer` has named the job.
    #[must_use]
    pub fn is_named(&self, payer: NodeId, job: JobId) -> bool {
        self.paid.contains(&(payer, job))
    }

    /// Who submitted a job, and what it may cost, where it is known.
    #[must_use]
    pub fn job(&self, job: JobId) -> Option<(NodeId, Tokens)> {
        self.jobs.get(&job).map(|bond| (bond.submitter, bond.most))
    }

    /// What is reserved for these jobs of an account, of which each is named once.
    pub fn reserved_for(&self, submitter: NodeId, jobs: impl Iterator<Item = JobId>) -> i128 {
        let of_job = |job: JobId| self.jobs.get(&job).filter(|bond| bond.reserved && bond.submitter == submitter);
        jobs.filter_map(of_job).map(|bond| i128::from(bond.most.0)).sum()
    }

    /// What an account has bound.
    #[must_use]
    pub fn of(&self, account: NodeId) -> i128 {
        self.sums.get(&account).map_or(0, |sums| sums.reserved + sums.staked)
    }

    /// What an account has reserved for its jobs, and staked on its claims.
    #[must_use]
    pub fn parts(&self, account: NodeId) -> (i128, i128) {
        self.sums.get(&account).map_or((0, 0), |sums| (sums.reserved, sums.staked))
    }

    /// What all accounts have bound, by the sums that are kept.
    #[must_use]
    pub fn total(&self) -> i128 {
        self.sums.values().map(|sums| sums.reserved + sums.staked).sum()
    }

    /// What all jobs reserve, and all claims stake, counted anew: linear in both.
    #[must_use]
    pub fn counted(&self) -> (i128, i128) {
        let reserved = self.jobs.values().filter(|bond| bond.reserved).map(|bond| i128::from(bond.most.0)).sum();
        let staked = self.jobs.values().filter_map(|bond| bond.claim).map(|(_, stake)| i128::from(stake.0)).sum();
        (reserved, staked)
    }

    /// Whether a job waits for its reserve.
    #[must_use]
    pub fn is_waiting(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|bond| !bond.reserved)
    }

    /// How many jobs bind something, or wait to.
    #[must_use]
    pub fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether no job does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    fn reserve(&mut self, job: JobId) {
        let bond = self.jobs.get_mut(&job).expect("the caller found it");
        assert!(!bond.reserved, "a job is reserved for once");
        bond.reserved = true;
        self.waiting.remove(&(bond.submitter, job));
        self.sums.entry(bond.submitter).or_default().reserved += i128::from(bond.most.0);
    }

    fn free_stake(&mut self, job: JobId) -> Option<NodeId> {
        let (claim, stake) = self.jobs.get_mut(&job)?.claim.take()?;
        self.sums.entry(claim.claimer).or_default().staked -= i128::from(stake.0);
        Some(claim.claimer)
    }

    /// Asserts what must always hold, in constant time.
    pub fn check_invariants(&self) {
        assert!(self.paid.len() <= PAID_JOBS && self.paid.len() == self.paid_order.len(), "paid jobs are bounded");
        assert!(self.waiting.len() <= self.jobs.len(), "every waiting job is known");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAKE: Tokens = Tokens(10);

    fn node(n: u8) -> NodeId {
        NodeId([n; 16])
    }

    fn job(n: u8) -> JobId {
        JobId([n; 16])
    }

    fn held(round: u32, claimer: u8, provisional: bool) -> Claim {
        Claim { round, claimer: node(claimer), backup: None, provisional, lapsed: None }
    }

    fn claim(bound: &mut Bound, round: u32, claimer: u8, provisional: bool) -> Option<NodeId> {
        bound.claim(job(1), &held(round, claimer, provisional), STAKE)
    }

    #[test]
    fn of_two_provisional_claims_the_loser_frees_its_stake_in_whatever_order_they_come() {
        let better = if held(0, 2, true).beats(&held(0, 3, true), job(1)) { 2 } else { 3 };
        for order in [[2, 3], [3, 2]] {
            let mut bound = Bound::default();
            bound.see(job(1), node(1), Tokens(100));
            for claimer in order {
                claim(&mut bound, 0, claimer, true);
            }
            assert_eq!(
                [2, 3].map(|n| bound.of(node(n))),
                [2, 3].map(|n| if n == better { 10 } else { 0 }),
                "{order:?}"
            );
        }
    }

    #[test]
    fn what_is_bound_is_free_again_when_the_job_is_named_or_expires() {
        type Step = fn(&mut Bound);
        // Node 1 submits for 100 each, 2 and 3 claim; then what is bound of 1, 2 and 3.
        let table: [(&str, Step, [i128; 3]); 12] = [
            ("job 1 is seen", |b| assert!(b.see(job(1), node(1), Tokens(100))), [0, 0, 0]),
            ("and funded", |b| assert_eq!(b.fund(node(1), 1_000), [job(1)]), [120, 0, 0]),
            ("seen again", |b| assert!(!b.see(job(1), node(1), Tokens(100))), [120, 0, 0]),
            ("claimed", |b| assert_eq!(claim(b, 0, 2, false), None), [120, 10, 0]),
            ("another of that round", |b| assert_eq!(claim(b, 0, 3, false), None), [120, 10, 0]),
            ("the same claimer again", |b| assert_eq!(claim(b, 1, 2, false), None), [120, 10, 0]),
            ("provisionally", |b| assert_eq!(claim(b, 2, 3, true), None), [120, 10, 0]),
            ("taken over", |b| assert_eq!(claim(b, 2, 3, false), Some(node(2))), [120, 0, 10]),
            ("named by another", |b| assert_eq!(b.name(node(3), job(1)), []), [120, 0, 10]),
            ("named", |b| assert_eq!(b.name(node(1), job(1)), [node(3), node(1)]), [0, 0, 0]),
            ("a paid job again", |b| assert!(!b.see(job(1), node(1), Tokens(100))), [0, 0, 0]),
            ("a claim of it", |b| assert_eq!(claim(b, 3, 2, false), None), [0, 0, 0]),
        ];
        let mut bound = Bound::default();
        for (what, step, expected) in table {
            step(&mut bound);
            assert_eq!([1, 2, 3].map(|n| bound.of(node(n))), expected, "{what}");
            bound.check_invariants();
        }
        assert!(bound.is_named(node(1), job(1)) && bound.is_empty());
    }

    #[test]
    fn a_job_without_money_waits_until_it_fits() {
        let mut bound = Bound::default();
        for n in 1..=3 {
            bound.see(job(n), node(1), Tokens(100));
        }
        bound.see(job(4), node(2), Tokens(u64::MAX));
        assert_eq!(bound.fund(node(1), 250), [job(1), job(2)]);
        assert!(bound.is_waiting(job(3)) && !bound.is_waiting(job(2)));
        assert_eq!(bound.fund(node(1), 119), []);
        bound.release(job(1));
        assert_eq!(bound.fund(node(1), 120), [job(3)]);
        assert_eq!(bound.fund(node(2), i128::from(u64::MAX) - 1), [], "more than there is");
        // A quorum that has seen the money grants what this voter would not.
        bound.claim(job(4), &held(0, 3, false), STAKE);
        assert!(!bound.is_waiting(job(4)));
        assert_eq!(bound.release(job(4)), [node(3), node(2)]);
        assert_eq!(bound.of(node(2)), 0);
    }

    #[test]
    fn a_transaction_frees_what_its_own_jobs_reserve() {
        let mut bound = Bound::default();
        bound.see(job(1), node(1), Tokens(100));
        bound.see(job(2), node(2), Tokens(100));
        bound.fund(node(1), 1_000);
        bound.fund(node(2), 1_000);
        assert_eq!(bound.reserved_for(node(1), [job(1), job(2), job(3)].into_iter()), 120);
        assert_eq!(bound.job(job(2)), Some((node(2), Tokens(120))));
    }
}
