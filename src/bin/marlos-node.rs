//! `marlos-node`: arguments only; what they do is in `marlos::driver`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use marlos::driver::api::Submission;
use marlos::driver::cli::{self, Failure, Which, show};
use marlos::driver::config::address::BootstrapPeer;
use marlos::driver::config::{Document, Settings};
use marlos::time::Span;
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::Consistency;

/// A node of a peer-to-peer compute network.
#[derive(Debug, Parser)]
#[command(
    name = "marlos-node",
    version,
    after_help = "Exit codes: 0 done, 1 the job failed or `doctor` found a fault, 2 usage or configuration, 3 the node cannot be reached."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a commented marlos.yaml and the node's key; nothing is ever replaced
    Init {
        /// Where to
        #[arg(long, default_value = ".")]
        dir: PathBuf,
    },
    /// Show the node's id and public key
    Id(Ask),
    /// The node's key
    #[command(subcommand)]
    Key(Key),
    /// Run the node until SIGTERM or SIGINT
    Run(Box<Run>),
    /// Submit a job
    Submit(Submit),
    /// Show how the node is
    Status(Ask),
    /// Show the other nodes
    Peers(Ask),
    /// Show the jobs, or one with its output
    Jobs {
        /// A job's id
        id: Option<String>,
        #[command(flatten)]
        ask: Ask,
    },
    /// Show what this node's account has, and everyone else's
    Wallet(Ask),
    /// Show the metrics
    Metrics(Ask),
    /// Look for what usually is wrong: files, limits, ports, multicast, first contacts, clock
    Doctor(Ask),
    /// Show events as they come
    Events {
        /// Also every accepted message and every PING
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        ask: Ask,
    },
}

#[derive(Debug, Subcommand)]
enum Key {
    /// Replace the key and keep the identity; the others are told, or told when the node starts
    Rotate(Ask),
}

/// Which node, and how to show it.
#[derive(Debug, Args)]
struct Ask {
    #[command(flatten)]
    node: NodeArguments,
    /// Its API's address, if not the one it wrote to its data directory
    #[arg(long, value_name = "HOST:PORT")]
    api: Option<String>,
    /// JSON instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct NodeArguments {
    /// The configuration file [default: marlos.yaml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keys and state
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    node: NodeArguments,
    /// For people only
    #[arg(long)]
    name: Option<String>,
    /// Where peers subscribe
    #[arg(long)]
    pub_port: Option<u16>,
    /// Where peers connect that nobody can dial [default: PUB port + 1]
    #[arg(long)]
    sub_port: Option<u16>,
    /// UDP
    #[arg(long)]
    beacon_port: Option<u16>,
    /// On the API's address; 0 for any
    #[arg(long)]
    api_port: Option<u16>,
    #[arg(long, value_name = "HOST:PORT", num_args = 1.., help = "First contacts: HOST:PORT, HOST:PUB/SUB or [IPV6]:PORT")]
    bootstrap: Vec<BootstrapPeer>,
    /// No beacons to and from the local network
    #[arg(long)]
    no_multicast: bool,
    /// The name or address under which peers reach this node
    #[arg(long, value_name = "ADDR")]
    host: Option<String>,
    /// The address to bind
    #[arg(long, value_name = "ADDR")]
    bind: Option<IpAddr>,
    /// Writes everything that the node hears to a new file, without the private key; for `marlos-sim replay`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Submit {
    #[command(flatten)]
    ask: Ask,
    /// The job's type
    #[arg(long = "type", default_value = "shell")]
    job_type: String,
    /// What is offered, in tokens
    #[arg(long, default_value = "10")]
    payment: String,
    /// Between 0 and 1
    #[arg(long, default_value = "0.5")]
    priority: String,
    /// From now: 90s, 5m, 1h
    #[arg(long, default_value = "5m", value_parser = Span::parse)]
    deadline: Span,
    /// How often it is run at most, where running it fails
    #[arg(long, default_value_t = 1, value_name = "TIMES")]
    attempts: u32,
    /// A part of a split network may run it too; it may then run twice, and is paid once
    #[arg(long)]
    available: bool,
    /// Only the node that runs it, and its backup, see the command, and only this one the output
    #[arg(long)]
    private: bool,
    /// A further capability that the node which runs it must have
    #[arg(long = "require", value_name = "CAPABILITY")]
    requirements: Vec<String>,
    /// Wait for the end, print the output, and exit with the job's status
    #[arg(long)]
    wait: bool,
    /// What to run: one argument is taken as it is, several are quoted where needed
    #[arg(last = true, required = true)]
    command: Vec<String>,
}

