//! Who is alive: heartbeats, suspicion, probes, and a hard limit that no liar can move far (protocol.md, section 4).
//!
//! Any verified message is a sign of life and only stores a time. Deadlines are not kept per member: one sweep looks at all,
//! and says when the next look can find anything.

use super::{Members, Peer, index};
use crate::config::planted;
use crate::cx::Ctx;
use crate::id::{Link, NodeId, PeerIdx};
use crate::io::{Event, PeerState, Refusal};
use crate::time::{Span, Time, WallTime};
use crate::wire::Payload;
use crate::wire::message::{PeerProbe, PeerSeen, Ping};
use rand_chacha::rand_core::Rng;

/// A call that comes this much later than asked for means that this node stood still, not that its peers were silent.
const STALL: Span = Span::millis(500);
/// How long after a connection broke others are asked. A process that dies breaks its connections to all of them, and who
/// is asked before it has noticed would vouch for the dead; with it and `probe_timeout`, a death is still seen in 1.3 s.
const ASK_AFTER_BREAK: Span = Span::millis(300);
/// Others' signs of life must be this much newer than one's own to count, so that one heartbeat heard by both is not two.
const NEWER_BY: Span = Span::millis(500);

/// When to look next, and when the next heartbeat is due.
#[derive(Clone, Debug)]
pub struct Detector {
    heartbeat_at: Time,
    sweep_at: Time,
}

impl Default for Detector {
    fn default() -> Detector {
        Detector { heartbeat_at: Time::NEVER, sweep_at: Time::NEVER }
    }
}

impl Detector {
    pub(super) fn next_deadline(&self) -> Time {
        self.heartbeat_at.min(self.sweep_at)
    }

    pub(super) fn look_again_at(&mut self, at: Time) {
        self.sweep_at = self.sweep_at.min(at);
    }
}

impl Members {
    /// Begins to beat, at a random phase so that a network started at once does not beat at once.
    pub fn start_heartbeat(&mut self, cx: &mut Ctx<'_>) {
        let phase = cx.rng.next_u64() % cx.config.heartbeat_interval.as_micros();
        self.detector.heartbeat_at = cx.now.mono + Span(phase);
    }

    /// The heartbeat that is due now, if one is. The caller sends it by itself at once.
    pub fn on_heartbeat_timer(&mut self, cx: &mut Ctx<'_>, ledger_digest: u32) -> Option<Payload> {
        if cx.now.mono < self.detector.heartbeat_at {
            return None;
        }
        // From the time it was due: a late wake must not stretch the interval. After a stall, from now.
        let next = self.detector.heartbeat_at + cx.config.heartbeat_interval;
        self.detector.heartbeat_at = if next > cx.now.mono { next } else { cx.now.mono + cx.config.heartbeat_interval };
        self.adjust_clock(cx);
        let pongs = self.pongs_for_ping(cx);
        cx.report(Event::Pinged);
        Some(Payload::Ping(Ping { members_digest: self.records_digest, ledger_digest, pongs }))
    }

    /// Forgives every peer the silence of a time in which this node itself stood still.
    pub fn on_late_call(&mut self, due: Time, now: Time) {
        let late = now.since(due);
        if late < STALL {
            return;
        }
        for peer in &mut self.peers[1..] {
            peer.known_since = (peer.known_since + late).min(now);
            peer.heard = peer.last_heard().map(|heard| (heard + late).min(now).into());
            peer.probe_until += late;
        }
    }

    /// A verified message: the one thing that happens on every delivery.
    pub fn on_sign_of_life(&mut self, cx: &mut Ctx<'_>, from: PeerIdx) {
        let peer = &mut self.peers[from.at()];
        let before = peer.heard.replace(cx.now.mono.into());
        if peer.state != PeerState::Alive && !(peer.state == PeerState::Dead && planted!(cx.config, DeadStayDead)) {
            if matches!(peer.state, PeerState::Dead | PeerState::Left) {
                self.missed.push((from, before.map_or(Time(0), Time::from)));
            }
            self.set_forgotten(cx, from, false);
            self.meet_recalled(cx, from);
            self.set_state(cx, from, PeerState::Alive);
            self.dial(cx, from);
            self.detector.look_again_at(cx.now.mono + cx.config.suspect_after);
        }
    }

