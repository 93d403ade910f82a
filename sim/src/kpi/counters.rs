//! What a scenario's `[expect]` can count. Counted over the whole run, warm-up included.

use std::collections::BTreeMap;

use marlos::io::Refusal;
use marlos::wire::message::ClaimCertificate;
use marlos::wire::{MsgType, binary};

use crate::observe::{Mishap, Observation, Truth};

/// The plain counts of a run; names as in `observe::COUNTERS`.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    frames_cut: u64,
    segments_lost: u64,
    mishaps: [u64; Mishap::ALL.len()],
    pub deaths_detected: u64,
    pub false_deaths: u64,
    pub rejoins: u64,
    degraded: u64,
    recovered: u64,
    votes: u64,
    certificates: u64,
    certificates_provisional: u64,
    transactions: u64,
    penalties: u64,
    rounds_beyond_first: u64,
    restarts: u64,
    keys_rotated: u64,
    executions_fenced: u64,
    quarantines: u64,
    records_lost: u64,
    records_torn: u64,
    nodes_byzantine: u64,
    evidence_proven: u64,
    blacklisted_byzantine: u64,
    quarantined_byzantine: u64,
    /// By the behaviour's name.
    pub misdeeds: BTreeMap<&'static str, u64>,
    refusals: [u64; Refusal::ALL.len()],
    /// Bytes after the warm-up, by the kind's number.
    pub bytes: ByKind,
}

/// One count for each kind of message, by its number.
#[derive(Clone, Debug)]
pub(super) struct ByKind(pub [u64; MsgType::ALL.len() + 1]);

impl Default for ByKind {
    fn default() -> ByKind {
        ByKind([0; MsgType::ALL.len() + 1])
    }
}

impl Counters {
    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>) {
        match *o {
            Observation::FramesCut { count } => self.frames_cut += count,
            Observation::SegmentLost { .. } => self.segments_lost += 1,
            Observation::DatagramMishap { mishap } => self.mishaps[mishap as usize] += 1,
            Observation::Degraded { degraded: true, .. } => self.degraded += 1,
            Observation::Degraded { degraded: false, .. } => self.recovered += 1,
            Observation::Voted { .. } => self.votes += 1,
            Observation::Certified { certificate, .. } => {
                let proof = binary::decode::<ClaimCertificate>(certificate);
                let provisional = proof.is_ok_and(|proof| !proof.reachable.is_empty());
                self.certificates += 1;
                self.certificates_provisional += u64::from(provisional);
            }
            Observation::TransactionCertified { .. } => self.transactions += 1,
            Observation::PenaltyCertified { .. } => self.penalties += 1,
            Observation::AuctionClosed { round, .. } => self.rounds_beyond_first += u64::from(round > 0),
            Observation::NodeStarted { restart, .. } => self.restarts += u64::from(restart),
            Observation::KeyRotated { .. } => self.keys_rotated += 1,
            Observation::Fenced { .. } => self.executions_fenced += 1,
            Observation::Quarantined { peer, .. } => {
                self.quarantines += 1;
                self.quarantined_byzantine += u64::from(!truth.honest(peer));
            }
            Observation::Blacklisted { peer, .. } => self.blacklisted_byzantine += u64::from(!truth.honest(peer)),
            Observation::Proven { peer, .. } => self.evidence_proven += u64::from(!truth.honest(peer)),
            Observation::NodeTurned { .. } => self.nodes_byzantine += 1,
            Observation::Misdeeds { behaviour, count, .. } => *self.misdeeds.entry(behaviour).or_default() += count,
            Observation::StoreCut { records, torn, .. } => {
                self.records_lost += records;
                self.records_torn += u64::from(torn);
            }
            Observation::Refused { reason, .. } => self.refusals[reason as usize] += 1,
            _ => {}
        }
    }

    /// The counters by name, but those of jobs.
    pub fn named(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::from([
            ("frames_cut", self.frames_cut),
            ("segments_lost", self.segments_lost),
            ("deaths_detected", self.deaths_detected),
            ("false_deaths", self.false_deaths),
            ("rejoins", self.rejoins),
            ("degraded", self.degraded),
            ("recovered", self.recovered),
            ("votes", self.votes),
            ("certificates", self.certificates),
            ("certificates_provisional", self.certificates_provisional),
            ("transactions", self.transactions),
            ("penalties", self.penalties),
            ("rounds_beyond_first", self.rounds_beyond_first),
            ("refused", self.refusals.iter().sum()),
            ("restarts", self.restarts),
            ("keys_rotated", self.keys_rotated),
            ("executions_fenced", self.executions_fenced),
            ("quarantines", self.quarantines),
            ("records_lost", self.records_lost),
            ("records_torn", self.records_torn),
            ("nodes_byzantine", self.nodes_byzantine),
            ("evidence_proven", self.evidence_proven),
            ("blacklisted_byzantine", self.blacklisted_byzantine),
            ("quarantined_byzantine", self.quarantined_byzantine),
            ("misdeeds", self.misdeeds.values().sum()),
        ])
    }

    /// What happened to datagrams besides loss, where it did.
    pub fn mishaps(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named = Mishap::ALL.map(|mishap| (mishap.counter(), self.mishaps[mishap as usize]));
        named.into_iter().filter(|(_, count)| *count > 0)
    }

    /// Refusals by the reason's name, where there were any.
    pub fn refusals(&self) -> BTreeMap<String, u64> {
        let named = Refusal::ALL.iter().map(|reason| (reason_name(*reason), self.refusals[*reason as usize]));
        named.filter(|(_, count)| *count > 0).collect()
    }

    /// Bytes by the kind's name, where there were any.
    pub fn bytes(&self) -> BTreeMap<&'static str, u64> {
        let named = MsgType::ALL.iter().map(|kind| (kind.name(), self.bytes.0[*kind as usize]));
        named.filter(|(_, bytes)| *bytes > 0).collect()
    }
}

/// As reports and `[expect]` name it.
pub(crate) fn reason_name(reason: Refusal) -> String {
    match serde_json::to_value(reason) {
        Ok(serde_json::Value::String(name)) => name,
        _ => unreachable!("a reason is written as its name"),
    }
}
