//! How far an account is: asked for, told, and believed only with proof (protocol.md, sections 8 and 10).
//!
//! Who sees a gap asks the payer. A record is proven by its votes where they are of the present members. One that was
//! certified by other members - before somebody joined, or was forgotten - is believed when f + 1 of the present ones have given
//! the same, so that an honest one is among them; likewise one with votes of keys that were replaced since. Where fewer have it, its
//! payer has it voted for again (`renew`).

use std::collections::BTreeMap;

use super::Ledger;
use super::account::Account;
use super::transaction::row_digest;
use super::vote::{is_proven, is_proven_by_keys_of};
use crate::config::Config;
use crate::cx::Ctx;
use crate::id::{NodeId, PeerIdx};
use crate::identity::chain;
use crate::io::{PeerState, Refusal};
use crate::membership::Members;
use crate::quorum::max_byzantine;
use crate::time::{Time, WallTime};
use crate::wire::Payload;
use crate::wire::Signed;
use crate::wire::message::{AccountHead, AccountHeads, AccountRecord, AccountRequest, MAX_ROW, TokenTransaction};

/// Accounts that are asked about at once: of more, the first to be answered make room.
const ASKED_ACCOUNTS: usize = 256;

/// Records that one list of heads sends or asks for.
const RECORDS_AT_ONCE: usize = 64;

/// What was asked, and what members have said that cannot be proven.
#[derive(Clone, Debug, Default)]
pub(super) struct Asks(BTreeMap<NodeId, Ask>);

#[derive(Clone, Debug)]
struct Ask {
    at: Time,
    /// Whether others than the payer were asked.
    widely: bool,
    /// The record that each member has given.
    vouchers: BTreeMap<NodeId, Given>,
}

/// A record that is vouched for: its number, and the digests of its row and of its transaction.
type Given = (u64, [u8; 32], Option<[u8; 32]>);

impl Asks {
    /// The account has moved on: what was said of it before is of no use.
    pub(super) fn answered(&mut self, account: NodeId) {
        self.0.remove(&account);
    }
}

impl Ledger {
    /// How far every account is that has paid or was awarded anything.
    fn heads(&self) -> impl Iterator<Item = AccountHead> {
        let head = |(account, held): (NodeId, &Account)| AccountHead {
            account,
            seq: held.seq(),
            penalties: self.accounts.penalties_of(account),
        };
        self.accounts.iter().map(head).filter(|head| head.seq > 0 || head.penalties > 0)
    }

