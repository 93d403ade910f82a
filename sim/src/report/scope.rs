//! What a run modelled and what it did not: the limits of what it shows, beside every result.

use serde::Serialize;

use crate::network::topology;
use crate::scenario::{CpuSpec, Crypto, FaultKind, QueueFull, Scenario};

/// The two halves of it, each a list of sentences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// What was part of the run.
    pub modelled: Vec<String>,
    /// What was not, so that nothing is said about it.
    pub not_modelled: Vec<String>,
}

/// The scope of a scenario's runs.
#[must_use]
pub fn lines(scenario: &Scenario) -> Scope {
    let network = &scenario.network;
    let mut modelled = vec![
        "the production node: protocol, codec, admission, limits, storage records".to_owned(),
        format!("a network of profile {}: delay per message, order per connection, dials, resets", network.profile),
    ];
    modelled.extend(topology::describe(scenario));
    modelled.push(match scenario.crypto {
        Crypto::Ed25519 => "signatures: real Ed25519".to_owned(),
        Crypto::Token => "signatures: keyed tokens of the same size, which expose forgery".to_owned(),
    });
    let mut not_modelled = Vec::new();
    let mut part = |is: bool, yes: &str, no: &str| {
        if is {
            modelled.push(yes.to_owned());
        } else {
            not_modelled.push(no.to_owned());
        }
    };
    part(
        network.jitter.is_some() || network.regions.is_some(),
        "distances: each pair of nodes has a delay of its own, and each message adds to it",
        "distances: every message draws its whole delay, and no pair of nodes is far apart",
    );
    part(network.asymmetry.0 > 0, "ways that take longer in one direction", "ways that take longer in one direction");
    part(network.loss.0 > 0, "loss: UDP drops, TCP comes later", "loss");
    part(network.loss_burst.is_some(), "losses that come together", "losses that come together");
    let datagrams = network.duplicate.0 > 0 || network.reorder.is_some();
    part(datagrams, "datagrams that come twice, or are overtaken", "datagrams that come twice");
    part(
        network.corrupt.0 > 0,
        "segments changed on their way: checksums find them, but for some of UDP's",
        "segments changed on their way",
    );
    part(
        network.bandwidth_bps.is_some(),
        match network.queue_full {
            QueueFull::Wait => "bandwidth, with a queue per node, in which what is too much waits",
            QueueFull::Drop => "bandwidth, with a queue per node, which drops what is too much",
        },
        "bandwidth and queues",
    );
    part(
        network.slow_joiner.is_some(),
        "subscriptions that come later than their connection",
        "subscriptions that come later than their connection",
    );
    let costs = scenario.nodes.iter().any(|node| node.cpu != CpuSpec::default());
    part(
        costs,
        "what messages and signatures cost a processor, with a queue before it",
        "what messages and signatures cost a processor",
    );
    let has = |is: fn(&FaultKind) -> bool| scenario.faults.iter().any(|fault| is(&fault.kind));
    part(has(|kind| matches!(kind, FaultKind::Crash { .. })), "crashes and what stores lose by them", "crashes");
    part(
        has(|kind| matches!(kind, FaultKind::Partition { .. } | FaultKind::OneWay { .. })),
        "cuts of the network",
        "cuts of the network",
    );
    not_modelled.extend([
        "TCP's congestion control, kernels, disks' latency, garbage in hardware".to_owned(),
        "what jobs really do: an execution is a duration and an output of a size".to_owned(),
    ]);
    Scope { modelled, not_modelled }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn what_a_scenario_leaves_out_is_said() {
        let mut scenario = fixture::outcome(3, 10).scenario;
        let scope = lines(&scenario);
        assert!(scope.modelled.iter().any(|line| line.starts_with("loss")), "{scope:?}");
        assert!(scope.not_modelled.iter().any(|line| line == "bandwidth and queues"), "{scope:?}");
        assert!(scope.not_modelled.iter().any(|line| line.starts_with("distances")), "{scope:?}");
        scenario.network.jitter = Some(scenario.network.latency.clone());
        assert!(lines(&scenario).modelled.iter().any(|line| line.starts_with("distances")));
        scenario.faults.clear();
        assert!(lines(&scenario).not_modelled.contains(&"crashes".to_owned()));
    }
}
