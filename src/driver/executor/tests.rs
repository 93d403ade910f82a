use super::*;
use crate::driver::config::value::ByteSize;

async fn run(allow: Allow, limits: JobLimits, command: &str) -> (bool, String) {
    let data = tempfile::tempdir().unwrap();
    let (mut executor, mut results) = Executor::new(data.path(), allow, limits).unwrap();
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
    let (mut executor, mut results) = Executor::new(data.path(), Allow::Everything, JobLimits::default()).unwrap();
    let job = JobId([2; 16]);
    // The second sleeper leaves the process group, but not the directory.
    executor.execute(job, "shell", "sleep 71 & setsid sleep 72 & touch up; wait", Span::secs(60));
    let work = data.path().join("work");
    let there = |name: &str| {
        std::fs::read_dir(&work)
            .unwrap()
            .flatten()
            .any(|d| std::fs::read_dir(d.path()).is_ok_and(|mut f| f.any(|f| f.is_ok_and(|f| f.file_name() == name))))
    };
    while !there("up") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(workers(&work) >= 2);
    executor.cancel(job);
    while std::fs::read_dir(&work).unwrap().count() > 0 || workers(&work) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(results.try_recv().is_err());
}

/// Processes that work below this directory.
fn workers(directory: &Path) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes.filter(|p| std::fs::read_link(p.path().join("cwd")).is_ok_and(|c| c.starts_with(directory))).count()
}
