//! Private jobs (protocol.md, section 11).

use std::collections::BTreeSet;

use marlos::config::Codec;
use marlos::id::{JobId, NodeId};
use marlos::io::{Command, Event, Input, JobSpec, JobStatus, PeerState, Refusal, SubmitRefusal};
use marlos::time::Span;
use marlos::wire::message::*;
use marlos::wire::{Envelope, MsgType, Payload, binary};

use crate::hand::{Hand, among_hands, refusals, sent, shell};
use crate::membership::{met, net_of};
use crate::net::{Net, What};

const COMMAND: &str = "echo the-marker-in-the-command";
const OUTPUT: &[u8] = b"the-marker-in-the-output";

fn private() -> JobSpec<'static> {
    JobSpec { command: COMMAND, private: true, ..shell(Span::secs(60)) }
}

fn ended(net: &Net, at: usize, job: JobId) -> Option<JobStatus> {
    net.reports(at).find_map(|(_, event)| match event {
        Event::JobCompleted { job: done, status, .. } if *done == job => Some(*status),
        _ => None,
    })
}

fn holds(bytes: &[u8], marker: &[u8]) -> bool {
    bytes.windows(marker.len()).any(|window| window == marker)
}

/// Everything that a frame says to who can read it but not open what is sealed in it.
fn readable(frame: &[u8]) -> Vec<u8> {
    let mut text = frame.to_vec();
    let envelope = Envelope::peek(frame, u32::MAX).expect("an envelope");
    let each = &mut |payload: Payload| {
        let mut encoded = Vec::new();
        marlos::wire::encode(Codec::Bincode, &payload, &mut encoded);
        text.extend(encoded);
    };
    envelope.payloads(u32::MAX, each).expect("payloads");
    text
}

fn leaked(net: &Net) -> Vec<MsgType> {
    let tells = |what: &What| match what {
        What::Sent { kind, frame, .. } => {
            let text = readable(frame);
            (holds(&text, b"the-marker-in-the-command") || holds(&text, OUTPUT)).then_some(*kind)
        }
        _ => None,
    };
    net.said.iter().filter_map(|said| tells(&said.what)).collect()
}

fn five(codec: Codec) -> Net {
    five_of(codec, false)
}

fn five_of(codec: Codec, encryption: bool) -> Net {
    let mut net = net_of(5, |at| (at > 0).then_some(0));
    net.slots.iter_mut().for_each(|slot| (slot.config.codec, slot.config.encryption) = (codec, encryption));
    (0..5).for_each(|at| drop(net.start(at)));
    assert!(net.run_until(Span::secs(5), Net::all_alive), "they meet");
    net.run_for(Span::secs(5));
    net.output = OUTPUT.to_vec();
    net
}

#[test]
fn no_frame_tells_command_or_output_of_a_private_job_and_any_frame_does_of_another() {
    for codec in [Codec::Bincode, Codec::Json] {
        let mut net = five(codec);
        let mut elsewhere = 0;
        for _ in 0..6 {
            let job = net.submit(0, private());
            assert!(net.run_until(Span::secs(10), |net| ended(net, 0, job).is_some()), "{codec:?}");
            assert_eq!(ended(&net, 0, job), Some(JobStatus::Success));
            assert_eq!(net.outputs[&job], OUTPUT, "its submitter reads it");
            let ran = |said: &&crate::net::Said| matches!(said.what, What::Executed(run) if run == job);
            assert_eq!(net.said.iter().filter(ran).count(), 1);
            elsewhere += usize::from(net.said.iter().find(ran).expect("it ran").node != 0);
        }
        assert!(elsewhere > 0, "some ran on other nodes");
        assert_eq!(leaked(&net), [], "{codec:?}");
        let job = net.submit(0, JobSpec { private: false, ..private() });
        assert!(net.run_until(Span::secs(10), |net| ended(net, 0, job).is_some()));
        assert!(leaked(&net).contains(&MsgType::JobBroadcast), "the search finds what is there");
    }
}

