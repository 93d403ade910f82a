//! The connections of the naive world, by the rules at the heads of `network.rs` and `network/dial.rs`: no loss, no limited
//! bandwidth, and fewer frames under way than the high-water mark. What is due is pushed as plain events; a connection's turn makes
//! those stale that something else has overtaken.

use std::collections::VecDeque;

use marlos::id::Link;
use marlos::time::{Span, Time};
use marlos_sim::draw::{Purpose, below};
use marlos_sim::network::{Dial, tie};
use marlos_sim::scenario::{CrashConnection, NodeNo};

use super::{Frame, Input, NaiveWorld, What};

#[derive(Clone, Copy, PartialEq)]
pub enum Phase {
    Waiting,
    Shaking,
    Up,
    HalfOpen,
    Orphan,
    Free,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Gate {
    Open,
    Frozen,
    Draining,
}

pub struct Wire {
    pub dialler: NodeNo,
    pub target: NodeNo,
    pub dial: Dial,
    /// The dialler's number for it.
    pub own: Link,
    pub phase: Phase,
    pub gate: Gate,
    pub turn: u64,
    /// What was sent in an earlier epoch is lost.
    pub epoch: u64,
    pub outstanding: usize,
    pub last_arrival: Time,
    pub held: VecDeque<Frame>,
    pub stalled_at: Time,
    pub attempts: u32,
}

impl Wire {
    pub fn publisher(&self) -> NodeNo {
        if self.dial == Dial::Subscribe { self.target } else { self.dialler }
    }
    pub fn receiver(&self) -> NodeNo {
        if self.dial == Dial::Subscribe { self.dialler } else { self.target }
    }
    pub fn heard_as(&self) -> Link {
        if self.dial == Dial::Subscribe { self.own } else { Link::INBOUND }
    }
    fn lose(&mut self) {
        self.epoch += 1;
        self.outstanding = 0;
        self.gate = Gate::Open;
        self.held.clear();
    }
}

impl NaiveWorld {
    pub fn dial(&mut self, dialler: NodeNo, own: Link, dial: Dial, target: NodeNo) {
        self.hang_up(dialler, own);
        if dialler == target {
            return;
        }
        let wire = |turn, epoch| {
            let (phase, gate, held) = (Phase::Waiting, Gate::Open, VecDeque::new());
            let (last_arrival, stalled_at) = (Time(0), Time(0));
            let (outstanding, attempts) = (0, 0);
            Wire {
                dialler,
                target,
                dial,
                own,
                phase,
                gate,
                turn,
                epoch,
                outstanding,
                last_arrival,
                held,
                stalled_at,
                attempts,
            }
        };
        // Numbers are used again, the last one first; turn and epoch go on.
        let no = self.unused.pop().unwrap_or(self.wires.len());
        if no == self.wires.len() {
            self.wires.push(wire(0, 0));
        } else {
            self.wires[no] = wire(self.wires[no].turn, self.wires[no].epoch);
        }
        self.attempt(no);
    }

    pub fn hang_up(&mut self, node: NodeNo, own: Link) {
        let dialled = |wire: &Wire| wire.dialler == node && wire.own == own;
        let live = |wire: &Wire| !matches!(wire.phase, Phase::Free | Phase::Orphan);
        if let Some(no) = self.wires.iter().position(|wire| dialled(wire) && live(wire)) {
            self.dialler_leaves(no);
        }
    }

    fn dialler_leaves(&mut self, no: usize) {
        let wire = &mut self.wires[no];
        let arriving = wire.dial == Dial::Reach && wire.gate == Gate::Open && wire.outstanding > 0;
        if wire.phase == Phase::Up && arriving {
            wire.phase = Phase::Orphan;
            let at = wire.last_arrival.max(self.now) + Span(1);
            return self.due(at, no, 0xe3, What::Forget { wire: no, turn: self.wires[no].turn + 1 });
        }
        self.free(no);
    }

    fn free(&mut self, no: usize) {
        let wire = &mut self.wires[no];
        wire.lose();
        wire.phase = Phase::Free;
        wire.turn += 1;
        self.unused.push(no);
    }

