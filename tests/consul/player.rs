//! Asks what a block asks, does what the recorder did beside it, and says what differs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::body::bytes;
use super::facts::{self, Waited};
use super::http::{self, Raw, Request};
use super::live;
use super::mask;
use super::names::Names;
use super::rules::Expected;
use super::setup::{Act, Ask, Setup};
use super::stage::{LOOPBACK, Stage};
use super::transcript::{Answer, Block};
use super::{dns, record, sections};

/// How long an answer that must come may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// What settles does so within this, all of it together.
const SETTLES: Duration = Duration::from_secs(8);
/// The longest that anything of the set-up is waited for, and of a real Consul.
const COMES: Duration = Duration::from_secs(25);
const COMES_OF_CONSUL: Duration = Duration::from_secs(150);
/// Silence that says that a query waits.
const QUIET: Duration = Duration::from_millis(100);
/// No answer for so long is none.
const SILENCE: Duration = Duration::from_secs(1);
/// Where Consul's agents gossip, within a datacenter and between several; here agents have one port
/// for each other.
const PORTS: [&str; 2] = ["/join/127.0.0.1:18503", "/join/127.0.0.1:18504"];
const PEERS: &str = "/join/127.0.0.1:18502";
const STEP: Duration = Duration::from_millis(50);

/// Agents of its own, and what has happened on them.
pub struct Player {
    pub stage: Stage,
    pub waited: Waited,
    /// A query that waited while a snapshot was restored, and the index that it had before.
    pub restored: Option<Raw>,
    pub before_restore: i64,
    setup: Setup,
    names: Names,
    /// Until then what was written a moment ago may not show yet.
    settles: Option<Instant>,
    archive: Vec<u8>,
}

impl Player {
    /// On agents of Remora's, or on those of the Consul whose program that is.
    pub fn start(profile: &str, consul: Option<PathBuf>) -> Player {
        Player {
            stage: Stage::start(profile, consul),
            waited: Waited::default(),
            restored: None,
            before_restore: 0,
            setup: Setup::default(),
            names: Names::default(),
            settles: None,
            archive: Vec::new(),
        }
    }

    pub fn topic(&mut self, topic: &str) {
        self.setup = Setup::of(topic);
    }

    /// What differs from what is expected, if anything does.
    pub fn play(&mut self, expected: &Expected) -> Option<String> {
        let block = &expected.block;
        if !self.stage.has(block.agent.as_deref()) {
            let same = expected.any || block.answer.status == "nobody to ask";
            return (!same).then(|| format!("--- {}: nobody to ask\n", block.id));
        }
        let (_, difference, raw) = self.ask_and_compare(expected);
        let mut text = difference.unwrap_or_default();
        for (name, wanted) in &block.answer.facts {
            let found = facts::work_out(self, block, raw.as_ref(), name);
            if found != *wanted {
                text += &format!("--- {}: {name}\n  - {wanted}\n  + {found}\n", block.id);
            }
        }
        (!text.is_empty()).then_some(text)
    }

    /// The block as these agents answer it, which are a real Consul's: where that is as it was
    /// recorded, as the record has it.
    pub fn retell(&mut self, block: &Block) -> Block {
        if !self.stage.has(block.agent.as_deref()) {
            return block.clone();
        }
        let (answered, difference, raw) = self.ask_and_compare(&live::as_it_is(block));
        let mut told = match difference {
            Some(_) => live::retold(block, &self.here_as_recorded(answered), &self.names),
            None => block.clone(),
        };
        for (name, known) in &mut told.answer.facts {
            // What is in its archive is looked at nowhere else.
            if !name.contains("gzip") && !name.contains("SHA256") && !name.contains("meta.json") {
                *known = facts::work_out(self, block, raw.as_ref(), name);
            }
        }
        told
    }

    /// With all that was done around it.
    fn ask_and_compare(&mut self, expected: &Expected) -> (Answer, Option<String>, Option<Raw>) {
        let block = &expected.block;
        let number = block.number();
        let writes = !(block.asked.starts_with("GET ") || block.is_dns());
        self.acts(self.setup.before.get(&number).cloned());
        self.settles = self.settles.filter(|_| !writes);
        let heard = loop {
            let (answered, raw) = self.ask(block);
            let difference = self.difference(expected, answered.clone());
            let again = self.settles.is_some_and(|until| Instant::now() < until);
            if difference.is_none() || !again {
                break (answered, difference, raw);
            }
            thread::sleep(STEP);
        };
        self.acts(self.setup.after.get(&number).cloned());
        heard
    }

