//! `marlos.yaml`, environment, flags: what the operator says, in the document's names and units.
//!
//! Flags beat the environment, the environment beats the file, the file beats the defaults. Every key is also an environment
//! variable: `network.pub_port` is `MARLOS_NETWORK_PUB_PORT`. Unknown keys are errors in both places.

pub mod address;
pub mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use self::address::{BootstrapPeer, advertised_host, endpoint};
use self::value::{Allow, ByteSize, FromText};
use crate::config::{Codec, Config, Election, Membership};
use crate::id::NodeId;
use crate::time::Span;
use crate::units::Tokens;

/// A commented configuration that says what the defaults are.
pub const TEMPLATE: &str = include_str!("config/template.yaml");

/// One block of the file: its fields, their defaults, and the same keys in the environment.
macro_rules! section {
    ($(#[$about:meta])* $name:ident, $path:literal {
        $($(#[$doc:meta])* $field:ident: $type:ty = $default:expr,)*
    }) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> $name {
                $name { $($field: $default,)* }
            }
        }

        impl $name {
            /// Sets a key from its text, or says that there is no such key, and which there are.
            fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
                match key {
                    $(stringify!($field) => {
                        self.$field = FromText::from_text(text)
                            .map_err(|e| format!("{}.{key} = {text:?}: {e}", $path))?;
                        Ok(())
                    })*
                    _ => Err(format!("there is no key {}.{key}; there are {}", $path, [$(stringify!($field)),*].join(", "))),
                }
            }
        }
    };
}

section! {
    /// The `network:` block, with the document's names, units and defaults.
    Network, "network" {
        /// Where peers subscribe.
        pub_port: u16 = 5555,
        /// Where peers connect that nobody can dial; without it, `pub_port` + 1.
        sub_port: Option<u16> = None,
        /// UDP, for beacons.
        beacon_port: u16 = 5557,
        /// The address that all three ports are bound to.
        bind: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        /// The name or address under which peers reach this node; without it, the one of the route to the first bootstrap peer.
        host: Option<String> = None,
        /// First contacts: `HOST:PORT`, `HOST:PUB/SUB` or `HOST:PUB/SUB/BEACON`.
        bootstrap_peers: Vec<BootstrapPeer> = Vec::new(),
        /// Whether beacons go to and come from the multicast group.
        multicast: bool = true,
        /// The multicast group of the beacons.
        multicast_group: IpAddr = IpAddr::V4(Ipv4Addr::new(239, 255, 77, 77)),
        /// How often a beacon is sent.
        discovery_interval: Span = Span::secs(5),
        /// How often a PING is broadcast.
        heartbeat_interval: Span = Span::secs(3),
        /// Silence after which a peer is dead; without it, five heartbeats.
        heartbeat_timeout: Option<Span> = None,
        /// Silence after which a peer is suspected; without it, two and a half heartbeats.
        suspect_after: Option<Span> = None,
        /// Connections at most.
        max_peers: u32 = 50,
        /// Fewer reachable members than this: jobs wait.
        min_peers: Option<u32> = None,
        /// Who votes: these ids, or everyone who announces himself where the list is empty.
        members: Vec<NodeId> = Vec::new(),
        /// How a coordinator is chosen.
        election: Election = Election::default(),
        /// Messages are signed; there is no other way.
        message_signature: bool = true,
        /// Replayed messages are refused; there is no other way.
        replay_protection: bool = true,
        /// Whether what this node says to one member is sealed for it, and every job of this node is private: its command for executor
        /// and backup alone, its output for this node.
        encryption: bool = false,
        /// How far a timestamp may be off.
        clock_sync_tolerance: Span = Span::secs(30),
        /// What a sender may send in the long run.
        rate_limit_msgs_per_sec: u32 = 100,
        /// Messages that may wait for one peer.
        socket_high_water_mark: u32 = 1_000,
        /// Messages that may wait for this node.
        message_queue_size: u32 = 10_000,
        /// Of the document's first implementation: accepted and ignored.
        use_uvloop: Option<bool> = None,
    }
}

section! {
    /// The `node:` block.
    NodeSection, "node" {
        /// For people only.
        name: String = String::new(),
        /// Keys and state; relative to the file's directory.
        data_dir: PathBuf = PathBuf::from("data"),
        /// Further capabilities, besides the job types that `jobs:` allows.
        capabilities: Vec<String> = Vec::new(),
        /// Separates networks.
        network_id: String = Config::default().network_id,
        /// How messages are written.
        codec: Codec = Codec::default(),
    }
}

section! {
    /// The `jobs.shell:` block.
    Shell, "jobs.shell" {
        /// Which programs others may run here. Nobody may run anything unless it is listed.
        allow: Allow = Allow::default(),
    }
}

