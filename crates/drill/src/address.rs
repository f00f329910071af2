//! Who comes from where. Linux answers for all of 127.0.0.0/8, so every person and every attacker has an address of
//! their own: people 127.1.0.0 to 127.31.255.255, a /24 each; attackers 127.64.0.0 to 127.254.255.255.

use std::net::Ipv4Addr;

use base::Rng;

use crate::plan::ADDRESSES_MAX;

/// The address of the person of this number. The next 7936 have other prefixes.
pub(crate) fn of_person(number: usize) -> Ipv4Addr {
    let prefix = number % (31 * 256);
    let host = 10 + (number / (31 * 256)) % 200;
    Ipv4Addr::new(127, (1 + prefix / 256) as u8, (prefix % 256) as u8, host as u8)
}

/// One of so many addresses, which are spread over as many prefixes as there can be.
pub(crate) fn of_attacker(rng: &mut Rng, addresses: u32) -> Ipv4Addr {
    let number = rng.below(addresses.clamp(1, ADDRESSES_MAX) as usize);
    // Prefixes first: 48 896 addresses are in as many /24.
    let (prefix, host) = (number % (191 * 256), number / (191 * 256));
    Ipv4Addr::new(127, (64 + prefix / 256) as u8, (prefix % 256) as u8, (host % 256) as u8)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn people_have_a_prefix_each_and_attackers_none_of_theirs() {
        let people: HashSet<_> = (0..5000).map(|number| of_person(number).octets()).collect();
        let prefixes: HashSet<_> = people.iter().map(|octets| [octets[1], octets[2]]).collect();
        assert_eq!((people.len(), prefixes.len()), (5000, 5000));
        let mut rng = Rng::from_seed(1);
        let attackers: Vec<_> = (0..20_000).map(|_| of_attacker(&mut rng, 1_000_000).octets()).collect();
        assert!(attackers.iter().all(|octets| octets[0] == 127 && (64..=254).contains(&octets[1])));
        let prefixes: HashSet<_> = attackers.iter().map(|octets| [octets[1], octets[2]]).collect();
        assert!(prefixes.len() > 10_000, "{}", prefixes.len());
        let few: HashSet<_> = (0..2000).map(|_| of_attacker(&mut rng, 100)).collect();
        assert_eq!(few.len(), 100);
    }
}
