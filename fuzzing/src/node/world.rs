//! What is around the node: a store, links, a clock, an operator, two liars and four puppets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use marlos::Node;
use marlos::auction::{election, job_id};
use marlos::config::{Codec, Config};
use marlos::id::{JobId, Link, NodeId, PeerIdx};
use marlos::identity::Keys;
use marlos::io::{Action, Command, Input, JobSpec, JobStatus, Outbox, Outcome, PeerState, Record};
use marlos::ledger::transaction::{LedgerStatement, Row, row_after, row_digest};
use marlos::quorum::{self, Statement};
use marlos::time::{Now, Span, Time, WallTime};
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::*;
use marlos::wire::{Header, MsgType, Payload, Signature, Signed, encode, network_tag, seal_with};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::payloads::{self, Known};
use super::watch::Watch;
use crate::token::{TokenVerifier, token};

pub const NETWORK: &str = "marlos";
pub const MAX_MESSAGE: u32 = 1024 * 1024;
const EPOCH_US: u64 = 1_800_000_000_000_000;
/// Members: 0 is the node, 1 and 2 are liars, 3 to 6 puppets.
const MEMBERS: usize = 7;
const LIARS: std::ops::RangeInclusive<usize> = 1..=2;
/// Frames kept for playing back, and certificates and proposals for voting on.
const KEPT: usize = 48;
/// Wakes in a row at one moment that a driver would still put up with.
const MOST_WAKES: u32 = 2_000;

/// The keys of a member, or of a stranger.
pub fn keys(at: usize) -> &'static Keys {
    static KEYS: OnceLock<Vec<Keys>> = OnceLock::new();
    let all = KEYS.get_or_init(|| (1..=32u8).map(|secret| Keys::from_secret(&[secret; 32])).collect());
    &all[at % all.len()]
}

fn config() -> Config {
    Config {
        node_name: "n0".into(),
        pub_endpoint: "tcp://n0:1".into(),
        sub_endpoint: "tcp://n0:2".into(),
        capabilities: vec!["shell".into()],
        max_message_size: MAX_MESSAGE,
        max_members: 16,
        max_known_jobs: 24,
        max_active_jobs: 4,
        max_output_bytes: 8 * 1024,
        max_command_bytes: 1_024,
        settle_after: Span::secs(2),
        settle_batch: 4,
        ..Config::default()
    }
}

/// A node and all that is around it.
#[derive(Clone)]
pub struct World {
    now: Time,
    skew_us: i64,
    node: Node,
    lives: u64,
    codec: Codec,
    store: BTreeMap<Vec<u8>, Vec<u8>>,
    links: BTreeSet<Link>,
    running: Vec<JobId>,
    counters: [u64; 32],
    incarnations: [u32; 32],
    known: Known,
    /// Frames that came in or went out, to be played back.
    said: Vec<Vec<u8>>,
    /// Statements that somebody proposed.
    statements: Vec<Statement>,
    votes: Vec<(Statement, usize, Signature)>,
    /// What each puppet voted for.
    promised: BTreeMap<(usize, JobId, u32), Statement>,
    /// Rounds in which a puppet has proposed.
    proposed: BTreeSet<(JobId, u32)>,
    /// Transactions of the node, with the row before and after.
    transactions: BTreeMap<u64, (TokenTransaction, Row)>,
    watch: Watch,
    out: Outbox,
}

impl World {
    /// The node has met all members. Made once: the way there is always the same.
    pub fn met() -> World {
        static MET: OnceLock<World> = OnceLock::new();
        MET.get_or_init(|| {
            let mut world = World {
                now: Time(0),
                skew_us: 0,
                node: fresh(1),
                lives: 1,
                codec: Codec::Bincode,
                store: BTreeMap::new(),
                links: BTreeSet::new(),
                running: Vec::new(),
                counters: [0; 32],
                incarnations: [1; 32],
                known: Known::default(),
                said: Vec::new(),
                statements: Vec::new(),
                votes: Vec::new(),
                promised: BTreeMap::new(),
                proposed: BTreeSet::new(),
                transactions: BTreeMap::new(),
                watch: Watch::default(),
                out: Outbox::default(),
            };
            world.input(Input::Start(&[]));
            world.pass(Span::secs(2), 0);
            world.meet();
            assert_eq!(world.node.view().reachable(), 7, "all are met");
            world
        })
        .clone()
    }

