//! How many connections there may be, by address and in all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use nuncio_model::rate_limit::network_of;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;

use crate::app::ApiSettings;

/// How many connections there are, by address.
pub(super) struct Seats(Arc<Taken>);

struct Taken {
    per_address: usize,
    in_all: usize,
    now: Mutex<(usize, HashMap<IpAddr, usize>)>,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The address has its share.
    Address,
    /// All are taken.
    Node,
}

/// One connection's place; free again when it is dropped.
pub(crate) struct Seat {
    _counted: Option<Counted>,
    /// Of one that is only there to be told that there is no seat.
    _guest: Option<OwnedSemaphorePermit>,
}

struct Counted {
    taken: Arc<Taken>,
    address: IpAddr,
}

impl Seats {
    pub(super) fn new(settings: &ApiSettings) -> Self {
        let (per_address, in_all) = (settings.connections_per_address, settings.connections);
        Self(Arc::new(Taken { per_address, in_all, now: Mutex::default() }))
    }

    /// A place for one more connection.
    ///
    /// # Errors
    /// Where all are taken, or this address has its share.
    pub(super) fn take(&self, address: IpAddr) -> Result<Seat, Full> {
        let address = network_of(address);
        let mut now = self.0.now.lock();
        let (all, by_address) = &mut *now;
        // First the address: who is alone to blame should hear of it.
        if by_address.get(&address).is_some_and(|mine| *mine >= self.0.per_address) {
            return Err(Full::Address);
        }
        if *all >= self.0.in_all {
            return Err(Full::Node);
        }
        *all += 1;
        *by_address.entry(address).or_default() += 1;
        let counted = Counted { taken: self.0.clone(), address };
        Ok(Seat { _counted: Some(counted), _guest: None })
    }
}

impl Seat {
    pub(super) fn guest(permit: OwnedSemaphorePermit) -> Self {
        Self { _counted: None, _guest: Some(permit) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut now = self.taken.now.lock();
        let (all, by_address) = &mut *now;
        *all -= 1;
        if let Some(mine) = by_address.get_mut(&self.address) {
            *mine -= 1;
            if *mine == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_address_and_in_all() {
        let settings = ApiSettings { connections_per_address: 2, connections: 3, ..ApiSettings::default() };
        let seats = Seats::new(&settings);
        let take = |text: &str| seats.take(text.parse().expect("an address"));
        let first = take("2001:db8::1");
        let _second = take("2001:db8::2");
        assert!(first.is_ok() && take("2001:db8::3").err() == Some(Full::Address));
        let _third = take("::ffff:10.0.0.1");
        assert_eq!(take("10.0.0.2").err(), Some(Full::Node));
        drop(first);
        let _fourth = take("10.0.0.1");
        assert!(_fourth.is_ok() && seats.0.now.lock().1.len() == 2);
    }
}
