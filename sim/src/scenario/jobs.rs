//! `[workload]`: the jobs that arrive.

use marlos::time::{Span, Time};
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::Consistency;

use super::fields::{Fields, Item, Read};
use super::nodes::Names;
use super::parse::Beside;
use super::{Arrival, JobTemplate, LatencyLaw, MixedJob, RatePoint, Trace, WorkloadSpec, limits};
use crate::workload::ramp;

/// The times that a workload's defaults and bounds come from.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) duration: Time,
    pub(super) warmup: Time,
    pub(super) settle: Span,
}

const KEYS: [&str; 11] =
    ["jobs_per_second", "rates", "trace", "trace_jobs", "arrival", "burst_size", "from", "start", "end", "job", "mix"];

/// `[workload]`.
pub(super) fn read(item: Item<'_>, names: &Names, frame: Frame, beside: Beside<'_>) -> Read<WorkloadSpec> {
    let fields = Fields::of(item, "`[workload]`", &KEYS)?;
    let time = |key: &str, default: Time| match fields.get(key) {
        None => Ok(default),
        Some(item) => {
            let at = Time(item.duration(Span::ZERO..=limits::DURATION)?.0);
            let late = format!("`{key}` lies after the end of the run at {}", Span(frame.duration.0));
            if at > frame.duration { Err(item.problem(late, "too late")) } else { Ok(at) }
        }
    };
    let start = time("start", frame.warmup)?;
    // Jobs that arrive in the last moments could only be reported as unfinished.
    let end = time("end", Time(frame.duration.0.saturating_sub(frame.settle.0)).max(start))?;
    if start >= end {
        let place = fields.get("end").or_else(|| fields.get("start")).unwrap_or(item);
        let message = format!("the workload ends at {} and starts at {}", Span(end.0), Span(start.0));
        return Err(place.problem(message, "`start` must lie before `end`"));
    }
    let job = job(fields.get("job"), default_job(), &[], beside)?;
    let mut workload = WorkloadSpec {
        jobs_per_1000_s: 0,
        rates: Vec::new(),
        arrival: arrival(&fields)?,
        from: fields.get("from").map_or_else(|| Ok(names.all()), |from| names.read_list(from))?,
        start,
        end,
        mix: fields.get("mix").map_or_else(|| Ok(Vec::new()), |item| mix(item, &job, beside))?,
        job,
        trace: None,
    };
    let place = how_many(&fields, &mut workload, names, beside)?;
    let jobs = u128::from(workload.jobs_per_1000_s) * u128::from(end.0 - start.0) / 1_000_000_000;
    if jobs > u128::from(limits::JOBS) {
        let message = format!("about {jobs} jobs; at most {} are allowed", limits::JOBS);
        return Err(place.problem(message, "too many in the time from `start` to `end`"));
    }
    Ok(workload)
}

/// How many jobs come: by one rate, by a rate that changes, or as a trace has them. Returns what says so.
fn how_many<'t>(fields: &Fields<'t>, workload: &mut WorkloadSpec, names: &Names, beside: Beside<'_>) -> Read<Item<'t>> {
    let ways = ["jobs_per_second", "rates", "trace"];
    let mut said = ways.iter().filter_map(|key| fields.get(key));
    let Some(item) = said.next() else { return Err(fields.missing(ways[0])) };
    if let Some(other) = said.next() {
        let message = format!("`{}` beside `{}`: one of them says how many jobs come", other.name, item.name);
        return Err(other.problem(message, "leave one out"));
    }
    let with_trace = ["arrival", "burst_size", "mix"].iter().find_map(|key| fields.get(key));
    match (item.name, with_trace, fields.get("trace_jobs")) {
        ("trace", Some(other), _) => {
            return Err(
                other.problem(format!("`{}` beside a trace, which says that itself", other.name), "leave it out")
            );
        }
        ("trace", None, inline) => {
            let trace = trace(item, inline, &workload.job, names, beside)?;
            let (lasts, last) = (workload.end.since(workload.start), trace.jobs[trace.jobs.len() - 1].at);
            if last >= lasts {
                let message = format!("the trace's last job comes {last} after `start`, and `end` is {lasts} after it");
                return Err(item.problem(message, "a later `end`, or a shorter trace"));
            }
            workload.jobs_per_1000_s = (trace.jobs.len() as u64 * 1_000_000_000).div_ceil(lasts.as_micros());
            workload.trace = Some(trace);
        }
        (_, _, Some(inline)) => return Err(inline.problem("`trace_jobs` without `trace`", "leave it out")),
        ("rates", ..) => {
            workload.rates = rates(item)?;
            workload.jobs_per_1000_s = ramp::mean(&workload.rates, workload.start, workload.end);
            if workload.jobs_per_1000_s == 0 {
                return Err(item.problem("no job comes between `start` and `end`", "a rate above 0 in that time"));
            }
        }
        _ => workload.jobs_per_1000_s = rate(item, 1)?,
    }
    Ok(item)
}