    fn difference(&mut self, expected: &Expected, answered: Answer) -> Option<String> {
        let block = &expected.block;
        let code = |status: &str| match block.is_dns() || status.starts_with('0') {
            true => status.to_owned(),
            false => status.split(' ').next().unwrap_or_default().to_owned(),
        };
        let mut wanted = block.clone();
        wanted.answer.status = code(&block.answer.status);
        let word = |status: &str| status.split(' ').next().unwrap_or_default().to_owned();
        if expected.any && word(&answered.status) == word(&wanted.answer.status) {
            return None;
        }
        let ours = Block { answer: self.here_as_recorded(answered), ..wanted.clone() };
        if let Some(most) = expected.fits {
            wanted.answer = sections::trimmed(&wanted.answer, &ours.answer, most);
        }
        let (left, right) = mask::lines(&wanted, &ours, &mut self.names);
        record::difference(&format!("{} {} {}", block.id, block.title, block.asked), &left, &right)
    }

    /// The answer with the machine's address as the record has it.
    fn here_as_recorded(&self, mut answer: Answer) -> Answer {
        let [a, b, c, d] = self.stage.place.0.octets();
        let pairs = [
            (format!("{a}.{b}.{c}.{d}"), LOOPBACK),
            (format!("{d}.{c}.{b}.{a}.in-addr"), "1.0.0.127.in-addr"),
            (format!("{a:02x}{b:02x}{c:02x}{d:02x}.addr"), "7f000001.addr"),
        ];
        let recorded = |text: &str| {
            let replace = |text: String, (here, there): &(String, &str)| text.replace(here, there);
            pairs.iter().fold(text.to_owned(), replace)
        };
        answer.body = recorded(&answer.body);
        for (_, value) in &mut answer.headers {
            *value = recorded(value);
        }
        answer
    }

    /// A request of the record with this run's address and ids.
    fn ours_of(&mut self, text: &str) -> String {
        let [a, b, c, d] = self.stage.place.0.octets();
        let peers = PORTS.iter().fold(text.to_owned(), |text, port| text.replace(port, PEERS));
        let text = peers.replace(LOOPBACK, &self.stage.place.0.to_string());
        let text = text.replace("1.0.0.127.in-addr", &format!("{d}.{c}.{b}.{a}.in-addr"));
        let text = text.replace("7f000001.addr", &format!("{a:02x}{b:02x}{c:02x}{d:02x}.addr"));
        self.names.ours_of(&text)
    }

    fn translated(&mut self, block: &Block) -> Block {
        let mut ours = block.clone();
        ours.asked = self.ours_of(&block.asked);
        ours.body = block.body.as_deref().map(|body| self.ours_of(body));
        for (_, value) in &mut ours.headers {
            *value = self.ours_of(value);
        }
        if block.is("idx") || block.is("hash") {
            if block.answer.how.is_some() {
                self.learn_index(block, &ours);
            }
            ours.asked = self.names.numbers_of(&ours.asked);
            ours.body = ours.body.as_deref().map(|body| self.names.numbers_of(body));
        }
        ours
    }

    /// A blocking query takes up from the answer to the same question without an index, right
    /// before; from one that no answer can have had yet it is the recorder's own.
    fn learn_index(&mut self, recorded: &Block, ours: &Block) {
        let asked = recorded.asked.split(['?', '&']).find_map(|part| part.strip_prefix("index="));
        let Some(asked) = asked.filter(|index| *index != "1") else { return };
        let path = ours.asked.split_once(' ').unwrap().1;
        let (path, queries) = path.split_once('?').unwrap();
        let kept = queries
            .split('&')
            .filter(|query| !query.starts_with("index=") && !query.starts_with("wait="));
        let kept: Vec<&str> = kept.collect();
        let index = self.index_of(&format!("{path}?{}", kept.join("&")));
        let future = if recorded.title.contains("from the future") { 100_000 } else { 0 };
        self.names.learn_number(asked, &(index + future).to_string());
    }

