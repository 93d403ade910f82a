//! What is known to go wrong with the implementation that users have today, in Python. Each failure, and the test that shows that
//! a node does not have it: here, or where the second column says.
//!
//! | there | test |
//! |---|---|
//! | with one-sided bootstrap nodes never meet | `membership::a_chain_of_first_contacts_becomes_a_full_mesh_within_five_seconds_in_either_order_of_start` |
//! | a crash is noticed after 32 to 86 s, a goodbye after 58 s | `membership::a_silent_member_is_suspected_after_seven_and_a_half_seconds_and_dead_a_second_later`, `membership::goodbye_is_said_at_once_however_busy_the_node_is_and_marks_it_left` |
//! | a claim takes 2.5 s, its execution starts after 9.6 s | `auction::four_nodes_auction_a_job_in_the_order_of_the_protocol`; the KPI `consensus` of every scenario |
//! | 3n + 3 broadcasts for a job, 130 KB at ten nodes | the KPI `overhead_per_job` of `scenarios/baseline.toml` |
//! | half a job a second gets peers banned, one splits the network | `admission::an_honest_node_that_submits_a_hundred_jobs_a_second_is_never_limited` |
//! | more than twelve idle nodes ban each other | `twenty_idle_nodes_stay_friends` |
//! | the job of a killed winner is lost | `takeover::the_backup_takes_over_when_the_executor_dies`, `real_nodes::when_the_executor_is_killed_its_backup_runs_the_job_and_the_submitter_gets_one_result` |
//! | a message with another's id, signed by any key, is accepted, and replaces that node's key | `a_forged_id_neither_speaks_for_its_owner_nor_replaces_its_key`, `membership::a_forged_announce_is_refused_and_changes_nothing` |
//! | sixteen such messages get an honest node banned by all | `a_forged_id_neither_speaks_for_its_owner_nor_replaces_its_key`, `admission::nobody_gets_another_banned_with_forged_or_replayed_messages` |
//! | one bid with a score of 1e9 from nowhere, and the job never runs | `one_boundless_bid_does_not_stop_a_job` |
//! | one forged claim, and the job never runs | `one_forged_claim_does_not_stop_a_job`, `auction::a_claim_that_no_proposal_announced_must_be_proven` |
//! | a stranger's shell job prints the node's private key | `driver_executor::a_job_has_an_empty_environment_a_private_directory_and_nothing_to_read`, `hostile::web::a_job_finds_no_secret_in_environment_arguments_or_open_files`. A job that runs as the node's user can read that user's files: `jobs.shell.allow` is empty until the operator says otherwise, and SECURITY.md says what follows |
//! | messages with the receiver's own id pass no rate limit | `messages_in_the_receivers_own_name_are_refused_before_anything_else` |
//! | a timestamp of NaN passes every check, and can be replayed | `a_timestamp_is_a_number_within_the_tolerance_or_no_timestamp` |
//! | a banned flooder still costs a signature check for each message | `a_banned_flooder_costs_no_signature_check` |
//! | nine pieces of garbage a second slow everybody down | `garbage_holds_nobody_up`, `hostile::flood` |
//! | a message of 200 MB stops the loop for two seconds | `driver_front::lengths_beyond_all_measure_close_the_connection_and_nothing_else`, `driver_memory` |
//! | REST and WebSocket on all interfaces without authentication | `driver::config` (`what_would_be_unsafe_is_refused`), `real_nodes::strangers_leave_a_node_alive_and_working` |
//! | a text/plain POST from any web page submits a job | `hostile::web::a_web_page_submits_nothing` |
//! | acknowledgements come before the waiter exists | `auction::votes_that_come_before_the_proposal_count` |
//! | after one late join a third of the jobs have no coordinator or two | `after_a_late_join_every_job_has_one_coordinator_in_the_eyes_of_all` |
//! | a submitter's clock is two seconds slow, and nobody bids | `a_submitter_whose_clock_is_slow_gets_its_job_run` |
//! | the fourth concurrent win vanishes with its stake | `more_wins_at_once_than_a_node_can_run_are_not_lost` |
//! | the submitter never gets the output | `jobs::a_result_reaches_its_submitter_with_what_the_job_printed` |
//! | no money moves from the submitter | `ledger::a_job_is_paid_once_with_a_bonus_and_everyone_sees_it` |
//! | a quorum of one peer is no acknowledgement at all | `robustness::two_halves_of_a_network_never_both_claim`; `quorum` against `vectors/quorum_sizes.json` |
//! | settings of the documented file are read by no code | `driver::config` (`every_key_of_the_template_changes_something`) |