/// Jobs in 1,000 s.
fn rate(item: Item<'_>, least: u64) -> Read<u64> {
    let millionths = item.millionths(least..=1_000_000_000_000)?;
    if !millionths.is_multiple_of(1_000) {
        return Err(item.problem("`jobs_per_second` has more than three decimals", "0.001 to 1000000"));
    }
    Ok(millionths / 1_000)
}

/// `rates`: points of rising time, each with a rate.
fn rates(item: Item<'_>) -> Read<Vec<RatePoint>> {
    let list = item.list()?;
    if list.is_empty() || list.len() > limits::RATE_POINTS {
        return Err(item.problem(format!("{} points of a rate", list.len()), format!("1 to {}", limits::RATE_POINTS)));
    }
    let mut points: Vec<RatePoint> = Vec::new();
    for point in list {
        let fields = Fields::of(point, "a point of `rates`", &["at", "jobs_per_second"])?;
        let at_item = fields.need("at")?;
        let at = Time(at_item.duration(Span::ZERO..=limits::DURATION)?.0);
        if points.last().is_some_and(|last| at < last.at) {
            return Err(at_item.problem("`rates` must be in the order of time", "earlier than the one before it"));
        }
        points.push(RatePoint { at, jobs_per_1000_s: rate(fields.need("jobs_per_second")?, 0)? });
    }
    Ok(points)
}

/// `mix`: what each kind does not say is as `job` has it.
fn mix(item: Item<'_>, job_of_all: &JobTemplate, beside: Beside<'_>) -> Read<Vec<MixedJob>> {
    let list = item.list()?;
    if list.is_empty() || list.len() > limits::MIXED_JOBS {
        return Err(item.problem(format!("{} kinds of jobs", list.len()), format!("1 to {}", limits::MIXED_JOBS)));
    }
    let read = |kind: &Item<'_>| -> Read<MixedJob> {
        let job = job(Some(*kind), job_of_all.clone(), &["share"], beside)?;
        let fields = Fields::of(*kind, "`mix`", &[&["share"], &JOB_KEYS[..]].concat())?;
        let share = u32::try_from(fields.need("share")?.whole(1..=1_000_000)?).expect("in range");
        Ok(MixedJob { share, job })
    };
    list.iter().map(read).collect()
}

fn trace(
    item: Item<'_>,
    inline: Option<Item<'_>>,
    job: &JobTemplate,
    names: &Names,
    beside: Beside<'_>,
) -> Read<Trace> {
    let file = item.short_text(255)?;
    if let Some(inline) = inline {
        return Trace::parse(file, inline.text()?, job, names).map_err(|why| inline.problem(why, "these jobs"));
    }
    let text = beside(file).map_err(|why| item.problem(why, "relative to the scenario's directory"))?;
    Trace::parse(file, &text, job, names).map_err(|why| item.problem(format!("`{file}`: {why}"), "this trace"))
}