    fn meet(&mut self) {
        let all: Vec<NodeId> = (0..MEMBERS).map(|at| keys(at).id()).collect();
        let mut sorted = all;
        sorted.sort_unstable();
        self.known.electorate = quorum::electorate_digest(&sorted);
        for at in 1..MEMBERS {
            self.announce(at);
        }
    }

    fn announce(&mut self, at: usize) {
        self.known.wall = self.wall();
        let record = payloads::honest_record(at, self.incarnations[at], 1, WallTime(EPOCH_US));
        let announce = PeerAnnounce { record, want_records: false };
        self.say(at, None, &[Payload::PeerAnnounce(Box::new(announce))]);
    }

    /// What the wishes name next.
    pub fn step(&mut self, wishes: &mut Unstructured<'_>) -> Result<()> {
        self.known.wall = self.wall();
        match wishes.int_in_range(0..=23u8)? {
            0..=2 => {
                let most = if wishes.ratio(1, 4)? { 60_000 } else { 1_500 };
                let span = Span::millis(wishes.int_in_range(0..=most)?);
                self.pass(span, wishes.arbitrary()?);
            }
            3..=7 => {
                let (by, to) = (wishes.int_in_range(LIARS)?, wishes.ratio(3, 4)?.then(|| keys(0).id()));
                let count = if wishes.ratio(1, 8)? { wishes.int_in_range(1..=6u8)? } else { 1 };
                let any = |wishes: &mut Unstructured<'_>| payloads::any(wishes, &self.known, &self.said, by);
                let items = (0..count).map(|_| any(wishes)).collect::<Result<Vec<_>>>()?;
                self.say(by, to, &items);
            }
            8 => self.say_oddly(wishes)?,
            9..=11 => self.propose(wishes)?,
            12..=14 => self.vote(wishes)?,
            15 => self.show_certificate(wishes)?,
            16 => self.submit(wishes)?,
            17 => self.finish(wishes)?,
            18 => self.turn_link(wishes)?,
            19 => self.restart(wishes)?,
            20 => {
                let bytes = wishes.bytes(wishes.len().min(96))?.to_vec();
                self.deliver(Link(1), &bytes);
            }
            21 => {
                if !self.said.is_empty() {
                    let mut frame = wishes.choose(&self.said)?.clone();
                    if wishes.arbitrary()? {
                        let at = wishes.int_in_range(0..=frame.len() - 1)?;
                        frame[at] ^= wishes.arbitrary::<u8>()?;
                    }
                    self.deliver(Link::INBOUND, &frame);
                }
            }
            22 => self.vote_for_payment(wishes)?,
            _ => {
                // The machine's clock is set, or drifts.
                let wide = if wishes.ratio(1, 4)? { 1_000_000 } else { 1 };
                let by = i64::from(wishes.arbitrary::<i16>()?) * 1_000;
                self.skew_us =
                    self.skew_us.saturating_add(by * wide).clamp(-1_000_000_000_000_000, 1_000_000_000_000_000);
            }
        }
        Ok(())
    }

    /// Whatever happened: a restart finds its way with what was persisted, and time goes on.
    pub fn end(&mut self) {
        self.pass(Span::secs(5), u8::MAX);
        self.start_again();
        self.meet();
        self.pass(Span::secs(5), u8::MAX);
    }

    fn wall(&self) -> WallTime {
        WallTime(EPOCH_US + self.now.0)
    }

