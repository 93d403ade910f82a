use super::*;

const DAY: Span = Span::secs(86_400);
const T0: WallTime = WallTime(1_800_000_000_000_000);

fn deed(letter: char) -> Deed {
    match letter {
        '+' => Deed::OnTime,
        'l' => Deed::Late,
        't' => Deed::Timeout,
        'f' => Deed::Failure,
        'i' => Deed::Invalid,
        'm' => Deed::Misbehaviour,
        other => panic!("`{other}` is no deed"),
    }
}

/// Deeds one after the other: lapses a minute apart, so that each counts, the others at once, so that idleness does not.
fn after(deeds: &str) -> Experience {
    let (mut seen, mut now) = (Experience::new(T0), T0);
    for letter in deeds.chars() {
        seen = seen.after(deed(letter), now);
        now = if letter == 't' { now + Span::secs(60) } else { now };
    }
    seen
}

#[test]
fn scores_move_by_the_documents_table_and_stay_between_nothing_and_one() {
    // deeds, score, good, bad, quarantined; the minutes between lapses cost some parts per million
    let table = "
        .                               500  0  0 no
        +                               520  1  0 no
        l                               510  1  0 no
        t                               470  0  1 no
        f                               450  0  1 no
        i                               400  0  1 no
        m                               000  0  1 yes
        +++++++++++++++++++++++++++++   1000 29 0 no
        +++++++++++++++++++++++++++++m  500  29 1 no
        iii                             200  0  3 no
        iiii                            100  0  4 yes
        iiiiii                          000  0  6 yes
        tttttttttttttttttttt            199  0 20 no
        ffffffffffff                    200  0 12 no
        fffffffffffff+                  220  1 13 no
        iiif                            200  0  4 no
        ffffffi                         100  0  7 yes
        iiiit                           100  0  5 yes
    ";
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let [deeds, score, good, bad, quarantined] = row.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        let seen = after(deeds.trim_matches('.'));
        let found = (seen.score.0 / 1_000, seen.good, seen.bad, seen.quarantined());
        let number = |text: &str| text.parse::<u32>().expect("a number");
        assert_eq!(found, (number(score), number(good), number(bad), quarantined == "yes"), "{row}");
    }
}

#[test]
fn ten_good_jobs_in_a_row_end_a_quarantine_at_three_tenths_at_least() {
    // deeds after `iiii`, score, quarantined
    for (deeds, score, quarantined) in [
        ("+++++++++", 280, true),
        ("++++++++++", 300, false),
        ("llllllllll", 300, false),
        ("+++++++++f+", 250, true),
        ("+++++++++f++++++++++", 430, false),
        ("+++++i++++++++++", 300, false),
        ("++++++++++i", 200, false),
        ("++++++++++ii", 100, true),
    ] {
        let seen = after(&format!("iiii{deeds}"));
        assert_eq!((seen.score.0 / 1_000, seen.quarantined()), (score, quarantined), "{deeds}");
    }
}

#[test]
fn idleness_costs_a_hundredth_a_day_down_to_a_tenth_and_quarantines_nobody() {
    // score in thousandths, days, score after
    for (before, days, expected) in
        [(500, 0, 500), (500, 1, 490), (500, 30, 200), (500, 31, 190), (500, 40, 100), (500, 9_999, 100), (90, 50, 90)]
    {
        let seen = Experience { score: Ppm(before * 1_000), ..Experience::new(T0) };
        let later = seen.settled(T0 + DAY.times(days));
        assert_eq!((later.score.0, later.quarantined()), (expected * 1_000, false), "{before} after {days} days");
    }
    let worn = Experience::new(T0).settled(T0 + DAY.times(35));
    assert_eq!(worn.score.0, 150_000);
    let worn = worn.after(Deed::Failure, T0 + DAY.times(35));
    assert_eq!((worn.score.0, worn.quarantined()), (150_000, false), "misfortune costs nothing more down there");
    assert!(worn.after(Deed::Invalid, T0 + DAY.times(35)).quarantined());
}

#[test]
fn idleness_charged_in_many_steps_is_idleness_charged_in_one() {
    let at_once = Experience::new(T0).settled(T0 + DAY.times(7));
    let mut by_minutes = Experience::new(T0);
    for minute in 0..=7 * 24 * 60 {
        by_minutes = by_minutes.settled(T0 + Span::secs(60 * minute));
    }
    assert_eq!(by_minutes, at_once);
    let back = at_once.settled(T0);
    assert_eq!(back.score, at_once.score, "a clock that went back costs nothing");
    assert_eq!(back.settled(T0 + DAY).score.0, at_once.score.0 - 10_000, "and what comes after it counts again");
}

#[test]
fn the_claims_of_one_crash_lapse_once() {
    let mut seen = Experience::new(T0);
    for claim in 0..16 {
        seen = seen.after(Deed::Timeout, T0 + Span::millis(claim * 100));
    }
    assert_eq!((seen.score.0, seen.bad), (470_000, 1));
    assert_eq!(seen.after(Deed::Timeout, T0 + Span::secs(59)), seen);
    assert_eq!(seen.after(Deed::Timeout, T0 + Span::secs(61)).bad, 2);
    let failed = Experience::new(T0).after(Deed::Failure, T0);
    assert_eq!(
        failed.after(Deed::Timeout, T0 + Span::secs(1)),
        failed,
        "a failed job's claim lapses: that is one misfortune"
    );
    assert_eq!(failed.after(Deed::Failure, T0 + Span::secs(1)).bad, 2, "two jobs that fail are two");
}
