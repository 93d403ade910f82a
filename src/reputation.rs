//! Whom to trust with work (protocol.md, section 9).
//!
//! Each node scores the others by what it sees itself: `score` says what a deed is worth. Every minute it tells all what it has
//! seen; `trust` is how the reports of others count beside one's own experience, and `standing` what follows for an auction.
//! What a node sees itself, until certified settlements tell everyone: how its own jobs ended, and claims that others made
//! when one had lapsed.
//!
//! Members are kept here by id, so that what is known of one outlives the process, and its absence.

pub mod score;
pub mod standing;
pub mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use rand_chacha::rand_core::Rng;

use crate::cx::{Ctx, store_key};
use crate::id::{NodeId, PeerIdx};
use crate::io::Refusal;
use crate::membership::Members;
use crate::time::{Span, Time};
use crate::units::Ppm;
use crate::wire::Payload;
use crate::wire::message::{MAX_REPORTED, ReputationUpdate, TrustReport};
use score::{AT_START, Deed, Experience};
use standing::Standing;

/// Reports that are older count nothing (protocol.md, section 9).
const REPORT_LIFE: Span = Span::secs(3_600);
/// How soon after evidence the next update is: a guess.
const SOON: Span = Span::secs(5);
/// Reporters about one member that are listened to: a guess, five times as many as a node has connections.
const MAX_REPORTERS: usize = 256;

/// What this node has seen of others, and what they say of each other.
#[derive(Clone, Debug)]
pub struct Reputation {
    seen: BTreeMap<NodeId, Experience>,
    /// By whom it is about, then by who says it.
    reports: BTreeMap<(NodeId, NodeId), Report>,
    update_at: Time,
    /// The member that was reported last, where the others did not fit.
    reported: Option<NodeId>,
    /// Members of which more was seen than the store remembers.
    unsaved: BTreeSet<NodeId>,
    /// Members whose standing may be another now; `node.rs` carries it to the table of members.
    pub changed: BTreeSet<NodeId>,
}

/// What somebody said of a member.
#[derive(Clone, Copy, Debug)]
struct Report {
    score: Ppm,
    at: Time,
}

impl Default for Reputation {
    fn default() -> Reputation {
        Reputation {
            seen: BTreeMap::new(),
            reports: BTreeMap::new(),
            update_at: Time::NEVER,
            reported: None,
            unsaved: BTreeSet::new(),
            changed: BTreeSet::new(),
        }
    }
}

impl Reputation {
    /// Starts with what the store remembers. Updates begin at a random phase, so that a network started at once does not speak
    /// at once.
    pub fn start(&mut self, cx: &mut Ctx<'_>, recalled: BTreeMap<NodeId, Experience>) {
        self.seen = recalled.into_iter().take(cx.config.max_members as usize).collect();
        let phase = cx.rng.next_u64() % cx.config.reputation_interval.as_micros();
        self.update_at = cx.now.mono + Span(phase);
    }

