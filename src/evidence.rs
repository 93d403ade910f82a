//! Contradiction of misbehaviour: found, checked, passed on, and remembered (protocol.md, sections 5, 8 and 9).
//!
//! Evidence is two statements of one node that exclude each other. Whoever finds a pair tells all; everyone checks it by itself
//! (`check`, which also says why no honest node can make one), takes it once and passes it on once. Its author's votes and bids
//! count nothing for `evidence_lasts`. `votes` finds votes where certificates meet, `frames` keeps what proves the rest.
//!
//! **What is found.** Votes, announces, proposals, transactions and rotations. Bids go to the coordinator alone, which takes the first: a second
//! one has no effect to punish, and keeping each would cost a frame for every bidder of every job. Claims say nothing but job and
//! round, so that two of one node cannot differ; claims of two nodes for one round are certificates that meet. Frames beyond
//! [`MAX_EVIDENCE_FRAME`](crate::wire::message::MAX_EVIDENCE_FRAME), as the bundles of a busy node, are not kept, so that a liar that
//! pads its frames is not found by them. What it can do is bounded all the same: a voter votes once.
//!
//! **Who was away** learns of it all the same: every REPUTATION_UPDATE carries a digest of the proven, and where it differs, those
//! who tell a member of others' records tell it of these.

pub mod check;
pub mod frames;
pub mod votes;

use std::collections::BTreeMap;
use std::ops::Bound;

use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::cx::{Ctx, store_key};
use crate::id::{NodeId, PeerIdx};
use crate::io::{Event, Refusal};
use crate::membership::Members;
use crate::time::{Span, Time, WallTime};
use crate::timers::Timers;
use crate::wire::Payload;
use crate::wire::message::{Contradiction, Evidence};
use frames::Frames;

/// Evidence that is told to one that lacks it, in one go; the rest follows when its digest still differs.
const TOLD_AT_ONCE: usize = 16;
/// No more often than this, whoever asks: a guess.
const TELL_AGAIN_AFTER: Span = Span::secs(1);

/// Who is proven to misbehave, and what may yet prove it of others.
#[derive(Clone, Debug, Default)]
pub struct Proofs {
    proven: BTreeMap<NodeId, Proven>,
    expiry: Timers<NodeId>,
    frames: Frames,
    /// Who is proven now, as one number: equal where everyone holds the same.
    digest: u32,
    /// Whether somebody's digest differed since ours was said last.
    differs: bool,
    told_at: Option<Time>,
    told_last: Option<NodeId>,
    /// Members who were proven just now, or whose time is over; `node.rs` carries it to the reputation.
    pub changed: Vec<Verdict>,
}

/// What is proven of a member, as the store remembers it. It stays after its time is over, so that the same evidence is never
/// taken twice.
#[derive(Clone, Debug, PartialEq, Eq, bincode::Encode, bincode::Decode)]
pub struct Proven {
    /// Until when it counts, in synchronised time.
    until: WallTime,
    evidence: Evidence,
    /// Whether it still counts.
    counts: bool,
}

/// A change of what is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It misbehaved.
    Proven(NodeId),
    /// It did, long ago.
    Over(NodeId),
}

impl Proofs {
    /// Starts with what the store remembers.
    pub fn start(&mut self, cx: &Ctx<'_>, recalled: BTreeMap<NodeId, Proven>) {
        for (author, proven) in recalled.into_iter().take(cx.config.max_members as usize) {
            let left = proven.until.since(cx.wall());
            if proven.counts {
                self.digest ^= digest_of(author);
                self.expiry.arm(author, cx.now.mono + left);
            }
            self.proven.insert(author, proven);
        }
    }

