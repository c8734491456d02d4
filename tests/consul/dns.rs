//! One DNS question as the recorder sent it, and its answer as the transcript would have it.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use super::transcript::Answer;

const TYPES: [(&str, u16); 18] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("MX", 15),
    ("TXT", 16),
    ("AAAA", 28),
    ("SRV", 33),
    ("NAPTR", 35),
    ("OPT", 41),
    ("DS", 43),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("AXFR", 252),
    ("ANY", 255),
    ("CAA", 257),
    ("TYPE65400", 65400),
];
const CLASSES: [(&str, u16); 4] = [("IN", 1), ("CH", 3), ("HS", 4), ("ANY", 255)];
const CODES: [&str; 11] = [
    "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET",
    "NXRRSET", "NOTAUTH", "NOTZONE",
];
const OPCODES: [(&str, u16); 5] =
    [("QUERY", 0), ("IQUERY", 1), ("STATUS", 2), ("NOTIFY", 4), ("UPDATE", 5)];
const FLAGS: [(&str, u16); 8] = [
    ("qr", 0x8000),
    ("aa", 0x400),
    ("tc", 0x200),
    ("rd", 0x100),
    ("ra", 0x80),
    ("z", 0x40),
    ("ad", 0x20),
    ("cd", 0x10),
];
const OPT: u16 = 41;
const ECS: u16 = 8;
/// Of a chain of compressed names.
const HOPS: usize = 60;

fn number(names: &[(&str, u16)], name: &str) -> u16 {
    names.iter().find(|(known, _)| *known == name).unwrap().1
}

fn name_of(names: &[(&str, u16)], number: u16, other: &str) -> String {
    let found = names.iter().find(|(_, known)| *known == number);
    found.map_or_else(|| format!("{other}{number}"), |(name, _)| (*name).to_owned())
}

/// Asks what a block asks: `DIG …`, `HEX …` or `HEX+TCP …`.
pub fn ask(to: SocketAddr, asked: &str, patience: Duration) -> Answer {
    let (word, rest) = asked.split_once(' ').unwrap();
    let (packet, tcp) = match word {
        "DIG" => query(rest),
        hex => (unhex(rest.trim_matches('-')), hex == "HEX+TCP"),
    };
    let answer = match tcp {
        true => over_tcp(to, &packet, patience),
        false => over_udp(to, &packet, patience),
    };
    match answer {
        None => Answer { status: "no answer".to_owned(), ..Answer::default() },
        Some(bytes) => Message { bytes: &bytes }.answer().unwrap_or_else(|| {
            let status = "unparsable".to_owned();
            Answer { status, body: format!("{bytes:02x?}"), ..Answer::default() }
        }),
    }
}

fn over_udp(to: SocketAddr, packet: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.send_to(packet, to).unwrap();
    let mut bytes = vec![0; 65535];
    let len = socket.recv(&mut bytes).ok()?;
    bytes.truncate(len);
    Some(bytes)
}

fn over_tcp(to: SocketAddr, packet: &[u8], patience: Duration) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut framed = u16::try_from(packet.len()).unwrap().to_be_bytes().to_vec();
    framed.extend(packet);
    stream.write_all(&framed).unwrap();
    let mut len = [0; 2];
    stream.read_exact(&mut len).ok()?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