#[test]
fn a_backup_has_the_command_of_a_private_job_before_it_must_run_it() {
    let mut net = five(Codec::Bincode);
    net.run_for = None;
    let (job, executor) = loop {
        let job = net.submit(0, private());
        let ran = |said: &&crate::net::Said| matches!(said.what, What::Executed(run) if run == job);
        assert!(net.run_until(Span::secs(5), |net| net.said.iter().any(|said| ran(&said))));
        net.run_for(Span::millis(200));
        let executor = net.said.iter().find(ran).expect("it runs").node;
        let closed = net.said.iter().find_map(|said| match said.what {
            What::Reported(Event::AuctionClosed { job: closed, backup, .. }) if closed == job => backup,
            _ => None,
        });
        if executor != 0 && closed != Some(crate::net::keys(0).id()) {
            break (job, executor);
        }
    };
    net.run_for = Some(Span::millis(50));
    net.said.clear();
    // From now on its submitter tells nobody what to run.
    net.fate = Box::new(|_, _, kind| (kind != MsgType::SealedCommand).then_some(Span::ZERO));
    net.stop(executor);
    let again = |said: &crate::net::Said| matches!(said.what, What::Executed(run) if run == job);
    assert!(net.run_until(Span::secs(20), |net| net.said.iter().any(again)), "its backup has the command");
    assert!(net.run_until(Span::secs(10), |net| ended(net, 0, job).is_some()));
    assert_eq!((net.outputs[&job].as_slice(), leaked(&net)), (OUTPUT, vec![]));
}

#[test]
fn a_submitter_that_restarts_still_knows_the_command_and_an_executor_asks_for_it() {
    let mut net = five(Codec::Bincode);
    // The command is lost on its way, to all of them, for a while.
    net.fate = Box::new(|_, _, kind| (kind != MsgType::SealedCommand && kind != MsgType::Bundle).then_some(Span::ZERO));
    let job = net.submit(0, private());
    net.run_for(Span::secs(5));
    assert!(ended(&net, 0, job).is_none());
    net.stop(0);
    net.run_for(Span::secs(1));
    net.fate = Box::new(|_, _, _| Some(Span::ZERO));
    net.start(0);
    assert!(net.run_until(Span::secs(30), |net| ended(net, 0, job).is_some()));
    assert_eq!(net.outputs[&job], OUTPUT);
}

#[test]
fn a_command_that_only_looks_private_is_refused_to_its_submitter() {
    let mut net = met(2);
    let commitment = PrivateCommand { salt: [1; 32], command: "ls".into() }.commitment();
    let spec = JobSpec { command: &commitment, ..shell(Span::secs(5)) };
    let said = net.input(0, Input::Command(Command::Submit(spec)));
    assert!(said.contains(&What::Reported(Event::SubmitRefused { reason: SubmitRefusal::ReservedCommand })));
}

#[test]
fn a_sealed_command_is_taken_from_the_submitter_alone_and_only_if_it_is_the_one_committed_to() {
    let (mut net, mut hands) = among_hands(3);
    let secret = PrivateCommand { salt: [7; 32], command: COMMAND.into() };
    let reader = crate::net::keys(0).public();
    let at = marlos::time::WallTime(crate::net::EPOCH_US + net.now.0);
    let body = JobBody {
        job_type: "shell".into(),
        command: secret.commitment(),
        priority: marlos::units::Ppm(500_000),
        submitted: at,
        deadline: at + Span::secs(60),
        payment: marlos::units::Tokens::whole(10),
        requirements: Vec::new(),
        consistency: Consistency::Quorum,
        max_attempts: 1,
    };
    let broadcast = JobBroadcast { counter: 1, submitter: hands[0].id(), body };
    let job_id = marlos::auction::job_id(&broadcast);
    let sealed = |by: &Hand, command: &PrivateCommand| {
        let sealed = by.keys.seal(&reader, &[3; 24], &command.encoded()).expect("a key");
        Payload::SealedCommand(SealedCommand { job_id, sealed })
    };
    let (owner, another) = (hands[0].clone(), hands[1].clone());
    let said = hands[0].say(&mut net, 0, &sealed(&owner, &secret));
    assert_eq!(refusals(&said), [Refusal::UnknownJob]);
    hands[0].say(&mut net, 0, &Payload::JobBroadcast(broadcast));
    let by_another = sealed(&another, &secret);
    assert_eq!(refusals(&hands[1].say(&mut net, 0, &by_another)), [Refusal::OutOfPlace]);
    assert_eq!(refusals(&hands[0].say(&mut net, 0, &by_another)), [Refusal::CannotOpen], "not its author's box");
    let other = sealed(&owner, &PrivateCommand { command: "rm -r /".into(), ..secret.clone() });
    assert_eq!(refusals(&hands[0].say(&mut net, 0, &other)), [Refusal::CannotOpen], "not what it committed to");
    let Payload::SealedCommand(mut spoiled) = sealed(&owner, &secret) else { unreachable!() };
    spoiled.sealed[30] ^= 1;
    let said = hands[0].say(&mut net, 0, &Payload::SealedCommand(spoiled));
    assert_eq!((refusals(&said), sent(&said)), (vec![Refusal::CannotOpen], vec![]));
    let sound = sealed(&owner, &secret);
    assert_eq!(refusals(&hands[0].say(&mut net, 0, &sound)), []);
}

