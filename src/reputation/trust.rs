//! What others say, and how far it counts beside what one has seen (protocol.md, section 9). Pure, and in integers.
//!
//! **Hearsay** is the weighted median of the reports about a member; a report weighs what this node itself thinks of its
//! reporter. So reporters with less than half of the weight, whatever they say, move it no further than to what one of the others
//! said. **Trust** is the mean of own score and hearsay: the own score weighs one, and one more for every deed seen; hearsay
//! weighs `HEARSAY`, whoever and however many speak. So four deeds of one's own outweigh the whole network, and who has seen
//! nothing mostly goes by what the others say.

use crate::units::Ppm;

/// Hearsay counts as much as this many deeds of one's own: a guess, few enough that a node soon trusts its own eyes.
const HEARSAY: u64 = 4;

/// The least value at which half of the weight or more lies at or below it; nothing where nobody has weight.
///
/// `reports` are (value, weight), in any order; they are sorted in place.
#[must_use]
pub fn weighted_median(reports: &mut [(Ppm, Ppm)]) -> Option<Ppm> {
    reports.sort_unstable();
    let total: u64 = reports.iter().map(|(_, weight)| u64::from(weight.0)).sum();
    let mut below = 0;
    for (value, weight) in reports.iter().filter(|(_, weight)| weight.0 > 0) {
        below += u64::from(weight.0);
        if 2 * below >= total {
            return Some(*value);
        }
    }
    assert_eq!(total, 0, "all of the weight is half of it");
    None
}

/// Own score and hearsay together. `deeds` is how much of its own the score rests on.
#[must_use]
pub fn combined(own: Ppm, deeds: u32, hearsay: Option<Ppm>) -> Ppm {
    let Some(hearsay) = hearsay else { return own };
    let own_weight = 1 + u64::from(deeds);
    let sum = u64::from(own.0) * own_weight + u64::from(hearsay.0) * HEARSAY;
    Ppm(u32::try_from(sum / (own_weight + HEARSAY)).expect("a mean lies between what it is the mean of"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_median_goes_by_weight_and_not_by_number() {
        // value*weight .., both in thousandths = median
        let table = "
            = -
            700*500 = 700
            700*0 = -
            100*500 900*500 = 100
            900*500 100*500 = 100
            100*499 900*500 = 900
            100*500 500*500 900*500 = 500
            0*500 0*500 500*500 510*500 520*500 = 500
            1000*500 1000*500 500*500 510*500 520*500 = 520
            0*100 0*100 0*100 0*100 800*900 = 800
            0*0 0*0 0*0 700*1 = 700
            500*1 500*1 500*1 900*2 = 500
        ";
        for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let (reports, expected) = row.split_once('=').expect(row);
            let thousandths = |text: &str| Ppm(text.parse::<u32>().expect(row) * 1_000);
            let report =
                |text: &str| text.split_once('*').map(|(value, weight)| (thousandths(value), thousandths(weight)));
            let mut reports: Vec<_> = reports.split_whitespace().map(|text| report(text).expect(row)).collect();
            let expected = (expected.trim() != "-").then(|| thousandths(expected.trim()));
            assert_eq!(weighted_median(&mut reports), expected, "{row}");
        }
    }

    #[test]
    fn own_deeds_outweigh_hearsay_the_more_the_more_of_them_there_are() {
        // own, deeds, hearsay, trust; in thousandths
        for (own, deeds, hearsay, expected) in [
            (500, 0, None, 500),
            (800, 100, None, 800),
            (500, 0, Some(1_000), 900),
            (500, 0, Some(0), 100),
            (500, 3, Some(1_000), 750),
            (500, 15, Some(1_000), 600),
            (900, 95, Some(0), 864),
            (0, u32::MAX, Some(1_000), 0),
            (1_000, u32::MAX, Some(0), 999),
        ] {
            let hearsay = hearsay.map(|value: u32| Ppm(value * 1_000));
            let trust = combined(Ppm(own * 1_000), deeds, hearsay);
            assert_eq!(trust.0 / 1_000, expected, "{own} of {deeds} deeds beside {hearsay:?}");
        }
    }

    proptest! {
        #[test]
        fn who_has_less_than_half_of_the_weight_moves_nobody_out_of_the_others_range(
            honest in prop::collection::vec((0..=1_000_000u32, 1..=1_000_000u32), 1..20),
            liars in prop::collection::vec((0..=1_000_000u32, 1..=1_000_000u32), 0..20),
            own in 0..=1_000_000u32,
            deeds in 0..1_000u32,
        ) {
            let weight_of = |reports: &[(u32, u32)]| reports.iter().map(|(_, weight)| u64::from(*weight)).sum::<u64>();
            prop_assume!(weight_of(&liars) < weight_of(&honest));
            let mut all: Vec<_> = honest.iter().chain(&liars).map(|(value, weight)| (Ppm(*value), Ppm(*weight))).collect();
            let values = || honest.iter().map(|(value, _)| *value);
            let (least, most) = (values().min().expect("one"), values().max().expect("one"));
            let hearsay = weighted_median(&mut all).expect("somebody has weight");
            prop_assert!((least..=most).contains(&hearsay.0), "{hearsay:?} of {least}..={most}");
            let trust = combined(Ppm(own), deeds, Some(hearsay));
            prop_assert!((least.min(own)..=most.max(own)).contains(&trust.0));
        }
    }
}
