//! S1: one claim certificate per (job, round), and every certificate is really one.
//!
//! The exact rule, for each certificate that a node reports:
//! 1. It decodes, and states this job, this round and this node as the winner.
//! 2. No other statement was certified for the same (job, round).
//! 3. Its electorate is one that its node has held within the last [`Config::lease`](marlos::Config): the members it has met in
//!    its present life and itself (less those it may have forgotten after `forget_after`), or the fixed list.
//! 4. Its distinct voters are at least [`votes_needed`] of that electorate, and every one has really signed the statement.
//! 5. That electorate has at least as many members as a quorum of those that the node has been in contact with for twice
//!    `heartbeat_timeout` (and itself): else another part of them could certify too. Newcomers have that long to be met, and
//!    members it has never been in contact with do not count, as it cannot know of them.
//!
//! A certificate that says who was reachable is provisional (protocol.md, section 10), and counts for rule 2 as none. It may exist only for a
//! job whose submitter asked for `"available"`, and only at a node that has not been in contact with a quorum for as long as rule 5
//! says, and heard every one of it without a silence of `suspect_after` all that time; its electorate is named together with the reachable, its voters are among those, and are [`votes_needed`] of them.
//!
//! And what makes two certificates impossible: no node votes for two winners in one (job, round),
//! not even where it lost its store between: it does not vote on what its earlier life may have voted on.

use std::collections::{BTreeMap, BTreeSet};

use marlos::config::{Config, Membership};
use marlos::id::JobId;
use marlos::io::Verify;
use marlos::quorum::Statement;
use marlos::time::Time;
use marlos::wire::binary;
use marlos::wire::message::{ClaimCertificate, Consistency};
use sha2::{Digest, Sha256};

use super::contact::Contact;
use super::electorates::{Electorates, Members, set_bits, votes_needed};
use super::hearing::Hearing;
use super::{Fact, Violation};
use crate::observe::{Observation, Truth};
use crate::scenario::{NodeNo, Scenario};

const ONE: &str = "there is at most one claim certificate per (job, round)";
const REAL: &str = "a claim certificate holds the votes of a quorum of its node's members";
const WIDE: &str = "an electorate is so large that any two quorums meet";
const ASKED: &str = "a job that asks for a quorum is claimed by a quorum";
const SPLIT: &str = "nobody claims provisionally who can reach a quorum";
const ONCE: &str = "a node votes for one winner per (job, round)";

/// A vote: for whom, and when, in milliseconds. Small, as every vote of a run is kept.
type Vote = (u16, u32);

/// No vote yet.
const NOBODY: u16 = u16::MAX;

/// The state of the check.
#[derive(Clone, Debug)]
pub(super) struct S1 {
    configs: Vec<Config>,
    consistency: Consistency,
    hearing: Hearing,
    /// SHA-256 of each provisional certificate that was checked.
    provisional: BTreeSet<[u8; 32]>,
    certified: BTreeMap<(JobId, u32), Certified>,
    /// By voter.
    votes: BTreeMap<(JobId, u32), Box<[Vote]>>,
    checked: u64,
}

#[derive(Clone, Debug)]
struct Certified {
    statement: Statement,
    /// SHA-256 of the whole certificate.
    digest: [u8; 32],
    fact: Fact,
}

impl S1 {
    pub fn new(scenario: &Scenario) -> S1 {
        assert!(scenario.nodes.len() < usize::from(NOBODY), "nodes are numbered in 16 bits here");
        S1 {
            configs: scenario.nodes.iter().map(|node| node.config.clone()).collect(),
            consistency: scenario.workload.as_ref().map_or(Consistency::Quorum, |workload| workload.job.consistency),
            hearing: Hearing::new(scenario.nodes.iter().map(|node| node.config.suspect_after).collect()),
            provisional: BTreeSet::new(),
            certified: BTreeMap::new(),
            votes: BTreeMap::new(),
            checked: 0,
        }
    }

    /// Certificates that were checked.
    pub fn checked(&self) -> u64 {
        self.checked
    }

