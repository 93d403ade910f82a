//! The real driver: one task owns the node, feeds it with what comes in, and does what it says (architecture.md).
//!
//! In reading order: [`config`] is what the operator says; [`engine`] is the loop; [`store`], [`zmq`], [`beacon`] and
//! [`executor`], with its [`supervisor`]s, are its hands; [`front`] stands between strangers and the `zeromq` crate, and
//! [`inbound`] between the front and the loop; [`refusals`] counts what was not let in; [`events`] is what it tells; [`api`] is
//! where local programs ask, and [`cli`] is one of them, which has a
//! [`doctor`]. [`record`] writes down what the node hears.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::float_arithmetic,
    reason = "clocks, files, sockets and threads are what this module is for"
)]

pub mod api;
pub mod beacon;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod events;
pub mod executor;
pub mod files;
pub mod front;
pub mod inbound;
pub mod record;
pub mod refusals;
pub mod store;
pub mod supervisor;
pub mod zmq;

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::config::Settings;
use self::engine::{Engine, Hands};
use crate::Node;
use crate::wire::{Door, network_tag};

/// Connections' silence is four heartbeats.
const IDLE_HEARTBEATS: u64 = 4;
/// Bytes that may wait for one peer.
const QUEUE_BYTES: usize = 4 * 1024 * 1024;
/// Framing and topic around the largest message.
const FRAMING: u64 = 64 * 1024;
/// Requests of local programs that may wait.
const REQUESTS: usize = 64;

/// File descriptors at most: 512 connections of strangers with three each, 50 peers, and room.
const DESCRIPTORS: u64 = 4_096;

/// A shell's usual limit of 1024 is less than what the front's own limits allow to be open. Best effort.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
    if now.current.is_some_and(|current| current < wanted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum })
    {
        tracing::warn!(%error, "the limit on open files stays low");
    }
}

/// Runs a node until it is told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// A sentence for the operator: what cannot be used, and what to do.
pub async fn run(settings: Settings) -> Result<(), String> {
    for notice in &settings.notices {
        tracing::warn!("{notice}");
    }
    // Installed before anything is promised, so that a signal never finds the default handler.
    let mut terminate = signal(SignalKind::terminate()).map_err(|e| format!("SIGTERM: {e}"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|e| format!("SIGINT: {e}"))?;
    // A shell's limit on file sizes is an error of the write then, and no sudden death.
    let _file_size = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()));
    raise_descriptor_limit();
    let network = &settings.document.network;
    let keys = files::keys(&settings.data_dir)?;
    let id = keys.id();
    if !keys.hold_in(&settings.node.network_id) {
        return Err(format!(
            "the key of node {id} was rotated in another network than {}; restore node.network_id, or begin with a new data directory",
            settings.node.network_id
        ));
    }
    if files::key_age(&settings.data_dir).is_some_and(|age| age > files::KEY_AGE_ADVISED) {
        tracing::warn!("the node's key is older than 90 days: `marlos-node key rotate` replaces it");
    }
    let (store, mut records) = store::Store::open(&settings.data_dir, id)?;
    let results = events::results::Results::recall(&mut records);

    // Before anybody hears of this life, what the last one ran has ended.
    let jobs = &settings.document.jobs;
    let (executor, finished) = executor::Executor::new(
        &settings.data_dir,
        jobs.shell.allow.clone(),
        jobs.limits.clone(),
        supervisor::PROGRAM.as_ref(),
    )?;

    let (inbound, waiting) = inbound::channel(network.message_queue_size as usize);
    let counters = std::sync::Arc::<front::Counters>::default();
    let refusals = std::sync::Arc::<refusals::Refusals>::default();
    let limits = front::Limits {
        max_message: u64::from(settings.node.max_message_size) + FRAMING,
        queue_messages: network.socket_high_water_mark as usize,
        queue_bytes: QUEUE_BYTES,
        idle: Duration::from_micros(settings.node.heartbeat_interval.times(IDLE_HEARTBEATS).as_micros()),
        message: front::MESSAGE_TIMEOUT,
    };
    let transport = zmq::Transport::bind(
        zmq::Where {
            pub_address: (network.bind, network.pub_port).into(),
            sub_address: (network.bind, settings.sub_port).into(),
            directory: &settings.data_dir,
            door: Door {
                network_tag: network_tag(&settings.node.network_id),
                own_id: id,
                max_message_size: settings.node.max_message_size,
            },
            limits,
        },
        inbound,
        std::sync::Arc::clone(&counters),
        std::sync::Arc::clone(&refusals),
    )
    .await?;
    let (beacon, beacons) = beacon::Beacon::bind(beacon::Where {
        bind: network.bind,
        port: network.beacon_port,
        group: network.multicast.then_some(network.multicast_group),
        hosts: network.bootstrap_peers.iter().map(|p| (p.host.clone(), p.beacon_port)).collect(),
    })?;
    let (requests, asked) = mpsc::channel(REQUESTS);
    let hub = events::Hub::default();
    let api = api::serve(settings.document.api.address, &settings.data_dir, requests, hub.clone()).await?;

    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| format!("no entropy for the node's generator: {e}"))?;
    let recording = match &settings.record {
        Some(path) => record::Recording::begin(path, &settings.node, &keys, seed)?,
        None => record::Recording::default(),
    };
    let node = Node::new(settings.node, keys, ChaCha8Rng::from_seed(seed)).map_err(|e| e.to_string())?;
    tracing::info!(node_id = %id, pub_endpoint = %node.view().config().pub_endpoint, api = %api.address(), "marlos-node runs");

    let data_dir = settings.data_dir.clone();
    let hands = Hands { transport, beacon, executor, counters, refusals, data_dir };
    let mut engine = Engine::new(node, store, results, hands, hub, recording);
    engine.start(&records).await?;
    drop(records);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    let sources = engine::Sources { waiting, beacons, finished, asked };
    let why = engine.run(sources, stop).await?;
    tracing::info!("{why}: saying goodbye");
    engine.leave().await
}
