//! Two transactions of one number: one to some, the other to the rest, and whatever can be had of votes for both.
//!
//! The second pays a fellow instead. Fellows vote for both: the machine of one is copied before it hears the first, and the copy
//! hears the second. What votes the payer gets for the second it shows as a certificate, however few they are.

use std::collections::BTreeMap;

use marlos::id::{ElectorateId, NodeId};
use marlos::io::{Action, Input, Outbox};
use marlos::quorum::Proof;
use marlos::time::Span;
use marlos::units::Tokens;
use marlos::wire::message::{LedgerCertificate, LedgerVote, TokenTransaction};
use marlos::wire::{Payload, Signature};

use super::said::{Form, Heard, Hearing, Said, Whom};
use super::scene::Scene;
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};
use crate::scenario::NodeNo;

/// How long votes for the second are waited for.
const COLLECTED_AFTER: Span = Span::secs(2);
/// Calls in which a copied machine may still say what it was told to.
const COPY_CALLS: usize = 4;

pub(super) const SPEC: Spec = Spec {
    name: "double_spend",
    what: "Signs two transactions of one number, with the second payee another: half of the others get the one, half the other, \
           and witnesses both. Fellows vote for both. The payer certifies the second with whatever votes it gets.",
    under_way: AS_SENT,
    keys: &[Key::whole("witnesses", 1, 0, 4_096, "how many of the others get both, and can prove it")],
    example: "witnesses = 0",
    begin: |behaviour| {
        let witnesses = usize::try_from(behaviour.whole("witnesses")).expect("at most as many as nodes");
        Box::new(DoubleSpend { witnesses, seconds: BTreeMap::new(), copies: BTreeMap::new() })
    },
};

#[derive(Debug)]
struct DoubleSpend {
    witnesses: usize,
    /// The second transaction of each payer and number, and the votes for it.
    seconds: BTreeMap<(NodeNo, u64), Second>,
    /// Fellows as they were before they heard of a payer's transaction: the last of each payer.
    copies: BTreeMap<(NodeNo, NodeNo), (u64, marlos::Node)>,
}

#[derive(Debug)]
struct Second {
    transaction: TokenTransaction,
    votes: BTreeMap<NodeId, (ElectorateId, Signature)>,
    certified: bool,
}

impl Misbehaviour for DoubleSpend {
    fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        let from = heard.origin.sender;
        for payload in heard.payloads() {
            match payload {
                Payload::LedgerVote(vote) => self.on_vote(scene, from, &vote),
                Payload::TokenTransaction(transaction) if scene.fellows.contains(&from) => {
                    self.vote_for_both(scene, heard, from, &transaction);
                }
                _ => {}
            }
        }
        Hearing::Pass
    }

    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        let own = scene.ids[scene.me];
        let first = said.payloads().iter().find_map(|payload| match payload {
            Payload::TokenTransaction(transaction) if transaction.account == own => Some(transaction.clone()),
            _ => None,
        });
        let (Some(first), Whom::All) = (first, said.whom) else { return scene.say(said) };
        let Some(second) = self.second_of(scene, &first) else { return scene.say(said) };
        let with_second = replaced(&said, &first, &second);
        let others = scene.others(&[]);
        for (at, node) in others.iter().enumerate() {
            if at % 2 == 0 || at < self.witnesses {
                scene.say(said.to(*node));
            }
            if at % 2 == 1 || at < self.witnesses {
                scene.say(with_second.to(*node));
            }
        }
        for fellow in scene.fellows.iter().copied().filter(|fellow| *fellow != scene.me).collect::<Vec<_>>() {
            scene.say(said.to(fellow));
            scene.say(with_second.to(fellow));
        }
    }

    fn wake(&mut self, scene: &mut Scene<'_>) {
        let me = scene.me;
        let due = self.seconds.iter_mut().filter(|((payer, _), second)| *payer == me && !second.certified);
        let mut certificates = Vec::new();
        for ((_, seq), second) in due.filter(|(_, second)| !second.votes.is_empty()) {
            second.certified = true;
            certificates.push((*seq, proof(scene, &second.votes)));
        }
        for (seq, proof) in certificates {
            scene.misdeed();
            let certificate = Payload::LedgerCertificate(LedgerCertificate { seq, proof });
            scene.say(scene.open(Whom::All, vec![certificate]));
        }
    }
}

