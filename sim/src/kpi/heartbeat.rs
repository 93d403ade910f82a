//! `heartbeat_interval`: from a PING to the next PING of that node.

use marlos::time::{Span, Time};

use super::samples::Samples;
use crate::scenario::{NodeNo, Scenario};

/// The heartbeats of every node.
#[derive(Clone, Debug)]
pub(super) struct Heartbeats {
    warmup: Time,
    nodes: Vec<Beat>,
    /// What every interval is scaled to: the setting of node 0.
    reference: Span,
    pub samples: Samples,
}

#[derive(Clone, Copy, Debug)]
struct Beat {
    interval: Span,
    /// Since when it should have been heard: its last PING, its start, or the end of its pause.
    since: Time,
    /// Whether that was a PING.
    pinged: bool,
    live: bool,
}

impl Heartbeats {
    pub fn new(scenario: &Scenario) -> Heartbeats {
        let beat = |interval| Beat { interval, since: Time(0), pinged: false, live: false };
        let nodes: Vec<Beat> = scenario.nodes.iter().map(|node| beat(node.config.heartbeat_interval)).collect();
        let reference = nodes.first().map_or(Span::secs(3), |beat| beat.interval);
        Heartbeats { warmup: scenario.warmup, nodes, reference, samples: Samples::new() }
    }

    /// The interval that is asked for, in seconds.
    pub fn reference_s(&self) -> f64 {
        self.reference.as_micros() as f64 / 1e6
    }

    /// Whether some intervals were scaled.
    pub fn mixed(&self) -> bool {
        self.nodes.iter().any(|beat| beat.interval != self.reference)
    }

    /// A start, a stop or a pause breaks the sequence.
    pub fn on_break(&mut self, now: Time, node: NodeNo, live: bool) {
        let beat = &mut self.nodes[node];
        *beat = Beat { since: now, pinged: false, live, ..*beat };
    }

    pub fn on_pinged(&mut self, now: Time, node: NodeNo) {
        let beat = &mut self.nodes[node];
        if beat.pinged && beat.since >= self.warmup {
            self.samples.record(scaled(now.since(beat.since), beat.interval, self.reference));
        }
        *beat = Beat { since: now, pinged: true, ..*beat };
    }

    /// A live node that has been silent for two intervals owes a PING.
    pub fn finish(&mut self, now: Time) {
        for beat in &self.nodes {
            let silent = now.since(beat.since.max(self.warmup));
            if beat.live && silent >= beat.interval.times(2) {
                self.samples.miss(scaled(silent, beat.interval, self.reference));
            }
        }
    }
}

/// An interval as it would be if its node were set like node 0.
fn scaled(measured: Span, interval: Span, reference: Span) -> u64 {
    if interval == reference || interval == Span::ZERO {
        return measured.as_micros();
    }
    let scaled =
        u128::from(measured.as_micros()) * u128::from(reference.as_micros()) / u128::from(interval.as_micros());
    u64::try_from(scaled).unwrap_or(u64::MAX)
}