section! {
    /// The keys of the `jobs:` block; `shell:` stands beside them.
    JobLimits, "jobs" {
        /// Jobs at once.
        max_active: u32 = 4,
        /// Wall time of one job; its own deadline may be shorter.
        time_limit: Span = Span::secs(600),
        /// Address space of each process of a job.
        memory_limit: ByteSize = ByteSize(512 << 20),
        /// What is kept of a job's output.
        output_limit: ByteSize = ByteSize(256 << 10),
        /// The largest file that a job may write.
        file_limit: ByteSize = ByteSize(64 << 20),
        /// Processes and threads that a job may have, on top of those that the node's user has at its start.
        process_limit: u32 = 64,
    }
}

section! {
    /// The `ledger:` block. The first two must be the same on all nodes of a network.
    LedgerSection, "ledger" {
        /// What every account begins with, in tokens.
        genesis_balance: Tokens = Config::default().genesis_balance,
        /// What a bid puts at stake, in tokens.
        stake: Tokens = Config::default().stake,
        /// How long a payment waits for company.
        settle_after: Span = Config::default().settle_after,
        /// Payments in one transaction at most.
        settle_batch: u32 = Config::default().settle_batch,
    }
}

section! {
    /// The `api:` block.
    ApiSection, "api" {
        /// Loopback only.
        address: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 5558)),
    }
}

/// The `jobs:` block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Jobs {
    /// Who may run what.
    pub shell: Shell,
    /// How much.
    pub limits: JobLimits,
}

impl<'de> Deserialize<'de> for Jobs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Jobs, D::Error> {
        // Written out: `flatten` would switch off the check for unknown keys.
        #[derive(Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Block {
            shell: Shell,
            max_active: u32,
            time_limit: Span,
            memory_limit: ByteSize,
            output_limit: ByteSize,
            file_limit: ByteSize,
            process_limit: u32,
        }
        impl Default for Block {
            fn default() -> Block {
                Block::from(Jobs::default())
            }
        }
        impl From<Jobs> for Block {
            fn from(jobs: Jobs) -> Block {
                let JobLimits { max_active, time_limit, memory_limit, output_limit, file_limit, process_limit } =
                    jobs.limits;
                Block {
                    shell: jobs.shell,
                    max_active,
                    time_limit,
                    memory_limit,
                    output_limit,
                    file_limit,
                    process_limit,
                }
            }
        }
        let Block { shell, max_active, time_limit, memory_limit, output_limit, file_limit, process_limit } =
            Block::deserialize(deserializer)?;
        let limits = JobLimits { max_active, time_limit, memory_limit, output_limit, file_limit, process_limit };
        Ok(Jobs { shell, limits })
    }
}

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Document {
    /// The document's block.
    pub network: Network,
    /// Who this node is.
    pub node: NodeSection,
    /// What it runs for others.
    pub jobs: Jobs,
    /// How it pays.
    pub ledger: LedgerSection,
    /// Where local programs talk to it.
    pub api: ApiSection,
}

/// What the driver runs with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What the node itself needs.
    pub node: Config,
    /// The operator's words, where the driver needs them.
    pub document: Document,
    /// Keys, state, work directories.
    pub data_dir: PathBuf,
    /// The port of the SUB socket.
    pub sub_port: u16,
    /// Things to tell the operator at start.
    pub notices: Vec<String>,
    /// Where this process is recorded, if it is.
    pub record: Option<PathBuf>,
}

impl Document {
    /// Reads a file. A relative `data_dir` is then relative to the file's directory.
    ///
    /// # Errors
    /// A sentence with file, line and column.
    pub fn read(path: &Path) -> Result<Document, String> {
        let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut document = Document::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
        if let Some(directory) = path.parent() {
            document.node.data_dir = directory.join(&document.node.data_dir);
        }
        Ok(document)
    }