    pub fn forget(&mut self, no: usize) {
        assert_eq!(self.wires[no].outstanding, 0, "without bandwidth to wait for, all has arrived");
        self.free(no);
    }

    pub fn attempt(&mut self, no: usize) {
        let (a, b) = (self.wires[no].dialler, self.wires[no].target);
        if !self.up(b) || !self.passes(a, b) {
            return self.pause(no);
        }
        let n = self.count(a, b);
        let legs = [(0, a, b), (1, b, a), (2, a, b)];
        let handshake = legs.iter().fold(Span::ZERO, |sum, (leg, from, to)| {
            sum + self.one_way(self.draws.one(Purpose::Handshake, *from, *to, *leg, n))
        });
        self.wires[no].phase = Phase::Shaking;
        self.due(self.now + handshake, no, 0xe1, What::Established { wire: no, turn: self.wires[no].turn + 1 });
    }

    fn pause(&mut self, no: usize) {
        let (a, b) = (self.wires[no].dialler, self.wires[no].target);
        let n = self.count(a, b);
        let wire = &mut self.wires[no];
        wire.phase = Phase::Waiting;
        let longest = (100_000 << wire.attempts.min(16)).min(1_000_000);
        wire.attempts += 1;
        let wait = longest - below(self.draws.one(Purpose::Backoff, a, b, 0, n), longest / 2);
        self.due(self.now + Span(wait), no, 0xe0, What::Attempt { wire: no, turn: self.wires[no].turn + 1 });
    }

    pub fn established(&mut self, no: usize) {
        let (a, b) = (self.wires[no].dialler, self.wires[no].target);
        if !self.up(b) || !self.passes(a, b) {
            return self.pause(no);
        }
        let wire = &mut self.wires[no];
        (wire.phase, wire.last_arrival, wire.attempts) = (Phase::Up, self.now, 0);
        let own = wire.own;
        self.handle(a, Input::Connected(own));
    }

    pub fn broken(&mut self, no: usize) {
        self.wires[no].lose();
        self.pause(no);
        let (dialler, own) = (self.wires[no].dialler, self.wires[no].own);
        self.handle(dialler, Input::Disconnected(own));
    }

    pub fn frame_arrives(&mut self, no: usize, epoch: u64, frame: Frame) {
        let wire = &mut self.wires[no];
        if wire.epoch != epoch {
            return;
        }
        if wire.gate == Gate::Open {
            return self.hear_frame(no, frame);
        }
        if wire.held.is_empty() {
            wire.stalled_at = self.now;
        }
        wire.held.push_back(frame);
    }

    fn hear_frame(&mut self, no: usize, frame: Frame) {
        self.wires[no].outstanding -= 1;
        let (receiver, link) = (self.wires[no].receiver(), self.wires[no].heard_as());
        self.deliver(receiver, link, &frame);
    }

    pub fn drain(&mut self, no: usize) {
        let wire = &mut self.wires[no];
        let frame = wire.held.pop_front().expect("something is held");
        if wire.held.is_empty() {
            wire.gate = Gate::Open;
            wire.last_arrival = wire.last_arrival.max(self.now);
        } else {
            let (turn, at) = (wire.turn, self.now + Span(1));
            self.push(at, self.drain_tie(no), What::Drain { wire: no, turn });
        }
        self.hear_frame(no, frame);
    }

    /// Cuts have begun or ended.
    pub fn reach_changed(&mut self) {
        for no in 0..self.wires.len() {
            let wire = &self.wires[no];
            let passes = self.passes(wire.dialler, wire.target);
            match (wire.phase, wire.gate) {
                (Phase::Up, Gate::Open | Gate::Draining) if !passes => {
                    self.wires[no].gate = Gate::Frozen;
                    self.break_at(no, self.now + self.timeout);
                }
                (Phase::Up, Gate::Frozen) if passes => self.thaw(no),
                (Phase::HalfOpen, _) if !passes => self.wires[no].lose(),
                (Phase::Orphan, _) if !passes => self.free(no),
                _ => {}
            }
        }
    }

