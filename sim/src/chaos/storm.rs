//! What goes wrong in a run: a random timeline over all kinds of faults, with some kinds fully off (swarm testing: Groce et
//! al., "Swarm Testing", 2012), overlapping freely, and over by the end of the storm.
//!
//! Sizes and lengths are skewed: mostly one node and a moment, at times everyone and half a minute. A third of the faults
//! begin within a moment of where another began or ended, as what is under way then is what breaks.

mod scene;

use marlos::Config;
use marlos::identity::chain::OVERLAP;
use marlos::time::{Span, Time};
use marlos::units::Ppm;

use super::cast::Cast;
use super::dice::{Dice, What};
use crate::byzantine::settings::{Key, Setting, Takes};
use crate::byzantine::{BEHAVIOURS, Behaviour};
use crate::scenario::{CrashConnection, Fault, FaultKind, LatencyLaw, NodeNo, Storage};

/// Faults of a run at most, before the repeated ones are counted.
const FAULTS_MOST: u64 = 24;
/// Segments lost at most, in millionths. With every second one lost, the back-off of TCP - which doubles each time, and which the model's
/// connections wait for, while real ones are given up - stands still for longer than the settle time after the fault is over.
const LOSS_MOST: u64 = 200_000;
/// How many times as much, or as often, as usual a misbehaving node does something, at most.
const MORE: u64 = 4;
/// Misbehaviours of a run at most.
const BEHAVIOURS_MOST: u64 = 6;
/// The shortest fault.
const MOMENT: Span = Span::millis(20);
/// Who leaves needs its time for the goodbye.
const GOODBYE: Span = Span::millis(400);
/// The first fault: nothing has started before.
const FIRST: Span = Span::millis(200);

/// A kind of fault that a run may do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named as the faults are")]
pub enum Kind {
    Partition,
    OneWay,
    Link,
    Crash,
    Pause,
    Leave,
    Join,
    Slow,
    Rotate,
    Clock,
    Byzantine,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 11] = [
        Kind::Partition,
        Kind::OneWay,
        Kind::Link,
        Kind::Crash,
        Kind::Pause,
        Kind::Leave,
        Kind::Join,
        Kind::Slow,
        Kind::Rotate,
        Kind::Clock,
        Kind::Byzantine,
    ];

    /// The kind of a fault.
    #[must_use]
    pub fn of(fault: &FaultKind) -> Kind {
        match fault {
            FaultKind::Partition { .. } => Kind::Partition,
            FaultKind::OneWay { .. } => Kind::OneWay,
            FaultKind::Link { .. } => Kind::Link,
            FaultKind::Crash { .. } => Kind::Crash,
            FaultKind::Pause { .. } => Kind::Pause,
            FaultKind::Leave { .. } => Kind::Leave,
            FaultKind::Join { .. } => Kind::Join,
            FaultKind::Rotate { .. } => Kind::Rotate,
            FaultKind::Clock { .. } => Kind::Clock,
            FaultKind::Byzantine { .. } => Kind::Byzantine,
            FaultKind::Slow { .. } => Kind::Slow,
        }
    }

    /// As scenarios name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Partition => "partition",
            Kind::OneWay => "one_way",
            Kind::Link => "link",
            Kind::Crash => "crash",
            Kind::Pause => "pause",
            Kind::Leave => "leave",
            Kind::Join => "join",
            Kind::Rotate => "rotate",
            Kind::Clock => "clock",
            Kind::Byzantine => "byzantine",
            Kind::Slow => "slow",
        }
    }
}

/// The kinds that a run has: each is on or off by a draw of its own, and at least one is on.
pub(super) fn kinds(dice: &Dice) -> Vec<Kind> {
    let on: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| dice.one_in(What::KindOn, *kind as usize, 2)).collect();
    if on.is_empty() { vec![dice.of(What::Kind, 0, &Kind::ALL)] } else { on }
}

