//! One row per simulated second: what the plots over time are drawn from.

use hdrhistogram::Histogram;
use marlos::io::PeerState;
use marlos::time::Time;

use crate::check::views::{View, Views};
use crate::observe::{Observation, Truth};
use crate::outcome::TimelineRow;
use crate::scenario::Scenario;

const SECOND: u64 = 1_000_000;

/// Follows a run and keeps its rows.
#[derive(Clone, Debug)]
pub struct Timeline {
    rows: Vec<TimelineRow>,
    row: TimelineRow,
    /// When the row is over. What happens at the very end of the run still belongs to the last row.
    row_end: Time,
    last_second: u64,
    /// Latencies of the row, in microseconds to two digits.
    latency: Histogram<u64>,
    views: Views,
    up: Vec<bool>,
    degraded: Vec<bool>,
}

impl Timeline {
    /// Before the first event.
    #[must_use]
    pub fn new(scenario: &Scenario) -> Timeline {
        let nodes = scenario.nodes.len();
        let mut timeline = Timeline {
            rows: Vec::new(),
            row: TimelineRow::default(),
            row_end: Time(SECOND),
            last_second: scenario.duration.0.div_ceil(SECOND).saturating_sub(1),
            latency: Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("the bounds are constants"),
            views: Views::new(nodes),
            up: vec![false; nodes],
            degraded: vec![false; nodes],
        };
        timeline.set_row_end();
        timeline
    }

    /// Takes one observation, in the order in which they happened.
    #[inline]
    pub fn observe(&mut self, truth: &Truth, o: &Observation<'_>) {
        while truth.now >= self.row_end {
            self.close_row();
        }
        if let Observation::Accepted { latency, .. } = o {
            self.row.accepted += 1;
            self.latency.saturating_record(latency.as_micros());
        } else {
            self.observe_others(truth.now, o);
        }
    }

    fn observe_others(&mut self, now: Time, o: &Observation<'_>) {
        self.views.observe(now, o);
        match *o {
            Observation::NodeStarted { node, .. } => {
                self.up[node] = true;
                self.degraded[node] = false;
            }
            Observation::NodeStopped { node, .. } => {
                self.up[node] = false;
                self.degraded[node] = false;
            }
            Observation::Degraded { node, degraded } => self.degraded[node] = degraded,
            Observation::Sent { bytes, copies, .. } => self.row.bytes_sent += bytes.saturating_mul(copies),
            Observation::JobSubmitted { .. } => self.row.jobs_submitted += 1,
            Observation::JobCompleted { .. } => self.row.jobs_completed += 1,
            Observation::JobFailed { .. } => self.row.jobs_failed += 1,
            _ => {}
        }
    }

    fn close_row(&mut self) {
        let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as u64;
        let nodes = self.up.len();
        let alive = |node: usize| -> u32 {
            let is_alive =
                |peer: &usize| matches!(self.views.of(node, *peer), Some(View { state: PeerState::Alive, .. }));
            if self.up[node] { 1 + (0..nodes).filter(is_alive).map(|_| 1).sum::<u32>() } else { 0 }
        };
        let second = self.rows.len() as u64;
        let row = TimelineRow {
            second,
            latency_us_p50: self.latency.value_at_quantile(0.5),
            latency_us_p99: self.latency.value_at_quantile(0.99),
            nodes_up: count(&self.up),
            nodes_degraded: count(&self.degraded),
            alive_seen: (0..nodes).map(alive).collect(),
            ..std::mem::take(&mut self.row)
        };
        self.rows.push(row);
        self.latency.reset();
        self.set_row_end();
    }

    fn set_row_end(&mut self) {
        let second = self.rows.len() as u64;
        self.row_end = if second >= self.last_second { Time::NEVER } else { Time((second + 1) * SECOND) };
    }

    /// The rows up to the time that was reached; the last one may be of less than a second.
    #[must_use]
    pub fn finish(mut self, reached: Time) -> Vec<TimelineRow> {
        while reached >= self.row_end {
            self.close_row();
        }
        if Time(self.rows.len() as u64 * SECOND) < reached || self.row != TimelineRow::default() {
            self.close_row();
        }
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use marlos::id::JobId;
    use marlos::time::Span;
    use marlos::wire::MsgType;

    use super::*;
    use crate::check::history::{History, scenario};

    #[test]
    fn a_row_holds_what_happened_in_its_second_and_how_things_stood_at_its_end() {
        let scenario = scenario(3, "3s");
        let mut timeline = Timeline::new(&scenario);
        let mut history = History::new(&scenario);
        let job = JobId([1; 16]);
        let accepted = |latency| Observation::Accepted {
            node: 0,
            sender: 1,
            claimed: 1,
            kind: MsgType::Ping,
            frame: 0,
            latency: Span::millis(latency),
        };
        let state = |peer, state| Observation::PeerState { node: 0, peer, state };
        for (ms, o) in [
            (0, Observation::NodeStarted { node: 0, restart: false }),
            (0, Observation::NodeStarted { node: 1, restart: false }),
            (100, state(1, PeerState::Alive)),
            (150, accepted(10)),
            (160, accepted(10)),
            (170, accepted(90)),
            (999, Observation::Degraded { node: 1, degraded: true }),
            (1_000, Observation::JobSubmitted { node: 0, job }),
            (1_200, Observation::Sent { node: 0, kind: MsgType::JobBroadcast, bytes: 100, copies: 2 }),
            (1_250, accepted(20)),
            (1_300, state(2, PeerState::Suspect)),
            (1_400, state(1, PeerState::Dead)),
            (3_000, Observation::NodeStopped { node: 1, how: crate::observe::Stop::CrashKept }),
        ] {
            history.at(ms, o, |truth, o| timeline.observe(truth, o));
        }
        let rows = timeline.finish(Time(3_000_000));
        let near = |value: u64, expected: u64| value.abs_diff(expected) * 100 <= expected;
        assert!(near(rows[0].latency_us_p50, 10_000) && near(rows[0].latency_us_p99, 90_000), "{:?}", rows[0]);
        assert!(near(rows[1].latency_us_p50, 20_000) && near(rows[1].latency_us_p99, 20_000), "{:?}", rows[1]);
        let short: Vec<_> = rows
            .iter()
            .map(|r| {
                (r.second, r.accepted, r.bytes_sent, r.jobs_submitted, r.nodes_up, r.nodes_degraded, &r.alive_seen[..])
            })
            .collect();
        assert_eq!(
            short,
            [
                (0, 3, 0, 0, 2, 1, &[2, 1, 0][..]),
                (1, 1, 200, 1, 2, 1, &[1, 1, 0][..]),
                (2, 0, 0, 0, 1, 0, &[1, 0, 0][..]),
            ]
        );
    }

    #[test]
    fn a_run_that_ends_early_has_rows_only_up_to_there() {
        let scenario = scenario(1, "60s");
        let mut timeline = Timeline::new(&scenario);
        let mut history = History::new(&scenario);
        history.at(0, Observation::NodeStarted { node: 0, restart: false }, |truth, o| timeline.observe(truth, o));
        assert_eq!(timeline.clone().finish(Time(2_500_000)).len(), 3);
        assert_eq!(timeline.finish(Time(2_000_000)).len(), 2);
    }
}
