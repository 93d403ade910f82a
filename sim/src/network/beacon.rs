//! Datagrams: no order, no second try, and only their own direction matters.

use marlos::id::Link;
use marlos::time::{Span, Time};

use super::burst::When;
use super::flight::Entry;
use super::link::{Lane, time_of};
use super::{Delivery, FrameNo, Heard, Network};
use crate::draw::Purpose;
use crate::scenario::NodeNo;

impl Network {
    /// Sends a datagram to everyone, where the network has multicast, and to these hosts. Returns how many datagrams the node
    /// sent: a multicast is one. A host that hears both hears one.
    pub fn beacon(&mut self, now: Time, from: NodeNo, frame: FrameNo, bytes: u64, hosts: &[NodeNo]) -> u64 {
        let n = self.beacons[from];
        self.beacons[from] += 1;
        self.draws.all(Purpose::Beacon, from, 0, n, &mut self.drawn);
        let line_ns = self.bandwidth_bps.map_or(0, |bps| time_of(bytes, bps));
        let flight = self.flights.start(frame, from, 0, n, line_ns);
        let mut sent = 0;
        let mut leave = |lane: &mut Lane| {
            sent += 1;
            // A full queue drops it.
            if lane.full(now) { None } else { Some(lane.pass(now, line_ns)) }
        };
        let multicast = self.multicast.then(|| leave(&mut self.egress[from]));
        for to in (0..self.n).filter(|to| *to != from) {
            let unicast = hosts.contains(&to).then(|| leave(&mut self.egress[from]));
            let Some(left) = unicast.or(multicast) else { continue };
            let path = self.paths.path(self.paths.index(from, to));
            let draw = self.drawn[to];
            let way = (from, to);
            let bursts = &mut self.bursts;
            let mut lost = |sent| bursts.lose(&self.draws, path, When { now, sent }, way, draw as u32);
            let Some(left) = left.filter(|left| !lost(*left)) else {
                self.effects.udp_lost += 1;
                continue;
            };
            if !self.reaches[from * self.n + to] {
                self.effects.frames_cut += 1;
            } else {
                let delay = Span(u64::from(self.paths.base_us(from, to))) + path.latency.sample(draw);
                let arrival = left + Span(delay.0.max(1));
                self.flights.add(flight, Entry::datagram(arrival, to as u16, self.life[to]));
            }
        }
        self.take_off(flight);
        sent
    }

    /// It is heard where its way is not cut, and its receiver lives and is the one it was sent to.
    pub(super) fn datagram_arrives(&mut self, flight: u32, entry: Entry) -> Option<Heard> {
        let (from, frame) = self.flights.what(flight);
        let to = usize::from(entry.receiver());
        self.resolve(flight);
        if !self.reaches[from * self.n + to] {
            self.effects.frames_cut += 1;
            return None;
        }
        let hears = self.up[to] && self.life[to] == entry.epoch;
        hears.then_some(Heard::Frame(Delivery { from, to, link: Link::BEACON, frame }))
    }
}
