//! How far a run is, on stderr and for people only. It reads the wall clock, and nothing reads it.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use marlos::time::Time;

/// Redraws per second at most.
const REDRAWS_PER_SECOND: u8 = 10;
/// Events between two looks at the wall clock: at a million events a second, every four milliseconds.
const EVENTS_PER_LOOK: u64 = 4_096;

/// A bar of simulated time; nothing at all where stderr is no terminal.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    next_look: u64,
}

impl Progress {
    /// For a run of this scenario and duration.
    #[must_use]
    pub fn new(scenario: &str, duration: Time) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress::hidden();
        }
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
        Progress::on(ProgressBar::with_draw_target(Some(duration.0), target), scenario, duration)
    }

    /// One that never shows anything: sweeps, tests.
    #[must_use]
    pub fn hidden() -> Progress {
        Progress { bar: None, next_look: u64::MAX }
    }

    fn on(bar: ProgressBar, scenario: &str, duration: Time) -> Progress {
        let style = ProgressStyle::with_template("{prefix} [{bar:30}] {msg}, {eta} to go")
            .expect("the template is a constant that a test draws")
            .progress_chars("=> ");
        bar.set_style(style);
        bar.set_prefix(scenario.to_owned());
        bar.set_message(format!("0 s of {} s simulated", seconds(duration)));
        Progress { bar: Some(bar), next_look: 0 }
    }

    /// The run has reached this simulated time and has handled so many events. Costs one comparison most of the time,
    /// so it may be called after every event.
    #[inline]
    pub fn at(&mut self, now: Time, events: u64) {
        if events >= self.next_look {
            self.look(now, events);
        }
    }

    /// Runs `print` with the bar out of the way, so that log lines do not end up inside it.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    #[cold]
    fn look(&mut self, now: Time, events: u64) {
        let Some(bar) = &self.bar else { return };
        self.next_look = events.saturating_add(EVENTS_PER_LOOK);
        let duration = Time(bar.length().unwrap_or_default());
        let rate = per_second(events, bar.elapsed());
        // `set_position` redraws at most as often as the draw target allows.
        bar.set_message(format!("{} s of {} s simulated, {rate} events/s", seconds(now), seconds(duration)));
        bar.set_position(now.0);
    }
}

impl Drop for Progress {
    /// The bar goes away, whichever way the run ended: the results say the rest.
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar of runs, with how many of them did not pass; nothing at all where stderr is no terminal.
#[derive(Debug)]
pub struct Runs {
    bar: Option<ProgressBar>,
    failed: u64,
}

impl Runs {
    /// For so many runs.
    #[must_use]
    pub fn new(runs: u64) -> Runs {
        let bar = std::io::stderr().is_terminal().then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
            Runs::styled(ProgressBar::with_draw_target(Some(runs), target))
        });
        Runs { bar, failed: 0 }
    }

    fn styled(bar: ProgressBar) -> ProgressBar {
        let style = ProgressStyle::with_template("[{bar:30}] {pos} of {len} runs, {msg}, {eta} to go")
            .expect("the template is a constant that a test draws")
            .progress_chars("=> ");
        bar.with_style(style).with_message("none failed")
    }

    /// One more is done.
    pub fn done(&mut self, passed: bool) {
        self.failed += u64::from(!passed);
        let Some(bar) = &self.bar else { return };
        if !passed {
            bar.set_message(format!("{} failed", self.failed));
        }
        bar.inc(1);
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn seconds(time: Time) -> u64 {
    time.0 / 1_000_000
}

fn per_second(events: u64, elapsed: Duration) -> u64 {
    let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    events.saturating_mul(1_000) / millis
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undrawn(duration: Time) -> Progress {
        let bar = ProgressBar::with_draw_target(Some(duration.0), ProgressDrawTarget::hidden());
        Progress::on(bar, "partition", duration)
    }

    #[test]
    fn the_bar_tells_simulated_time_and_rate() {
        let mut progress = undrawn(Time(120_000_000));
        progress.at(Time(30_000_000), 5_000);
        let bar = progress.bar.as_ref().unwrap();
        assert_eq!((bar.position(), bar.length()), (30_000_000, Some(120_000_000)));
        assert!(bar.message().starts_with("30 s of 120 s simulated, "), "{}", bar.message());
    }

    #[test]
    fn events_between_two_looks_do_not_touch_the_bar() {
        let mut progress = undrawn(Time(100));
        progress.at(Time(1), 1);
        progress.at(Time(2), 2);
        assert_eq!(progress.bar.as_ref().unwrap().position(), 1);
        progress.at(Time(3), 1 + EVENTS_PER_LOOK);
        assert_eq!(progress.bar.as_ref().unwrap().position(), 3);
    }

    #[test]
    fn the_bar_of_a_sweep_counts_runs_and_failures() {
        let bar = Runs::styled(ProgressBar::with_draw_target(Some(3), ProgressDrawTarget::hidden()));
        let mut runs = Runs { bar: Some(bar.clone()), failed: 0 };
        runs.done(true);
        assert_eq!((bar.position(), bar.message().as_str()), (1, "none failed"));
        runs.done(false);
        assert_eq!((bar.position(), bar.message().as_str()), (2, "1 failed"));
    }

    #[test]
    fn a_hidden_bar_only_passes_through() {
        let mut progress = Progress::hidden();
        progress.at(Time(1), 1_000_000);
        assert_eq!(progress.suspend(|| 7), 7);
    }
}
