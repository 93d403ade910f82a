//! The process between the node and a job: whatever becomes of the node, nothing of the job outlives its supervisor.
//!
//! For each job the node starts itself anew as a supervisor, in a session of its own. Every process that loses its parent
//! below it becomes its child (`PR_SET_CHILD_SUBREAPER`), so that whatever a job starts, in whatever group, session or
//! directory, stays in its tree. It kills that tree when the job's first process ends, and when its standard input ends: the
//! other end of that is the node's, who closes it to cancel the job, or whose death closes it. A file lock tells a restarted
//! node whether supervisors of its earlier life are still at work.
//!
//! A supervisor that is killed itself takes the job's first process with it (`PR_SET_PDEATHSIG`); the rest is left to the
//! node's search by directory ([`super::executor`]). Its own name is not the node's, so that `killall marlos-node` leaves it
//! its last duty.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, WaitStatus};

/// The node's own program, also where its file was replaced meanwhile.
pub const PROGRAM: &str = "/proc/self/exe";
/// What supervisors are called in the list of processes.
pub const NAME: &str = "marlos-job";
/// The first argument of a supervisor, and of what becomes the job.
const SUPERVISE: &str = "__supervise";
const BECOME: &str = "__become";
/// Files that a process of a job may have open.
const OPEN_FILES: u64 = 256;
/// What a shell says when a program cannot be run.
const NOT_RUN: u8 = 127;
/// Between two looks at whether everything has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// What a process of a job may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of address space.
    pub memory: u64,
    /// Bytes of each file that it writes.
    pub file: u64,
    /// Processes and threads, on top of those of the user at its start.
    pub processes: u64,
}

/// How the job's first process ended, as the supervisor says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl End {
    /// Bytes of an end.
    pub const BYTES: usize = 5;

    fn to_bytes(self) -> [u8; End::BYTES] {
        let (kind, number) = match self {
            End::Exited(status) => (b'e', status),
            End::Killed(signal) => (b'k', signal),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [kind, a, b, c, d]
    }

    /// What the supervisor wrote; nothing where it was none.
    #[must_use]
    pub fn from_bytes([kind, a, b, c, d]: [u8; End::BYTES]) -> Option<End> {
        let number = i32::from_le_bytes([a, b, c, d]);
        match kind {
            b'e' => Some(End::Exited(number)),
            b'k' => Some(End::Killed(number)),
            _ => None,
        }
    }
}

/// The arguments of a supervisor.
#[must_use]
pub fn arguments(lock: OsString, limits: Limits, program: &str, arguments: &[String]) -> Vec<OsString> {
    let limits = [limits.memory, limits.file, limits.processes].map(|n| OsString::from(n.to_string()));
    let command = std::iter::once(program).chain(arguments.iter().map(String::as_str)).map(OsString::from);
    [OsString::from(SUPERVISE), lock].into_iter().chain(limits).chain(command).collect()
}

/// Where the arguments of this process, with its name, are a supervisor's: is one, and says what to exit with.
#[must_use]
pub fn entry(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    let end = match arguments.next()?.to_str()? {
        SUPERVISE => supervise(&arguments.collect::<Vec<_>>()),
        BECOME => Err(become_job(&arguments.collect::<Vec<_>>())),
        _ => return None,
    };
    if let Err(error) = end {
        let _ = writeln!(std::io::stderr(), "not run: {error}");
        return Some(NOT_RUN.into());
    }
    Some(ExitCode::SUCCESS)
}

/// Runs the job and ends with it.
fn supervise(arguments: &[OsString]) -> Result<(), String> {
    let [lock, rest @ ..] = arguments else { return Err("a supervisor has arguments".into()) };
    let mut node = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(|e| e.to_string())?);
    let held = File::open(lock).map_err(|e| format!("{}: {e}", lock.display()))?;
    held.lock_shared().map_err(|e| format!("{}: {e}", lock.display()))?;
    // A node that died before the lock was taken may have a successor already, which has not waited for it.
    node.set_nonblocking(true).map_err(|e| e.to_string())?;
    if matches!(node.read(&mut [0]), Ok(0)) {
        return Ok(());
    }
    node.set_nonblocking(false).map_err(|e| e.to_string())?;
    rustix::process::setsid().map_err(|e| format!("setsid: {e}"))?;
    let me = rustix::process::getpid();
    rustix::process::set_child_subreaper(Some(me)).map_err(|e| format!("no subreaper: {e}"))?;
    let watched = node.try_clone().map_err(|e| e.to_string())?;
    std::thread::Builder::new()
        .name("watch".into())
        .spawn(move || kill_when_over(watched, me))
        .map_err(|e| e.to_string())?;
    let first = Command::new(PROGRAM)
        .arg0(NAME)
        .args([BECOME, &me.as_raw_nonzero().to_string()])
        .args(rest)
        .stdin(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|e| e.to_string())?;
    let end = reap_until(Pid::from_child(&first)).map_err(|e| format!("its end was missed: {e}"))?;
    end_all(me);
    // The node may be gone, or not want to know any more.
    let _ = node.write_all(&end.to_bytes());
    drop(held);
    Ok(())
}

