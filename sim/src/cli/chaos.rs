//! `chaos FILE`: random timelines of faults on top of a scenario, many runs of them.

use std::io;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use clap::Args;
use comfy_table::CellAlignment;

use super::{Console, INTERRUPTED, USAGE};
use crate::chaos::{Chaos, Found, Kind, Plan, Ran, Tally};
use crate::many;
use crate::report::{self, table, words};
use crate::scenario::{Overrides, Scenario};

/// The arguments of `chaos`.
#[derive(Args, Clone, Debug)]
pub struct ChaosOptions {
    /// The scenario that each run is drawn on top of
    pub file: PathBuf,
    /// How many runs
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub runs: u64,
    /// All runs are functions of it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// The number of the first run
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub from: u64,
    /// More nodes misbehave than the protocol promises to bear: only what holds all the same is judged
    #[arg(long)]
    pub beyond_f: bool,
    /// Threads, instead of one for each core
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Where failing and worst runs go, instead of results/chaos-SCENARIO
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// `chaos FILE`: each failing run with its options and seed as it is found, then what was found how often, with one scenario
/// each, and what the runs had to go through.
///
/// # Errors
/// The console cannot be written to.
pub fn chaos(options: &ChaosOptions, console: &mut Console<'_>) -> io::Result<u8> {
    let base = match Scenario::load(&options.file, Overrides::default()) {
        Ok(base) => base,
        Err(diagnostic) => return console.complain(&diagnostic),
    };
    let chaos = Chaos { seed: options.seed, beyond_f: options.beyond_f };
    let directory = options.out.clone().unwrap_or_else(|| Path::new("results").join(format!("chaos-{}", base.name)));
    let threads = options.threads.unwrap_or_else(many::all_cores);
    let numbers = options.from..options.from.saturating_add(options.runs);
    let (mut promised, mut beyond) = (Tally::default(), Tally::default());
    let mut printed = Ok(());
    let complete = chaos.runs(&base, numbers, threads, &INTERRUPTED, |plan, ran| {
        printed = take(&chaos, options, &mut promised, &mut beyond, (&plan, &ran), console);
        if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    printed?;
    if !complete {
        writeln!(console.err, "interrupted after {} of {} runs", promised.runs + beyond.runs, options.runs)?;
    }
    let written =
        keep(&promised, &directory).and_then(|files| Ok((files, keep(&beyond, &directory.join("beyond-f"))?)));
    let (files, _) = match written {
        Ok(files) => files,
        Err(why) => {
            writeln!(console.err, "error: {why}")?;
            return Ok(USAGE);
        }
    };
    console.out.write_all(summary(&promised, &files).as_bytes())?;
    if beyond.runs > 0 {
        writeln!(
            console.out,
            "{} more runs break what needs an honest quorum, which is not promised there; see {}",
            beyond.runs,
            directory.join("beyond-f").display()
        )?;
    }
    Ok(promised.exit_code())
}

fn take(
    chaos: &Chaos,
    options: &ChaosOptions,
    promised: &mut Tally,
    beyond: &mut Tally,
    (plan, ran): (&Plan, &Ran),
    console: &mut Console<'_>,
) -> io::Result<()> {
    let is_promised = ran.finding.as_ref().is_none_or(|finding| chaos.promised(finding));
    let first = if is_promised { promised.add(plan, ran) } else { beyond.add(plan, ran) };
    if let Some(finding) = ran.finding.as_ref().filter(|_| is_promised) {
        writeln!(console.err, "run {} of seed {}: {plan}\n  {finding}", plan.run, chaos.seed)?;
        if first {
            let beyond_f = if chaos.beyond_f { " --beyond-f" } else { "" };
            writeln!(console.err, "  {}", finding.detail.replace('\n', "\n  "))?;
            writeln!(
                console.err,
                "  again: marlos-sim chaos {} --seed {} --from {} --runs 1{beyond_f}",
                options.file.display(),
                chaos.seed,
                plan.run
            )?;
        }
    }
    Ok(())
}

/// Writes one scenario for each kind of finding, and for each KPI its worst passing run; says where, in the order of the findings.
fn keep(tally: &Tally, directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for ((_, fingerprint), Found { scenario, run, finding, .. }) in &tally.found {
        let mut kept = scenario.clone();
        kept.shows = format!("{fingerprint} (run {run}).");
        let file = directory.join(format!("{}.toml", slug(fingerprint)));
        let detail: String = finding.detail.lines().map(|line| format!("# {line}\n")).collect();
        // The first line is what the file shows; the rest of what was found stands below it.
        let text = kept.to_toml();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        report::write_file(&file, &format!("{first}\n#\n{detail}{rest}"))?;
        files.push(file);
    }
    for (kpi, worst) in &tally.worst {
        let mut kept = worst.scenario.clone();
        kept.shows = format!("The largest {kpi} of {} runs: {}.", tally.runs, words::quantity(worst.value, worst.unit));
        report::write_file(&directory.join(format!("worst-{kpi}.toml")), &kept.to_toml())?;
    }
    Ok(files)
}

/// A fingerprint as a file's name.
fn slug(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
    let words: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-").chars().take(72).collect()
}

fn summary(tally: &Tally, files: &[PathBuf]) -> String {
    let mut text = String::new();
    if !tally.found.is_empty() {
        let mut found = table::bare_table(&["finding", "runs", "first", "kept as"]);
        for (((_, fingerprint), of), file) in tally.found.iter().zip(files) {
            found.add_row([
                fingerprint.clone(),
                words::count(of.times),
                of.first.to_string(),
                file.display().to_string(),
            ]);
        }
        for column in 1..=2 {
            if let Some(column) = found.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        text += &(table::tidy(&found) + "\n\n");
    }
    let faults: Vec<String> = Kind::ALL
        .iter()
        .map(|kind| format!("{} {}", words::count(tally.faults.get(kind).copied().unwrap_or(0)), kind.name()))
        .collect();
    let checked: Vec<String> =
        tally.checked.iter().map(|(check, runs)| format!("{check} in {}", words::count(*runs))).collect();
    let counted: Vec<String> = tally
        .counters
        .iter()
        .filter(|(_, value)| **value > 0)
        .map(|(counter, value)| format!("{} {counter}", words::count(*value)))
        .collect();
    let worst: Vec<String> = tally
        .worst
        .iter()
        .map(|(kpi, worst)| format!("{kpi} {} (run {})", words::quantity(worst.value, worst.unit), worst.run))
        .collect();
    let (submitted, completed) = tally.jobs;
    text += &format!(
        "{} runs, {} with a finding; {} simulated seconds, {} events, {} jobs, {} of them with a result\n\
         faults: {}\nchecks with something to check: {}\nwhat happened: {}\nworst of the passing runs: {}\n",
        words::count(tally.runs),
        words::count(tally.failed),
        words::count(tally.seconds),
        words::count(tally.events),
        words::count(submitted),
        words::count(completed),
        faults.join(", "),
        if checked.is_empty() { "none".to_owned() } else { checked.join(", ") },
        counted.join(", "),
        if worst.is_empty() { "none".to_owned() } else { worst.join(", ") },
    );
    text
}