    /// One call into the node, looked at and carried out.
    fn input(&mut self, input: Input<'_>) {
        let now = Now { mono: self.now, wall: self.wall().offset(self.skew_us) };
        self.out.clear();
        self.node.handle(now, input, &mut TokenVerifier, &mut self.out);
        self.node.check_invariants();
        let out = std::mem::take(&mut self.out);
        let mut heard = Vec::new();
        self.watch.see(&out, &self.store, &mut |to, payload| heard.push((to, payload)));
        for action in &out.actions {
            match action {
                Action::Persist { key, value } => {
                    self.store.insert(out.slice(key).to_vec(), out.slice(value).to_vec());
                }
                Action::Forget { key } => drop(self.store.remove(out.slice(key))),
                Action::Send { frame, .. } => keep(&mut self.said, out.slice(frame).to_vec()),
                Action::Connect { link, .. } | Action::Reach { link, .. } => drop(self.links.insert(*link)),
                Action::Disconnect(link) => drop(self.links.remove(link)),
                Action::Execute { job, .. } => self.running.push(*job),
                Action::Cancel(job) => self.running.retain(|running| running != job),
                Action::Report(_) => {}
            }
        }
        self.out = out;
        for (to, payload) in heard {
            self.hear(to, payload);
        }
    }

    fn deliver(&mut self, link: Link, frame: &[u8]) {
        self.input(Input::Frame { link, bytes: frame });
    }

    /// Time goes by; the node is woken when it wants to be, and the puppets of the mask give signs of life.
    fn pass(&mut self, span: Span, alive: u8) {
        let until = self.now + span;
        let mut beat = self.now + Span::secs(2);
        let mut at_once = 0;
        loop {
            let deadline = self.node.next_deadline().unwrap_or(Time::NEVER);
            let next = deadline.min(beat).min(until).max(self.now);
            at_once = if next > self.now { 0 } else { at_once + 1 };
            assert!(at_once < MOST_WAKES, "a node that is woken does what is due");
            self.now = next;
            if deadline <= self.now {
                self.input(Input::Wake);
            } else if beat <= self.now && self.now < until {
                beat = self.now + Span::secs(2);
                for at in (1..MEMBERS).filter(|at| alive & (1 << at) != 0) {
                    self.say(
                        at,
                        None,
                        &[Payload::Ping(Ping { members_digest: 0, ledger_digest: 0, pongs: [None; 2] })],
                    );
                }
            } else {
                return;
            }
        }
    }

    fn header(&mut self, by: usize, to: Option<NodeId>, kind: MsgType) -> Header {
        self.counters[by] += 1;
        Header {
            network_tag: network_tag(NETWORK),
            kind,
            sender: keys(by).id(),
            to,
            timestamp: self.wall(),
            incarnation: self.incarnations[by],
            counter: self.counters[by],
            compressed: false,
        }
    }

    fn seal(&self, header: Header, by: usize, payloads: &[Payload]) -> Vec<u8> {
        let encoded: Vec<(MsgType, Vec<u8>)> = payloads
            .iter()
            .map(|payload| {
                let mut bytes = Vec::new();
                encode(self.codec, payload, &mut bytes);
                (payload.kind(), bytes)
            })
            .collect();
        let items: Vec<(MsgType, &[u8])> = encoded.iter().map(|(kind, bytes)| (*kind, &bytes[..])).collect();
        let mut frame = Vec::new();
        let sign = &mut |message: &Signed<'_>| token(&keys(by).public(), message);
        seal_with(header, self.codec, &items, NETWORK, sign, &mut frame);
        frame
    }

    /// One member says something as it should be said.
    fn say(&mut self, by: usize, to: Option<NodeId>, items: &[Payload]) {
        for item in items {
            self.hear_of(item);
            if let Payload::ClaimCertificate(certificate) = item {
                self.watch.note_shown(certificate);
            }
        }
        let kind = if items.len() == 1 { items[0].kind() } else { MsgType::Bundle };
        let header = self.header(by, to, kind);
        let frame = self.seal(header, by, items);
        keep(&mut self.said, frame.clone());
        self.deliver(Link::INBOUND, &frame);
    }

