//! How much worse a KPI may become before that counts.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::figure;
use crate::scenario::did_you_mean;

/// What is held for nothing unless the command line says otherwise: a hundredth. A guess: differences that nobody would notice are
/// found for certain where the network is the same, and a byte more in every message is no regression.
const FRACTION: f64 = 0.01;

/// The largest that can be asked for: ten times as much.
const MOST: f64 = 10.0;

/// One `--tolerance`: `consensus=2%`, `jobs_failed=1`, or `2%` for everything that is no count.
#[derive(Clone, Debug, PartialEq)]
pub struct Tolerance {
    /// Nothing means everything that is measured in fractions.
    kpi: Option<String>,
    /// A fraction; of a count, as many.
    value: f64,
}

/// All of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Tolerances {
    fraction: f64,
    of: BTreeMap<String, f64>,
}

impl FromStr for Tolerance {
    type Err = String;

    fn from_str(text: &str) -> Result<Tolerance, String> {
        let (kpi, value) = match text.split_once('=') {
            Some((kpi, value)) => (Some(kpi.trim()), value.trim()),
            None => (None, text.trim()),
        };
        let is_count = kpi.is_some_and(figure::is_count);
        if let Some(name) = kpi
            && !figure::names().any(|known| known == name)
        {
            let all = || figure::names().collect::<Vec<_>>().join(", ");
            let hint = did_you_mean(name, figure::names()).unwrap_or_else(|| format!("there are {}", all()));
            return Err(format!("there is no KPI `{name}`: {hint}"));
        }
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
        let (value, how) = if is_count {
            (number(value), "a number, such as 0.5: so many more in a run, on average")
        } else {
            let fraction = value.strip_suffix('%').and_then(number).map(|percent| percent / 100.0);
            (fraction.filter(|fraction| *fraction <= MOST), "a percentage up to 1000%, such as 2%")
        };
        let what = kpi.unwrap_or("a tolerance");
        let value = value.ok_or_else(|| format!("`{text}`: {what} takes {how}"))?;
        Ok(Tolerance { kpi: kpi.map(ToOwned::to_owned), value })
    }
}

impl Tolerances {
    /// Of the command line; of two for the same KPI the later.
    #[must_use]
    pub fn of(given: &[Tolerance]) -> Tolerances {
        let mut tolerances = Tolerances { fraction: FRACTION, of: BTreeMap::new() };
        for Tolerance { kpi, value } in given {
            match kpi {
                Some(kpi) => drop(tolerances.of.insert(kpi.clone(), *value)),
                None => tolerances.fraction = *value,
            }
        }
        tolerances
    }

    /// Of this KPI: a fraction, or a count.
    #[must_use]
    pub fn get(&self, kpi: &str) -> f64 {
        let usual = if figure::is_count(kpi) { 0.0 } else { self.fraction };
        self.of.get(kpi).copied().unwrap_or(usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tolerance_is_a_percentage_and_of_a_count_a_number() {
        let given: Vec<Tolerance> =
            ["2%", "consensus=5%", "jobs_lost=1.5"].iter().map(|text| text.parse().expect("valid")).collect();
        let tolerances = Tolerances::of(&given);
        let table = [("consensus", 0.05), ("heal", 0.02), ("jobs_lost", 1.5), ("false_deaths", 0.0)];
        for (kpi, tolerance) in table {
            assert!((tolerances.get(kpi) - tolerance).abs() < 1e-12, "{kpi}");
        }
        assert!((Tolerances::of(&[]).get("consensus") - 0.01).abs() < 1e-12);
    }

    #[test]
    fn a_wrong_tolerance_says_what_is_allowed() {
        for (text, said) in [
            ("consensu=2%", "did you mean `consensus`?"),
            ("consensus=2", "consensus takes a percentage"),
            ("jobs_lost=2%", "jobs_lost takes a number"),
            ("consensus=-1%", "consensus takes a percentage"),
            ("2000%", "up to 1000%"),
            ("", "takes a percentage"),
        ] {
            let why = text.parse::<Tolerance>().unwrap_err();
            assert!(why.contains(said), "{text}: {why}");
        }
    }
}
