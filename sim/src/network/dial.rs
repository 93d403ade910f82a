//! Connections that come and go: dialling, the handshake, back-off, crashes and restarts.
//!
//! **When a stream is up.** A dialler's attempt at `t` needs three ways: there, back, and there again (SYN, SYN-ACK, and the
//! subscription behind the ACK). After them, 1.5 round trips later, both happen at once: the publisher begins to send on
//! the stream, and the dialler hears `Connected`. An attempt fails where the target is down or cut off at its beginning or
//! its end, and is made again after 100 ms, 200 ms, .. 1 s, of which each is shortened by up to a half.
//!
//! With a `slow_joiner` the publisher begins later than that, and the dialler cannot tell: what is published in between is
//! not sent to it, and nothing says so.

use std::collections::BTreeMap;

use marlos::id::Link;
use marlos::time::{Span, Time};

use super::burst::When;
use super::lane::Lane;
use super::link::{Connection, Gate, Stream};
use super::{Due, Heard, Network, Step, tie};
use crate::draw::{Purpose, below};
use crate::scenario::{CrashConnection, NodeNo};

/// First pause of a dialler (`ZeroMQ`'s default), and the longest.
const BACKOFF_MIN: Span = Span::millis(100);
const BACKOFF_MAX: Span = Span::secs(1);
/// Orders a connection's events after every message of the same microsecond.
const KIND_ATTEMPT: u8 = 0xe0;
const KIND_ESTABLISHED: u8 = 0xe1;
const KIND_BROKEN: u8 = 0xe2;
const KIND_FORGET: u8 = 0xe3;
const KIND_SUBSCRIBED: u8 = 0xe4;
/// The draw of a subscription that is later than the three legs of its handshake.
const LEG_SUBSCRIPTION: u8 = 3;

/// Who dials whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dial {
    /// The dialler subscribes to the target's PUB (`Action::Connect`): it hears the target on its own link.
    Subscribe,
    /// The dialler's PUB goes to the target's SUB (`Action::Reach`): the target hears it on [`Link::INBOUND`].
    Reach,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The dialler pauses.
    Waiting,
    /// A handshake is under way.
    Shaking,
    /// Frames flow.
    Up,
    /// The target crashed and the dialler does not know yet.
    HalfOpen,
    /// The publisher closed it or crashed; what it sent is still to arrive. Nobody dials.
    Orphan,
    /// The number is free.
    Free,
}

/// Who has dialled what.
#[derive(Clone, Debug)]
pub(super) struct Dials {
    /// By dialler and by its link.
    of: Vec<BTreeMap<Link, u32>>,
    /// Attempts and breaks so far, by ordered pair: the n of their draws.
    counts: Vec<u64>,
}

impl Dials {
    pub fn new(n: usize) -> Dials {
        Dials { of: vec![BTreeMap::new(); n], counts: vec![0; n * n] }
    }
}

impl Network {
    /// `node` dials `target`, at once and until [`Network::hang_up`]. A link that is in use is hung up first. A node that
    /// dials itself hears nothing.
    ///
    /// # Panics
    /// If the node is down.
    pub fn dial(&mut self, now: Time, node: NodeNo, link: Link, dial: Dial, target: NodeNo) {
        assert!(self.up[node], "n{node} is down and dials n{target}");
        self.hang_up(now, node, link);
        if node == target {
            return;
        }
        let (publisher, receiver, heard_as) = match dial {
            Dial::Subscribe => (target, node, link),
            Dial::Reach => (node, target, Link::INBOUND),
        };
        let no = self.take_stream(publisher, receiver, heard_as, dial, link);
        self.dials.of[node].insert(link, no);
        self.attempt(now, no);
    }

    /// `node` drops what it dialled under this number; nothing happens if there is nothing. What it published on the
    /// stream before still arrives, unless a cut holds it.
    pub fn hang_up(&mut self, now: Time, node: NodeNo, link: Link) {
        if let Some(no) = self.dials.of[node].remove(&link) {
            self.dialler_leaves(now, no);
        }
    }

