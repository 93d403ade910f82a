//! Streams: what is on them, what a cut holds, and the bandwidth at both ends.

use std::collections::VecDeque;
use std::ops::Range;

use marlos::id::Link;
use marlos::time::{Span, Time};

use super::dial::{Dial, Phase};
use super::flight::Entry;
use super::lane::{Lane, time_of};
use super::path::Paths;
use super::{Delivery, Due, Heard, Network, Step, tie};
use crate::scenario::{NetworkSpec, NodeNo};

/// The kind that orders a stream's own events after every message of the same microsecond.
const KIND_DRAIN: u8 = 0xf0;
const KIND_INBOX: u8 = 0xf1;

/// All streams, by number; who publishes on which; and what waits at the receivers.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    /// What every frame touches.
    pub hot: Vec<Stream>,
    /// What only changes of a connection, or little bandwidth, touch.
    pub cold: Vec<Connection>,
    pub free: Vec<u32>,
    /// The established streams of each publisher.
    lists: Vec<Vec<Listed>>,
    inboxes: Vec<Inbox>,
}

/// A stream on which its publisher sends; sorts by receiver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    receiver: u16,
    pub no: u32,
}

/// The part of a stream that every frame touches.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    /// Nothing arrives before what was sent before it. Microseconds.
    pub last_arrival: u64,
    /// What was sent in an earlier epoch is lost.
    pub epoch: u32,
    /// Frames of this epoch that are under way or held.
    pub outstanding: u32,
    /// The number under which the receiver hears it.
    pub link: Link,
    /// What its pair has as its own delay.
    pub base_us: u32,
    pub publisher: u16,
    pub receiver: u16,
    /// Its way, in [`Paths`].
    pub path: u16,
    pub gate: Gate,
}

/// Whether what arrives at the end of a stream comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// It does.
    Open,
    /// The stream is cut: it is held.
    Frozen,
    /// What was held comes first.
    Draining,
}

/// The connection below a stream.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub dial: Dial,
    /// The dialler's number for it.
    pub own: Link,
    pub phase: Phase,
    /// Events of an earlier turn are stale.
    pub turn: u32,
    /// Attempts since it was last up.
    pub attempts: u32,
    /// What a cut holds, in order.
    pub held: VecDeque<u32>,
    /// When the first of them failed to get through.
    pub stalled_at: Time,
    /// Its own bandwidth, where a fault limits it.
    pub own_lane: Lane,
}

/// What is on its way through a receiver's bandwidth.
#[derive(Clone, Debug)]
struct Inbox {
    lane: Lane,
    waiting: VecDeque<Waiting>,
    turn: u32,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    ready: Time,
    flight: u32,
    stream: u32,
    epoch: u32,
}

impl Streams {
    pub fn new(spec: &NetworkSpec, n: usize) -> Streams {
        let lane = Lane::new(super::inwards(spec).map_or(0, |bps| time_of(spec.queue_bytes, bps)));
        Streams {
            hot: Vec::new(),
            cold: Vec::new(),
            free: Vec::new(),
            lists: vec![Vec::new(); n],
            inboxes: vec![Inbox { lane, waiting: VecDeque::new(), turn: 0 }; n],
        }
    }

    /// The established streams of a publisher, by receiver.
    #[inline]
    pub fn list_of(&self, publisher: NodeNo) -> &[Listed] {
        &self.lists[publisher]
    }

    /// Where in its list the streams to one receiver are, or to all.
    pub fn listed(&self, publisher: NodeNo, to: Option<NodeNo>) -> Range<usize> {
        let list = &self.lists[publisher];
        let Some(to) = to else { return 0..list.len() };
        let first = list.partition_point(|listed| usize::from(listed.receiver) < to);
        let count = list[first..].iter().take_while(|listed| usize::from(listed.receiver) == to).count();
        first..first + count
    }

    /// Its publisher sends on it from now on.
    pub fn list(&mut self, no: u32) {
        let key = |no: u32| {
            let (hot, cold) = (&self.hot[no as usize], &self.cold[no as usize]);
            (hot.receiver, cold.dial, cold.own)
        };
        let Stream { publisher, receiver, .. } = self.hot[no as usize];
        let at = self.lists[usize::from(publisher)].partition_point(|other| key(other.no) < key(no));
        self.lists[usize::from(publisher)].insert(at, Listed { receiver, no });
    }

