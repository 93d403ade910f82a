//! All nodes together, and everything that was ever sent: what the model checker explores.
//!
//! A message that was sent may be delivered at any time, any number of times, in any order, or never. The nodes' states are
//! kept once each, and what a step makes of one is computed once: exploring is then a matter of small numbers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use marlos::auction::{election, job_id};
use marlos::config::Codec;
use marlos::id::{JobId, NodeId};
use marlos::identity::Keys;
use marlos::quorum::Statement;
use marlos::time::Time;
use marlos::wire::message::{AuctionCoordinate, ClaimVote, ListedBid};
use marlos::wire::{Payload, Signature, Signed, encode};
use stateright::{Model, Property};

use crate::setting::{Fault, SUBMITTER, Setting, World};
use crate::site::{History, Site, SiteNo, Step, Stepping, token};

/// A state of one node, by its number in the table.
type Known = u32;
/// A message that was sent once, by its number in the table.
pub type MessageNo = u32;

/// A node after a step, and what it sent.
type After = (Known, Vec<MessageNo>);

/// The state of the whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// Each node's.
    sites: Vec<Known>,
    /// Everything that was sent, sorted.
    sent: Vec<MessageNo>,
    /// Whether the one crash has been.
    crashed: bool,
}

/// What happens next, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Move {
    /// To whom.
    pub site: SiteNo,
    /// What.
    pub step: Step,
}

#[derive(Clone, Debug)]
struct Message {
    from: SiteNo,
    to: Option<SiteNo>,
    payload: Payload,
}

#[derive(Debug, Default)]
struct Table {
    sites: Vec<Site>,
    site_numbers: BTreeMap<String, Known>,
    messages: Vec<Message>,
    message_numbers: BTreeMap<Vec<u8>, MessageNo>,
    signatures: BTreeMap<[u8; 2], Signature>,
    /// What a step makes of a node: another state, and what it sent.
    steps: BTreeMap<(SiteNo, Known, Step), Option<After>>,
}

impl Table {
    fn site(&mut self, site: Site) -> Known {
        let next = u32::try_from(self.sites.len()).expect("few");
        *self.site_numbers.entry(format!("{site:?}")).or_insert_with(|| {
            self.sites.push(site);
            next
        })
    }

    fn message(&mut self, message: Message) -> MessageNo {
        match &message.payload {
            Payload::ClaimVote(vote) => self.tell_apart(vote.vote_signature),
            Payload::ClaimCertificate(proof) => proof.signatures.iter().for_each(|vote| self.tell_apart(*vote)),
            _ => {}
        }
        let next = u32::try_from(self.messages.len()).expect("few");
        let mut encoded = vec![message.payload.kind() as u8, u8::try_from(message.from).expect("few")];
        encoded.push(message.to.map_or(u8::MAX, |to| u8::try_from(to).expect("few")));
        encode(Codec::Bincode, &message.payload, &mut encoded);
        *self.message_numbers.entry(encoded).or_insert_with(|| {
            self.messages.push(message);
            next
        })
    }

    /// States are told apart as they are printed, and of a signature two bytes are.
    fn tell_apart(&mut self, signature: Signature) {
        let known = self.signatures.entry([signature.0[0], signature.0[1]]).or_insert(signature);
        assert_eq!(known.0, signature.0, "two signatures are printed alike: choose other keys");
    }
}

/// The claim protocol in one world.
#[derive(Debug)]
pub struct Claims {
    setting: Setting,
    table: Mutex<Table>,
    job: JobId,
    start: State,
    /// Whatever a liar may say is there from the beginning.
    lies: Vec<MessageNo>,
}

impl Claims {
    /// All nodes have met and know the job; round 0 has begun.
    #[must_use]
    pub fn new(world: World) -> Claims {
        let setting = Setting::new(world);
        let mut table = Table::default();
        let submitter = Stepping { setting: &setting, at: SUBMITTER };
        let (site, sent, broadcast) = submitter.submit(Site::new(Time(0)));
        let job = job_id(&broadcast);
        let mut sites = vec![site];
        let offer = Message { from: SUBMITTER, to: None, payload: Payload::JobBroadcast(broadcast) };
        assert!(sent.iter().all(|(to, payload)| to.is_none() && *payload == offer.payload), "it is offered to all");
        let offer_no = table.message(offer.clone());
        for at in 1..setting.keys.len() {
            let here = Stepping { setting: &setting, at };
            let heard =
                here.step(&Site::new(Time(0)), job, &Step::Deliver(offer_no), Some((SUBMITTER, &offer.payload)));
            sites.push(heard.expect("a new job").0);
        }
        let start = State {
            sites: sites.into_iter().map(|site| table.site(site)).collect(),
            sent: vec![offer_no],
            crashed: false,
        };
        let lies = match setting.world.fault {
            Fault::Liar(liar) => lies(&setting, job, liar).into_iter().map(|lie| table.message(lie)).collect(),
            Fault::Nothing | Fault::Crash(_) => Vec::new(),
        };
        Claims { setting, table: Mutex::new(table), job, start, lies }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("no step panics")
    }

