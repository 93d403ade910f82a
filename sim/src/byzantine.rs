//! Misbehaving nodes: the honest production node, and a wrapper that changes what it hears and says, with real keys and real frames.
//!
//! A fault of kind `byzantine` names nodes and a *behaviour*. While it lasts, every frame that comes to such a node passes the
//! behaviour before the node sees it ([`Misbehaviour::hear`]), every frame that the node sends passes it before it leaves
//! ([`Misbehaviour::say`]), and it may ask to be woken ([`Misbehaviour::wake`]). Several behaviours at one node are passed in the order
//! in which they began. Nodes that one fault names share one plan - one value of the behaviour's type - and each other's keys:
//! they collude. Whoever has misbehaved once is not judged any more ([`crate::observe::Truth::honest`]), by itself or by what others think of it.
//!
//! What the node says comes opened, as payloads, and is sealed again by the production codec with the node's key and nonces of
//! the wrapper's, so that a behaviour may change a word, say different things to different peers, or say more, and be believed.
//! What must not be believed is sealed by hand ([`scene::Scene::seal`]). The machine inside never knows, and its own
//! reports are never counted.
//!
//! # How to add one
//! One file under `byzantine/`: a `SPEC` with its name, its keys (each with a default), an example and what it shows, and a type that
//! implements [`Misbehaviour`]; a `mod` line here, and the spec in [`BEHAVIOURS`]. The parser, the resolved scenario, `marlos-sim faults`
//! and the test that starts every behaviour with its defaults all read that table. Call [`scene::Scene::misdeed`] for each thing done that no
//! honest node does, so that a scenario can ask for it (`[expect] misdeeds = { name = ">= 10" }`), draw with [`scene::Scene::draw`], and
//! keep what belongs to one node by [`scene::Scene::me`]. Then a test in `tests/byzantine.rs` that it does what it says as often as it says, and a
//! scenario in `scenarios/byzantine/`.

mod bogus_coordinator;
mod clock;
mod double_spend;
mod eclipse;
mod equivocate;
mod false_claim;
mod false_result;
mod flood;
mod forge;
mod garbage;
mod ghost;
mod grind;
mod lie;
mod oversize;
mod replay;
pub mod said;
pub mod scene;
pub mod settings;
mod strangers;
mod sybil;
pub mod troupe;
mod twin;
mod withhold;

use std::fmt;

use marlos::time::Span;
use marlos::units::Ppm;

use crate::scenario::NodeNo;
use said::{Heard, Hearing, Said};
use scene::Scene;
use settings::{Key, Setting};

/// Every behaviour, in the order in which `marlos-sim faults` shows them. A scenario can name no other.
pub const BEHAVIOURS: [&Spec; 18] = [
    &forge::SPEC,
    &replay::SPEC,
    &flood::SPEC,
    &oversize::SPEC,
    &garbage::SPEC,
    &equivocate::SPEC,
    &withhold::SPEC,
    &bogus_coordinator::SPEC,
    &false_claim::SPEC,
    &ghost::SPEC,
    &false_result::SPEC,
    &lie::SPEC,
    &clock::SPEC,
    &double_spend::SPEC,
    &sybil::SPEC,
    &eclipse::SPEC,
    &grind::SPEC,
    &twin::SPEC,
];

/// What a behaviour is.
#[derive(Debug)]
pub struct Spec {
    /// As `behaviour` names it.
    pub name: &'static str,
    /// What it does, for people.
    pub what: &'static str,
    /// What becomes of messages that are under way when it begins or ends.
    pub under_way: &'static str,
    /// Its own keys.
    pub keys: &'static [Key],
    /// Lines of a `[[fault]]` behind `behaviour`.
    pub example: &'static str,
    /// Makes the plan that the fault's nodes share.
    pub begin: fn(&Behaviour) -> Box<dyn Misbehaviour>,
}

/// What is not said of a behaviour that only changes what leaves from now on.
pub const AS_SENT: &str = "What is under way arrives as it was sent.";

/// How some nodes misbehave. One value for all nodes of a fault.
pub trait Misbehaviour: fmt::Debug + Send {
    /// It begins at a node that is up, or the node starts while it lasts.
    fn start(&mut self, scene: &mut Scene<'_>) {
        let _ = scene;
    }

    /// A frame has come in. The first behaviour that does not let it pass decides.
    fn hear(&mut self, scene: &mut Scene<'_>, heard: &Heard<'_>) -> Hearing {
        let _ = (scene, heard);
        Hearing::Pass
    }

    /// A frame is about to leave: it does only if it is said.
    fn say(&mut self, scene: &mut Scene<'_>, said: Said) {
        scene.say(said);
    }

