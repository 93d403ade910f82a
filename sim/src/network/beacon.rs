//! Datagrams: no order, no second try, and only their own direction matters.

use marlos::id::Link;
use marlos::time::{Span, Time};
use marlos::units::Ppm;

use super::burst::When;
use super::flight::Entry;
use super::lane::Lane;
use super::latency::LatencyTable;
use super::{Delivery, FrameNo, Heard, Network};
use crate::draw::{Draws, Purpose, below};
use crate::observe::Mishap;
use crate::scenario::{NetworkSpec, NodeNo, QueueFull};

/// What happens to datagrams besides delay and loss.
#[derive(Clone, Debug)]
pub(super) struct Datagrams {
    duplicate: Ppm,
    reorder: Ppm,
    held_up: Option<LatencyTable>,
    corrupt: Ppm,
    undetected: Ppm,
}

/// A draw that decides about one datagram on one way.
#[derive(Clone, Copy)]
enum Question {
    Duplicated = 0,
    DelayOfDuplicate = 1,
    Reordered = 2,
    HeldUpFor = 3,
    Corrupted = 4,
    Undetected = 5,
    ChangedTo = 6,
}

/// Which datagram, and on which way.
#[derive(Clone, Copy)]
struct Which {
    from: NodeNo,
    to: NodeNo,
    n: u64,
}

impl Which {
    fn draw(self, draws: &Draws, question: Question) -> u64 {
        draws.one(Purpose::Datagram, self.from, self.to, question as u8, self.n)
    }

    /// Whether it is one of this share.
    fn hit(self, draws: &Draws, question: Question, share: Ppm) -> bool {
        share.0 > 0 && below(self.draw(draws, question), u64::from(Ppm::ONE.0)) < u64::from(share.0)
    }
}

impl Datagrams {
    pub fn new(spec: &NetworkSpec) -> Datagrams {
        Datagrams {
            duplicate: spec.duplicate,
            reorder: spec.reorder.as_ref().map_or(Ppm(0), |reorder| reorder.share),
            held_up: spec.reorder.as_ref().map(|reorder| LatencyTable::new(&reorder.by)),
            corrupt: spec.corrupt,
            undetected: spec.undetected,
        }
    }
}

impl Network {
    /// Sends a datagram to everyone, where the network has multicast, and to these hosts. Returns how many datagrams the node
    /// sent: a multicast is one. A host that hears both hears one.
    pub fn beacon(&mut self, now: Time, from: NodeNo, frame: FrameNo, bytes: u64, hosts: &[NodeNo]) -> u64 {
        let n = self.beacons[from];
        self.beacons[from] += 1;
        self.draws.all(Purpose::Beacon, from, 0, n, &mut self.drawn);
        let lines_ns = self.lines_ns(bytes);
        let flight = self.flights.start(frame, from, 0, n, lines_ns);
        if self.queue_full == QueueFull::Drop {
            self.egress[from].enqueue_again(now);
        }
        let mut sent = 0;
        let mut leave = |lane: &mut Lane| {
            sent += 1;
            // A full queue drops it.
            if lane.full(now) { None } else { Some(lane.pass(now, lines_ns.0)) }
        };
        let multicast = self.multicast.then(|| leave(&mut self.egress[from]));
        for to in (0..self.n).filter(|to| *to != from) {
            let unicast = hosts.contains(&to).then(|| leave(&mut self.egress[from]));
            let Some(left) = unicast.or(multicast) else { continue };
            let path = self.paths.path(self.paths.index(from, to));
            let draw = self.drawn[to];
            let (draws, bursts) = (&self.draws, &mut self.bursts);
            let mut lost = |sent| bursts.lose(draws, path, When { now, sent }, (from, to), draw as u32);
            let Some(left) = left.filter(|left| !lost(*left)) else {
                self.effects.udp_lost += 1;
                continue;
            };
            if self.reaches[from * self.n + to] {
                self.datagram_leaves(left, flight, Which { from, to, n });
            } else {
                self.effects.frames_cut += 1;
            }
        }
        self.take_off(flight);
        sent
    }

    /// A datagram that is not lost is on its way, or two are.
    fn datagram_leaves(&mut self, left: Time, flight: u32, which: Which) {
        let Which { from, to, .. } = which;
        let (draws, datagrams) = (&self.draws, &self.datagrams);
        let mut happens = |is: bool, mishap: Mishap| {
            self.effects.mishaps[mishap as usize] += u64::from(is);
            is
        };
        let base = Span(u64::from(self.paths.base_us(from, to)));
        let path = self.paths.path(self.paths.index(from, to));
        let mut delay = base + path.latency.sample(self.drawn[to]);
        if let Some(table) = &datagrams.held_up
            && happens(which.hit(draws, Question::Reordered, datagrams.reorder), Mishap::Reordered)
        {
            delay = delay + table.sample(which.draw(draws, Question::HeldUpFor));
        }
        if happens(which.hit(draws, Question::Duplicated, datagrams.duplicate), Mishap::Duplicated) {
            let delay = base + path.latency.sample(which.draw(draws, Question::DelayOfDuplicate));
            self.flights.add(flight, Entry::datagram(left + Span(delay.0.max(1)), to as u16, self.life[to], false));
        }
        let changed = happens(which.hit(draws, Question::Corrupted, datagrams.corrupt), Mishap::Corrupted);
        if changed && !which.hit(draws, Question::Undetected, datagrams.undetected) {
            return; // by the receiver's kernel, for its checksum
        }
        self.flights.add(flight, Entry::datagram(left + Span(delay.0.max(1)), to as u16, self.life[to], changed));
    }

    /// It is heard where its way is not cut, and its receiver lives and is the one it was sent to.
    pub(super) fn datagram_arrives(&mut self, flight: u32, entry: Entry) -> Option<Heard> {
        let (from, frame) = self.flights.what(flight);
        let (to, n) = (usize::from(entry.receiver()), self.flights.number(flight));
        self.resolve(flight);
        if !self.reaches[from * self.n + to] {
            self.effects.frames_cut += 1;
            return None;
        }
        let hears = self.up[to] && self.life[to] == entry.epoch;
        let which = Which { from, to, n };
        let changed = entry.is_changed().then(|| which.draw(&self.draws, Question::ChangedTo));
        hears.then_some(Heard::Frame(Delivery { from, to, link: Link::BEACON, frame, changed }))
    }
}
