//! A transcript's text as blocks: what was asked, and what was answered.

use std::collections::BTreeSet;

/// One request and its answer, over HTTP or DNS. `tests/fixtures/consul` holds them as text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Block {
    /// The file's name and the number in it: `kv-001`.
    pub id: String,
    pub title: String,
    /// What is to be compared less strictly.
    pub flags: BTreeSet<String>,
    /// Which of several agents was asked.
    pub agent: Option<String>,
    /// `GET /v1/kv/a`, `DIG consul. SOA +noedns`, `HEX 1234…`.
    pub asked: String,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    pub answer: Answer,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// `200 OK`, or the code and the flags of a DNS answer.
    pub status: String,
    /// How a blocking query came back.
    pub how: Option<String>,
    /// Of a DNS answer: `edns`, `counts` and `size`.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// What was worked out after it: `=== name: value`.
    pub facts: Vec<(String, String)>,
}

impl Block {
    pub fn is(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }

    pub fn is_dns(&self) -> bool {
        self.asked.starts_with("DIG ") || self.asked.starts_with("HEX")
    }

    pub fn number(&self) -> usize {
        number(&self.id)
    }
}

impl Answer {
    /// All of it but facts, as one text: status, headers, an empty line, the body.
    pub fn text(&self) -> String {
        let headers = self.headers.iter().map(|(name, value)| format!("{name}: {value}\n"));
        format!("{}\n{}\n{}", self.status, headers.collect::<String>(), self.body)
    }

    /// The same, back from the text.
    pub fn read(&mut self, text: &str) {
        let (status, rest) = text.split_once('\n').unwrap();
        self.status = status.to_owned();
        let (headers, body) = match rest.strip_prefix('\n') {
            Some(body) => ("", body),
            None => rest.split_once("\n\n").unwrap(),
        };
        self.headers = headers.lines().map(pair).collect();
        self.body = body.to_owned();
    }
}

pub fn number(id: &str) -> usize {
    id.rsplit_once('-').unwrap().1.parse().unwrap()
}

/// The bytes that are left to read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn line(&mut self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let end = self.0.iter().position(|byte| *byte == b'\n').unwrap_or(self.0.len());
        let line = String::from_utf8(self.0[..end].to_vec()).unwrap();
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        Some(line)
    }

    fn take(&mut self, bytes: usize) -> String {
        let (body, rest) = self.0.split_at(bytes);
        self.0 = rest;
        String::from_utf8(body.to_vec()).unwrap()
    }
}

pub fn parse(topic: &str, text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut rest = Rest(text.as_bytes());
    while let Some(line) = rest.line() {
        if let Some(fact) = line.strip_prefix("=== ") {
            let (name, value) = fact.split_once(": ").unwrap();
            let block = blocks.last_mut().unwrap();
            block.answer.facts.push((name.to_owned(), value.to_owned()));
        } else if let Some(title) = line.strip_prefix("###")
            && !title.starts_with('#')
        {
            let id = format!("{topic}-{:03}", blocks.len() + 1);
            blocks.push(block(id, title.trim(), &mut rest));
        }
    }
    blocks
}

fn block(id: String, title: &str, rest: &mut Rest<'_>) -> Block {
    let mut block = Block { id, ..Block::default() };
    let mut title = title;
    if let Some((before, flags)) = title.strip_suffix('}').and_then(|all| all.rsplit_once('{')) {
        block.flags = flags.split(' ').map(str::to_owned).collect();
        title = before.trim();
    }
    if let Some(after) = title.strip_prefix('@') {
        let (agent, after) = after.split_once(' ').unwrap_or((after, ""));
        block.agent = Some(agent.to_owned());
        title = after;
    }
    block.title = title.to_owned();
    loop {
        let line = rest.line().unwrap();
        if let Some(status) = line.strip_prefix("<<< ") {
            answer(&mut block, status, rest);
            return block;
        }
        if let (true, Some(asked)) = (block.asked.is_empty(), line.strip_prefix(">>> ")) {
            block.asked = asked.to_owned();
        } else if let (None, Some(header)) = (&block.body, line.strip_prefix("> ")) {
            block.headers.push(pair(header));
        } else {
            block.body = Some(match block.body.take() {
                None => line,
                Some(body) => format!("{body}\n{line}"),
            });
        }
    }
}

fn answer(block: &mut Block, status: &str, rest: &mut Rest<'_>) {
    let (status, bytes) = match status.rsplit_once(" bytes=") {
        Some((status, bytes)) => (status, bytes.parse().ok()),
        None => (status, None),
    };
    let mut answer = Answer { status: status.trim().to_owned(), ..Answer::default() };
    while let Some(line) = rest.line().filter(|line| !line.is_empty()) {
        match line.strip_prefix("=== answered: ") {
            Some(how) => answer.how = Some(how.to_owned()),
            None => answer.headers.push(pair(&line)),
        }
    }
    let in_one_line = rest.0.starts_with(b"@base64 ") || rest.0.starts_with(b"@cut ");
    answer.body = match bytes {
        Some(_) if in_one_line => rest.line().unwrap(),
        Some(bytes) => rest.take(bytes),
        None => {
            let mut lines = Vec::new();
            while let Some(line) = rest.line().filter(|line| !line.is_empty()) {
                lines.push(line);
            }
            lines.join("\n")
        }
    };
    block.answer = answer;
}

fn pair(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap();
    (name.to_owned(), value.trim().to_owned())
}
