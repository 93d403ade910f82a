//! Explores worlds that are too large for every test run: `cargo run --release -p marlos-model --example explore`.
#![allow(clippy::print_stdout, reason = "it reports what it explored")]

use marlos::config::Config;
use marlos_model::setting::{Fault, World};
use marlos_model::system::Claims;
use stateright::{Checker, Model};

fn main() {
    let three = World {
        nodes: 3,
        bidders: vec![1, 2],
        coordinator: 1,
        fault: Fault::Nothing,
        last_round: 0,
        suspected: Some(1),
        rests: false,
        finishes: false,
        takes_over: true,
        config: Config::default(),
    };
    let four = World { nodes: 4, ..three.clone() };
    let liar = World { coordinator: 3, fault: Fault::Liar(3), suspected: None, takes_over: false, ..four.clone() };
    let worlds = [
        ("three, 0 crashes, 1 is suspected", World { fault: Fault::Crash(0), ..three.clone() }),
        ("three, 1 crashes and is suspected", World { fault: Fault::Crash(1), ..three.clone() }),
        ("three, 2 crashes, 1 is suspected", World { fault: Fault::Crash(2), ..three.clone() }),
        ("three, 1 is suspected, leases run out, results are paid", World { rests: true, finishes: true, ..three }),
        ("four, 1 crashes and is suspected", World { fault: Fault::Crash(1), ..four }),
        ("four, 3 lies", liar.clone()),
        ("four, 3 lies, 1 is suspected", World { suspected: Some(1), takes_over: true, ..liar.clone() }),
        ("four, 3 lies, two rounds", World { last_round: 1, ..liar }),
    ];
    for (name, world) in worlds {
        let checker = Claims::new(world).checker().threads(1).spawn_bfs().join();
        checker.assert_properties();
        println!("{name}: {} states, {} deep", checker.unique_state_count(), checker.max_depth());
    }
}
