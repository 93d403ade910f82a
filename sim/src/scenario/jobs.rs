//! `[workload]`: the jobs that arrive.

use marlos::time::{Span, Time};
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::Consistency;

use super::fields::{Fields, Item, Read};
use super::nodes::Names;
use super::parse::Beside;
use super::{Arrival, JobTemplate, LatencyLaw, WorkloadSpec, limits};

/// The times that a workload's defaults and bounds come from.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) duration: Time,
    pub(super) warmup: Time,
    pub(super) settle: Span,
}

/// `[workload]`.
pub(super) fn read(item: Item<'_>, names: &Names, frame: Frame, beside: Beside<'_>) -> Read<WorkloadSpec> {
    let keys = ["jobs_per_second", "arrival", "burst_size", "from", "start", "end", "job"];
    let fields = Fields::of(item, "`[workload]`", &keys)?;
    let rate = fields.need("jobs_per_second")?;
    let millionths = rate.millionths(1..=1_000_000_000_000)?;
    if !millionths.is_multiple_of(1_000) {
        return Err(rate.problem("`jobs_per_second` has more than three decimals", "0.001 to 1000000"));
    }
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
    let workload = WorkloadSpec {
        jobs_per_1000_s: millionths / 1_000,
        arrival: arrival(&fields)?,
        from: fields.get("from").map_or_else(|| Ok(names.all()), |from| names.read_list(from))?,
        start,
        end,
        job: job(fields.get("job"), beside)?,
    };
    let jobs = u128::from(workload.jobs_per_1000_s) * u128::from(end.0 - start.0) / 1_000_000_000;
    if jobs > u128::from(limits::JOBS) {
        let message = format!("about {jobs} jobs; at most {} are allowed", limits::JOBS);
        return Err(rate.problem(message, "too many in the time from `start` to `end`"));
    }
    Ok(workload)
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

fn job(item: Option<Item<'_>>, beside: Beside<'_>) -> Read<JobTemplate> {
    let mut job = JobTemplate {
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
    };
    let Some(item) = item else {
        return Ok(job);
    };
    let keys = [
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
    let fields = Fields::of(item, "`job`", &keys)?;
    if let Some(item) = fields.get("type") {
        job.job_type = item.short_text(32)?.to_owned();
    }
    if let Some(item) = fields.get("duration") {
        job.duration = LatencyLaw::read(item, Span::secs(86_400), beside)?;
    }
    if let Some(item) = fields.get("payment") {
        job.payment = Tokens(item.millionths(0..=1_000_000_000_000_000)?);
    }
    if let Some(item) = fields.get("priority") {
        job.priority = Ppm(u32::try_from(item.millionths(0..=1_000_000)?).expect("in range"));
    }
    if let Some(item) = fields.get("deadline") {
        job.deadline = item.duration(Span::millis(1)..=Span::secs(7 * 86_400))?;
    }
    if let Some(item) = fields.get("requirements") {
        let list = item.list()?;
        if list.len() > 16 {
            return Err(item.problem(format!("{} requirements", list.len()), "at most 16"));
        }
        job.requirements = list.iter().map(|r| r.short_text(32).map(str::to_owned)).collect::<Read<_>>()?;
    }
    if let Some(item) = fields.get("output_bytes") {
        job.output_bytes = u32::try_from(item.whole(0..=16 * 1024 * 1024)?).expect("in range");
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
