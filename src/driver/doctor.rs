//! `marlos-node doctor`: what usually is wrong where nodes do not find each other, or jobs do not run.
//!
//! Every check is a sentence about what was found, and, where that is not well, one about what to do. A node that runs is
//! asked; one that does not is replaced: its ports are bound, its state is read.

pub mod machine;
pub mod network;
pub mod running;

use serde_json::{Value, json};

use super::cli::{Failure, Which};
use super::config::Settings;
use super::files;
use crate::wire::message::MAX_ROTATIONS;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It cannot be told now.
    Unknown,
    /// The node runs, but worse than it could.
    Poor,
    /// The node does not start, or nobody hears it.
    Bad,
}

impl Verdict {
    /// As it is printed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Good => "ok",
            Verdict::Unknown => "?",
            Verdict::Poor => "warning",
            Verdict::Bad => "FAILED",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was checked.
    pub check: String,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub advice: Option<String>,
}

/// It is as it should be.
fn good(check: impl Into<String>, found: impl Into<String>) -> Finding {
    Finding { check: check.into(), verdict: Verdict::Good, found: found.into(), advice: None }
}

/// It is not, and this is what to do.
fn not_good(
    verdict: Verdict,
    check: impl Into<String>,
    found: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    Finding { check: check.into(), verdict, found: found.into(), advice: Some(advice.into()) }
}

/// Checks everything. Where something failed, that is the result of the command.
///
/// # Errors
/// The configuration cannot be used, or a check failed.
pub async fn examine(which: &Which, json: bool, say: impl Fn(&str)) -> Result<(), Failure> {
    let settings = which.document()?.resolve()?;
    let findings = findings(which, &settings).await;
    say(&if json { as_json(&findings).to_string() } else { as_table(&findings) });
    let bad: Vec<&str> = findings.iter().filter(|f| f.verdict == Verdict::Bad).map(|f| f.check.as_str()).collect();
    match bad.len() {
        0 => Ok(()),
        _ => Err(Failure { code: 1, message: format!("failed: {}", bad.join(", ")) }),
    }
}

async fn findings(which: &Which, settings: &Settings) -> Vec<Finding> {
    let status = which.status().await;
    let mut findings = vec![configuration(settings), key(settings)];
    findings.push(machine::state(settings, status.is_some()));
    findings.extend(machine::limits(settings));
    findings.push(machine::jobs(settings).await);
    findings.extend(network::ports(settings, status.is_some()).await);
    findings.push(network::multicast(settings).await);
    findings.extend(network::bootstrap(settings).await);
    findings.extend(running::findings(status.as_ref(), settings));
    findings
}

fn configuration(settings: &Settings) -> Finding {
    match settings.notices.first() {
        None => good("configuration", format!("peers are told {}", settings.node.pub_endpoint)),
        Some(notice) => not_good(Verdict::Poor, "configuration", notice.clone(), "see docs/operator.md, \"Ports\""),
    }
}

fn key(settings: &Settings) -> Finding {
    match files::read_keys(&settings.data_dir) {
        Ok(Some(keys)) => {
            let found = format!("node {}, {} of {MAX_ROTATIONS} rotations", keys.id(), keys.chain().len());
            if !keys.hold_in(&settings.node.network_id) {
                let advice = "restore node.network_id, or begin with a new data directory";
                return not_good(Verdict::Bad, "key", format!("{found}, in another network"), advice);
            }
            match files::key_age(&settings.data_dir) {
                Some(age) if age > files::KEY_AGE_ADVISED => {
                    let found = format!("{found}; this key is {} days old", age.as_secs() / 86_400);
                    not_good(Verdict::Poor, "key", found, "replace it: marlos-node key rotate")
                }
                Some(_) | None => good("key", found),
            }
        }
        Ok(None) => good("key", format!("none yet below {}; the first start makes it", settings.data_dir.display())),
        Err(error) => not_good(Verdict::Bad, "key", error, "one readable key of mode 0600 belongs into keys/"),
    }
}

fn as_json(findings: &[Finding]) -> Value {
    let rows = findings.iter().map(|finding| {
        let Finding { check, verdict, found, advice } = finding;
        json!({ "check": check, "verdict": verdict.name(), "found": found, "advice": advice })
    });
    Value::Array(rows.collect())
}

fn as_table(findings: &[Finding]) -> String {
    let width = findings.iter().map(|f| f.check.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for Finding { check, verdict, found, advice } in findings {
        text.push_str(&format!("{:8} {check:width$}  {found}\n", verdict.name()));
        if let Some(advice) = advice {
            text.push_str(&format!("{:8} {:width$}  -> {advice}\n", "", ""));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_well_has_its_advice_below_it_in_both_forms() {
        let findings = [good("key", "node 1"), not_good(Verdict::Bad, "port 5555", "taken", "take another")];
        let lines: Vec<String> = as_table(&findings).lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            ["ok       key        node 1", "FAILED   port 5555  taken", "                    -> take another"]
        );
        let json = as_json(&findings);
        assert_eq!((&json[0]["verdict"], &json[0]["advice"]), (&json!("ok"), &Value::Null));
        assert_eq!((&json[1]["verdict"], &json[1]["advice"]), (&json!("FAILED"), &json!("take another")));
    }
}