use std::collections::BTreeSet;

use marlos::config::Codec;
use marlos::id::{Link, NodeId};
use marlos::identity::StrictVerifier;
use marlos::io::{Event, Input, Outbox, Refusal, Verify};
use marlos::time::Span;
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::{ClaimCertificate, JobBid, JobClaim, Offer, PeerAnnounce};
use marlos::wire::{MsgType, Payload, Signature, Signed};

use crate::auction::Table;
use crate::hand::{Hand, among_hands, ping, refusals, shell, state_of};
use crate::membership::{met, net_of};
use crate::net::{Net, What, keys};

/// A verifier that counts what it is asked.
struct Counting(u32);

impl Verify for Counting {
    fn verify(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> bool {
        self.0 += 1;
        StrictVerifier.verify(key, message, signature)
    }
}

/// Delivers frames to node 0, and says how many signatures were checked for it.
fn checks(net: &mut Net, frames: &[Vec<u8>]) -> u32 {
    let (now, mut counting, mut out) = (net.now_of(0), Counting(0), Outbox::default());
    let node = net.slots[0].node.as_mut().expect("it runs");
    for bytes in frames {
        node.handle(now, Input::Frame { link: Link::INBOUND, bytes }, &mut counting, &mut out);
        out.clear();
    }
    counting.0
}

#[test]
fn twenty_idle_nodes_stay_friends() {
    let mut net = met(20);
    net.run_for(Span::secs(60));
    assert!(net.all_alive());
    for at in 0..20 {
        assert_eq!(net.node(at).view().blacklisted(net.now), 0, "at {at}");
        assert!(!net.refusals(at).contains(&Refusal::RateLimited));
    }
}

#[test]
fn a_forged_id_neither_speaks_for_its_owner_nor_replaces_its_key() {
    let (mut net, mut hands) = among_hands(3);
    let victim = hands[0].id();
    let before = state_of(net.node(0));
    for counter in 0..16 {
        let mut forger = Hand { keys: keys(9), counter: 100 + counter, ..Hand::new(1) };
        let header = marlos::wire::Header { sender: victim, ..forger.header(net.now, None, MsgType::Ping) };
        let frame = forger.seal_as(header, &ping());
        assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &frame)), [Refusal::BadSignature]);
        // And its announce, with the forger's key in it.
        let mut record = forger.record();
        record.node_id = victim;
        let payload = Payload::PeerAnnounce(Box::new(PeerAnnounce { record, want_records: false }));
        let header = marlos::wire::Header { sender: victim, ..forger.header(net.now, None, MsgType::PeerAnnounce) };
        let frame = forger.seal_as(header, &payload);
        assert_eq!(refusals(&net.deliver(0, Link::INBOUND, &frame)), [Refusal::BadSignature]);
    }
    assert_eq!(state_of(net.node(0)), before);
    let frame = hands[0].ping(net.now);
    assert_eq!(refusals(&net.deliver(0, Link(1), &frame)), [], "the honest one is neither banned nor forgotten");
}

#[test]
fn one_boundless_bid_does_not_stop_a_job() {
    for score in [Ppm(u32::MAX), Ppm(1_000_000_000), Ppm(1_000_001)] {
        let mut net = met(4);
        let mut liar = Hand { counter: 1 << 40, ..Hand::new(3) };
        let mut stranger = Hand::new(30);
        let job = net.submit(0, shell(Span::secs(30)));
        let offer = Offer { score, stake: Tokens(u64::MAX >> 1), estimated_completion: Span::ZERO };
        let bid = Payload::JobBid(JobBid { job_id: job, round: 0, offer: Some(offer) });
        for to in 0..4 {
            liar.say(&mut net, to, &bid);
            stranger.say(&mut net, to, &bid);
        }
        assert!(net.run_until(Span::secs(5), |net| net.outputs.contains_key(&job)), "a score of {score:?}");
    }
}

