//! What the subcommands of `marlos-node` do, besides `run`. Results go to stdout, everything else to stderr.

pub mod client;
pub mod show;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use self::client::Client;
use super::api::Submission;
use super::config::{Document, TEMPLATE};
use super::files;
use super::store::Store;
use crate::identity::Keys;
use crate::time::WallTime;
use crate::wire::message::MAX_ROTATIONS;

/// The name of the configuration file.
pub const CONFIG_FILE: &str = "marlos.yaml";

/// Why a command failed, and the process's exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// 1 the job failed or `doctor` found a fault, 2 usage or configuration, 3 the node cannot be reached.
    pub code: u8,
    /// For people.
    pub message: String,
}

impl Failure {
    /// Usage, configuration, or a file.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure { code: 2, message: message.into() }
    }

    /// The node does not answer.
    #[must_use]
    pub fn unreachable(message: impl Into<String>) -> Failure {
        Failure { code: 3, message: message.into() }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::usage(message)
    }
}

/// Which node is meant.
#[derive(Clone, Debug, Default)]
pub struct Which {
    /// Its configuration file; without it, `marlos.yaml` here, if there is one.
    pub config: Option<PathBuf>,
    /// Its data directory, whatever the configuration says.
    pub data_dir: Option<PathBuf>,
    /// Its API's address, whatever it wrote to its data directory.
    pub api: Option<String>,
}

impl Which {
    /// The configuration: defaults, file, environment, and the data directory of the command line.
    ///
    /// # Errors
    /// The file or a variable is wrong.
    pub fn document(&self) -> Result<Document, Failure> {
        let here = Path::new(CONFIG_FILE);
        let mut document = match &self.config {
            Some(path) => Document::read(path)?,
            None if here.exists() => Document::read(here)?,
            None => Document::default(),
        };
        document.apply_environment(std::env::vars())?;
        if let Some(data_dir) = &self.data_dir {
            document.node.data_dir.clone_from(data_dir);
        }
        Ok(document)
    }

    /// What the node that runs there says of itself; nothing where none runs.
    pub async fn status(&self) -> Option<Value> {
        self.client().ok()?.get("/api/v1/status").await.ok()
    }

    fn client(&self) -> Result<Client, Failure> {
        Client::find(&self.document()?.node.data_dir, self.api.as_deref())
    }
}

/// Writes a line to stdout. A reader that has gone, such as `head`, is no error.
pub fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ =
        out.write_all(text.as_bytes()).and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    let _ = out.flush();
}

/// Logs to stderr. `MARLOS_LOG` says what: `info` unless set (and of the `zeromq` crate errors only: to it, every connection that ends is news), `debug`, or per module such as `marlos::driver::zmq=trace`.
pub fn log_to_stderr() {
    let filter = std::env::var("MARLOS_LOG").unwrap_or_else(|_| "info,zeromq=error".to_owned());
    let filter = tracing_subscriber::EnvFilter::try_new(&filter).unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}

/// Says on stderr why a command failed, and what the process exits with.
#[must_use]
pub fn fail(failure: &Failure) -> std::process::ExitCode {
    let _ = writeln!(std::io::stderr(), "marlos-node: {}", failure.message);
    failure.code.into()
}

/// A command from its words: one is taken as it is, several are quoted where needed.
///
/// # Errors
/// A word has a zero byte.
pub fn join_command(words: &[String]) -> Result<String, Failure> {
    match words {
        [one] => Ok(one.clone()),
        several => shlex::try_join(several.iter().map(String::as_str)).map_err(|e| Failure::usage(e.to_string())),
    }
}

/// Writes a commented configuration and the key. Neither is ever replaced.
///
/// # Errors
/// There is a configuration already, or a file cannot be written.
pub fn init(directory: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(directory).map_err(|e| format!("{}: {e}", directory.display()))?;
    let config = directory.join(CONFIG_FILE);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&config)
        .map_err(|e| format!("cannot create {}: {e}", config.display()))?;
    file.write_all(TEMPLATE.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|e| format!("{}: {e}", config.display()))?;
    let keys = files::keys(&directory.join("data"))?;
    let path = config.display();
    say(&format!("node {}\nwrote {path}; start it with: marlos-node run --config {path}", keys.id()));
    Ok(())
}

/// Shows id and public key.
///
/// # Errors
/// There is no key, or it cannot be read.
pub fn id(which: &Which, json: bool) -> Result<(), Failure> {
    let data_dir = which.document()?.node.data_dir;
    let keys = files::read_keys(&data_dir)?.ok_or_else(|| {
        Failure::usage(format!("no key below {}: `marlos-node init` or `run` makes one", data_dir.display()))
    })?;
    say_key(&key_json(&keys), json);
    Ok(())
}

