//! L1: once it is quiet, all live nodes that can reach each other know each other and hold each other for alive.

use marlos::io::PeerState;

use super::Quiet;
use super::contact::Contact;
use super::views::{View, Views};
use crate::observe::Truth;
use crate::outcome::Verdict;
use crate::scenario::{NodeNo, Scenario};

/// Judges at the end of the run, each pair that has been in contact since the last fault's end. A suspicion that is younger than
/// the observer's `heartbeat_timeout` is a question under way and no fault.
pub(super) fn judge(
    truth: &Truth,
    scenario: &Scenario,
    quiet: &Quiet,
    contact: &Contact,
    views: &Views,
) -> (Verdict, String) {
    if scenario.nodes.len() < 2 {
        return (Verdict::NotApplicable, "one node has no peers".into());
    }
    if truth.now < quiet.judged {
        return (
            Verdict::Unknown,
            format!("the run ended at {}, before it had settled at {}", truth.now, quiet.judged),
        );
    }
    let (mut pairs, mut wrong, mut first) = (0u64, 0u64, None);
    for node in 0..truth.up.len() {
        for peer in (0..truth.up.len()).filter(|peer| contact.since_before(node, *peer, quiet.from)) {
            pairs += 1;
            if !holds(truth, scenario, node, views.of(node, peer)) {
                wrong += 1;
                first.get_or_insert((node, peer));
            }
        }
    }
    match first {
        None if pairs == 0 => (Verdict::Unknown, "no two live nodes could reach each other: nothing to check".into()),
        None => (Verdict::Pass, format!("{pairs} live nodes held for alive, each by a node it can reach")),
        Some((node, peer)) => {
            let sees = match views.of(node, peer) {
                None => "does not know it".to_string(),
                Some(view) => format!("has held it for {:?} since {}", view.state, view.since),
            };
            let sentence = "all live nodes that can reach each other hold each other for alive";
            let since = format!("n{node} and n{peer} have been in contact since {} or earlier", quiet.from);
            let detail = format!("{sentence}. {since}; but at {} n{node} {sees} ({wrong} of {pairs} pairs)", truth.now);
            (Verdict::Fail, detail)
        }
    }
}

fn holds(truth: &Truth, scenario: &Scenario, node: NodeNo, view: Option<View>) -> bool {
    match view {
        Some(View { state: PeerState::Alive, .. }) => true,
        Some(View { state: PeerState::Suspect, since }) => {
            truth.now.since(since) < scenario.nodes[node].config.heartbeat_timeout
        }
        Some(View { state: PeerState::Known | PeerState::Dead | PeerState::Left, .. }) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use marlos::time::{Span, Time};

    use super::*;
    use crate::check::history::{History, scenario};
    use crate::observe::Observation;
    use crate::scenario::{Fault, FaultKind};

    /// Three nodes of which n2 is cut off from 20 s to 40 s; they settle by 70 s.
    fn judged(history: &[(u64, Observation<'static>)], until: u64) -> (Verdict, String) {
        let mut scenario = scenario(3, "100s");
        scenario.faults = vec![Fault {
            at: Time(20_000_000),
            until: Some(Time(40_000_000)),
            kind: FaultKind::Partition { groups: vec![vec![2]] },
        }];
        let (mut contact, mut views) = (Contact::new(3), Views::new(3));
        let mut world = History::new(&scenario);
        let mut see = |truth: &Truth, o: &Observation<'_>| {
            contact.observe(truth, o, |_, _, _| {});
            views.observe(truth.now, o);
        };
        for node in 0..3 {
            world.at(0, Observation::NodeStarted { node, restart: false }, &mut see);
        }
        for (node, peer) in (0..3).flat_map(|node| (0..3).map(move |peer| (node, peer))) {
            world.at(100, Observation::PeerState { node, peer, state: PeerState::Alive }, &mut see);
        }
        for (at, reaches) in [(20_000, false), (40_000, true)] {
            world.reach(&[0, 1], &[2], reaches);
            world.at(at, Observation::ReachChanged, &mut see);
        }
        for (ms, o) in history {
            world.at(*ms, o.clone(), &mut see);
        }
        world.at(until * 1_000, Observation::FramesCut { count: 0 }, &mut see);
        judge(&world.truth, &scenario, &Quiet::of(&scenario), &contact, &views)
    }

    fn state(ms: u64, peer: NodeNo, state: PeerState) -> (u64, Observation<'static>) {
        (ms, Observation::PeerState { node: 0, peer, state })
    }

    #[test]
    fn it_holds_where_everyone_holds_everyone_for_alive() {
        assert_eq!(judged(&[], 100).0, Verdict::Pass);
        let back = [state(50_000, 2, PeerState::Dead), state(60_000, 2, PeerState::Alive)];
        assert_eq!(judged(&back, 100).0, Verdict::Pass);
    }

    #[test]
    fn a_live_peer_held_for_dead_fails_and_is_named() {
        let (verdict, detail) = judged(&[state(50_000, 2, PeerState::Dead)], 100);
        assert_eq!(verdict, Verdict::Fail);
        assert!(
            detail.contains("n0 and n2") && detail.contains("Dead since 50.0") && detail.contains("1 of 6"),
            "{detail}"
        );
    }

    #[test]
    fn a_young_suspicion_is_none_and_an_old_one_is() {
        assert_eq!(judged(&[state(86_000, 1, PeerState::Suspect)], 100).0, Verdict::Pass);
        assert_eq!(judged(&[state(85_000, 1, PeerState::Suspect)], 100).0, Verdict::Fail);
    }

    #[test]
    fn a_restarted_node_that_met_nobody_again_fails() {
        let stop = Observation::NodeStopped { node: 1, how: crate::observe::Stop::CrashKept };
        let start = Observation::NodeStarted { node: 1, restart: true };
        // At 40 s the last fault ends: a start then is judged, a later one (which no fault explains) is not.
        assert_eq!(judged(&[(40_000, stop.clone()), (40_000, start.clone())], 100).0, Verdict::Fail);
        assert_eq!(judged(&[(40_000, stop), (41_000, start)], 100).0, Verdict::Pass);
    }

    #[test]
    fn before_it_has_settled_it_is_unknown() {
        assert_eq!(judged(&[state(50_000, 2, PeerState::Dead)], 69).0, Verdict::Unknown);
        assert_eq!(Span::secs(30), scenario(1, "1s").settle);
    }

    #[test]
    fn where_nobody_is_in_reach_it_is_unknown() {
        let stop = |node| (50_000, Observation::NodeStopped { node, how: crate::observe::Stop::CrashKept });
        assert_eq!(judged(&[stop(0), stop(1)], 100).0, Verdict::Unknown);
    }
}
