//! One node as the model has it: the production sub-machines `Auctions` and `Jobs`, among `Members` that do not change but for who
//! is held for gone, with a store, and a clock that only moves when the model moves it.
//!
//! A step is what `node.rs` does with an input, for these two sub-machines: the call, what they ask of each other, and what
//! leaves, sealed by the production `Egress` and read back by the production codec.

use std::collections::BTreeMap;

use marlos::auction::round::Promise;
use marlos::auction::{Auctions, Claim, Effect, Lapse};
use marlos::cx::{Ctx, store_key};
use marlos::egress::{Egress, Sealing};
use marlos::id::{JobId, NodeId, PeerIdx};
use marlos::io::{Action, Event, JobStatus, Outbox, Outcome, Verify};
use marlos::jobs::{self, Jobs};
use marlos::membership::Members;
use marlos::metrics::Metrics;
use marlos::quorum::Statement;
use marlos::time::{Now, Span, Time, WallTime};
use marlos::wire::message::{ClaimCertificate, JobBid, JobBroadcast, Offer};
use marlos::wire::{Envelope, Payload, Signature, Signed, binary};
use marlos::{identity::Keys, units::Ppm};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::setting::Setting;
use crate::system::MessageNo;

/// When the job is submitted.
pub const EPOCH: WallTime = WallTime(1_800_000_000_000_000);

/// A node, by its number in the setting.
pub type SiteNo = usize;

/// Everything that one node is.
#[derive(Clone, Debug)]
pub struct Site {
    /// Whether its process runs.
    pub up: bool,
    /// Its monotonic clock.
    pub now: Time,
    /// Whom it holds for gone, one bit each.
    pub gone: u8,
    /// Whether the long silence of [`Step::Rest`] is behind it.
    pub rested: bool,
    /// Production.
    pub auctions: Auctions,
    /// Production.
    pub jobs: Jobs,
    /// What outlives a crash.
    pub store: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What it has done, in all its lives: what the properties are about.
    pub history: History,
}

/// What a node has bound itself to, as its reports say.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Rounds it voted in, and for whom, in this order.
    pub votes: Vec<(u32, NodeId)>,
    /// For whom its lease runs, and until when at least.
    pub lease: Option<(NodeId, Time)>,
    /// Whether it ever voted for another while a lease ran.
    pub broke_lease: bool,
    /// Certificates that it made, as the winner.
    pub certificates: Vec<Statement>,
    /// Whom it paid, as the submitter.
    pub paid: Vec<NodeId>,
}

/// What may happen to one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// A message of another comes in.
    Deliver(MessageNo),
    /// As the coordinator it gets the answers of these, one bit each, and its window closes.
    CloseBids(u8),
    /// Its round is over.
    Wake,
    /// It holds another for gone.
    SeeGone(SiteNo),
    /// As long as a lease goes by without a sign of life of anybody.
    Rest,
    /// What it runs ends well.
    Finish,
    /// Its process ends.
    Crash,
    /// Its process starts again, with its store.
    Restart,
}

/// A message that was sent: to one, or to all.
pub type Sent = (Option<SiteNo>, Payload);

impl Site {
    /// A node that has just started, with an empty store.
    #[must_use]
    pub fn new(now: Time) -> Site {
        Site {
            up: true,
            now,
            gone: 0,
            rested: false,
            auctions: Auctions::default(),
            jobs: Jobs::default(),
            store: BTreeMap::new(),
            history: History::default(),
        }
    }
}

/// A step of one node: the node after it, and what it sent. Nothing where the step cannot be, or changes nothing.
pub struct Stepping<'a> {
    /// Which world.
    pub setting: &'a Setting,
    /// Which node.
    pub at: SiteNo,
}