/// Who says it, to whom, and the box.
type Sealed = (usize, NodeId, Vec<u8>);

/// What was said to one member: the kinds that anybody reads, and the boxes.
fn directed(net: &Net) -> (BTreeSet<MsgType>, Vec<Sealed>) {
    let (mut read, mut boxes) = (BTreeSet::new(), Vec::new());
    for said in &net.said {
        let What::Sent { frame, .. } = &said.what else { continue };
        let envelope = Envelope::peek(frame, u32::MAX).expect("an envelope");
        let Some(to) = envelope.header.to else { continue };
        let each = &mut |payload: Payload| match payload {
            Payload::SealedBundle(bundle) => boxes.push((said.node, to, bundle.sealed)),
            other => drop(read.insert(other.kind())),
        };
        envelope.payloads(u32::MAX, each).expect("payloads");
    }
    (read, boxes)
}

#[test]
fn with_encryption_what_is_said_to_one_member_is_read_by_that_one_alone() {
    let keys_of = |id: NodeId| (0..5).map(crate::net::keys).find(|keys| keys.id() == id).expect("a member");
    for (codec, encryption) in [(Codec::Bincode, true), (Codec::Json, true), (Codec::Bincode, false)] {
        let mut net = five_of(codec, encryption);
        for _ in 0..4 {
            let job = net.submit(0, private());
            assert!(net.run_until(Span::secs(10), |net| ended(net, 0, job).is_some()), "{codec:?}");
            assert_eq!((ended(&net, 0, job), net.outputs[&job].as_slice()), (Some(JobStatus::Success), OUTPUT));
        }
        net.run_for(Span::secs(40));
        let (read, boxes) = directed(&net);
        let open: Vec<_> = read.iter().filter(|kind| kind.is_sealed_for_one()).collect();
        assert_eq!((open.is_empty(), boxes.is_empty()), (encryption, !encryption), "{open:?}");
        let mut kinds = BTreeSet::new();
        for (writer, reader, sealed) in boxes {
            let writer = crate::net::keys(writer);
            let plain = keys_of(reader).open(&[writer.public()], &sealed).expect("its reader opens it");
            let payloads = binary::bundle_payloads(writer.id(), &plain, u32::MAX).expect("a bundle");
            kinds.extend(payloads.iter().map(Payload::kind));
            let third = (0..5).map(crate::net::keys).find(|keys| ![writer.id(), reader].contains(&keys.id()));
            assert_eq!(third.expect("five").open(&[writer.public()], &sealed), None);
        }
        let ends = |kind: &MsgType| [MsgType::ClaimVote, MsgType::JobResult].contains(kind);
        assert_eq!(kinds.iter().filter(|kind| ends(kind)).count(), if encryption { 2 } else { 0 }, "{kinds:?}");
        assert!(refusals(&net.said.iter().map(|said| said.what.clone()).collect::<Vec<_>>()).is_empty());
    }
}

#[test]
fn a_sealed_bundle_is_taken_whole_from_its_writer_or_not_at_all() {
    let (mut net, mut hands) = among_hands(3);
    let reader = crate::net::keys(0).public();
    let goodbye = |count| vec![(MsgType::Goodbye, &[][..]); count];
    let seal = |by: &Hand, plain: &[u8]| {
        Payload::SealedBundle(SealedBundle { sealed: by.keys.seal(&reader, &[3; 24], plain).expect("a key") })
    };
    let (owner, another) = (hands[0].clone(), hands[1].clone());
    let whole = binary::bundle(&goodbye(1));
    assert_eq!(
        refusals(&hands[0].say(&mut net, 0, &seal(&another, &whole))),
        [Refusal::CannotOpen],
        "not its author's"
    );
    let mut inner = Vec::new();
    marlos::wire::encode(Codec::Bincode, &seal(&owner, &whole), &mut inner);
    let nested = binary::bundle(&[(MsgType::SealedBundle, &inner)]);
    assert_eq!(refusals(&hands[0].say(&mut net, 0, &seal(&owner, &nested))), [Refusal::Malformed], "a box in a box");
    let cut = &binary::bundle(&goodbye(2))[..3];
    let said = hands[0].say(&mut net, 0, &seal(&owner, cut));
    assert_eq!(
        (refusals(&said), sent(&said)),
        (vec![Refusal::Malformed], vec![]),
        "the first half is not taken either"
    );
    let alive = |net: &Net| net.node(0).view().peers(net.now).filter(|peer| peer.state == PeerState::Alive).count();
    let before = alive(&net);
    assert_eq!(refusals(&hands[0].say(&mut net, 0, &seal(&owner, &whole))), []);
    assert_eq!(alive(&net), before - 1, "it says goodbye, in a box");
}
