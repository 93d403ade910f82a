//! Frames under way: one flight per published frame, with the arrivals of its copies in order. Flights are pooled, so that
//! a warm network allocates nothing.

use marlos::time::Time;

use super::{FrameNo, tie};
use crate::scenario::NodeNo;

/// All flights, by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Flights {
    flights: Vec<Flight>,
    free: Vec<u32>,
}

#[derive(Clone, Debug, Default)]
struct Flight {
    frame: FrameNo,
    from: u16,
    kind: u8,
    n: u64,
    /// How long a copy takes through its sender's bandwidth and through a receiver's.
    lines_ns: (u64, u64),
    /// Which copy arrives next.
    next: usize,
    /// Copies neither delivered nor lost.
    open: u32,
    entries: Vec<Entry>,
}

/// One copy. Sorts by arrival, receiver, and stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    /// Arrival in microseconds, and the receiver in the lowest 16 bits.
    key: u64,
    /// The stream, or [`DATAGRAM`] or [`CHANGED`].
    pub stream: u32,
    /// The stream's epoch, or the receiver's life, when it was sent.
    pub epoch: u32,
}

const DATAGRAM: u32 = u32::MAX;
/// A datagram that does not arrive as it was sent.
const CHANGED: u32 = u32::MAX - 1;

impl Entry {
    pub fn new(at: Time, receiver: u16, stream: u32, epoch: u32) -> Entry {
        assert!(at.0 < 1 << 48, "arrival at {at}: simulated time ends after eight years");
        Entry { key: (at.0 << 16) | u64::from(receiver), stream, epoch }
    }

    pub fn datagram(at: Time, receiver: u16, life: u32, changed: bool) -> Entry {
        Entry::new(at, receiver, if changed { CHANGED } else { DATAGRAM }, life)
    }

    pub fn at(self) -> Time {
        Time(self.key >> 16)
    }

    pub fn receiver(self) -> u16 {
        (self.key & 0xffff) as u16
    }

    pub fn is_datagram(self) -> bool {
        self.stream >= CHANGED
    }

    pub fn is_changed(self) -> bool {
        self.stream == CHANGED
    }
}

impl Flights {
    pub fn start(&mut self, frame: FrameNo, from: NodeNo, kind: u8, n: u64, lines_ns: (u64, u64)) -> u32 {
        let no = self.free.pop().unwrap_or_else(|| {
            self.flights.push(Flight::default());
            self.flights.len() as u32 - 1
        });
        let flight = &mut self.flights[no as usize];
        debug_assert!(flight.entries.is_empty() && flight.open == 0, "a free flight is empty");
        (flight.frame, flight.from, flight.kind) = (frame, from as u16, kind);
        (flight.n, flight.lines_ns, flight.next) = (n, lines_ns, 0);
        no
    }

    #[inline]
    pub fn add(&mut self, no: u32, entry: Entry) {
        self.flights[no as usize].entries.push(entry);
    }

    /// Puts the copies in order. Their number, and when the first arrives, with its tie; nothing where there is none.
    pub fn take_off(&mut self, no: u32) -> Option<(u64, Time, u64)> {
        let flight = &mut self.flights[no as usize];
        flight.entries.sort_unstable();
        flight.open = flight.entries.len() as u32;
        let first = flight.entries.first()?;
        Some((flight.entries.len() as u64, first.at(), flight.tie_of(first)))
    }

    /// A flight without a copy is no flight.
    pub fn cancel(&mut self, no: u32) -> FrameNo {
        assert!(self.flights[no as usize].entries.is_empty(), "only an empty flight is cancelled");
        self.free.push(no);
        self.flights[no as usize].frame
    }

    /// The copy that arrives now, and when the one after it does.
    #[inline]
    pub fn next(&mut self, no: u32) -> (Entry, Option<(Time, u64)>) {
        let flight = &mut self.flights[no as usize];
        let entry = flight.entries[flight.next];
        flight.next += 1;
        (entry, flight.entries.get(flight.next).map(|next| (next.at(), flight.tie_of(next))))
    }

    /// The copy that arrives next, and the one after it.
    #[inline]
    pub fn upcoming(&self, no: u32) -> (Option<Entry>, Option<Entry>) {
        let flight = &self.flights[no as usize];
        (flight.entries.get(flight.next).copied(), flight.entries.get(flight.next + 1).copied())
    }

    /// Who sent it, and the frame.
    #[inline]
    pub fn what(&self, no: u32) -> (NodeNo, FrameNo) {
        let flight = &self.flights[no as usize];
        (flight.from.into(), flight.frame)
    }

    /// How many of its kind went this way before it.
    pub fn number(&self, no: u32) -> u64 {
        self.flights[no as usize].n
    }

    /// How long a copy takes through its sender's bandwidth and through a receiver's, in nanoseconds.
    #[inline]
    pub fn lines_ns(&self, no: u32) -> (u64, u64) {
        self.flights[no as usize].lines_ns
    }

    /// One copy is delivered or lost. With the last one the flight is over, and its frame is returned.
    #[inline]
    pub fn resolve(&mut self, no: u32) -> Option<FrameNo> {
        let flight = &mut self.flights[no as usize];
        flight.open -= 1;
        if flight.open > 0 {
            return None;
        }
        debug_assert_eq!(flight.next, flight.entries.len(), "a copy is still to arrive");
        flight.entries.clear();
        self.free.push(no);
        Some(flight.frame)
    }
}

impl Flight {
    #[inline]
    fn tie_of(&self, entry: &Entry) -> u64 {
        tie(entry.receiver().into(), self.from.into(), self.kind, self.n)
    }
}