    /// A node starts, or starts again. What its earlier life's peers still take for a connection is reset by the first
    /// thing they send on it, one round trip from now.
    pub fn node_up(&mut self, now: Time, node: NodeNo) {
        assert!(!self.up[node], "n{node} starts twice");
        self.up[node] = true;
        for no in 0..self.streams.hot.len() as u32 {
            let (dialler, target) = self.ends(no);
            if target == node && self.streams.cold[no as usize].phase == Phase::HalfOpen && self.passes(dialler, node) {
                let there_and_back = self.news(now, dialler, node, 0) + self.news(now, node, dialler, 1);
                let turn = self.streams.cold[no as usize].turn; // the earlier of two breaks counts
                self.schedule_control(now + there_and_back, no, KIND_BROKEN, Due::Broken { stream: no, turn });
            }
        }
    }

    /// A node stops. Its streams are gone: what comes to it is lost, what it sent is on the wire and arrives. Those who had
    /// dialled it hear `Disconnected` when its machine's reset arrives, after what it sent, or when their connection times out.
    pub fn node_down(&mut self, now: Time, node: NodeNo, connection: CrashConnection) {
        assert!(self.up[node], "n{node} stops twice");
        self.up[node] = false;
        self.life[node] += 1;
        self.empty_inbox(node);
        self.dials.of[node].clear();
        for no in 0..self.streams.hot.len() as u32 {
            let (dialler, target) = self.ends(no);
            match self.streams.cold[no as usize].phase {
                Phase::Free | Phase::Orphan if usize::from(self.streams.hot[no as usize].receiver) == node => {
                    self.lose(no, false);
                }
                Phase::Free | Phase::Orphan => {}
                _ if dialler == node => self.dialler_leaves(now, no),
                Phase::Shaking if target == node => self.pause(now, no),
                Phase::Up if target == node => self.target_crashed(now, no, connection),
                Phase::Up | Phase::Shaking | Phase::Waiting | Phase::HalfOpen => {}
            }
        }
    }

    fn target_crashed(&mut self, now: Time, no: u32, how: CrashConnection) {
        let (dialler, target) = self.ends(no);
        let Stream { gate, receiver, last_arrival, .. } = self.streams.hot[no as usize];
        let sent = usize::from(receiver) != target;
        self.streams.unlist(no);
        if !sent || gate != Gate::Open {
            self.lose(no, sent);
        }
        self.streams.cold[no as usize].phase = Phase::HalfOpen;
        match how {
            // A cut swallows the reset, and the connection times out as it would have.
            CrashConnection::Reset | CrashConnection::Silent if gate == Gate::Frozen => {}
            CrashConnection::Reset => {
                let news = now + self.news(now, target, dialler, 0);
                self.schedule_broken(if sent { news.max(Time(last_arrival + 1)) } else { news }, no);
            }
            CrashConnection::Silent => self.schedule_broken(now + self.connection_timeout, no),
        }
    }

    /// The dialler hung up or crashed. A subscriber loses what comes; what a publisher sent still arrives.
    fn dialler_leaves(&mut self, now: Time, no: u32) {
        let (stream, connection) = (&self.streams.hot[no as usize], &self.streams.cold[no as usize]);
        let up = connection.phase == Phase::Up;
        let (gate, last_arrival) = (stream.gate, stream.last_arrival);
        let arriving = up && connection.dial == Dial::Reach && gate == Gate::Open && stream.outstanding > 0;
        if up {
            self.streams.unlist(no);
        }
        if !arriving {
            self.lose(no, up && gate != Gate::Open);
            self.release_stream(no);
            return;
        }
        let connection = &mut self.streams.cold[no as usize];
        connection.phase = Phase::Orphan;
        connection.turn += 1;
        let turn = connection.turn;
        self.schedule_control(Time(last_arrival.max(now.0) + 1), no, KIND_FORGET, Due::Forget { stream: no, turn });
    }

    /// What a closed stream had sent has arrived, or waits for the receiver's bandwidth.
    pub(super) fn on_forget(&mut self, now: Time, no: u32, turn: u32) -> Step {
        if self.streams.cold[no as usize].turn != turn {
            return Step::default();
        }
        if self.streams.hot[no as usize].outstanding > 0 {
            return Step { heard: None, again: Some((now + Span::millis(1), self.control_tie(no, KIND_FORGET))) };
        }
        self.lose(no, false);
        self.release_stream(no);
        Step::default()
    }

