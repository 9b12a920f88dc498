//! Whose address a request came from.
//!
//! It owns `TRUSTED_PROXIES` and the reading of `X-Forwarded-For`. It refuses to believe a header that no trusted proxy
//! could have written.

use axum::extract::FromRequestParts;
use http::{HeaderMap, request::Parts};
use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

/// Proxies in front of this service, whose entries in `X-Forwarded-For` count.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Arc<[Network]>);

impl TrustedProxies {
    /// These networks; none means that no header counts.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks.into())
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client's address: from the right end of `X-Forwarded-For`, the first that is no trusted proxy.
    pub fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = canonical(peer.ip());
        let forwarded: Vec<&str> = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .collect();
        for entry in forwarded.into_iter().rev() {
            if !self.contains(client) {
                break;
            }
            match entry.parse() {
                Ok(address) => client = canonical(address),
                // A proxy that we trust would not write this; what stands left of it proves nothing.
                Err(_) => break,
            }
        }
        client
    }
}

/// One address, or a block of them such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                masked(u128::from(u32::from(base)), 32, self.prefix)
                    == masked(u128::from(u32::from(address)), 32, self.prefix)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                masked(u128::from(base), 128, self.prefix) == masked(u128::from(address), 128, self.prefix)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

fn masked(bits: u128, width: u8, prefix: u8) -> u128 {
    let host = u32::from(width.saturating_sub(prefix));
    bits.checked_shr(host).unwrap_or(0)
}

impl FromStr for Network {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let base: IpAddr = address.parse().map_err(|_| ())?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(width), str::parse).map_err(|_| ())?;
        if prefix > width { Err(()) } else { Ok(Self { base, prefix }) }
    }
}

fn canonical(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

/// The client's address, noted by the listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientIp(pub IpAddr);

impl ClientIp {
    /// The address that limits count by: an IPv6 client owns its whole /64 (`security.md` 4).
    pub fn limit_key(&self) -> String {
        match self.0 {
            IpAddr::V4(address) => Ipv4Addr::to_string(&address),
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX));
                format!("{network}/64")
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for ClientIp {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get().copied().unwrap_or(Self(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn client(proxies: &[&str], peer: &str, forwarded: &'static str) -> String {
        let networks = proxies.iter().map(|text| text.parse().unwrap_or_else(|()| panic!("{text}"))).collect();
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static(forwarded));
        let peer = SocketAddr::new(peer.parse().unwrap_or_else(|e| panic!("{e}")), 1);
        TrustedProxies::new(networks).client(peer, &headers).to_string()
    }

    /// security 4
    #[test]
    fn without_a_trusted_proxy_no_header_counts() {
        assert_eq!(client(&[], "203.0.113.9", "198.51.100.1"), "203.0.113.9");
        assert_eq!(client(&["10.0.0.0/8"], "203.0.113.9", "198.51.100.1"), "203.0.113.9");
    }

    /// security 4
    #[test]
    fn the_last_address_that_is_no_trusted_proxy_counts() {
        let forged = "1.2.3.4, 198.51.100.1, 10.1.1.1";
        assert_eq!(client(&["10.0.0.0/8"], "10.2.2.2", forged), "198.51.100.1");
        assert_eq!(client(&["10.0.0.0/8"], "::ffff:10.2.2.2", forged), "198.51.100.1");
        assert_eq!(client(&["fd00::/8"], "fd00::1", "2001:db8::7"), "2001:db8::7");
        assert_eq!(client(&["10.0.0.0/8"], "10.2.2.2", "1.2.3.4, nonsense"), "10.2.2.2");
    }

    /// security 4
    #[test]
    fn an_ipv6_client_is_counted_by_its_block_of_64_bits() {
        let ip = |text: &str| ClientIp(text.parse().unwrap_or_else(|e| panic!("{e}")));
        assert_eq!(ip("2001:db8:1:2:3::4").limit_key(), "2001:db8:1:2::/64");
        assert_eq!(ip("192.0.2.1").limit_key(), "192.0.2.1");
    }

    #[test]
    fn a_network_that_is_none_is_refused() {
        for bad in ["", "10.0.0.0/33", "host", "10.0.0.0/", "::/129"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
