//! etcdctl's commands, row by row on a real etcd and on an agent: equal words and exit codes.
//!
//! The tables lie in `ctl/`. A row is a mark and etcdctl's arguments, split as a shell does:
//!
//! | mark | the row |
//! |---|---|
//! | `$` | runs to its end |
//! | `=` | the same, and once more with `-w json` |
//! | `~` | words with digits in them count as equal: sizes, versions, addresses; and lines of tables |
//! | `j` | with `-w json` alone |
//! | `?` | judges three things, and how is another matter |
//! | `L` | grants a lease, which is `$L` from here on |
//! | `@` | again and again until etcd and the agent say the same |
//! | `&` | goes on beside the others; `%`, and how many lines it says, waits for those and ends it |
//! | `>` | a line for the standard input of the row above |
//! | `#` | nothing |

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::etcd::Etcd;
use crate::house::Agent;
use crate::in_memory;

const DEADLINE: Duration = Duration::from_secs(20);
/// Fields of `-w json` that differ between any two servers.
const OWN: [&str; 21] = [
    "cluster_id",
    "member_id",
    "memberID",
    "raft_term",
    "raftTerm",
    "raftIndex",
    "raftAppliedIndex",
    "leader",
    "version",
    "dbSize",
    "dbSizeInUse",
    "ID",
    "lease",
    "id",
    "name",
    "peerURLs",
    "clientURLs",
    "Endpoint",
    "hash",
    "TTL",
    "ttl",
];

/// One server, and what its rows have brought about.
struct Side {
    endpoint: String,
    dir: TempDir,
    lease: String,
    beside: Vec<(Child, mpsc::Receiver<String>)>,
}

/// What a command said, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    out: String,
    error: String,
}

impl Side {
    fn new(endpoint: String) -> Side {
        let dir = tempfile::tempdir().unwrap();
        Side { endpoint, dir, lease: String::new(), beside: Vec::new() }
    }

    fn command(&self, args: &[String]) -> Command {
        let mut command = Command::new("etcdctl");
        command.env("ETCDCTL_API", "3").current_dir(self.dir.path());
        command.arg(format!("--endpoints={}", self.endpoint)).arg("--command-timeout=15s");
        let own =
            |arg: &String| arg.replace("$L", &self.lease).replace("$ENDPOINT", &self.endpoint);
        command.args(args.iter().map(own));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[String], input: &str) -> Said {
        self.said(self.begin(args, input))
    }

    fn begin(&self, args: &[String], input: &str) -> Child {
        let mut child = self.command(args).spawn().unwrap();
        // Who does not read it all says why.
        let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
        child
    }

    fn said(&self, child: Child) -> Said {
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        // Beside the error itself etcdctl logs its attempts, with the time.
        let error = error.lines().filter(|line| line.starts_with("Error: "));
        Said {
            code: output.status.code(),
            out: self.own(&String::from_utf8_lossy(&output.stdout)),
            error: error.collect::<Vec<_>>().join("\n"),
        }
    }

    /// Without the names that are this server's alone.
    fn own(&self, said: &str) -> String {
        let said = said.replace(&self.endpoint, "$ENDPOINT");
        if self.lease.is_empty() { said } else { said.replace(&self.lease, "$L") }
    }

    fn start(&mut self, args: &[String]) {
        let mut child = self.command(args).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (out, said) = mpsc::channel();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).take_while(|line| out.send(line.clone()).is_ok()).count();
        });
        self.beside.push((child, said));
    }

    /// So many lines of the oldest command that goes on beside; then it is told to end.
    fn end(&mut self, count: usize) -> Said {
        let (mut child, said) = self.beside.remove(0);
        let lines: Vec<String> =
            (0..count).map_while(|_| said.recv_timeout(DEADLINE).ok()).collect();
        let told = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        assert!(told.unwrap().success());
        child.wait().unwrap();
        let json = lines.first().is_some_and(|line| line.starts_with('{'));
        let said = self.own(&lines.join("\n"));
        let out = if json { format!("{:?}", masked_json(&said)) } else { masked_ids(&said) };
        Said { code: None, out, error: String::new() }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        for (child, _) in &mut self.beside {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Keys of queues end with a lease that etcdctl granted itself.
fn masked_ids(said: &str) -> String {
    let masked = said.lines().map(|line| match line.rsplit_once('/') {
        Some((name, id)) if id.len() >= 11 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("{name}/<lease>")
        }
        _ => line.to_owned(),
    });
    masked.collect::<Vec<_>>().join("\n")
}

/// Words with digits in them are all the same, and so are units.
fn masked_words(said: &str) -> String {
    let word = |word: &str| {
        let own = word.contains(|c: char| c.is_ascii_digit())
            || matches!(word, "kB" | "MB" | "B")
            || word.bytes().all(|byte| matches!(byte, b'+' | b'-'));
        if own { "_".to_owned() } else { word.to_owned() }
    };
    let line = |line: &str| {
        let words = line.split([' ', ',']).filter(|word| !word.is_empty());
        let words: Vec<String> = words.map(word).collect();
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.dedup();
        words.join(" ")
    };
    said.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn masked_json(said: &str) -> Vec<Value> {
    let values = serde_json::Deserializer::from_str(said).into_iter::<Value>();
    values
        .map_while(Result::ok)
        .map(|mut value| {
            mask(&mut value);
            value
        })
        .collect()
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                // A key has a version, too, which is a number and the same.
                let key = name == "version" && value.is_number();
                if OWN.contains(&name.as_str()) && !key {
                    *value = "_".into();
                }
                mask(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        _ => {}
    }
}

/// As a shell splits a line, with single quotes.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            '\'' => (quoted, any) = (!quoted, true),
            ' ' if !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            c => {
                word.push(c);
                any = true;
            }
        }
    }
    words.extend(any.then_some(word));
    words
}

