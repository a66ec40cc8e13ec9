//! Who may connect: how many in all, how many from one address, how fast.
//!
//! Asked once per connection, right after it is accepted, and again when a trusted proxy has said whose it is. Refusing
//! politely costs a parsed request, so that has a rate of its own: an address that floods gets as many refusals a second
//! as it may make connections, and is reset unread beyond that. The table of addresses is bounded: an address is in it
//! while it has a connection or its buckets are not full again, and beyond [`MAX_ADDRESSES`] strangers are reset until
//! it shrinks.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};
use tokio::sync::Notify;

use super::config::Limits;
use super::forwarded::Origin;

/// Addresses remembered: 2¹⁸ × about 48 bytes = 12 MB.
const MAX_ADDRESSES: usize = 1 << 18;
/// Connections that may be open at once only to be told that they are refused.
pub(super) const MAX_TURNED: usize = 64;
/// Between two sweeps of a full table.
const SWEEP_MS: u64 = 1000;

/// The gateway's door book.
pub(super) struct Admission {
    max_open: usize,
    per_address: u32,
    per_second: u32,
    burst: u32,
    open: AtomicUsize,
    turned: AtomicUsize,
    addresses: DashMap<Address, Entries>,
    swept_at_ms: AtomicU64,
    emptied: Notify,
}

/// An address as limits count it: IPv4 alone, IPv6 by its /64, since one customer has that many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Address(u64, Family);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Family {
    V4,
    V6,
}

struct Entries {
    open: u32,
    /// Thousandths of a connection that may still be made.
    credit: u32,
    /// Thousandths of a refusal that will still be said.
    refusals: u32,
    credited_at_ms: u64,
}

/// Why a connection is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The gateway is full.
    Full,
    /// Too many connections are open from this address.
    AddressFull,
    /// Too many connections in too short a time from this address.
    TooFast,
}

impl Refused {
    /// The `reason` label of `tickcast_connections_refused_total`.
    #[must_use]
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Refused::Full => "full",
            Refused::AddressFull => "address_full",
            Refused::TooFast => "address_rate",
        }
    }

    /// The same for a connection that is reset unread.
    #[must_use]
    pub(super) const fn reason_unsaid(self) -> &'static str {
        match self {
            Refused::Full => "full_flood",
            Refused::AddressFull | Refused::TooFast => "address_flood",
        }
    }
}

/// What becomes of a connection.
pub(super) enum Verdict {
    /// It is served.
    Admitted(Permit),
    /// It is told why not.
    Refused(Refused, Turned),
    /// It is reset.
    Reset(Refused),
}

/// One admitted connection; dropping it makes room.
pub(super) struct Permit {
    admission: Arc<Admission>,
    /// Where it counts; `None` while only a proxy is known.
    address: Option<Address>,
}

/// One connection that is being refused; dropping it makes room for the next.
pub(super) struct Turned(Arc<Admission>);

impl Admission {
    /// An empty book. `max_open` is the configured maximum or what the descriptors allow.
    #[must_use]
    pub(super) fn new(limits: &Limits, max_open: usize) -> Admission {
        Admission {
            max_open,
            per_address: limits.connections_per_ip.get(),
            per_second: limits.connects_per_ip_per_second.get(),
            burst: limits.connect_burst.get(),
            open: AtomicUsize::new(0),
            turned: AtomicUsize::new(0),
            addresses: DashMap::new(),
            swept_at_ms: AtomicU64::new(0),
            emptied: Notify::new(),
        }
    }

    /// Decides about a new connection at `now_ms` (monotonic). One of a trusted proxy counts by no address until it is
    /// known whose it is ([`Permit::settle`]).
    pub(super) fn knock(self: &Arc<Self>, peer: Origin, now_ms: u64) -> Verdict {
        let Some(mut permit) = self.enter() else { return self.refuse(Refused::Full, peer, now_ms) };
        match permit.settle(peer, now_ms) {
            Ok(()) => Verdict::Admitted(permit),
            Err(refused) => {
                drop(permit);
                self.refuse(refused, peer, now_ms)
            }
        }
    }

    /// Whether a refusal is said or left unsaid.
    pub(super) fn refuse(self: &Arc<Self>, refused: Refused, peer: Origin, now_ms: u64) -> Verdict {
        if self.turned.fetch_add(1, Ordering::AcqRel) >= MAX_TURNED {
            self.turned.fetch_sub(1, Ordering::AcqRel);
            return Verdict::Reset(refused);
        }
        let turned = Turned(Arc::clone(self));
        if let Origin::Client(peer) = peer {
            let Some(mut entry) = self.entry(Address::of(peer), now_ms) else { return Verdict::Reset(refused) };
            let Some(left) = entry.refusals.checked_sub(1000) else { return Verdict::Reset(refused) };
            entry.refusals = left;
        }
        Verdict::Refused(refused, turned)
    }

