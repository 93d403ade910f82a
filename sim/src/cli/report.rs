//! `report DIR`: the page of results that were made earlier, or on another machine.
//!
//! A results directory holds figures, and not the life of each job or what each node saw. So its run is run once more, from its own
//! `scenario.toml` and as far as it came; the same scenario and seed are the same run. Where `summary.json` does not come out the same to
//! the last byte, another version made it, or somebody changed it: then a page would show another run than its neighbours, and none is
//! written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::Args;
use marlos::time::Time;
use serde_json::Value;

use super::{Console, INTERRUPTED, USAGE};
use crate::observe::Observation;
use crate::outcome::Outcome;
use crate::progress::Progress;
use crate::report::{self, summary};
use crate::retrace;
use crate::scenario::{Overrides, Scenario};
use crate::world::{self, Watcher};

/// The arguments of `report`.
#[derive(Args, Clone, Debug)]
pub struct ReportOptions {
    /// Results of `run`
    pub dir: PathBuf,
    /// Where the page goes, instead of DIR/report.html
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// `report DIR`: exits with 0 where the page is written, whatever its verdict.
///
/// # Errors
/// The console cannot be written to.
pub fn report(options: &ReportOptions, console: &mut Console<'_>) -> io::Result<u8> {
    let file = options.dir.join("scenario.toml");
    let scenario = match Scenario::load(&file, Overrides::default()) {
        Ok(scenario) => scenario,
        Err(diagnostic) => return console.complain(&diagnostic),
    };
    let out = options.out.clone().unwrap_or_else(|| options.dir.join("report.html"));
    let made = expected(&options.dir).and_then(|expected| {
        let outcome = again(scenario, expected.reached)?;
        expected.is(&outcome)?;
        let page = report::html::page(&outcome, &read(&file)?).map_err(|why| why.to_string())?;
        report::write_file(&out, &page).map_err(|why| why.to_string())
    });
    if let Err(why) = made {
        writeln!(console.err, "error: {}: {why}", options.dir.display())?;
        return Ok(USAGE);
    }
    writeln!(console.err, "run again from {}: summary.json is the same to the last byte", file.display())?;
    writeln!(console.out, "{}", out.display())?;
    Ok(0)
}

/// What the second run has to come to.
struct Expected {
    reached: Time,
    summary: String,
}

fn expected(dir: &Path) -> Result<Expected, String> {
    let summary = read(&dir.join("summary.json"))?;
    let fields: Value = serde_json::from_str(&summary).map_err(|why| format!("summary.json is damaged: {why}"))?;
    let version = fields["version"].as_str().unwrap_or("another version");
    let ours = env!("CARGO_PKG_VERSION");
    if version != ours {
        return Err(format!(
            "its results are of marlos-sim {version} and this is {ours}: the same seed is another run here"
        ));
    }
    let reached = fields["reached_us"].as_u64().ok_or("summary.json does not say how far the run came (reached_us)")?;
    Ok(Expected { reached: Time(reached), summary })
}

impl Expected {
    fn is(&self, outcome: &Outcome) -> Result<(), String> {
        if summary::json(outcome).trim_end() == self.summary.trim_end() {
            return Ok(());
        }
        let hash = &outcome.action_hash;
        Err(format!(
            "run again from its scenario.toml it is another run (action hash {hash}): its results are of another build, or were \
             changed. `marlos-sim run` of that file makes new ones"
        ))
    }
}

/// Runs it once more, as far as it came.
fn again(scenario: Scenario, reached: Time) -> Result<Outcome, String> {
    struct Shown(Progress);
    impl Watcher for Shown {
        fn at(&mut self, now: Time, events: u64) -> bool {
            self.0.at(now, events);
            !INTERRUPTED.load(Ordering::Relaxed)
        }
        fn change(&mut self, _: Time, _: &Observation<'_>) {}
        fn wants_changes(&self) -> bool {
            false
        }
    }
    let progress = Progress::new(&scenario.name, reached);
    let mut outcome = world::run(scenario, Some(reached), &mut Shown(progress));
    if INTERRUPTED.load(Ordering::Relaxed) {
        return Err("interrupted: there is no new page".to_owned());
    }
    if !outcome.last_changes.is_empty() {
        outcome.messages = retrace::last_messages(&outcome);
    }
    Ok(outcome)
}

#[expect(clippy::disallowed_methods, reason = "the user named the results; they decide nothing but what is compared")]
fn read(file: &Path) -> Result<String, String> {
    let bytes = std::fs::read(file).map_err(|why| format!("cannot read {}: {why}", file.display()))?;
    String::from_utf8(bytes).map_err(|_| format!("{} is no text", file.display()))
}
