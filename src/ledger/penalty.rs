//! Stakes that are lost: a claim that lapsed costs its stake, and its submitter gets it (protocol.md, section 8).
//!
//! Every node counts, for each submitter and claimer, the claims that it saw lapse: another's claim took their place while it held
//! the claimer for dead. With each it tells the submitter "at least so many". A quorum of the same number is a certificate, and one
//! number for each pair is all there is to know: it only grows, so nothing needs an order, two certificates never contradict each
//! other, a vote that was lost is made good by the next, and newcomers need no history. Who is shown a number that former members
//! have certified, and has counted as many itself, votes for it again, so that the present ones can certify it. A submitter waits with it as it does with
//! payments, since one crash lets several of its jobs down.
//!
//! Nobody is charged on a submitter's word: a failed run is not slashed, as only submitter and executor saw it, nor is a claim that
//! its submitter alone calls lapsed. Who said goodbye has handed its jobs over, and is not slashed either.
//!
//! What a voter has counted is bound until it is certified, so that the claimer cannot spend it, and a voter counts nothing that the
//! claimer's account does not hold beside all else that is bound. A certified penalty waits for the money that it takes, as a
//! transaction does. As for stakes and reserves, it is the shared voter of any two certificates that keeps an account
//! from being promised twice; three that are of one moment and share none in common could, where an account is nearly empty.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bincode::Encode;

use super::{Ledger, Timer};
use crate::config::Config;
use crate::cx::{Ctx, store_key};
use crate::id::{ElectorateId, JobId, NodeId, PeerIdx};
use crate::identity::chain::WithOlder;
use crate::io::{Event, Refusal};
use crate::membership::Members;
use crate::quorum::{Proof, max_byzantine};
use crate::time::Time;
use crate::units::Tokens;
use crate::wire::message::{MAX_LAPSES_NAMED, MAX_PENALTIES, PenaltyRecord, PenaltyRecords, PenaltyVote};
use crate::wire::{Payload, Signature, Signed, binary};

/// Lapses that are remembered one by one: a guess, as many as `max_known_jobs`.
const MARKED: usize = 65_536;
/// Votes of one voter that are kept: a guess, more than claims that one node may hold at once.
const VOTES_EACH: usize = 64;
/// How far beyond the certified number a vote may be.
const AHEAD: u64 = 64;
/// Pairs of which members have said what they could not prove.
const VOUCHED: usize = 1_024;

/// Who was let down, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pair {
    /// Who gets the stakes.
    pub submitter: NodeId,
    /// Whose they were.
    pub claimer: NodeId,
}

/// What a voter signs: by what it saw, at least so many claims lapsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode)]
pub struct PenaltyStatement {
    /// Whose jobs.
    pub submitter: NodeId,
    /// Whose claims.
    pub claimer: NodeId,
    /// How many.
    pub number: u64,
    /// The members whose votes count.
    pub electorate: ElectorateId,
}

impl PenaltyStatement {
    /// The bytes that are signed. The prefix keeps them from ever being an envelope or another record.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let mut bytes = b"penalty-vote/1\0".to_vec();
        binary::encode_into(self, &mut bytes);
        bytes
    }
}

/// What is counted and not applied yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Penalties {
    /// Lapses by what this node saw; never fewer than are certified.
    counted: BTreeMap<Pair, u64>,
    /// Lapses of each claimer that are counted and not applied: each binds a stake.
    owed: BTreeMap<NodeId, u64>,
    /// Which lapses are in the count.
    marked: BTreeSet<(JobId, NodeId)>,
    marked_order: VecDeque<(JobId, NodeId)>,
    /// What is proven, and waits for the claimer's money.
    waiting: BTreeMap<Pair, PenaltyRecord>,
    /// Votes for this node as submitter, by claimer and number, of the present electorate.
    votes: BTreeMap<(NodeId, u64), BTreeMap<NodeId, Signature>>,
    /// Lapses of own jobs that no certificate names yet, oldest first.
    unnamed: BTreeMap<NodeId, VecDeque<JobId>>,
    /// The numbers that members have given without proof.
    vouchers: BTreeMap<Pair, Vouched>,
}

#[derive(Clone, Debug, Default)]
struct Vouched {
    given: BTreeMap<NodeId, u64>,
    /// When others than the givers were asked.
    asked: Option<Time>,
}