    /// The index that this run asked with.
    pub fn asked_index(&self, block: &Block) -> String {
        let asked = self.names.numbers_of(&block.asked);
        let index = asked.split(['?', '&']).find_map(|part| part.strip_prefix("index="));
        index.unwrap_or("0").to_owned()
    }

    fn ask(&mut self, block: &Block) -> (Answer, Option<Raw>) {
        let mut ours = self.translated(block);
        if block.is_dns() {
            let to = self.stage.dns(block.agent.as_deref());
            let patience = match block.answer.status.as_str() {
                "no answer" => Duration::from_millis(300),
                _ => Duration::from_secs(20),
            };
            return (dns::ask(to, &ours.asked, patience), None);
        }
        let archive = self.archive_of(block);
        let to = self.stage.http(block.agent.as_deref());
        let (mut answer, raw) = match &block.answer.how {
            Some(how) => {
                if how == "when the wait ran out" {
                    ours.asked = shorter(&ours.asked);
                }
                self.waiting(block, &ours)
            }
            None if archive.is_some() => self.restore(block, &ours, &archive.unwrap()),
            None if block.answer.status.starts_with("0 no answer") => http::ask(to, &ours, SILENCE),
            None => http::ask(to, &ours, PATIENCE),
        };
        if let (Some(raw), true) = (&raw, block.asked == "GET /v1/snapshot") {
            self.archive.clone_from(&raw.body);
        }
        let hash = |headers: &[(String, String)]| {
            let mut found = headers.iter();
            let is_it = |name: &str| name.eq_ignore_ascii_case("x-consul-contenthash");
            found.find(|(name, _)| is_it(name)).map(|(_, value)| value.clone())
        };
        if let (Some(recorded), Some(ours)) = (hash(&block.answer.headers), hash(&answer.headers)) {
            self.names.learn_number(&recorded, &ours);
        }
        if answer.status.starts_with("0 no answer") && block.answer.status.starts_with("0 no ans") {
            answer.status.clone_from(&block.answer.status);
        }
        (answer, raw)
    }

    /// What stands in the transcript for bytes that only this run has.
    fn archive_of(&self, block: &Block) -> Option<Vec<u8>> {
        match block.body.as_deref() {
            Some("(the archive)") => Some(self.archive.clone()),
            Some("(half of the archive)") => Some(self.archive[..self.archive.len() / 2].to_vec()),
            _ => None,
        }
    }

    /// Restores a snapshot while a blocking query waits.
    fn restore(&mut self, block: &Block, ours: &Block, archive: &[u8]) -> (Answer, Option<Raw>) {
        let to = self.stage.http(None);
        let index = self.index_of("/v1/kv/after");
        self.before_restore = i64::try_from(index).unwrap();
        let asked = format!("GET /v1/kv/after?index={index}&wait=15s");
        let query = Block { asked, ..Block::default() };
        let waiting = thread::spawn(move || http::ask(to, &query, PATIENCE).1);
        thread::sleep(QUIET);
        let (method, path) = ours.asked.split_once(' ').unwrap();
        let raw = self.raw(method, path, Some(archive), PATIENCE);
        if block.body.as_deref() == Some("(the archive)") {
            self.restored = waiting.join().unwrap();
        }
        match raw {
            Ok(raw) => {
                let (status, headers) = (raw.status.to_string(), raw.headers.clone());
                let body = raw.text();
                (Answer { status, headers, body, ..Answer::default() }, Some(raw))
            }
            Err(status) => (Answer { status, ..Answer::default() }, None),
        }
    }

