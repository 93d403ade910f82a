//! Runs shell jobs: other people's commands, where the operator allowed them, inside limits (contract.md, marlos-node).
//!
//! A job runs in a process group and a working directory of its own, with an empty environment but for `PATH`, nothing on its
//! standard input, and limits on time, memory, processes, file size and output. It is no sandbox: it can read what the node's
//! user can read, and a program that leaves its process group and its directory outlives the job. Run the node as a user of
//! its own, in a container where commands are not trusted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::config::JobLimits;
use super::config::value::Allow;
use super::files;
use crate::id::JobId;
use crate::time::Span;

/// Where programs are looked up, and the whole environment of a job.
const PATH: &str = "/usr/bin:/bin";
/// Files that a process of a job may have open.
const OPEN_FILES: u64 = 256;
/// Room in the output for the line that says how it ended.
const LAST_LINE: usize = 160;
/// How long output is waited for after a job's last process was killed.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs jobs and kills them.
#[derive(Debug)]
pub struct Executor {
    allow: Allow,
    limits: JobLimits,
    work_dir: PathBuf,
    running: BTreeMap<JobId, Running>,
    runs: u64,
    finished: mpsc::UnboundedSender<Finished>,
}

#[derive(Debug)]
struct Running {
    run: u64,
    /// Dropped to kill it.
    kill: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// An execution that ended.
#[derive(Debug)]
pub struct Finished {
    /// The job.
    pub job: JobId,
    run: u64,
    /// Whether it exited with zero.
    pub success: bool,
    /// What it printed, and how it ended where that was not with zero.
    pub output: Vec<u8>,
    /// How long it ran.
    pub duration: Span,
}

/// What is to be run, decided before anything is started.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    program: String,
    arguments: Vec<String>,
}

impl Executor {
    /// An executor whose jobs work below `data_dir`. What an earlier process left there is killed and removed.
    ///
    /// # Errors
    /// A sentence that names the directory.
    pub fn new(
        data_dir: &Path,
        allow: Allow,
        limits: JobLimits,
    ) -> Result<(Executor, mpsc::UnboundedReceiver<Finished>), String> {
        let work_dir =
            std::path::absolute(data_dir.join("work")).map_err(|e| format!("{}: {e}", data_dir.display()))?;
        files::private_dir(&work_dir)?;
        for left in std::fs::read_dir(&work_dir).into_iter().flatten().flatten() {
            sweep(&left.path());
            let _ = std::fs::remove_dir_all(left.path());
        }
        // Bounded by the jobs that run at once, and those by the node.
        let (finished, results) = mpsc::unbounded_channel();
        Ok((Executor { allow, limits, work_dir, running: BTreeMap::new(), runs: 0, finished }, results))
    }

    /// Starts a job; [`Finished`] follows, also where it may not run here.
    pub fn execute(&mut self, job: JobId, job_type: &str, command: &str, deadline: Span) {
        self.runs += 1;
        let run = self.runs;
        let (kill, killed) = oneshot::channel();
        let plan = match job_type {
            "shell" => plan(&self.allow, command),
            other => Err(format!("this node runs no jobs of type `{other}`")),
        };
        let (limits, finished) = (self.limits.clone(), self.finished.clone());
        let directory = self.work_dir.join(format!("{job}-{run}"));
        let task = tokio::spawn(async move {
            let since = Instant::now();
            let end = match plan {
                Ok(plan) => run_in(&directory, &plan, &limits, deadline, killed).await,
                Err(reason) => Some((false, format!("{reason}\n").into_bytes())),
            };
            if let Some((success, output)) = end {
                let duration = Span::micros(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
                let _ = finished.send(Finished { job, run, success, output, duration });
            }
        });
        if let Some(before) = self.running.insert(job, Running { run, kill: Some(kill), task }) {
            drop(before.kill);
        }
    }

    /// Kills a job. Nothing more is heard of it.
    pub fn cancel(&mut self, job: JobId) {
        // Dropping the sender is the signal; the task goes on until everything is killed and removed.
        self.running.remove(&job);
    }

    /// Whether the node still waits for this: not, if the job was cancelled meanwhile.
    pub fn accept(&mut self, finished: &Finished) -> bool {
        let wanted = self.running.get(&finished.job).is_some_and(|running| running.run == finished.run);
        if wanted {
            self.running.remove(&finished.job);
        }
        wanted
    }

    /// How many jobs run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Kills every job and waits until it is done, two seconds at most.
    pub async fn stop(&mut self) {
        let mut tasks = Vec::new();
        for (_, mut running) in std::mem::take(&mut self.running) {
            drop(running.kill.take());
            tasks.push(running.task);
        }
        let all = async {
            for task in tasks {
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), all).await;
    }
}

/// What a command comes down to, or why it does not run here.
fn plan(allow: &Allow, command: &str) -> Result<Plan, String> {
    if command.contains('\0') {
        return Err("the command contains a zero byte".to_owned());
    }
    match allow {
        Allow::Nobody => Err("this node runs no shell jobs".to_owned()),
        Allow::Everything => {
            Ok(Plan { program: "/bin/sh".to_owned(), arguments: vec!["-c".to_owned(), command.to_owned()] })
        }
        Allow::Programs(programs) => {
            let mut words = shlex::split(command).ok_or("the command has a quote without its end")?.into_iter();
            let program = words.next().ok_or("the command is empty")?;
            if !programs.contains(&program) {
                return Err(format!("`{program}` is not among the programs that this node allows"));
            }
            Ok(Plan { program, arguments: words.collect() })
        }
    }
}

/// Runs the plan; nothing where it was cancelled.
async fn run_in(
    directory: &Path,
    plan: &Plan,
    limits: &JobLimits,
    deadline: Span,
    mut killed: oneshot::Receiver<()>,
) -> Option<(bool, Vec<u8>)> {
    let failed = |what: String| Some((false, format!("not run: {what}\n").into_bytes()));
    if let Err(error) = files::private_dir(directory) {
        return failed(error);
    }
    let _removed = Removed(directory.to_owned());
    let mut child = match start(directory, plan, limits).await {
        Ok(child) => child,
        Err(error) => return failed(error.to_string()),
    };
    let mut group = Group { id: child.id().and_then(|id| Pid::from_raw(id.cast_signed())), directory };
    let cap = usize::try_from(limits.output_limit.0).unwrap_or(usize::MAX).saturating_sub(LAST_LINE);
    let stdout = tokio::spawn(read_capped(child.stdout.take(), cap));
    let stderr = tokio::spawn(read_capped(child.stderr.take(), cap));
    let time = if deadline < limits.time_limit { deadline } else { limits.time_limit };
    let end = tokio::select! {
        status = child.wait() => match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(match (status.code(), std::os::unix::process::ExitStatusExt::signal(&status)) {
                (Some(code), _) => format!("exit status {code}"),
                (None, Some(signal)) => format!("killed: signal {signal}"),
                (None, None) => "ended without a status".to_owned(),
            }),
            Err(error) => Err(format!("its end was missed: {error}")),
        },
        () = tokio::time::sleep(Duration::from_micros(time.as_micros())) => Err(format!("killed: still running after {time}")),
        _ = &mut killed => {
            group.kill();
            let _ = child.wait().await;
            return None;
        }
    };
    // What it left in the background ends with it.
    group.kill();
    let _ = child.wait().await;
    let (stdout, stderr) = (drained(stdout).await, drained(stderr).await);
    Some((end.is_ok(), compose(stdout, stderr, cap, end.err())))
}

