//! What was said just before a violation: found by running the same seed once more, so that ordinary runs pay nothing for it.

use std::collections::VecDeque;

use marlos::time::{Span, Time};

use crate::observe::Observation;
use crate::outcome::{Message, Outcome};
use crate::world::{self, Watcher};

/// How far back the chart reaches.
const BEFORE: Span = Span::secs(2);
/// Messages on it: more than these nobody can follow.
const MESSAGES: usize = 80;

/// Runs the outcome's scenario again up to where it ended, and returns the last messages that were accepted then.
#[must_use]
pub fn last_messages(outcome: &Outcome) -> Vec<Message> {
    let mut last = Last { from: Time(outcome.reached.0.saturating_sub(BEFORE.as_micros())), messages: VecDeque::new() };
    let again = world::run(outcome.scenario.clone(), Some(outcome.reached), &mut last);
    assert_eq!(again.events, outcome.events, "the same seed gives the same run");
    last.messages.into()
}

/// Keeps the last messages.
struct Last {
    from: Time,
    messages: VecDeque<Message>,
}

impl Watcher for Last {
    fn at(&mut self, _: Time, _: u64) -> bool {
        true
    }

    fn change(&mut self, now: Time, o: &Observation<'_>) {
        let Observation::Accepted { node, sender, kind, latency, .. } = *o else { return };
        if now < self.from {
            return;
        }
        if self.messages.len() == MESSAGES {
            self.messages.pop_front();
        }
        let sent = Time(now.0.saturating_sub(latency.as_micros()));
        self.messages.push_back(Message { sent, heard: now, from: sender, to: node, kind });
    }

    fn wants_changes(&self) -> bool {
        true
    }
}