    /// A dialler tries.
    pub(super) fn on_attempt(&mut self, now: Time, no: u32, turn: u32) -> Step {
        if self.streams.cold[no as usize].turn == turn {
            self.attempt(now, no);
        }
        Step::default()
    }

    fn attempt(&mut self, now: Time, no: u32) {
        let (dialler, target) = self.ends(no);
        if !self.up[target] || !self.passes(dialler, target) {
            self.pause(now, no);
            return;
        }
        let count = self.count(dialler, target);
        let mut handshake = Span::ZERO;
        for (leg, from, to) in [(0, dialler, target), (1, target, dialler), (2, dialler, target)] {
            let draw = self.draws.one(Purpose::Handshake, from, to, leg, count);
            handshake = handshake + self.control_delay(now, now + handshake, draw, from, to);
        }
        let connection = &mut self.streams.cold[no as usize];
        connection.phase = Phase::Shaking;
        connection.turn += 1;
        let due = Due::Established { stream: no, turn: connection.turn };
        self.schedule_control(now + handshake, no, KIND_ESTABLISHED, due);
    }

    /// An attempt failed or a connection broke: the dialler pauses.
    fn pause(&mut self, now: Time, no: u32) {
        let (dialler, target) = self.ends(no);
        let count = self.count(dialler, target);
        let connection = &mut self.streams.cold[no as usize];
        connection.phase = Phase::Waiting;
        connection.turn += 1;
        let longest = BACKOFF_MIN.times(1 << connection.attempts.min(16)).min(BACKOFF_MAX);
        connection.attempts += 1;
        let due = Due::Attempt { stream: no, turn: connection.turn };
        let shorter = below(self.draws.one(Purpose::Backoff, dialler, target, 0, count), longest.0 / 2);
        self.schedule_control(now + Span(longest.0 - shorter), no, KIND_ATTEMPT, due);
    }

    /// A handshake is over.
    pub(super) fn on_established(&mut self, now: Time, no: u32, turn: u32) -> Step {
        let (dialler, target) = self.ends(no);
        if self.streams.cold[no as usize].turn != turn {
            return Step::default();
        }
        if !self.up[target] || !self.passes(dialler, target) {
            self.pause(now, no);
            return Step::default();
        }
        let (stream, connection) = (&mut self.streams.hot[no as usize], &mut self.streams.cold[no as usize]);
        assert!(stream.outstanding == 0 && stream.gate == Gate::Open, "a new connection is empty");
        stream.last_arrival = now.0;
        connection.phase = Phase::Up;
        connection.attempts = 0;
        connection.own_lane = Lane::new(0);
        let link = connection.own;
        self.subscribe(now, no);
        Step { heard: Some(Heard::Connected { node: dialler, link }), again: None }
    }

    /// The publisher begins to send: at once, or when a slow subscription has reached it.
    fn subscribe(&mut self, now: Time, no: u32) {
        let Some(table) = &self.slow_joiner else { return self.streams.list(no) };
        let Stream { publisher, receiver, epoch, .. } = self.streams.hot[no as usize];
        let (from, to) = (usize::from(receiver), usize::from(publisher));
        let count = self.dials.counts[from * self.n + to];
        let later = table.sample(self.draws.one(Purpose::Handshake, from, to, LEG_SUBSCRIPTION, count));
        self.schedule_control(now + later, no, KIND_SUBSCRIBED, Due::Subscribed { stream: no, epoch });
    }

    /// A subscription reaches its publisher, unless the connection is another one by now. A cut holds it up.
    pub(super) fn on_subscribed(&mut self, now: Time, no: u32, epoch: u32) -> Step {
        if self.streams.cold[no as usize].phase != Phase::Up || self.streams.hot[no as usize].epoch != epoch {
            return Step::default();
        }
        let stream = &self.streams.hot[no as usize];
        if stream.gate == Gate::Frozen {
            let again = now + self.paths.path(stream.path).retransmit_after(stream.base_us, 0);
            return Step { heard: None, again: Some((again, self.control_tie(no, KIND_SUBSCRIBED))) };
        }
        self.streams.list(no);
        Step::default()
    }

