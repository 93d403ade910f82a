//! Silence where something is owed: the rest of the node goes on as ever, so that nobody holds it for dead.

use marlos::time::Span;
use marlos::wire::Payload;

use super::said::{Form, Said};
use super::scene::Scene;
use super::settings::Key;
use super::{AS_SENT, Misbehaviour, Spec};

pub(super) const SPEC: Spec = Spec {
    name: "withhold",
    what: "Says nothing in a role, or says it late: as coordinator no proposal, as winner neither claim nor sign of life nor \
           result, as voter no vote on claims or payments.",
    under_way: AS_SENT,
    keys: &[
        Key::choice("role", &["any", "coordinator", "winner", "voter"], "in which role"),
        Key::duration("delay", Span::ZERO, Span::ZERO, Span::secs(3_600), "say it so much later; zero is never"),
    ],
    example: "role = \"voter\"",
    begin: |behaviour| {
        Box::new(Withhold { role: Role::named(behaviour.choice("role")), delay: behaviour.duration("delay") })
    },
};

#[derive(Debug)]
struct Withhold {
    role: Role,
    delay: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Any,
    Coordinator,
    Winner,
    Voter,
}

impl Role {
    fn named(name: &str) -> Role {
        match name {
            "coordinator" => Role::Coordinator,
            "winner" => Role::Winner,
            "voter" => Role::Voter,
            _ => Role::Any,
        }
    }

    /// In which role something is said, if in one.
    fn of(payload: &Payload) -> Option<Role> {
        match payload {
            Payload::AuctionCoordinate(_) => Some(Role::Coordinator),
            Payload::JobClaim(_)
            | Payload::ClaimCertificate(_)
            | Payload::JobHeartbeat(_)
            | Payload::JobResult(_)
            | Payload::OutputChunk(_) => Some(Role::Winner),
            Payload::ClaimVote(_) | Payload::LedgerVote(_) | Payload::PenaltyVote(_) => Some(Role::Voter),
            Payload::PeerAnnounce(_)
            | Payload::PeerRecords(_)
            | Payload::Ping(_)
            | Payload::PeerProbe(_)
            | Payload::PeerSeen(_)
            | Payload::Goodbye(_)
            | Payload::JobBroadcast(_)
            | Payload::JobBid(_)
            | Payload::CertificateRequest(_)
            | Payload::Takeover(_)
            | Payload::LeaseLapsed(_)
            | Payload::OutputRequest(_)
            | Payload::StateRequest(_)
            | Payload::ReputationUpdate(_)
            | Payload::TokenTransaction(_)
            | Payload::LedgerCertificate(_)
            | Payload::AccountRequest(_)
            | Payload::AccountRecord(_)
            | Payload::PenaltyRecords(_)
            | Payload::Evidence(_)
            | Payload::AccountHeads(_)
            | Payload::KeyRotation(_)
            | Payload::SealedCommand(_)
            | Payload::SealedBundle(_) => None,
        }
    }
}

impl Misbehaviour for Withhold {
    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        let Form::Open(open) = &said.form else { return scene.say(said) };
        let owed =
            |payload: &&Payload| Role::of(payload).is_some_and(|role| self.role == Role::Any || self.role == role);
        let (kept, rest): (Vec<Payload>, Vec<Payload>) =
            open.payloads.iter().cloned().partition(|payload| owed(&payload));
        kept.iter().for_each(|_| scene.misdeed());
        let with = |payloads| {
            let mut open = open.clone();
            open.payloads = payloads;
            Said { whom: said.whom, form: Form::Open(open) }
        };
        if self.delay > Span::ZERO && !kept.is_empty() {
            scene.say_later(self.delay, with(kept));
        }
        if !rest.is_empty() {
            scene.say(with(rest));
        }
    }
}
