//! A submitter that searches job ids until its friend coordinates, which names another friend.

use marlos::auction;
use marlos::time::Span;
use marlos::units::{Ppm, Tokens};
use marlos::wire::Payload;
use marlos::wire::message::{AuctionCoordinate, Consistency, JobBody, JobBroadcast, ListedBid};

use super::said::{Heard, Hearing, Whom};
use super::scene::Scene;
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};
use crate::workload::SimulatedJob;

/// Counters of jobs that the machine inside never reaches.
const COUNTERS: u64 = 1 << 40;
/// Ids that are tried for one job.
const TRIES: u64 = 4_096;

pub(super) const SPEC: Spec = Spec {
    name: "grind",
    what: "Submits jobs whose ids were searched until a fellow coordinates their first round; that fellow names a fellow as the winner.",
    under_way: AS_SENT,
    keys: &[
        Key::duration(
            "interval",
            Span::secs(1),
            Span::millis(10),
            Span::secs(3_600),
            "how often each of them submits such a job",
        ),
        Key::whole("payment", 10, 0, 1_000_000, "what such a job offers, in tokens"),
    ],
    example: "interval = \"250ms\"",
    begin: |behaviour| {
        Box::new(Grind {
            interval: behaviour.duration("interval"),
            payment: behaviour.whole("payment"),
            electorate: None,
            made: 0,
        })
    },
};

#[derive(Debug)]
struct Grind {
    interval: Span,
    payment: u64,
    /// As the last proposal named it.
    electorate: Option<marlos::id::ElectorateId>,
    made: u64,
}

impl Misbehaviour for Grind {
    fn start(&mut self, scene: &mut Scene<'_>) {
        scene.wake_at(scene.now.mono + self.interval);
    }

    fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        for payload in heard.payloads() {
            match payload {
                Payload::AuctionCoordinate(proposal) => self.electorate = Some(proposal.electorate),
                Payload::JobBroadcast(job)
                    if job.counter >= COUNTERS && scene.fellows.contains(&heard.origin.sender) =>
                {
                    self.coordinate(scene, &job);
                }
                _ => {}
            }
        }
        Hearing::Pass
    }

    fn wake(&mut self, scene: &mut Scene<'_>) {
        scene.wake_at(scene.now.mono + self.interval);
        if let Some(job) = self.search(scene) {
            scene.misdeed();
            scene.say(scene.open(Whom::All, vec![Payload::JobBroadcast(job)]));
        }
    }
}

impl Grind {
    /// The next job of which a fellow is the first coordinator.
    fn search(&mut self, scene: &Scene<'_>) -> Option<JobBroadcast> {
        let now = scene.wall();
        let body = JobBody {
            job_type: "simulated".to_owned(),
            command: SimulatedJob { duration: Span::millis(100), fails: false, output_bytes: 0, noise: false }
                .to_command(),
            priority: Ppm(500_000),
            submitted: now,
            deadline: now + Span::secs(30),
            payment: Tokens::whole(self.payment),
            requirements: Vec::new(),
            consistency: Consistency::Quorum,
            max_attempts: 1,
        };
        for _ in 0..TRIES {
            self.made += 1;
            let job = JobBroadcast { counter: COUNTERS + self.made, submitter: scene.keys.id(), body: body.clone() };
            if friend_coordinates(scene, &job) {
                return Some(job);
            }
        }
        None
    }

    fn coordinate(&self, scene: &mut Scene<'_>, job: &JobBroadcast) {
        let job_id = auction::job_id(job);
        let sorted = scene.sorted_ids();
        let own = scene.keys.id();
        if auction::election::coordinator(scene.config.election, job_id, 0, &sorted) != own {
            return;
        }
        let (Some(electorate), Ok(place)) = (self.electorate, sorted.binary_search(&own)) else { return };
        let best = vec![ListedBid { bidder: u32::try_from(place).expect("few nodes"), rank: 10_000 }];
        let proposal =
            AuctionCoordinate { job_id, round: 0, electorate, winner_id: own, backup_id: None, bids: 1, best };
        scene.misdeed();
        scene.say(scene.open(Whom::All, vec![Payload::AuctionCoordinate(proposal)]));
    }
}

/// A fellow other than itself, where there is one.
fn friend_coordinates(scene: &Scene<'_>, job: &JobBroadcast) -> bool {
    let coordinator =
        auction::election::coordinator(scene.config.election, auction::job_id(job), 0, &scene.sorted_ids());
    let alone = scene.fellows.len() == 1;
    scene.number(coordinator).is_some_and(|at| scene.fellows.contains(&at) && (alone || at != scene.me))
}
