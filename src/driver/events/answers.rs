//! What the node answers to local programs.

use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::Reporter;
use super::results::Kept;
use super::text::name_of;
use crate::Node;
use crate::driver::api::{Answer, Ask, Problem};
use crate::driver::engine::Hands;
use crate::driver::files;
use crate::driver::inbound::Waiting;
use crate::id::{JobId, PeerIdx};
use crate::io::{PeerState, Refusal};
use crate::node::{JobPhase, JobView, NodeView, PeerView};
use crate::time::{Now, Span};

impl Reporter {
    /// Answers everything that changes nothing.
    pub fn answer(&mut self, ask: &Ask, node: &Node, hands: &Hands, waiting: &Waiting, now: Now) -> Answer {
        let view = node.view();
        match ask {
            Ask::Status => Ok(self.status(view, hands, now)),
            Ask::Peers => Ok(Value::Array(view.peers(now.mono).map(|peer| peer_json(&peer)).collect())),
            Ask::Jobs => Ok(self.jobs(view)),
            Ask::Wallet => Ok(self.wallet(view)),
            Ask::Job(id) => self.job(view, *id),
            Ask::Metrics => Ok(Value::String(self.metrics(view, hands, waiting, now))),
            Ask::Submit(_) | Ask::RotateKey => Err(Problem::internal("what changes something is answered by the loop")),
        }
    }

    fn status(&self, view: NodeView<'_>, hands: &Hands, now: Now) -> Value {
        let config = view.config();
        json!({
            "node_id": view.id(),
            "node_name": config.node_name,
            "network_id": config.network_id,
            "version": env!("CARGO_PKG_VERSION"),
            "incarnation": view.incarnation(),
            "key_rotations": view.key_rotations(PeerIdx::SELF),
            "key_age_days": files::key_age(&hands.data_dir).map(|age| age.as_secs() / 86_400),
            "uptime_s": self.started.elapsed().as_secs(),
            "pub_endpoint": config.pub_endpoint,
            "sub_endpoint": config.sub_endpoint,
            "capabilities": config.capabilities,
            "members": view.members(),
            "reachable": view.reachable(),
            "quorum": view.quorum(),
            "peer_count": peer_count(view, now),
            "partition_detected": view.degraded(),
            "clock_offset_us": view.clock_offset_us(),
            "blacklisted_peers": view.blacklisted(now.mono),
            "jobs": { "known": view.jobs().count(), "running_here": hands.executor.running() },
        })
    }

    /// Money as it is printed, and in whole micro-tokens for who compares.
    fn wallet(&self, view: NodeView<'_>) -> Value {
        let (id, (reserved, staked)) = (view.id(), view.bound(view.id()));
        let accounts = view
            .accounts()
            .map(|(account, balance)| json!({ "node_id": account, "balance": balance, "balance_micro": balance.0 }));
        json!({
            "node_id": id,
            "balance": view.balance(id),
            "balance_micro": view.balance(id).0,
            "free": view.free(id),
            "reserved": reserved,
            "staked": staked,
            "transactions_certified": self.counts.certified,
            "transactions_applied": self.counts.applied,
            "ledger_digest": format!("{:016x}", view.ledger_digest()),
            "accounts": accounts.collect::<Vec<_>>(),
        })
    }

    fn jobs(&self, view: NodeView<'_>) -> Value {
        let known = view.jobs().map(|job| job_json(&job));
        // What the node itself has forgotten, but the submitter may still ask for.
        let only_kept = self.results.iter().filter(|(id, _)| view.job(*id).is_none());
        Value::Array(known.chain(only_kept.map(|(id, kept)| kept_json(id, kept))).collect())
    }