    /// It was asked for with [`Scene::wake_at`].
    fn wake(&mut self, scene: &mut Scene<'_>) {
        let _ = scene;
    }
}

/// A behaviour with its settings.
#[derive(Clone)]
pub struct Behaviour {
    spec: &'static Spec,
    /// In the order of the spec's keys.
    settings: Vec<Setting>,
}

impl PartialEq for Behaviour {
    fn eq(&self, other: &Behaviour) -> bool {
        (self.spec.name, &self.settings) == (other.spec.name, &other.settings)
    }
}

impl fmt::Debug for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(self.spec.name);
        for (key, setting) in self.entries() {
            shown.field(key.name, setting);
        }
        shown.finish()
    }
}

impl Behaviour {
    /// A behaviour as its settings say, in the order of its keys.
    ///
    /// # Panics
    /// Where there are not as many settings as keys.
    #[must_use]
    pub fn new(spec: &'static Spec, settings: Vec<Setting>) -> Behaviour {
        assert_eq!(spec.keys.len(), settings.len(), "every key of {} has a setting", spec.name);
        Behaviour { spec, settings }
    }

    /// A behaviour as it is where a scenario says nothing but its name.
    #[must_use]
    pub fn plain(spec: &'static Spec) -> Behaviour {
        Behaviour::new(spec, spec.keys.iter().map(Key::unless_said).collect())
    }

    /// As scenarios name it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// Whether it makes up ids, which would vote where everyone may: then nothing is promised, so a scenario has to say who votes.
    #[must_use]
    pub fn needs_fixed_membership(&self) -> bool {
        [sybil::SPEC.name, eclipse::SPEC.name].contains(&self.spec.name)
    }

    /// Its keys, each with what the scenario says.
    pub fn entries(&self) -> impl Iterator<Item = (&'static Key, &Setting)> {
        self.spec.keys.iter().zip(&self.settings)
    }

    /// The same with other settings: what `change` says of each, in the order of the keys.
    #[must_use]
    pub fn changed(&self, change: impl Fn(usize, &Setting) -> Setting) -> Behaviour {
        let settings = self.settings.iter().enumerate().map(|(at, setting)| change(at, setting));
        Behaviour::new(self.spec, settings.collect())
    }

    /// Its place in the table.
    fn number(&self) -> u8 {
        let at = BEHAVIOURS.iter().position(|spec| spec.name == self.spec.name).expect("it is in the table");
        u8::try_from(at).expect("there are few behaviours")
    }

    fn begin(&self) -> Box<dyn Misbehaviour> {
        (self.spec.begin)(self)
    }

    fn setting(&self, name: &str) -> &Setting {
        let found = self.entries().find(|(key, _)| key.name == name);
        found.unwrap_or_else(|| panic!("{} has no key {name}", self.spec.name)).1
    }

    fn share(&self, name: &str) -> Ppm {
        let Setting::Share(share) = self.setting(name) else { panic!("{name} is no share") };
        *share
    }

    fn duration(&self, name: &str) -> Span {
        let Setting::Duration(span) = self.setting(name) else { panic!("{name} is no duration") };
        *span
    }

    fn whole(&self, name: &str) -> u64 {
        let Setting::Whole(number) = self.setting(name) else { panic!("{name} is no number") };
        *number
    }

    /// The chosen name.
    fn choice(&self, name: &str) -> &'static str {
        let (key, setting) = self.entries().find(|(key, _)| key.name == name).expect("a key of it");
        match (key.takes, setting) {
            (settings::Takes::Choice(names), Setting::Choice(at)) => names[*at],
            _ => panic!("{name} is no choice"),
        }
    }

    fn nodes(&self, name: &str) -> Vec<NodeNo> {
        let Setting::Nodes(nodes) = self.setting(name) else { panic!("{name} is no list of nodes") };
        nodes.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_behaviour_begins_with_its_defaults_and_has_a_name_of_its_own() {
        let mut names: Vec<&str> = BEHAVIOURS.iter().map(|spec| spec.name).collect();
        for spec in BEHAVIOURS {
            let behaviour = Behaviour::plain(spec);
            let _ = behaviour.begin();
            assert_eq!(BEHAVIOURS[usize::from(behaviour.number())].name, spec.name);
        }
        let common = ["at", "for", "until", "every", "times", "kind", "nodes", "behaviour"];
        let keys = BEHAVIOURS.iter().flat_map(|spec| spec.keys);
        assert!(keys.into_iter().all(|key| !common.contains(&key.name)), "a fault has these keys already");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BEHAVIOURS.len());
    }
}
