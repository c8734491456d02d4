//! What checks look at and what names are forwarded to: a small HTTP server and a small resolver.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::thread;

/// The ports of the record.
const HTTP: u16 = 18990;
const DNS: u16 = 18991;

/// They live as long as this process.
pub fn start(place: Ipv4Addr) {
    let listener = TcpListener::bind((place, HTTP)).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    let socket = UdpSocket::bind((place, DNS)).unwrap();
    thread::spawn(move || resolve(&socket));
}

/// Requests on one connection, until one cannot be read.
fn serve(stream: TcpStream) -> Option<()> {
    let mut writer = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).is_err() {
            // What begins a TLS session is no text.
            return writer.write_all(b"HTTP/1.1 400 Bad request\r\n\r\n").ok();
        }
        let mut words = first.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return writer.write_all(b"HTTP/1.1 400 Bad request\r\n\r\n").ok();
        };
        let (method, path) = (method.to_owned(), path.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            match line.trim_end().split_once(": ") {
                Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
                None => break,
            }
        }
        let is_length = |name: &str| name.eq_ignore_ascii_case("content-length");
        let length = headers.iter().find(|(name, _)| is_length(name));
        let mut sent = vec![0; length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)];
        reader.read_exact(&mut sent).ok()?;
        let status: u16 = path.get(1..4).and_then(|code| code.parse().ok()).unwrap_or(200);
        let body = match path.as_str() {
            big if big.starts_with("/big") => "0123456789".repeat(1000) + "END",
            echo if echo.starts_with("/echo") => {
                let mut lines: Vec<String> =
                    headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
                lines.sort();
                let sent = String::from_utf8_lossy(&sent);
                format!("{method} {path}\n{}body={sent}", lines.concat())
            }
            _ => format!("stub says {status}"),
        };
        let reason = match status {
            200 => "OK",
            201 => "Created",
            304 => "Not Modified",
            404 => "Not Found",
            429 => "Too Many Requests",
            _ => "Internal Server Error",
        };
        let length = body.len();
        let head = format!("HTTP/1.1 {status} {reason}\r\nContent-Length: {length}\r\n\r\n");
        writer.write_all((head + &body).as_bytes()).ok()?;
    }
}

/// Knows one address and one name; some names it refuses, or never answers.
fn resolve(socket: &UdpSocket) {
    let mut bytes = [0; 4096];
    while let Ok((len, from)) = socket.recv_from(&mut bytes) {
        if let Some(answer) = resolved(&bytes[..len]) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn resolved(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    let mut labels = Vec::new();
    while *query.get(end)? != 0 {
        let len = usize::from(query[end]);
        labels.push(String::from_utf8_lossy(query.get(end + 1..end + 1 + len)?).to_lowercase());
        end += 1 + len;
    }
    let question = query.get(12..end + 5)?;
    let kind = u16::from_be_bytes(query.get(end + 1..end + 3)?.try_into().ok()?);
    let (code, data): (u8, Option<Vec<u8>>) = match labels.first().map(String::as_str) {
        Some("nx") => (3, None),
        Some("fail") => (2, None),
        Some("drop") => return None,
        _ => match kind {
            1 | 255 => (0, Some([&[0, 1], &[192, 0, 2, 9][..]].concat())),
            12 => (0, Some([&[0, 12], &b"\x03ptr\x07example\x03net\x00"[..]].concat())),
            _ => (0, None),
        },
    };
    let mut answer = query[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(data.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(data) = data {
        let (kind, data) = data.split_at(2);
        answer.extend([0xc0, 0x0c]);
        answer.extend(kind);
        answer.extend([0, 1, 0, 0, 0, 77]);
        answer.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        answer.extend(data);
    }
    Some(answer)
}
