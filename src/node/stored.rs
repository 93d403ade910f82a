//! What an earlier life of the node left in its store.

use std::collections::{BTreeMap, BTreeSet};

use crate::auction::round::Promise;
use crate::cx::store_key;
use crate::evidence::Proven;
use crate::id::{JobId, NodeId};
use crate::io::Record;
use crate::jobs::OwnRecord;
use crate::ledger::Remembered;
use crate::reputation::score::Experience;
use crate::time::{Time, WallTime};
use crate::wire::binary;
use crate::wire::message::{Announce, ClaimCertificate, JobBroadcast, Transfer};

/// What the store remembers, sorted out. A record that cannot be read was not written by us: it is left out.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) incarnation: u32,
    pub(super) clock_offset_us: i64,
    pub(super) floors: BTreeMap<NodeId, u32>,
    pub(super) records: BTreeMap<NodeId, Announce>,
    pub(super) forgotten: BTreeSet<NodeId>,
    pub(super) votes: BTreeMap<JobId, Promise>,
    pub(super) vote_floor: WallTime,
    pub(super) own_jobs: Vec<(JobId, OwnRecord)>,
    pub(super) seen: BTreeMap<NodeId, Experience>,
    pub(super) proven: BTreeMap<NodeId, Proven>,
    pub(super) claims: Vec<(JobId, JobBroadcast, ClaimCertificate)>,
    pub(super) ledger: Remembered,
}

impl Stored {
    pub(super) fn read(records: &[Record]) -> Stored {
        let mut stored = Stored::default();
        stored.ledger.new_store = records.is_empty();
        for Record { key, value } in records {
            let id = || key.get(1..).and_then(|id| <[u8; 16]>::try_from(id).ok());
            match (key.first().copied(), id()) {
                _ if key == store_key::INCARNATION => stored.incarnation = binary::decode(value).unwrap_or(0),
                _ if key == store_key::CLOCK => stored.clock_offset_us = binary::decode(value).unwrap_or(0),
                _ if key == store_key::VOTE_FLOOR => stored.vote_floor = binary::decode(value).unwrap_or_default(),
                (Some(store_key::FLOOR), Some(id)) => {
                    stored.floors.insert(NodeId(id), binary::decode(value).unwrap_or(0));
                }
                (Some(store_key::RECORD), Some(id)) => {
                    stored.records.extend(binary::decode(value).map(|record| (NodeId(id), record)));
                }
                (Some(store_key::FORGOTTEN), Some(id)) => drop(stored.forgotten.insert(NodeId(id))),
                (Some(store_key::PROVEN), Some(id)) => {
                    stored.proven.extend(binary::decode(value).map(|proven| (NodeId(id), proven)));
                }
                (Some(store_key::EXPERIENCE), Some(id)) => {
                    stored.seen.extend(binary::decode(value).map(|seen| (NodeId(id), seen)));
                }
                (Some(store_key::VOTE), Some(id)) => {
                    if let Ok(voted) = binary::decode(value) {
                        let promise = Promise { voted: Some(voted), lease_until: Time(0) };
                        stored.votes.insert(JobId(id), promise);
                    }
                }
                (Some(store_key::OWN_JOB), Some(id)) => {
                    stored.own_jobs.extend(binary::decode(value).map(|record| (JobId(id), record)));
                }
                (Some(store_key::CERTIFICATE), Some(id)) => {
                    let claim = binary::decode(value);
                    stored.claims.extend(claim.map(|(broadcast, proof)| (JobId(id), broadcast, proof)));
                }
                (Some(store_key::ACCOUNT), Some(_)) => stored.ledger.records.extend(binary::decode(value)),
                (Some(store_key::PENALTIES), Some(id)) => {
                    stored.ledger.penalties.extend(binary::decode(value).map(|records| (NodeId(id), records)));
                }
                (Some(store_key::TRANSACTION | store_key::NEWEST), Some(_)) => {
                    stored.ledger.transactions.extend(binary::decode(value));
                }
                (Some(store_key::PAYMENT), Some(_)) => stored.ledger.payments.extend(binary::decode::<Transfer>(value)),
                _ => {}
            }
        }
        stored
    }
}