    /// The dialler learns that the connection is gone, and dials again.
    pub(super) fn on_broken(&mut self, now: Time, no: u32, turn: u32) -> Step {
        let connection = &self.streams.cold[no as usize];
        if connection.turn != turn {
            return Step::default();
        }
        let link = connection.own;
        if connection.phase == Phase::Up {
            self.streams.unlist(no);
        }
        self.lose(no, true);
        let (dialler, _) = self.ends(no);
        self.pause(now, no);
        Step { heard: Some(Heard::Disconnected { node: dialler, link }), again: None }
    }

    pub(super) fn schedule_broken(&mut self, at: Time, no: u32) {
        let connection = &mut self.streams.cold[no as usize];
        connection.turn += 1;
        let turn = connection.turn;
        self.schedule_control(at, no, KIND_BROKEN, Due::Broken { stream: no, turn });
    }

    fn schedule_control(&mut self, at: Time, no: u32, kind: u8, due: Due) {
        let tie = self.control_tie(no, kind);
        self.schedule(at, tie, due);
    }

    fn control_tie(&self, no: u32, kind: u8) -> u64 {
        let (dialler, target) = self.ends(no);
        tie(dialler, target, kind, self.streams.cold[no as usize].own.0.into())
    }

    /// How long the news of a break takes.
    fn news(&mut self, now: Time, from: NodeNo, to: NodeNo, leg: u8) -> Span {
        let count = self.dials.counts[from * self.n + to];
        let draw = self.draws.one(Purpose::Reset, from, to, leg, count);
        self.control_delay(now, now, draw, from, to)
    }

    /// How long a segment without a frame takes, its losses included.
    fn control_delay(&mut self, now: Time, sent: Time, draw: u64, from: NodeNo, to: NodeNo) -> Span {
        let path = self.paths.path(self.paths.index(from, to));
        let base_us = self.paths.base_us(from, to);
        let delay = Span(u64::from(base_us)) + path.latency.sample(draw);
        let when = When { now, sent };
        let rounds = self.bursts.rounds(&self.draws, path, base_us, when, (from, to), draw as u32);
        Span(delay.0.max(1)) + path.retransmissions(base_us, rounds)
    }

    fn count(&mut self, dialler: NodeNo, target: NodeNo) -> u64 {
        let count = &mut self.dials.counts[dialler * self.n + target];
        *count += 1;
        *count - 1
    }

    /// Who dials, and whom.
    fn ends(&self, no: u32) -> (NodeNo, NodeNo) {
        let stream = &self.streams.hot[no as usize];
        let (publisher, receiver) = (stream.publisher.into(), stream.receiver.into());
        match self.streams.cold[no as usize].dial {
            Dial::Subscribe => (receiver, publisher),
            Dial::Reach => (publisher, receiver),
        }
    }

    fn take_stream(&mut self, publisher: NodeNo, receiver: NodeNo, heard_as: Link, dial: Dial, own: Link) -> u32 {
        let stream = Stream {
            last_arrival: 0,
            epoch: 0,
            outstanding: 0,
            link: heard_as,
            base_us: self.paths.base_us(publisher, receiver),
            publisher: publisher as u16,
            receiver: receiver as u16,
            path: self.paths.index(publisher, receiver),
            gate: Gate::Open,
        };
        let Some(no) = self.streams.free.pop() else {
            self.streams.hot.push(stream);
            self.streams.cold.push(Connection {
                dial,
                own,
                phase: Phase::Waiting,
                turn: 0,
                attempts: 0,
                held: Default::default(),
                stalled_at: Time(0),
                own_lane: Lane::new(0),
            });
            return self.streams.hot.len() as u32 - 1;
        };
        // Epoch and turn go on: what was meant for the number's last use stays stale.
        let (hot, cold) = (&mut self.streams.hot[no as usize], &mut self.streams.cold[no as usize]);
        assert!(cold.phase == Phase::Free && cold.held.is_empty(), "a free stream holds nothing");
        *hot = Stream { epoch: hot.epoch, ..stream };
        (cold.dial, cold.own, cold.phase, cold.attempts) = (dial, own, Phase::Waiting, 0);
        no
    }

    /// Nobody dials this stream any more.
    pub(super) fn release_stream(&mut self, no: u32) {
        let connection = &mut self.streams.cold[no as usize];
        connection.phase = Phase::Free;
        connection.turn += 1;
        self.streams.free.push(no);
    }
}
