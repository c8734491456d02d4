//! The URLs that etcd's clients are told where the config names none. Pure.

use std::net::{IpAddr, SocketAddr};

use super::values::HttpListen;

/// Where etcd listens.
const ETCD: u16 = 2379;

/// Loopback only if nothing else listens, and of the rest those on etcd's port, if there are any.
/// What listens on every address is reached where the agent is.
pub(super) fn of_clients(listen: &[HttpListen], agent: IpAddr) -> Vec<String> {
    let mut all: Vec<(SocketAddr, &str)> = listen
        .iter()
        .filter_map(|listen| match listen {
            HttpListen::Plain(addr) => Some((*addr, "http")),
            HttpListen::Secure(addr) => Some((*addr, "https")),
            HttpListen::Unix(_) => None,
        })
        // Which port that becomes is the kernel's choice.
        .filter(|(addr, _)| addr.port() != 0)
        .collect();
    prefer(&mut all, |addr| !addr.ip().is_loopback());
    prefer(&mut all, |addr| addr.port() == ETCD);
    let url = |(addr, scheme): (SocketAddr, &str)| {
        let ip = if addr.ip().is_unspecified() { agent } else { addr.ip() };
        format!("{scheme}://{}", SocketAddr::new(ip, addr.port()))
    };
    all.into_iter().map(url).collect()
}

/// Keeps those alone, if there are any.
fn prefer(all: &mut Vec<(SocketAddr, &str)>, better: impl Fn(&SocketAddr) -> bool) {
    if all.iter().any(|(addr, _)| better(addr)) {
        all.retain(|(addr, _)| better(addr));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_told_where_they_reach_an_agent() {
        let agent = IpAddr::from([10, 0, 0, 5]);
        for (listen, told) in [
            ("127.0.0.1:8500 127.0.0.1:2379", "http://127.0.0.1:2379"),
            ("127.0.0.1:8500", "http://127.0.0.1:8500"),
            ("0.0.0.0:8500", "http://10.0.0.5:8500"),
            ("127.0.0.1:2379 https://[::]:2379", "https://10.0.0.5:2379"),
            ("127.0.0.1:8500 10.0.0.6:8500", "http://10.0.0.6:8500"),
            ("127.0.0.1:2379 10.0.0.6:8500", "http://10.0.0.6:8500"),
            ("10.0.0.6:2379 [fd00::6]:2379", "http://10.0.0.6:2379 http://[fd00::6]:2379"),
            ("unix:/run/remora 127.0.0.1:0", ""),
            ("", ""),
        ] {
            let listen: Vec<HttpListen> =
                listen.split_whitespace().map(|text| text.parse().unwrap()).collect();
            assert_eq!(of_clients(&listen, agent).join(" "), told, "{listen:?}");
        }
    }
}