/// What may be shown of keys.
#[must_use]
pub fn key_json(keys: &Keys) -> Value {
    let public: String = keys.public().iter().map(|b| format!("{b:02x}")).collect();
    serde_json::json!({ "node_id": keys.id(), "public_key": public, "rotations": keys.chain().len() })
}

fn say_key(key: &Value, json: bool) {
    if json {
        return say(&key.to_string());
    }
    let text = |field: &str| key[field].as_str().unwrap_or_default().to_owned();
    say(&format!(
        "node id     {}\npublic key  {}\nrotations   {} of {MAX_ROTATIONS}",
        text("node_id"),
        text("public_key"),
        key["rotations"]
    ));
}

/// Gives the node's identity another key: through its API where it runs, else in its key file.
///
/// # Errors
/// The chain is full or too young, or a file cannot be written, or the node that has the state open does not answer.
pub async fn rotate_key(which: &Which, json: bool) -> Result<(), Failure> {
    let running = which.client();
    if let Ok(client) = running {
        match client.post("/api/v1/key/rotate", &serde_json::json!({})).await {
            Err(failure) if failure.code == 3 => {}
            answer => {
                say_key(&answer?, json);
                return Ok(());
            }
        }
    }
    let settings = which.document()?.resolve()?;
    if let Some(keys) = files::read_keys(&settings.data_dir)? {
        // A node that runs without answering has its state open, and would go on with the key that it has read.
        drop(Store::open(&settings.data_dir, keys.id())?);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = WallTime(u64::try_from(now.as_micros()).unwrap_or(u64::MAX));
    let keys = files::rotate_keys(&settings.data_dir, &settings.node.network_id, now)?;
    say_key(&key_json(&keys), json);
    Ok(())
}

/// Prints what the API answers at `path`: as it is, or by `table`.
///
/// # Errors
/// The node cannot be reached, or refuses.
pub async fn show(which: &Which, path: &str, json: bool, table: fn(&Value) -> String) -> Result<(), Failure> {
    let answer = which.client()?.get(path).await?;
    say(&if json { answer.to_string() } else { table(&answer) });
    Ok(())
}

/// Looks for what usually is wrong.
///
/// # Errors
/// The configuration cannot be used, or something is wrong.
pub async fn doctor(which: &Which, json: bool) -> Result<(), Failure> {
    super::doctor::examine(which, json, say).await
}

/// Prints the metrics.
///
/// # Errors
/// The node cannot be reached, or refuses.
pub async fn metrics(which: &Which, json: bool) -> Result<(), Failure> {
    let text = which.client()?.get_text("/metrics").await?;
    say(&if json { show::metrics_json(&text).to_string() } else { text });
    Ok(())
}

/// Prints events as they come, until interrupted.
///
/// # Errors
/// The node cannot be reached, or stopped.
pub async fn events(which: &Which, all: bool, json: bool) -> Result<(), Failure> {
    let path = if all { "/api/v1/events?all=true" } else { "/api/v1/events" };
    which
        .client()?
        .lines(path, |line| {
            if let Some(data) = line.strip_prefix("data:") {
                say(&if json { data.trim().to_owned() } else { show::event(data.trim()) });
            }
        })
        .await
}

/// Submits a job. With `wait`, prints its output and says whether it succeeded.
///
/// # Errors
/// The node cannot be reached or refuses, or the job failed.
pub async fn submit(which: &Which, job: &Submission, wait: bool, json: bool) -> Result<(), Failure> {
    let client = which.client()?;
    let body = serde_json::to_value(job).map_err(|e| Failure::usage(e.to_string()))?;
    let answer = client.post("/api/v1/jobs", &body).await?;
    let id = answer["job_id"].as_str().ok_or_else(|| Failure::unreachable("the answer names no job"))?.to_owned();
    if !wait {
        say(&if json { answer.to_string() } else { id });
        return Ok(());
    }
    let mut pause = Duration::from_millis(20);
    let mut late = 0;
    let ended = loop {
        let job = client.get(&format!("/api/v1/jobs/{id}")).await?;
        // A local job's end is told together with its output. Where that stays away, the node has let go of it already.
        late += u32::from(matches!(job["phase"].as_str(), Some("done" | "failed")));
        if job.get("output").is_some() || late > 4 {
            break job;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(250));
    };
    if json {
        say(&ended.to_string());
    } else {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(&show::output(&ended)).and_then(|()| out.flush());
    }
    match (ended["status"].as_str(), ended["reason"].as_str()) {
        (Some("success"), _) => Ok(()),
        (_, Some(reason)) => Err(Failure { code: 1, message: format!("{id} ended without a result: {reason}") }),
        _ => Err(Failure { code: 1, message: format!("{id} failed") }),
    }
}
