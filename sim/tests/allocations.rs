//! A heartbeat that arrives costs no memory: once a world is warm, deliveries do not allocate.

#[path = "support/worlds.rs"]
mod worlds;

use marlos_sim::world::{Unwatched, World};
use worlds::{at, scenario};

/// A hundred nodes that only beat.
const HEARTBEATS: &str = r#"
name = "heartbeats"
duration = "60s"
warmup = "2s"
settle = "5s"
[nodes]
count = 100
# Announces now and then are no heartbeats.
config = { max_peers = 128, discovery_interval = "1h" }
[network]
profile = "lan"
"#;

/// Allocations for each delivery: the trail, the KPIs' samples and the queue still grow now and then, by doubling.
const MOST: f64 = 0.05;

#[test]
fn a_delivered_heartbeat_allocates_nothing_once_the_world_is_warm() {
    let (warm, end) = if cfg!(debug_assertions) { (14, 18) } else { (20, 40) };
    let mut world = World::new(scenario(HEARTBEATS, 1));
    world.run_until(at(warm), &mut Unwatched);
    let before = world.deliveries();
    let counted = allocation_counter::measure(|| {
        world.run_until(at(end), &mut Unwatched);
    });
    let deliveries = world.deliveries() - before;
    assert!(deliveries > 10_000, "{deliveries}");
    let each = counted.count_total as f64 / deliveries as f64;
    assert!(each < MOST, "{} allocations in {deliveries} deliveries: {each:.3} each", counted.count_total);
}
