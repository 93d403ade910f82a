//! A resolved scenario as a file that gives the same scenario again: every default spelled out, faults at absolute times.

use std::fmt::Write as _;

use marlos::Config;
use marlos::time::{Span, Time};
use marlos::units::{Ppm, write_millionths};
use marlos::wire::message::Consistency;

use super::{
    Arrival, Comparison, CpuSpec, CrashConnection, Fault, FaultKind, JobTemplate, KpiTarget, NodeNo, NodeSpec,
    RatePoint, Scenario, WorkloadSpec, byzantine, targets,
};

/// Writing to a `String` cannot fail.
macro_rules! line {
    ($out:expr, $($arg:tt)*) => {
        writeln!($out, $($arg)*).expect("a String takes everything")
    };
}

impl Scenario {
    /// The scenario as a file. What [`Scenario::parse`] reads from it equals `self`, if `self` came from a file; a matrix
    /// of regions is written into it, so that it can be run from anywhere.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        if !self.shows.is_empty() {
            line!(out, "# {}", self.shows);
        }
        line!(out, "name = {}", quoted(&self.name));
        line!(out, "seed = {}", self.seed);
        line!(out, "duration = {}", time(self.duration));
        line!(out, "crypto = {}", quoted(self.crypto.name()));
        line!(out, "warmup = {}", time(self.warmup));
        line!(out, "settle = {}", span(self.settle));
        self.nodes_to(&mut out);
        out.push_str(&self.network.written());
        if let Some(spec) = &self.workload {
            workload(&mut out, spec);
        }
        for fault in &self.faults {
            write_fault(&mut out, fault);
        }
        if !self.kpi.is_empty() {
            line!(out, "\n[kpi]");
        }
        for (name, target) in &self.kpi {
            line!(out, "{name} = {}", target.as_ref().map_or_else(|| "false".to_owned(), kpi_target));
        }
        if !self.expect.is_empty() {
            line!(out, "\n[expect]");
        }
        for expect in &self.expect {
            line!(out, "{} = \"{} {}\"", expect.counter, targets::sign(expect.comparison), expect.value);
        }
        out
    }

    fn nodes_to(&self, out: &mut String) {
        let nodes = &self.nodes;
        assert!(!nodes.is_empty(), "a scenario has nodes");
        let membership = if self.fixed_membership { "membership = \"fixed\"\n" } else { "" };
        let groups: Vec<&[NodeSpec]> = nodes.chunk_by(|a, b| a.group == b.group).collect();
        if let ([only], None) = (&groups[..], &nodes[0].group) {
            line!(out, "\n[nodes]\ncount = {}\n{membership}cpu = {}\n\n[nodes.config]", only.len(), cpu(only[0].cpu));
            self.config_to(out, &only[0]);
            return;
        }
        if self.fixed_membership {
            line!(out, "\n[nodes]\n{}", membership.trim_end());
        }
        for group in groups {
            let name = group[0].group.as_ref().expect("where there are groups, every node is in one");
            line!(out, "\n[[nodes.group]]\nname = {}\ncount = {}", quoted(name), group.len());
            if let (Some(region), Some(regions)) = (group[0].region, &self.network.regions) {
                line!(out, "region = {}", quoted(&regions.names[region]));
            }
            line!(out, "cpu = {}", cpu(group[0].cpu));
            line!(out, "\n[nodes.group.config]");
            self.config_to(out, &group[0]);
        }
    }

    /// The configuration without what the world sets, and without the name where it is just the node's.
    fn config_to(&self, out: &mut String, node: &NodeSpec) {
        let mut table = toml::Table::try_from(&node.config).expect("a configuration is a table");
        for key in ["pub_endpoint", "sub_endpoint", "bootstrap"] {
            table.remove(key);
        }
        if self.fixed_membership {
            table.remove("membership");
        }
        // Absent from a build without planted defects, which could not read it.
        if table.get("plant").and_then(toml::Value::as_str) == Some("nothing") {
            table.remove("plant");
        }
        if node.config == (Config { node_name: node.name.clone(), ..node.config.clone() }) {
            table.remove("node_name");
        }
        for (key, value) in &table {
            line!(out, "{key} = {value}");
        }
    }
}

