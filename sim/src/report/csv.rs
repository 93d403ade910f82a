//! The tables for programs: `kpi.csv`, `timeline.csv`, and each KPI's samples as CSV and in HdrHistogram's percentile format.

use std::fmt::Write as _;
use std::io;

use ::csv::Writer;

use super::summary::{Stats, judged_statistic, to_unit};
use super::words;
use crate::outcome::{KpiResult, Outcome};

/// Percentile steps per halving of the distance to 100 %: what HdrHistogram's own tools use.
const TICKS_PER_HALF_DISTANCE: u32 = 5;

/// `kpi.csv`: one row per KPI, figures in its unit, empty where there is none.
///
/// # Errors
/// Where the rows cannot be encoded, which an in-memory buffer does not cause.
pub fn kpis(outcome: &Outcome) -> io::Result<Vec<u8>> {
    let mut csv = Writer::from_writer(Vec::new());
    csv.write_record([
        "name",
        "unit",
        "statistic",
        "comparison",
        "target",
        "measured",
        "samples",
        "mean",
        "p50",
        "p90",
        "p99",
        "max",
        "verdict",
        "note",
    ])?;
    for kpi in &outcome.kpis {
        let stats = Stats::of(kpi);
        let stat = |pick: fn(&Stats) -> f64| decimal(stats.as_ref().map(pick));
        csv.write_record([
            kpi.name.to_owned(),
            kpi.unit.to_owned(),
            judged_statistic(kpi).to_owned(),
            kpi.target.map(|t| words::comparison(t.comparison)).unwrap_or_default(),
            kpi.target.map(|t| t.target.to_string()).unwrap_or_default(),
            decimal(kpi.measured),
            kpi.histogram.len().to_string(),
            stat(|s| s.mean),
            stat(|s| s.p50),
            stat(|s| s.p90),
            stat(|s| s.p99),
            stat(|s| s.max),
            words::verdict(kpi.verdict).to_owned(),
            kpi.note.clone(),
        ])?;
    }
    bytes(csv)
}

/// `timeline.csv`: one row per simulated second; `alive_seen_n3` is how many members n3 holds for alive.
///
/// # Errors
/// As [`kpis`].
pub fn timeline(outcome: &Outcome) -> io::Result<Vec<u8>> {
    let mut csv = Writer::from_writer(Vec::new());
    let fixed = [
        "second",
        "accepted",
        "latency_us_p50",
        "latency_us_p99",
        "bytes_sent",
        "jobs_submitted",
        "jobs_completed",
        "jobs_failed",
        "nodes_up",
        "nodes_degraded",
    ];
    let nodes = &outcome.scenario.nodes;
    csv.write_record(
        fixed.map(str::to_owned).into_iter().chain(nodes.iter().map(|n| format!("alive_seen_{}", n.name))),
    )?;
    for row in &outcome.timeline {
        assert_eq!(row.alive_seen.len(), nodes.len(), "second {} tells of every node", row.second);
        let fixed = [
            row.second,
            row.accepted,
            row.latency_us_p50,
            row.latency_us_p99,
            row.bytes_sent,
            row.jobs_submitted,
            row.jobs_completed,
            row.jobs_failed,
            row.nodes_up,
            row.nodes_degraded,
        ];
        let cells = fixed.into_iter().chain(row.alive_seen.iter().map(|&seen| u64::from(seen)));
        csv.write_record(cells.map(|cell| cell.to_string()))?;
    }
    bytes(csv)
}

/// `histograms/<kpi>.csv`: each bucket with samples, from the lowest; both ends belong to the bucket.
///
/// # Errors
/// As [`kpis`].
pub fn histogram(kpi: &KpiResult) -> io::Result<Vec<u8>> {
    let mut csv = Writer::from_writer(Vec::new());
    let suffix = match kpi.unit {
        "1" => String::new(),
        unit => format!("_{}", unit.replace("1/", "per_")),
    };
    csv.write_record([format!("from{suffix}"), format!("to{suffix}"), "count".to_owned(), "cumulative".to_owned()])?;
    let mut cumulative = 0;
    for bucket in kpi.histogram.iter_recorded() {
        let (low, high) = bucket_ends(kpi, bucket.value_iterated_to());
        cumulative += bucket.count_at_value();
        csv.write_record([low, high, bucket.count_at_value().to_string(), cumulative.to_string()])?;
    }
    bytes(csv)
}

