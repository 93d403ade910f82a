//! What must hold of everything a node does, call by call and over its lives.

use std::collections::{BTreeMap, BTreeSet};

use marlos::cx::store_key;
use marlos::id::{JobId, Link, NodeId, TxId};
use marlos::io::{Action, Event, Outbox, Verify};
use marlos::wire::message::ClaimCertificate;
use marlos::wire::{Envelope, Payload};

use super::world::{MAX_MESSAGE, NETWORK, keys};
use crate::token::TokenVerifier;

/// Actions of one call at most: each of 24 jobs may be answered to each of 16 members, and every job lapse in one call.
const MOST_ACTIONS: usize = 4_096;
/// Bytes of one call at most, the largest being outputs that are asked for.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// What a node has bound itself to, as far as anybody outside can tell.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    voted: BTreeMap<(JobId, u32), NodeId>,
    paid: BTreeMap<(NodeId, u64), TxId>,
    certified: BTreeMap<(JobId, u32), NodeId>,
    /// Jobs of which somebody has shown the node a certificate of its own: who lost its store holds it in memory alone.
    shown: BTreeSet<JobId>,
}

impl Watch {
    /// Looks at what one call wrote, before it is carried out; hands over every payload that it sends. `store` is what was
    /// durable before the call.
    pub fn see(
        &mut self,
        out: &Outbox,
        store: &BTreeMap<Vec<u8>, Vec<u8>>,
        each: &mut dyn FnMut(Option<NodeId>, Payload),
    ) {
        assert!(out.actions.len() <= MOST_ACTIONS, "{} actions in one call", out.actions.len());
        assert!(out.bytes.len() <= MOST_BYTES, "{} bytes in one call", out.bytes.len());
        let mut persisted: Vec<&[u8]> = Vec::new();
        for action in &out.actions {
            match action {
                Action::Persist { key, value } => {
                    assert!(
                        !out.slice(key).is_empty() && !out.slice(value).is_empty(),
                        "a record has a key and a value"
                    );
                    persisted.push(out.slice(key));
                }
                Action::Forget { key } => assert!(!out.slice(key).is_empty(), "a key is not empty"),
                Action::Send { frame, .. } => read(out.slice(frame), each),
                Action::Connect { link, endpoint } | Action::Reach { link, endpoint } => {
                    assert!(*link != Link::INBOUND && *link != Link::BEACON, "these are not the node's to number");
                    assert!(!out.text(endpoint).is_empty(), "a connection leads somewhere");
                }
                Action::Execute { job, command, job_type, .. } => {
                    let key = store_key::of_job(store_key::CERTIFICATE, *job);
                    let kept = persisted.contains(&&key[..]) || store.contains_key(&key[..]);
                    assert!(kept || self.shown.contains(job), "{job} runs without a certificate");
                    let _ = (out.text(command), out.text(job_type));
                }
                Action::Disconnect(_) | Action::Cancel(_) => {}
                Action::Report(event) => self.note(event, &persisted),
            }
        }
    }

    fn note(&mut self, event: &Event, persisted: &[&[u8]]) {
        match event {
            Event::Voted { job, round, winner } => {
                let key = store_key::of_job(store_key::VOTE, *job);
                assert!(persisted.contains(&&key[..]), "a vote is persisted before it is cast");
                let first = *self.voted.entry((*job, *round)).or_insert(*winner);
                assert_eq!(first, *winner, "one vote in round {round} of {job}");
            }
            Event::TransactionVoted { account, seq, transaction } => {
                let first = *self.paid.entry((*account, *seq)).or_insert(*transaction);
                assert_eq!(first, *transaction, "one vote for transaction {seq} of {account}");
            }
            Event::Certified { job, round, .. } => {
                let own = keys(0).id();
                assert_eq!(*self.certified.entry((*job, *round)).or_insert(own), own);
            }
            _ => {}
        }
    }

    /// Somebody shows a certificate, perhaps to this node and perhaps a true one.
    pub fn note_shown(&mut self, certificate: &ClaimCertificate) {
        if certificate.statement.winner == keys(0).id() {
            self.shown.insert(certificate.statement.job_id);
        }
    }

    /// A new life: what was only held in memory is gone.
    pub fn restart(&mut self) {
        self.shown.clear();
    }

    /// Its store is lost: what it remembers of its promises may be less from now on.
    pub fn forget(&mut self) {
        *self = Watch::default();
    }
}

/// What a node sends can be read by others, and is signed by it.
fn read(frame: &[u8], each: &mut dyn FnMut(Option<NodeId>, Payload)) {
    let envelope = match Envelope::peek(frame, MAX_MESSAGE) {
        Ok(envelope) => envelope,
        Err(refusal) => panic!("a node's own frame is refused: {refusal:?}"),
    };
    assert_eq!(envelope.header.sender, keys(0).id());
    let signed = envelope.signed(NETWORK);
    assert!(TokenVerifier.verify(&keys(0).public(), &signed, &envelope.signature), "it is signed by its sender");
    let to = envelope.header.to;
    let read = envelope.payloads(MAX_MESSAGE, &mut |payload| each(to, payload));
    assert_eq!(read, Ok(()), "a node's own payload is refused");
}