#[test]
fn one_forged_claim_does_not_stop_a_job() {
    let mut net = met(4);
    let mut liar = Hand { counter: 1 << 40, ..Hand::new(3) };
    let job = net.submit(0, shell(Span::secs(30)));
    let table = Table::coordinated_by(0);
    let statement = marlos::quorum::Statement { job_id: job, ..table.statement(0, 3, 2) };
    let claims = [
        Payload::JobClaim(JobClaim { job_id: job, round: 0 }),
        Payload::JobClaim(JobClaim { job_id: job, round: 9 }),
        Payload::ClaimCertificate(ClaimCertificate {
            voters: vec![0b1111],
            signatures: vec![liar.vote_signature(&statement); 4],
            statement,
            reachable: Vec::new(),
        }),
    ];
    for claim in &claims {
        (0..4).for_each(|to| drop(liar.say(&mut net, to, claim)));
    }
    assert!(net.run_until(Span::secs(5), |net| net.outputs.contains_key(&job)));
}

#[test]
fn messages_in_the_receivers_own_name_are_refused_before_anything_else() {
    let (mut net, _) = among_hands(2);
    let mut own = Hand { counter: 1_000, ..Hand::new(0) };
    let before = state_of(net.node(0));
    let frames: Vec<Vec<u8>> = (0..1_000).map(|_| own.ping(net.now)).collect();
    assert_eq!(checks(&mut net, &frames), 0, "signatures were checked");
    assert_eq!(net.node(0).view().metrics().refusals[Refusal::FromSelf as usize], 1_000);
    assert_eq!(state_of(net.node(0)), before);
}

#[test]
fn a_timestamp_is_a_number_within_the_tolerance_or_no_timestamp() {
    let (mut net, mut hands) = among_hands(2);
    hands[0].codec = Codec::Json;
    let frame = String::from_utf8(hands[0].ping(net.now)).expect("JSON");
    let at = frame.find("\"timestamp\":").expect("it has one") + "\"timestamp\":".len();
    let end = at + frame[at..].find([',', '}']).expect("it ends");
    let before = state_of(net.node(0));
    for stamp in
        ["NaN", "nan", "Infinity", "-Infinity", "1e999", "-1", "null", "\"NaN\"", "true", "[]", "{}", "1e300", "0"]
    {
        // In the nonce too, which repeats it.
        let text = stamp.trim_matches('"');
        let spoiled = format!("{}{stamp}{}", &frame[..at], &frame[end..]).replace(&frame[at..end], text);
        let refused = refusals(&net.deliver(0, Link(1), spoiled.as_bytes()));
        assert!(matches!(refused[..], [Refusal::Malformed | Refusal::StaleTimestamp]), "{stamp}: {refused:?}");
        assert_eq!(state_of(net.node(0)), before, "{stamp}");
    }
    assert_eq!(refusals(&net.deliver(0, Link(1), frame.as_bytes())), [], "and as it was, it passes");
}

#[test]
fn a_banned_flooder_costs_no_signature_check() {
    let (mut net, mut hands) = among_hands(2);
    net.run_for(Span::secs(3));
    let frames: Vec<Vec<u8>> = (0..2_000).map(|_| hands[0].ping(net.now)).collect();
    let before_the_ban = checks(&mut net, &frames);
    assert_eq!(net.node(0).view().blacklisted(net.now), 1);
    assert!(before_the_ban < 500, "{before_the_ban} of 2000 were checked");
    let frames: Vec<Vec<u8>> = (0..2_000).map(|_| hands[0].ping(net.now)).collect();
    assert_eq!(checks(&mut net, &frames), 0, "of a sender that is banned");
}

