//! Many runs on all cores, their results in order.
//!
//! [`many`] takes work from an iterator, does it on as many threads as asked for, and hands the results over on the calling
//! thread in the order of the work, whichever was finished first. So whatever is made of them is the same for any number of
//! threads. Work is taken only a little ahead of the slowest: neither the work nor the results are ever all in memory.
//!
//! A panic - an assertion of a node - ends its own piece of work alone, and is a result like any other.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, PoisonError, mpsc};
use std::thread;

use marlos::time::Time;

use crate::observe::Observation;
use crate::world::Watcher;

/// How many pieces of work for each thread may be taken beyond the first that is not finished.
const AHEAD: u64 = 16;

/// Why a piece of work has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// What the panic said.
    pub message: String,
    /// File and line, where known.
    pub place: String,
}

/// Whether the work under way is still wanted. A long piece of work asks now and then.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'s> {
    interrupted: &'s AtomicBool,
    enough: &'s AtomicBool,
}

impl Wanted<'_> {
    /// Whether it is.
    #[must_use]
    pub fn still(&self) -> bool {
        !self.interrupted.load(Ordering::Relaxed) && !self.enough.load(Ordering::Relaxed)
    }
}

/// Watches a world only to end it once nobody wants it any more.
#[derive(Clone, Copy, Debug)]
pub struct WhileWanted<'s> {
    wanted: Wanted<'s>,
    /// Whether the world was broken off: it is no result.
    pub broken_off: bool,
}

impl<'s> WhileWanted<'s> {
    /// For a world that has not begun.
    #[must_use]
    pub fn new(wanted: Wanted<'s>) -> WhileWanted<'s> {
        WhileWanted { wanted, broken_off: false }
    }
}

impl Watcher for WhileWanted<'_> {
    fn at(&mut self, _: Time, _: u64) -> bool {
        self.broken_off = !self.wanted.still();
        !self.broken_off
    }
    fn change(&mut self, _: Time, _: &Observation<'_>) {}
    fn wants_changes(&self) -> bool {
        false
    }
}

/// The threads that are used where nobody says how many: as many as this machine runs at once.
#[must_use]
pub fn all_cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Does `work` on each of `items` on `threads` threads, and calls `done` with each and its result, in the order of `items`.
///
/// `work` returns nothing where it broke off because it was no longer [`Wanted`]; such an item is never `done`. Once
/// `interrupted` is set no further item is begun, and what is finished is still `done`. When `done` breaks, nothing after
/// that item is, whatever may be finished of it. Returns whether all items were done.
///
/// # Panics
/// Where `done` or the iterator does; panics of `work` are results.
pub fn many<T, R, W, D>(
    items: impl IntoIterator<Item = T>,
    threads: NonZeroUsize,
    interrupted: &AtomicBool,
    work: W,
    mut done: D,
) -> bool
where
    T: Send,
    R: Send,
    W: Fn(&T, Wanted<'_>) -> Option<R> + Sync,
    D: FnMut(T, Result<R, Panicked>) -> ControlFlow<()>,
{
    quiet_caught_panics();
    let enough = AtomicBool::new(false);
    let wanted = Wanted { interrupted, enough: &enough };
    let (to_do, taken) = mpsc::channel::<(u64, T)>();
    let (give, finished) = mpsc::channel();
    let taken = Mutex::new(taken);
    thread::scope(|scope| {
        for _ in 0..threads.get() {
            let (give, work, taken) = (give.clone(), &work, &taken);
            scope.spawn(move || {
                while let Some((number, item)) = take(taken) {
                    let result = if wanted.still() { caught(|| work(&item, wanted)) } else { Ok(None) };
                    if give.send((number, item, result)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(give);
        // However this ends, also by a panic: the threads run out of work, and break off what they are at.
        let (to_do, _ends) = (to_do, SetAtEnd(&enough));
        let mut items = items.into_iter().fuse();
        let mut out_of_turn = BTreeMap::new();
        let (mut begun, mut next, mut complete) = (0, 0, true);
        loop {
            while begun - next < AHEAD * threads.get() as u64 && wanted.still() {
                let Some(item) = items.next() else { break };
                to_do.send((begun, item)).expect("the receiver lives as long as this");
                begun += 1;
            }
            if next == begun {
                return complete && items.next().is_none();
            }
            let (number, item, result) = finished.recv().expect("work that was begun comes back");
            out_of_turn.insert(number, (item, result));
            while let Some((item, result)) = out_of_turn.remove(&next) {
                next += 1;
                let flow = match result {
                    Ok(Some(result)) => done(item, Ok(result)),
                    Err(panicked) => done(item, Err(panicked)),
                    Ok(None) => {
                        complete = false;
                        ControlFlow::Continue(())
                    }
                };
                if flow.is_break() {
                    return false;
                }
            }
        }
    })
}

/// The next piece of work; nothing once there is no more.
fn take<T>(queue: &Mutex<mpsc::Receiver<T>>) -> Option<T> {
    // Nobody panics while holding it, and a queue is never half changed.
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

/// Sets a flag when it goes away.
struct SetAtEnd<'f>(&'f AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

thread_local! {
    /// Where the last panic of the work under way on this thread was; nothing where panics are not caught.
    static CAUGHT_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Calls `work`; what it says where it panics.
fn caught<R>(work: impl FnOnce() -> R) -> Result<R, Panicked> {
    CAUGHT_AT.set(Some(String::new()));
    // What `work` has touched is its own and goes with it.
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let place = CAUGHT_AT.take().unwrap_or_default();
    result.map_err(|payload| Panicked { message: message_of(payload.as_ref()), place })
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without words").to_owned()
}

/// A panic that becomes a result is not printed besides: a thousand of them would hide everything else.
fn quiet_caught_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let caught = CAUGHT_AT.with_borrow_mut(|place| match place {
                Some(place) => {
                    *place = info.location().map(ToString::to_string).unwrap_or_default();
                    true
                }
                None => false,
            });
            if !caught {
                before(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests;
