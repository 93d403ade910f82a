//! Peer gossip as a weapon: a victim is told of so many that nobody runs that there is no place for those whom it needs.

use marlos::time::Span;
use marlos::wire::Payload;
use marlos::wire::message::PeerRecords;

use super::said::{Form, Said, Whom};
use super::scene::Scene;
use super::settings::Key;
use super::strangers::Stranger;
use super::{AS_SENT, Misbehaviour, Spec};
use crate::scenario::NodeNo;

pub(super) const SPEC: Spec = Spec {
    name: "eclipse",
    what: "Tells its victims of nodes that nobody runs, with valid records, until there is no place and no connection left for real ones; \
           and vouches for nobody when it is asked. Only where it is said who votes (`membership = \"fixed\"`) is anything promised.",
    under_way: AS_SENT,
    keys: &[
        Key::nodes("of", "the victims"),
        Key::whole("records", 64, 1, 256, "records in one message"),
        Key::duration(
            "interval",
            Span::millis(500),
            Span::millis(10),
            Span::secs(60),
            "how often each of them is told",
        ),
    ],
    example: "records = 16",
    begin: |behaviour| {
        let records = usize::try_from(behaviour.whole("records")).expect("at most 256");
        Box::new(Eclipse { victims: behaviour.nodes("of"), records, interval: behaviour.duration("interval") })
    },
};

#[derive(Debug)]
struct Eclipse {
    victims: Vec<NodeNo>,
    records: usize,
    interval: Span,
}

impl Misbehaviour for Eclipse {
    fn start(&mut self, scene: &mut Scene<'_>) {
        scene.wake_at(scene.now.mono + self.interval);
    }

    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        let Said { whom, form: Form::Open(mut open) } = said else { return scene.say(said) };
        open.payloads.retain(|payload| !matches!(payload, Payload::PeerSeen(_)));
        if !open.payloads.is_empty() {
            scene.say(Said { whom, form: Form::Open(open) });
        }
    }

    fn wake(&mut self, scene: &mut Scene<'_>) {
        scene.wake_at(scene.now.mono + self.interval);
        for victim in scene.others(&self.victims) {
            let records = (0..self.records).map(|_| Stranger::make_up(scene).record).collect();
            let told = Payload::PeerRecords(PeerRecords { members_digest: 0, complete: false, records });
            scene.misdeed();
            scene.say(scene.open(Whom::One(victim), vec![told]));
        }
    }
}
