//! What happens to a frame on its way: delay, loss, bandwidth, order, cuts, and connections that come and go.
//!
//! A stream is one TCP connection with ZeroMQ on top, from a publisher to a subscriber; either side may have dialled it
//! ([`Dial`]). Its frames arrive in order. They do not wait for each other's delay, only for order and bandwidth; a lost
//! segment arrives later and holds up what follows (`link.rs`, `path.rs`). Datagrams are lost, overtake, and know no order.
//!
//! The network has no clock and no queue: it appends [`Scheduled`] events to [`Effects`], the world queues them and gives
//! each back to [`Network::step`] when it is due. A broadcast is one event: a flight, which comes again with its next arrival.
//!
//! **The world's part**, for the event on top of its queue: call [`Network::step`] at exactly its time; move the event by
//! `EventQueue::advance_top` where the step says `again`, else take it out; let the node hear what was heard; and after this
//! and every other call, queue what [`Effects`] holds and free the frames it releases. A paused node's kernel still takes
//! bytes, so the network knows nothing of pauses: the world keeps what a paused node hears, in order, with references of
//! its own to the frames.
//!
//! **Faults and what is under way.** What decides is the moment of arrival. A stream is cut while either direction is: data
//! does not pass one way, or its acknowledgements do not pass the other (what a real sender's window would still let through
//! in that case is held, too). A cut stream holds its frames in order. If the cut ends within `connection_timeout`, they
//! arrive from the next retransmission on; if not, the connection is reset, whether it was idle or not, they are lost, and
//! the dialler hears of it and dials again. A datagram needs only its own direction, and is lost where that is cut. A crash
//! loses what comes to the node; what it sent before is on the wire and arrives.

mod beacon;
mod burst;
mod dial;
mod flight;
mod lane;
pub mod latency;
mod link;
mod path;
pub mod topology;

use marlos::id::Link;
use marlos::time::{Span, Time};
use marlos::wire::MsgType;
use prefetch_index::prefetch_index;

use crate::draw::{Draws, Purpose};
use crate::observe::Mishap;
use crate::scenario::{NetworkSpec, NodeNo, QueueFull};

pub use dial::Dial;
pub use path::Override;

use beacon::Datagrams;
use burst::Bursts;
use dial::Dials;
use flight::{Entry, Flights};
use lane::{Lane, time_of};
use latency::LatencyTable;
use link::{Gate, Streams};
use path::Paths;

/// A frame as the world numbers it. The network never sees its bytes.
pub type FrameNo = u32;

/// Bytes of a frame on a stream: topic (`*`, or `@` and 8 hex digits), frame, and a ZMTP header of each: 2 bytes up to a
/// length of 255, else 9.
#[must_use]
pub const fn wire_bytes(frame_len: u64, directed: bool) -> u64 {
    let topic = if directed { 9 } else { 1 };
    let header = if frame_len < 256 { 2 } else { 9 };
    2 + topic + header + frame_len
}

/// Orders events of the same microsecond: by receiver, sender, kind and number.
#[must_use]
pub const fn tie(receiver: NodeNo, sender: NodeNo, kind: u8, n: u64) -> u64 {
    ((receiver as u64 & 0xffff) << 48) | ((sender as u64 & 0xffff) << 32) | ((kind as u64) << 24) | (n & 0x00ff_ffff)
}

/// A frame to be published.
#[derive(Clone, Copy, Debug)]
pub struct Parcel {
    /// Who publishes.
    pub from: NodeNo,
    /// Whose topic it is for; nothing is everyone's.
    pub to: Option<NodeNo>,
    /// Counted per kind, so that another kind's frames do not change its delays.
    pub kind: MsgType,
    /// Comes back in [`Delivery`] and once in [`Effects::released`].
    pub frame: FrameNo,
    /// Of each copy: [`wire_bytes`].
    pub bytes: u64,
}

/// An event of the network's own, to be given back to [`Network::step`] when it is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetEvent(pub(self) Due);

