use std::net::IpAddr;

use crate::prefix::Prefix;

/// Where somebody asks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Their address.
    pub address: IpAddr,
    /// The number of the autonomous system, a provider's network of networks, that the address is in, where that is
    /// known.
    pub asn: Option<u32>,
}

impl Source {
    /// Whose network they ask from.
    pub fn network(self) -> Network {
        self.asn.map_or_else(|| Network::Prefix(Prefix::wide(self.address)), Network::Asn)
    }
}

impl From<IpAddr> for Source {
    /// Of an address of which nothing else is known.
    fn from(address: IpAddr) -> Self {
        Self { address, asn: None }
    }
}

/// A provider's network, as far as it is known: who rents whole prefixes of one provider stays within one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Network {
    /// By the number of its autonomous system.
    Asn(u32),
    /// Of an address whose system is not known.
    Prefix(Prefix),
}