impl Stepping<'_> {
    /// Submits the job here.
    #[must_use]
    pub fn submit(&self, mut site: Site) -> (Site, Vec<Sent>, JobBroadcast) {
        let spec = self.setting.job();
        let mut submitted = None;
        let sent = self.with(&mut site, |cx, members, auctions, jobs| {
            let broadcast = jobs.on_submit(cx, &spec).expect("a sound job");
            submitted = Some(broadcast.clone());
            auctions.on_broadcast(cx, members, 0, PeerIdx::SELF, broadcast).expect("a new job");
        });
        (site, sent, submitted.expect("just submitted"))
    }

    /// What a node becomes by a step. Nothing, too, where it would leave the rounds that are explored.
    #[must_use]
    pub fn step(
        &self,
        site: &Site,
        job: JobId,
        step: &Step,
        message: Option<(SiteNo, &Payload)>,
    ) -> Option<(Site, Vec<Sent>)> {
        let explored = |site: &Site| site.auctions.job(job).is_none_or(|job| job.round <= self.setting.last_round + 1);
        self.made(site, job, step, message).filter(|(site, _)| explored(site))
    }

    fn made(
        &self,
        site: &Site,
        job: JobId,
        step: &Step,
        message: Option<(SiteNo, &Payload)>,
    ) -> Option<(Site, Vec<Sent>)> {
        let mut next = site.clone();
        match step {
            Step::Deliver(_) if site.up => {
                let (from, payload) = message.expect("a delivery brings something");
                // What overtakes the job is kept and played back: as if it came after it, which is explored as well.
                let overtakes = site.auctions.job(job).is_none() && !matches!(payload, Payload::JobBroadcast(_));
                if overtakes {
                    return None;
                }
                let sent = self.deliver(&mut next, from, payload.clone());
                Some((next, sent))
            }
            Step::CloseBids(from) if site.up => {
                let sent = self.close_bids(&mut next, job, *from);
                let proposed = sent.iter().any(|(_, payload)| matches!(payload, Payload::AuctionCoordinate(_)));
                proposed.then_some((next, sent))
            }
            Step::Wake if site.up => {
                let due = site.auctions.next_deadline();
                let round = site.auctions.job(job)?.round;
                if due > site.now + self.setting.longest_round() || round >= self.setting.last_round {
                    return None;
                }
                next.now = due;
                let sent = self.with(&mut next, |cx, members, auctions, _| auctions.on_timers(cx, members, 0));
                Some((next, sent))
            }
            Step::SeeGone(other) if site.up && site.gone & (1 << other) == 0 => {
                next.gone |= 1 << other;
                let lost = self.setting.keys[*other].id();
                let sent = self.with(&mut next, |cx, members, auctions, jobs| {
                    auctions.on_peer_lost(cx, members, lost);
                    jobs.on_peer_lost(cx, members, lost);
                });
                Some((next, sent))
            }
            Step::Rest if site.up && !site.rested => {
                let lease = self.setting.config(self.at).lease;
                if site.auctions.next_deadline() <= site.now + lease {
                    return None;
                }
                next.rested = true;
                next.now = site.now + lease;
                Some((next, Vec::new()))
            }
            Step::Finish if site.up && site.jobs.is_running(job) => {
                let sent = self.with(&mut next, |cx, members, _, jobs| {
                    let outcome = Outcome { status: JobStatus::Success, output: b"done", duration: Span::secs(1) };
                    jobs.on_finished(cx, members, job, &outcome);
                });
                Some((next, sent))
            }
            Step::Crash if site.up => {
                let empty = Site::new(site.now);
                let (store, history) = (site.store.clone(), site.history.clone());
                Some((Site { up: false, rested: site.rested, store, history, ..empty }, Vec::new()))
            }
            Step::Restart if !site.up => {
                next.up = true;
                // A lease is not persisted: only the vote is (6.4).
                next.history.lease = None;
                let sent = self.start(&mut next, job);
                Some((next, sent))
            }
            _ => None,
        }
    }

    fn deliver(&self, site: &mut Site, from: SiteNo, payload: Payload) -> Vec<Sent> {
        self.with(site, |cx, members, auctions, jobs| {
            let Some(from) = members.find(self.setting.keys[from].id()) else { return };
            // What is refused changes nothing: that is what is explored.
            let _ = match payload {
                Payload::JobBroadcast(job) => auctions.on_broadcast(cx, members, 0, from, job),
                Payload::AuctionCoordinate(proposal) => auctions.on_coordinate(cx, members, 0, from, proposal),
                Payload::ClaimVote(vote) => auctions.on_vote(cx, members, from, vote),
                Payload::JobClaim(claim) => auctions.on_claim(cx, members, from, claim),
                Payload::ClaimCertificate(certificate) => auctions.on_certificate(cx, members, from, certificate),
                Payload::Takeover(takeover) => auctions.on_takeover(cx, members, from, takeover),
                Payload::JobResult(result) => jobs.on_result(cx, members, from, result),
                Payload::CertificateRequest(request) => {
                    if let Some(held) = auctions.job(request.job_id).and_then(|job| job.certificate.clone()) {
                        cx.direct(from, members.id(from), &Payload::ClaimCertificate(held));
                    }
                    jobs.on_asked_again(cx, members, request.job_id, members.id(from));
                    Ok(())
                }
                other => unreachable!("{:?} is not part of the model", other.kind()),
            };
        })
    }

    /// Bids commute and bind nobody, so they come all at once: which of them come is what is explored.
    fn close_bids(&self, site: &mut Site, job: JobId, from: u8) -> Vec<Sent> {
        let mut sent = self.with(site, |cx, members, auctions, _| {
            let Some(round) = auctions.job(job).map(|job| job.round) else { return };
            for (other, keys) in self.setting.keys.iter().enumerate() {
                let Some(peer) = members.find(keys.id()).filter(|peer| *peer != PeerIdx::SELF) else { continue };
                if from & (1 << other) != 0 {
                    let offer = self.setting.bidders.contains(&other).then_some(Offer {
                        score: Ppm::ONE,
                        stake: cx.config.stake,
                        estimated_completion: Span::ZERO,
                    });
                    let _ = auctions.on_bid(cx, members, 0, peer, JobBid { job_id: job, round, offer });
                }
            }
        });
        let proposed = sent.iter().any(|(_, payload)| matches!(payload, Payload::AuctionCoordinate(_)));
        if !proposed {
            let due = site.auctions.next_deadline();
            if due > site.now + self.setting.config(self.at).bid_window {
                return Vec::new();
            }
            site.now = due;
            sent = self.with(site, |cx, members, auctions, _| auctions.on_timers(cx, members, 0));
        }
        sent
    }

    /// As `Node::on_start` does, with what the store holds.
    fn start(&self, site: &mut Site, job: JobId) -> Vec<Sent> {
        let stored = site.store.clone();
        let value = |kind: u8| stored.get(&store_key::of_job(kind, job)[..]);
        let vote = value(store_key::VOTE).and_then(|vote| binary::decode(vote).ok());
        let promise = vote.map(|voted| (job, Promise { voted: Some(voted), lease_until: Time(0) }));
        let claim: Option<(JobBroadcast, ClaimCertificate)> =
            value(store_key::CERTIFICATE).and_then(|claim| binary::decode(claim).ok());
        let own: Option<jobs::OwnRecord> = value(store_key::OWN_JOB).and_then(|own| binary::decode(own).ok());
        self.with(site, |cx, members, auctions, jobs| {
            auctions.start(promise.into_iter().collect(), WallTime(0));
            if let Some((broadcast, proof)) = claim {
                auctions.recover(cx, job, broadcast, Claim::of(&proof), Some(proof));
            }
            if let Some(record) = own {
                match record.claim {
                    Some(claim) => auctions.recover(cx, job, record.broadcast.clone(), claim, None),
                    None => {
                        let _ = auctions.on_broadcast(cx, members, 0, PeerIdx::SELF, record.broadcast.clone());
                    }
                }
                jobs.on_recovered_job(cx, job, record);
            }
        })
    }

    /// One call, with everything that follows from it.
    fn with(&self, site: &mut Site, call: impl FnOnce(&mut Ctx<'_>, &Members, &mut Auctions, &mut Jobs)) -> Vec<Sent> {
        let config = self.setting.config(self.at);
        let members = self.setting.members(self.at, site.gone);
        let mut egress = Egress::new(self.setting.keys[self.at].clone(), config);
        egress.begin_incarnation(1, Time(0));
        let (mut out, mut rng, mut verify) = (Outbox::default(), ChaCha8Rng::seed_from_u64(0), Tokens);
        let now = Now { mono: site.now, wall: EPOCH.offset(i64::try_from(site.now.0).expect("a short life")) };
        let mut cx = Ctx {
            now,
            sync_offset_us: 0,
            config,
            rng: &mut rng,
            verify: &mut verify,
            egress: &mut egress,
            out: &mut out,
        };
        call(&mut cx, members, &mut site.auctions, &mut site.jobs);
        let paid = carry(&mut cx, members, &mut site.auctions, &mut site.jobs);
        site.history.paid.extend(paid);
        site.auctions.check_invariants();
        site.jobs.check_invariants();
        let mut metrics = Metrics::default();
        let mut sealing =
            Sealing { now, members, config, rng: &mut rng, verify: &mut verify, metrics: &mut metrics, out: &mut out };
        egress.flush(&mut sealing);
        self.apply(site, &out)
    }

    /// Carries the actions out, and reads what was sent.
    fn apply(&self, site: &mut Site, out: &Outbox) -> Vec<Sent> {
        let mut sent = Vec::new();
        for action in &out.actions {
            match action {
                Action::Persist { key, value } => {
                    site.store.insert(out.slice(key).to_vec(), out.slice(value).to_vec());
                }
                Action::Forget { key } => drop(site.store.remove(out.slice(key))),
                Action::Send { frame, .. } => {
                    let envelope = Envelope::peek(out.slice(frame), u32::MAX).expect("a node's own frame");
                    let to = envelope.header.to.and_then(|to| self.setting.number(to));
                    // Bids are not messages here: see `close_bids`.
                    let mut keep = |payload: Payload| {
                        if !matches!(payload, Payload::JobBid(_)) {
                            sent.push((to, payload));
                        }
                    };
                    envelope.payloads(u32::MAX, &mut keep).expect("a node's own payload");
                }
                Action::Report(event) => self.note(site, event, out),
                Action::Connect { .. }
                | Action::Reach { .. }
                | Action::Disconnect(_)
                | Action::Execute { .. }
                | Action::Cancel(_) => {}
            }
        }
        sent
    }

    fn note(&self, site: &mut Site, event: &Event, out: &Outbox) {
        let (now, config) = (site.now, self.setting.config(self.at));
        match event {
            Event::Voted { round, winner, .. } => {
                let broken = site.history.lease.is_some_and(|(holder, until)| holder != *winner && now < until);
                site.history.broke_lease |= broken;
                site.history.votes.push((*round, *winner));
                site.history.lease = Some((*winner, now + config.round_timeout));
            }
            Event::ClaimLearned { claimer, .. } => site.history.lease = Some((*claimer, now + config.lease)),
            // Only whom this node itself holds for gone has lost its lease: nobody is told otherwise in the model.
            Event::ClaimLapsed { claimer, .. } => {
                let seen = self.setting.number(*claimer).is_some_and(|claimer| site.gone & (1 << claimer) != 0);
                if seen {
                    site.history.lease = None;
                }
            }
            Event::Certified { certificate, .. } => {
                let certificate: ClaimCertificate = binary::decode(out.slice(certificate)).expect("a certificate");
                site.history.certificates.push(certificate.statement);
            }
            _ => {}
        }
    }
}

