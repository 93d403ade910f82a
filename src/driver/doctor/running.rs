//! What a node that runs says of its clock and its network.

use serde_json::Value;

use super::{Finding, Verdict, good, not_good};
use crate::driver::config::Settings;

/// By its status, where it runs.
pub fn findings(status: Option<&Value>, settings: &Settings) -> Vec<Finding> {
    let Some(status) = status else {
        let advice = "start the node, and ask again";
        return vec![not_good(Verdict::Unknown, "clock and peers", "no node runs that could tell", advice)];
    };
    let number = |key: &str| status[key].as_i64().unwrap_or(0);
    let tolerance_us = i64::try_from(settings.node.clock_sync_tolerance.as_micros()).unwrap_or(i64::MAX);
    vec![clock(number("clock_offset_us"), number("peer_count"), tolerance_us), peers(status, &number)]
}

/// Peers refuse what is stamped further away than the tolerance.
fn clock(offset_us: i64, peers: i64, tolerance_us: i64) -> Finding {
    if peers == 0 {
        let advice = "ask again when it has found others";
        return not_good(Verdict::Unknown, "clock", "the node knows no other clock", advice);
    }
    let found = format!("{} ms from the network's", offset_us / 1_000);
    let verdict = match offset_us.saturating_abs() {
        far if far > tolerance_us => Verdict::Bad,
        far if far > tolerance_us / 4 => Verdict::Poor,
        _ => return good("clock", found),
    };
    not_good(verdict, "clock", found, "let NTP set the clock of this machine (timedatectl set-ntp true, chronyd)")
}

fn peers(status: &Value, number: &dyn Fn(&str) -> i64) -> Finding {
    let (members, reachable, quorum) = (number("members"), number("reachable"), number("quorum"));
    let found = format!("{reachable} of {members} members are reachable, jobs need {quorum}");
    if status["partition_detected"] == true {
        let advice = "jobs wait: look for the members that are gone (marlos-node peers), and at the network to them";
        return not_good(Verdict::Bad, "peers", found, advice);
    }
    if number("blacklisted_peers") > 0 {
        let advice = "they sent too much; marlos-node events says who";
        return not_good(Verdict::Poor, "peers", format!("{found}; some are refused for a while"), advice);
    }
    good("peers", found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_clock_is_judged_by_the_tolerance_of_the_others() {
        for (offset_us, peers, verdict) in [
            (0, 0, Verdict::Unknown),
            (-7_000_000, 3, Verdict::Good),
            (8_000_000, 3, Verdict::Poor),
            (-31_000_000, 3, Verdict::Bad),
        ] {
            assert_eq!(clock(offset_us, peers, 30_000_000).verdict, verdict, "{offset_us} us");
        }
    }

    #[test]
    fn a_cut_off_node_is_a_fault_and_one_that_does_not_run_is_not_known() {
        let settings = crate::driver::config::Document::default().resolve().unwrap();
        let of =
            |status: Option<&Value>| findings(status, &settings).into_iter().map(|f| f.verdict).collect::<Vec<_>>();
        assert_eq!(of(None), [Verdict::Unknown]);
        let mut status =
            json!({ "members": 3, "reachable": 3, "quorum": 2, "peer_count": 2, "partition_detected": false });
        assert_eq!(of(Some(&status)), [Verdict::Good, Verdict::Good]);
        status["partition_detected"] = true.into();
        assert_eq!(of(Some(&status)), [Verdict::Good, Verdict::Bad]);
    }
}
