//! Scenes: faults that tell something only together, and that a storm hardly ever puts together by itself.

use marlos::time::{Span, Time};
use marlos::units::Ppm;

use super::{FIRST, GOODBYE, MOMENT, Storm};
use crate::byzantine::settings::{Setting, Takes};
use crate::byzantine::{BEHAVIOURS, Behaviour, Spec};
use crate::chaos::dice::What;
use crate::scenario::{CrashConnection, Fault, FaultKind, NodeNo, Storage};

/// How much longer than a lease who watches an executor does not hear it.
const UNHEARD: [Span; 2] = [Span::secs(2), Span::secs(8)];
/// How long all hear each other in between, and before: nobody has reason to hold one of them for dead that it hears of.
const HEARD: Span = Span::secs(3);
const WELL_HEARD: Span = Span::secs(10);
/// Nodes that restart among members that say again what they have heard, one after the other.
const RESTARTS: usize = 4;
/// How long such a restart takes at most.
const RESTART_MOST: Span = Span::secs(2);

impl Storm<'_> {
    /// By twos, nodes do not hear each other for longer than a lease, and nothing else goes wrong: so who watches an executor takes over
    /// without reason, if the others let it. Whether there is time for that.
    pub(super) fn unheard(&mut self, lease: Span) -> bool {
        let lasts =
            lease + Span::millis(self.dice.between(What::Scene, 1, UNHEARD[0].as_millis(), UNHEARD[1].as_millis()));
        let mut nodes = self.present();
        nodes.sort_by_key(|node| self.dice.bits(What::Scene, 1_000 + node));
        let Some(last) = self.end.0.checked_sub(lasts.0).filter(|last| *last > FIRST.0) else { return false };
        let earliest = WELL_HEARD.as_micros().clamp(FIRST.0, last) / 1_000;
        let mut at = Time(self.dice.between(What::Scene, 2, earliest, last / 1_000) * 1_000);
        while at + lasts <= self.end {
            for pair in nodes.chunks_exact(2) {
                self.push(at, at + lasts, FaultKind::OneWay { from: vec![pair[0]], to: vec![pair[1]] });
            }
            at = at + lasts + HEARD;
        }
        true
    }

    /// Suspects say again whatever was said, to nodes that restart and have kept their store.
    pub(super) fn echoes(&mut self) {
        let replay = BEHAVIOURS.iter().find(|spec| spec.name == "replay").expect("it is one of them");
        let settings = said_again_after_restarts(replay);
        let at = Time(self.moment_of(4_000).0 / 2).max(Time(0) + FIRST);
        let kind =
            FaultKind::Byzantine { nodes: self.cast.suspects.clone(), behaviour: Behaviour::new(replay, settings) };
        self.faults.push(Fault { at, until: None, kind });
        let mut nodes = self.present();
        nodes.retain(|node| !self.cast.suspects.contains(node));
        for n in 4_001..4_001 + RESTARTS {
            let nodes = vec![self.dice.of(What::Who, n, &nodes)];
            let from = self.moment_of(n).max(at).min(Time(self.end.0 - GOODBYE.as_micros()));
            let lasts = self.dice.span(What::Lasts, n, MOMENT, RESTART_MOST.min(self.end.since(from)));
            let storage = self.dice.of(What::Storage, n, &[Storage::Kept, Storage::UnsyncedLost, Storage::Torn]);
            self.push(from, from + lasts, FaultKind::Crash { nodes, storage, connection: CrashConnection::Reset });
        }
    }

    /// Who is there from the beginning to the end.
    fn present(&self) -> Vec<NodeNo> {
        let there = |node: &NodeNo| !self.cast.late.contains(node) && !self.cast.gone.contains(node);
        self.cast.all().into_iter().filter(there).collect()
    }
}

fn said_again_after_restarts(replay: &Spec) -> Vec<Setting> {
    let setting = |key: &crate::byzantine::settings::Key| match (key.name, &key.takes) {
        ("after", Takes::Choice(names)) => chosen(names, "restart"),
        ("changed", Takes::Choice(names)) => chosen(names, "nothing"),
        ("share", Takes::Share(_)) => Setting::Share(Ppm::ONE),
        _ => key.unless_said(),
    };
    replay.keys.iter().map(setting).collect()
}

fn chosen(names: &[&str], name: &str) -> Setting {
    Setting::Choice(names.iter().position(|known| *known == name).expect("it is one of them"))
}