    /// A heartbeat: remembered for the PONG; its digest may show that records are missing.
    pub fn on_ping(&mut self, cx: &mut Ctx<'_>, from: PeerIdx, sent: WallTime, ping: &Ping) {
        self.peers[from.at()].ping = Some((sent, cx.now.mono.into()));
        let own = cx.self_id();
        for pong in ping.pongs.iter().flatten().filter(|pong| pong.node_id == own) {
            self.on_pong(cx, from, sent, pong);
            if pong.direct {
                self.stop_reaching(cx, from);
            }
        }
        if !planted!(cx.config, RecordsIgnored) {
            self.compare_digest(cx, from, ping.members_digest);
        }
    }

    /// The subscription to a member is up.
    pub fn on_connected(&mut self, peer: PeerIdx) {
        let entry = &mut self.peers[peer.at()];
        entry.link_up = true;
        self.missed.push((peer, entry.last_heard().unwrap_or(Time(0))));
    }

    /// The connection to a member broke: it is suspected at once.
    pub fn on_disconnected(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx) {
        let entry = &mut self.peers[peer.at()];
        if std::mem::take(&mut entry.link_up) && entry.state == PeerState::Alive {
            self.suspect(cx, peer, ASK_AFTER_BREAK);
        }
    }

    /// A member says goodbye.
    pub fn on_goodbye(&mut self, cx: &mut Ctx<'_>, from: PeerIdx) {
        self.peers[from.at()].known_since = cx.now.mono;
        self.set_state(cx, from, PeerState::Left);
        self.detector.look_again_at(cx.now.mono + cx.config.forget_after);
    }

    /// Somebody asks whether we have heard a member. Only a positive answer is given.
    pub fn on_probe(&mut self, cx: &mut Ctx<'_>, from: PeerIdx, probe: &PeerProbe) -> Result<(), Refusal> {
        let suspect = self.find(probe.node_id).ok_or(Refusal::NotAMember)?;
        let silent_for = match self.peers[suspect.at()].last_heard() {
            _ if suspect == PeerIdx::SELF => Span::ZERO,
            Some(heard) => cx.now.mono.since(heard),
            None => return Ok(()),
        };
        let entry = &self.peers[suspect.at()];
        // Heard clearly later than the asker did; or, where the asker's connection broke a moment ago, ours still stands
        // and the last heartbeat is not overdue.
        let newer = silent_for + NEWER_BY < probe.silent_for && silent_for < cx.config.suspect_after;
        let connected = (entry.link_up || suspect == PeerIdx::SELF)
            && silent_for < cx.config.heartbeat_interval + NEWER_BY
            && entry.state == PeerState::Alive;
        if newer || connected {
            let answer = Payload::PeerSeen(PeerSeen { node_id: probe.node_id, silent_for });
            let id = self.id(from);
            cx.direct(from, id, &answer);
        }
        Ok(())
    }

    /// Somebody has heard a suspect since.
    pub fn on_seen(&mut self, cx: &mut Ctx<'_>, _from: PeerIdx, seen: &PeerSeen) -> Result<(), Refusal> {
        let suspect = self.find(seen.node_id).ok_or(Refusal::NotAMember)?;
        let entry = &mut self.peers[suspect.at()];
        let heard = cx.now.mono - seen.silent_for;
        // Where silence made the suspicion, an answer that would let it return at once, or that says nothing new, is no sign
        // of life: it would only be asked for again, as fast as the network answers.
        let silent = entry.silence_deadline(cx) <= cx.now.mono;
        let news = heard + cx.config.suspect_after > cx.now.mono && heard >= entry.vouched + NEWER_BY;
        if entry.state != PeerState::Suspect || (silent && !news) {
            return Ok(());
        }
        entry.vouched = entry.vouched.max(heard);
        self.set_state(cx, suspect, PeerState::Alive);
        self.detector.look_again_at(self.peers[suspect.at()].silence_deadline(cx));
        Ok(())
    }

    /// Looks at all members, and says when the next look can find anything.
    pub fn on_sweep_timer(&mut self, cx: &mut Ctx<'_>) {
        if cx.now.mono < self.detector.sweep_at {
            return;
        }
        self.detector.sweep_at = Time::NEVER;
        for at in 1..self.peers.len() {
            let peer = index(at);
            let due = self.peers[at].due(cx);
            if due > cx.now.mono {
                self.detector.look_again_at(due);
                continue;
            }
            match self.peers[at].state {
                PeerState::Alive if self.peers[at].hard_limit(cx) > cx.now.mono => self.suspect(cx, peer, Span::ZERO),
                PeerState::Suspect if self.peers[at].probe_at.is_some_and(|ask| Time::from(ask) <= cx.now.mono) => {
                    self.ask_about(cx, peer)
                }
                PeerState::Alive | PeerState::Suspect | PeerState::Known => self.bury(cx, peer),
                PeerState::Dead | PeerState::Left => self.forget(cx, peer),
            }
        }
    }

