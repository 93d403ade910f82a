//! Addresses of nodes, as operators write them and as the protocol does.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use serde::{Deserialize, Deserializer, de};

use super::Network;
use crate::config::Bootstrap;

/// The beacon port of a bootstrap host that does not name another.
const BEACON_PORT: u16 = 5557;

/// A first contact: `HOST:PUB`, `HOST:PUB/SUB` or `HOST:PUB/SUB/BEACON`. Without it, SUB is PUB + 1 and BEACON 5557. An IPv6
/// address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapPeer {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// The port of its PUB.
    pub pub_port: u16,
    /// The port of its SUB.
    pub sub_port: u16,
    /// The port it hears beacons on.
    pub beacon_port: u16,
}

impl BootstrapPeer {
    /// As the node wants it.
    #[must_use]
    pub fn to_bootstrap(&self) -> Bootstrap {
        Bootstrap {
            pub_endpoint: endpoint(&self.host, self.pub_port),
            sub_endpoint: endpoint(&self.host, self.sub_port),
        }
    }
}

impl std::str::FromStr for BootstrapPeer {
    type Err = String;
    fn from_str(text: &str) -> Result<BootstrapPeer, String> {
        let wrong = |what: &str| format!("`{text}`: {what}; write HOST:PORT, HOST:PUB/SUB or [IPV6]:PORT");
        let (host, ports) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, ports) = rest.split_once("]:").ok_or_else(|| wrong("no `]:` after the IPv6 address"))?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong("not an IPv6 address in the brackets"))?;
                (host, ports)
            }
            None => text.rsplit_once(':').ok_or_else(|| wrong("no port"))?,
        };
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let bare_v6 = host.contains(':');
        if host.is_empty() || (bare_v6 && !text.starts_with('[')) || !(bare_v6 || host.chars().all(name)) {
            return Err(wrong("not a host"));
        }
        let mut numbers = Vec::new();
        for port in ports.split('/') {
            match port.parse::<u16>() {
                Ok(port) if port > 0 => numbers.push(port),
                _ => return Err(wrong("not a port")),
            }
        }
        let (pub_port, sub_port, beacon_port) = match numbers[..] {
            [p] => (p, p.checked_add(1).ok_or_else(|| wrong("no port above 65535 for SUB"))?, BEACON_PORT),
            [p, s] => (p, s, BEACON_PORT),
            [p, s, b] => (p, s, b),
            _ => return Err(wrong("more than three ports")),
        };
        Ok(BootstrapPeer { host: host.to_owned(), pub_port, sub_port, beacon_port })
    }
}

impl<'de> Deserialize<'de> for BootstrapPeer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BootstrapPeer, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// `tcp://host:port`, with brackets where they are needed.
#[must_use]
pub fn endpoint(host: &str, port: u16) -> String {
    if host.contains(':') { format!("tcp://[{host}]:{port}") } else { format!("tcp://{host}:{port}") }
}

/// The address under which peers most likely reach this node: the bound one, or that of the route to the first bootstrap
/// peer, or to the multicast group. Finding a route sends nothing.
pub fn advertised_host(network: &Network, notices: &mut Vec<String>) -> String {
    if !network.bind.is_unspecified() {
        return network.bind.to_string();
    }
    let first = network.bootstrap_peers.first().map(|peer| (peer.host.clone(), peer.pub_port));
    let group = network.multicast.then(|| (network.multicast_group.to_string(), network.beacon_port));
    for target in [first, group].into_iter().flatten() {
        if let Some(ip) = route_to(&target) {
            return ip.to_string();
        }
    }
    notices
        .push("no route to anyone: peers are told 127.0.0.1, where only this machine is; set network.host".to_owned());
    Ipv4Addr::LOCALHOST.to_string()
}

fn route_to(target: &(String, u16)) -> Option<IpAddr> {
    use std::net::ToSocketAddrs;
    let target: SocketAddr = (target.0.as_str(), target.1).to_socket_addrs().ok()?.next()?;
    let any: SocketAddr =
        if target.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (std::net::Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(target).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}