    fn job(&self, view: NodeView<'_>, id: JobId) -> Answer {
        let kept = self.results.get(id);
        let mut answer = match (view.job(id), kept) {
            (Some(job), _) => job_json(&job),
            (None, Some(kept)) => kept_json(id, kept),
            (None, None) => return Err(Problem::not_found(format!("no job {id} is known here"))),
        };
        if let (Some(kept), Value::Object(fields)) = (kept, &mut answer) {
            let Value::Object(end) = kept_json(id, kept) else { unreachable!("it is written as an object") };
            fields.extend(end);
            // Output is bytes; what is no UTF-8 shows as replacement characters, and can be had exactly in base64.
            use base64::Engine;
            fields.insert("output".into(), String::from_utf8_lossy(&kept.output).into());
            if std::str::from_utf8(&kept.output).is_err() {
                let exact = base64::engine::general_purpose::STANDARD.encode(&kept.output);
                fields.insert("output_base64".into(), exact.into());
            }
        }
        Ok(answer)
    }

    /// Prometheus' text format; the first seven are the document's `get_metrics`.
    fn metrics(&mut self, view: NodeView<'_>, hands: &Hands, waiting: &Waiting, now: Now) -> String {
        let (of_node, front) = (view.metrics(), &hands.counters);
        let bytes = front.bytes_out.load(Relaxed) + front.bytes_in.load(Relaxed);
        self.tally.on_bytes(now.mono, bytes - std::mem::replace(&mut self.told_bytes, bytes));
        let tally = self.tally.read(now.mono);
        let (latency, bits) = (tally.avg_latency_us as f64, tally.bandwidth_usage_bits_per_s as f64);
        let counts = self.counts;
        let mut text = String::new();
        let mut gauge = |name: &str, about: &str, value: f64| put(&mut text, name, "gauge", about, value);
        gauge("peer_count", "members that are alive, without this node", f64::from(tally.peer_count));
        gauge(
            "avg_latency_ms",
            "mean one-way latency of accepted messages, by the stamps of both clocks",
            latency / 1e3,
        );
        gauge("bandwidth_usage_mbps", "Mbit/s in and out, mean of the last 10 s", bits / 1e6);
        gauge("blacklisted_peers", "senders refused for a while", f64::from(tally.blacklisted_peers));
        gauge("partition_detected", "1: too few members are reachable", f64::from(u8::from(tally.partition_detected)));
        gauge("members", "known members, this node included", f64::from(view.members()));
        gauge("reachable_members", "reachable members, this node included", f64::from(view.reachable()));
        gauge("quorum", "votes that a claim needs", f64::from(view.quorum()));
        gauge("clock_offset_seconds", "this clock against the network's", view.clock_offset_us() as f64 / 1e6);
        gauge("jobs_running", "executions here", hands.executor.running() as f64);
        let age = files::key_age(&hands.data_dir).unwrap_or_default();
        gauge("key_age_seconds", "for how long the node's key has been in use; 90 days are advised", age.as_secs_f64());
        gauge("key_rotations", "keys that this node has had before", f64::from(view.key_rotations(PeerIdx::SELF)));
        let (reserved, staked) = view.bound(view.id());
        for (name, about, tokens) in [
            ("wallet_balance", "tokens of this node's account", view.balance(view.id())),
            ("wallet_reserved", "of these, reserved for its own open jobs", reserved),
            ("wallet_staked", "of these, staked on its claims", staked),
        ] {
            gauge(name, about, tokens.0 as f64 / 1e6);
        }
        // By the document's names, which have no `_total`.
        put(
            &mut text,
            "messages_sent",
            "counter",
            "messages sent; a broadcast counts once",
            tally.messages_sent as f64,
        );
        put(
            &mut text,
            "messages_received",
            "counter",
            "messages that passed every check",
            tally.messages_received as f64,
        );
        let beacon = hands.beacon.counters();
        for (name, about, value) in [
            ("bytes_written", "bytes written to peers", front.bytes_out.load(Relaxed)),
            ("bytes_read", "bytes of messages read from peers", front.bytes_in.load(Relaxed)),
            ("frames_dropped_out", "messages that a peer did not take in time", front.dropped_out.load(Relaxed)),
            ("frames_dropped_in", "large messages for which there was no room", waiting.dropped()),
            ("frames_unasked", "messages for topics that were not asked for", front.unasked.load(Relaxed)),
            ("connections_turned_away", "connections beyond the limits", front.turned_away.load(Relaxed)),
            ("frames_duplicate", "messages that came a second time over another path", of_node.duplicates),
            ("connections_kept_out", "connections of an address that sent junk", front.kept_out.load(Relaxed)),
            ("connections_cut_off", "connections closed for the junk that came over them", front.cut_off.load(Relaxed)),
            (
                "frames_of_the_cut",
                "frames dropped as their connection was cut off before their turn",
                waiting.dropped_cut(),
            ),
            ("connections_refused", "connections closed for what they did", front.refused.load(Relaxed)),
            ("beacons_not_sent", "beacons that the system did not take", beacon.send_errors.load(Relaxed)),
            ("beacons_dropped", "beacons too long or too many", beacon.dropped.load(Relaxed)),
            ("jobs_submitted", "local jobs accepted", counts.submitted),
            ("jobs_succeeded", "local jobs that ended with success", counts.succeeded),
            ("jobs_failed", "local jobs that ended with failure", counts.failed),
            ("jobs_without_result", "local jobs that ended without a result", counts.without_result),
            ("executions", "executions started here", counts.executions),
            ("transactions_certified", "transactions of this node that a quorum voted for", counts.certified),
            ("transactions_applied", "transactions that moved an account here, its own included", counts.applied),
            ("deaths_detected", "peers that were marked dead", counts.deaths),
        ] {
            put(&mut text, &format!("{name}_total"), "counter", about, value as f64);
        }
        text.push_str(
            "# HELP marlos_refusals_total refused frames and statements\n# TYPE marlos_refusals_total counter\n",
        );
        for (reason, count) in Refusal::ALL.iter().zip(of_node.refusals) {
            let all = count + hands.refusals.counted(*reason);
            let _ = writeln!(text, "marlos_refusals_total{{reason=\"{}\"}} {all}", name_of(reason));
        }
        text
    }
}