    /// Connections open.
    #[must_use]
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// The most there may be.
    #[must_use]
    pub(super) fn max_open(&self) -> usize {
        self.max_open
    }

    /// Waits until no connection is open.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }

    /// A place for one more connection.
    fn enter(self: &Arc<Self>) -> Option<Permit> {
        let permit = Permit { admission: Arc::clone(self), address: None };
        (self.open.fetch_add(1, Ordering::AcqRel) < self.max_open).then_some(permit)
    }

    /// An address's entry with its buckets brought up to date. `None`: the table is full and knows it not.
    fn entry(&self, address: Address, now_ms: u64) -> Option<impl std::ops::DerefMut<Target = Entries> + '_> {
        if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&address) {
            self.sweep(now_ms);
            if self.addresses.len() >= MAX_ADDRESSES {
                return None;
            }
        }
        let full = self.burst.saturating_mul(1000);
        let fresh = Entries { open: 0, credit: full, refusals: full, credited_at_ms: now_ms };
        let mut entry = self.addresses.entry(address).or_insert(fresh);
        let elapsed_ms = now_ms.saturating_sub(entry.credited_at_ms);
        entry.credit = self.refilled(entry.credit, elapsed_ms);
        entry.refusals = self.refilled(entry.refusals, elapsed_ms);
        entry.credited_at_ms = now_ms;
        Some(entry)
    }

    fn refilled(&self, credit: u32, elapsed_ms: u64) -> u32 {
        let refill = elapsed_ms.saturating_mul(u64::from(self.per_second));
        let full = u64::from(self.burst) * 1000;
        u32::try_from(u64::from(credit).saturating_add(refill).min(full)).unwrap_or(u32::MAX)
    }

    /// Forgets addresses of which nothing needs to be known. Looking at all of them takes milliseconds, so not for each
    /// of a flood of strangers.
    fn sweep(&self, now_ms: u64) {
        let swept_at = self.swept_at_ms.load(Ordering::Relaxed);
        if now_ms < swept_at + SWEEP_MS {
            return;
        }
        self.swept_at_ms.store(now_ms, Ordering::Relaxed);
        let full = self.burst.saturating_mul(1000);
        self.addresses.retain(|_, entry| {
            let elapsed_ms = now_ms.saturating_sub(entry.credited_at_ms);
            let least = entry.credit.min(entry.refusals);
            entry.open > 0 || self.refilled(least, elapsed_ms) < full
        });
    }
}

impl Permit {
    /// Counts the connection where it belongs, now that this is known; what it counted for before is free again. A
    /// proxy's own connection counts by no address.
    ///
    /// # Errors
    /// Why that address may have no more; the permit counts by no address then.
    pub(super) fn settle(&mut self, origin: Origin, now_ms: u64) -> Result<(), Refused> {
        let address = match origin {
            Origin::Client(address) => Some(Address::of(address)),
            Origin::Proxy(_) => None,
        };
        if self.address == address {
            return Ok(());
        }
        self.leave_address();
        let Some(address) = address else { return Ok(()) };
        let mut entry = self.admission.entry(address, now_ms).ok_or(Refused::TooFast)?;
        if entry.open >= self.admission.per_address {
            return Err(Refused::AddressFull);
        }
        entry.credit = entry.credit.checked_sub(1000).ok_or(Refused::TooFast)?;
        entry.open += 1;
        drop(entry);
        self.address = Some(address);
        Ok(())
    }

    fn leave_address(&mut self) {
        if let Some(address) = self.address.take()
            && let Entry::Occupied(mut entry) = self.admission.addresses.entry(address)
        {
            entry.get_mut().open -= 1;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.leave_address();
        if self.admission.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.admission.emptied.notify_waiters();
        }
    }
}

