//! `report.html`: one file that needs nothing else, and no network.
//!
//! What can be read without a script is written by the template: verdict, KPIs, checks, commands. The charts are drawn by
//! uPlot, which the page carries, from the same figures that the CSV files hold. The same outcome gives the same bytes.

use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde::Serialize;

use super::summary::{Stats, judged_statistic, to_unit};
use super::{scope, words};
use crate::outcome::{CheckKind, CheckResult, KpiResult, Message, Outcome, Verdict};
use crate::scenario::{KpiTarget, Scenario};
use crate::story::{Moment, Step};

const PAGE: &str = include_str!("../../assets/report/page.html");
const STYLE: &str = include_str!("../../assets/report/page.css");
const SCRIPT: &str = include_str!("../../assets/report/page.js");
const UPLOT_STYLE: &str = include_str!("../../assets/report/uPlot.min.css");
const UPLOT: &str = include_str!("../../assets/report/uPlot.iife.min.js");

/// Bars of a histogram at most.
const BARS: usize = 60;

/// The page. `resolved_toml` is the scenario as a runnable file.
///
/// # Errors
/// None that a run can cause: the template is part of the program and tested.
pub fn page(outcome: &Outcome, resolved_toml: &str) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    let scenario = &outcome.scenario;
    let view = View {
        name: &scenario.name,
        shows: &scenario.shows,
        verdict: words::verdict(outcome.verdict),
        facts: facts(outcome),
        kpis: outcome.kpis.iter().map(kpi_row).collect(),
        why: why(outcome),
        checks: outcome.checks.iter().map(check_row).collect(),
        notes: outcome.kpis.iter().filter(|kpi| !kpi.note.is_empty()).map(note).collect(),
        last_changes: &outcome.last_changes,
        violated: !outcome.last_changes.is_empty(),
        scope: scope::lines(scenario),
        toml: resolved_toml,
        style: STYLE,
        uplot_style: UPLOT_STYLE,
        script: SCRIPT,
        uplot: UPLOT,
        data: in_script(&figures(outcome)),
    };
    environment.render_named_str("page.html", PAGE, minijinja::value::Serde(view))
}

/// What the template says.
#[derive(Serialize)]
struct View<'a> {
    name: &'a str,
    shows: &'a str,
    verdict: &'static str,
    facts: Vec<(&'static str, String)>,
    kpis: Vec<KpiRow<'a>>,
    /// What the verdict is due to, where it is no PASS.
    why: Vec<String>,
    checks: Vec<CheckRow<'a>>,
    notes: Vec<String>,
    last_changes: &'a [String],
    violated: bool,
    scope: scope::Scope,
    toml: &'a str,
    style: &'static str,
    uplot_style: &'static str,
    script: &'static str,
    uplot: &'static str,
    data: String,
}

#[derive(Serialize)]
struct KpiRow<'a> {
    name: &'a str,
    measured: String,
    target: String,
    samples: String,
    stats: [String; 4],
    verdict: &'static str,
    one_sample_per: &'a str,
}

#[derive(Serialize)]
struct CheckRow<'a> {
    name: &'a str,
    means: &'static str,
    kind: CheckKind,
    verdict: Verdict,
    detail: &'a str,
}

fn check_row(CheckResult { name, kind, verdict, detail }: &CheckResult) -> CheckRow<'_> {
    CheckRow { name, means: words::check(name), kind: *kind, verdict: *verdict, detail }
}

/// Each KPI and check that has the run's verdict, where that is not PASS.
fn why(outcome: &Outcome) -> Vec<String> {
    if matches!(outcome.verdict, Verdict::Pass | Verdict::NotApplicable) {
        return Vec::new();
    }
    let kpis = outcome.kpis.iter().filter(|kpi| kpi.verdict == outcome.verdict).map(|kpi| {
        let target = kpi.target.map_or(String::new(), |t| format!(", target {}", words::target(&t, kpi.unit)));
        let note = if kpi.note.is_empty() { String::new() } else { format!(" ({})", kpi.note) };
        format!("{}: {}{target}{note}", kpi.name, words::measured(kpi))
    });
    let checks = outcome.checks.iter().filter(|check| check.verdict == outcome.verdict).map(|check| {
        let first = check.detail.lines().next().unwrap_or_default();
        format!("{}: {first}", check.name)
    });
    checks.chain(kpis).collect()
}