/// What is due. `turn` makes events stale that were overtaken by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// The next arrival of a flight.
    Flight(u32),
    /// A frame is through the receiver's bandwidth.
    Inbox { receiver: u16, turn: u32 },
    /// The next held frame of a stream that was cut.
    Drain { stream: u32, turn: u32 },
    /// A dialler tries.
    Attempt { stream: u32, turn: u32 },
    /// A handshake is over.
    Established { stream: u32, turn: u32 },
    /// A subscription reaches its publisher, later than the handshake.
    Subscribed { stream: u32, epoch: u32 },
    /// The dialler learns that the connection is gone: by a reset, or because it timed out.
    Broken { stream: u32, turn: u32 },
    /// What a closed stream had sent has arrived.
    Forget { stream: u32, turn: u32 },
}

/// An event and when it is due.
#[derive(Clone, Copy, Debug)]
pub struct Scheduled {
    /// When.
    pub at: Time,
    /// Its order among events of the same microsecond.
    pub tie: u64,
    /// What.
    pub event: NetEvent,
}

/// A frame that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Who published it.
    pub from: NodeNo,
    /// Where it arrives.
    pub to: NodeNo,
    /// On which of the receiver's links.
    pub link: Link,
    /// Which.
    pub frame: FrameNo,
    /// That it is not what was sent: a draw for how it was changed on its way.
    pub changed: Option<u64>,
}

/// What a node hears at the end of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// `Input::Frame`.
    Frame(Delivery),
    /// `Input::Connected`.
    Connected {
        /// Who dialled.
        node: NodeNo,
        /// The dialler's number.
        link: Link,
    },
    /// `Input::Disconnected`.
    Disconnected {
        /// Who dialled.
        node: NodeNo,
        /// The dialler's number.
        link: Link,
    },
}

/// What came of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What a node hears, if any does.
    pub heard: Option<Heard>,
    /// The same event is due again, then and with this tie; otherwise it is over.
    pub again: Option<(Time, u64)>,
}

/// What a call leaves for the world. It empties it after each call; counters only grow.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// To be queued.
    pub scheduled: Vec<Scheduled>,
    /// Frames that the network will not deliver any more: each published frame comes here once. To be freed after what
    /// the step returned was handled.
    pub released: Vec<FrameNo>,
    /// Copies dropped so far: by a reset or over the high-water mark, and datagrams that met a cut.
    pub frames_cut: u64,
    /// Segments lost so far by chance or for want of room in a queue; each is sent again.
    pub tcp_lost: u64,
    /// Datagrams lost so far by chance or for want of room in a queue.
    pub udp_lost: u64,
    /// What else happened to datagrams so far, by [`Mishap`].
    pub mishaps: [u64; Mishap::ALL.len()],
}

/// The network between the nodes of a world.
#[derive(Clone, Debug)]
pub struct Network {
    /// What the last calls left for the world.
    pub effects: Effects,
    n: usize,
    draws: Draws,
    paths: Paths,
    bursts: Bursts,
    flights: Flights,
    streams: Streams,
    dials: Dials,
    /// `reaches[from * n + to]`.
    reaches: Vec<bool>,
    up: Vec<bool>,
    /// How often each node has crashed: what was under way to an earlier life is lost.
    life: Vec<u32>,
    /// Of each node outwards.
    bandwidth_bps: Option<u64>,
    /// Of each node inwards.
    inwards_bps: Option<u64>,
    queue_full: QueueFull,
    /// Each node's line outwards.
    egress: Vec<Lane>,
    /// How many frames each node has broadcast, by kind.
    broadcasts: Vec<[u64; KINDS]>,
    /// How many it has sent to each other node, by kind; room is made at the first.
    directed: Vec<Option<Box<[u32; KINDS]>>>,
    beacons: Vec<u64>,
    /// Draws of the frame being published, by receiver.
    drawn: Vec<u64>,
    connection_timeout: Span,
    high_water_mark: u32,
    multicast: bool,
    datagrams: Datagrams,
    slow_joiner: Option<LatencyTable>,
}

