//! A transcript's text as blocks: what was asked, and what was answered.

/// One request and its answer. `tests/fixtures/etcd` holds them as text.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Block {
    /// The file's name and the number in it: `kv-001`.
    pub id: String,
    pub note: String,
    /// Empty: the body is the bytes of a bare connection.
    pub method: String,
    pub path: String,
    /// Which of several servers was asked.
    pub server: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    /// The request's body was never ended.
    pub left_open: bool,
    /// A number, or `closed`, `timeout`, `none`, `raw`.
    pub status: String,
    pub answer_headers: Vec<(String, String)>,
    /// Every header was written down, not only those that matter.
    pub all_headers: bool,
    /// The lines of the answer; those that begin with `~ ` are what was done meanwhile.
    pub answer: Vec<String>,
    /// How it ended, without the leading `@ `.
    pub end: String,
}

impl Block {
    pub fn is_raw(&self) -> bool {
        self.method.is_empty()
    }

    /// Many messages were answered, or could have been.
    pub fn is_stream(&self) -> bool {
        self.end.starts_with("messages ")
    }

    pub fn is_abridged(&self) -> bool {
        self.end.contains("abridged")
    }
}

#[derive(PartialEq)]
enum At {
    Request,
    Headers,
    Answer,
    After,
}

pub fn parse(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut at = At::After;
    for line in text.split('\n') {
        if let Some(title) = line.strip_prefix("### ") {
            let (id, note) = title.split_once(' ').unwrap();
            let (id, note) = (id.to_owned(), note.to_owned());
            blocks.push(Block { id, note, ..Block::default() });
            at = At::Request;
            continue;
        }
        let Some(block) = blocks.last_mut() else { continue };
        match at {
            At::Request => match line.strip_prefix("<<< ") {
                Some(status) => {
                    block.status = status.to_owned();
                    at = At::Headers;
                }
                None => request_line(block, line),
            },
            At::Headers if line.is_empty() => at = At::Answer,
            At::Headers => {
                let (name, value) = header(line);
                // A real etcd says it always: where it is missing, headers were left out.
                block.all_headers |= name == "access-control-allow-origin";
                block.answer_headers.push((name, value));
            }
            At::Answer => match line.strip_prefix("@ ") {
                Some(end) => {
                    block.end = end.to_owned();
                    at = At::After;
                }
                None => block.answer.push(line.to_owned()),
            },
            At::After => {}
        }
    }
    for block in blocks.iter_mut().filter(|block| block.is_raw()) {
        block.answer = answers(&block.answer.join("\n"));
    }
    blocks
}

/// Everything that came on a bare connection in one form: headers in lower case and sorted, but
/// for dates and lengths, and bodies behind them.
pub fn answers(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for answer in text.replace("HTTP/1.", "\u{0}HTTP/1.").split('\u{0}') {
        let (head, body) = match answer.starts_with("HTTP/") {
            true => answer.split_once("\n\n").unwrap_or((answer, "")),
            false => ("", answer),
        };
        let mut head = head.lines();
        lines.extend(head.next().map(str::to_owned));
        let headers = head.filter(|line| line.contains(':')).map(header);
        let headers = headers.filter(|(name, _)| name != "date" && name != "content-length");
        let mut headers: Vec<String> = headers.map(|(n, value)| format!("{n}: {value}")).collect();
        headers.sort();
        lines.extend(headers);
        lines.extend(body.lines().filter(|line| !line.is_empty()).map(str::to_owned));
    }
    lines
}

fn request_line(block: &mut Block, line: &str) {
    if line == ">>> RAW" {
        return;
    }
    if let Some(asked) = line.strip_prefix(">>> ") {
        let (method, path) = asked.split_once(' ').unwrap();
        (block.method, block.path) = (method.to_owned(), path.to_owned());
    } else if let Some(server) = line.strip_prefix("> @server ") {
        block.server = Some(server.to_owned());
    } else if let Some(text) = line.strip_prefix("> ") {
        block.headers.push(header(text));
    } else if line == "~ request body left open" {
        block.left_open = true;
    } else {
        match &mut block.body {
            None => block.body = Some(line.to_owned()),
            Some(body) => *body += &format!("\n{line}"),
        }
    }
}

fn header(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap();
    (name.to_ascii_lowercase(), value.trim().to_owned())
}
