//! Runs shell jobs: other people's commands, where the operator allowed them, inside limits (contract.md, marlos-node).
//!
//! A job runs below a [`supervisor`] of its own, in a process group and a working directory of its own, with an empty
//! environment but for `PATH`, nothing on its standard input, and limits on time, memory, processes, file size and output. At
//! its end, and at the node's, however that comes, nothing of it is left. It is no sandbox: it can read what the node's user
//! can read, and kill what the node's user can kill, the node included. Run the node as a user of its own, in a container
//! where commands are not trusted.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::config::JobLimits;
use super::config::value::Allow;
use super::files;
use super::supervisor::{self, End, Limits};
use crate::id::JobId;
use crate::time::Span;

/// Where programs are looked up, and the whole environment of a job.
const PATH: &str = "/usr/bin:/bin";
/// Held by every supervisor as long as it lives.
const LOCK_FILE: &str = "work.lock";
/// Room in the output for the line that says how it ended.
const LAST_LINE: usize = 160;
/// How long output is waited for after a job's last process was killed.
const DRAIN: Duration = Duration::from_secs(1);
/// How long supervisors get to end what they supervise, before they are killed themselves.
const END: Duration = Duration::from_secs(10);

/// Runs jobs and kills them.
#[derive(Debug)]
pub struct Executor {
    allow: Allow,
    limits: JobLimits,
    place: Place,
    running: BTreeMap<JobId, Running>,
    /// Killed, and perhaps not dead yet.
    ending: BTreeMap<JobId, JoinHandle<()>>,
    runs: u64,
    finished: mpsc::UnboundedSender<Finished>,
}

#[derive(Debug)]
struct Running {
    run: u64,
    /// Dropped to kill it.
    kill: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Where jobs work, and how they are started.
#[derive(Clone, Debug)]
struct Place {
    work_dir: PathBuf,
    lock: PathBuf,
    program: PathBuf,
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
    /// An executor whose jobs work below `data_dir`, supervised by `program`, which is the node's own. Waits until what an
    /// earlier process of the node had started there has ended, and removes what is left of it.
    ///
    /// # Errors
    /// A sentence that names the directory.
    pub fn new(
        data_dir: &Path,
        allow: Allow,
        limits: JobLimits,
        program: &Path,
    ) -> Result<(Executor, mpsc::UnboundedReceiver<Finished>), String> {
        let data_dir = std::path::absolute(data_dir).map_err(|e| format!("{}: {e}", data_dir.display()))?;
        let (work_dir, lock) = (data_dir.join("work"), data_dir.join(LOCK_FILE));
        files::private_dir(&work_dir)?;
        outlive(&lock, &work_dir)?;
        for left in std::fs::read_dir(&work_dir).into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir_all(left.path());
        }
        // Bounded by the jobs that run at once, and those by the node.
        let (finished, results) = mpsc::unbounded_channel();
        let place = Place { work_dir, lock, program: program.to_owned() };
        Ok((
            Executor { allow, limits, place, running: BTreeMap::new(), ending: BTreeMap::new(), runs: 0, finished },
            results,
        ))
    }