/// What the copies of a frame have in common.
#[derive(Clone, Copy)]
struct Launch {
    parcel: Parcel,
    flight: u32,
    /// How long a copy takes through a node's bandwidth.
    line_ns: u64,
    purpose: Purpose,
    /// How many of its kind went this way before it.
    n: u64,
}

/// The next copies of a broadcast, unless something happens to them.
#[derive(Clone, Copy, Debug)]
pub struct Upcoming {
    /// Whose broadcast it is.
    pub from: NodeNo,
    /// Who hears it next.
    pub to: NodeNo,
    /// On which of its links.
    pub link: Link,
    /// Who hears it after that, if anybody.
    pub after: Option<NodeNo>,
}

/// How many copies ahead the stream of a copy is fetched: a guess, as long as memory takes.
const STREAMS_AHEAD: usize = 4;

/// Room for every kind of message, by its number.
const KINDS: usize = MsgType::ALL.len() + 1;

impl Network {
    /// A network between `regions.len()` nodes, all of which are down and reach each other.
    ///
    /// # Panics
    /// If there are more than 65,535 nodes, or a region that the matrix does not have.
    #[must_use]
    pub fn new(spec: &NetworkSpec, regions: &[Option<usize>], seed: u64) -> Network {
        let n = regions.len();
        assert!(n <= usize::from(u16::MAX), "{n} nodes: node numbers have 16 bits here");
        let draws = Draws::new(seed);
        Network {
            effects: Effects::default(),
            n,
            paths: Paths::new(spec, regions, &draws),
            bursts: Bursts::new(spec, n),
            draws,
            flights: Flights::default(),
            streams: Streams::new(spec, n),
            dials: Dials::new(n),
            reaches: vec![true; n * n],
            up: vec![false; n],
            life: vec![0; n],
            bandwidth_bps: spec.bandwidth_bps,
            inwards_bps: inwards(spec),
            queue_full: spec.queue_full,
            datagrams: Datagrams::new(spec),
            slow_joiner: spec.slow_joiner.as_ref().map(LatencyTable::new),
            egress: vec![Lane::new(spec.bandwidth_bps.map_or(0, |bps| time_of(spec.queue_bytes, bps))); n],
            broadcasts: vec![[0; KINDS]; n],
            directed: vec![None; n * n],
            beacons: vec![0; n],
            drawn: vec![0; n],
            connection_timeout: spec.connection_timeout,
            high_water_mark: spec.high_water_mark,
            multicast: spec.multicast,
        }
    }

    /// Publishes a frame and returns how many copies were sent, each of `parcel.bytes`. A frame for which nobody has
    /// subscribed is released at once, as `ZeroMQ` would drop it.
    pub fn publish(&mut self, now: Time, parcel: Parcel) -> u64 {
        let kind = parcel.kind as u8;
        let (purpose, n) = match parcel.to {
            None => {
                let count = &mut self.broadcasts[parcel.from][usize::from(kind)];
                *count += 1;
                (Purpose::Broadcast, *count - 1)
            }
            Some(to) => {
                let counts = self.directed[parcel.from * self.n + to].get_or_insert_with(|| Box::new([0; KINDS]));
                counts[usize::from(kind)] += 1;
                (Purpose::Directed, u64::from(counts[usize::from(kind)] - 1))
            }
        };
        let listed = self.streams.listed(parcel.from, parcel.to);
        if listed.is_empty() || !self.up[parcel.from] {
            self.effects.released.push(parcel.frame);
            return 0;
        }
        match parcel.to {
            None => self.draws.all(purpose, parcel.from, kind, n, &mut self.drawn),
            Some(to) => self.drawn[to] = self.draws.one(purpose, parcel.from, to, kind, n),
        }
        let (line_ns, in_ns) = self.lines_ns(parcel.bytes);
        let flight = self.flights.start(parcel.frame, parcel.from, kind, n, (line_ns, in_ns));
        let launch = Launch { parcel, flight, line_ns, purpose, n };
        let (count, first) = (listed.len(), listed.start);
        // With little bandwidth the first copy leaves first: everyone is first in turn.
        let turn = if self.bandwidth_bps.is_none() { 0 } else { (n % count as u64) as usize };
        for at in 0..count {
            let at = if at + turn < count { at + turn } else { at + turn - count };
            let list = &self.streams.list_of(parcel.from)[first..];
            let no = list[at].no;
            if let Some(soon) = list.get(at + STREAMS_AHEAD) {
                prefetch_index(&self.streams.hot, soon.no as usize);
            }
            self.launch(now, no, &launch);
        }
        self.take_off(flight)
    }