/// The timeline, sorted by time. Every fault is over by `end`, but for nodes that are gone for good. All nodes have this configuration, or
/// much the same.
pub(super) fn faults(dice: &Dice, cast: &Cast, kinds: &[Kind], end: Time, config: &Config) -> Vec<Fault> {
    let (busy, rotated) = (vec![Vec::new(); cast.nodes], vec![Vec::new(); cast.nodes]);
    // Two clocks that are as far apart as they may be are still heard by a third.
    let clock_room = vec![config.clock_sync_tolerance.0 / 3; cast.nodes];
    let mut storm = Storm { dice, cast, end, busy, rotated, clock_room, faults: Vec::new(), moments: Vec::new() };
    storm.join();
    storm.lose_for_good(kinds);
    if kinds.contains(&Kind::Byzantine) {
        storm.misbehave();
    }
    let echoes = kinds.contains(&Kind::Byzantine) && kinds.contains(&Kind::Crash) && !cast.suspects.is_empty();
    if echoes && dice.one_in(What::Scene, 500, 2) {
        storm.echoes();
    }
    let unheard = kinds.contains(&Kind::OneWay) && dice.one_in(What::Scene, 0, 3) && storm.unheard(config.lease);
    let brewing: Vec<Kind> =
        kinds.iter().copied().filter(|kind| !matches!(kind, Kind::Join | Kind::Byzantine)).collect();
    if !brewing.is_empty() && !unheard {
        for n in 0..usize::try_from(dice.skewed(What::Faults, 0, 1, FAULTS_MOST)).expect("few") {
            storm.add(n, dice.of(What::Kind, n + 1, &brewing));
        }
    }
    storm.faults.sort_by_key(|fault| fault.at);
    storm.faults
}

struct Storm<'d> {
    dice: &'d Dice,
    cast: &'d Cast,
    end: Time,
    /// When each node is down, paused or absent: a scenario does not let two of these overlap.
    busy: Vec<Vec<(Time, Time)>>,
    /// When each node gets another key, which it may every minute.
    rotated: Vec<Vec<Time>>,
    /// By how much each node's clock may still be set, in microseconds: one that is off by more than the tolerance is heard by nobody,
    /// and hears nobody by whom it could be set right.
    clock_room: Vec<u64>,
    faults: Vec<Fault>,
    /// When faults begin and end.
    moments: Vec<Time>,
}

