//! What strangers have done: who sends junk is cut off, and its address stays out, each time for longer.
//!
//! Junk is counted for the address from which it comes, or for the link where we dialled, and never for the connection: each
//! new one would be forgiven what the last one did. Several nodes may stand behind one address, on one machine all of them. So
//! nobody is cut off but the sender of a frame that is junk, and it is only new connections that are kept out; one in
//! sixty-four passes all the same, so that a newcomer behind the address of a flooder gets in by trying again, as it does.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Junk frames that an address may have sent. An honest one sends none; a few are a peer of another version.
pub const BUDGET: u32 = 200;
/// How long until one of them is forgiven.
const FORGIVEN_AFTER: Duration = Duration::from_secs(1);
/// How long an address stays out the first time. Each further time it is twice as long.
const SHUT_LEAST: Duration = Duration::from_secs(1);
/// The longest time: a guess, as long as an operator waits who has put the fault right.
const SHUT_MOST: Duration = Duration::from_secs(60);
/// After so long without a further cut, the next one counts as the first.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);
/// Of the connections from an address that stays out, one in this many is let in. At 10,000 attempts a second that are 156
/// handshakes, and a junk frame each.
const LET_IN: u32 = 64;
/// Addresses that are remembered at once, about 100 B each.
const MAX_ADDRESSES: usize = 4_096;
/// A frame costs as much as a small one for each so many bytes of it: it is hashed or parsed before it is refused.
const BYTES_PER_STRIKE: usize = 4_096;

/// How many junk frames one of this size counts for.
#[must_use]
pub fn strikes(bytes: usize) -> u32 {
    u32::try_from(1 + bytes / BYTES_PER_STRIKE).unwrap_or(u32::MAX)
}

/// The record of one address, or of one link that we dialled.
#[derive(Debug)]
pub struct Standing(Mutex<Record>);

#[derive(Clone, Copy, Debug)]
struct Record {
    /// Junk frames that are not forgiven yet, at most the budget.
    debt: u32,
    /// Up to when it was forgiven.
    forgiven: Instant,
    shut_until: Instant,
    /// How long it was shut out last.
    pause: Duration,
    last_cut: Option<Instant>,
    /// Connections that came while it was shut out.
    came: u32,
}

/// What follows from a junk frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sentence {
    /// Nothing yet.
    Noted,
    /// Its sender is cut off; where a time stands, the address stays out so long from now on.
    CutOff(Option<Duration>),
}

impl Standing {
    /// One that did nothing yet.
    #[must_use]
    pub fn new(now: Instant) -> Standing {
        let record = Record { debt: 0, forgiven: now, shut_until: now, pause: Duration::ZERO, last_cut: None, came: 0 };
        Standing(Mutex::new(record))
    }

    /// It sent this many junk frames.
    pub fn charge(&self, frames: u32, now: Instant) -> Sentence {
        let mut record = self.0.lock().expect("no panic while it is held");
        record.forgive(now);
        record.debt = record.debt.saturating_add(frames).min(BUDGET);
        if record.debt < BUDGET {
            return Sentence::Noted;
        }
        if now < record.shut_until {
            return Sentence::CutOff(None);
        }
        let again = record.last_cut.is_some_and(|cut| now.duration_since(cut) < FORGOTTEN_AFTER);
        record.pause = if again { (record.pause * 2).min(SHUT_MOST) } else { SHUT_LEAST };
        record.shut_until = now + record.pause;
        record.last_cut = Some(now);
        record.came = 0;
        Sentence::CutOff(Some(record.pause))
    }

    /// Whether a new connection of it is served.
    pub fn lets_in(&self, now: Instant) -> bool {
        let mut record = self.0.lock().expect("no panic while it is held");
        if now >= record.shut_until {
            return true;
        }
        record.came = record.came.wrapping_add(1);
        record.came.is_multiple_of(LET_IN)
    }

    /// How long it has to stay out.
    #[must_use]
    pub fn shut_for(&self, now: Instant) -> Duration {
        self.0.lock().expect("no panic while it is held").shut_until.saturating_duration_since(now)
    }

    /// Whether nothing is held against it.
    #[must_use]
    pub fn is_clean(&self, now: Instant) -> bool {
        let mut record = self.0.lock().expect("no panic while it is held");
        record.forgive(now);
        record.debt == 0 && record.last_cut.is_none_or(|cut| now.duration_since(cut) >= FORGOTTEN_AFTER)
    }
}