fn arrival(fields: &Fields<'_>) -> Read<Arrival> {
    let kind = fields.get("arrival").map(|item| item.one_of(&["poisson", "uniform", "burst"], &[])).transpose()?;
    match (kind.unwrap_or(0), fields.get("burst_size")) {
        (2, Some(item)) => {
            let size = u32::try_from(item.whole(1..=10_000)?).expect("in range");
            Ok(Arrival::Burst { size })
        }
        (2, None) => Err(fields.missing("burst_size")),
        (_, Some(item)) => Err(item.problem("`burst_size` without `arrival = \"burst\"`", "leave it out")),
        (1, None) => Ok(Arrival::Uniform),
        (_, None) => Ok(Arrival::Poisson),
    }
}

fn default_job() -> JobTemplate {
    JobTemplate {
        job_type: "simulated".to_owned(),
        duration: LatencyLaw::Uniform { min: Span::millis(100), max: Span::secs(2) },
        payment: Tokens::whole(10),
        priority: Ppm(500_000),
        deadline: Span::secs(60),
        requirements: Vec::new(),
        output_bytes: 64,
        compressible: true,
        failing: Ppm(0),
        max_attempts: 1,
        private: false,
        consistency: Consistency::Quorum,
    }
}

const JOB_KEYS: [&str; 12] = [
    "type",
    "duration",
    "payment",
    "priority",
    "deadline",
    "requirements",
    "output_bytes",
    "compressible",
    "failing",
    "max_attempts",
    "consistency",
    "private",
];

/// A job's keys, on top of what holds where they are not there; `more` are keys of what it stands in.
fn job(item: Option<Item<'_>>, default: JobTemplate, more: &[&str], beside: Beside<'_>) -> Read<JobTemplate> {
    let mut job = default;
    let Some(item) = item else {
        return Ok(job);
    };
    let fields = Fields::of(item, &format!("`{}`", item.name), &[more, &JOB_KEYS].concat())?;
    if let Some(item) = fields.get("type") {
        job.job_type = item.short_text(32)?.to_owned();
    }
    if let Some(item) = fields.get("duration") {
        job.duration = LatencyLaw::read(item, limits::JOB, beside)?;
    }
    if let Some(item) = fields.get("payment") {
        job.payment = Tokens(item.millionths(0..=1_000_000_000_000_000)?);
    }
    if let Some(item) = fields.get("priority") {
        job.priority = Ppm(u32::try_from(item.millionths(0..=1_000_000)?).expect("in range"));
    }
    if let Some(item) = fields.get("deadline") {
        job.deadline = item.duration(Span::millis(1)..=limits::DEADLINE)?;
    }
    if let Some(item) = fields.get("requirements") {
        let list = item.list()?;
        if list.len() > limits::REQUIREMENTS {
            return Err(
                item.problem(format!("{} requirements", list.len()), format!("at most {}", limits::REQUIREMENTS))
            );
        }
        job.requirements = list.iter().map(|r| r.short_text(32).map(str::to_owned)).collect::<Read<_>>()?;
    }
    if let Some(item) = fields.get("output_bytes") {
        job.output_bytes = u32::try_from(item.whole(0..=limits::OUTPUT_BYTES.into())?).expect("in range");
    }
    if let Some(item) = fields.get("compressible") {
        job.compressible = item.bool()?;
    }
    if let Some(item) = fields.get("failing") {
        job.failing = item.percentage()?;
    }
    if let Some(item) = fields.get("max_attempts") {
        job.max_attempts = u32::try_from(item.whole(1..=100)?).expect("in range");
    }
    if let Some(item) = fields.get("consistency") {
        let kinds = [Consistency::Quorum, Consistency::Available];
        job.consistency = kinds[item.one_of(&["quorum", "available"], &[])?];
    }
    if let Some(item) = fields.get("private") {
        job.private = item.bool()?;
    }
    Ok(job)
}
