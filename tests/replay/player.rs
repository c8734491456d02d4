//! Asks what a block asks, and writes down what is answered as a block.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::{Value, json};

use super::abridge::shorten;
use super::body::{bare, base64, bytes};
use super::house::{Agent, Cluster, eventually};
use super::mask::Mask;
use super::setup::{self, Act};
use super::transcript::{Block, answers};
use super::wire::{Exchange, PATIENCE, QUIET, Request};

/// Of whoever puts many keys.
const CLIENTS: usize = 32;

/// Agents of its own, and what has happened on them.
pub struct Player {
    servers: Vec<Server>,
    blocks: HashMap<String, Block>,
    /// Clients in the background, by the block that their answer belongs to.
    waiting: HashMap<String, JoinHandle<Block>>,
    pub recorded: Mask,
    pub answered: Mask,
}

struct Server {
    /// What the transcript calls it.
    label: Option<String>,
    agent: Agent,
}

/// The one that leads, and its followers.
fn three() -> Vec<Server> {
    let cluster = Cluster::with(3, |_, spec| setup::advertised(spec));
    let leader = cluster.leader();
    let mut followers = ["follower1", "follower2"].into_iter();
    let servers = cluster.servers.into_iter().enumerate().map(|(i, agent)| {
        let label = if i == leader { "leader" } else { followers.next().unwrap() };
        Server { label: Some(label.to_owned()), agent }
    });
    servers.collect()
}

impl Player {
    pub fn start(topic: &str, blocks: &[Block]) -> Player {
        let servers = match topic {
            "cluster3" => three(),
            _ => vec![Server { label: None, agent: Agent::start(setup::spec(topic)) }],
        };
        Player {
            servers,
            blocks: blocks.iter().map(|block| (block.id.clone(), block.clone())).collect(),
            waiting: HashMap::new(),
            recorded: Mask::new(blocks),
            answered: Mask::new(blocks),
        }
    }

    fn address(&self, server: Option<&str>) -> SocketAddr {
        let found = self.servers.iter().find(|known| known.label.as_deref() == server);
        found.unwrap().agent.spec.place.http().parse().unwrap()
    }

    /// The block with the answers of this time.
    pub fn play(&mut self, block: &Block) -> Block {
        setup::before(&block.id).into_iter().for_each(|act| self.act(act));
        let answered = match self.waiting.remove(&block.id) {
            Some(waiting) => waiting.join().unwrap(),
            None if block.is_raw() => self.raw(block),
            None if block.is_stream() => self.stream(block),
            None => {
                let asked = self.translated(block);
                let settle = || {
                    let acts = setup::before_hanging_up(&block.id);
                    acts.into_iter().for_each(|act| self.act_quietly(act));
                };
                call(self.address(block.server.as_deref()), &asked, settle)
            }
        };
        setup::after(&block.id).into_iter().for_each(|act| self.act(act));
        answered
    }

    fn translated(&self, block: &Block) -> Block {
        let translate = |text: &str| self.recorded.translate(text, &self.answered);
        let headers = block.headers.iter();
        Block {
            headers: headers.map(|(name, value)| (name.clone(), translate(value))).collect(),
            body: block.body.as_deref().map(translate),
            ..block.clone()
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Wait(id) => {
                let asked = self.translated(&self.blocks[id]);
                let address = self.address(None);
                let client = std::thread::spawn(move || call(address, &asked, || {}));
                self.waiting.insert(id.to_owned(), client);
            }
            act => self.act_quietly(act),
        }
    }

    fn act_quietly(&self, act: Act) {
        match act {
            Act::Ask(path, body) => drop(self.ask(path, &body)),
            Act::Until(prefix, count) => {
                let mut end = prefix.as_bytes().to_vec();
                *end.last_mut().unwrap() += 1;
                let body = json!({"key": base64(prefix), "range_end": base64(end)});
                eventually(&format!("{prefix} has {count} keys"), PATIENCE, || {
                    let (_, answer) = self.ask("/v3/kv/range", &body);
                    let keys = answer["kvs"].as_array().map_or(0, Vec::len);
                    if keys == count { Ok(()) } else { Err(answer.to_string()) }
                });
            }
            Act::UntilLeads(label) => {
                let address = self.address(Some(label));
                eventually(&format!("{label} leads"), PATIENCE, || {
                    let (_, answer) = ask(address, "/v3/maintenance/status", b"{}", &[]);
                    let leads = answer["leader"] == answer["header"]["member_id"];
                    if leads { Ok(()) } else { Err(answer.to_string()) }
                });
            }
            Act::Put(keys) => {
                assert_eq!(self.put_until_refused(&keys), keys.len(), "some key was refused");
            }
            Act::Fill(keys) => {
                assert!(self.put_until_refused(&keys) < keys.len(), "nothing has filled it");
            }
            Act::Wait(_) => unreachable!("needs a client of its own"),
        }
    }