fn facts(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let scenario = &outcome.scenario;
    let jobs = outcome.jobs;
    let mut facts = vec![
        ("seed", scenario.seed.to_string()),
        ("nodes", scenario.nodes.len().to_string()),
        ("simulated", simulated(outcome)),
        ("events", words::count(outcome.events)),
        ("action hash", outcome.action_hash.get(..16).unwrap_or(&outcome.action_hash).to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    if jobs.submitted > 0 {
        let text = format!(
            "{} submitted, {} completed, {} failed, {} lost",
            words::count(jobs.submitted),
            words::count(jobs.completed),
            words::count(jobs.failed),
            words::count(jobs.lost)
        );
        facts.push(("jobs", text));
    }
    facts
}

fn simulated(outcome: &Outcome) -> String {
    let all = words::quantity(seconds(outcome.scenario.duration.0), "s");
    if outcome.reached < outcome.scenario.duration {
        format!("{} of {all}", words::quantity(seconds(outcome.reached.0), "s"))
    } else {
        all
    }
}

fn kpi_row(kpi: &KpiResult) -> KpiRow<'_> {
    let stats = Stats::of(kpi);
    let stat = |pick: fn(&Stats) -> f64| stats.as_ref().map_or("-".to_owned(), |s| words::quantity(pick(s), kpi.unit));
    KpiRow {
        name: kpi.name,
        measured: words::measured(kpi),
        target: kpi.target.map_or("-".to_owned(), |t| words::target(&t, kpi.unit)),
        samples: words::count(kpi.histogram.len()),
        stats: [stat(|s| s.p50), stat(|s| s.p90), stat(|s| s.p99), stat(|s| s.max)],
        verdict: words::verdict(kpi.verdict),
        one_sample_per: kpi.one_sample_per,
    }
}

fn note(kpi: &KpiResult) -> String {
    format!("{} is {}: {}", kpi.name, words::verdict(kpi.verdict), kpi.note)
}

/// What the script draws.
#[derive(Serialize)]
struct Figures<'a> {
    end_s: f64,
    warmup_s: f64,
    nodes: Vec<&'a str>,
    faults: Vec<Lane>,
    rows: Rows<'a>,
    latency_target_ms: Option<f64>,
    kpis: Vec<Bars<'a>>,
    bytes: Vec<(&'static str, u64)>,
    jobs: Vec<JobBar>,
    jobs_left_out: u64,
    messages: Vec<Arrow>,
}

/// A fault on the time axis.
#[derive(Serialize)]
struct Lane {
    label: String,
    what: String,
    from_s: f64,
    to_s: f64,
}

/// One value per simulated second each.
#[derive(Serialize)]
struct Rows<'a> {
    second: Vec<u64>,
    /// Nothing was heard in a second without a value.
    p50_ms: Vec<Option<f64>>,
    p99_ms: Vec<Option<f64>>,
    bytes: Vec<u64>,
    submitted: Vec<u64>,
    completed: Vec<u64>,
    failed: Vec<u64>,
    up: Vec<u64>,
    degraded: Vec<u64>,
    alive_seen: Vec<&'a [u32]>,
}

/// A KPI's samples: counts between edges, in its unit.
#[derive(Serialize)]
struct Bars<'a> {
    name: &'a str,
    title: String,
    unit: &'a str,
    verdict: Verdict,
    one_sample_per: &'a str,
    edges: Vec<f64>,
    counts: Vec<u64>,
    target: Option<f64>,
    target_words: String,
    measured: Option<f64>,
    measured_words: String,
}