    /// One copy of a frame goes out on a stream.
    #[inline]
    fn launch(&mut self, now: Time, no: u32, launch: &Launch) {
        let Launch { parcel, flight, line_ns, purpose, n } = *launch;
        let stream = &mut self.streams.hot[no as usize];
        let draw = self.drawn[usize::from(stream.receiver)];
        let path = self.paths.path(stream.path);
        if stream.outstanding >= self.high_water_mark {
            // What is merely on the wire waits in no queue of the sender's.
            let narrow = path.bandwidth_bps.is_some() || self.egress[parcel.from].busy(now);
            if narrow || stream.gate != Gate::Open {
                self.effects.frames_cut += 1;
                return;
            }
        }
        let mut delay = Span(u64::from(stream.base_us)) + path.latency.sample(draw);
        let mut left = now;
        if line_ns > 0 {
            let lane = &mut self.egress[parcel.from];
            match self.queue_full {
                QueueFull::Wait => {
                    if lane.full(now) {
                        // Lost at first. Sent again it takes its time behind the others all the same.
                        self.effects.tcp_lost += 1;
                        delay = delay + path.retransmissions(now, stream.base_us, 1);
                    }
                    left = lane.pass(now, line_ns);
                }
                QueueFull::Drop => {
                    let base_us = stream.base_us;
                    let (at, drops) = lane.pass_or_drop(now, line_ns, |round| path.retransmit_after(base_us, round));
                    self.effects.tcp_lost += u64::from(drops);
                    left = at;
                }
            }
        }
        if path.may_lose(draw as u32, parcel.bytes) {
            let key =
                path::SegmentKey { purpose, from: parcel.from, to: stream.receiver.into(), kind: parcel.kind as u8, n };
            let when = burst::When { now, sent: left };
            let (draws, bytes) = (&self.draws, parcel.bytes);
            let losses = self.bursts.losses(draws, path, stream.base_us, when, key, draw as u32, bytes);
            self.effects.tcp_lost += u64::from(losses.segments);
            delay = delay + path.retransmissions(left, stream.base_us, losses.rounds);
        }
        if let Some(bps) = path.bandwidth_bps {
            let own_lane = &mut self.streams.cold[no as usize].own_lane;
            left = own_lane.pass_until(left, time_of(parcel.bytes, bps), path.narrow_until);
        }
        let arrival = (left + Span(delay.0.max(1))).0.max(stream.last_arrival + 1);
        stream.last_arrival = arrival;
        stream.outstanding += 1;
        self.flights.add(flight, Entry::new(Time(arrival), stream.receiver, no, stream.epoch));
    }

    /// How long so many bytes take through a sender's bandwidth, and through a receiver's.
    fn lines_ns(&self, bytes: u64) -> (u64, u64) {
        let line = |bps: Option<u64>| bps.map_or(0, |bps| time_of(bytes, bps));
        (line(self.bandwidth_bps), line(self.inwards_bps))
    }

    /// All copies of a flight are out: puts them in order and schedules the first. Returns how many there are.
    fn take_off(&mut self, flight: u32) -> u64 {
        match self.flights.take_off(flight) {
            Some((copies, at, tie)) => {
                self.effects.scheduled.push(Scheduled { at, tie, event: NetEvent(Due::Flight(flight)) });
                copies
            }
            None => {
                self.effects.released.push(self.flights.cancel(flight));
                0
            }
        }
    }