impl Penalties {
    /// How many lapses of a claimer bind a stake.
    pub(super) fn owed(&self, claimer: NodeId) -> u64 {
        self.owed.get(&claimer).copied().unwrap_or(0)
    }

    /// How many of all claimers do, by the sums that are kept.
    pub(super) fn owed_by_all(&self) -> u64 {
        self.owed.values().sum()
    }

    /// Takes note of a lapse; says whether it is new.
    fn mark(&mut self, job: JobId, claimer: NodeId) -> bool {
        let new = self.marked.insert((job, claimer));
        if new {
            self.marked_order.push_back((job, claimer));
            if self.marked_order.len() > MARKED {
                let oldest = self.marked_order.pop_front().expect("just pushed");
                self.marked.remove(&oldest);
            }
        }
        new
    }

    fn count(&mut self, pair: Pair) -> u64 {
        let counted = self.counted.entry(pair).or_default();
        *counted += 1;
        *self.owed.entry(pair.claimer).or_default() += 1;
        *counted
    }

    /// The first `number` lapses of a pair are applied, of which `before` were already.
    fn applied(&mut self, pair: Pair, before: u64, number: u64) {
        let counted = self.counted.entry(pair).or_default();
        let owed = self.owed.entry(pair.claimer).or_default();
        *owed -= (*counted).min(number) - before;
        *counted = (*counted).max(number);
    }

    /// Starts with what is certified.
    pub(super) fn recall(&mut self, pair: Pair, number: u64) {
        self.counted.insert(pair, number);
    }

    /// Asserts what must always hold, in constant time.
    pub(super) fn check_invariants(&self) {
        assert!(self.marked.len() <= MARKED && self.marked.len() == self.marked_order.len(), "lapses are bounded");
        assert!(self.vouchers.len() <= VOUCHED, "what cannot be proven is bounded");
    }
}

impl Ledger {
    /// Another's claim of a job took the place of one whose holder this node holds for dead: its stake is lost. To be called after
    /// [`Ledger::on_claim`].
    pub fn on_lapsed(&mut self, cx: &mut Ctx<'_>, members: &Members, job: JobId, claimer: NodeId) {
        let Some((submitter, _)) = self.bound.job(job).filter(|(submitter, _)| *submitter != claimer) else { return };
        let spendable = self.unbound(claimer) - self.under_vote(claimer);
        if spendable < i128::from(self.stake.0) || !self.penalties.mark(job, claimer) {
            return;
        }
        let pair = Pair { submitter, claimer };
        self.penalties.count(pair);
        if penalty_twice_planted(cx.config) {
            self.penalties.count(pair);
        }
        if submitter == self.owner {
            let unnamed = self.penalties.unnamed.entry(claimer).or_default();
            unnamed.push_back(job);
            if unnamed.len() > MAX_LAPSES_NAMED {
                unnamed.pop_front();
            }
        }
        self.note_free(claimer);
        self.vote_for_penalty(cx, members, pair, self.counted(pair));
    }

    /// What the transaction of an account that this node has voted for takes beyond what its jobs reserve, until it is applied.
    fn under_vote(&self, account: NodeId) -> i128 {
        let voted = self.polls.get(&account).and_then(|poll| poll.voted.as_ref());
        let Some(voted) = voted.filter(|voted| voted.seq > self.accounts.seq(account)) else { return 0 };
        let total = voted.total().map_or(0, |total| i128::from(total.0));
        let reserved = self.bound.reserved_for(account, voted.transfers.iter().map(|transfer| transfer.job_id));
        (total - reserved).max(0)
    }

    /// How many lapses this node has seen.
    fn counted(&self, pair: Pair) -> u64 {
        self.penalties.counted.get(&pair).copied().unwrap_or(0)
    }

    fn vote_for_penalty(&mut self, cx: &mut Ctx<'_>, members: &Members, pair: Pair, number: u64) {
        if members.electorate().position(self.owner).is_none() {
            return;
        }
        let (Pair { submitter, claimer }, electorate) = (pair, members.electorate().digest());
        let bytes = PenaltyStatement { submitter, claimer, number, electorate }.signed_bytes();
        let signed = Signed { network_id: &cx.config.network_id, bytes: &bytes };
        let vote_signature = cx.verify.sign(cx.egress.keys(), &signed);
        if submitter == self.owner {
            self.add_penalty_vote(cx, members, claimer, number, self.owner, vote_signature);
        } else if let Some(peer) = members.find(submitter) {
            let vote = PenaltyVote { claimer, number, electorate, vote_signature };
            cx.direct(peer, submitter, &Payload::PenaltyVote(vote));
        }
    }

