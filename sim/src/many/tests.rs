use std::sync::atomic::AtomicU64;

use super::*;

fn threads(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).expect("at least one")
}

/// Items and their results, as they are done.
type Seen = Vec<(u64, Result<u64, String>)>;

/// Everything that is done, as it is done; `late` items take a while.
fn run(threads_: usize, late: u64) -> (Seen, bool) {
    let never = AtomicBool::new(false);
    let mut seen = Vec::new();
    let work = |n: &u64, _: Wanted<'_>| {
        assert!(n % 10 != 7, "no luck with {n}");
        if *n == late {
            (0..2_000_000u64).for_each(|i| {
                std::hint::black_box(i);
            });
        }
        Some(n * n)
    };
    let complete = many(0..100, threads(threads_), &never, work, |n, result| {
        seen.push((n, result.map_err(|panicked| panicked.message)));
        ControlFlow::Continue(())
    });
    (seen, complete)
}

#[test]
fn results_come_in_order_and_are_the_same_for_any_number_of_threads() {
    let one = run(1, 0);
    assert_eq!(one.0.iter().map(|(n, _)| *n).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert!(one.1);
    assert_eq!((&one, &one, &one), (&run(2, 0), &run(3, 50), &run(8, 13)));
}

#[test]
fn a_panic_is_the_result_of_its_own_work_and_says_where_it_was() {
    let never = AtomicBool::new(false);
    let mut results = Vec::new();
    let work = |n: &u32, _: Wanted<'_>| Some(10 / n);
    many([1, 0, 2], threads(2), &never, work, |n, result| {
        results.push((n, result));
        ControlFlow::Continue(())
    });
    assert_eq!((&results[0], &results[2]), (&(1, Ok(10)), &(2, Ok(5))));
    let panicked = results[1].1.as_ref().expect_err("nothing can be divided by zero");
    assert_eq!(panicked.message, "attempt to divide by zero");
    assert!(panicked.place.contains("tests.rs:"), "{}", panicked.place);
}

#[test]
fn once_done_has_enough_nothing_further_is_done() {
    for n in [1, 4] {
        let (never, mut seen) = (AtomicBool::new(false), Vec::new());
        let complete = many(
            0..1_000,
            threads(n),
            &never,
            |n, _| Some(*n),
            |n, _| {
                seen.push(n);
                if n == 41 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            },
        );
        assert_eq!((seen.len(), seen.last(), complete), (42, Some(&41), false));
    }
}

#[test]
fn an_interruption_keeps_what_is_finished_and_begins_nothing_new() {
    for n in [1, 3] {
        let (interrupted, begun) = (AtomicBool::new(false), AtomicU64::new(0));
        let mut seen = Vec::new();
        let work = |item: &u64, wanted: Wanted<'_>| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *item == 20 {
                interrupted.store(true, Ordering::Relaxed);
            }
            (*item < 20 || wanted.still()).then_some(*item)
        };
        let complete = many(0.., threads(n), &interrupted, work, |item, result| {
            seen.push((item, result.is_ok()));
            ControlFlow::Continue(())
        });
        assert!(!complete);
        assert_eq!(seen[..20], (0..20).map(|item| (item, true)).collect::<Vec<_>>());
        assert!(begun.into_inner() <= 20 + AHEAD * n as u64, "no more than was taken already");
    }
}

#[test]
fn work_is_taken_only_a_little_ahead_of_the_slowest() {
    let (never, taken) = (AtomicBool::new(false), AtomicU64::new(0));
    let items = (0..10_000u64).inspect(|_| {
        taken.fetch_add(1, Ordering::Relaxed);
    });
    let mut done = 0;
    many(
        items,
        threads(2),
        &never,
        |n, _| Some(*n),
        |_, _| {
            done += 1;
            assert!(taken.load(Ordering::Relaxed) <= done + 2 * AHEAD);
            ControlFlow::Continue(())
        },
    );
    assert_eq!(done, 10_000);
}

#[test]
fn a_panic_of_whoever_takes_the_results_ends_the_threads_too() {
    let never = AtomicBool::new(false);
    let outcome = panic::catch_unwind(|| {
        let work = |n: &u64, wanted: Wanted<'_>| {
            while *n > 0 && wanted.still() {
                thread::yield_now();
            }
            Some(())
        };
        many(0..4, threads(2), &never, work, |_, _| panic!("the disk is full"))
    });
    assert!(outcome.is_err());
}