fn cpu(cpu: CpuSpec) -> String {
    let CpuSpec { per_message, per_signature, per_verification } = cpu;
    let [message, signature, verification] = [per_message, per_signature, per_verification].map(span);
    format!("{{ per_message = {message}, per_signature = {signature}, per_verification = {verification} }}")
}

fn workload(out: &mut String, spec: &WorkloadSpec) {
    let rate = |jobs_per_1000_s: u64| {
        let mut rate = String::new();
        write_millionths(&mut rate, jobs_per_1000_s * 1_000).expect("a String takes everything");
        rate
    };
    line!(out, "\n[workload]");
    if let Some(trace) = &spec.trace {
        line!(out, "trace = {}\ntrace_jobs = '''\n{}'''", quoted(&trace.file), trace.written());
    } else if spec.rates.is_empty() {
        line!(out, "jobs_per_second = {}", rate(spec.jobs_per_1000_s));
    } else {
        let point = |point: &RatePoint| {
            format!("    {{ at = {}, jobs_per_second = {} }},\n", time(point.at), rate(point.jobs_per_1000_s))
        };
        line!(out, "rates = [\n{}]", spec.rates.iter().map(point).collect::<String>());
    }
    match spec.arrival {
        _ if spec.trace.is_some() => {}
        Arrival::Poisson => line!(out, "arrival = \"poisson\""),
        Arrival::Uniform => line!(out, "arrival = \"uniform\""),
        Arrival::Burst { size } => line!(out, "arrival = \"burst\"\nburst_size = {size}"),
    }
    line!(out, "from = {}", node_list(&spec.from));
    line!(out, "start = {}\nend = {}", time(spec.start), time(spec.end));
    line!(out, "\n[workload.job]");
    job(out, &spec.job);
    for mixed in &spec.mix {
        line!(out, "\n[[workload.mix]]\nshare = {}", mixed.share);
        job(out, &mixed.job);
    }
}

fn job(out: &mut String, job: &JobTemplate) {
    line!(out, "type = {}", quoted(&job.job_type));
    line!(out, "duration = {}", job.duration.written());
    line!(out, "payment = {}", job.payment);
    line!(out, "priority = {}", job.priority);
    line!(out, "deadline = {}", span(job.deadline));
    line!(out, "requirements = {}", texts(&job.requirements));
    line!(out, "output_bytes = {}", job.output_bytes);
    if !job.compressible {
        line!(out, "compressible = false");
    }
    line!(out, "failing = {}", percentage(job.failing));
    line!(out, "max_attempts = {}", job.max_attempts);
    line!(out, "private = {}", job.private);
    let consistency = match job.consistency {
        Consistency::Quorum => "quorum",
        Consistency::Available => "available",
    };
    line!(out, "consistency = {}", quoted(consistency));
}