    /// Votes again for what is counted and not certified: the members changed, or a submitter is back that may have missed votes.
    pub fn repeat_penalty_votes(&mut self, cx: &mut Ctx<'_>, members: &Members, to: Option<NodeId>) {
        let open = |(pair, counted): (&Pair, &u64)| {
            let wanted = to.is_none_or(|to| to == pair.submitter) && *counted > self.penalty_tip(*pair);
            wanted.then_some(*pair)
        };
        let open: Vec<Pair> = self.penalties.counted.iter().filter_map(open).collect();
        open.into_iter().for_each(|pair| self.vote_for_penalty(cx, members, pair, self.counted(pair)));
    }

    /// The members changed: votes are collected anew.
    pub(super) fn on_other_penalty_electorate(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        self.penalties.votes.clear();
        self.repeat_penalty_votes(cx, members, None);
    }

    /// A voter says how often a claimer let this node down.
    ///
    /// # Errors
    /// It is no vote of a member for something that comes next.
    pub fn on_penalty_vote(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        vote: &PenaltyVote,
    ) -> Result<(), Refusal> {
        let (voter, claimer, number) = (members.id(from), vote.claimer, vote.number);
        let pair = Pair { submitter: self.owner, claimer };
        let tip = self.penalty_tip(pair);
        let again = number == tip && self.is_of_former(members, pair);
        if number <= tip && !again {
            return Ok(()); // One more than was needed, mostly.
        }
        if members.electorate().position(voter).is_none() || members.find(claimer).is_none() {
            return Err(Refusal::NotAMember);
        }
        let votes = &self.penalties.votes;
        let known = votes.values().filter(|votes| votes.contains_key(&voter)).count();
        if claimer == self.owner || number > tip + AHEAD || known >= VOTES_EACH {
            return Err(Refusal::OutOfPlace);
        }
        if vote.electorate != members.electorate().digest() {
            return Err(Refusal::ElectorateDiffers);
        }
        let (submitter, electorate) = (self.owner, vote.electorate);
        let bytes = PenaltyStatement { submitter, claimer, number, electorate }.signed_bytes();
        let signed = Signed { network_id: &cx.config.network_id, bytes: &bytes };
        if !cx.verify.verify(members.peer(from).key(), &signed, &vote.vote_signature) {
            return Err(Refusal::BadSignature);
        }
        self.add_penalty_vote(cx, members, claimer, number, voter, vote.vote_signature);
        if again && !self.penalties.votes[&(claimer, number)].contains_key(&self.owner) {
            self.vote_for_penalty(cx, members, pair, number);
        }
        Ok(())
    }

    /// Whether the number that is applied was voted for by other members than the present ones.
    fn is_of_former(&self, members: &Members, pair: Pair) -> bool {
        let proof = self.accounts.penalty_proof(pair);
        proof.is_some_and(|proof| proof.electorate != members.electorate().digest())
            && !self.penalties.waiting.contains_key(&pair)
    }

    /// Counts a vote. With a quorum of them the penalty can be certified; it waits for more lapses of the same crash, but where
    /// it was certified before.
    fn add_penalty_vote(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        claimer: NodeId,
        number: u64,
        voter: NodeId,
        signature: Signature,
    ) {
        let again = number <= self.penalty_tip(Pair { submitter: self.owner, claimer });
        let votes = self.penalties.votes.entry((claimer, number)).or_default();
        votes.insert(voter, signature);
        if votes.len() < members.electorate().quorum() as usize {
            return;
        }
        if again {
            self.timers.arm(Timer::Penalties, cx.now.mono);
        } else if !self.timers.is_armed(Timer::Penalties) {
            self.timers.arm(Timer::Penalties, cx.now.mono + self.company(cx));
        }
    }