/// A packet from dig's words, and whether it goes over TCP.
fn query(words: &str) -> (Vec<u8>, bool) {
    let mut words = words.split(' ');
    let (name, kind) = (words.next().unwrap(), words.next().unwrap());
    let (mut class, mut flags, mut tcp, mut size) = ("IN", 0x100, false, None);
    let (mut options, mut extended) = (Vec::new(), 0u32);
    while let Some(word) = words.next() {
        let (word, value) = word.split_once('=').unwrap_or((word, ""));
        match word {
            "-c" => class = words.next().unwrap(),
            "+tcp" => tcp = true,
            "+norecurse" => flags &= !0x100,
            "+noedns" => size = None,
            "+bufsize" => size = Some(value.parse::<u16>().unwrap()),
            "+dnssec" => extended |= 0x8000,
            "+adflag" => flags |= 0x20,
            "+cdflag" => flags |= 0x10,
            "+edns" => extended |= value.parse::<u32>().unwrap() << 16,
            "+opcode" => flags |= number(&OPCODES, value) << 11,
            "+cookie" => option(&mut options, 10, &unhex(value)),
            "+subnet" => option(&mut options, ECS, &subnet(value)),
            other => panic!("{other}: what is that?"),
        }
    }
    let counts = [0x1234, flags, 1, 0, 0, u16::from(size.is_some())];
    let mut packet: Vec<u8> = counts.into_iter().flat_map(u16::to_be_bytes).collect();
    packet.extend(name_bytes(name));
    packet.extend([number(&TYPES, kind), number(&CLASSES, class)].map(u16::to_be_bytes).concat());
    if let Some(size) = size {
        packet.push(0);
        packet.extend([OPT, size].map(u16::to_be_bytes).concat());
        packet.extend(extended.to_be_bytes());
        packet.extend(u16::try_from(options.len()).unwrap().to_be_bytes());
        packet.extend(options);
    }
    (packet, tcp)
}

fn option(options: &mut Vec<u8>, code: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap();
    options.extend([code, len].map(u16::to_be_bytes).concat());
    options.extend(value);
}

fn subnet(text: &str) -> Vec<u8> {
    let (address, prefix) = text.split_once('/').unwrap();
    let prefix: u8 = prefix.parse().unwrap();
    let (family, bytes) = match address.parse::<IpAddr>().unwrap() {
        IpAddr::V4(ip) => (1u16, ip.octets().to_vec()),
        IpAddr::V6(ip) => (2, ip.octets().to_vec()),
    };
    let mut value = family.to_be_bytes().to_vec();
    value.extend([prefix, 0]);
    value.extend(&bytes[..usize::from(prefix).div_ceil(8)]);
    value
}

fn name_bytes(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// A packet that came; what reads beyond its end finds nothing.
struct Message<'a> {
    bytes: &'a [u8],
}

