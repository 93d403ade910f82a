//! Jobs of other people: what they get, what they may not, and that nothing of them is left.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the executor under test has processes and clocks"
)]

#[path = "support/processes.rs"]
mod processes;

use std::path::Path;
use std::time::{Duration, Instant};

use marlos::driver::config::JobLimits;
use marlos::driver::config::value::{Allow, ByteSize};
use marlos::driver::executor::{Executor, Finished};
use marlos::id::JobId;
use marlos::time::Span;
use processes::with_argument;
use tokio::sync::mpsc::UnboundedReceiver;

/// Far more than anything takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn executor(data: &Path, allow: Allow, limits: JobLimits) -> (Executor, UnboundedReceiver<Finished>) {
    Executor::new(data, allow, limits, Path::new(env!("CARGO_BIN_EXE_marlos-node"))).unwrap()
}

async fn until(what: &str, mut so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !so() {
        assert!(since.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn run(allow: Allow, limits: JobLimits, command: &str) -> (bool, String) {
    let data = tempfile::tempdir().unwrap();
    let (mut executor, mut results) = executor(data.path(), allow, limits);
    executor.execute(JobId([1; 16]), "shell", command, Span::secs(60));
    let finished = results.recv().await.unwrap();
    assert!(executor.accept(&finished) && executor.running() == 0);
    let left = std::fs::read_dir(data.path().join("work")).unwrap().count();
    assert_eq!(left, 0, "a working directory was left");
    (finished.success, String::from_utf8_lossy(&finished.output).into_owned())
}

fn only(programs: &[&str]) -> Allow {
    Allow::Programs(programs.iter().map(|p| (*p).to_owned()).collect())
}

#[tokio::test]
async fn a_job_has_an_empty_environment_a_private_directory_and_nothing_to_read() {
    let (success, output) = run(Allow::Everything, JobLimits::default(), "env; pwd; cat; echo oops >&2").await;
    assert!(success);
    let lines: Vec<&str> = output.lines().collect();
    assert!(lines.contains(&"PATH=/usr/bin:/bin") && lines.contains(&"oops"), "{output}");
    assert!(lines.iter().any(|l| l.contains("/work/job-0101")), "{output}");
    assert!(!output.contains("HOME="), "{output}");
}

#[tokio::test]
async fn only_listed_programs_run_and_no_shell_is_involved() {
    let (success, output) = run(only(&["echo"]), JobLimits::default(), "echo 'a b' $HOME; ls").await;
    assert_eq!((success, output.as_str()), (true, "a b $HOME; ls\n"));
    for (command, says) in [
        ("ls /", "`ls` is not among"),
        ("/bin/echo x", "`/bin/echo` is not among"),
        ("", "empty"),
        ("echo 'x", "quote"),
    ] {
        let (success, output) = run(only(&["echo"]), JobLimits::default(), command).await;
        assert!(!success && output.contains(says), "{command}: {output}");
    }
    let (success, output) = run(Allow::Nobody, JobLimits::default(), "true").await;
    assert!(!success && output.contains("no shell jobs"), "{output}");
}

#[tokio::test]
async fn a_failure_says_its_exit_status() {
    let (success, output) = run(Allow::Everything, JobLimits::default(), "printf half; exit 3").await;
    assert_eq!((success, output.as_str()), (false, "half\nexit status 3\n"));
}

#[tokio::test]
async fn each_limit_is_enforced() {
    let limits = |change: fn(&mut JobLimits)| {
        let mut limits = JobLimits::default();
        change(&mut limits);
        limits
    };
    let short = limits(|l| l.time_limit = Span::millis(300));
    let (success, output) = run(Allow::Everything, short, "echo start; sleep 60 & sleep 60").await;
    assert_eq!((success, output.as_str()), (false, "start\nkilled: still running after 300ms\n"));

    let quiet = limits(|l| l.output_limit = ByteSize(1_000));
    let (success, output) = run(Allow::Everything, quiet, "yes | head -c 1000000").await;
    assert!(success && output.len() <= 1_000 && output.ends_with("(output cut at 840 bytes)\n"), "{output}");

    let (success, _) =
        run(Allow::Everything, limits(|l| l.file_limit = ByteSize(10_000)), "head -c 20000 /dev/zero > f").await;
    assert!(!success, "a large file was written");

    let small = limits(|l| l.memory_limit = ByteSize(64 << 20));
    let (success, _) =
        run(Allow::Everything, small, "head -c 200000000 /dev/zero | tail -c 150000000 > /dev/null").await;
    assert!(!success, "150 MB fitted into 64 MiB");
}

#[tokio::test]
async fn what_is_cancelled_is_killed_with_all_it_started_and_never_heard_of() {
    let data = tempfile::tempdir().unwrap();
    let (mut executor, mut results) = executor(data.path(), Allow::Everything, JobLimits::default());
    let job = JobId([2; 16]);
    executor.execute(job, "shell", STUBBORN, Span::secs(600));
    until("all four are up", || ["7101.1", "7102.1", "7103.1", "7104.1"].iter().all(|word| with_argument(word) == 1))
        .await;
    executor.cancel(job);
    let work = data.path().join("work");
    until("its directory is gone", || std::fs::read_dir(&work).unwrap().count() == 0).await;
    for word in ["7101.1", "7102.1", "7103.1", "7104.1"] {
        assert_eq!(with_argument(word), 0, "{word} outlived its directory");
    }
    assert!(results.try_recv().is_err());
}

/// Ignores signals, and has one process in its group, one in another session, one that lost its parents, and one that lost
/// them in another session and another directory.
const STUBBORN: &str = "trap '' TERM HUP INT; sleep 7101.1 & setsid sleep 7102.1 & \
    (sh -c 'sleep 7103.1 &' &); (setsid sh -c 'cd /; trap \"\" TERM HUP; sleep 7104.1 </dev/null >/dev/null 2>&1 & exit' &); \
    while :; do wait; sleep 1; done";

#[tokio::test]
async fn what_a_job_left_in_the_background_ends_with_it_and_a_shower_of_processes_with_its_time() {
    let (success, output) =
        run(Allow::Everything, JobLimits::default(), "(setsid sh -c 'cd /; sleep 7201.1' &); sleep 7202.1 & echo up")
            .await;
    assert_eq!((success, output.as_str()), (true, "up\n"));
    assert_eq!((with_argument("7201.1"), with_argument("7202.1")), (0, 0));

    // It does nothing but multiply, as far as it may, each generation the orphans of the last.
    let shower = JobLimits { time_limit: Span::secs(1), process_limit: 40, ..JobLimits::default() };
    let breed = "n() { [ $1 -gt 5 ] || { (n $(($1 + 1)) &); (n $(($1 + 1)) &); }; sleep 7203.1; }; n 0; wait";
    let (success, _) = run(Allow::Everything, shower, breed).await;
    assert!(!success);
    assert_eq!(with_argument("7203.1"), 0);
}

#[tokio::test]
async fn a_job_that_kills_its_supervisor_dies_of_it() {
    let data = tempfile::tempdir().unwrap();
    let (mut executor, mut results) = executor(data.path(), Allow::Everything, JobLimits::default());
    executor.execute(JobId([4; 16]), "shell", "sleep 7301.1 & kill -9 $PPID; sleep 7302.1; true", Span::secs(600));
    let finished = results.recv().await.unwrap();
    let output = String::from_utf8_lossy(&finished.output).into_owned();
    assert!(!finished.success && output.contains("its supervisor ended before it"), "{output}");
    until("nothing of it runs", || with_argument("7301.1") + with_argument("7302.1") == 0).await;
}

#[tokio::test]
async fn a_job_that_is_given_again_does_not_meet_its_earlier_run() {
    let data = tempfile::tempdir().unwrap();
    let (mut executor, mut results) = executor(data.path(), Allow::Everything, JobLimits::default());
    let (job, together) = (JobId([6; 16]), data.path().join("together"));
    // Each says so if it meets another one, and leaves its mark as long as it lives, which no signal may shorten.
    let command = format!("trap '' TERM; mkdir {0}/mark || touch {0}/together; sleep 7801.1", data.path().display());
    for _ in 0..5 {
        executor.execute(job, "shell", &command, Span::secs(600));
        until("it runs", || with_argument("7801.1") == 1).await;
        executor.cancel(job);
        executor.execute(job, "shell", &format!("rmdir {}/mark", data.path().display()), Span::secs(600));
        let finished = results.recv().await.unwrap();
        assert!(finished.success && executor.accept(&finished));
        assert_eq!(with_argument("7801.1"), 0, "the earlier run was alive when the later one ended");
    }
    // Given and taken back at once, again and again: only the last one may run.
    for _ in 0..20 {
        executor.execute(job, "shell", "sleep 7802.1", Span::secs(600));
        executor.cancel(job);
    }
    executor.execute(job, "shell", "echo last", Span::secs(600));
    assert_eq!(results.recv().await.unwrap().output, b"last\n");
    assert!(!together.exists() && with_argument("7802.1") == 0 && results.try_recv().is_err());
}

#[test]
fn a_new_executor_waits_until_the_jobs_of_the_last_one_have_ended() {
    let data = tempfile::tempdir().unwrap();
    let life = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = life();
    first.block_on(async {
        let (mut executor, _results) = executor(data.path(), Allow::Everything, JobLimits::default());
        let command = "trap '' TERM; (setsid sleep 7401.1 &); sleep 7402.1";
        executor.execute(JobId([5; 16]), "shell", command, Span::secs(600));
        until("it runs", || with_argument("7401.1") == 1 && with_argument("7402.1") == 1).await;
    });
    // As when the process ends: nobody waits for anything, and the lines to the supervisors close.
    first.shutdown_background();
    let _second = life().block_on(async { executor(data.path(), Allow::Everything, JobLimits::default()) });
    assert_eq!((with_argument("7401.1"), with_argument("7402.1")), (0, 0));
}
