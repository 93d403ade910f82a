//! Deliveries per second of the queue and the network alone, at 100 nodes: what is left of a run's time belongs to the nodes.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use marlos::id::Link;
use marlos::time::{Span, Time};
use marlos::units::Ppm;
use marlos::wire::MsgType;
use marlos_sim::network::{Dial, Heard, NetEvent, Network, Parcel, tie};
use marlos_sim::queue::EventQueue;
use marlos_sim::scenario::{LatencyLaw, NetworkSpec};

const NODES: usize = 100;
/// One broadcast every 100 microseconds, as a busy network has it: some hundred are under way at once.
const EVERY: Span = Span::micros(100);
const BROADCASTS: u64 = 10_000;

fn lan(bandwidth_bps: Option<u64>, loss: Ppm) -> NetworkSpec {
    NetworkSpec {
        profile: "lan".into(),
        latency: LatencyLaw::Lognormal { median: Span::millis(2), p99: Span::millis(8) },
        loss,
        bandwidth_bps,
        queue_bytes: 1 << 20,
        multicast: true,
        high_water_mark: 1_000,
        connection_timeout: Span::secs(15),
        ..NetworkSpec::of_profile("lan").expect("a profile")
    }
}

/// What a world has in its queue.
#[derive(Clone, Copy)]
enum Event {
    Net(NetEvent),
    Publish(u64),
    /// To one node each, as many as a broadcast has copies.
    Direct(u64),
}

#[derive(Clone)]
struct World {
    net: Network,
    queue: EventQueue<Event>,
    heard: u64,
}

impl World {
    fn meshed(spec: &NetworkSpec) -> World {
        let net = Network::new(spec, &[None; NODES], 42);
        let mut world = World { net, queue: EventQueue::new(), heard: 0 };
        (0..NODES).for_each(|node| world.net.node_up(Time(0), node));
        for node in 0..NODES {
            (0..NODES).for_each(|to| world.net.dial(Time(0), node, Link(to as u32), Dial::Subscribe, to));
        }
        world.take();
        world.until(Time(10_000_000));
        world
    }

    fn take(&mut self) {
        for scheduled in self.net.effects.scheduled.drain(..) {
            self.queue.push(scheduled.at, scheduled.tie, Event::Net(scheduled.event));
        }
        self.net.effects.released.clear();
    }

    fn publish(&mut self, at: Time, n: u64, to: Option<usize>) -> usize {
        let from = (n * 37 % NODES as u64) as usize;
        let parcel = Parcel { from, to, kind: MsgType::Ping, frame: n as u32, bytes: 300 };
        self.net.publish(at, parcel);
        from
    }

    fn until(&mut self, end: Time) {
        while let Some((at, event)) = self.queue.peek()
            && at <= end
        {
            match *event {
                Event::Net(event) => {
                    let step = self.net.step(at, event);
                    match step.again {
                        Some((at, tie)) => self.queue.advance_top(at, tie),
                        None => drop(self.queue.pop()),
                    }
                    if let Some(Heard::Frame(delivery)) = step.heard {
                        black_box(delivery);
                        self.heard += 1;
                    }
                }
                Event::Publish(n) => {
                    self.queue.pop();
                    let from = self.publish(at, n, None);
                    self.queue.push(at + EVERY, tie(from, from, 0, n), Event::Publish(n + 1));
                }
                Event::Direct(n) => {
                    self.queue.pop();
                    for to in 0..NODES {
                        self.publish(at, n, Some(to));
                    }
                    self.queue.push(at + EVERY, tie(0, 0, 0, n), Event::Direct(n + 1));
                }
            }
            self.take();
        }
    }
}

fn broadcasts(c: &mut Criterion) {
    let mut group = c.benchmark_group("network");
    group.sample_size(10).throughput(Throughput::Elements(BROADCASTS * (NODES as u64 - 1)));
    for (name, bandwidth_bps, loss, first) in [
        ("unlimited", None, Ppm(0), Event::Publish(0)),
        ("0.1% loss", None, Ppm(1_000), Event::Publish(0)),
        ("1 Gbit/s, 0.1% loss", Some(1_000_000_000), Ppm(1_000), Event::Publish(0)),
        ("directed, 1 Gbit/s, 0.1% loss", Some(1_000_000_000), Ppm(1_000), Event::Direct(0)),
    ] {
        let mut world = World::meshed(&lan(bandwidth_bps, loss));
        let mut end = Time(11_000_000);
        world.queue.push(end, 0, first);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                end += EVERY.times(BROADCASTS);
                let before = world.heard;
                world.until(end);
                assert!(world.heard > before, "nothing was delivered");
            });
        });
    }
    group.finish();
}

criterion_group!(benches, broadcasts);
criterion_main!(benches);