    /// Many clients at once; how many keys were put before the first was refused.
    fn put_until_refused(&self, keys: &[Value]) -> usize {
        let (next, full) = (AtomicUsize::new(0), AtomicBool::new(false));
        let put = || {
            let mut done = 0;
            while !full.load(Ordering::Relaxed) {
                let Some(key) = keys.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                match self.ask("/v3/kv/put", key).0 {
                    200 => done += 1,
                    _ => full.store(true, Ordering::Relaxed),
                }
            }
            done
        };
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(put)).collect();
            clients.into_iter().map(|client| client.join().unwrap()).sum()
        })
    }

    fn ask(&self, path: &str, body: &Value) -> (u16, Value) {
        ask(self.address(None), path, body.to_string().as_bytes(), &[])
    }

    /// A stream's messages, and what is done between them, in the order of the transcript: as many
    /// messages are awaited as came there.
    fn stream(&self, block: &Block) -> Block {
        let asked = self.translated(block);
        let address = self.address(block.server.as_deref());
        let body = bytes(asked.body.as_deref().unwrap_or_default());
        let mut stream = Exchange::send(
            address,
            &Request {
                method: &asked.method,
                path: &asked.path,
                headers: &asked.headers,
                body: Some(&body),
                open: asked.left_open,
            },
        );
        let mut answer: Vec<String> = Vec::new();
        let mut taken = 0;
        let steps = block.answer.split_inclusive(|line| line.starts_with("~ "));
        for step in steps {
            let (action, messages) = match step.split_last() {
                Some((last, before)) if last.starts_with("~ ") => (Some(last), before),
                _ => (None, step),
            };
            let until = Instant::now() + PATIENCE;
            while stream.lines(taken).0.len() < messages.len() && stream.read(until) {}
            let (lines, next) = stream.lines(taken);
            answer.extend(lines);
            taken = next;
            if let Some(action) = action {
                answer.push(self.between(address, &mut stream, action, &asked.headers));
            }
        }
        let closes = block.end.starts_with("messages") && block.end.contains("closed");
        let mut until = Instant::now() + if closes { PATIENCE } else { QUIET };
        while !stream.ended && stream.read(until) {
            if !closes {
                until = Instant::now() + QUIET;
            }
        }
        answer.extend(stream.lines(taken).0);
        let answer: Vec<String> = answer.iter().map(|line| shorten(block, line)).collect();
        let messages = answer.iter().filter(|line| !line.starts_with("~ ")).count();
        let state = if stream.ended { "closed" } else { "open" };
        let words = block.end.split(' ').skip(3).map(|word| format!(" {word}"));
        let end = format!("messages {messages} {state}{}", words.collect::<String>());
        let (status, answer_headers) = match &stream.head {
            Some(head) => (head.status.to_string(), head.headers.clone()),
            None => ("none".to_owned(), Vec::new()),
        };
        Block { status, answer_headers, answer, end, ..block.clone() }
    }

    /// What another client does while the stream is open; a wait is over when what it waited for
    /// has come.
    fn between(
        &self,
        address: SocketAddr,
        stream: &mut Exchange,
        action: &str,
        headers: &[(String, String)],
    ) -> String {
        if let Some(message) = action.strip_prefix("~ send ") {
            stream.send_chunk(message.as_bytes());
        } else if let Some(post) = action.strip_prefix("~ POST ") {
            let (asked, _) = post.rsplit_once(" -> ").unwrap();
            let (path, body) = asked.split_once(' ').unwrap();
            let body = self.recorded.translate(body, &self.answered);
            let (status, _) = ask(address, path, body.as_bytes(), headers);
            return format!("~ POST {asked} -> {status}");
        }
        action.to_owned()
    }

    /// Bytes on a connection, and every byte of the answer but for dates and lengths.
    fn raw(&self, block: &Block) -> Block {
        let bytes = bare(block.body.as_deref().unwrap_or_default());
        let mut connection = Exchange::bare(self.address(None), bytes.as_bytes());
        let mut until = Instant::now() + PATIENCE;
        while connection.read_raw(until) {
            until = Instant::now() + QUIET;
        }
        let came = String::from_utf8_lossy(connection.raw()).replace("\r\n", "\n");
        let state = if connection.closed { "closed" } else { "open" };
        let answer = answers(&format!("{came}\n<connection {state}>"));
        Block { answer, ..block.clone() }
    }
}

/// One request. Where the transcript says that no answer came, the client hangs up after
/// `settle` and a silence.
fn call(address: SocketAddr, block: &Block, settle: impl FnOnce()) -> Block {
    let body = block.body.as_deref().map(bytes);
    let mut exchange = Exchange::send(
        address,
        &Request {
            method: &block.method,
            path: &block.path,
            headers: &block.headers,
            body: body.as_deref(),
            open: false,
        },
    );
    let patience = if block.status == "timeout" { QUIET } else { PATIENCE };
    settle();
    let finished = exchange.finish(patience);
    exchange.hang_up();
    let blank = Block { answer_headers: Vec::new(), answer: Vec::new(), ..block.clone() };
    let Some(head) = exchange.head.as_ref().filter(|_| finished.is_ok()) else {
        let status = finished.err().unwrap_or("closed").to_owned();
        return Block { status, end: "bytes 0".to_owned(), ..blank };
    };
    let text = String::from_utf8_lossy(&exchange.body);
    let lines = text.strip_suffix('\n').unwrap_or(&text).split('\n');
    let answer = match text.is_empty() {
        true => Vec::new(),
        false => lines.map(|line| shorten(block, line)).collect(),
    };
    let end = match block.is_abridged() {
        true => "abridged".to_owned(),
        false => format!("bytes {}", exchange.body.len()),
    };
    let (status, answer_headers) = (head.status.to_string(), head.headers.clone());
    Block { status, answer_headers, answer, end, ..blank }
}

fn ask(address: SocketAddr, path: &str, body: &[u8], headers: &[(String, String)]) -> (u16, Value) {
    let body = Some(body);
    let request = Request { method: "POST", path, headers, body, open: false };
    let mut exchange = Exchange::send(address, &request);
    exchange.finish(PATIENCE).unwrap();
    let status = exchange.head.as_ref().map_or(0, |head| head.status);
    (status, serde_json::from_slice(&exchange.body).unwrap_or_default())
}