    /// Its publisher does not send on it any more.
    pub fn unlist(&mut self, no: u32) {
        self.lists[usize::from(self.hot[no as usize].publisher)].retain(|other| other.no != no);
    }

    /// The ways between the nodes have changed.
    pub fn set_paths(&mut self, paths: &Paths) {
        for stream in &mut self.hot {
            let way = (stream.publisher.into(), stream.receiver.into());
            (stream.path, stream.base_us) = (paths.index(way.0, way.1), paths.base_us(way.0, way.1));
        }
    }
}

impl Network {
    /// A copy is at the end of its stream: it is lost, held, waits for the receiver's bandwidth, or is heard.
    #[inline]
    pub(super) fn frame_arrives(&mut self, now: Time, flight: u32, entry: Entry) -> Option<Heard> {
        let stream = &self.streams.hot[entry.stream as usize];
        if stream.epoch != entry.epoch {
            self.resolve(flight);
            return None;
        }
        if stream.gate != Gate::Open {
            self.hold(now, entry.stream, flight);
            return None;
        }
        if self.inwards_bps.is_none() {
            return Some(self.deliver(entry.stream, flight));
        }
        self.receive(now, entry.stream, flight, false)
    }

    /// A copy is heard.
    #[inline]
    fn deliver(&mut self, no: u32, flight: u32) -> Heard {
        let stream = &mut self.streams.hot[no as usize];
        stream.outstanding -= 1;
        let (from, frame) = self.flights.what(flight);
        let delivery = Delivery { from, to: stream.receiver.into(), link: stream.link, frame, changed: None };
        self.resolve(flight);
        Heard::Frame(delivery)
    }

    fn hold(&mut self, now: Time, no: u32, flight: u32) {
        let connection = &mut self.streams.cold[no as usize];
        if connection.held.is_empty() {
            connection.stalled_at = now;
        }
        connection.held.push_back(flight);
    }

    /// A copy comes to the receiver's line. A full queue loses it, and it is sent again, unless `kept`.
    fn receive(&mut self, now: Time, no: u32, flight: u32, kept: bool) -> Option<Heard> {
        let (receiver, epoch) = (self.streams.hot[no as usize].receiver, self.streams.hot[no as usize].epoch);
        let inbox = &mut self.streams.inboxes[usize::from(receiver)];
        if !kept && inbox.lane.full(now) && self.streams.cold[no as usize].phase == Phase::Up {
            self.effects.tcp_lost += 1;
            self.hold(now, no, flight);
            self.drain_after(now, no, 0);
            return None;
        }
        let (out_ns, in_ns) = self.flights.lines_ns(flight);
        let ready = inbox.lane.receive(now, in_ns, out_ns);
        if ready <= now && inbox.waiting.is_empty() {
            return Some(self.deliver(no, flight));
        }
        inbox.waiting.push_back(Waiting { ready, flight, stream: no, epoch });
        if inbox.waiting.len() == 1 {
            let due = Due::Inbox { receiver, turn: inbox.turn };
            self.schedule(ready, tie(receiver.into(), 0, KIND_INBOX, 0), due);
        }
        None
    }

    /// A copy is through the receiver's bandwidth.
    pub(super) fn on_inbox(&mut self, now: Time, receiver: u16, turn: u32) -> Step {
        let inbox = &mut self.streams.inboxes[usize::from(receiver)];
        if inbox.turn != turn {
            return Step::default();
        }
        let waiting = inbox.waiting.pop_front().expect("an inbox is due while something waits in it");
        assert!(waiting.ready <= now, "due at {now}, ready at {}", waiting.ready);
        let again = inbox.waiting.front().map(|next| (next.ready, tie(receiver.into(), 0, KIND_INBOX, 0)));
        if self.streams.hot[waiting.stream as usize].epoch != waiting.epoch {
            self.resolve(waiting.flight);
            return Step { heard: None, again };
        }
        Step { heard: Some(self.deliver(waiting.stream, waiting.flight)), again }
    }

