//! What the machine gives to a node: its files, its limits, its processes.

use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};

use super::{Finding, Verdict, good, not_good};
use crate::driver::config::Settings;
use crate::driver::config::value::Allow;
use crate::driver::executor::Executor;
use crate::driver::store::Store;
use crate::driver::{DESCRIPTORS, files, supervisor};
use crate::id::JobId;
use crate::time::Span;

/// With less than this on the disk, a node does not last.
const NO_ROOM: u64 = 64 << 20;
const LITTLE_ROOM: u64 = 1 << 30;
/// A job that does nothing has this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether the node would start with what it remembers.
pub fn state(settings: &Settings, runs: bool) -> Finding {
    if runs {
        return good("state", "in use by the node that runs");
    }
    let Ok(Some(keys)) = files::read_keys(&settings.data_dir) else {
        return good("state", "none yet");
    };
    match Store::open(&settings.data_dir, keys.id()) {
        Ok((_, records)) => good("state", format!("{} records, every one of them verified", records.len())),
        Err(error) => not_good(Verdict::Bad, "state", error, "see docs/operator.md, \"Files\""),
    }
}

/// Open files, file sizes, room on the disk.
pub fn limits(settings: &Settings) -> Vec<Finding> {
    let most = |resource| getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let files = match most(Resource::Nofile) {
        enough if enough >= DESCRIPTORS => good("open files", format!("{DESCRIPTORS} or more are allowed")),
        few => not_good(
            Verdict::Poor,
            "open files",
            format!("{few} are allowed, and connections at the front's own limits need {DESCRIPTORS}"),
            "raise the hard limit (ulimit -Hn, LimitNOFILE=)",
        ),
    };
    let size = match getrlimit(Resource::Fsize).current {
        None => good("file size", "not limited"),
        Some(bytes) => not_good(
            Verdict::Poor,
            "file size",
            format!("{bytes} bytes; the node stops when its state needs more"),
            "lift the limit (ulimit -f unlimited, LimitFSIZE=)",
        ),
    };
    vec![files, size, room(&settings.data_dir)]
}

fn room(data_dir: &Path) -> Finding {
    // The directory, or the nearest one above it that is there.
    let place = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let about = place.ancestors().find_map(|directory| rustix::fs::statvfs(directory).ok());
    let Some(about) = about else {
        let advice = "look whether the directory can be read";
        return not_good(Verdict::Unknown, "disk", format!("nothing is known of {}", place.display()), advice);
    };
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    let found = format!("{} MiB are free below {}", free >> 20, place.display());
    let verdict = match free {
        ..NO_ROOM => Verdict::Bad,
        NO_ROOM..LITTLE_ROOM => Verdict::Poor,
        LITTLE_ROOM.. => return good("disk", found),
    };
    not_good(verdict, "disk", found, "make room: a node that cannot remember stops")
}

/// Whether shell jobs run here as they should: one that does nothing is run.
pub async fn jobs(settings: &Settings) -> Finding {
    let jobs = &settings.document.jobs;
    if jobs.shell.allow.is_nobody() {
        return good("jobs", "this node runs none (jobs.shell.allow is empty)");
    }
    let (data_dir, was_there) = (&settings.data_dir, settings.data_dir.exists());
    let data = data_dir.join(format!("doctor-{}", std::process::id()));
    let end = run_one(&data, settings).await;
    let _ = std::fs::remove_dir_all(&data);
    if !was_there {
        let _ = std::fs::remove_dir(data_dir);
    }
    match end {
        Err(error) => not_good(
            Verdict::Bad,
            "jobs",
            format!("a job that does nothing failed: {error}"),
            "look at jobs.memory_limit and jobs.process_limit, and at /proc and /bin in a container",
        ),
        Ok(()) if rustix::process::geteuid().is_root() => not_good(
            Verdict::Poor,
            "jobs",
            "they run as root, whom jobs.process_limit does not bind",
            "run the node as a user of its own",
        ),
        Ok(()) => good("jobs", "a job that does nothing was run, and nothing is left of it"),
    }
}

async fn run_one(data: &Path, settings: &Settings) -> Result<(), String> {
    files::private_dir(data)?;
    let allow = Allow::Programs(vec!["true".to_owned()]);
    let limits = settings.document.jobs.limits.clone();
    let (mut executor, mut finished) = Executor::new(data, allow, limits, supervisor::PROGRAM.as_ref())?;
    executor.execute(JobId([0; 16]), "shell", "true", Span::secs(10));
    match tokio::time::timeout(PATIENCE, finished.recv()).await {
        Ok(Some(finished)) if finished.success => Ok(()),
        Ok(Some(finished)) => Err(String::from_utf8_lossy(&finished.output).trim().to_owned()),
        Ok(None) | Err(_) => Err(format!("it did not end within {} s", PATIENCE.as_secs())),
    }
}