    /// A liar's envelope is not as it should be, though it is signed.
    fn say_oddly(&mut self, wishes: &mut Unstructured<'_>) -> Result<()> {
        let by = wishes.int_in_range(LIARS)?;
        let item = payloads::any(wishes, &self.known, &self.said, by)?;
        let mut header = self.header(by, Some(keys(0).id()), item.kind());
        match wishes.int_in_range(0..=6u8)? {
            0 => header.timestamp = header.timestamp.offset(i64::from(wishes.arbitrary::<i32>()?)),
            1 => header.timestamp = WallTime(wishes.arbitrary()?),
            2 => header.counter = wishes.arbitrary::<u64>()?.max(1),
            3 => header.incarnation = wishes.arbitrary()?,
            4 => header.to = Some(payloads::member(wishes)?),
            5 => header.sender = payloads::member(wishes)?,
            _ => {
                self.codec = if self.codec == Codec::Json { Codec::Bincode } else { Codec::Json };
            }
        }
        let mut frame = self.seal(header, by, &[item]);
        if self.codec == Codec::Bincode && wishes.ratio(1, 3)? {
            // Bytes that no sender would write, under a signature that holds.
            let at = wishes.int_in_range(0..=frame.len() - 65)?;
            frame[at] ^= wishes.arbitrary::<u8>()?;
            let length = frame.len() - 64;
            let signature = token(&keys(by).public(), &Signed { network_id: NETWORK, bytes: &frame[..length] });
            frame[length..].copy_from_slice(&signature.0);
        }
        let link = *wishes.choose(&[Link::INBOUND, Link::BEACON, Link(1), Link(2), Link(77)])?;
        self.deliver(link, &frame);
        Ok(())
    }

    /// What the node says is taken note of.
    fn hear(&mut self, to: Option<NodeId>, payload: Payload) {
        self.hear_of(&payload);
        match payload {
            Payload::AuctionCoordinate(said) => {
                let AuctionCoordinate { job_id, round, electorate, winner_id, backup_id, .. } = said;
                let statement = Statement { job_id, round, winner: winner_id, backup: backup_id, electorate };
                keep(&mut self.statements, statement);
            }
            Payload::Takeover(Takeover { job_id, round, electorate }) => {
                let statement = Statement { job_id, round, winner: keys(0).id(), backup: None, electorate };
                keep(&mut self.statements, statement);
            }
            Payload::ClaimVote(vote) => {
                let fits = |s: &&Statement| (s.job_id, s.round, Some(s.winner)) == (vote.job_id, vote.round, to);
                if let Some(statement) = self.statements.iter().find(fits).copied() {
                    keep(&mut self.votes, (statement, 0, vote.vote_signature));
                }
            }
            Payload::TokenTransaction(transaction) if transaction.account == keys(0).id() => {
                let before = match self.transactions.get(&(transaction.seq.wrapping_sub(1))) {
                    Some((_, row)) => row.clone(),
                    None => Row::new(),
                };
                if let Ok(after) = row_after(&before, &transaction) {
                    self.transactions.insert(transaction.seq, (transaction, after));
                }
            }
            _ => {}
        }
    }

    fn hear_of(&mut self, payload: &Payload) {
        match payload {
            Payload::JobBroadcast(job) => self.known.note(job_id(job)),
            Payload::JobBid(bid) => self.known.round = bid.round,
            Payload::AuctionCoordinate(proposal) => self.known.round = proposal.round,
            Payload::Takeover(takeover) => self.known.round = takeover.round,
            _ => {}
        }
    }

    /// The coordinator of a round, where it is not the node, proposes somebody: as it should be, or as a liar does.
    fn propose(&mut self, wishes: &mut Unstructured<'_>) -> Result<()> {
        let (job, round) = (self.known.job(wishes)?, self.known.round(wishes)?);
        let view = self.node.view();
        let alive = (0..view.members()).map(PeerIdx).filter(|peer| view.peer_state(*peer) == PeerState::Alive);
        let mut alive: Vec<NodeId> = alive.map(|peer| view.peer_id(peer)).collect();
        alive.sort_unstable();
        let mut electorate: Vec<NodeId> = (0..view.members()).map(|peer| view.peer_id(PeerIdx(peer))).collect();
        electorate.sort_unstable();
        if alive.is_empty() {
            return Ok(());
        }
        let coordinator = election::coordinator(Default::default(), job, round, &alive);
        let Some(by) = (1..MEMBERS).find(|at| keys(*at).id() == coordinator) else { return Ok(()) };
        let digest = quorum::electorate_digest(&electorate);
        self.known.electorate = digest;
        let winner = *wishes.choose(&electorate)?;
        let backup = Some(*wishes.choose(&electorate)?).filter(|backup| *backup != winner);
        let place =
            |id: NodeId| u32::try_from(electorate.iter().position(|other| *other == id).unwrap_or(0)).expect("few");
        let best = [Some(winner), backup].into_iter().flatten().map(|id| ListedBid { bidder: place(id), rank: 7_500 });
        let message = AuctionCoordinate {
            job_id: job,
            round,
            electorate: digest,
            winner_id: winner,
            backup_id: backup,
            bids: 2,
            best: best.collect(),
        };
        if !LIARS.contains(&by) && !self.proposed.insert((job, round)) {
            return Ok(());
        }
        keep(&mut self.statements, Statement { job_id: job, round, winner, backup, electorate: digest });
        self.say(by, None, &[Payload::AuctionCoordinate(message)]);
        Ok(())
    }