    /// The receiver crashed: what waits in its inbox is lost.
    pub(super) fn empty_inbox(&mut self, receiver: NodeNo) {
        let inbox = &mut self.streams.inboxes[receiver];
        inbox.turn += 1;
        for waiting in std::mem::take(&mut inbox.waiting) {
            let stream = &mut self.streams.hot[waiting.stream as usize];
            if stream.epoch == waiting.epoch {
                stream.outstanding -= 1;
            }
            self.resolve(waiting.flight);
        }
    }

    /// What is held comes in when the sender tries again for the `round`-th time.
    fn drain_after(&mut self, now: Time, no: u32, round: u32) {
        let stream = &mut self.streams.hot[no as usize];
        stream.gate = Gate::Draining;
        let after = self.paths.path(stream.path).retransmit_after(stream.base_us, round);
        self.schedule_drain(now + after, no);
    }

    fn schedule_drain(&mut self, at: Time, no: u32) {
        let connection = &mut self.streams.cold[no as usize];
        connection.turn += 1;
        let due = Due::Drain { stream: no, turn: connection.turn };
        self.schedule(at, self.drain_tie(no), due);
    }

    fn drain_tie(&self, no: u32) -> u64 {
        let stream = &self.streams.hot[no as usize];
        tie(stream.receiver.into(), stream.publisher.into(), KIND_DRAIN, self.streams.cold[no as usize].own.0.into())
    }

    /// The next held frame gets through, one per microsecond, or at the receiver's bandwidth.
    pub(super) fn on_drain(&mut self, now: Time, no: u32, turn: u32) -> Step {
        let connection = &mut self.streams.cold[no as usize];
        if connection.turn != turn {
            return Step::default();
        }
        let flight = connection.held.pop_front().expect("a stream drains while it holds something");
        let over = connection.held.is_empty();
        if over {
            let stream = &mut self.streams.hot[no as usize];
            stream.gate = Gate::Open;
            stream.last_arrival = stream.last_arrival.max(now.0);
        }
        let heard = self.receive(now, no, flight, true);
        Step { heard, again: (!over).then(|| (now + Span(1), self.drain_tie(no))) }
    }

    /// A cut begins or ends, perhaps on this stream (see the head of `network.rs`).
    pub(super) fn reach_changed(&mut self, now: Time, no: u32) {
        let stream = &self.streams.hot[no as usize];
        let (gate, passes) = (stream.gate, self.passes(stream.publisher.into(), stream.receiver.into()));
        match self.streams.cold[no as usize].phase {
            Phase::Up if !passes && gate != Gate::Frozen => {
                self.streams.hot[no as usize].gate = Gate::Frozen;
                // An idle connection times out, too: the heartbeats of ZMTP, or TCP's keepalive, fail like data.
                self.schedule_broken(now + self.connection_timeout, no);
            }
            Phase::Up if passes && gate == Gate::Frozen => self.thaw(now, no),
            // Nobody is left who would send again what is lost now.
            Phase::HalfOpen if !passes => self.lose(no, true),
            Phase::Orphan if !passes => {
                self.lose(no, true);
                self.release_stream(no);
            }
            Phase::Up | Phase::HalfOpen | Phase::Orphan | Phase::Waiting | Phase::Shaking | Phase::Free => {}
        }
    }

    /// A cut is over in time: the held frames come with the next retransmission of the first of them.
    fn thaw(&mut self, now: Time, no: u32) {
        let connection = &mut self.streams.cold[no as usize];
        connection.turn += 1; // the connection does not time out any more
        let stream = &mut self.streams.hot[no as usize];
        if connection.held.is_empty() {
            stream.gate = Gate::Open;
            return;
        }
        stream.gate = Gate::Draining;
        let stalled = now.since(connection.stalled_at);
        let after = self.paths.path(stream.path).recovery(stream.base_us, stalled);
        self.schedule_drain(now + after, no);
    }

    /// What is on a stream is lost; `cut` says whether that counts as dropped by the network.
    pub(super) fn lose(&mut self, no: u32, cut: bool) {
        let stream = &mut self.streams.hot[no as usize];
        if cut {
            self.effects.frames_cut += u64::from(stream.outstanding);
        }
        stream.epoch += 1;
        stream.outstanding = 0;
        stream.gate = Gate::Open;
        while let Some(flight) = self.streams.cold[no as usize].held.pop_front() {
            self.resolve(flight);
        }
    }
}