impl Ask {
    fn which(&self) -> Which {
        Which { api: self.api.clone(), ..self.node.which() }
    }
}

impl NodeArguments {
    fn which(&self) -> Which {
        Which { config: self.config.clone(), data_dir: self.data_dir.clone(), api: None }
    }
}

impl Run {
    /// Flags beat the environment, which beats the file.
    fn settings(self) -> Result<Settings, Failure> {
        let mut document: Document = self.node.which().document()?;
        let network = &mut document.network;
        network.pub_port = self.pub_port.unwrap_or(network.pub_port);
        // A port of the command line brings its neighbour with it, whatever the file says of the other.
        network.sub_port = self.sub_port.or(if self.pub_port.is_some() { None } else { network.sub_port });
        network.beacon_port = self.beacon_port.unwrap_or(network.beacon_port);
        network.multicast &= !self.no_multicast;
        network.bind = self.bind.unwrap_or(network.bind);
        if self.host.is_some() {
            network.host = self.host;
        }
        if !self.bootstrap.is_empty() {
            network.bootstrap_peers = self.bootstrap;
        }
        if let Some(name) = self.name {
            document.node.name = name;
        }
        if let Some(port) = self.api_port {
            document.api.address.set_port(port);
        }
        let mut settings = document.resolve()?;
        settings.record = self.record;
        Ok(settings)
    }
}

impl Submit {
    fn submission(&self) -> Result<Submission, Failure> {
        let millionths = |name: &str, text: &str| {
            marlos::units::parse_millionths(text)
                .ok_or_else(|| Failure::usage(format!("--{name} {text}: not a number of at most six decimals")))
        };
        let priority = u32::try_from(millionths("priority", &self.priority)?).map_or(Ppm(u32::MAX), Ppm);
        if priority > Ppm::ONE {
            return Err(Failure::usage(format!("--priority {}: it lies between 0 and 1", self.priority)));
        }
        Ok(Submission {
            job_type: self.job_type.clone(),
            command: cli::join_command(&self.command)?,
            requirements: self.requirements.clone(),
            payment: Tokens(millionths("payment", &self.payment)?),
            priority,
            deadline: self.deadline,
            max_attempts: self.attempts,
            private: self.private,
            consistency: if self.available { Consistency::Available } else { Consistency::Quorum },
        })
    }
}

async fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Init { dir } => cli::init(&dir),
        Command::Id(ask) => cli::id(&ask.which(), ask.json),
        Command::Key(Key::Rotate(ask)) => cli::rotate_key(&ask.which(), ask.json).await,
        Command::Run(run) => Ok(marlos::driver::run(run.settings()?).await?),
        Command::Submit(submit) => {
            let job = submit.submission()?;
            cli::submit(&submit.ask.which(), &job, submit.wait, submit.ask.json).await
        }
        Command::Status(ask) => cli::show(&ask.which(), "/api/v1/status", ask.json, show::status).await,
        Command::Peers(ask) => cli::show(&ask.which(), "/api/v1/peers", ask.json, show::peers).await,
        Command::Jobs { id: None, ask } => cli::show(&ask.which(), "/api/v1/jobs", ask.json, show::jobs).await,
        Command::Jobs { id: Some(id), ask } => {
            cli::show(&ask.which(), &format!("/api/v1/jobs/{id}"), ask.json, show::job).await
        }
        Command::Wallet(ask) => cli::show(&ask.which(), "/api/v1/wallet", ask.json, show::wallet).await,
        Command::Metrics(ask) => cli::metrics(&ask.which(), ask.json).await,
        Command::Doctor(ask) => cli::doctor(&ask.which(), ask.json).await,
        Command::Events { all, ask } => cli::events(&ask.which(), all, ask.json).await,
    }
}

fn main() -> ExitCode {
    // What the node starts for each job is this program, too.
    if let Some(end) = marlos::driver::supervisor::entry(std::env::args_os()) {
        return end;
    }
    let arguments = Arguments::parse();
    cli::log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::fail(&Failure::usage(format!("no runtime: {error}"))),
    };
    match runtime.block_on(execute(arguments.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => cli::fail(&failure),
    }
}