    /// Others vote for something that was proposed: a puppet once in a round, a liar for anything.
    fn vote(&mut self, wishes: &mut Unstructured<'_>) -> Result<()> {
        if self.statements.is_empty() {
            return Ok(());
        }
        let back = wishes.int_in_range(0..=self.statements.len().min(3) - 1)?;
        let statement = self.statements[self.statements.len() - 1 - back];
        let voters = wishes.arbitrary::<u8>()?;
        for at in (1..MEMBERS).filter(|at| voters & (1 << at) != 0) {
            let promised = *self.promised.entry((at, statement.job_id, statement.round)).or_insert(statement);
            if promised != statement && !LIARS.contains(&at) {
                continue;
            }
            let bytes = statement.signed_bytes();
            let vote_signature = token(&keys(at).public(), &Signed { network_id: NETWORK, bytes: &bytes });
            keep(&mut self.votes, (statement, at, vote_signature));
            if statement.winner == keys(0).id() {
                let vote = ClaimVote { job_id: statement.job_id, round: statement.round, vote_signature };
                self.say(at, Some(keys(0).id()), &[Payload::ClaimVote(vote)]);
            }
        }
        Ok(())
    }

    /// Who won elsewhere claims, with what votes there are.
    fn show_certificate(&mut self, wishes: &mut Unstructured<'_>) -> Result<()> {
        if self.votes.is_empty() {
            return Ok(());
        }
        let statement = wishes.choose(&self.votes)?.0;
        let view = self.node.view();
        let mut electorate: Vec<NodeId> = (0..view.members()).map(|peer| view.peer_id(PeerIdx(peer))).collect();
        electorate.sort_unstable();
        let mut votes: BTreeMap<usize, Signature> = BTreeMap::new();
        for (_, voter, signature) in self.votes.iter().filter(|(of, ..)| *of == statement) {
            if let Ok(place) = electorate.binary_search(&keys(*voter).id()) {
                votes.insert(place, *signature);
            }
        }
        let votes: Vec<(usize, Signature)> = votes.into_iter().collect();
        let certificate = quorum::certificate(statement, electorate.len(), Vec::new(), &votes);
        let claim = JobClaim { job_id: statement.job_id, round: statement.round };
        let by = (1..MEMBERS).find(|at| keys(*at).id() == statement.winner).unwrap_or(1);
        if wishes.arbitrary()? {
            self.say(by, None, &[Payload::JobClaim(claim)]);
        }
        if wishes.arbitrary()? {
            self.say(by, Some(keys(0).id()), &[Payload::ClaimCertificate(certificate)]);
        }
        Ok(())
    }

    /// Others vote for a transaction of the node.
    fn vote_for_payment(&mut self, wishes: &mut Unstructured<'_>) -> Result<()> {
        let Some((seq, (transaction, row))) = self.transactions.last_key_value() else { return Ok(()) };
        let electorate = self.known.electorate;
        let statement = LedgerStatement {
            account: transaction.account,
            seq: *seq,
            transaction: transaction.digest(),
            row: row_digest(row),
            electorate,
        };
        let (seq, bytes) = (*seq, statement.signed_bytes());
        let voters = wishes.arbitrary::<u8>()?;
        for at in (1..MEMBERS).filter(|at| voters & (1 << at) != 0) {
            let vote_signature = token(&keys(at).public(), &Signed { network_id: NETWORK, bytes: &bytes });
            self.say(at, Some(keys(0).id()), &[Payload::LedgerVote(LedgerVote { seq, electorate, vote_signature })]);
        }
        Ok(())
    }

