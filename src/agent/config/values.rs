//! How single values are written in the config: durations, sizes, addresses, file modes.

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::model::limits;

/// `200ms`, `5s`, `1h 30m`; a number without a unit is refused, because tools disagree about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match humantime::parse_duration(text.trim()) {
            Ok(duration) => Ok(Span(duration)),
            Err(_) if text.trim() == "0" => Ok(Span(Duration::ZERO)),
            Err(error) => Err(de::Error::custom(format!(
                "{text:?} is no duration ({error}): write it like 200ms, 5s or 1h"
            ))),
        }
    }
}

/// The same, but never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(pub Duration);

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match Span::deserialize(from)?.0 {
            Duration::ZERO => Err(de::Error::custom("a period must be longer than zero")),
            period => Ok(Period(period)),
        }
    }
}

/// `512KiB`, `1MiB` or plain bytes, up to `limits::CONFIGURABLE_MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub usize);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        bytes(&String::deserialize(from)?, (1, limits::CONFIGURABLE_MAX))
            .map(Size)
            .map_err(de::Error::custom)
    }
}

/// What a cluster may hold, within `limits::QUOTA_RANGE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Volume(pub u64);

impl<'de> Deserialize<'de> for Volume {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        bytes(&String::deserialize(from)?, limits::QUOTA_RANGE)
            .map(Volume)
            .map_err(de::Error::custom)
    }
}

fn bytes<N: TryFrom<u64> + PartialOrd + Display>(
    text: &str,
    (min, max): (N, N),
) -> Result<N, String> {
    match size(text.trim()).map(N::try_from) {
        Some(Ok(size)) if (&min..=&max).contains(&&size) => Ok(size),
        Some(_) => Err(format!("{text} bytes: allowed are {min} to {max}")),
        None => Err(format!("{text:?} is no size: write it like 512KiB, 1MiB or 4096")),
    }
}

fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "" | "B" => 1,
        "KiB" | "K" | "k" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// An address and a port to listen on; `localhost` is 127.0.0.1, `:8500` is every address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let full = match text.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}"),
            None if text.starts_with(':') => format!("0.0.0.0{text}"),
            None => text.to_owned(),
        };
        full.parse().map(Listen).map_err(|_| {
            format!("{text:?} is no address to listen on: write it like 127.0.0.1:8500")
        })
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// A listener of the HTTP API: `http://` before an address or nothing, `https://`, or `unix:`
/// before a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpListen {
    Plain(SocketAddr),
    Secure(SocketAddr),
    Unix(PathBuf),
}

/// What the kernel takes as the path of a unix socket, in bytes.
const UNIX_PATH: usize = 107;

impl FromStr for HttpListen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let address = |text: &str| text.parse::<Listen>().map(|listen| listen.0);
        if let Some(rest) = text.strip_prefix("https://") {
            return address(rest).map(HttpListen::Secure);
        }
        if let Some(rest) = text.strip_prefix("http://") {
            return address(rest).map(HttpListen::Plain);
        }
        let Some(path) = text.strip_prefix("unix:") else {
            if let Some((scheme, _)) = text.split_once("://") {
                return Err(format!("{text:?}: {scheme} is none of http, https and unix"));
            }
            return address(text).map(HttpListen::Plain);
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') || path.ends_with('/') || path.len() > UNIX_PATH {
            return Err(format!(
                "{text:?}: a unix socket is written like unix:/run/remora.sock, \
                 at most {UNIX_PATH} bytes"
            ));
        }
        Ok(HttpListen::Unix(PathBuf::from(path)))
    }
}

impl<'de> Deserialize<'de> for HttpListen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// Where others reach this agent: an IP address, an IP address and port, or an interface's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advertise {
    Addr(SocketAddr),
    Ip(IpAddr),
    Interface(String),
}

impl FromStr for Advertise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(addr) = text.parse() {
            return Ok(Advertise::Addr(addr));
        }
        if let Ok(ip) = text.parse() {
            return Ok(Advertise::Ip(ip));
        }
        let named = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if !text.is_empty() && text.len() < 16 && text.chars().all(named) {
            return Ok(Advertise::Interface(text.to_owned()));
        }
        Err(format!("{text:?} is neither an IP address, nor address:port, nor an interface"))
    }
}

impl<'de> Deserialize<'de> for Advertise {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// `"0644"`: permission bits in octal, as `chmod` takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub u32);

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(Mode(mode)),
            _ => {
                Err(de::Error::custom(format!("{text:?} is no file mode: write it like \"0644\"")))
            }
        }
    }
}

/// A command as an argument list, never through a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argv(pub Vec<String>);

impl<'de> Deserialize<'de> for Argv {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let argv = Vec::<String>::deserialize(from)?;
        match argv.first() {
            Some(program) if !program.is_empty() => Ok(Argv(argv)),
            _ => Err(de::Error::custom(
                "a command is a list that begins with a program, like [\"nginx\", \"-t\"]",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http_listener_says_what_is_spoken_there() {
        let at = |text: &str| text.parse().unwrap();
        for (text, expected) in [
            ("127.0.0.1:8500", HttpListen::Plain(at("127.0.0.1:8500"))),
            ("http://localhost:8500", HttpListen::Plain(at("127.0.0.1:8500"))),
            ("https://:8501", HttpListen::Secure(at("0.0.0.0:8501"))),
            ("https://[::1]:8501", HttpListen::Secure(at("[::1]:8501"))),
            ("unix:/run/r.sock", HttpListen::Unix("/run/r.sock".into())),
            ("unix:///run/r.sock", HttpListen::Unix("/run/r.sock".into())),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        let long = format!("unix:/{}", "x".repeat(UNIX_PATH));
        for text in ["ftp://127.0.0.1:1", "https://web", "unix:r.sock", "unix:/run/", &long] {
            assert!(text.parse::<HttpListen>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_keep_within_their_bounds() {
        let (small, large) = (1024, limits::QUOTA_RANGE.1);
        assert_eq!(bytes("512KiB", (1, limits::CONFIGURABLE_MAX)), Ok(512 << 10));
        assert_eq!(bytes("2GiB", limits::QUOTA_RANGE), Ok(2 << 30));
        assert_eq!(bytes(" 1kB", (1, small)), Ok(1000));
        for text in ["17MiB", "0", "1TiB", "-1", "99999999999GiB"] {
            assert!(bytes(text, (1, limits::CONFIGURABLE_MAX)).is_err(), "{text}");
        }
        assert!(bytes(&large.to_string(), limits::QUOTA_RANGE).is_ok());
        assert!(bytes(&(large + 1).to_string(), limits::QUOTA_RANGE).is_err());
    }
}