    /// A blocking query; how it came back is part of the answer.
    fn waiting(&mut self, block: &Block, ours: &Block) -> (Answer, Option<Raw>) {
        let to = self.stage.http(block.agent.as_deref());
        let asked = ours.clone();
        let client = thread::spawn(move || http::ask(to, &asked, PATIENCE));
        let start = Instant::now();
        while !client.is_finished() && start.elapsed() < QUIET {
            thread::sleep(Duration::from_millis(5));
        }
        let early = client.is_finished();
        if !early {
            self.acts(self.setup.during.get(&block.number()).cloned());
        }
        let (mut answer, raw) = client.join().unwrap();
        let took = raw.as_ref().map_or(start.elapsed(), |raw| raw.took);
        let how = match () {
            () if early => "at once",
            () if took + STEP >= wait_of(&ours.asked) => "when the wait ran out",
            () => "woken by the write",
        };
        answer.how = Some(how.to_owned());
        (answer, raw)
    }

    fn acts(&mut self, acts: Option<Vec<Act>>) {
        for act in acts.into_iter().flatten() {
            match act {
                Act::Ask(ask) => self.quietly(&ask),
                Act::Until(ask, text, shows) => {
                    let path = self.ours_of(&ask.path);
                    self.waited = self.until(&path, &text, shows);
                }
                Act::Settle => self.settles = Some(Instant::now() + SETTLES),
                Act::Kill(agent) => self.stage.kill(&agent),
            }
        }
    }

    fn quietly(&mut self, ask: &Ask) {
        if !self.stage.has(ask.agent.as_deref()) {
            return;
        }
        let path = self.ours_of(&ask.path);
        let body = ask.body.as_deref().map(|body| bytes(&self.ours_of(body)));
        let mut headers = HashMap::new();
        if let Some(token) = &ask.token {
            headers.insert("X-Consul-Token".to_owned(), self.ours_of(token));
        }
        let headers: Vec<(String, String)> = headers.into_iter().collect();
        let (method, version) = (ask.method.as_str(), "HTTP/1.1");
        let body = body.as_deref();
        let request = Request { method, path: &path, version, headers: &headers, body };
        let raw = http::send(self.stage.http(ask.agent.as_deref()), &request, PATIENCE);
        let (Some(name), Ok(raw)) = (&ask.name, raw) else { return };
        if name.contains('-') {
            let json = raw.json();
            let id = json["SecretID"].as_str().or(json["ID"].as_str());
            id.into_iter().for_each(|id| self.names.call(name, id));
        } else if let Some(index) = raw.header("x-consul-index") {
            let index = index.parse::<u64>().unwrap() + ask.plus;
            self.names.learn_number(name, &index.to_string());
        }
    }

    pub fn until(&mut self, path: &str, text: &str, shows: bool) -> Waited {
        let start = Instant::now();
        let comes = if self.stage.is_consul() { COMES_OF_CONSUL } else { COMES };
        loop {
            let raw = self.raw("GET", path, None, PATIENCE);
            let came = raw.is_ok_and(|raw| raw.text().contains(text) == shows);
            let took = start.elapsed();
            if came || took > comes {
                return Waited { came, took };
            }
            thread::sleep(STEP);
        }
    }

    /// A request that no block shows.
    pub fn raw(
        &self,
        method: &str,
        path: &str,
        body: Option<&[u8]>,
        patience: Duration,
    ) -> Result<Raw, String> {
        let request = Request { method, path, version: "HTTP/1.1", headers: &[], body };
        http::send(self.stage.http(None), &request, patience)
    }

    pub fn get(&self, path: &str) -> Value {
        self.raw("GET", path, None, PATIENCE).map_or(Value::Null, |raw| raw.json())
    }

    pub fn index_of(&self, path: &str) -> u64 {
        let raw = self.raw("GET", path, None, PATIENCE).ok();
        let index = raw.and_then(|raw| raw.header("x-consul-index")?.parse().ok());
        index.unwrap_or_default()
    }
}

fn wait_of(asked: &str) -> Duration {
    let wait = asked.split(['?', '&']).find_map(|part| part.strip_prefix("wait=")).unwrap();
    let (number, unit) = match wait.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (wait.strip_suffix('s').unwrap(), 1.0),
    };
    Duration::from_secs_f64(number.parse::<f64>().unwrap() * unit)
}

/// Where nothing comes there is no need to wait for seconds.
fn shorter(asked: &str) -> String {
    let (before, wait) = asked.split_once("wait=").unwrap();
    let rest = wait.split_once('&').map_or(String::new(), |(_, rest)| format!("&{rest}"));
    format!("{before}wait=400ms{rest}")
}