    /// Doubts a member, and asks others about it after a while.
    fn suspect(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx, ask_after: Span) {
        self.set_state(cx, peer, PeerState::Suspect);
        let ask_at = cx.now.mono + ask_after;
        self.peers[peer.at()].probe_at = Some(ask_at.into());
        self.peers[peer.at()].probe_until = ask_at + cx.config.probe_timeout;
        if ask_after == Span::ZERO {
            self.ask_about(cx, peer);
        } else {
            self.detector.look_again_at(self.peers[peer.at()].due(cx));
        }
    }

    fn ask_about(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx) {
        self.peers[peer.at()].probe_at = None;
        self.detector.look_again_at(self.peers[peer.at()].due(cx));
        let entry = &self.peers[peer.at()];
        let silent_for = entry.last_heard().map_or(Span::ZERO, |heard| cx.now.mono.since(heard));
        // Where a broken connection made the suspicion, having heard it before that is no answer.
        let broken = entry.silence_deadline(cx) > cx.now.mono;
        let silent_for = if broken { silent_for.min(ASK_AFTER_BREAK) } else { silent_for };
        let probe = Payload::PeerProbe(PeerProbe { node_id: self.id(peer), silent_for });
        for asked in self.some_alive_peers(cx) {
            let id = self.id(asked);
            cx.direct(asked, id, &probe);
        }
    }

    /// Up to `probe_fanout` members that are alive, drawn without repetition.
    fn some_alive_peers(&self, cx: &mut Ctx<'_>) -> Vec<PeerIdx> {
        let alive = |at: &usize| self.peers[*at].state == PeerState::Alive;
        let mut candidates: Vec<PeerIdx> = (1..self.peers.len()).filter(alive).map(index).collect();
        let wanted = candidates.len().min(cx.config.probe_fanout as usize);
        for at in 0..wanted {
            let other = at + (cx.rng.next_u64() % (candidates.len() - at) as u64) as usize;
            candidates.swap(at, other);
        }
        candidates.truncate(wanted);
        candidates
    }

    fn bury(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx) {
        self.peers[peer.at()].known_since = cx.now.mono;
        self.set_state(cx, peer, PeerState::Dead);
        if planted!(cx.config, ForgottenWhenDead) {
            self.forget(cx, peer);
        }
        self.detector.look_again_at(cx.now.mono + cx.config.forget_after);
    }

    pub(super) fn forget(&mut self, cx: &mut Ctx<'_>, peer: PeerIdx) {
        self.hang_up(cx, peer);
        self.set_forgotten(cx, peer, true);
    }

    /// The member that says something over a link: usually the one that the link is to.
    #[must_use]
    pub fn speaking(&self, link: Link, sender: NodeId) -> Option<PeerIdx> {
        self.behind(link).filter(|peer| self.id(*peer) == sender).or_else(|| self.find(sender))
    }

    /// The member behind a link that `Members::dial` made.
    #[must_use]
    pub fn behind(&self, link: Link) -> Option<PeerIdx> {
        ((link.0 as usize) < self.peers.len() && link.0 > 0).then_some(PeerIdx(link.0))
    }
}

impl Peer {
    /// When the next look at this member can find something.
    fn due(&self, cx: &Ctx<'_>) -> Time {
        match self.state {
            PeerState::Known => self.known_since + cx.config.heartbeat_timeout,
            PeerState::Alive => self.silence_deadline(cx).min(self.hard_limit(cx)),
            PeerState::Suspect => self.probe_at.map_or(self.probe_until, Time::from).min(self.hard_limit(cx)),
            PeerState::Dead | PeerState::Left if self.forgotten => Time::NEVER,
            PeerState::Dead | PeerState::Left => self.known_since + cx.config.forget_after,
        }
    }

    fn silence_deadline(&self, cx: &Ctx<'_>) -> Time {
        self.last_heard().unwrap_or(self.known_since).max(self.vouched) + cx.config.suspect_after
    }

    /// Past it, the member is dead whatever others say: silence began one delay before it was noticed.
    fn hard_limit(&self, cx: &Ctx<'_>) -> Time {
        let one_way = self.sample.map_or(Span::ZERO, |sample| Span(sample.round_trip.0 / 2));
        self.last_heard().unwrap_or(self.known_since) + cx.config.heartbeat_timeout.saturating_sub(one_way)
    }
}