fn bucket_ends(kpi: &KpiResult, raw: u64) -> (String, String) {
    let h = &kpi.histogram;
    let exact = |raw| to_unit(raw, kpi).to_string();
    (exact(h.lowest_equivalent(raw)), exact(h.highest_equivalent(raw)))
}

/// `histograms/<kpi>.hgrm`: the percentile distribution as HdrHistogram prints it, values in the KPI's unit.
/// The public HdrHistogram plotter reads it.
#[must_use]
pub fn hgrm(kpi: &KpiResult) -> String {
    let h = &kpi.histogram;
    let mut text = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut level = Level::default();
    let mut cumulative = 0;
    for bucket in h.iter_recorded() {
        cumulative += bucket.count_at_value();
        let value = to_unit(h.highest_equivalent(bucket.value_iterated_to()), kpi);
        while level.share() <= cumulative as f64 / h.len() as f64 {
            let (share, inverse) = (level.share(), 1.0 / (1.0 - level.share()));
            put(&mut text, format_args!("{value:12.3} {share:14.12} {cumulative:10} {inverse:14.2}\n"));
            level.advance();
            // The last bucket holds all further steps up to 100 %: one line says it.
            if cumulative == h.len() {
                put(&mut text, format_args!("{value:12.3} {:14.12} {cumulative:10}\n", 1.0));
                break;
            }
        }
    }
    let (mean, deviation) = (h.mean() / kpi.raw_per_unit, h.stdev() / kpi.raw_per_unit);
    let max = if h.is_empty() { 0.0 } else { to_unit(h.max(), kpi) };
    let sub_buckets = 2 * h.distinct_values() / (usize::from(h.buckets()) + 1);
    put(&mut text, format_args!("#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n"));
    put(&mut text, format_args!("#[Max     = {max:12.3}, Total count    = {:12}]\n", h.len()));
    put(&mut text, format_args!("#[Buckets = {:12}, SubBuckets     = {sub_buckets:12}]\n", h.buckets()));
    text
}

/// A step of the percentile table: `1 - 2^-halvings + ticks / (5 * 2^(halvings + 1))`, counted in whole numbers so
/// that no logarithm decides which lines there are.
#[derive(Default)]
struct Level {
    halvings: i32,
    ticks: u32,
}

impl Level {
    fn share(&self) -> f64 {
        let distance = 0.5f64.powi(self.halvings);
        1.0 - distance + distance / 2.0 * f64::from(self.ticks) / f64::from(TICKS_PER_HALF_DISTANCE)
    }

