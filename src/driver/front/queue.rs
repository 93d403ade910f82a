//! What waits to be written to one peer: bounded by messages and bytes, dropping what does not fit.

use std::collections::VecDeque;
use std::sync::Mutex;

use tokio::sync::Notify;

/// The messages that wait for one connection.
#[derive(Debug)]
pub struct Outgoing {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    max_messages: usize,
    max_bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Outgoing {
    /// An empty queue.
    #[must_use]
    pub fn new(max_messages: usize, max_bytes: usize) -> Outgoing {
        Outgoing { waiting: Mutex::default(), arrived: Notify::new(), max_messages, max_bytes }
    }

    /// Appends a message, or says that there is no room for it. A single message larger than all the room passes when it
    /// would wait alone.
    pub fn push(&self, message: Vec<u8>) -> bool {
        let mut waiting = self.waiting.lock().expect("no panic while it is held");
        let full = waiting.messages.len() >= self.max_messages || waiting.bytes + message.len() > self.max_bytes;
        if full && !waiting.messages.is_empty() {
            return false;
        }
        waiting.bytes += message.len();
        waiting.messages.push_back(message);
        drop(waiting);
        self.arrived.notify_one();
        true
    }

    /// Moves what waits into `batch`, whole messages until it holds `enough` bytes; waits for the first.
    pub async fn take(&self, batch: &mut Vec<u8>, enough: usize) {
        loop {
            {
                let mut waiting = self.waiting.lock().expect("no panic while it is held");
                while batch.len() < enough
                    && let Some(message) = waiting.messages.pop_front()
                {
                    waiting.bytes -= message.len();
                    batch.extend_from_slice(&message);
                }
            }
            if !batch.is_empty() {
                return;
            }
            self.arrived.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_the_rest_comes_out_in_order() {
        let queue = Outgoing::new(3, 10);
        assert!(queue.push(vec![1; 4]) && queue.push(vec![2; 4]));
        assert!(!queue.push(vec![3; 4]), "12 bytes into room for 10");
        assert!(queue.push(vec![4; 1]));
        assert!(!queue.push(vec![5; 1]), "a fourth message into room for three");
        let mut batch = Vec::new();
        queue.take(&mut batch, 64).await;
        assert_eq!(batch, [1, 1, 1, 1, 2, 2, 2, 2, 4]);
        assert!(queue.push(vec![6; 100]), "a large message alone has room");
        assert!(!queue.push(vec![7; 1]));
    }
}