    /// Reads YAML.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(text: &str) -> Result<Document, String> {
        // A file of comments only is a file of defaults.
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Document::default());
        }
        serde_saphyr::from_str(text).map_err(|e| e.to_string())
    }

    /// Applies the `MARLOS_<SECTION>_<KEY>` variables among these.
    ///
    /// # Errors
    /// A variable of one of the sections that names no key, or a value that is none.
    pub fn apply_environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<(), String> {
        for (variable, text) in variables {
            let Some(name) = variable.strip_prefix("MARLOS_") else { continue };
            let name = name.to_ascii_lowercase();
            let set = if let Some(key) = name.strip_prefix("network_") {
                self.network.set(key, &text)
            } else if let Some(key) = name.strip_prefix("node_") {
                self.node.set(key, &text)
            } else if let Some(key) = name.strip_prefix("jobs_shell_") {
                self.jobs.shell.set(key, &text)
            } else if let Some(key) = name.strip_prefix("jobs_") {
                self.jobs.limits.set(key, &text)
            } else if let Some(key) = name.strip_prefix("ledger_") {
                self.ledger.set(key, &text)
            } else if let Some(key) = name.strip_prefix("api_") {
                self.api.set(key, &text)
            } else {
                continue;
            };
            set.map_err(|e| format!("environment variable {variable}: {e}"))?;
        }
        Ok(())
    }

    /// Checks everything and works out what follows from it.
    ///
    /// # Errors
    /// The first key that cannot be used, and why.
    pub fn resolve(self) -> Result<Settings, String> {
        let network = &self.network;
        for (key, value) in
            [("message_signature", network.message_signature), ("replay_protection", network.replay_protection)]
        {
            if !value {
                return Err(format!("network.{key} = false is not supported: without it, anyone can speak as anyone"));
            }
        }
        if network.pub_port == 0 || network.sub_port == Some(0) || network.beacon_port == 0 {
            return Err("network.pub_port, sub_port and beacon_port must be real ports: peers have to be told".into());
        }
        let sub_port = match network.sub_port {
            Some(port) => port,
            None => network.pub_port.checked_add(1).ok_or("network.pub_port = 65535 leaves no port for sub_port")?,
        };
        if sub_port == network.pub_port {
            return Err(format!("network.sub_port = {sub_port} is pub_port too"));
        }
        if !self.api.address.ip().is_loopback() {
            return Err(format!(
                "api.address = {} can be reached from elsewhere: the API runs commands, so it listens on loopback only; \
                 use an SSH tunnel",
                self.api.address
            ));
        }
        if network.multicast && !network.multicast_group.is_multicast() {
            return Err(format!("network.multicast_group = {} is not a multicast address", network.multicast_group));
        }
        for (key, value, least, most) in [
            ("network.socket_high_water_mark", network.socket_high_water_mark, 16, 4_096),
            ("network.message_queue_size", network.message_queue_size, 64, 1_000_000),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!("{key} = {value} is outside {least} .. {most}"));
            }
        }
        let mut notices = Vec::new();
        if network.use_uvloop.is_some() {
            notices.push("network.use_uvloop has no meaning here and is ignored".to_owned());
        }
        let host = match &network.host {
            Some(host) => host.clone(),
            None => advertised_host(network, &mut notices),
        };
        let node = self.node_config(&host, sub_port)?;
        let data_dir = self.node.data_dir.clone();
        Ok(Settings { node, data_dir, sub_port, notices, record: None, document: self })
    }

    fn node_config(&self, host: &str, sub_port: u16) -> Result<Config, String> {
        let (network, limits) = (&self.network, &self.jobs.limits);
        let beat = network.heartbeat_interval;
        let mut capabilities = self.node.capabilities.clone();
        if capabilities.iter().any(|c| c == "shell") {
            return Err("node.capabilities: `shell` follows from jobs.shell.allow and is not set by hand".into());
        }
        if !self.jobs.shell.allow.is_nobody() {
            capabilities.push("shell".to_owned());
        }
        let defaults = Config::default();
        let output = u32::try_from(limits.output_limit.0).map_err(|_| "jobs.output_limit is too large".to_owned())?;
        let config = Config {
            network_id: self.node.network_id.clone(),
            node_name: self.node.name.clone(),
            pub_endpoint: endpoint(host, network.pub_port),
            sub_endpoint: endpoint(host, sub_port),
            bootstrap: network.bootstrap_peers.iter().map(BootstrapPeer::to_bootstrap).collect(),
            capabilities,
            codec: self.node.codec,
            discovery_interval: network.discovery_interval,
            heartbeat_interval: beat,
            heartbeat_timeout: network.heartbeat_timeout.unwrap_or(beat.times(5)),
            suspect_after: network.suspect_after.unwrap_or(Span(beat.times(5).0 / 2)),
            max_peers: network.max_peers,
            min_peers: network.min_peers.unwrap_or(defaults.min_peers),
            membership: if network.members.is_empty() {
                Membership::Open
            } else {
                Membership::Fixed(network.members.clone())
            },
            clock_sync_tolerance: network.clock_sync_tolerance,
            encryption: network.encryption,
            rate_limit_msgs_per_sec: network.rate_limit_msgs_per_sec,
            rate_limit_burst: network.rate_limit_msgs_per_sec.saturating_mul(2).min(1_000_000),
            max_active_jobs: limits.max_active,
            max_output_bytes: output,
            election: network.election,
            genesis_balance: self.ledger.genesis_balance,
            stake: self.ledger.stake,
            settle_after: self.ledger.settle_after,
            settle_batch: self.ledger.settle_batch,
            ..defaults
        };
        config.validate().map_err(|e| e.to_string())?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests;