#[test]
fn garbage_holds_nobody_up() {
    let mut net = met(4);
    let mut ended = Vec::new();
    for garbage in [0usize, 1_000] {
        let (job, since) = (net.submit(1, shell(Span::secs(30))), net.now);
        for n in 0..garbage {
            let bytes: Vec<u8> = (0..n % 300).map(|i| (i * 31 + n) as u8).collect();
            for to in 0..4 {
                let said = net.deliver(to, Link::INBOUND, &bytes);
                assert!(matches!(said[..], [What::Reported(Event::Refused { .. })]), "{said:?}");
            }
        }
        assert!(net.run_until(Span::secs(5), |net| net.outputs.contains_key(&job)));
        ended.push(net.now.since(since));
        net.run_for(Span::secs(5));
    }
    // No node waits, sleeps or goes slower for it, in its own time.
    assert!(ended[1] <= ended[0] + Span::millis(800), "{ended:?}");
}

#[test]
fn after_a_late_join_every_job_has_one_coordinator_in_the_eyes_of_all() {
    let mut net = net_of(5, |at| (at > 0).then_some(0));
    (0..4).for_each(|at| drop(net.start(at)));
    assert!(net.run_until(Span::secs(5), Net::all_alive));
    net.start(4);
    assert!(net.run_until(Span::secs(5), Net::all_alive));
    net.run_for(Span::secs(5));
    let jobs: Vec<_> = (0..15)
        .map(|n| {
            let job = net.submit(n % 5, shell(Span::secs(30)));
            net.run_for(Span::millis(50));
            job
        })
        .collect();
    net.run_for(Span::secs(5));
    for job in jobs {
        let closed = |(_, event): (_, &Event)| matches!(event, Event::AuctionClosed { job: id, .. } if *id == job);
        let coordinators: Vec<usize> = (0..5).filter(|at| net.reports(*at).any(closed)).collect();
        assert_eq!(coordinators.len(), 1, "{job}: {coordinators:?}");
        assert!(net.outputs.contains_key(&job), "{job}");
    }
}

#[test]
fn a_submitter_whose_clock_is_slow_gets_its_job_run() {
    for skew_us in [-2_000_000, 2_000_000, -20_000_000] {
        let mut net = net_of(4, |at| (at > 0).then_some(0));
        net.slots[2].skew_us = skew_us;
        (0..4).for_each(|at| drop(net.start(at)));
        assert!(net.run_until(Span::secs(5), Net::all_alive));
        // Two heartbeats, in which clocks are compared. Nobody votes for a job that is older than his store (section 6), so
        // that whoever submits with a slow clock in the first seconds of a whole network waits for its deadline.
        net.run_for(Span::secs(8));
        let job = net.submit(2, shell(Span::secs(30)));
        assert!(net.run_until(Span::secs(5), |net| net.outputs.contains_key(&job)), "{skew_us} us");
    }
}

#[test]
fn more_wins_at_once_than_a_node_can_run_are_not_lost() {
    // One node that can do the work, and twelve jobs at once.
    let mut net = Net::new(
        (0..4)
            .map(|at| {
                let mut config = net_of(4, |at| (at > 0).then_some(0)).slots[at].config.clone();
                if at != 3 {
                    config.capabilities.clear();
                }
                config
            })
            .collect(),
    );
    net.run_for = Some(Span::secs(2));
    (0..4).for_each(|at| drop(net.start(at)));
    assert!(net.run_until(Span::secs(5), Net::all_alive));
    let jobs: Vec<_> = (0..12).map(|n| net.submit(n % 3, shell(Span::secs(60)))).collect();
    let done = |net: &Net| jobs.iter().filter(|job| net.outputs.contains_key(job)).count();
    assert!(net.run_until(Span::secs(60), |net| done(net) == jobs.len()), "{} of 12", done(&net));
    net.run_for(Span::secs(60));
    let staked = net.node(3).view().bound(keys(3).id()).1;
    assert_eq!(staked, Tokens(0), "a stake vanished");
    let ids: BTreeSet<NodeId> = net.certified.values().copied().collect();
    assert_eq!(ids, BTreeSet::from([keys(3).id()]));
}