fn put(text: &mut String, name: &str, kind: &str, about: &str, value: f64) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "# HELP marlos_{name} {about}\n# TYPE marlos_{name} {kind}\nmarlos_{name} {value}");
}

fn peer_count(view: NodeView<'_>, now: Now) -> u32 {
    u32::try_from(view.peers(now.mono).filter(|p| p.state == PeerState::Alive).count()).unwrap_or(u32::MAX)
}

fn peer_json(peer: &PeerView<'_>) -> Value {
    json!({
        "node_id": peer.id,
        "node_name": peer.name,
        "state": peer.state,
        "pub_endpoint": peer.pub_endpoint,
        "incarnation": peer.incarnation,
        "key_rotations": peer.key_rotations,
        "silent_ms": peer.silent_for.map(Span::as_millis),
        "round_trip_us": peer.round_trip.map(Span::as_micros),
        "clock_offset_us": peer.clock_offset_us,
        "capabilities": peer.capabilities,
        "trust": peer.trust,
        "quarantined": peer.quarantined,
    })
}

fn job_json(job: &JobView<'_>) -> Value {
    let (phase, reason) = match job.phase {
        JobPhase::Open => ("open", None),
        JobPhase::Claimed => ("claimed", None),
        JobPhase::Running => ("running", None),
        JobPhase::Done(status) => return with_end(base(job), "done", Some(name_of(&status))),
        JobPhase::Failed(reason) => ("failed", Some(name_of(&reason))),
    };
    let mut fields = with_end(base(job), phase, None);
    if let (Some(reason), Value::Object(fields)) = (reason, &mut fields) {
        fields.insert("reason".into(), reason.into());
    }
    fields
}

fn base(job: &JobView<'_>) -> Value {
    json!({
        "job_id": job.id,
        "job_type": job.job_type,
        "command": job.command,
        "submitter": job.submitter,
        "round": job.round,
        "executor": job.claimer,
    })
}

fn with_end(mut fields: Value, phase: &str, status: Option<String>) -> Value {
    if let Value::Object(fields) = &mut fields {
        fields.insert("phase".into(), phase.into());
        fields.insert("status".into(), status.into());
    }
    fields
}

fn kept_json(id: JobId, kept: &Kept) -> Value {
    match &kept.end {
        Ok(status) => json!({ "job_id": id, "phase": "done", "status": status, "executor": kept.executor }),
        Err(reason) => json!({ "job_id": id, "phase": "failed", "status": null, "reason": reason }),
    }
}