    /// When something here is due.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.update_at
    }

    /// How far a member is trusted now. What is proven of it, `node.rs` adds.
    #[must_use]
    pub fn standing(&self, member: NodeId) -> Standing {
        let seen = self.seen.get(&member);
        let (own, deeds) = seen.map_or((AT_START, 0), |seen| (seen.score, seen.deeds()));
        Standing {
            trust: trust::combined(own, deeds, self.hearsay(member)),
            quarantined: seen.is_some_and(Experience::quarantined),
            proven: false,
        }
    }

    /// What others say of a member, each heard as far as this node itself trusts it.
    fn hearsay(&self, member: NodeId) -> Option<Ppm> {
        let weight = |reporter: &NodeId| match self.seen.get(reporter) {
            Some(seen) if seen.quarantined() => Ppm(0),
            Some(seen) => seen.score,
            None => AT_START,
        };
        let mut reports: Vec<(Ppm, Ppm)> =
            self.about(member).map(|(reporter, report)| (report.score, weight(reporter))).collect();
        trust::weighted_median(&mut reports)
    }

    fn about(&self, member: NodeId) -> impl Iterator<Item = (&NodeId, &Report)> {
        let all = (member, NodeId([0; 16]))..=(member, NodeId([0xff; 16]));
        self.reports.range(all).map(|((_, reporter), report)| (reporter, report))
    }

    /// This node saw a member do something.
    pub fn on_deed(&mut self, cx: &Ctx<'_>, members: &Members, who: NodeId, deed: Deed) {
        if members.find(who).is_none_or(|peer| peer == PeerIdx::SELF) {
            return;
        }
        if !self.seen.contains_key(&who) && self.seen.len() >= cx.config.max_members as usize {
            return; // Remembered from the store are so many that are gone; nobody forgets one of them for a stranger.
        }
        let now = cx.wall();
        let before = self.seen.get(&who).copied().unwrap_or_else(|| Experience::new(now));
        self.seen.insert(who, before.after(deed, now));
        self.unsaved.insert(who);
        self.changed.insert(who);
    }

    /// A certified settlement says how somebody else's job ended: everyone learns of it. Its payer has scored it by the result.
    pub fn on_settled(&mut self, cx: &Ctx<'_>, members: &Members, payer: NodeId, executor: NodeId, late: bool) {
        // Who pays itself proves nothing.
        if payer != cx.self_id() && payer != executor {
            self.on_deed(cx, members, executor, if late { Deed::Late } else { Deed::OnTime });
        }
    }

    /// A member tells what it has seen itself.
    ///
    /// # Errors
    /// `OutOfPlace` where it reports on itself: nothing of the message is taken.
    pub fn on_update(
        &mut self,
        cx: &Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        update: &ReputationUpdate,
    ) -> Result<(), Refusal> {
        let reporter = members.id(from);
        if update.reports.iter().any(|report| report.node_id == reporter) {
            return Err(Refusal::OutOfPlace);
        }
        for said in &update.reports {
            let member = said.node_id;
            // Strangers are nobody's business yet, and what others think of this node is not for it to judge.
            if member == cx.self_id() || members.find(member).is_none() {
                continue;
            }
            let heard = self.reports.contains_key(&(member, reporter));
            if heard || self.about(member).count() < MAX_REPORTERS {
                self.reports.insert((member, reporter), Report { score: said.trust_score, at: cx.now.mono });
                self.changed.insert(member);
            }
        }
        Ok(())
    }

    /// Once a minute: idleness is charged, old reports are dropped, what is new goes to the store, and everyone hears of it.
    /// `proven_digest` goes with it; `speak` says that it must be heard though nothing was seen. Says whether the minute was over.
    pub fn on_timer(&mut self, cx: &mut Ctx<'_>, proven_digest: u32, speak: bool) -> bool {
        if cx.now.mono < self.update_at {
            return false;
        }
        // From the time it was due, so that the phases stay apart. After a stall, from now.
        let next = self.update_at + cx.config.reputation_interval;
        self.update_at = if next > cx.now.mono { next } else { cx.now.mono + cx.config.reputation_interval };
        let wall = cx.wall();
        for seen in self.seen.values_mut() {
            *seen = seen.settled(wall);
        }
        // Every weight may have moved, and any report may be gone.
        self.changed.extend(self.seen.keys().copied().chain(self.reports.keys().map(|(member, _)| *member)));
        self.reports.retain(|_, report| cx.now.mono.since(report.at) < REPORT_LIFE);
        for member in std::mem::take(&mut self.unsaved) {
            cx.persist(&store_key::of_node(store_key::EXPERIENCE, member), &self.seen[&member]);
        }
        let reports = self.next_reports();
        if !reports.is_empty() || speak {
            cx.broadcast(&Payload::ReputationUpdate(ReputationUpdate { proven_digest, reports }));
        }
        true
    }

    /// Misbehaviour was proven: everyone tells soon what it thinks now, not all at once.
    pub fn hurry(&mut self, cx: &mut Ctx<'_>) {
        let soon = cx.now.mono + Span(cx.rng.next_u64() % SOON.as_micros());
        self.update_at = self.update_at.min(soon);
    }

    /// What was seen of the next members in turn.
    fn next_reports(&mut self) -> Vec<TrustReport> {
        let from = self.reported.take().map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.seen.range((from, Bound::Unbounded));
        let report = |(member, seen): (&NodeId, &Experience)| TrustReport {
            node_id: *member,
            trust_score: seen.score,
            total_jobs: seen.deeds(),
            good_jobs: seen.good,
        };
        let reports: Vec<TrustReport> = rest.take(MAX_REPORTED).map(report).collect();
        self.reported = reports.last().filter(|_| reports.len() == MAX_REPORTED).map(|last| last.node_id);
        reports
    }

    /// Asserts what must always hold, in constant time.
    pub fn check_invariants(&self) {
        assert!(self.changed.is_empty(), "node.rs has carried over every change");
        assert!(self.unsaved.len() <= self.seen.len(), "only what was seen is saved");
    }
}