impl Message<'_> {
    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes.get(at..at + 2)?.try_into().ok()?))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes.get(at..at + 4)?.try_into().ok()?))
    }

    fn answer(&self) -> Option<Answer> {
        let flags = self.u16(2)?;
        let counts = [self.u16(4)?, self.u16(6)?, self.u16(8)?, self.u16(10)?];
        let code = usize::from(flags & 15);
        let mut status =
            CODES.get(code).map_or_else(|| format!("RCODE{code}"), |c| (*c).to_owned());
        let set = FLAGS.iter().filter(|(_, bit)| flags & bit != 0);
        set.for_each(|(name, _)| status += &format!(" {name}"));
        let opcode = (flags >> 11) & 15;
        if opcode != 0 {
            status += &format!(" opcode={opcode}");
        }
        let (mut body, mut at, mut edns) = (String::new(), 12, "none".to_owned());
        for _ in 0..counts[0] {
            let (name, next) = self.name(at)?;
            let (kind, class) = (self.u16(next)?, self.u16(next + 2)?);
            at = next + 4;
            let class = name_of(&CLASSES, class, "");
            let _ = writeln!(body, ";; QUESTION\n{name} {class} {}", name_of(&TYPES, kind, "TYPE"));
        }
        for (title, count) in ["ANSWER", "AUTHORITY", "ADDITIONAL"].iter().zip(&counts[1..]) {
            let mut records = Vec::new();
            for _ in 0..*count {
                let (name, next) = self.name(at)?;
                let (kind, len) = (self.u16(next)?, usize::from(self.u16(next + 8)?));
                at = next + 10 + len;
                match kind {
                    OPT => edns = self.edns(next)?,
                    _ => records.push(self.record(&name, next, len)?),
                }
            }
            if !records.is_empty() {
                let _ = writeln!(body, ";; {title}\n{}", records.join("\n"));
            }
        }
        let headers = [
            ("edns", edns),
            ("counts", counts.map(|count| count.to_string()).join(" ")),
            ("size", self.bytes.len().to_string()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
        Some(Answer { status, headers, body: body.trim_end().to_owned(), ..Answer::default() })
    }

    /// The name at that place, and where the next thing is.
    fn name(&self, start: usize) -> Option<(String, usize)> {
        let (mut text, mut at, mut end) = (String::new(), start, None);
        for _ in 0..HOPS {
            let len = usize::from(*self.bytes.get(at)?);
            if len & 0xc0 == 0xc0 {
                end = end.or(Some(at + 2));
                at = usize::from(self.u16(at)? & 0x3fff);
                continue;
            }
            at += 1;
            if len == 0 {
                let text = if text.is_empty() { ".".to_owned() } else { text };
                return Some((text, end.unwrap_or(at)));
            }
            for byte in self.bytes.get(at..at + len)? {
                match byte {
                    b'.' | b'\\' | b'"' => text += &format!("\\{}", char::from(*byte)),
                    33..127 => text.push(char::from(*byte)),
                    other => text += &format!("\\{other:03}"),
                }
            }
            text.push('.');
            at += len;
        }
        None
    }

    fn edns(&self, at: usize) -> Option<String> {
        let (size, extended, len) = (self.u16(at + 2)?, self.u32(at + 4)?, self.u16(at + 8)?);
        let (version, code) = ((extended >> 16) & 255, extended >> 24);
        let secure = if extended & 0x8000 != 0 { " do" } else { "" };
        let mut text = format!("version {version} udp {size} flags{secure} extrcode {code}");
        let (mut at, end) = (at + 10, at + 10 + usize::from(len));
        while at < end {
            let (code, len) = (self.u16(at)?, usize::from(self.u16(at + 2)?));
            let value = self.bytes.get(at + 4..at + 4 + len)?;
            at += 4 + len;
            text += &match code {
                ECS => format!("; ECS {}", ecs(value)?),
                _ => {
                    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
                    format!("; opt{code} {hex}")
                }
            };
        }
        Some(text)
    }

    fn record(&self, name: &str, at: usize, len: usize) -> Option<String> {
        let (kind, class, ttl) = (self.u16(at)?, self.u16(at + 2)?, self.u32(at + 4)?);
        let start = at + 10;
        let data = self.bytes.get(start..start + len)?;
        let data = match kind {
            1 => Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).to_string(),
            28 => Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string(),
            2 | 5 | 12 => self.name(start)?.0,
            33 => {
                let [priority, weight, port] =
                    [self.u16(start)?, self.u16(start + 2)?, self.u16(start + 4)?];
                format!("{priority} {weight} {port} {}", self.name(start + 6)?.0)
            }
            6 => {
                let (server, next) = self.name(start)?;
                let (person, next) = self.name(next)?;
                let numbers = (0..5).map(|i| self.u32(next + 4 * i).map(|n| n.to_string()));
                let numbers = numbers.collect::<Option<Vec<String>>>()?.join(" ");
                format!("{server} {person} {numbers}")
            }
            16 => texts(data)?,
            _ => {
                let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("\\# {len} {hex}")
            }
        };
        let class = name_of(&CLASSES, class, "CLASS");
        Some(format!("{name} {ttl} {class} {} {data}", name_of(&TYPES, kind, "TYPE")))
    }
}

fn ecs(value: &[u8]) -> Option<String> {
    let (family, prefix, scope) = (value.get(1)?, value.get(2)?, value.get(3)?);
    let mut bytes = [0; 16];
    let given = value.get(4..)?;
    bytes.get_mut(..given.len())?.copy_from_slice(given);
    let address = match family {
        1 => IpAddr::from(<[u8; 4]>::try_from(&bytes[..4]).ok()?),
        _ => IpAddr::from(bytes),
    };
    Some(format!("{address}/{prefix}/{scope}"))
}

fn texts(data: &[u8]) -> Option<String> {
    let (mut texts, mut rest) = (Vec::new(), data);
    while let Some((len, after)) = rest.split_first() {
        let (text, next) = after.split_at_checked(usize::from(*len))?;
        let shown = text.iter().map(|byte| match byte {
            b'"' | b'\\' => format!("\\{}", char::from(*byte)),
            32..127 => char::from(*byte).to_string(),
            other => format!("\\{other:03}"),
        });
        texts.push(format!("\"{}\"", shown.collect::<String>()));
        rest = next;
    }
    Some(texts.join(" "))
}
