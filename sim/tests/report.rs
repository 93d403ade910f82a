//! `report DIR` writes the page that the run wrote, or none; and the page is looked at in a real browser.
#![expect(clippy::disallowed_methods, reason = "tests read what the binary wrote")]

#[path = "support/worlds.rs"]
mod worlds;

use std::path::Path;
use std::process::Command;

use worlds::marlos_sim;

/// Everything that a page can show: faults, jobs, members that come and go.
const SCENARIO: &str = r#"
name = "seen"
duration = "40s"
warmup = "5s"
settle = "5s"
[nodes]
count = 5
[network]
profile = "wan"
[workload]
jobs_per_second = 2.0
job = { type = "simulated", duration = "500ms", payment = 1.0, deadline = "20s" }
[[fault]]
at = "10s"
for = "8s"
kind = "partition"
groups = [["n0..n2"], ["n3..n4"]]
[[fault]]
at = "22s"
for = "10s"
kind = "crash"
nodes = ["n4"]
"#;

/// A directory with results of that scenario in `out`.
fn results(more: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("seen.toml"), SCENARIO).expect("written");
    let arguments = [&["run", "seen.toml", "--out", "out"], more].concat();
    let output = marlos_sim(directory.path(), &arguments);
    assert_ne!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    directory
}

#[test]
fn the_page_of_earlier_results_is_the_one_that_their_run_wrote() {
    let directory = results(&["--until", "15s", "--set", "network.loss=1%"]);
    let page = directory.path().join("out/report.html");
    let written = std::fs::read(&page).expect("written");
    std::fs::remove_file(&page).expect("removed");
    let output = marlos_sim(directory.path(), &["report", "out"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"out/report.html\n");
    assert!(written == std::fs::read(&page).expect("written"), "to the last byte");
}

#[test]
fn results_that_are_not_of_this_run_get_no_page() {
    let directory = results(&["--until", "6s"]);
    let summary = directory.path().join("out/summary.json");
    let text = std::fs::read_to_string(&summary).expect("written");
    let table = [
        (text.replacen("\"seed\": 1", "\"seed\": 2", 1), "another run"),
        (text.replacen("\"version\": \"", "\"version\": \"9.", 1), "this is"),
        (text[..text.len() / 2].to_owned(), "damaged"),
    ];
    for (changed, why) in table {
        assert!(changed != text, "{why}: the text is there to be changed");
        std::fs::write(&summary, changed).expect("written");
        let output = marlos_sim(directory.path(), &["report", "out", "--out", "page.html"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(why), "{why}: {said}");
    }
    assert!(!directory.path().join("page.html").exists());
    assert_eq!(marlos_sim(directory.path(), &["report", "nowhere"]).status.code(), Some(2));
}

/// Counts what was drawn, and writes it where `--dump-dom` shows it.
const PROBE: &str = r#"<script>
const errors = [];
addEventListener("load", () => setTimeout(() => {
  const drawn = (canvas) => {
    const { width, height } = canvas;
    const pixels = width && height ? canvas.getContext("2d").getImageData(0, 0, width, height).data : [];
    const colours = new Set();
    for (let i = 0; i < pixels.length; i += 4) if (pixels[i + 3] > 128) colours.add((pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2]);
    return colours.size > 1;
  };
  const canvases = [...document.querySelectorAll("canvas")];
  const marks = (id) => document.querySelectorAll(`#${id} rect, #${id} circle`).length;
  document.body.dataset.probe = JSON.stringify({
    canvases: canvases.length, empty: canvases.filter((c) => !drawn(c)).length,
    lanes: marks("lanes"), jobs: marks("job-bars"), histograms: marks("histograms"), bytes: marks("byte-bars"),
  });
}, 300));
</script>"#;

/// Headless Chromium's answer for a page: standard output and what it logged; nothing where there is no such browser.
fn chromium(page: &Path, arguments: &[&str]) -> Option<(String, String)> {
    let headless =
        ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--window-size=1400,3000"];
    let name = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))?;
    let profile = format!("--user-data-dir={}", page.with_extension("profile").display());
    let mut browser = Command::new(name);
    browser.args(headless).args(arguments).arg(profile).arg(format!("file://{}", page.display()));
    let output = browser.output().expect("it ran a moment ago");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    assert!(output.status.success(), "{}", text(output.stderr));
    Some((text(output.stdout), text(output.stderr)))
}

#[test]
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn a_browser_draws_every_chart_of_a_page_and_complains_of_nothing() {
    let directory = results(&[]);
    let page = directory.path().join("out/report.html");
    let probed = directory.path().join("probed.html");
    let text = std::fs::read_to_string(&page).expect("written");
    assert_eq!(text.matches("</body>").count(), 1);
    std::fs::write(&probed, text.replace("</body>", &format!("{PROBE}</body>"))).expect("written");
    let Some((dom, log)) = chromium(&probed, &["--virtual-time-budget=4000", "--dump-dom"]) else {
        assert!(std::env::var_os("MARLOS_REQUIRE_CHROMIUM").is_none(), "no Chromium here");
        eprintln!("skipped: Chromium is not installed (apt-get install chromium)");
        return;
    };
    let complaints: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let probe = dom.split("data-probe=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("the probe ran");
    let seen: serde_json::Value = serde_json::from_str(&probe.replace("&quot;", "\"")).expect("JSON");
    assert_eq!((&seen["canvases"], &seen["empty"]), (&4.into(), &0.into()), "{seen}");
    for (what, at_least) in [("lanes", 2), ("jobs", 50), ("histograms", 60), ("bytes", 8)] {
        assert!(seen[what].as_u64().is_some_and(|marks| marks >= at_least), "{what}: {seen}");
    }
    // Kept for whoever looks: target/tmp/report.png.
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("report.png");
    chromium(&page, &[&format!("--screenshot={}", picture.display())]).expect("it was there a moment ago");
    assert!(std::fs::metadata(&picture).expect("a picture").len() > 50_000, "an empty page is a small picture");
}
