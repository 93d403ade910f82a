//! What happens next: a queue in exact order of (time, tie, sequence).
//!
//! The tie-break is content - who receives from whom, which kind, which number - so that two events at the same microsecond
//! come in the same order whatever else was scheduled before. The sequence number only decides between equal ties.
//!
//! It is the standard library's heap: one with four children per place and items that do not move was measured, and was no
//! faster at a hundred events, and slower at some thousand.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use marlos::time::Time;

/// Events in order. An entry that will be due again (a broadcast on its way to many receivers) is moved by
/// [`EventQueue::advance_top`] rather than taken out and put back.
#[derive(Clone, Debug)]
pub struct EventQueue<T> {
    heap: BinaryHeap<Entry<T>>,
    sequence: u64,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    at: Time,
    tie: u64,
    sequence: u64,
    item: T,
}

impl<T> EventQueue<T> {
    /// An empty queue.
    #[must_use]
    pub fn new() -> EventQueue<T> {
        EventQueue { heap: BinaryHeap::new(), sequence: 0 }
    }

    /// Schedules `item`.
    pub fn push(&mut self, at: Time, tie: u64, item: T) {
        let sequence = self.sequence;
        self.sequence += 1;
        self.heap.push(Entry { at, tie, sequence, item });
    }

    /// When the next event is due.
    #[must_use]
    pub fn peek_time(&self) -> Option<Time> {
        self.heap.peek().map(|top| top.at)
    }

    /// The next event, which stays where it is.
    #[must_use]
    pub fn peek(&self) -> Option<(Time, &T)> {
        self.heap.peek().map(|top| (top.at, &top.item))
    }

    /// Takes the next event out.
    pub fn pop(&mut self) -> Option<(Time, T)> {
        self.heap.pop().map(|top| (top.at, top.item))
    }

    /// Moves the next event, the one that [`EventQueue::peek`] shows, to a new time and tie. Nothing may be pushed between the two.
    ///
    /// # Panics
    /// If the queue is empty, or the event would go back in time.
    pub fn advance_top(&mut self, at: Time, tie: u64) {
        let mut top = self.heap.peek_mut().expect("only an event that was seen can be moved");
        assert!(at >= top.at, "an event moved back from {} to {at}", top.at);
        top.at = at;
        top.tie = tie;
        drop::<PeekMut<'_, Entry<T>>>(top); // and the heap puts it where it belongs
    }

    /// How many events wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

impl<T> Default for EventQueue<T> {
    fn default() -> Self {
        EventQueue::new()
    }
}

impl<T> Entry<T> {
    fn key(&self) -> (Time, u64, u64) {
        (self.at, self.tie, self.sequence)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    /// Reversed: the heap of the standard library has its greatest element on top.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn at_the_same_time_the_smaller_tie_comes_first_whatever_came_in_first() {
        let mut queue = EventQueue::new();
        queue.push(Time(5), 2, "b");
        queue.push(Time(5), 1, "a");
        queue.push(Time(5), 2, "c");
        queue.push(Time(4), 9, "first");
        let order: Vec<&str> = std::iter::from_fn(|| queue.pop()).map(|(_, item)| item).collect();
        assert_eq!(order, ["first", "a", "b", "c"]);
    }

    /// What may be asked of a queue.
    #[derive(Clone, Debug)]
    enum Ask {
        Push { at: u64, tie: u64 },
        Pop,
        Advance { by: u64, tie: u64 },
    }

    fn ask() -> impl Strategy<Value = Ask> {
        prop_oneof![
            3 => (0..50u64, 0..4u64).prop_map(|(at, tie)| Ask::Push { at, tie }),
            1 => Just(Ask::Pop),
            2 => (0..20u64, 0..4u64).prop_map(|(by, tie)| Ask::Advance { by, tie }),
        ]
    }

    proptest! {
        #[test]
        fn a_queue_is_a_sorted_list(asks in prop::collection::vec(ask(), 0..200)) {
            let mut queue = EventQueue::new();
            let mut list: Vec<(u64, u64, u64)> = Vec::new();
            let mut pushed = 0;
            for ask in asks {
                match ask {
                    Ask::Push { at, tie } => {
                        queue.push(Time(at), tie, pushed);
                        list.push((at, tie, pushed));
                        pushed += 1;
                    }
                    Ask::Pop => {
                        let expected = (!list.is_empty()).then(|| list.remove(0));
                        prop_assert_eq!(queue.pop(), expected.map(|(at, _, item)| (Time(at), item)));
                    }
                    Ask::Advance { by, tie } => if let Some(first) = list.first_mut() {
                        *first = (first.0 + by, tie, first.2);
                        queue.advance_top(Time(first.0), tie);
                    }
                }
                list.sort_unstable();
                prop_assert_eq!(queue.peek_time(), list.first().map(|first| Time(first.0)));
                prop_assert_eq!(queue.len(), list.len());
            }
        }
    }
}
