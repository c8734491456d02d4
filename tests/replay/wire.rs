//! HTTP/1.x on a bare connection: one request, and its answer as it comes in.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long an answer that must come may take on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Silence that says that nothing more comes.
pub const QUIET: Duration = Duration::from_millis(150);

/// What is asked, but for `Host` and the length.
pub struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub headers: &'a [(String, String)],
    pub body: Option<&'a [u8]>,
    /// The body goes on: as chunks, the first of which is `body`.
    pub open: bool,
}

/// The first lines of an answer.
#[derive(Debug, Clone)]
pub struct Head {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A connection with one request on it.
pub struct Exchange {
    socket: TcpStream,
    /// Came in, and is not yet understood.
    raw: Vec<u8>,
    /// The answer to this method has no body.
    bodiless: bool,
    pub head: Option<Head>,
    pub body: Vec<u8>,
    /// The answer is whole.
    pub ended: bool,
    /// The other side has closed the connection.
    pub closed: bool,
}

impl Exchange {
    pub fn send(address: SocketAddr, request: &Request<'_>) -> Exchange {
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: {address}\r\n", request.method, request.path);
        for (name, value) in request.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let body = request.body.unwrap_or_default();
        match request.body {
            _ if request.open => head += "Transfer-Encoding: chunked\r\n",
            Some(body) => head += &format!("Content-Length: {}\r\n", body.len()),
            None => {}
        }
        head += "\r\n";
        let mut exchange = Exchange::bare(address, head.as_bytes());
        exchange.bodiless = request.method == "HEAD";
        match request.open {
            true => exchange.send_chunk(body),
            false => exchange.send_body(body),
        }
        exchange
    }

    /// Who refuses a long body may hang up before all of it is sent: the answer tells.
    pub fn send_body(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// Whatever the bytes are.
    pub fn bare(address: SocketAddr, bytes: &[u8]) -> Exchange {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.write_all(bytes).unwrap();
        let (raw, body) = (Vec::new(), Vec::new());
        Exchange { socket, raw, bodiless: false, head: None, body, ended: false, closed: false }
    }

    pub fn send_chunk(&mut self, bytes: &[u8]) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend(bytes);
        chunk.extend(b"\r\n");
        // Where it fails the other side is gone, which the next read says.
        let _ = self.socket.write_all(&chunk);
    }

    /// Takes in what comes until then; false if nothing came, or nothing more will.
    pub fn read(&mut self, until: Instant) -> bool {
        if self.read_raw(until) {
            self.understand();
            return true;
        }
        self.ended |= self.closed;
        false
    }

    /// The same, without looking at what came.
    pub fn read_raw(&mut self, until: Instant) -> bool {
        let left = until.saturating_duration_since(Instant::now());
        if self.closed || left.is_zero() {
            return false;
        }
        self.socket.set_read_timeout(Some(left)).unwrap();
        let mut bytes = [0; 1 << 16];
        match self.socket.read(&mut bytes) {
            Ok(0) => self.closed = true,
            Ok(len) => {
                self.raw.extend(&bytes[..len]);
                return true;
            }
            Err(e) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&e.kind()) => {}
            Err(_) => self.closed = true,
        }
        false
    }

    /// The lines of the body from that byte on, as far as they are whole, and where the next begins.
    pub fn lines(&self, from: usize) -> (Vec<String>, usize) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let rest = &self.body[from..];
        let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut lines: Vec<String> = text(&rest[..whole]).lines().map(str::to_owned).collect();
        let mut next = from + whole;
        if self.ended && next < self.body.len() {
            lines.extend([text(&rest[whole..]), "~ no newline at the end".to_owned()]);
            next = self.body.len();
        }
        (lines, next)
    }

    /// Everything that came and was not understood.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Nothing more will be asked or taken.
    pub fn hang_up(&self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    fn understand(&mut self) {
        while self.head.is_none() {
            let Some(end) = find(&self.raw, b"\r\n\r\n") else { return };
            let head: Vec<u8> = self.raw.drain(..end + 4).collect();
            let head = parse_head(&String::from_utf8_lossy(&head));
            // 100 only says that the body may come.
            if head.status != 100 {
                self.head = Some(head);
            }
        }
        let head = self.head.as_ref().unwrap();
        if self.bodiless {
            self.ended = true;
        } else if head.header("transfer-encoding") == Some("chunked") {
            self.chunks();
        } else if let Some(len) = head.header("content-length") {
            let len: usize = len.parse().unwrap();
            self.body.append(&mut self.raw);
            self.ended = self.body.len() >= len;
        } else {
            // Its end is that of the connection, but for answers that never have a body.
            self.body.append(&mut self.raw);
            self.ended = head.status == 204 || head.status == 304;
        }
    }

    fn chunks(&mut self) {
        while let Some(at) = find(&self.raw, b"\r\n") {
            let len = usize::from_str_radix(&String::from_utf8_lossy(&self.raw[..at]), 16).unwrap();
            let (start, end) = (at + 2, at + 2 + len);
            if len == 0 {
                self.ended = true;
                return;
            }
            if self.raw.len() < end + 2 {
                return;
            }
            self.body.extend(&self.raw[start..end]);
            self.raw.drain(..end + 2);
        }
    }

    /// Waits for the whole answer; none if the connection ended, or the time, without one.
    pub fn finish(&mut self, patience: Duration) -> Result<(), &'static str> {
        let until = Instant::now() + patience;
        while !self.ended && self.read(until) {}
        match (&self.head, self.ended) {
            (Some(_), true) => Ok(()),
            (_, _) if self.closed => Err("closed"),
            _ => Err("timeout"),
        }
    }
}

fn parse_head(text: &str) -> Head {
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    Head { status, headers: lines.map(header).collect() }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
