//! What fuzzing has found, by the name of what it was. The inputs are in the corpora, as `find-*`.

/// A restart after a job's expiry, which its submitter outwaits: the node, both submitter and executor of it, ran it once more,
/// though the certificate was forgotten with the job.
#[test]
fn a_job_is_not_run_again_after_its_certificate_was_forgotten() {
    marlos_fuzzing::node::run(include_bytes!("../../fuzz/corpus/node/find-run-again-after-expiry"));
}