    /// When something here is due.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        self.expiry.next()
    }

    /// Whether misbehaviour of a member is proven, and still counts.
    #[must_use]
    pub fn is_proven(&self, member: NodeId) -> bool {
        self.proven.get(&member).is_some_and(|proven| proven.counts)
    }

    /// Names everyone who is proven.
    #[must_use]
    pub fn digest(&self) -> u32 {
        self.digest
    }

    /// Whether the others should hear our digest, though there may be nothing else to say.
    #[must_use]
    pub fn must_be_said(&self) -> bool {
        self.differs || self.digest != 0
    }

    /// They have heard it.
    pub fn on_digest_said(&mut self) {
        self.differs = false;
    }

    /// Somebody accuses a member.
    ///
    /// # Errors
    /// `NotAMember` where the accused is not known here, which its accuser cannot know; `BadEvidence` where it does not hold.
    pub fn on_evidence(&mut self, cx: &mut Ctx<'_>, members: &Members, evidence: Evidence) -> Result<(), Refusal> {
        let author = evidence.author;
        let accused = members.find(author).ok_or(Refusal::NotAMember)?;
        let known = self.proven.get(&author);
        if known.is_some_and(|known| known.counts || known.evidence == evidence) {
            return Ok(());
        }
        if known.is_none() && self.proven.len() >= cx.config.max_members as usize {
            return Ok(()); // Full of members that are gone; there is nothing that its accuser could do about it.
        }
        let genesis = &members.peer(accused).record.public_key;
        let sound = check::check(&evidence, genesis, &cx.config.network_id, cx.verify);
        if sound.is_err() && !unchecked_planted(cx.config) {
            return Err(Refusal::BadEvidence);
        }
        cx.report(Event::Proven { peer: accused });
        if accused == PeerIdx::SELF {
            // Another process speaks with this node's key: its operator must know, and the others will hear of it without us.
            return Ok(());
        }
        cx.broadcast(&Payload::Evidence(Box::new(evidence.clone())));
        let proven = Proven { until: cx.wall() + cx.config.evidence_lasts, evidence, counts: true };
        cx.persist(&store_key::of_node(store_key::PROVEN, author), &proven);
        self.expiry.arm(author, cx.now.mono + cx.config.evidence_lasts);
        self.proven.insert(author, proven);
        self.digest ^= digest_of(author);
        self.changed.push(Verdict::Proven(author));
        Ok(())
    }

    /// This node has found two statements that may exclude each other. It knows the keys of who made them.
    pub fn on_found(&mut self, cx: &mut Ctx<'_>, members: &Members, mut evidence: Evidence) {
        let forks = matches!(evidence.proof, Contradiction::Rotations { .. });
        if let Some(author) = members.find(evidence.author).filter(|_| !forks) {
            evidence.rotations.clone_from(&members.peer(author).record.rotations);
        }
        // Where it does not hold after all, nobody is to blame for it.
        let _ = self.on_evidence(cx, members, evidence);
    }

    /// An admitted frame says something, which may yet be refused: kept, or compared with what was kept in its place.
    pub fn on_said(
        &mut self,
        cx: &mut Ctx<'_>,
        members: &Members,
        from: PeerIdx,
        incarnation: u32,
        said: &Payload,
        frame: &[u8],
    ) {
        let author = members.id(from);
        if self.is_proven(author) {
            return;
        }
        let Some(before) = self.frames.take(author, incarnation, said, frame) else { return };
        let proof = Contradiction::Frames { first: before.to_vec(), second: frame.to_vec() };
        self.on_found(cx, members, Evidence { author, rotations: Vec::new(), proof });
    }

    /// A member says who is proven in its eyes, as one number.
    pub fn on_digest(&mut self, cx: &mut Ctx<'_>, members: &Members, from: PeerIdx, digest: u32) {
        if digest == self.digest {
            return;
        }
        self.differs = true;
        let recently = self.told_at.is_some_and(|at| cx.now.mono.since(at) < TELL_AGAIN_AFTER);
        if self.digest == 0 || recently || !members.is_teller_of(cx.self_id(), from) {
            return;
        }
        self.told_at = Some(cx.now.mono);
        let id = members.id(from);
        let after = self.told_last.take().map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.proven.range((after, Bound::Unbounded)).filter(|(_, proven)| proven.counts);
        let told: Vec<(NodeId, Evidence)> =
            rest.take(TOLD_AT_ONCE).map(|(author, proven)| (*author, proven.evidence.clone())).collect();
        self.told_last = told.last().filter(|_| told.len() == TOLD_AT_ONCE).map(|(author, _)| *author);
        for (_, evidence) in told {
            cx.direct(from, id, &Payload::Evidence(Box::new(evidence)));
        }
    }

    /// Everything that is due now.
    pub fn on_timers(&mut self, cx: &mut Ctx<'_>) {
        while let Some(author) = self.expiry.pop_due(cx.now.mono) {
            let proven = self.proven.get_mut(&author).expect("who has a deadline is proven");
            proven.counts = false;
            cx.persist(&store_key::of_node(store_key::PROVEN, author), proven);
            self.digest ^= digest_of(author);
            self.changed.push(Verdict::Over(author));
        }
    }

    /// Asserts what must always hold, in constant time.
    pub fn check_invariants(&self) {
        assert!(self.changed.is_empty(), "node.rs has carried over every verdict");
        assert!(self.expiry.len() <= self.proven.len(), "only what is proven can be over");
    }
}

fn digest_of(author: NodeId) -> u32 {
    let hash = Sha256::new().chain_update(b"marlos/proven/1").chain_update(author.0).finalize();
    u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]])
}

fn unchecked_planted(config: &Config) -> bool {
    #[cfg(feature = "plant")]
    if config.plant == crate::config::Plant::EvidenceUnchecked {
        return true;
    }
    let _ = config;
    false
}