impl DoubleSpend {
    /// The second transaction beside this one: the same whenever it is said again.
    fn second_of(&mut self, scene: &mut Scene<'_>, first: &TokenTransaction) -> Option<TokenTransaction> {
        let key = (scene.me, first.seq);
        if let Some(second) = self.seconds.get(&key) {
            return Some(second.transaction.clone());
        }
        let mut transaction = first.clone();
        let transfer = transaction.transfers.iter_mut().find(|transfer| transfer.amount > Tokens(0))?;
        let fellows = scene.fellows.iter().map(|fellow| scene.ids[*fellow]);
        let payees = fellows.chain(scene.ids.iter().copied());
        let other = payees.into_iter().find(|payee| *payee != transfer.to && *payee != first.account)?;
        transfer.to = other;
        let keys = scene.keys;
        transaction.transaction_signature = scene.sign(keys, &transaction.signed_bytes());
        scene.misdeed();
        scene.wake_at(scene.now.mono + COLLECTED_AFTER);
        self.seconds.insert(key, Second { transaction: transaction.clone(), votes: BTreeMap::new(), certified: false });
        Some(transaction)
    }

    /// Which of the two a vote is for, it does not say: those of who got the first spoil nothing but the certificate.
    fn on_vote(&mut self, scene: &mut Scene<'_>, from: NodeNo, vote: &LedgerVote) {
        if let Some(second) = self.seconds.get_mut(&(scene.me, vote.seq)) {
            second.votes.insert(scene.ids[from], (vote.electorate, vote.vote_signature));
        }
    }

    fn vote_for_both(
        &mut self,
        scene: &mut Scene<'_>,
        heard: &Heard<'_>,
        payer: NodeNo,
        transaction: &TokenTransaction,
    ) {
        let key = (scene.me, payer);
        match self.copies.remove(&key) {
            Some((seq, copy)) if seq == transaction.seq => {
                let votes = votes_of(scene, copy, heard);
                votes.iter().for_each(|_| scene.misdeed());
                votes.into_iter().for_each(|vote| scene.say(vote));
            }
            _ => drop(self.copies.insert(key, (transaction.seq, scene.node.clone()))),
        }
    }
}

/// What a copy of the machine has to say of payments when it hears this frame.
fn votes_of(scene: &mut Scene<'_>, mut copy: marlos::Node, heard: &Heard<'_>) -> Vec<Said> {
    let (mut outbox, mut now, mut votes) = (Outbox::default(), scene.now, Vec::new());
    copy.handle(now, Input::Frame { link: heard.link, bytes: heard.bytes }, scene.memo, &mut outbox);
    for _ in 0..COPY_CALLS {
        for action in &outbox.actions {
            let Action::Send { to: marlos::io::To::One(peer), frame, .. } = action else { continue };
            let Some(whom) = scene.number(copy.view().peer_id(*peer)) else { continue };
            let said = Said::open(Whom::One(whom), outbox.slice(frame));
            if said.payloads().iter().any(|payload| matches!(payload, Payload::LedgerVote(_))) {
                votes.push(said);
            }
        }
        let Some(due) = copy.next_deadline().filter(|due| votes.is_empty() && *due <= now.mono + Span::millis(100))
        else {
            break;
        };
        let later = due.max(now.mono);
        now = marlos::time::Now { mono: later, wall: now.wall + later.since(now.mono) };
        outbox.clear();
        copy.handle(now, Input::Wake, scene.memo, &mut outbox);
    }
    votes
}

/// The same frame with the other transaction.
fn replaced(said: &Said, first: &TokenTransaction, second: &TokenTransaction) -> Said {
    let mut said = said.clone();
    if let Form::Open(open) = &mut said.form {
        for payload in &mut open.payloads {
            if *payload == Payload::TokenTransaction(first.clone()) {
                *payload = Payload::TokenTransaction(second.clone());
            }
        }
    }
    said
}

/// The votes as a certificate has them: of the electorate that most of them name.
fn proof(scene: &Scene<'_>, votes: &BTreeMap<NodeId, (ElectorateId, Signature)>) -> Proof {
    let mut members: Vec<NodeId> = scene.node.view().peers(scene.now.mono).map(|peer| peer.id).collect();
    members.push(scene.ids[scene.me]);
    members.sort_unstable();
    members.dedup();
    let electorate = marlos::quorum::electorate_digest(&members);
    let at = |(voter, (named, signature)): (&NodeId, &(ElectorateId, Signature))| {
        let position = members.binary_search(voter).ok()?;
        (*named == electorate).then_some((position, *signature))
    };
    Proof::new(electorate, members.len(), &votes.iter().filter_map(at).collect::<Vec<_>>())
}