    /// Starts a job, once an earlier run of it that was cancelled is dead; [`Finished`] follows, also where it may not run here.
    pub fn execute(&mut self, job: JobId, job_type: &str, command: &str, deadline: Span) {
        self.cancel(job);
        let before = self.ending.remove(&job);
        self.runs += 1;
        let run = self.runs;
        let (kill, killed) = oneshot::channel();
        let plan = match job_type {
            "shell" => plan(&self.allow, command),
            other => Err(format!("this node runs no jobs of type `{other}`")),
        };
        let (limits, finished, place) = (self.limits.clone(), self.finished.clone(), self.place.clone());
        let directory = place.work_dir.join(format!("{job}-{run}"));
        let task = tokio::spawn(async move {
            if let Some(before) = before {
                let _ = before.await;
            }
            let since = Instant::now();
            let end = match plan {
                Ok(plan) => run_in(&place, &directory, &plan, &limits, deadline, killed).await,
                Err(reason) => Some((false, format!("{reason}\n").into_bytes())),
            };
            if let Some((success, output)) = end {
                let duration = Span::micros(u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX));
                let _ = finished.send(Finished { job, run, success, output, duration });
            }
        });
        self.running.insert(job, Running { run, kill, task });
    }

    /// Kills a job. Nothing more is heard of it.
    pub fn cancel(&mut self, job: JobId) {
        self.ending.retain(|_, task| !task.is_finished());
        if let Some(Running { kill, task, .. }) = self.running.remove(&job) {
            // Dropping the sender is the signal; the task goes on until everything is killed and removed.
            drop(kill);
            self.ending.insert(job, task);
        }
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

    /// Kills every job and waits until that is done, a little longer than its end may take.
    pub async fn stop(&mut self) {
        let jobs: Vec<JobId> = self.running.keys().copied().collect();
        jobs.into_iter().for_each(|job| self.cancel(job));
        let tasks = std::mem::take(&mut self.ending);
        let all = async {
            for task in tasks.into_values() {
                let _ = task.await;
            }
        };
        let _ = tokio::time::timeout(END + DRAIN, all).await;
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
    place: &Place,
    directory: &Path,
    plan: &Plan,
    limits: &JobLimits,
    deadline: Span,
    mut killed: oneshot::Receiver<()>,
) -> Option<(bool, Vec<u8>)> {
    let failed = |what: String| Some((false, format!("not run: {what}\n").into_bytes()));
    if killed.try_recv() != Err(oneshot::error::TryRecvError::Empty) {
        return None;
    }
    if let Err(error) = files::private_dir(directory) {
        return failed(error);
    }
    let _removed = Removed(directory.to_owned());
    let (mut child, mut line) = match start(place, directory, plan, limits) {
        Ok(started) => started,
        Err(error) => return failed(error.to_string()),
    };
    let cap = usize::try_from(limits.output_limit.0).unwrap_or(usize::MAX).saturating_sub(LAST_LINE);
    let stdout = tokio::spawn(read_capped(child.stdout.take(), cap));
    let stderr = tokio::spawn(read_capped(child.stderr.take(), cap));
    let time = if deadline < limits.time_limit { deadline } else { limits.time_limit };
    let mut end = [0; End::BYTES];
    let end = tokio::select! {
        said = line.read_exact(&mut end) => match said.ok().and_then(|_| End::from_bytes(end)) {
            Some(End::Exited(0)) => Some(Ok(())),
            Some(End::Exited(status)) => Some(Err(format!("exit status {status}"))),
            Some(End::Killed(signal)) => Some(Err(format!("killed: signal {signal}"))),
            None => Some(Err("its supervisor ended before it".to_owned())),
        },
        () = tokio::time::sleep(Duration::from_micros(time.as_micros())) => {
            Some(Err(format!("killed: still running after {time}")))
        }
        _ = &mut killed => None,
    };
    // This is what ends everything, where it has not ended yet.
    drop(line);
    ended(&mut child, directory).await;
    let end = end?;
    let (stdout, stderr) = (drained(stdout).await, drained(stderr).await);
    Some((end.is_ok(), compose(stdout, stderr, cap, end.err())))
}

/// Starts the job's supervisor, and gives the line to it: it says on it how the job ended, and ends all when it is closed.
fn start(place: &Place, directory: &Path, plan: &Plan, limits: &JobLimits) -> std::io::Result<(Child, UnixStream)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let limits =
        Limits { memory: limits.memory_limit.0, file: limits.file_limit.0, processes: u64::from(limits.process_limit) };
    let child = Command::new(&place.program)
        .arg0(supervisor::NAME)
        .args(supervisor::arguments(place.lock.clone().into(), limits, &plan.program, &plan.arguments))
        .env_clear()
        .env("PATH", PATH)
        .current_dir(directory)
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    Ok((child, UnixStream::from_std(ours)?))
}

/// Waits for the supervisor, and does its work where it cannot.
async fn ended(child: &mut Child, directory: &Path) {
    let clean = matches!(tokio::time::timeout(END, child.wait()).await, Ok(Ok(status)) if status.success());
    if !clean {
        tracing::warn!(directory = %directory.display(), "a job's supervisor did not end by itself");
        // Whoever killed or stopped it: with it goes the job's first process, and the rest is looked for.
        let _ = child.kill().await;
        sweep(directory);
    }
}

/// Waits until nothing of an earlier life runs any more. Its supervisors noticed its death; who was killed with it left
/// processes that are looked for.
fn outlive(lock: &Path, work_dir: &Path) -> Result<(), String> {
    let file = File::create(lock).map_err(|e| format!("cannot write {}: {e}", lock.display()))?;
    let since = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(format!("cannot lock {}: {error}", lock.display())),
            Err(TryLockError::WouldBlock) if since.elapsed() > END * 2 => {
                return Err(format!(
                    "jobs of an earlier life of this node still run below {}: end them and start again",
                    work_dir.display()
                ));
            }
            Err(TryLockError::WouldBlock) if since.elapsed() > END => sweep(work_dir),
            Err(TryLockError::WouldBlock) => {}
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    sweep(work_dir);
    file.unlock().map_err(|e| format!("cannot unlock {}: {e}", lock.display()))
}

/// Kills every process that works in this directory or below.
fn sweep(directory: &Path) {
    for pid in supervisor::processes() {
        if std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory))
            && let Some(pid) = Pid::from_raw(pid)
        {
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
