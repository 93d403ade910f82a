//! Hand-made histories for tests: a truth that follows the observations, and a scenario to run them in.

use marlos::Config;
use marlos::identity::Keys;
use marlos::time::{Span, Time};
use marlos::units::{Ppm, Tokens};
use marlos::wire::message::Consistency;

use crate::observe::{Observation, Truth};
use crate::scenario::{
    Arrival, CpuSpec, Crypto, JobTemplate, LatencyLaw, NetworkSpec, NodeNo, NodeSpec, Scenario, WorkloadSpec,
};

/// A truth that is told what happens, as the world's is.
pub(crate) struct History {
    pub truth: Truth,
    pub keys: Vec<Keys>,
}

impl History {
    pub fn new(scenario: &Scenario) -> History {
        let nodes = scenario.nodes.len();
        let keys: Vec<Keys> =
            (0..nodes).map(|node| Keys::from_secret(&[u8::try_from(node + 1).unwrap(); 32])).collect();
        let truth = Truth {
            now: Time(0),
            event: 0,
            started: vec![false; nodes],
            up: vec![false; nodes],
            paused: vec![false; nodes],
            byzantine: vec![false; nodes],
            reaches: vec![vec![true; nodes]; nodes],
            public_keys: keys.iter().map(Keys::public).collect(),
            old_keys: vec![Vec::new(); nodes],
            clocks_ahead_us: (0, 0),
            ids: keys.iter().map(Keys::id).collect(),
        };
        History { truth, keys }
    }

    /// Lets something happen, and shows it with the truth that follows from it.
    pub fn at<R>(&mut self, ms: u64, o: Observation<'_>, see: impl FnOnce(&Truth, &Observation<'_>) -> R) -> R {
        let truth = &mut self.truth;
        assert!(truth.now <= Time(ms * 1_000), "a history goes on");
        truth.now = Time(ms * 1_000);
        truth.event += 1;
        match o {
            Observation::NodeStarted { node, .. } => (truth.started[node], truth.up[node]) = (true, true),
            Observation::NodeStopped { node, .. } => (truth.up[node], truth.paused[node]) = (false, false),
            Observation::NodePaused { node, paused } => truth.paused[node] = paused,
            _ => {}
        }
        see(truth, &o)
    }

    /// Cuts or heals both directions between two sets. The observation of it is the caller's.
    pub fn reach(&mut self, a: &[NodeNo], b: &[NodeNo], reaches: bool) {
        for (a, b) in a.iter().flat_map(|a| b.iter().map(move |b| (*a, *b))) {
            self.truth.reaches[a][b] = reaches;
            self.truth.reaches[b][a] = reaches;
        }
    }
}

/// Nodes of the default configuration, no warm-up, no faults, no jobs.
pub(crate) fn scenario(nodes: usize, duration: &str) -> Scenario {
    let node = |n| NodeSpec {
        name: format!("n{n}"),
        group: None,
        region: None,
        config: Config::default(),
        cpu: CpuSpec::default(),
    };
    Scenario {
        name: "by hand".into(),
        shows: String::new(),
        seed: 1,
        crypto: Crypto::Ed25519,
        duration: Time(Span::parse(duration).unwrap().as_micros()),
        warmup: Time(0),
        settle: Span::secs(30),
        fixed_membership: false,
        nodes: (0..nodes).map(node).collect(),
        network: NetworkSpec {
            profile: "ideal".into(),
            latency: LatencyLaw::Constant(Span::millis(1)),
            loss: Ppm(0),
            bandwidth_bps: None,
            queue_bytes: 1 << 20,
            multicast: true,
            high_water_mark: 1_000,
            connection_timeout: Span::secs(10),
            ..NetworkSpec::of_profile("ideal").expect("a profile")
        },
        workload: None,
        faults: Vec::new(),
        kpi: std::collections::BTreeMap::new(),
        expect: Vec::new(),
    }
}

/// The same with jobs of a deadline of 20 s.
pub(crate) fn scenario_with_jobs(nodes: usize, duration: &str, jobs_per_second: u64) -> Scenario {
    let scenario = scenario(nodes, duration);
    let job = JobTemplate {
        job_type: "simulated".into(),
        duration: LatencyLaw::Constant(Span::millis(100)),
        payment: Tokens::whole(10),
        priority: Ppm(500_000),
        deadline: Span::secs(20),
        requirements: Vec::new(),
        output_bytes: 0,
        compressible: true,
        failing: Ppm(0),
        max_attempts: 1,
        private: false,
        consistency: Consistency::Quorum,
    };
    let workload = WorkloadSpec {
        jobs_per_1000_s: jobs_per_second * 1_000,
        rates: Vec::new(),
        arrival: Arrival::Uniform,
        from: vec![0],
        start: Time(0),
        end: scenario.duration,
        job,
        mix: Vec::new(),
        trace: None,
    };
    Scenario { workload: Some(workload), ..scenario }
}
