//! Decides by `Host` and `Origin` whether a request may come from where it says: no web page may
//! drive the agent.

use std::net::{IpAddr, SocketAddr};

use crate::net::is_loopback;

/// What a listener knows of its own names.
#[derive(Debug, Clone, Default)]
pub struct HostRules {
    /// Only this host reaches the listener, so a foreign name in `Host` is a rebound DNS name.
    pub loopback: bool,
    /// Names that are accepted beside IP addresses and `localhost`, lower case, without port.
    pub names: Vec<String>,
    /// Origins that web pages may write from, such as `https://ops.example.com`.
    pub origins: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// HTTP/1.1 without a `Host` (RFC 9112, section 3.2).
    NoHost,
    /// Sent to a name that is not ours (RFC 9110, section 15.5.20).
    Misdirected,
    /// A write that a page from elsewhere sends.
    ForeignOrigin,
}

/// What of a request the decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub host: Option<&'a str>,
    pub origin: Option<&'a str>,
    /// The protocol demands a host.
    pub host_needed: bool,
    pub writes: bool,
}

impl HostRules {
    pub fn new(listener: SocketAddr, names: &[String], origins: &[String]) -> HostRules {
        HostRules {
            loopback: is_loopback(listener),
            names: names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            origins: origins.to_vec(),
        }
    }

    pub fn verdict(&self, asked: Asked<'_>) -> Verdict {
        match asked.host {
            None if asked.host_needed => return Verdict::NoHost,
            Some(host) if self.loopback && !self.is_ours(host) => return Verdict::Misdirected,
            _ => {}
        }
        match asked.origin {
            Some(origin) if asked.writes && !self.may_write(origin, asked.host) => {
                Verdict::ForeignOrigin
            }
            _ => Verdict::Allowed,
        }
    }

    fn is_ours(&self, host: &str) -> bool {
        let name = without_port(host);
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok()
            || self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// A page may write to the host that it came from, and from the origins that are listed.
    fn may_write(&self, origin: &str, host: Option<&str>) -> bool {
        let own = origin.split_once("://").map(|(_, authority)| authority);
        let same = own.is_some() && own.zip(host).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b));
        same || self.origins.iter().any(|known| known == origin)
    }
}

/// The host of `host:port`, brackets of an IPv6 address kept.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => {
            // An IPv6 address without brackets has no port.
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> HostRules {
        HostRules::new(
            ([127, 0, 0, 1], 8500).into(),
            &["Remora.internal".to_owned()],
            &["https://ops.example.com".to_owned()],
        )
    }

    fn asked<'a>(host: Option<&'a str>, origin: Option<&'a str>, writes: bool) -> Asked<'a> {
        Asked { host, origin, host_needed: true, writes }
    }

    #[test]
    fn a_loopback_listener_answers_to_addresses_and_its_own_names_only() {
        let ours = ["127.0.0.1:8500", "localhost", "LOCALHOST:1", "[::1]:8500", "10.0.0.9"];
        for host in ours.into_iter().chain(["::1", "remora.internal:8500"]) {
            let verdict = rules().verdict(asked(Some(host), None, false));
            assert_eq!(verdict, Verdict::Allowed, "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""] {
            let verdict = rules().verdict(asked(Some(host), None, false));
            assert_eq!(verdict, Verdict::Misdirected, "{host}");
        }
        assert_eq!(rules().verdict(asked(None, None, false)), Verdict::NoHost);
    }

    #[test]
    fn a_wider_listener_answers_to_any_name() {
        let wide = HostRules::new(([0, 0, 0, 0], 8500).into(), &[], &[]);
        assert_eq!(wide.verdict(asked(Some("web.example"), None, false)), Verdict::Allowed);
    }

    #[test]
    fn only_own_and_listed_pages_may_write() {
        let host = Some("127.0.0.1:8500");
        let verdict = |origin, writes| rules().verdict(asked(host, Some(origin), writes));
        assert_eq!(verdict("http://127.0.0.1:8500", true), Verdict::Allowed);
        assert_eq!(verdict("https://ops.example.com", true), Verdict::Allowed);
        for origin in ["http://evil.example", "null", "http://127.0.0.1:9999", ""] {
            assert_eq!(verdict(origin, true), Verdict::ForeignOrigin, "{origin}");
            assert_eq!(verdict(origin, false), Verdict::Allowed, "{origin}");
        }
    }
}