    pub fn observe(
        &mut self,
        truth: &Truth,
        o: &Observation<'_>,
        contact: &Contact,
        electorates: &Electorates,
        verify: &mut dyn Verify,
    ) -> Result<(), Box<Violation>> {
        match *o {
            Observation::Accepted { .. } => self.hearing.observe(truth.now, o),
            // Nothing that it voted since has left it.
            Observation::StoreCut { node, since, .. } => {
                let since_ms = u32::try_from(since.0 / 1_000).unwrap_or(u32::MAX);
                for votes in self.votes.values_mut().filter(|votes| votes[node].1 >= since_ms) {
                    votes[node] = (NOBODY, 0);
                }
            }
            Observation::Voted { node, job, round, winner } => return self.on_voted(truth, node, job, round, winner),
            Observation::Certified { node, job, round, certificate, .. } => {
                return self.on_certified(truth, node, job, round, certificate, contact, electorates, verify);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_voted(
        &mut self,
        truth: &Truth,
        node: NodeNo,
        job: JobId,
        round: u32,
        winner: NodeNo,
    ) -> Result<(), Box<Violation>> {
        let nodes = truth.up.len();
        let votes = self.votes.entry((job, round)).or_insert_with(|| vec![(NOBODY, 0); nodes].into_boxed_slice());
        let (before, before_ms) = votes[node];
        if before == NOBODY {
            let ms = u32::try_from(truth.now.0 / 1_000).unwrap_or(u32::MAX);
            votes[node] = (u16::try_from(winner).expect("checked in new"), ms);
        }
        if before == NOBODY || usize::from(before) == winner {
            return Ok(());
        }
        let says = |winner| format!("it votes for n{winner} in round {round} of {job}");
        let earlier =
            Fact { what: says(usize::from(before)), at: Time(u64::from(before_ms) * 1_000), node, event: None };
        violated(ONCE, earlier, Fact::now(truth, node, says(winner)))
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one observation")]
    fn on_certified(
        &mut self,
        truth: &Truth,
        node: NodeNo,
        job: JobId,
        round: u32,
        bytes: &[u8],
        contact: &Contact,
        electorates: &Electorates,
        verify: &mut dyn Verify,
    ) -> Result<(), Box<Violation>> {
        let reported = Fact::now(truth, node, format!("it reports a certificate for round {round} of {job}"));
        let Ok(certificate) = binary::decode::<ClaimCertificate>(bytes) else {
            return violated(
                REAL,
                reported,
                Fact::now(truth, node, format!("its {} bytes are no certificate", bytes.len())),
            );
        };
        let statement = certificate.statement;
        if (statement.job_id, statement.round, statement.winner) != (job, round, truth.ids[node]) {
            let other = format!(
                "it states {} as the winner of round {} of {}",
                statement.winner, statement.round, statement.job_id
            );
            return violated(REAL, reported, Fact::now(truth, node, other));
        }
        let digest: [u8; 32] = Sha256::digest(bytes).into();
        if !certificate.reachable.is_empty() {
            return self.on_provisional(truth, node, &certificate, digest, &reported, contact, electorates, verify);
        }
        if let Some(first) = self.certified.get(&(job, round)) {
            if first.statement != statement {
                return violated(ONE, first.fact.clone(), reported);
            }
            // A node that restarts reports what its store held: it was checked in the life that collected the votes.
            if first.digest == digest {
                return Ok(());
            }
        }
        let members = self.electorate_of(truth, node, &certificate, electorates, &reported)?;
        self.check_votes(truth, node, &certificate, &members, electorates, &reported, verify)?;
        self.check_width(truth, node, &members, contact, &reported)?;
        self.checked += 1;
        let kept = Certified { statement, digest, fact: reported };
        self.certified.entry((job, round)).or_insert(kept);
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one certificate, and what tells about them")]
    fn on_provisional(
        &mut self,
        truth: &Truth,
        node: NodeNo,
        certificate: &ClaimCertificate,
        digest: [u8; 32],
        reported: &Fact,
        contact: &Contact,
        electorates: &Electorates,
        verify: &mut dyn Verify,
    ) -> Result<(), Box<Violation>> {
        let now = |what: &str| Fact::now(truth, node, what.to_owned());
        match self.consistency {
            Consistency::Quorum => return violated(ASKED, reported.clone(), now("it is provisional")),
            Consistency::Available => {}
        }
        // A node that restarts reports what its store held.
        if self.provisional.contains(&digest) {
            return Ok(());
        }
        let long = self.configs[node].heartbeat_timeout.times(2);
        let hears = |peer| self.hearing.held(node, peer, truth.now, long);
        if contact.side_among_has_quorum(truth, node, &self.configs[node], long, hears) {
            let met = format!("it has been in contact with a quorum, and heard it, for {long}");
            return violated(SPLIT, reported.clone(), now(&met));
        }
        let members = self.electorate_of(truth, node, certificate, electorates, reported)?;
        self.check_votes(truth, node, certificate, &members, electorates, reported, verify)?;
        self.checked += 1;
        self.provisional.insert(digest);
        Ok(())
    }

    /// The members behind the digest, or that there are none (rule 3).
    fn electorate_of(
        &self,
        truth: &Truth,
        node: NodeNo,
        certificate: &ClaimCertificate,
        electorates: &Electorates,
        reported: &Fact,
    ) -> Result<Members, Box<Violation>> {
        let stated = certificate.statement.electorate;
        if let Some(members) = electorates.members_behind(truth, node, stated, &certificate.reachable) {
            return Ok(members);
        }
        let (lease, met) = (self.configs[node].lease, electorates.met(node));
        let held = format!("no set of members that it has held in the last {lease} has the digest {stated}");
        violated(REAL, reported.clone(), Fact::now(truth, node, format!("{held}; it has met {met}")))
    }

    /// Rule 4.
    #[expect(clippy::too_many_arguments, reason = "the parts of one certificate, and what tells about them")]
    fn check_votes(
        &self,
        truth: &Truth,
        node: NodeNo,
        certificate: &ClaimCertificate,
        members: &Members,
        electorates: &Electorates,
        reported: &Fact,
        verify: &mut dyn Verify,
    ) -> Result<(), Box<Violation>> {
        let wrong = |what: String| violated(REAL, reported.clone(), Fact::now(truth, node, what));
        let (voters, reachable) = (set_bits(&certificate.voters), set_bits(&certificate.reachable));
        if reachable.last().is_some_and(|last| *last >= members.len()) {
            return wrong(format!("it reaches member {reachable:?} of {}", members.len()));
        }
        if let Some(voter) = voters.iter().find(|voter| !reachable.is_empty() && !reachable.contains(voter)) {
            return wrong(format!("it counts voter {voter}, and reaches {reachable:?}"));
        }
        let electing = if reachable.is_empty() { members.len() } else { reachable.len() };
        let votes = (certificate.voters.as_slice(), certificate.signatures.as_slice());
        let statement = &certificate.statement;
        let votes_cast = self.votes.get(&(statement.job_id, statement.round));
        let voted_at = |voter: NodeNo| {
            let (winner, ms) = votes_cast.map_or((NOBODY, 0), |votes| votes[voter]);
            (winner != NOBODY).then_some(Time(u64::from(ms) * 1_000))
        };
        let bytes = statement.signed_bytes();
        electorates.count_votes(truth, members, electing, votes, &bytes, &voted_at, verify).or_else(wrong)
    }

    /// Rule 5. A fixed list is as large as its operator made it.
    fn check_width(
        &self,
        truth: &Truth,
        node: NodeNo,
        members: &Members,
        contact: &Contact,
        reported: &Fact,
    ) -> Result<(), Box<Violation>> {
        let config = &self.configs[node];
        if matches!(config.membership, Membership::Fixed(_)) {
            return Ok(());
        }
        let long = config.heartbeat_timeout.times(2);
        let met = 1 + (0..truth.up.len()).filter(|peer| contact.held(node, *peer, truth.now, long)).count();
        let least = votes_needed(u32::try_from(met).expect("numbered in 16 bits"));
        if members.len() >= least as usize {
            return Ok(());
        }
        let narrow = format!(
            "its electorate has {} members, though it has been in contact with {} others for {long}: {least} are the least",
            members.len(),
            met - 1
        );
        violated(WIDE, reported.clone(), Fact::now(truth, node, narrow))
    }
}

fn violated<T>(sentence: &'static str, first: Fact, second: Fact) -> Result<T, Box<Violation>> {
    Err(Box::new(Violation { check: "S1", sentence, facts: [first, second] }))
}

#[cfg(test)]
mod tests;