impl Storm<'_> {
    fn join(&mut self) {
        for (n, node) in self.cast.late.iter().enumerate() {
            let at = self.moment_of(1_000 + n);
            self.busy[*node].push((Time(0), at));
            self.moments.push(at);
            self.faults.push(Fault { at, until: None, kind: FaultKind::Join { nodes: vec![*node] } });
        }
    }

    /// Nodes that never come back: a quorum without them is left, and is healed.
    fn lose_for_good(&mut self, kinds: &[Kind]) {
        let ways = [Kind::Crash, Kind::Pause, Kind::Leave].into_iter().filter(|kind| kinds.contains(kind));
        let ways: Vec<Kind> = ways.collect();
        for (n, node) in self.cast.gone.iter().enumerate() {
            if ways.is_empty() {
                return;
            }
            let n = 2_000 + n;
            let at = self.moment_of(n).max(self.free_from(*node));
            let kind = match self.dice.of(What::Kind, n, &ways) {
                Kind::Pause => FaultKind::Pause { nodes: vec![*node] },
                Kind::Leave => FaultKind::Leave { nodes: vec![*node] },
                _ => self.crash(n, vec![*node]),
            };
            self.busy[*node].push((at, Time::NEVER));
            self.moments.push(at);
            self.faults.push(Fault { at, until: None, kind });
        }
    }

    /// Suspects misbehave in a few ways, one or several of them together, half of the time until the end.
    fn misbehave(&mut self) {
        if self.cast.suspects.is_empty() {
            return;
        }
        for n in 0..usize::try_from(self.dice.skewed(What::Behaviour, 0, 1, BEHAVIOURS_MOST)).expect("few") {
            let number = 3_000 + n;
            let count = self.dice.between(What::HowMany, number, 1, self.cast.suspects.len() as u64);
            let count = usize::try_from(count).expect("few");
            let nodes = self.dice.some(What::Who, number, count, &self.cast.suspects);
            let spec = self.dice.of(What::Behaviour, 1 + n, &BEHAVIOURS);
            let keys = spec.keys.iter().enumerate();
            let settings = keys.map(|(at, key)| self.setting(n * 32 + at, key, &nodes)).collect();
            let at = self.moment_of(number);
            let stays = self.dice.one_in(What::Behaviour, 500 + n, 2);
            let lasts = self.dice.span(What::Lasts, number, MOMENT, self.end.since(at));
            let kind = FaultKind::Byzantine { nodes, behaviour: Behaviour::new(spec, settings) };
            self.faults.push(Fault { at, until: (!stays).then_some(at + lasts), kind });
        }
    }

    /// A key of a behaviour: as it is unless said, or anything that it may be.
    fn setting(&self, n: usize, key: &Key, nodes: &[NodeNo]) -> Setting {
        if self.dice.one_in(What::Setting, n, 2) {
            return key.unless_said();
        }
        let n = n + 1_000;
        match key.takes {
            Takes::Share(_) => {
                Setting::Share(Ppm(u32::try_from(self.dice.between(What::Setting, n, 1, 100)).expect("few") * 10_000))
            }
            // Not so much more than usual that the run is a flood and nothing else.
            Takes::Duration(usual, least, most) => {
                Setting::Duration(self.dice.span(What::Setting, n, least.max(Span(usual.0 / MORE)), most))
            }
            Takes::Whole(usual, least, most) => {
                let most = most.min(usual.saturating_mul(MORE)).max(least).max(1);
                Setting::Whole(self.dice.skewed(What::Setting, n, least.max(1), most))
            }
            Takes::Choice(names) => Setting::Choice(self.dice.below(What::Setting, n, names.len())),
            Takes::Nodes => {
                let others: Vec<NodeNo> = self.cast.all().into_iter().filter(|node| !nodes.contains(node)).collect();
                let count = self.dice.skewed(What::Setting, n, 1, others.len() as u64);
                Setting::Nodes(self.dice.some(What::Setting, n + 1, usize::try_from(count).expect("few"), &others))
            }
        }
    }

    fn free_from(&self, node: NodeNo) -> Time {
        self.busy[node].iter().map(|(_, until)| *until).max().unwrap_or(Time(0)).min(self.end)
    }

    /// Whatever the nodes are doing at the time.
    fn rotate(&mut self, n: usize) {
        let at = self.moment_of(n);
        let mut nodes = self.who(2 * n);
        let apart = |other: &Time| at.since(*other).max(other.since(at)) >= OVERLAP;
        nodes.retain(|node| self.rotated[*node].iter().all(apart));
        nodes.iter().for_each(|node| self.rotated[*node].push(at));
        if !nodes.is_empty() {
            self.moments.push(at);
            self.faults.push(Fault { at, until: None, kind: FaultKind::Rotate { nodes } });
        }
    }

    fn add(&mut self, n: usize, kind: Kind) {
        if kind == Kind::Rotate {
            return self.rotate(n);
        }
        let shortest = if kind == Kind::Leave { GOODBYE } else { MOMENT };
        let at = self.moment_of(n).min(Time(self.end.0 - shortest.as_micros()));
        let room = self.end.since(at);
        let lasts = if self.dice.one_in(What::Lasts, n + 500, 3) {
            Span(
                self.dice.between(
                    What::Lasts,
                    n + 1_000,
                    shortest.as_millis(),
                    room.as_millis().max(shortest.as_millis()),
                ) * 1_000,
            )
        } else {
            self.dice.span(What::Lasts, n, shortest, room)
        };
        let fault = self.kind(n, kind);
        let times =
            if self.dice.one_in(What::Repeat, n, 8) { self.dice.between(What::Repeat, n + 500, 2, 8) } else { 1 };
        for turn in 0..times {
            // As long between two of them as each lasts.
            let at = at + lasts.times(2 * turn);
            if at + lasts > self.end {
                return;
            }
            self.push(at, at + lasts, fault.clone());
        }
    }

    /// Adds a fault, without the nodes that are down, paused or absent at the time.
    fn push(&mut self, at: Time, until: Time, mut kind: FaultKind) {
        if let FaultKind::Crash { nodes, .. } | FaultKind::Pause { nodes } | FaultKind::Leave { nodes } = &mut kind {
            nodes.retain(|node| self.busy[*node].iter().all(|(from, to)| *to < at || until < *from));
            if nodes.is_empty() {
                return;
            }
            nodes.iter().for_each(|node| self.busy[*node].push((at, until)));
        }
        if let FaultKind::Clock { nodes, skew_us, jump_us, .. } = &mut kind {
            let off = skew_us.unsigned_abs() + jump_us.unsigned_abs();
            nodes.retain(|node| self.clock_room[*node] >= off);
            if nodes.is_empty() {
                return;
            }
            nodes.iter().for_each(|node| self.clock_room[*node] -= off);
        }
        self.moments.extend([at, until]);
        self.faults.push(Fault { at, until: Some(until), kind });
    }

    /// When something begins: anywhere, or near where something else began or ended.
    fn moment_of(&self, n: usize) -> Time {
        let last = self.end.0 - GOODBYE.as_micros();
        let anywhere = || self.dice.between(What::At, n, FIRST.as_micros() / 1_000, last / 1_000) * 1_000;
        let at = if self.moments.is_empty() || !self.dice.one_in(What::Near, n, 3) {
            anywhere()
        } else {
            let other = self.dice.of(What::Near, n + 500, &self.moments).0;
            let by = self.dice.skewed(What::Near, n + 1_000, 1, 1_000) * 1_000;
            if self.dice.one_in(What::Near, n + 1_500, 2) { other + by } else { other.saturating_sub(by) }
        };
        Time(at.clamp(FIRST.as_micros(), last))
    }

    fn kind(&self, n: usize, kind: Kind) -> FaultKind {
        match kind {
            Kind::Partition => FaultKind::Partition { groups: self.groups(n) },
            Kind::OneWay => FaultKind::OneWay { from: self.who(2 * n), to: self.who(2 * n + 1) },
            Kind::Link => self.link(n),
            Kind::Crash => self.crash(n, self.who(2 * n)),
            Kind::Pause => FaultKind::Pause { nodes: self.who(2 * n) },
            Kind::Leave => FaultKind::Leave { nodes: self.who(2 * n) },
            Kind::Slow => FaultKind::Slow {
                nodes: self.who(2 * n),
                factor_millionths: self.dice.skewed(What::Slow, n, 2, 10) * 1_000_000,
            },
            Kind::Clock => self.clock(n),
            Kind::Join | Kind::Byzantine | Kind::Rotate => {
                unreachable!("who joins and who misbehaves is drawn with the cast, and a rotation takes no time")
            }
        }
    }

    /// Mostly one node, at times all.
    fn who(&self, n: usize) -> Vec<NodeNo> {
        let count = self.dice.skewed(What::HowMany, n, 1, self.cast.nodes as u64);
        self.dice.some(What::Who, n, usize::try_from(count).expect("few"), &self.cast.all())
    }

    /// Two groups, at times three; mostly uneven.
    fn groups(&self, n: usize) -> Vec<Vec<NodeNo>> {
        let nodes = self.cast.nodes;
        let most = if nodes > 1 { nodes - 1 } else { 1 };
        let size = self.dice.between(What::HowMany, 2 * n, 1, most as u64);
        let first = self.dice.some(What::Who, 2 * n, usize::try_from(size).expect("few"), &self.cast.all());
        let rest: Vec<NodeNo> = self.cast.all().into_iter().filter(|node| !first.contains(node)).collect();
        if rest.len() < 2 || !self.dice.one_in(What::Groups, n, 3) {
            return vec![first];
        }
        let second = self.dice.some(What::Groups, n + 500, rest.len() / 2, &rest);
        vec![first, second]
    }

    fn link(&self, n: usize) -> FaultKind {
        let which = 1 + self.dice.below(What::Latency, n, 7);
        let slow = self.dice.span(What::Latency, n + 500, Span::millis(5), Span::secs(2));
        let law = LatencyLaw::Lognormal { median: slow, p99: slow.times(3) };
        let loss = Ppm(u32::try_from(self.dice.skewed(What::Loss, n + 1, 5_000, LOSS_MOST)).expect("below one"));
        FaultKind::Link {
            between: [self.who(2 * n), self.who(2 * n + 1)],
            latency: (which & 1 != 0).then_some(law),
            loss: (which & 2 != 0).then_some(loss),
            bandwidth_bps: (which & 4 != 0).then_some(self.dice.skewed(What::Bandwidth, n + 1, 16_000, 4_000_000)),
        }
    }

    /// Clocks that are a little off: less than what messages may be stale by.
    fn clock(&self, n: usize) -> FaultKind {
        let most = 2_000_000;
        let off = |which: usize, most: u64| {
            let off = i64::try_from(self.dice.skewed(What::Clock, n * 8 + which, 1, most)).expect("small");
            match self.dice.below(What::Clock, n * 8 + which + 4, 3) {
                0 => 0,
                1 => off,
                _ => -off,
            }
        };
        let (skew_us, drift_ppm, jump_us) = (off(0, most), off(1, 1_000), off(2, most));
        // One of them must be.
        let skew_us = if skew_us == 0 && drift_ppm == 0 && jump_us == 0 { 1_000 } else { skew_us };
        FaultKind::Clock { nodes: self.who(2 * n), skew_us, drift_ppm, jump_us }
    }

    /// Only suspects lose their store.
    fn crash(&self, n: usize, nodes: Vec<NodeNo>) -> FaultKind {
        let connection = self.dice.of(What::Reset, n, &[CrashConnection::Silent, CrashConnection::Reset]);
        let kept = [Storage::Kept, Storage::Kept, Storage::UnsyncedLost, Storage::Torn];
        let suspects: Vec<NodeNo> = nodes.iter().copied().filter(|node| self.cast.suspects.contains(node)).collect();
        if !suspects.is_empty() && self.dice.one_in(What::Storage, n, 2) {
            return FaultKind::Crash { nodes: suspects, storage: Storage::Lost, connection };
        }
        FaultKind::Crash { nodes, storage: self.dice.of(What::Storage, n + 500, &kept), connection }
    }
}