struct Table {
    etcd: Side,
    remora: Side,
    rows: usize,
}

impl Table {
    fn same(&mut self, row: &str, etcd: Said, remora: Said) {
        assert_eq!(remora, etcd, "\n{row}\n(left: Remora, right: etcd)");
        self.rows += 1;
    }

    fn same_json(&mut self, row: &str, args: &[String], input: &str) {
        let json = [&["-w".to_owned(), "json".to_owned()], args].concat();
        let (etcd, remora) = self.both(&json, input);
        let [etcd, remora] = [etcd, remora].map(|said| masked_json(&said.out));
        assert!(!etcd.is_empty(), "{row}: no JSON");
        assert_eq!(remora, etcd, "\n{row} -w json\n(left: Remora, right: etcd)");
        self.rows += 1;
    }

    /// What etcd and the agent say, asked at once.
    fn both(&self, args: &[String], input: &str) -> (Said, Said) {
        let (etcd, remora) = (self.etcd.begin(args, input), self.remora.begin(args, input));
        (self.etcd.said(etcd), self.remora.said(remora))
    }

    fn row(&mut self, row: &str, input: &str) {
        let (mark, line) = row.split_at(1);
        let args = split(line);
        let both = |table: &Table| table.both(&args, input);
        match mark {
            "$" => {
                let (etcd, remora) = both(self);
                self.same(row, etcd, remora);
            }
            "=" => {
                let (etcd, remora) = both(self);
                self.same(row, etcd, remora);
                self.same_json(row, &args, input);
            }
            "j" => self.same_json(row, &args, input),
            "~" => {
                let (etcd, remora) = both(self);
                let words = |said: Said| Said { out: masked_words(&said.out), ..said };
                self.same(row, words(etcd), words(remora));
            }
            "?" => {
                let (etcd, remora) = both(self);
                let judged = |said: Said| Said { code: None, out: judged(&said.out), ..said };
                let (etcd, remora) = (judged(etcd), judged(remora));
                assert_eq!(etcd.out.lines().count(), 3, "{row}: {etcd:?}");
                self.same(row, etcd, remora);
            }
            "L" => {
                for side in [&mut self.etcd, &mut self.remora] {
                    let said = side.run(&args, input);
                    side.lease = said.out.split(' ').nth(1).expect(&said.error).to_owned();
                }
            }
            "@" => {
                let until = Instant::now() + DEADLINE;
                let (mut etcd, mut remora) = both(self);
                while (etcd.out.is_empty() || etcd != remora) && Instant::now() < until {
                    (etcd, remora) = both(self);
                }
                assert!(!etcd.out.is_empty(), "{row}: nothing");
                self.same(row, etcd, remora);
            }
            "&" => {
                self.etcd.start(&args);
                self.remora.start(&args);
            }
            "%" => {
                let count = args[0].parse().unwrap();
                let (etcd, remora) = (self.etcd.end(count), self.remora.end(count));
                let said = etcd.out.lines().count();
                assert!(said == count, "{row}: etcd's has {said} lines: {}", etcd.out);
                self.same(row, etcd, remora);
            }
            _ => panic!("{row}: no row begins like this"),
        }
    }
}

/// What was judged, whatever the verdict.
fn judged(said: &str) -> String {
    let verdicts = said.split(['\n', '\r']).filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("PASS: ").or_else(|| line.strip_prefix("FAIL: "))
    });
    let words: Vec<_> = verdicts.filter_map(|verdict| verdict.split(' ').next()).collect();
    words.join("\n")
}

fn compare(table: &str) {
    let etcd = Etcd::start();
    let mut spec = in_memory();
    let place = spec.place.http();
    spec.http = format!("listen: [\"{place}\"]");
    let _agent = Agent::start(spec);
    let mut sides = Table { etcd: Side::new(etcd.authority()), remora: Side::new(place), rows: 0 };
    let mut lines = table.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let mut row = lines.next();
    while let Some(this) = row {
        let mut input = String::new();
        row = lines.next();
        while let Some(line) = row.and_then(|line| line.strip_prefix('>')) {
            input.push_str(line.strip_prefix(' ').unwrap_or(line));
            input.push('\n');
            row = lines.next();
        }
        sides.row(this, &input);
    }
    assert!(sides.rows > 0);
    println!("{} rows alike", sides.rows);
}

macro_rules! tables {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            compare(include_str!(concat!("ctl/", stringify!($name), ".txt")));
        }
    )*};
}

tables! { keys leases holds maintenance members perf users }