impl Record {
    fn forgive(&mut self, now: Instant) {
        let due = now.saturating_duration_since(self.forgiven).as_micros() / FORGIVEN_AFTER.as_micros();
        let due = u32::try_from(due).unwrap_or(u32::MAX);
        self.debt = self.debt.saturating_sub(due);
        self.forgiven += FORGIVEN_AFTER.saturating_mul(due);
    }
}

/// The records of all addresses that came to one port.
#[derive(Debug, Default)]
pub struct Standings {
    by_site: Mutex<BTreeMap<IpAddr, Arc<Standing>>>,
}

impl Standings {
    /// The record of an address.
    #[must_use]
    pub fn of(&self, ip: IpAddr, now: Instant) -> Arc<Standing> {
        let mut by_site = self.by_site.lock().expect("no panic while it is held");
        let site = site(ip);
        if let Some(standing) = by_site.get(&site) {
            return Arc::clone(standing);
        }
        if by_site.len() >= MAX_ADDRESSES {
            by_site.retain(|_, standing| !standing.is_clean(now));
        }
        if by_site.len() >= MAX_ADDRESSES {
            // So many that did wrong: whoever comes now is judged by itself, and forgotten with its connection.
            return Arc::new(Standing::new(now));
        }
        Arc::clone(by_site.entry(site).or_insert_with(|| Arc::new(Standing::new(now))))
    }
}

/// What one operator has of addresses: one of IPv4, a /64 of IPv6.
fn site(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_out_for_longer_each_time_and_is_forgiven_in_the_end() {
        let mut now = Instant::now();
        let standing = Standing::new(now);
        for _ in 1..BUDGET {
            assert_eq!(standing.charge(1, now), Sentence::Noted);
        }
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            // What time has forgiven is used up again.
            while standing.charge(1, now) == Sentence::Noted {}
            assert_eq!(standing.shut_for(now), Duration::from_secs(seconds));
            assert_eq!(standing.charge(1, now), Sentence::CutOff(None), "while it is out it is not sentenced again");
            now += Duration::from_secs(seconds);
            assert!(standing.lets_in(now));
        }
        now += FORGOTTEN_AFTER;
        assert_eq!(standing.charge(1, now), Sentence::Noted);
        assert_eq!(standing.charge(BUDGET, now), Sentence::CutOff(Some(SHUT_LEAST)));
    }

    #[test]
    fn one_connection_in_sixty_four_passes_while_an_address_is_out() {
        let now = Instant::now();
        let standing = Standing::new(now);
        assert!(standing.lets_in(now));
        standing.charge(BUDGET, now);
        assert_eq!((0..640).filter(|_| standing.lets_in(now)).count(), 10);
    }

    #[test]
    fn a_second_forgives_one_frame() {
        let now = Instant::now();
        let standing = Standing::new(now);
        for second in 0..1_000 {
            let now = now + Duration::from_secs(second);
            assert_eq!(standing.charge(1, now), Sentence::Noted, "an address with a frame of junk a second");
        }
    }

    #[test]
    fn a_large_frame_counts_for_many() {
        assert_eq!([strikes(0), strikes(4_095), strikes(4_096), strikes(10 << 20)], [1, 1, 2, 2_561]);
    }

    #[test]
    fn addresses_are_remembered_within_a_limit_and_a_site_has_one_record() {
        let (now, standings) = (Instant::now(), Standings::default());
        let v6 = |n: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) | n));
        assert!(Arc::ptr_eq(&standings.of(v6(1), now), &standings.of(v6(2), now)), "one /64");
        assert!(!Arc::ptr_eq(&standings.of(v6(1 << 64), now), &standings.of(v6(2), now)));
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        assert!(Arc::ptr_eq(&standings.of(mapped, now), &standings.of([10, 0, 0, 1].into(), now)));
        for n in 0..10_000u32 {
            standings.of(IpAddr::from(n.to_be_bytes()), now).charge(1, now);
        }
        assert_eq!(standings.by_site.lock().unwrap().len(), MAX_ADDRESSES);
        let later = now + Duration::from_secs(10);
        let _ = standings.of([99, 0, 0, 1].into(), later);
        assert_eq!(standings.by_site.lock().unwrap().len(), 1, "what was forgiven needs no record");
    }
}
