//! `deploy/slurm.sbatch` as its head says to use it, on a real Slurm of one node. Skipped, with a word, where Slurm is not installed
//! (Debian: `slurmctld`, `slurmd`, `slurm-client`, `munge`). All of it stands in one directory, on ports of its own, as whoever runs the test.
#![expect(clippy::disallowed_methods, reason = "a cluster of processes, and what they wrote")]

#[path = "support/worlds.rs"]
mod worlds;

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use worlds::{call, text};

const MANIFEST: &str = include_str!("../../deploy/slurm.sbatch");

/// The manifest's scenario, by name; a small one does. It is too short for its KPIs, so that no run passes: a result like any other.
const SCENARIO: &str = r#"name = "partition"
duration = "8s"
warmup = "3s"
settle = "3s"
nodes = { count = 3 }
network = { profile = "lan" }
"#;

#[test]
fn the_array_of_the_manifest_merges_to_what_one_machine_sweeps() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = directory.path();
    let Some(cluster) = Cluster::start(at) else { return };
    for folder in ["deploy", "scenarios"] {
        std::fs::create_dir(at.join(folder)).expect("a folder");
    }
    std::fs::write(at.join("deploy/slurm.sbatch"), MANIFEST).expect("written");
    std::fs::write(at.join("scenarios/partition.toml"), SCENARIO).expect("written");

    // The commands of the manifest's head, to the letter.
    let usage: Vec<&str> = MANIFEST.lines().filter_map(|line| line.strip_prefix("#   ")).collect();
    let [submit, merge] = usage[..] else { panic!("two commands stand in the head: {usage:?}") };
    let (last, said) = cluster.shell(&format!("SEEDS=1..12; export SEEDS; {submit}; {merge}"));
    assert!(last, "{said}");
    cluster.wait();

    assert_eq!(
        call(at, "sweep scenarios/partition.toml --seeds 1..12 --set crypto=token --out results/whole").status.code(),
        Some(1)
    );
    let (whole, merged) = (files(&at.join("results/whole")), files(&at.join("results/sweep")));
    assert!(whole.contains_key(Path::new("runs.csv")), "{:?}", whole.keys());
    assert!(whole.keys().eq(merged.keys()), "{:?} and {:?}\n{}", whole.keys(), merged.keys(), cluster.logs());
    for (file, bytes) in &whole {
        assert!(merged[file] == *bytes, "{} differs", file.display());
    }
    assert!(at.join("results/sweep-8-of-8").exists() && !at.join("results/sweep-9-of-8").exists());
}

/// Every file below `directory`, by its path there.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![directory.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(directory).expect("below it").to_path_buf();
                found.insert(name, std::fs::read(path).expect("readable"));
            }
        }
    }
    found
}

/// munged, slurmctld and slurmd on loopback. Dropped, it cancels what runs and ends these three.
struct Cluster<'a> {
    at: &'a Path,
    daemons: Vec<Child>,
}

impl Cluster<'_> {
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn start(at: &Path) -> Option<Cluster<'_>> {
        let there =
            |program: &&str| ["/usr/sbin", "/usr/bin"].iter().any(|folder| Path::new(folder).join(program).exists());
        if let Some(missing) = ["munged", "slurmctld", "slurmd", "sbatch"].iter().find(|program| !there(program)) {
            eprintln!("skipped: {missing} is not installed (apt-get install slurmctld slurmd slurm-client munge)");
            return None;
        }
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        let host = host.trim().split('.').next().expect("one part at least");
        let user = text(&Command::new("id").arg("-un").output().expect("it runs").stdout);
        let ports = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [control, work] = ports.map(|port| port.local_addr().expect("bound").port());
        let (dir, user) = (at.display(), user.trim());
        let configuration = format!(
            "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={control}\nSlurmdPort={work}\n\
             SlurmUser={user}\nSlurmdUser={user}\nAuthType=auth/munge\nAuthInfo=socket={dir}/munge.socket\nCredType=cred/munge\n\
             StateSaveLocation={dir}/state\nSlurmdSpoolDir={dir}/spool\n\
             SlurmctldPidFile={dir}/slurmctld.pid\nSlurmdPidFile={dir}/slurmd.pid\n\
             ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nSwitchType=switch/none\nMpiDefault=none\n\
             AccountingStorageType=accounting_storage/none\nJobAcctGatherType=jobacct_gather/none\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_Core\nSlurmdParameters=config_overrides\nReturnToService=2\n\
             NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=16000\n\
             PartitionName=all Nodes=one Default=YES State=UP\n"
        );
        std::fs::write(at.join("slurm.conf"), configuration).expect("written");
        let mut key = [0; 128];
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut key)).expect("random bytes");
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(at.join("munge.key"));
        file.and_then(|mut file| file.write_all(&key)).expect("written");
        let mut cluster = Cluster { at, daemons: Vec::new() };
        for folder in ["state", "spool"] {
            std::fs::create_dir(at.join(folder)).expect("a folder");
        }
        // Its directory is for nobody else, which `--force` makes a warning of.
        let names = ["key", "socket", "pid", "log", "seed"];
        let places = names.map(|name| format!("--{name}-file={dir}/munge.{name}").replace("socket-file", "socket"));
        cluster.daemon("munged", &[&["--foreground".into(), "--force".into()], &places[..]].concat());
        cluster.until("munged listens", |cluster| cluster.at.join("munge.socket").exists());
        let configured = ["-D".into(), "-f".into(), format!("{dir}/slurm.conf")];
        cluster.daemon("slurmctld", &configured);
        cluster.daemon("slurmd", &[&configured[..], &["-N".into(), "one".into()]].concat());
        cluster.until("the node is idle", |cluster| cluster.shell("sinfo --noheader --format=%t").1.trim() == "idle");
        Some(cluster)
    }

    fn daemon(&mut self, program: &str, arguments: &[String]) {
        let log = std::fs::File::create(self.at.join(format!("{program}.log"))).expect("a log");
        let mut command = Command::new(Path::new("/usr/sbin").join(program));
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().expect("twice")).stderr(log);
        self.daemons.push(command.spawn().expect("it is installed"));
    }

    /// A line of shell, as a user of the cluster; whether it succeeded, and all that it said.
    fn shell(&self, line: &str) -> (bool, String) {
        let binaries = Path::new(env!("CARGO_BIN_EXE_marlos-sim")).parent().expect("a folder");
        let path = format!("{}:{}", binaries.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command.args(["-ec", line]).current_dir(self.at).stdin(Stdio::null());
        command.env("PATH", path).env("SLURM_CONF", self.at.join("slurm.conf")).env_remove("MARLOS_DIR");
        let output = command.output().expect("a shell");
        (output.status.success(), text(&output.stdout) + &text(&output.stderr))
    }

    /// Until no job is left.
    fn wait(&self) {
        self.until("all jobs have ended", |cluster| cluster.shell("squeue --noheader") == (true, String::new()));
    }

    fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..600 {
            if is_so(self) {
                return;
            }
            sleep(Duration::from_millis(200));
        }
        panic!("never so: {what}\n{}", self.logs());
    }

    fn logs(&self) -> String {
        self.shell("squeue; tail -n 20 *.log").1
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        if self.daemons.len() == 3 {
            self.shell("scancel --state=PENDING; scancel --state=RUNNING");
        }
        // Asked, not killed: slurmctld has a helper of its own to take along.
        for daemon in self.daemons.iter_mut().rev() {
            let _ = Command::new("kill").arg(daemon.id().to_string()).status();
            let _ = daemon.wait();
        }
    }
}