    /// What is held comes with the first retransmission after the heal: 200 ms, or twice two round trips, doubled up to 3 s.
    fn thaw(&mut self, no: usize) {
        let wire = &mut self.wires[no];
        wire.turn += 1;
        if wire.held.is_empty() {
            wire.gate = Gate::Open;
            return;
        }
        wire.gate = Gate::Draining;
        let mut wait = (self.latency.median().0 * 8 / 2).max(200_000);
        let longest = wait.max(3_000_000);
        let mut again = wire.stalled_at + Span(wait);
        while again <= self.now {
            wait = (wait * 2).min(longest);
            again += Span(wait);
        }
        wire.turn += 1;
        let turn = wire.turn;
        self.push(again, self.drain_tie(no), What::Drain { wire: no, turn });
    }

    pub fn node_up(&mut self, node: NodeNo) {
        for no in 0..self.wires.len() {
            let Wire { dialler, target, phase, turn, .. } = self.wires[no];
            if target == node && phase == Phase::HalfOpen && self.passes(dialler, node) {
                let at = self.now + self.news(dialler, node, 0) + self.news(node, dialler, 1);
                self.push(at, self.control_tie(no, 0xe2), What::Broken { wire: no, turn });
            }
        }
    }

    pub fn node_down(&mut self, node: NodeNo, how: CrashConnection) {
        for no in 0..self.wires.len() {
            let wire = &mut self.wires[no];
            match wire.phase {
                Phase::Free | Phase::Orphan if wire.receiver() == node => wire.lose(),
                Phase::Free | Phase::Orphan => {}
                _ if wire.dialler == node => self.dialler_leaves(no),
                Phase::Shaking if wire.target == node => self.pause(no),
                Phase::Up if wire.target == node => self.target_crashed(no, how),
                Phase::Up | Phase::Shaking | Phase::Waiting | Phase::HalfOpen => {}
            }
        }
    }

    fn target_crashed(&mut self, no: usize, how: CrashConnection) {
        let wire = &mut self.wires[no];
        let (sent, gate, last_arrival) = (wire.publisher() == wire.target, wire.gate, wire.last_arrival);
        let (dialler, target) = (wire.dialler, wire.target);
        wire.phase = Phase::HalfOpen;
        if !sent || gate != Gate::Open {
            wire.lose();
        }
        if gate == Gate::Frozen {
            return; // a cut swallows the news
        }
        let news = match how {
            CrashConnection::Reset if sent => (self.now + self.news(target, dialler, 0)).max(last_arrival + Span(1)),
            CrashConnection::Reset => self.now + self.news(target, dialler, 0),
            CrashConnection::Silent => self.now + self.timeout,
        };
        self.break_at(no, news);
    }

    fn break_at(&mut self, no: usize, at: Time) {
        self.due(at, no, 0xe2, What::Broken { wire: no, turn: self.wires[no].turn + 1 });
    }

    /// Schedules what belongs to a wire, and makes stale what was scheduled before.
    fn due(&mut self, at: Time, no: usize, kind: u8, what: What) {
        self.wires[no].turn += 1;
        self.push(at, self.control_tie(no, kind), what);
    }

    fn control_tie(&self, no: usize, kind: u8) -> u64 {
        let wire = &self.wires[no];
        tie(wire.dialler, wire.target, kind, wire.own.0.into())
    }

    fn drain_tie(&self, no: usize) -> u64 {
        let wire = &self.wires[no];
        tie(wire.receiver(), wire.publisher(), 0xf0, wire.own.0.into())
    }

    fn news(&self, from: NodeNo, to: NodeNo, leg: u8) -> Span {
        let n = self.dialled.get(&(from, to)).copied().unwrap_or(0);
        self.one_way(self.draws.one(Purpose::Reset, from, to, leg, n))
    }

    fn count(&mut self, from: NodeNo, to: NodeNo) -> u64 {
        let count = self.dialled.entry((from, to)).or_insert(0);
        *count += 1;
        *count - 1
    }

    fn passes(&self, a: NodeNo, b: NodeNo) -> bool {
        self.reaches[a][b] && self.reaches[b][a]
    }
}