    /// The states of single nodes, and messages, that were met.
    #[must_use]
    pub fn sizes(&self) -> (usize, usize) {
        let table = self.table();
        (table.sites.len(), table.messages.len())
    }

    fn liar(&self) -> Option<SiteNo> {
        match self.setting.world.fault {
            Fault::Liar(liar) => Some(liar),
            Fault::Nothing | Fault::Crash(_) => None,
        }
    }

    /// What the honest have done.
    fn with_histories<T>(&self, state: &State, look: impl FnOnce(&[&History]) -> T) -> T {
        let table = self.table();
        let honest = state.sites.iter().enumerate().filter(|(at, _)| Some(*at) != self.liar());
        let histories: Vec<&History> = honest.map(|(_, site)| &table.sites[*site as usize].history).collect();
        look(&histories)
    }

    /// Who was given the job in each round: by certificates that honest winners made, and by enough votes, the liar's among them.
    fn winners(&self, state: &State) -> Vec<(u32, NodeId)> {
        let lies = usize::from(self.liar().is_some());
        self.with_histories(state, |histories| {
            let mut votes: BTreeMap<(u32, NodeId), usize> = BTreeMap::new();
            for vote in histories.iter().flat_map(|history| &history.votes) {
                *votes.entry(*vote).or_default() += 1;
            }
            let enough = |(_, count): &(&(u32, NodeId), &usize)| **count + lies >= self.setting.quorum();
            let mut winners: Vec<(u32, NodeId)> = votes.iter().filter(enough).map(|(vote, _)| *vote).collect();
            winners.extend(histories.iter().flat_map(|h| &h.certificates).map(|of| (of.round, of.winner)));
            winners.sort_unstable();
            winners.dedup();
            winners
        })
    }

    fn certificates(&self, state: &State) -> Vec<Statement> {
        self.with_histories(state, |histories| histories.iter().flat_map(|h| h.certificates.clone()).collect())
    }
}

/// Everything that a liar may say of the rounds that are explored: proposals where it is the coordinator, and its vote for
/// anybody. What it leaves out is a message that is never delivered.
fn lies(setting: &Setting, job_id: JobId, liar: SiteNo) -> Vec<Message> {
    let ids: Vec<NodeId> = setting.keys.iter().map(Keys::id).collect();
    let electorate = setting.electorate();
    let mut lies = Vec::new();
    for round in 0..=setting.last_round {
        for winner in &setting.bidders {
            let backups = setting.bidders.iter().filter(|backup| *backup != winner).map(|backup| Some(*backup));
            for backup in backups.chain([None]) {
                let (winner_id, backup_id) = (ids[*winner], backup.map(|backup| ids[backup]));
                let statement = Statement { job_id, round, winner: winner_id, backup: backup_id, electorate };
                let bytes = statement.signed_bytes();
                let signed = Signed { network_id: &setting.config(liar).network_id, bytes: &bytes };
                let vote_signature = token(&setting.keys[liar].public(), &signed);
                let vote = Payload::ClaimVote(ClaimVote { job_id, round, vote_signature });
                lies.push(Message { from: liar, to: Some(*winner), payload: vote });
                let coordinator = election::coordinator(setting.config(liar).election, job_id, round, &ids);
                if coordinator != ids[liar] {
                    continue;
                }
                let place = |site: SiteNo| ListedBid { bidder: u32::try_from(site).expect("few"), rank: 7_500 };
                let proposal = AuctionCoordinate {
                    job_id,
                    round,
                    electorate,
                    winner_id,
                    backup_id,
                    bids: 2,
                    best: [Some(*winner), backup].into_iter().flatten().map(place).collect(),
                };
                lies.push(Message { from: liar, to: None, payload: Payload::AuctionCoordinate(proposal) });
            }
        }
    }
    lies
}

impl Model for Claims {
    type State = State;
    type Action = Move;

    fn init_states(&self) -> Vec<State> {
        vec![self.start.clone()]
    }