    /// Handles an event that is due.
    pub fn step(&mut self, now: Time, event: NetEvent) -> Step {
        match event.0 {
            Due::Flight(flight) => self.on_arrival(now, flight),
            Due::Inbox { receiver, turn } => self.on_inbox(now, receiver, turn),
            Due::Drain { stream, turn } => self.on_drain(now, stream, turn),
            Due::Attempt { stream, turn } => self.on_attempt(now, stream, turn),
            Due::Established { stream, turn } => self.on_established(now, stream, turn),
            Due::Subscribed { stream, epoch } => self.on_subscribed(now, stream, epoch),
            Due::Broken { stream, turn } => self.on_broken(now, stream, turn),
            Due::Forget { stream, turn } => self.on_forget(now, stream, turn),
        }
    }

    /// After an event was handled: where the next copies of the same broadcast will come in. For whoever can prepare for it; the stream
    /// of the copy after the next is fetched here.
    #[must_use]
    #[inline]
    pub fn upcoming(&self, event: NetEvent) -> Option<Upcoming> {
        let Due::Flight(flight) = event.0 else { return None };
        let (next, after) = self.flights.upcoming(flight);
        if let Some(after) = after.filter(|after| !after.is_datagram()) {
            prefetch_index(&self.streams.hot, after.stream as usize);
        }
        let next = next?;
        let (from, _frame) = self.flights.what(flight);
        let link = if next.is_datagram() { Link::BEACON } else { self.streams.hot[next.stream as usize].link };
        Some(Upcoming { from, to: next.receiver().into(), link, after: after.map(|after| after.receiver().into()) })
    }

    /// The next copy of a flight is where it should be.
    fn on_arrival(&mut self, now: Time, flight: u32) -> Step {
        let (entry, again) = self.flights.next(flight);
        debug_assert_eq!(entry.at(), now);
        let heard = if entry.is_datagram() {
            self.datagram_arrives(flight, entry)
        } else {
            self.frame_arrives(now, flight, entry)
        };
        Step { heard, again }
    }

    /// One copy is delivered or lost.
    #[inline]
    fn resolve(&mut self, flight: u32) {
        if let Some(frame) = self.flights.resolve(flight) {
            self.effects.released.push(frame);
        }
    }

    /// Partitions begin and end: `reaches[from][to]` is whether the network carries anything that way.
    pub fn set_reaches(&mut self, now: Time, reaches: &[Vec<bool>]) {
        assert!(reaches.len() == self.n && reaches.iter().all(|row| row.len() == self.n), "a row and column per node");
        for (from, row) in reaches.iter().enumerate() {
            self.reaches[from * self.n..][..self.n].copy_from_slice(row);
        }
        for no in 0..self.streams.hot.len() as u32 {
            self.reach_changed(now, no);
        }
    }

    /// Makes the links of an override worse, until [`Network::clear_override`]. Where several overlap, the greatest `id`
    /// that says something of delay, of loss, or of bandwidth decides about it. What is under way is not changed.
    pub fn set_override(&mut self, id: usize, links: Override) {
        self.paths.set_override(id, links);
        self.streams.set_paths(&self.paths);
    }

    /// Ends an override.
    pub fn clear_override(&mut self, id: usize) {
        self.paths.clear_override(id);
        self.streams.set_paths(&self.paths);
    }

    /// Whether frames and their acknowledgements pass between two nodes.
    fn passes(&self, a: usize, b: usize) -> bool {
        self.reaches[a * self.n + b] && self.reaches[b * self.n + a]
    }

    fn schedule(&mut self, at: Time, tie: u64, due: Due) {
        self.effects.scheduled.push(Scheduled { at, tie, event: NetEvent(due) });
    }
}

/// The bandwidth of a node inwards.
fn inwards(spec: &NetworkSpec) -> Option<u64> {
    spec.download_bps.or(spec.bandwidth_bps)
}

#[cfg(test)]
mod tests;