/// Becomes the job's program, inside its limits; comes back only with what hindered it.
fn become_job(arguments: &[OsString]) -> String {
    let number = |text: &OsString| text.to_str().and_then(|t| t.parse::<u64>().ok());
    let [parent, memory, file, processes, program, rest @ ..] = arguments else {
        return "arguments are missing".into();
    };
    let (Some(parent), Some(memory), Some(file), Some(processes)) =
        (number(parent), number(memory), number(file), number(processes))
    else {
        return "a limit is not a number".into();
    };
    let mut command = Command::new(program);
    command.args(rest);
    let limited = || -> rustix::io::Result<()> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        for (resource, limit) in [
            (Resource::Core, 0),
            (Resource::Nofile, OPEN_FILES),
            (Resource::Fsize, file),
            (Resource::Nproc, tasks_of_user() + processes),
            (Resource::As, memory),
        ] {
            // What the node itself was given less of, it cannot give more of.
            let most = rustix::process::getrlimit(resource).maximum;
            let limit = Some(most.map_or(limit, |most| most.min(limit)));
            rustix::process::setrlimit(resource, Rlimit { current: limit, maximum: limit })?;
        }
        Ok(())
    };
    if let Err(error) = limited() {
        return format!("limits: {error}");
    }
    // The supervisor may have died before it would have been told.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get().cast_unsigned());
    if now.map(u64::from) != Some(parent) {
        return "its supervisor is gone".into();
    }
    format!("{}: {}", program.display(), command.exec())
}

/// Waits until the node closes its end, and kills everything from then on until this process ends, too.
fn kill_when_over(mut node: UnixStream, me: Pid) {
    // The node says nothing; what counts is that it could.
    while matches!(node.read(&mut [0; 64]), Ok(1..)) {}
    loop {
        kill_descendants(me);
        std::thread::sleep(PAUSE);
    }
}

/// Takes note of every child that ends, which may be anybody's orphan, until it is this one.
fn reap_until(first: Pid) -> rustix::io::Result<End> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == first => return Ok(end_of(status)),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn end_of(status: WaitStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(status), _) => End::Exited(status),
        (None, Some(signal)) => End::Killed(signal),
        (None, None) => unreachable!("only ends are waited for"),
    }
}

/// Kills and reaps until there is nobody left.
fn end_all(me: Pid) {
    loop {
        kill_descendants(me);
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => break,
                // No child, and so no descendant either: orphans would be children.
                Err(_) => return,
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// Kills everything below this process. All are stopped first: what is stopped starts nothing new, so that even a program
/// which does nothing but multiply is caught.
fn kill_descendants(me: Pid) {
    let mut stopped = BTreeSet::new();
    loop {
        let new: Vec<i32> = descendants(me).into_iter().filter(|pid| !stopped.contains(pid)).collect();
        if new.is_empty() {
            break;
        }
        for pid in new {
            signal(pid, Signal::STOP);
            stopped.insert(pid);
        }
    }
    for pid in stopped {
        signal(pid, Signal::KILL);
    }
}

fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Every process below this one.
fn descendants(me: Pid) -> Vec<i32> {
    let mut children = BTreeMap::<i32, Vec<i32>>::new();
    for pid in processes() {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![me.as_raw_nonzero().get()];
    while let Some(pid) = next.pop() {
        let below = children.remove(&pid).unwrap_or_default();
        found.extend(&below);
        next.extend(below);
    }
    found
}

/// The fourth field of `/proc/PID/stat`; the second is a name in brackets, which may contain anything.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    std::str::from_utf8(&stat[after..]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Every process that this user can see.
pub fn processes() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|process| process.file_name().to_str()?.parse().ok())
}

/// Processes and threads of the node's user: the system's limit counts them all.
fn tasks_of_user() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let me = rustix::process::getuid().as_raw();
    let mut tasks = 0;
    for pid in processes() {
        if std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|about| about.uid() == me) {
            tasks += std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, |task| task.count() as u64);
        }
    }
    tasks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_survives_its_bytes_and_noise_is_none() {
        for end in [End::Exited(0), End::Exited(255), End::Killed(9)] {
            assert_eq!(End::from_bytes(end.to_bytes()), Some(end));
        }
        assert_eq!(End::from_bytes(*b"x\0\0\0\0"), None);
    }

    #[test]
    fn other_arguments_are_left_to_the_command_line() {
        for words in [&["marlos-node"][..], &["marlos-node", "run"], &["marlos-node", "--help", "__supervise"]] {
            assert!(entry(words.iter().map(OsString::from)).is_none());
        }
    }

    #[test]
    fn the_tree_is_found_by_parents_and_a_strange_name_does_not_hide_anybody() {
        let me = rustix::process::getpid();
        // A name with brackets and blanks in it.
        let directory = tempfile::tempdir().unwrap();
        let strange = directory.path().join("a) R 1 (b");
        std::fs::copy("/bin/sleep", &strange).unwrap();
        let mut child = Command::new(&strange).arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child).as_raw_nonzero().get();
        assert!(descendants(me).contains(&pid));
        assert_eq!(parent_of(pid), Some(me.as_raw_nonzero().get()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!descendants(me).contains(&pid));
    }
}