    /// Certifies the largest number of each claimer that a quorum has voted for, and tells all.
    pub(super) fn on_penalties_timer(&mut self, cx: &mut Ctx<'_>, members: &Members) {
        let quorum = members.electorate().quorum() as usize;
        let voted = |(of, votes): (&(NodeId, u64), &BTreeMap<_, _>)| (votes.len() >= quorum).then_some(*of);
        // Sorted by number: the largest of each claimer stays.
        let certain: BTreeMap<NodeId, u64> = self.penalties.votes.iter().filter_map(voted).collect();
        let submitter = self.owner;
        let records: Vec<PenaltyRecord> =
            certain.into_iter().map(|(claimer, number)| self.certify_penalty(cx, members, claimer, number)).collect();
        for some in records.chunks(MAX_PENALTIES) {
            let penalties = some.to_vec();
            cx.broadcast(&Payload::PenaltyRecords(PenaltyRecords { submitter, penalties }));
        }
        for record in records {
            let pair = Pair { submitter, claimer: record.claimer };
            if record.number > self.penalty_tip(pair) {
                self.penalty_certified(pair, record);
            } else {
                self.penalties.votes.remove(&(record.claimer, record.number));
                self.accounts.prove_penalty(pair, record.proof);
                self.persist_penalties(cx, submitter);
            }
        }
    }

    fn persist_penalties(&self, cx: &mut Ctx<'_>, submitter: NodeId) {
        cx.persist(&store_key::of_node(store_key::PENALTIES, submitter), &self.accounts.penalties(submitter));
    }

    fn certify_penalty(&mut self, cx: &mut Ctx<'_>, members: &Members, claimer: NodeId, number: u64) -> PenaltyRecord {
        let (electorate, submitter) = (members.electorate(), self.owner);
        let votes = &self.penalties.votes[&(claimer, number)];
        let at = |(voter, signature): (&NodeId, &Signature)| Some((electorate.position(*voter)?, *signature));
        let placed: Vec<(usize, Signature)> = votes.iter().filter_map(at).collect();
        assert_eq!(placed.len(), votes.len(), "every vote is of a member of this electorate");
        let proof = Proof::new(electorate.digest(), electorate.members().len(), &placed);
        let added = usize::try_from(number - self.penalty_tip(Pair { submitter, claimer })).expect("bounded by AHEAD");
        let unnamed = self.penalties.unnamed.entry(claimer).or_default();
        let jobs = unnamed.drain(..added.min(unnamed.len())).collect();
        let record = PenaltyRecord { claimer, number, jobs, proof };
        let start = cx.out.at();
        binary::encode_into(&PenaltyRecords { submitter, penalties: vec![record.clone()] }, &mut cx.out.bytes);
        let certificate = start..cx.out.at();
        cx.report(Event::PenaltyCertified { submitter, claimer, number, certificate });
        record
    }

    /// What a submitter was awarded, by whomever it is told.
    ///
    /// # Errors
    /// It is no sound record, or its votes do not prove it.
    pub fn on_penalties(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        records: PenaltyRecords,
    ) -> Result<(), Refusal> {
        let submitter = records.submitter;
        for record in records.penalties {
            let pair = Pair { submitter, claimer: record.claimer };
            if submitter == record.claimer || self.stake.0.checked_mul(record.number).is_none() {
                return Err(Refusal::BadRecord);
            }
            if record.number <= self.penalty_tip(pair) {
                continue;
            }
            let of_present = record.proof.electorate == members.electorate().digest();
            if penalty_is_proven(cx, members, pair, &record) {
                if members.id(from) == submitter {
                    for job in &record.jobs {
                        self.penalties.mark(*job, record.claimer);
                    }
                }
                self.penalty_certified(pair, record);
            } else if of_present && !members.electorate().has_rotated() {
                return Err(Refusal::BadCertificate);
            } else {
                // 1: a vote by a key that is out of use proves nothing by itself, as one of a former member.
                self.vouch(cx, members, from, pair, record)?;
            }
        }
        Ok(())
    }

