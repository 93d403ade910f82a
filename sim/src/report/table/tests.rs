use super::*;
use crate::report::fixture;

fn context(written_to: Option<&Path>) -> Context<'_> {
    Context { file: "scenarios/partition.toml", written_to, colour: false }
}

#[test]
fn the_report_reads_like_this() {
    let text = render(&fixture::outcome(10, 60), context(Some(Path::new("results/partition"))));
    assert_eq!(text, include_str!("snapshot.txt"), "\n{text}");
}

#[test]
fn a_run_without_a_violation_has_no_command_to_reproduce_one() {
    let mut outcome = fixture::outcome(10, 60);
    outcome.checks.retain(|c| c.verdict == Verdict::Pass);
    outcome.reached = outcome.scenario.duration;
    let text = render(&outcome, context(None));
    assert!(!text.contains("VIOLATION") && !text.contains("Reproduce") && !text.contains("Results in"), "{text}");
    assert!(text.contains("60 s simulated"), "{text}");
}

#[test]
fn colours_change_nothing_but_the_colour() {
    let outcome = fixture::outcome(10, 60);
    let plain = render(&outcome, context(None));
    let coloured = render(&outcome, Context { colour: true, ..context(None) });
    assert!(coloured.contains("\u{1b}[1;31mFAIL\u{1b}[0m") && coloured.contains("\u{1b}[32mPASS\u{1b}[0m"));
    let codes = ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[32m", "\u{1b}[33m", "\u{1b}[1;31m"];
    assert_eq!(codes.iter().fold(coloured, |text, code| text.replace(code, "")), plain);
}

#[test]
fn no_line_is_wider_than_promised() {
    let mut outcome = fixture::outcome(10, 60);
    outcome.checks[0].detail = "word ".repeat(60);
    let text = render(&outcome, context(None));
    let table = text.lines().filter(|l| l.starts_with('─') || l.starts_with(' '));
    assert!(table.clone().count() > 10);
    for line in table {
        assert!(line.chars().count() <= usize::from(WIDTH), "{line}");
    }
}

#[test]
fn the_speed_line_tells_what_differs_between_machines() {
    let text = speed_line(&fixture::outcome(10, 60));
    assert_eq!(text, "partition: 1.25 s of wall time, 987,654 events/s, peak memory 48.0 MB");
}