    fn advance(&mut self) {
        self.ticks += 1;
        if self.ticks == TICKS_PER_HALF_DISTANCE {
            self.ticks = 0;
            self.halvings += 1;
        }
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a string takes everything");
}

/// Three decimals, or nothing.
fn decimal(value: Option<f64>) -> String {
    value.map(|v| format!("{v:.3}")).unwrap_or_default()
}

fn bytes(csv: Writer<Vec<u8>>) -> io::Result<Vec<u8>> {
    csv.into_inner().map_err(|e| io::Error::other(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn rows(bytes: &[u8]) -> Vec<::csv::StringRecord> {
        ::csv::Reader::from_reader(bytes).records().map(Result::unwrap).collect()
    }

    #[test]
    fn the_timeline_has_a_row_per_second_and_a_column_per_node() {
        let rows = rows(&timeline(&fixture::outcome(10, 60)).unwrap());
        assert_eq!(rows.len(), 60);
        assert_eq!(rows[0].len(), 10 + 10);
    }

    #[test]
    fn kpi_csv_has_a_row_per_kpi() {
        let outcome = fixture::outcome(10, 60);
        let rows = rows(&kpis(&outcome).unwrap());
        assert_eq!(rows.len(), outcome.kpis.len());
        assert_eq!(rows[0].iter().take(6).collect::<Vec<_>>().join(" "), "message_latency ms p99 < 50 28.703");
    }

    #[test]
    fn the_buckets_of_a_histogram_add_up_to_its_samples() {
        let kpi = &fixture::outcome(10, 60).kpis[0];
        let rows = rows(&histogram(kpi).unwrap());
        let total: u64 = rows.iter().map(|r| r[2].parse::<u64>().unwrap()).sum();
        assert_eq!(total, kpi.histogram.len());
        assert_eq!(rows.last().unwrap()[3].parse::<u64>().unwrap(), total);
    }

    #[test]
    fn hgrm_of_three_samples_is_this_table() {
        let mut kpi = fixture::outcome(3, 5).kpis.remove(0);
        kpi.histogram.clear();
        for raw in [1_000, 1_000, 2_000] {
            kpi.histogram.record(raw).unwrap();
        }
        let text = hgrm(&kpi);
        let table: Vec<&str> = text.lines().skip(2).take_while(|l| !l.starts_with('#')).collect();
        assert_eq!(
            table,
            [
                "       1.000 0.000000000000          2           1.00",
                "       1.000 0.100000000000          2           1.11",
                "       1.000 0.200000000000          2           1.25",
                "       1.000 0.300000000000          2           1.43",
                "       1.000 0.400000000000          2           1.67",
                "       1.000 0.500000000000          2           2.00",
                "       1.000 0.550000000000          2           2.22",
                "       1.000 0.600000000000          2           2.50",
                "       1.000 0.650000000000          2           2.86",
                "       2.000 0.700000000000          3           3.33",
                "       2.000 1.000000000000          3",
            ]
        );
    }

    #[test]
    fn hgrm_takes_the_steps_that_hdrhistogram_takes_itself() {
        let mut kpi = fixture::outcome(3, 5).kpis.remove(0);
        kpi.histogram.clear();
        // A prime number of samples: none lies just on a step, where the library's sums of steps round either way.
        (0..997).for_each(|i| kpi.histogram.record(1_000 + i * i).unwrap());
        let mut cumulative = 0;
        let theirs = kpi.histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE).map(|step| {
            cumulative += step.count_since_last_iteration();
            let value = to_unit(kpi.histogram.highest_equivalent(step.value_iterated_to()), &kpi);
            format!("{value:.3} {:.9} {cumulative}", step.quantile_iterated_to())
        });
        let text = hgrm(&kpi);
        let lines = text.lines().skip(2).filter(|line| !line.starts_with('#'));
        let ours = lines.map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            format!("{} {:.9} {}", fields[0], fields[1].parse::<f64>().unwrap(), fields[2])
        });
        assert_eq!(ours.collect::<Vec<_>>(), theirs.collect::<Vec<_>>());
    }

    #[test]
    fn every_hgrm_line_parses_and_both_columns_only_grow() {
        for kpi in &fixture::outcome(10, 60).kpis {
            let text = hgrm(kpi);
            let mut before = (0.0, 0.0);
            for line in text.lines().skip(2).filter(|l| !l.starts_with('#')) {
                let fields: Vec<f64> = line.split_whitespace().map(|f| f.parse().unwrap()).collect();
                assert!(fields[0] >= before.0 && fields[1] >= before.1, "{}: {line}", kpi.name);
                before = (fields[0], fields[1]);
            }
            assert_eq!(before.1, if kpi.histogram.is_empty() { 0.0 } else { 1.0 }, "{}", kpi.name);
            assert_eq!(text.lines().filter(|l| l.starts_with("#[")).count(), 3);
        }
    }
}