    fn submit(&mut self, wishes: &mut Unstructured<'_>) -> Result<()> {
        let ordinary = wishes.ratio(7, 8)?;
        let command = "x".repeat(if ordinary { 4 } else { wishes.int_in_range(0..=1_100)? });
        let requirements: Vec<String> =
            if ordinary { Vec::new() } else { vec!["gpu".into(); wishes.int_in_range(0..=17)?] };
        let spec = JobSpec {
            job_type: if ordinary { "shell" } else { "" },
            command: &command,
            requirements: &requirements,
            payment: Tokens::whole(wishes.int_in_range(0..=if ordinary { 50 } else { 20_000 })?),
            priority: Ppm(500_000),
            deadline: Span::secs(wishes.int_in_range(0..=120)?),
            max_attempts: wishes.int_in_range(0..=3)?,
            consistency: if wishes.ratio(1, 3)? { Consistency::Available } else { Consistency::Quorum },
            private: wishes.ratio(1, 8)?,
        };
        self.input(Input::Command(Command::Submit(spec)));
        Ok(())
    }

    /// A run ends, or the machine speaks of one that there is not.
    fn finish(&mut self, wishes: &mut Unstructured<'_>) -> Result<()> {
        let job = if self.running.is_empty() || wishes.ratio(1, 8)? {
            self.known.job(wishes)?
        } else {
            let at = wishes.int_in_range(0..=self.running.len() - 1)?;
            self.running.swap_remove(at)
        };
        let output = vec![b'o'; wishes.int_in_range(0..=9_000)?];
        let status = if wishes.ratio(3, 4)? { JobStatus::Success } else { JobStatus::Failure };
        let outcome =
            Outcome { status, output: &output, duration: Span::millis(u64::from(wishes.arbitrary::<u16>()?)) };
        self.input(Input::Finished { job, outcome });
        Ok(())
    }

    fn turn_link(&mut self, wishes: &mut Unstructured<'_>) -> Result<()> {
        let links: Vec<Link> = self.links.iter().copied().chain([Link(4_000), Link::INBOUND, Link::BEACON]).collect();
        let link = *wishes.choose(&links)?;
        let input = if wishes.arbitrary()? { Input::Connected(link) } else { Input::Disconnected(link) };
        self.input(input);
        Ok(())
    }

    /// The process ends, with or without a goodbye, and starts again with its store, with a part of it that came through
    /// unreadable, or without.
    fn restart(&mut self, wishes: &mut Unstructured<'_>) -> Result<()> {
        if wishes.ratio(1, 4)? {
            self.input(Input::Command(Command::Leave));
        }
        match wishes.int_in_range(0..=9u8)? {
            0 => {
                self.store.clear();
                self.watch.forget();
            }
            1 => {
                // Not what the driver's store would let through, but no reason to panic either.
                let keys: Vec<Vec<u8>> = self.store.keys().cloned().collect();
                if let Ok(key) = wishes.choose(&keys) {
                    let value = wishes.bytes(wishes.len().min(24))?.to_vec();
                    self.store.insert(key.clone(), value);
                    self.watch.forget();
                }
            }
            _ => {}
        }
        self.now += Span::millis(u64::from(wishes.arbitrary::<u16>()?));
        self.start_again();
        if wishes.ratio(3, 4)? {
            self.meet();
        }
        Ok(())
    }

    fn start_again(&mut self) {
        self.lives += 1;
        self.watch.restart();
        self.node = fresh(self.lives);
        self.links.clear();
        self.running.clear();
        let records: Vec<Record> =
            self.store.iter().map(|(key, value)| Record { key: key.clone(), value: value.clone() }).collect();
        self.input(Input::Start(&records));
    }
}

fn fresh(life: u64) -> Node {
    Node::new(config(), keys(0).clone(), ChaCha8Rng::seed_from_u64(life)).expect("a sound configuration")
}

/// Keeps the newest of many.
fn keep<T>(kept: &mut Vec<T>, new: T) {
    if kept.len() == KEPT {
        kept.remove(0);
    }
    kept.push(new);
}
