//! Whether others can reach the node, and it them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream, UdpSocket, lookup_host};
use tokio::time::timeout;

use super::{Finding, Verdict, good, not_good};
use crate::driver::beacon;
use crate::driver::config::Settings;
use crate::driver::config::address::BootstrapPeer;

/// How long a connection, or a datagram on this machine, may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The first byte of everyone who speaks ZMTP.
const GREETING: u8 = 0xff;

/// The node's own ports: bound by it, or free.
pub async fn ports(settings: &Settings, runs: bool) -> Vec<Finding> {
    let network = &settings.document.network;
    let mut findings = Vec::new();
    for (name, port) in [("pub_port", network.pub_port), ("sub_port", settings.sub_port)] {
        let (check, address) = (format!("{name} {port}"), SocketAddr::new(network.bind, port));
        findings.push(match runs {
            true => heard(check, here(address)).await,
            false => free(check, name, TcpListener::bind(address).await.err()),
        });
    }
    let (check, address) =
        (format!("beacon_port {}", network.beacon_port), SocketAddr::new(network.bind, network.beacon_port));
    findings.push(match runs {
        true => good(check, "UDP, bound by the node that runs"),
        false => free(check, "beacon_port", UdpSocket::bind(address).await.err()),
    });
    let api = settings.document.api.address;
    if !runs {
        findings.push(free(format!("api {api}"), "api.address", TcpListener::bind(api).await.err()));
    }
    findings
}

/// What is bound to every address is reached on this machine.
fn here(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(any) if any.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(any) if any.is_unspecified() => (std::net::Ipv6Addr::LOCALHOST, address.port()).into(),
        IpAddr::V4(_) | IpAddr::V6(_) => address,
    }
}

fn free(check: String, key: &str, error: Option<std::io::Error>) -> Finding {
    match error {
        None => good(check, "free"),
        Some(error) => not_good(
            Verdict::Bad,
            check,
            format!("it cannot be bound: {error}"),
            format!("stop what uses it, or choose another network.{key}").replace("network.api.", "api."),
        ),
    }
}

async fn heard(check: String, address: SocketAddr) -> Finding {
    match greeted(address).await {
        Ok(()) => good(check, "the node answers on this machine; whether others get through, they can tell"),
        Err(error) => not_good(
            Verdict::Bad,
            check,
            format!("the node runs, and does not answer at {address}: {error}"),
            "look whether it runs with this configuration, and at the firewall",
        ),
    }
}

/// Connects, and waits for the greeting.
async fn greeted(address: SocketAddr) -> Result<(), String> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        match stream.read_u8().await {
            Ok(GREETING) => Ok(()),
            Ok(_) => Err("something else than a node answers".to_owned()),
            Err(error) => Err(format!("it hangs up: {error}")),
        }
    };
    timeout(PATIENCE, talk).await.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())))
}

/// Whether a datagram to the group comes back.
pub async fn multicast(settings: &Settings) -> Finding {
    let network = &settings.document.network;
    if !network.multicast {
        return good("multicast", "off: nodes of the local network are found by bootstrap peers only");
    }
    let echo = timeout(PATIENCE, beacon::echo(network.multicast_group, network.bind));
    let error = match echo.await {
        Ok(Ok(())) => return good("multicast", format!("a datagram to {} comes back", network.multicast_group)),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "a datagram to the group does not come back".to_owned(),
    };
    not_good(
        Verdict::Poor,
        "multicast",
        format!("{}: {error}", network.multicast_group),
        "name first contacts in network.bootstrap_peers; containers and clouds often have no multicast",
    )
}

/// Each first contact, by name and by both ports.
pub async fn bootstrap(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    for peer in &settings.document.network.bootstrap_peers {
        findings.push(contact(peer).await);
    }
    if findings.is_empty() && !settings.document.network.multicast {
        findings.push(not_good(
            Verdict::Poor,
            "bootstrap",
            "no first contacts and no multicast: this node is found only by those who name it",
            "name one in network.bootstrap_peers",
        ));
    }
    findings
}

async fn contact(peer: &BootstrapPeer) -> Finding {
    let check = format!("bootstrap {}:{}", peer.host, peer.pub_port);
    let found = match lookup_host((peer.host.as_str(), peer.pub_port)).await {
        Ok(mut addresses) => addresses.next().ok_or_else(|| "the name has no address".to_owned()),
        Err(error) => Err(format!("the name is not known: {error}")),
    };
    let address = match found {
        Ok(address) => address,
        Err(error) => return not_good(Verdict::Bad, check, error, "write the address instead of the name"),
    };
    for port in [peer.pub_port, peer.sub_port] {
        if let Err(error) = greeted((address.ip(), port).into()).await {
            return not_good(
                Verdict::Bad,
                check,
                format!("{}, TCP port {port}: {error}", address.ip()),
                "look whether that node runs, at the firewalls between, and whether its ports are these (HOST:PUB/SUB)",
            );
        }
    }
    good(check, format!("{} answers on both ports", address.ip()))
}