impl Drop for Turned {
    fn drop(&mut self) {
        self.0.turned.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Address {
    fn of(peer: IpAddr) -> Address {
        match peer.to_canonical() {
            IpAddr::V4(v4) => Address(u64::from(v4.to_bits()), Family::V4),
            IpAddr::V6(v6) => Address((v6.to_bits() >> 64) as u64, Family::V6),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn admission(max_open: usize) -> Arc<Admission> {
        let limit = |n| NonZeroU32::new(n).unwrap();
        let mut limits = crate::gateway::config::tests::limits();
        (limits.connections_per_ip, limits.connects_per_ip_per_second, limits.connect_burst) =
            (limit(3), limit(2), limit(5));
        Arc::new(Admission::new(&limits, max_open))
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn client(text: &str) -> Origin {
        Origin::Client(ip(text))
    }

    fn admit(admission: &Arc<Admission>, peer: Origin, now_ms: u64) -> Result<Permit, Refused> {
        match admission.knock(peer, now_ms) {
            Verdict::Admitted(permit) => Ok(permit),
            Verdict::Refused(refused, _) => Err(refused),
            Verdict::Reset(refused) => panic!("reset: {refused:?}"),
        }
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let admission = admission(100);
        let permits: Vec<_> = (0..3).map(|_| admit(&admission, client("10.0.0.1"), 0).unwrap()).collect();
        assert_eq!(admit(&admission, client("10.0.0.1"), 0).err(), Some(Refused::AddressFull));
        assert!(admit(&admission, client("10.0.0.2"), 0).is_ok());
        drop(permits);
        assert!(admit(&admission, client("10.0.0.1"), 0).is_ok());
        assert_eq!(admission.open(), 0);
    }

    #[test]
    fn one_address_cannot_connect_too_fast() {
        let admission = admission(100);
        for _ in 0..5 {
            drop(admit(&admission, client("10.0.0.1"), 1000).unwrap());
        }
        assert_eq!(admit(&admission, client("10.0.0.1"), 1400).err(), Some(Refused::TooFast));
        assert!(admit(&admission, client("10.0.0.1"), 1500).is_ok());
    }

    #[test]
    fn the_gateway_has_an_end() {
        let admission = admission(1);
        let _permit = admit(&admission, client("10.0.0.1"), 0).unwrap();
        assert_eq!(admit(&admission, client("10.0.0.2"), 0).err(), Some(Refused::Full));
        assert_eq!(admit(&admission, Origin::Proxy(ip("10.9.9.9")), 0).err(), Some(Refused::Full));
    }

    #[test]
    fn a_flood_is_told_so_for_a_while_and_then_reset_unread() {
        let admission = admission(100);
        let flooding = client("10.0.0.1");
        let mut outcomes = [0; 3];
        let mut knock = |now_ms| match admission.knock(flooding, now_ms) {
            Verdict::Admitted(_) => outcomes[0] += 1,
            Verdict::Refused(..) => outcomes[1] += 1,
            Verdict::Reset(refused) => {
                assert_eq!(refused.reason_unsaid(), "address_flood");
                outcomes[2] += 1;
            }
        };
        (0..100).for_each(|_| knock(0));
        (0..100).for_each(|_| knock(1000));
        assert_eq!(outcomes, [5 + 2, 5 + 2, 200 - 14]);
        assert!(admit(&admission, client("10.0.0.2"), 1000).is_ok(), "others notice nothing");
    }

    #[test]
    fn only_so_many_are_told_at_once() {
        let admission = admission(1);
        let _permit = admit(&admission, client("10.0.0.1"), 0).unwrap();
        let mut turned = Vec::new();
        for at in 0..MAX_TURNED {
            let peer = client(&format!("10.1.0.{at}"));
            let Verdict::Refused(Refused::Full, slot) = admission.knock(peer, 0) else { panic!("{at}") };
            turned.push(slot);
        }
        assert!(matches!(admission.knock(client("10.2.0.1"), 0), Verdict::Reset(Refused::Full)));
        turned.pop();
        assert!(matches!(admission.knock(client("10.2.0.1"), 0), Verdict::Refused(Refused::Full, _)));
        assert_eq!(admission.open(), 1, "what is refused takes no place");
    }

    #[test]
    fn a_proxy_is_not_limited_and_whoever_is_behind_it_is() {
        let admission = admission(100);
        let proxy = Origin::Proxy(ip("10.9.9.9"));
        let mut permits: Vec<_> = (0..50).map(|_| admit(&admission, proxy, 0).unwrap()).collect();
        let (first, rest) = permits.split_at_mut(3);
        for permit in first.iter_mut() {
            assert_eq!(permit.settle(client("192.0.2.1"), 0), Ok(()));
        }
        assert_eq!(rest[0].settle(client("192.0.2.1"), 0), Err(Refused::AddressFull));
        assert_eq!(rest[0].settle(client("192.0.2.2"), 0), Ok(()), "it may be somebody else's next");
        assert_eq!(first[0].settle(client("192.0.2.1"), 0), Ok(()), "counted once");
        assert_eq!(first[0].settle(proxy, 0), Ok(()));
        assert_eq!(rest[1].settle(client("192.0.2.1"), 0), Ok(()), "the place it left is free");
        assert_eq!(admission.open(), 50);
        drop(permits);
        assert_eq!(admission.open(), 0);
        let book = &admission.addresses;
        assert!(book.iter().all(|entry| entry.open == 0));
    }

    #[test]
    fn addresses_count_by_what_one_customer_has() {
        assert_eq!(Address::of(ip("2001:db8::1")), Address::of(ip("2001:db8::ffff:2")));
        assert_ne!(Address::of(ip("2001:db8::1")), Address::of(ip("2001:db8:0:1::1")));
        assert_eq!(Address::of(ip("::ffff:10.0.0.1")), Address::of(ip("10.0.0.1")));
    }
}
