//! Who may connect: how many in all, how many from one address, how fast.
//!
//! Checked once per connection, before the upgrade. The table of addresses is bounded: an address is in it while it has
//! a connection or its bucket is not full again, and beyond [`MAX_ADDRESSES`] strangers are refused until it shrinks.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};
use tokio::sync::Notify;

use super::config::Limits;

/// Addresses remembered: 2¹⁸ × about 48 bytes = 12 MB.
const MAX_ADDRESSES: usize = 1 << 18;

/// The gateway's door book.
pub(super) struct Admission {
    max_open: usize,
    per_address: u32,
    per_second: u32,
    burst: u32,
    open: AtomicUsize,
    addresses: DashMap<Address, Entries>,
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
}

/// One admitted connection; dropping it makes room.
pub(super) struct Permit {
    admission: Arc<Admission>,
    address: Address,
}

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
            addresses: DashMap::new(),
            emptied: Notify::new(),
        }
    }

    /// Admits a connection from `peer` at `now_ms` (monotonic).
    ///
    /// # Errors
    /// Why not.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr, now_ms: u64) -> Result<Permit, Refused> {
        let address = Address::of(peer);
        if self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.retain(|_, entry| !self.is_forgettable(entry, now_ms));
            if self.addresses.len() >= MAX_ADDRESSES && !self.addresses.contains_key(&address) {
                return Err(Refused::TooFast);
            }
        }
        if self.open.fetch_add(1, Ordering::AcqRel) >= self.max_open {
            self.leave();
            return Err(Refused::Full);
        }
        let full = self.burst.saturating_mul(1000);
        let mut entry =
            self.addresses.entry(address).or_insert(Entries { open: 0, credit: full, credited_at_ms: now_ms });
        let credit = self.credit(&entry, now_ms);
        entry.credited_at_ms = now_ms;
        entry.credit = credit;
        let refused = if entry.open >= self.per_address {
            Some(Refused::AddressFull)
        } else if credit < 1000 {
            Some(Refused::TooFast)
        } else {
            entry.credit -= 1000;
            entry.open += 1;
            None
        };
        drop(entry);
        match refused {
            None => Ok(Permit { admission: Arc::clone(self), address }),
            Some(refused) => {
                self.leave();
                Err(refused)
            }
        }
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

    fn credit(&self, entry: &Entries, now_ms: u64) -> u32 {
        let refill = now_ms.saturating_sub(entry.credited_at_ms).saturating_mul(u64::from(self.per_second));
        let full = u64::from(self.burst) * 1000;
        u32::try_from(u64::from(entry.credit).saturating_add(refill).min(full)).unwrap_or(u32::MAX)
    }

    fn is_forgettable(&self, entry: &Entries, now_ms: u64) -> bool {
        entry.open == 0 && u64::from(self.credit(entry, now_ms)) >= u64::from(self.burst) * 1000
    }

    fn leave(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.emptied.notify_waiters();
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut entry) = self.admission.addresses.entry(self.address) {
            entry.get_mut().open -= 1;
        }
        self.admission.leave();
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

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_take_all_places() {
        let admission = admission(100);
        let permits: Vec<_> = (0..3).map(|_| admission.admit(peer("10.0.0.1"), 0).unwrap()).collect();
        assert_eq!(admission.admit(peer("10.0.0.1"), 0).err(), Some(Refused::AddressFull));
        assert!(admission.admit(peer("10.0.0.2"), 0).is_ok());
        drop(permits);
        assert!(admission.admit(peer("10.0.0.1"), 0).is_ok());
        assert_eq!(admission.open(), 0);
    }

    #[test]
    fn one_address_cannot_connect_too_fast() {
        let admission = admission(100);
        for _ in 0..5 {
            drop(admission.admit(peer("10.0.0.1"), 1000).unwrap());
        }
        assert_eq!(admission.admit(peer("10.0.0.1"), 1400).err(), Some(Refused::TooFast));
        assert!(admission.admit(peer("10.0.0.1"), 1500).is_ok());
    }

    #[test]
    fn the_gateway_has_an_end() {
        let admission = admission(1);
        let _permit = admission.admit(peer("10.0.0.1"), 0).unwrap();
        assert_eq!(admission.admit(peer("10.0.0.2"), 0).err(), Some(Refused::Full));
    }

    #[test]
    fn addresses_count_by_what_one_customer_has() {
        assert_eq!(Address::of(peer("2001:db8::1")), Address::of(peer("2001:db8::ffff:2")));
        assert_ne!(Address::of(peer("2001:db8::1")), Address::of(peer("2001:db8:0:1::1")));
        assert_eq!(Address::of(peer("::ffff:10.0.0.1")), Address::of(peer("10.0.0.1")));
    }
}