    /// One number for all transactions and penalties that are applied.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.accounts.digest()
    }

    /// The digest as heartbeats carry it.
    #[must_use]
    pub fn short_digest(&self) -> u32 {
        self.digest() as u32
    }

    /// A heartbeat tells what its sender's digest is. Certificates travel for milliseconds, heartbeats come seconds apart: whose
    /// digest differs twice in a row has missed something, or this node has. Its tellers say how far they are (10).
    pub fn on_ping_digest(&mut self, cx: &mut Ctx<'_>, members: &Members, from: PeerIdx, digest: u32) {
        if digest == self.short_digest() {
            if let Some(differs) = self.differs.get_mut(from.at()) {
                *differs = 0;
            }
            return;
        }
        if self.differs.len() <= from.at() {
            self.differs.resize(from.at() + 1, 0);
        }
        let differs = self.differs[from.at()].saturating_add(1);
        self.differs[from.at()] = differs;
        if members.is_teller_in_turn(self.owner, from, differs.into()) {
            self.differs[from.at()] = 0;
            self.send_heads(cx, members, from);
        }
    }

    /// Tells a member how far all accounts are here, if any has paid anything.
    pub fn send_heads(&self, cx: &mut Ctx<'_>, members: &Members, to: PeerIdx) {
        let heads: Vec<AccountHead> = self.heads().take(MAX_ROW).collect();
        if !heads.is_empty() {
            cx.direct(to, members.id(to), &Payload::AccountHeads(AccountHeads { heads }));
        }
    }

    /// A member tells how far all accounts are by what it knows: what it lacks is sent to it, what this node lacks is asked for.
    /// A bounded number at a time: the rest comes when digests still differ.
    ///
    /// # Errors
    /// `Malformed` where they are not sorted.
    pub fn on_heads(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        message: &AccountHeads,
    ) -> Result<(), Refusal> {
        let theirs = &message.heads;
        if !theirs.is_sorted_by(|a, b| a.account < b.account) {
            return Err(Refusal::Malformed);
        }
        if heads_ignored_planted(cx.config) {
            return Ok(());
        }
        let known = |account: NodeId| {
            let at = theirs.binary_search_by_key(&account, |head| head.account);
            at.map_or((0, 0), |at| (theirs[at].seq, theirs[at].penalties))
        };
        let more = |head: AccountHead| {
            let (seq, penalties) = known(head.account);
            let (paid, awarded) = (head.seq > seq, head.penalties > penalties);
            (paid || awarded).then_some((head.account, paid, awarded))
        };
        let ahead: Vec<_> = self.heads().filter_map(more).take(RECORDS_AT_ONCE).collect();
        for (account, paid, awarded) in ahead {
            if paid {
                if account == self.owner {
                    self.on_lacking(cx, members);
                }
                self.send_record(cx, members, from, account);
            }
            if awarded {
                self.send_penalties(cx, members, from, account);
            }
        }
        let lacks = |head: &&AccountHead| {
            let paid = head.seq > self.tip(head.account) && head.account != self.owner;
            paid || head.penalties > self.accounts.penalties_of(head.account)
        };
        let behind = theirs.iter().filter(lacks);
        let behind: Vec<NodeId> = behind.map(|head| head.account).take(RECORDS_AT_ONCE).collect();
        for account in behind {
            let request = self.request(account);
            cx.direct(from, members.id(from), &request);
        }
        Ok(())
    }

    /// The newest certified record of an account, as it is passed on; nothing before its first transaction.
    #[must_use]
    pub fn record_of(&self, account: NodeId) -> Option<AccountRecord> {
        let held = self.accounts.get(account).filter(|held| held.seq() > 0)?;
        Some(held.record(account))
    }

    /// Somebody asks how far an account is. Its owner also learns what this voter has voted for since.
    pub fn on_account_request(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        request: &AccountRequest,
    ) -> Result<(), Refusal> {
        if self.accounts.get(request.account).is_none() {
            return Err(Refusal::NotAMember);
        }
        if request.account == self.owner {
            self.on_lacking(cx, members);
        }
        self.send_record(cx, members, from, request.account);
        if self.accounts.penalties_of(request.account) > request.penalties {
            self.send_penalties(cx, members, from, request.account);
        }
        Ok(())
    }

    pub(super) fn send_record(&self, cx: &mut Ctx<'_>, members: &Members, to: PeerIdx, account: NodeId) {
        let mut record = self.accounts.get(account).expect("the caller found it").record(account);
        let poll = self.polls.get(&account);
        if let Some(waiting) = poll.and_then(|poll| poll.waiting.as_ref()) {
            record = waiting.clone();
        }
        let asker = members.id(to);
        if asker == account {
            let voted = poll.and_then(|poll| poll.voted.as_ref());
            record.pending = voted.filter(|voted| voted.seq > record.seq).cloned();
        }
        cx.direct(to, asker, &Payload::AccountRecord(record));
    }

    /// A member's record of an account: taken over where it is newer and proven, or where enough members say the same.
    ///
    /// # Errors
    /// It is no sound record, or its votes do not prove it.
    pub fn take_record(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        mut record: AccountRecord,
    ) -> Result<(), Refusal> {
        if record.proof.is_some() != (record.seq > 0) {
            return Err(Refusal::BadRecord);
        }
        self.accounts.follows(&record).or_else(|reason| {
            // An older one pays less, of course.
            if record.seq <= self.accounts.seq(record.account) { Ok(Default::default()) } else { Err(reason) }
        })?;
        let account = record.account;
        let pending = record.pending.take();
        let own_answer = account == self.owner && self.own.answers.is_some();
        if record.seq > self.tip(account) {
            self.believe(cx, members, from, record)?;
        }
        if own_answer {
            self.recall(cx, pending);
            self.own.answers.get_or_insert_default().insert(members.id(from));
            self.settle(cx, members);
            self.check_answers(cx, members);
        }
        Ok(())
    }

    fn believe(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        record: AccountRecord,
    ) -> Result<(), Refusal> {
        let account = record.account;
        if is_proven(cx, members, &record) {
            self.certified(record);
            return Ok(());
        }
        let of_present =
            record.proof.as_ref().is_some_and(|proof| proof.votes.electorate == members.electorate().digest());
        if of_present {
            // 1: with votes of keys that were replaced since, it is as one that others have certified.
            if !is_proven_by_keys_of(cx, members, &record, WallTime(0)) {
                return Err(Refusal::BadCertificate);
            }
        }
        let giver = members.id(from);
        if members.electorate().position(giver).is_none() {
            return Err(Refusal::NotAMember);
        }
        let row = row_digest(&self.accounts.follows(&record)?.0);
        let given: Given = (record.seq, row, record.proof.as_ref().map(|proof| proof.transaction));
        let Some(ask) = self.ask(cx, account) else { return Err(Refusal::OutOfPlace) };
        ask.vouchers.insert(giver, given);
        let agree = ask.vouchers.values().filter(|said| **said == given).count();
        let voters = u32::try_from(members.electorate().members().len()).expect("bounded by max_members");
        if agree > max_byzantine(voters) as usize {
            self.certified(record);
        } else if !std::mem::replace(&mut ask.widely, true) {
            // Of 2f + 1, f + 1 are honest.
            self.ask_others(cx, members, account, 2 * max_byzantine(voters) as usize + 1);
        } else {
            // So that its payer knows that nobody can check it.
            self.ask_payer(cx, members, account);
        }
        Ok(())
    }

    /// What others say was under way of the own account, if this node has signed it.
    fn recall(&mut self, cx: &mut Ctx<'_>, pending: Option<TokenTransaction>) {
        let Some(transaction) = pending.filter(|transaction| transaction.account == self.owner) else { return };
        let bytes = transaction.signed_bytes();
        let signed = Signed { network_id: &cx.config.network_id, bytes: &bytes };
        let newer = self.own.recalled.as_ref().is_none_or(|known| known.seq < transaction.seq);
        let own = cx.egress.keys();
        let signature = &transaction.transaction_signature;
        let by_own = chain::keys(own.genesis(), own.chain()).any(|key| cx.verify.verify(key, &signed, signature));
        if newer && by_own {
            self.own.recalled = Some(transaction);
        }
    }

    /// Asks the payer how far its account is, unless that was just done.
    pub(super) fn ask_payer(&mut self, cx: &mut Ctx<'_>, members: &Members, account: NodeId) {
        let (now, patience) = (cx.now.mono, cx.config.rebroadcast_interval);
        let known = self.asks.0.contains_key(&account);
        let Some(ask) = self.ask(cx, account) else { return };
        if known && now.since(ask.at) < patience {
            return;
        }
        ask.at = now;
        if ask.widely {
            // It was not enough: other members may know more by now.
            ask.widely = false;
        }
        if let Some(payer) = members.find(account).filter(|payer| *payer != PeerIdx::SELF) {
            let request = self.request(account);
            cx.direct(payer, account, &request);
        }
    }

    /// Asks this many live members that are not the payer, from this node's own place in the order on.
    pub(super) fn ask_others(&self, cx: &mut Ctx<'_>, members: &Members, account: NodeId, wanted: usize) {
        let voters = members.electorate().members();
        let own = members.electorate().position(self.owner).unwrap_or(0);
        let alive = |id: &NodeId| {
            let peer = members.find(*id)?;
            (members.peer(peer).state == PeerState::Alive && peer != PeerIdx::SELF && *id != account).then_some(peer)
        };
        let in_turn = (1..voters.len()).map(|step| voters[(own + step) % voters.len()].0);
        let peers: Vec<(PeerIdx, NodeId)> = in_turn.filter_map(|id| Some((alive(&id)?, id))).take(wanted).collect();
        for (peer, id) in peers {
            cx.direct(peer, id, &self.request(account));
        }
    }

    /// Asks how far an account is.
    pub(super) fn request(&self, account: NodeId) -> Payload {
        Payload::AccountRequest(AccountRequest { account, penalties: self.accounts.penalties_of(account) })
    }

    /// What was asked about an account; nothing where too many are asked about.
    fn ask(&mut self, cx: &Ctx<'_>, account: NodeId) -> Option<&mut Ask> {
        let asks = &mut self.asks.0;
        if asks.len() >= ASKED_ACCOUNTS && !asks.contains_key(&account) {
            let patience = cx.config.rebroadcast_interval.times(2);
            asks.retain(|_, ask| cx.now.mono.since(ask.at) < patience);
            if asks.len() >= ASKED_ACCOUNTS {
                return None;
            }
        }
        let fresh = || Ask { at: cx.now.mono, widely: false, vouchers: BTreeMap::new() };
        Some(asks.entry(account).or_insert_with(fresh))
    }
}

fn heads_ignored_planted(config: &Config) -> bool {
    #[cfg(feature = "plant")]
    if config.plant == crate::config::Plant::HeadsIgnored {
        return true;
    }
    let _ = config;
    false
}