/// What the two ask of each other, as `node.rs` carries it over. Says who is paid.
fn carry(cx: &mut Ctx<'_>, members: &Members, auctions: &mut Auctions, jobs: &mut Jobs) -> Vec<NodeId> {
    let mut paid = Vec::new();
    loop {
        let (of_auctions, of_jobs) = (std::mem::take(&mut auctions.effects), std::mem::take(&mut jobs.effects));
        if of_auctions.is_empty() && of_jobs.is_empty() {
            return paid;
        }
        for effect in of_auctions {
            match effect {
                Effect::Won { job, claim } => {
                    let held = auctions.job(job).expect("it was just won");
                    jobs.on_won(cx, members, job, claim, held);
                }
                Effect::Claimed { job, claim, .. } => {
                    let held = auctions.job(job).expect("it was just claimed");
                    jobs.on_claimed(cx, members, job, claim, held);
                }
                Effect::Proposed { job } => jobs.on_proposal_seen(job),
                Effect::Reasked { job } => {
                    let submitter = auctions.job(job).expect("it was just asked for").broadcast.submitter;
                    jobs.on_asked_again(cx, members, job, submitter);
                }
                Effect::Expired { .. } => unreachable!("no job lives that long in the model"),
            }
        }
        for effect in of_jobs {
            match effect {
                jobs::Effect::Judged { .. } => {}
                jobs::Effect::TakeOver { job } => auctions.take_over(cx, members, job),
                jobs::Effect::Lapsed { job } => auctions.lapse(cx, members, 0, job, Lapse::Told),
                jobs::Effect::Owed { payment } => paid.push(payment.to),
                jobs::Effect::Resume { job, asker } => {
                    let held = auctions.job(job).filter(|held| held.broadcast.submitter == asker);
                    let Some(held) = held else { continue };
                    let proven = held.certificate.as_ref().map(|proof| (proof.statement.round, proof.statement.winner));
                    let own =
                        |claim: &Claim| claim.claimer == cx.self_id() && proven == Some((claim.round, claim.claimer));
                    if let Some(claim) = held.standing().filter(own) {
                        jobs.on_won(cx, members, job, claim, held);
                    }
                }
            }
        }
    }
}

/// Signatures that cost a hash: the model is about who signs what, and nobody in it forges.
#[derive(Clone, Copy, Debug)]
pub struct Tokens;

impl Verify for Tokens {
    fn verify(&mut self, key: &[u8; 32], message: &Signed<'_>, signature: &Signature) -> bool {
        *signature == token(key, message)
    }

    fn sign(&mut self, keys: &Keys, message: &Signed<'_>) -> Signature {
        token(&keys.public(), message)
    }
}

/// The one signature of a key over a message. It begins with what tells it from any other, since that is what is printed of it.
#[must_use]
pub fn token(key: &[u8; 32], message: &Signed<'_>) -> Signature {
    let whole = Signed { network_id: message.network_id, bytes: &[&key[..], message.bytes].concat() };
    let mut bytes = [0; 64];
    bytes[..32].copy_from_slice(&whole.digest());
    bytes[32..].copy_from_slice(key);
    Signature(bytes)
}