fn write_fault(out: &mut String, fault: &Fault) {
    line!(out, "\n[[fault]]\nat = {}", time(fault.at));
    if let Some(until) = fault.until {
        line!(out, "until = {}", time(until));
    }
    match &fault.kind {
        FaultKind::Partition { groups } => {
            let groups: Vec<String> = groups.iter().map(|group| node_list(group)).collect();
            line!(out, "kind = \"partition\"\ngroups = [{}]", groups.join(", "));
        }
        FaultKind::OneWay { from, to } => {
            line!(out, "kind = \"one_way\"\nfrom = {}\nto = {}", node_list(from), node_list(to));
        }
        FaultKind::Link { between: [one, other], latency, loss, bandwidth_bps } => {
            line!(out, "kind = \"link\"\nbetween = [{}, {}]", node_list(one), node_list(other));
            if let Some(latency) = latency {
                line!(out, "latency = {}", latency.written());
            }
            if let Some(loss) = loss {
                line!(out, "loss = {}", percentage(*loss));
            }
            if let Some(rate) = bandwidth_bps {
                line!(out, "bandwidth = {}", bandwidth(*rate));
            }
        }
        FaultKind::Crash { nodes, storage, connection } => {
            let storage = storage.name();
            let connection = match connection {
                CrashConnection::Silent => "silent",
                CrashConnection::Reset => "reset",
            };
            let nodes = node_list(nodes);
            line!(out, "kind = \"crash\"\nnodes = {nodes}\nstorage = \"{storage}\"\nconnection = \"{connection}\"");
        }
        FaultKind::Pause { nodes } => line!(out, "kind = \"pause\"\nnodes = {}", node_list(nodes)),
        FaultKind::Slow { nodes, factor_millionths } => {
            let mut factor = String::new();
            write_millionths(&mut factor, *factor_millionths).expect("a String takes everything");
            line!(out, "kind = \"slow\"\nnodes = {}\nfactor = {factor}", node_list(nodes));
        }
        FaultKind::Join { nodes } => line!(out, "kind = \"join\"\nnodes = {}", node_list(nodes)),
        FaultKind::Leave { nodes } => line!(out, "kind = \"leave\"\nnodes = {}", node_list(nodes)),
        FaultKind::Rotate { nodes } => line!(out, "kind = \"rotate\"\nnodes = {}", node_list(nodes)),
        FaultKind::Clock { nodes, skew_us, drift_ppm, jump_us } => {
            let signed = |us: i64| format!("\"{}{}\"", if us < 0 { "-" } else { "" }, Span(us.unsigned_abs()));
            line!(out, "kind = \"clock\"\nnodes = {}", node_list(nodes));
            line!(out, "skew = {}\ndrift_ppm = {drift_ppm}\njump = {}", signed(*skew_us), signed(*jump_us));
        }
        FaultKind::Byzantine { nodes, behaviour } => {
            line!(out, "kind = \"byzantine\"\nnodes = {}\nbehaviour = {}", node_list(nodes), quoted(behaviour.name()));
            for (key, setting) in behaviour.entries() {
                if let Some(setting) = byzantine::written(key, setting) {
                    line!(out, "{} = {setting}", key.name);
                }
            }
        }
    }
}

fn kpi_target(target: &KpiTarget) -> String {
    let key = targets::statistic_key(target.statistic);
    // Shortest digits that read back as the same number, never with an exponent.
    let bound = format!("{:?}", target.target);
    let bound = if bound.contains('e') { format!("{}", target.target) } else { bound };
    match target.comparison {
        Comparison::Within(percent) => format!("{{ {key} = \"< {bound}\", within = \"{percent}%\" }}"),
        other => format!("{{ {key} = \"{} {bound}\" }}", targets::sign(other)),
    }
}

pub(super) fn span(span: Span) -> String {
    format!("\"{span}\"")
}

fn time(time: Time) -> String {
    span(Span(time.0))
}

pub(super) fn percentage(share: Ppm) -> String {
    let mut percent = String::new();
    write_millionths(&mut percent, u64::from(share.0) * 100).expect("a String takes everything");
    format!("\"{percent}%\"")
}

pub(super) fn bandwidth(bits_per_second: u64) -> String {
    let units = [(1_000_000_000, "Gbit/s"), (1_000_000, "Mbit/s"), (1_000, "kbit/s")];
    let unit = units.iter().find(|(unit, _)| bits_per_second.is_multiple_of(*unit)).unwrap_or(&(1, "bit/s"));
    format!("\"{}{}\"", bits_per_second / unit.0, unit.1)
}

pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

pub(super) fn texts(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

fn node_list(nodes: &[NodeNo]) -> String {
    texts(&ranges(nodes))
}

/// Sorted nodes as a scenario writes them: `n0..n5`, `n7`.
#[must_use]
pub fn ranges(nodes: &[NodeNo]) -> Vec<String> {
    let runs = nodes.chunk_by(|a, b| a + 1 == *b);
    let run = |run: &[NodeNo]| match run {
        [only] => format!("n{only}"),
        [first, .., last] => format!("n{first}..n{last}"),
        [] => String::new(),
    };
    runs.map(run).collect()
}