    /// A record that earlier members certified: believed when f + 1 of the present ones give that number or a larger one. Where
    /// this node has counted as many, its submitter gets its vote again, and can have the present members certify it.
    fn vouch(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        pair: Pair,
        record: PenaltyRecord,
    ) -> Result<(), Refusal> {
        let (giver, now) = (members.id(from), cx.now.mono);
        if members.electorate().position(giver).is_none() {
            return Err(Refusal::NotAMember);
        }
        let vouchers = &mut self.penalties.vouchers;
        if vouchers.len() >= VOUCHED && !vouchers.contains_key(&pair) {
            return Err(Refusal::OutOfPlace);
        }
        let vouched = vouchers.entry(pair).or_default();
        vouched.given.insert(giver, record.number);
        let agree = vouched.given.values().filter(|number| **number >= record.number).count();
        let voters = u32::try_from(members.electorate().members().len()).expect("bounded by max_members");
        if agree > max_byzantine(voters) as usize {
            self.penalty_certified(pair, record);
            return Ok(());
        }
        let ask = vouched.asked.is_none_or(|asked| now.since(asked) >= cx.config.rebroadcast_interval);
        if ask {
            vouched.asked = Some(now);
        }
        if giver == pair.submitter && self.counted(pair) >= record.number {
            self.vote_for_penalty(cx, members, pair, record.number);
        }
        if ask {
            // Of 2f + 1, f + 1 are honest.
            self.ask_others(cx, members, pair.submitter, 2 * max_byzantine(voters) as usize + 1);
        }
        Ok(())
    }

    /// The newest certified number of a pair, applied or not.
    fn penalty_tip(&self, pair: Pair) -> u64 {
        let waiting = self.penalties.waiting.get(&pair).map_or(0, |record| record.number);
        waiting.max(self.accounts.penalty(pair))
    }

    /// A penalty is proven: it is applied as soon as the claimer's account covers it.
    fn penalty_certified(&mut self, pair: Pair, record: PenaltyRecord) {
        assert!(record.number > self.penalty_tip(pair), "the number only grows");
        self.penalties.vouchers.remove(&pair);
        if pair.submitter == self.owner {
            self.penalties.votes.retain(|(claimer, number), _| *claimer != pair.claimer || *number > record.number);
        }
        self.penalties.waiting.insert(pair, record);
        self.touched.insert(pair.claimer);
    }

    /// Takes the certified penalties of an account, where it has the money.
    pub(super) fn apply_penalties(&mut self, cx: &mut Ctx<'_>, claimer: NodeId) {
        let of_it = self.penalties.waiting.keys().filter(|pair| pair.claimer == claimer).copied();
        for pair in of_it.collect::<Vec<_>>() {
            let record = self.penalties.waiting.remove(&pair).expect("just seen");
            let before = self.accounts.penalty(pair);
            if !self.accounts.covers_penalty(pair, record.number) {
                self.penalties.waiting.insert(pair, record);
                continue;
            }
            let number = record.number;
            self.accounts.penalise(pair, number, record.proof);
            self.penalties.applied(pair, before, number);
            self.persist_penalties(cx, pair.submitter);
            let total = Tokens((number - before) * self.stake.0);
            let Pair { submitter, claimer } = pair;
            cx.report(Event::PenaltyApplied { submitter, claimer, number, total });
            self.touched.insert(submitter);
            self.note_free(claimer);
        }
    }

    /// Tells a member what a submitter was awarded.
    pub(super) fn send_penalties(&self, cx: &mut Ctx<'_>, members: &Members, to: PeerIdx, submitter: NodeId) {
        for some in self.accounts.penalties(submitter).chunks(MAX_PENALTIES) {
            let records = PenaltyRecords { submitter, penalties: some.to_vec() };
            cx.direct(to, members.id(to), &Payload::PenaltyRecords(records));
        }
    }
}

/// Whether a penalty is proven by a quorum of the present members, or of those of a moment ago, with keys that are in use.
fn penalty_is_proven(cx: &mut Ctx<'_>, members: &Members, pair: Pair, record: &PenaltyRecord) -> bool {
    let named = members.electorate_named(cx.now.mono, record.proof.electorate);
    let Some((electorate, needed)) = named else { return false };
    let Pair { submitter, claimer } = pair;
    let statement = PenaltyStatement { submitter, claimer, number: record.number, electorate: record.proof.electorate };
    let bytes = statement.signed_bytes();
    let now = cx.wall();
    let older = |key: &[u8; 32]| electorate.older_keys(key, now);
    let mut verify = WithOlder { verify: cx.verify, older: &older };
    record.proof.check(&bytes, electorate.members(), needed, &cx.config.network_id, &mut verify).is_ok()
}

fn penalty_twice_planted(config: &Config) -> bool {
    #[cfg(feature = "plant")]
    if config.plant == crate::config::Plant::PenaltyTwice {
        return true;
    }
    let _ = config;
    false
}