/// Starts the program inside its limits. A shell waits for one line, during which the limits are set on it from outside;
/// then it becomes the program. So nothing runs without limits, and nothing of ours runs between fork and exec.
async fn start(directory: &Path, plan: &Plan, limits: &JobLimits) -> std::io::Result<Child> {
    let mut child = Command::new("/bin/sh")
        .args(["-c", "read -r go && exec \"$@\" </dev/null", "sh", &plan.program])
        .args(&plan.arguments)
        .env_clear()
        .env("PATH", PATH)
        .current_dir(directory)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    let others = tokio::task::spawn_blocking(tasks_of_user).await.unwrap_or(0);
    for (resource, limit) in [
        (Resource::As, limits.memory_limit.0),
        (Resource::Fsize, limits.file_limit.0),
        (Resource::Nproc, others + u64::from(limits.process_limit)),
        (Resource::Nofile, OPEN_FILES),
        (Resource::Core, 0),
    ] {
        rustix::process::prlimit(pid, resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"go\n").await?;
    Ok(child)
}

/// Processes and threads of the node's user: the system's limit counts them all.
fn tasks_of_user() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let me = rustix::process::getuid().as_raw();
    let mut tasks = 0;
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let is_process = process.file_name().to_str().is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        if is_process && process.metadata().is_ok_and(|m| m.uid() == me) {
            tasks += std::fs::read_dir(process.path().join("task")).map_or(0, |t| t.count() as u64);
        }
    }
    tasks
}

/// Everything that a job started, as far as it can be found.
struct Group<'a> {
    /// Nothing once it was killed: the number may then belong to somebody else.
    id: Option<Pid>,
    directory: &'a Path,
}

impl Group<'_> {
    fn kill(&mut self) {
        if let Some(id) = self.id.take() {
            let _ = rustix::process::kill_process_group(id, Signal::KILL);
        }
        sweep(self.directory);
    }
}

impl Drop for Group<'_> {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Kills every process that works in this directory or below: what left its process group usually stayed there.
fn sweep(directory: &Path) {
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        if std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory)) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// A directory that goes when this goes.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(directory = %self.0.display(), %error, "a job's directory is left");
        }
    }
}

/// Keeps the first `cap` bytes and reads on, so that the job is not held up. Says whether there was more.
async fn read_capped<R: AsyncRead + Unpin>(from: Option<R>, cap: usize) -> (Vec<u8>, bool) {
    let (mut kept, mut more) = (Vec::new(), false);
    let Some(mut from) = from else { return (kept, more) };
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let room = read.min(cap - kept.len());
        kept.extend_from_slice(&buffer[..room]);
        more |= room < read;
    }
    (kept, more)
}

async fn drained(mut reader: JoinHandle<(Vec<u8>, bool)>) -> (Vec<u8>, bool) {
    match tokio::time::timeout(DRAIN, &mut reader).await {
        Ok(read) => read.unwrap_or_default(),
        Err(_) => {
            reader.abort();
            (b"(output lost: a process that left the job's group holds it)\n".to_vec(), false)
        }
    }
}

/// Standard output, then standard error, then what there is to say.
fn compose(stdout: (Vec<u8>, bool), stderr: (Vec<u8>, bool), cap: usize, failure: Option<String>) -> Vec<u8> {
    let (mut output, mut more) = stdout;
    output.extend_from_slice(&stderr.0);
    more |= stderr.1 || output.len() > cap;
    output.truncate(cap);
    let mut notes = Vec::new();
    notes.extend(more.then(|| format!("(output cut at {cap} bytes)")));
    notes.extend(failure);
    for note in notes {
        if output.last().is_some_and(|last| *last != b'\n') {
            output.push(b'\n');
        }
        output.extend_from_slice(note.as_bytes());
        output.push(b'\n');
    }
    output
}

#[cfg(test)]
mod tests;