/// A job: its id's first digits, and its steps as time, node and word.
#[derive(Serialize)]
struct JobBar {
    id: String,
    steps: Vec<(f64, usize, &'static str, String)>,
}

/// A message of the chart around a violation: sent, heard, from, to, type.
#[derive(Serialize)]
struct Arrow(f64, f64, usize, usize, &'static str);

fn figures(outcome: &Outcome) -> Figures<'_> {
    let scenario = &outcome.scenario;
    let rows = &outcome.timeline;
    let heard = |us: u64, accepted: u64| (accepted > 0).then_some(us as f64 / 1e3);
    Figures {
        end_s: seconds(scenario.duration.0),
        warmup_s: seconds(scenario.warmup.0),
        nodes: scenario.nodes.iter().map(|node| node.name.as_str()).collect(),
        faults: lanes(scenario),
        rows: Rows {
            second: rows.iter().map(|row| row.second).collect(),
            p50_ms: rows.iter().map(|row| heard(row.latency_us_p50, row.accepted)).collect(),
            p99_ms: rows.iter().map(|row| heard(row.latency_us_p99, row.accepted)).collect(),
            bytes: rows.iter().map(|row| row.bytes_sent).collect(),
            submitted: rows.iter().map(|row| row.jobs_submitted).collect(),
            completed: rows.iter().map(|row| row.jobs_completed).collect(),
            failed: rows.iter().map(|row| row.jobs_failed).collect(),
            up: rows.iter().map(|row| row.nodes_up).collect(),
            degraded: rows.iter().map(|row| row.nodes_degraded).collect(),
            alive_seen: rows.iter().map(|row| row.alive_seen.as_slice()).collect(),
        },
        latency_target_ms: outcome.kpis.iter().find(|k| k.name == "message_latency").and_then(target),
        kpis: outcome.kpis.iter().filter(|kpi| !kpi.histogram.is_empty()).map(bars).collect(),
        bytes: outcome.bytes_per_message_type.iter().map(|(kind, bytes)| (*kind, *bytes)).collect(),
        jobs: outcome.told.stories.iter().map(|(id, story)| job_bar(&id.to_string(), &story.moments)).collect(),
        jobs_left_out: outcome.told.left_out,
        messages: outcome.messages.iter().map(arrow).collect(),
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn target(kpi: &KpiResult) -> Option<f64> {
    kpi.target.map(|KpiTarget { target, .. }| target)
}

fn lanes(scenario: &Scenario) -> Vec<Lane> {
    let lane = |fault: &crate::scenario::Fault| Lane {
        label: words::fault(fault),
        what: crate::fault::describe(&fault.kind),
        from_s: seconds(fault.at.0),
        to_s: seconds(fault.until.unwrap_or(scenario.duration).0),
    };
    scenario.faults.iter().map(lane).collect()
}

/// The samples between 60 edges at most: even ones, or growing ones where the samples span more than a factor of 50.
fn bars(kpi: &KpiResult) -> Bars<'_> {
    let h = &kpi.histogram;
    let (low, high) = (h.min() as f64, (h.max() as f64).max(h.min() as f64 + 1.0));
    let grows = low > 0.0 && high / low > 50.0;
    let edge = |i: usize| {
        let part = i as f64 / BARS as f64;
        if grows { low * (high / low).powf(part) } else { low + (high - low) * part }
    };
    let edges: Vec<f64> = (0..=BARS).map(edge).collect();
    let mut counts = vec![0; BARS];
    for value in h.iter_recorded() {
        let raw = value.value_iterated_to() as f64;
        let bar = edges.partition_point(|edge| *edge <= raw).clamp(1, BARS) - 1;
        counts[bar] += value.count_at_value();
    }
    Bars {
        name: kpi.name,
        title: words::title(kpi.name),
        unit: kpi.unit,
        verdict: kpi.verdict,
        one_sample_per: kpi.one_sample_per,
        edges: edges.iter().map(|edge| rounded(to_unit(*edge as u64, kpi))).collect(),
        counts,
        target: target(kpi),
        target_words: kpi
            .target
            .map_or(String::new(), |t| format!("target {} {}", judged_statistic(kpi), words::target(&t, kpi.unit))),
        measured: kpi.measured.map(rounded),
        measured_words: words::measured(kpi),
    }
}

/// Six decimals: what a platform's arithmetic makes of the rest is not to be seen.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn job_bar(id: &str, moments: &[Moment]) -> JobBar {
    let digits = id.strip_prefix("job-").unwrap_or(id);
    let step = |moment: &Moment| {
        let (word, more) = match moment.step {
            Step::Submitted => ("submitted", String::new()),
            Step::Seen => ("seen", String::new()),
            Step::AuctionClosed(round) => ("closed", format!("round {round}")),
            Step::Certified(round) => ("certified", format!("round {round}")),
            Step::Started => ("started", String::new()),
            Step::Ended => ("ended", String::new()),
            Step::Fenced => ("fenced", String::new()),
            Step::Completed(status) => ("completed", format!("{status:?}").to_lowercase()),
            Step::Failed(reason) => ("failed", words::fail_reason(reason).to_owned()),
        };
        (seconds(moment.at.0), moment.node, word, more)
    };
    JobBar { id: digits.chars().take(8).collect(), steps: moments.iter().map(step).collect() }
}

fn arrow(message: &Message) -> Arrow {
    Arrow(seconds(message.sent.0), seconds(message.heard.0), message.from, message.to, message.kind.name())
}

/// JSON that can stand inside a script element: nothing in it ends the element or opens a comment.
fn in_script(figures: &Figures<'_>) -> String {
    let json = serde_json::to_string(figures).expect("numbers and text always become JSON");
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use marlos::id::JobId;
    use marlos::time::Time;

    use super::*;
    use crate::report::fixture;
    use crate::story::{Story, Told};

    fn page_of(outcome: &Outcome) -> String {
        page(outcome, "name = \"<partition>\"\n").unwrap()
    }

    #[test]
    fn the_page_names_nothing_outside_itself_and_says_the_verdict_first() {
        let text = page_of(&fixture::outcome(5, 20));
        for reference in ["src=", "href=\"http", "url(", "@import", "fetch("] {
            assert!(!text.contains(reference), "{reference} is in the page");
        }
        let (verdict, table) = (text.find(">FAIL<").unwrap(), text.find("message_latency").unwrap());
        assert!(verdict < table, "the verdict comes first");
        assert!(text.contains("name = &quot;&lt;partition&gt;&quot;"), "the scenario is escaped");
    }

    #[test]
    fn every_check_of_a_run_says_what_must_hold_and_the_verdict_what_it_is_due_to() {
        let outcome = fixture::outcome(5, 20);
        let run = crate::world::World::new(outcome.scenario.clone()).finish();
        let ours: Vec<&CheckResult> = run.checks.iter().filter(|check| check.kind != CheckKind::Expect).collect();
        assert!(ours.len() >= 9, "{}", ours.len());
        for check in ours {
            assert!(!words::check(&check.name).is_empty(), "{}", check.name);
        }
        let text = page_of(&outcome);
        let failed = outcome.kpis.iter().find(|kpi| kpi.verdict == outcome.verdict).unwrap();
        assert!(text.contains(&format!("<li>{}: ", failed.name)), "{}", failed.name);
    }

    #[test]
    fn names_cannot_break_out_of_the_script() {
        let mut outcome = fixture::outcome(3, 10);
        outcome.scenario.nodes[0].name = "</script><b>".to_owned();
        let text = page_of(&outcome);
        assert!(!text.contains("</script><b>"));
        assert!(text.contains("\\u003c/script>\\u003cb>") || text.contains("\\u003c/script"), "{text}");
    }

    #[test]
    fn the_bars_hold_every_sample_and_the_target() {
        let outcome = fixture::outcome(5, 20);
        for kpi in outcome.kpis.iter().filter(|kpi| !kpi.histogram.is_empty()) {
            let bars = bars(kpi);
            assert_eq!(bars.counts.iter().sum::<u64>(), kpi.histogram.len(), "{}", kpi.name);
            assert!(bars.edges.windows(2).all(|pair| pair[0] <= pair[1]), "{}: {:?}", kpi.name, bars.edges);
            assert_eq!(bars.target, target(kpi));
        }
    }

    #[test]
    fn a_job_is_told_with_its_reason() {
        let mut outcome = fixture::outcome(3, 10);
        let moment = |at, step| Moment { at: Time(at), node: 1, step };
        let moments =
            vec![moment(1_500_000, Step::Submitted), moment(2_000_000, Step::Failed(marlos::io::FailReason::NoBids))];
        outcome.told = Told { stories: vec![(JobId([7; 16]), Story { moments })], left_out: 0 };
        let text = page_of(&outcome);
        assert!(text.contains(r#"{"id":"07070707","steps":[[1.5,1,"submitted",""],[2.0,1,"failed","no bids"]]}"#));
    }
}