    fn actions(&self, state: &State, moves: &mut Vec<Move>) {
        let table = self.table();
        let world = &self.setting.world;
        for site in (0..world.nodes).filter(|site| Some(*site) != self.liar()) {
            let here = &table.sites[state.sites[site] as usize];
            let mut may = |step: Step| moves.push(Move { site, step });
            if !here.up {
                may(Step::Restart);
                continue;
            }
            for number in state.sent.iter().chain(&self.lies) {
                let message = &table.messages[*number as usize];
                if message.from != site && message.to.is_none_or(|to| to == site) {
                    may(Step::Deliver(*number));
                }
            }
            // Whose answer comes in time: those who may run it, each or not. The others' declines change nothing.
            let bidders = world.bidders.iter().filter(|bidder| **bidder != site);
            let all: u8 = bidders.map(|bidder| 1u8 << bidder).sum();
            (0..=all).filter(|some| some & !all == 0).for_each(|some| may(Step::CloseBids(some)));
            may(Step::Wake);
            let crashed = |other: SiteNo| !table.sites[state.sites[other] as usize].up;
            for other in (0..world.nodes).filter(|other| *other != site) {
                if world.suspected == Some(other) || crashed(other) {
                    may(Step::SeeGone(other));
                }
            }
            if world.rests {
                may(Step::Rest);
            }
            if world.finishes {
                may(Step::Finish);
            }
            if world.fault == Fault::Crash(site) && !state.crashed {
                may(Step::Crash);
            }
        }
    }

    fn next_state(&self, state: &State, next: Move) -> Option<State> {
        let mut guard = self.table();
        let table = &mut *guard;
        let before = state.sites[next.site];
        let key = (next.site, before, next.step);
        if !table.steps.contains_key(&key) {
            let payload = match &key.2 {
                Step::Deliver(number) => Some(&table.messages[*number as usize]),
                _ => None,
            };
            let here = Stepping { setting: &self.setting, at: next.site };
            let payload = payload.map(|message| (message.from, &message.payload));
            let made = here.step(&table.sites[before as usize], self.job, &key.2, payload);
            let made = made.map(|(site, sent)| {
                let after = table.site(site);
                let message = |(to, payload)| table.message(Message { from: next.site, to, payload });
                (after, sent.into_iter().map(message).collect())
            });
            table.steps.insert(key.clone(), made);
        }
        let (after, sent) = table.steps[&key].as_ref()?;
        let new: Vec<MessageNo> = sent.iter().copied().filter(|number| !state.sent.contains(number)).collect();
        if *after == before && new.is_empty() {
            return None;
        }
        let mut state = state.clone();
        state.sites[next.site] = *after;
        state.sent.extend(new);
        state.sent.sort_unstable();
        state.sent.dedup();
        state.crashed |= key.2 == Step::Crash;
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Claims>> {
        let mut properties = vec![
            Property::always("a round has one winner", |claims: &Claims, state| {
                claims.winners(state).windows(2).all(|two| two[0].0 != two[1].0)
            }),
            Property::always("a voter votes once in a round, and never backwards", |claims: &Claims, state| {
                claims.with_histories(state, |all| all.iter().all(|h| h.votes.is_sorted_by(|a, b| a.0 < b.0)))
            }),
            Property::always("while a lease runs nobody else gets the vote", |claims: &Claims, state| {
                claims.with_histories(state, |all| all.iter().all(|history| !history.broke_lease))
            }),
            Property::always("one executor is paid, once, and it held a certificate", |claims: &Claims, state| {
                let paid = claims.with_histories(state, |all| all[SUBMITTER].paid.clone());
                let winners = claims.winners(state);
                paid.len() <= 1 && paid.iter().all(|paid| winners.iter().any(|(_, winner)| winner == paid))
            }),
            Property::sometimes("a certificate is reached", |claims: &Claims, state| {
                !claims.certificates(state).is_empty()
            }),
        ];
        if self.setting.world.takes_over {
            properties.push(Property::sometimes("a takeover is reached", |claims: &Claims, state| {
                let all = claims.certificates(state);
                let took_over = |by: &Statement| {
                    let before = |of: &&Statement| of.round < by.round && of.winner != by.winner;
                    all.iter().find(before).is_some_and(|of| of.backup == Some(by.winner) && by.backup.is_none())
                };
                all.iter().any(took_over)
            }));
        }
        if self.setting.world.finishes {
            properties.push(Property::sometimes("somebody is paid", |claims: &Claims, state| {
                claims.with_histories(state, |all| !all[SUBMITTER].paid.is_empty())
            }));
        }
        properties
    }
}
