//! What is wrong with a run, as a name that stays the same from seed to seed and while the scenario shrinks.

use std::fmt;

use marlos::time::Time;

use crate::many::{Panicked, Wanted};
use crate::observe::Observation;
use crate::outcome::{CheckKind, Outcome, Verdict};
use crate::scenario::Scenario;
use crate::world::{self, Watcher};

/// Events after which a run is held for one that never ends: some hundred times what a small world has in a minute.
const EVENTS_MOST: u64 = 10_000_000;

/// What kind of thing is wrong, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// An assertion of the node, or of the simulator, does not hold.
    Panic,
    /// A safety check is violated.
    Safety,
    /// The run goes on and on without getting anywhere.
    Endless,
    /// A liveness check is not reached.
    Liveness,
}

impl Wrong {
    /// The exit code of the contract.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Wrong::Panic | Wrong::Safety => 3,
            Wrong::Endless | Wrong::Liveness => 4,
        }
    }
}

/// Something that is wrong with a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub wrong: Wrong,
    /// The check and the sentence that is violated, or place and words of the assertion, without what differs from run to run.
    pub fingerprint: String,
    /// All there is to say.
    pub detail: String,
}

impl Finding {
    /// What is wrong with a run that came to its end; nothing where it is as promised. KPIs and expectations are no findings.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Option<Finding> {
        let failed = outcome.checks.iter().filter(|check| check.verdict == Verdict::Fail);
        let findings = failed.filter_map(|check| {
            let wrong = match check.kind {
                CheckKind::Safety => Wrong::Safety,
                CheckKind::Liveness => Wrong::Liveness,
                CheckKind::Expect => return None,
            };
            // Every check says the sentence first.
            let said = check.detail.strip_prefix(&format!("{} violated: ", check.name)).unwrap_or(&check.detail);
            let sentence = said.split(". ").next().unwrap_or(said);
            let fingerprint = format!("{}: {}", check.name, without_numbers(sentence));
            Some(Finding { wrong, fingerprint, detail: check.detail.clone() })
        });
        findings.min_by_key(|finding| finding.wrong)
    }

    /// A panic is one.
    #[must_use]
    pub fn of_panic(panicked: &Panicked) -> Finding {
        // Without the path that leads to the sources, and without the column.
        let place = panicked.place.rsplit_once("src/").map_or(panicked.place.as_str(), |(_, place)| place);
        let place = place.rsplit_once(':').map_or(place, |(place, _)| place);
        let first = panicked.message.lines().next().unwrap_or_default();
        Finding {
            wrong: Wrong::Panic,
            fingerprint: format!("panic at {place}: {}", without_numbers(first)),
            detail: format!("{} ({})", panicked.message, panicked.place),
        }
    }

    fn endless(outcome: &Outcome) -> Finding {
        Finding {
            wrong: Wrong::Endless,
            fingerprint: "endless: the run does not come to its end".to_owned(),
            detail: format!("{} events, and it is only {}", outcome.events, outcome.reached),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fingerprint)
    }
}

/// Numbers and ids are what differs between two runs with the same fault.
fn without_numbers(text: &str) -> String {
    let word = |word: &str| {
        let is_id = word.len() >= 8 && word.chars().all(|c| c.is_ascii_hexdigit());
        if is_id || word.chars().all(|c| c.is_ascii_digit()) { "#".to_owned() } else { word.to_owned() }
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let same = |c: char| c.is_ascii_alphanumeric() == first.is_ascii_alphanumeric();
        let end = rest.find(|c| !same(c)).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        if first.is_ascii_alphanumeric() {
            out.push_str(&word(run))
        } else {
            out.push_str(run)
        }
        rest = after;
    }
    out
}

/// Runs a scenario for what is wrong with it; nothing where nobody wants to know any more. An assertion that does not hold
/// panics: it is caught by [`crate::many`].
#[must_use]
pub fn examine(scenario: Scenario, wanted: Wanted<'_>) -> Option<(Outcome, Option<Finding>)> {
    let mut bound = Bound { wanted, broken_off: false, endless: false };
    let outcome = world::run(scenario, None, &mut bound);
    if bound.broken_off {
        return None;
    }
    let finding = if bound.endless { Some(Finding::endless(&outcome)) } else { Finding::of(&outcome) };
    Some((outcome, finding))
}

/// Ends a run that nobody wants, or that does not end by itself.
struct Bound<'w> {
    wanted: Wanted<'w>,
    broken_off: bool,
    endless: bool,
}

impl Watcher for Bound<'_> {
    fn at(&mut self, _: Time, events: u64) -> bool {
        self.broken_off = !self.wanted.still();
        self.endless = events > EVENTS_MOST;
        !self.broken_off && !self.endless
    }
    fn change(&mut self, _: Time, _: &Observation<'_>) {}
    fn wants_changes(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_has_no_numbers_and_no_ids_but_keeps_words_with_digits() {
        let table = [
            ("n3 holds 17 votes", "n3 holds # votes"),
            ("job-00112233445566778899aabbccddeeff lost", "job-# lost"),
            ("SHA256 of x", "SHA256 of x"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(without_numbers(text), expected);
        }
    }

    #[test]
    fn a_panic_is_named_by_file_line_and_words() {
        let panicked = Panicked {
            message: "left: 3 of 00112233aabb\n  more".to_owned(),
            place: "/home/x/marlos/src/ledger/vote.rs:17:9".to_owned(),
        };
        let finding = Finding::of_panic(&panicked);
        assert_eq!(finding.fingerprint, "panic at ledger/vote.rs:17: left: # of #");
        assert_eq!(finding.wrong.exit_code(), 3);
    }
}
