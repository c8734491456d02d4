//! The rules of the house, held by a test: who may name whom, what a file may be.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The module table: a module may name only those before it.
const TABLE: [&str; 21] = [
    "model",
    "access",
    "state",
    "balance",
    "render",
    "lifecycle",
    "telemetry",
    "net",
    "replica",
    "raft",
    "health",
    "identity",
    "cluster",
    "presence",
    "dns",
    "consul",
    "etcd",
    "proxy",
    "files",
    "web",
    "agent",
];
/// The last line of the table; apart, because it is the only one that `main` names.
const TOP: &str = "cli";

const FRONTS: [&str; 6] = ["dns", "consul", "etcd", "proxy", "files", "web"];
const PURE: [&str; 4] = ["access", "state", "balance", "render"];

/// Libraries with a stated few homes; any other may be used where it is needed.
const HOMES: [(&str, &[&str]); 23] = [
    ("imbl", &["access", "state"]),
    ("regex", &["state"]),
    ("minijinja", &["render"]),
    ("flate2", &["consul", "health"]),
    ("prometheus_client", &["telemetry"]),
    ("rustls", &["net", "health"]),
    ("rcgen", &["identity", "net"]),
    ("webpki", &["identity", "net"]),
    ("aws_lc_rs", &["net", "identity"]),
    ("argon2", &["identity"]),
    ("arc_swap", &["replica", "proxy"]),
    ("openraft", &["raft"]),
    ("hickory_proto", &["dns"]),
    ("hickory_resolver", &["net", "dns"]),
    ("h2", &["health"]),
    ("nix", &["dns"]),
    ("reqwest", &["health", "cli"]),
    ("hyper", &["net", "proxy"]),
    ("axum", &["consul", "etcd", "web", "agent"]),
    ("tonic", &["etcd"]),
    ("serde_saphyr", &["agent"]),
    ("clap", &["cli"]),
    ("anyhow", &["agent", "cli"]),
];

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;
const LINE_COLUMNS: usize = 100;
const STRUCT_FIELDS: usize = 12;
const NO_NAMES: [&str; 6] = ["util", "utils", "common", "helper", "misc", "manager"];

struct Source {
    path: PathBuf,
    module: String,
    text: String,
    /// The text without comments and the contents of strings.
    code: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    rust_files(&src, &mut files);
    // What is generated has its own test, and no author to hold to a style.
    files.retain(|path| !path.iter().any(|part| part == "generated"));
    files.sort();
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let relative = path.strip_prefix(&src).unwrap().to_owned();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs").to_owned();
        Source { code: without_prose(&text), path: relative, module, text }
    };
    files.into_iter().map(source).collect()
}

/// Blanks comments and string contents, so that words in them do not count. Lines stay lines.
fn without_prose(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    for line in text.lines() {
        let mut quoted = false;
        let mut chars = line.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\\' if quoted => {
                    chars.next();
                }
                '"' => quoted = !quoted,
                '/' if !quoted && chars.peek() == Some(&'/') => break,
                _ if quoted => {}
                c => code.push(c),
            }
        }
        code.push('\n');
    }
    code
}

/// Words that stand in front of `::`, after an optional `crate::`.
fn named_after<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> + 'a {
    code.match_indices(prefix).filter_map(move |(at, _)| {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            return None;
        }
        let rest = &code[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        Some(&rest[..end])
    })
}

/// The names that `use crate::{a::…, b}` brings in.
fn grouped_names(code: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    for (at, opening) in code.match_indices("crate::{") {
        let mut depth = 1;
        let mut start = true;
        let group = &code[at + opening.len()..];
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => start = true,
                c if start && c.is_alphanumeric() => {
                    let rest = &group[i..];
                    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap();
                    names.insert(&rest[..end]);
                    start = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    names
}

fn line_of(module: &str) -> usize {
    if module == TOP {
        return TABLE.len();
    }
    TABLE.iter().position(|name| *name == module).unwrap_or_else(|| {
        panic!("src/{module} stands in no line of the module table (tests/it/tidy.rs)")
    })
}

fn complain(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn modules_name_only_earlier_lines_of_the_table() {
    let mut complaints = Vec::new();
    for source in sources() {
        if ["lib", "main"].contains(&source.module.as_str()) {
            continue;
        }
        let line = line_of(&source.module);
        let mut named: BTreeSet<&str> = named_after(&source.code, "crate::").collect();
        named.extend(grouped_names(&source.code));
        named.remove("");
        for name in named {
            let (module, path) = (&source.module, source.path.display());
            if name == module {
                continue;
            }
            if line_of(name) > line {
                complaints.push(format!("{path}: {module} names {name}, a later line"));
            }
            if FRONTS.contains(&module.as_str()) && FRONTS.contains(&name) {
                complaints.push(format!("{path}: the front {module} names the front {name}"));
            }
        }
    }
    complain(&complaints);
}

#[test]
fn the_table_is_the_tree_and_the_architecture() {
    let on_disk: BTreeSet<String> = sources().into_iter().map(|source| source.module).collect();
    let mut table: BTreeSet<String> = TABLE.iter().map(|name| (*name).to_owned()).collect();
    table.extend([TOP, "lib", "main"].map(str::to_owned));
    assert_eq!(on_disk, table, "src/ against the table in tests/it/tidy.rs");

    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = architecture.lines().filter_map(|line| line.strip_prefix("| `"));
    let told: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let mut expected = TABLE.to_vec();
    expected.push(TOP);
    let told: Vec<&str> = told.into_iter().filter(|name| expected.contains(name)).collect();
    assert_eq!(told, expected, "the module table of ARCHITECTURE.md, in order");
}

#[test]
fn libraries_stay_in_their_homes() {
    let mut complaints = Vec::new();
    for source in sources() {
        for (library, homes) in HOMES {
            let used = named_after(&source.code, library).any(|rest| rest.is_empty());
            if used && source.module != "main" && !homes.contains(&source.module.as_str()) {
                let path = source.path.display();
                complaints.push(format!("{path}: {library} belongs to {}", homes.join(", ")));
            }
        }
    }
    complain(&complaints);
}

#[test]
fn pure_modules_deny_what_would_make_them_impure() {
    let denial = "#![deny(clippy::disallowed_methods, clippy::disallowed_types)]";
    for module in PURE {
        let head = fs::read_to_string(root().join("src").join(module).join("mod.rs")).unwrap();
        assert!(head.contains(denial), "src/{module}/mod.rs lacks {denial}");
    }
}

#[test]
fn a_file_answers_one_question_and_says_which() {
    let mut complaints = Vec::new();
    for source in sources() {
        let path = source.path.display();
        let first = source.text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") {
            complaints.push(format!("{path}: the first line does not say what the file is for"));
        }
        let lines = source.text.lines().count();
        if lines > FILE_LINES {
            complaints.push(format!("{path}: {lines} lines, at most {FILE_LINES}"));
        }
        // A string that cannot be broken does not make its line too long.
        for (i, (line, code)) in source.text.lines().zip(source.code.lines()).enumerate() {
            let words = if line.trim_start().starts_with("//") { line } else { code };
            if words.chars().count() > LINE_COLUMNS {
                complaints.push(format!("{path}:{}: over {LINE_COLUMNS} columns", i + 1));
            }
        }
        let stem = source.path.file_stem().unwrap().to_str().unwrap();
        if NO_NAMES.contains(&stem) {
            complaints.push(format!("{path}: {stem} names no thing"));
        }
    }
    complain(&complaints);
}

#[test]
fn functions_and_structs_stay_small() {
    let mut complaints = Vec::new();
    // A test may be one long table, and a model as wide as what it mirrors.
    let in_tests = |source: &Source| source.path.iter().any(|part| part == "tests");
    for source in sources().into_iter().filter(|source| !in_tests(source)) {
        for (name, at, lines) in blocks(&source.code, "fn ") {
            if lines > FUNCTION_LINES {
                let path = source.path.display();
                complaints.push(format!("{path}:{at}: fn {name} has {lines} lines"));
            }
        }
        for (name, at, fields) in structs(&source.code) {
            // A config mirrors a file, a row mirrors a message: their size is given from outside.
            let given = source.module == "agent" || name.ends_with("Config");
            if fields > STRUCT_FIELDS && !given && !mirrors(&source, &name) {
                let path = source.path.display();
                complaints.push(format!("{path}:{at}: struct {name} has {fields} fields"));
            }
            if (source.module.as_str(), name.as_str()) == ("cluster", "Cluster") && fields > 8 {
                complaints.push(format!("cluster::Cluster has {fields} fields, at most 8"));
            }
        }
    }
    complain(&complaints);
}

/// Structs that are the shape of a message or of the state itself.
fn mirrors(source: &Source, name: &str) -> bool {
    let declared = format!("struct {name}");
    let at = source.text.find(&declared).unwrap_or(0);
    let above = source.text[..at].lines().rev().take_while(|line| !line.trim().is_empty());
    let serialised = above.into_iter().any(|line| line.contains("erialize"));
    serialised || (source.module == "state" && name == "State")
}

/// Name, first line and number of lines of every braced block that `keyword` opens.
fn blocks(code: &str, keyword: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some(at) = line.find(keyword) else { continue };
        if at > 0 && !line[..at].ends_with([' ', '(']) {
            continue;
        }
        let rest = &line[at + keyword.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let indent = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indent));
        let signature = lines[i..].iter().position(|l| l.contains('{') || l.ends_with(';'));
        let Some(opened) = signature else { continue };
        if !lines[i + opened].contains('{') || lines[i + opened].trim_end().ends_with('}') {
            continue;
        }
        if let Some(length) = lines[i..].iter().position(|l| l.trim_end() == closing) {
            found.push((rest[..end].to_owned(), i + 1, length + 1));
        }
    }
    found
}

fn structs(code: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let field = |line: &&&str| {
        let line = line.trim_start().trim_start_matches("pub(super) ").trim_start_matches("pub ");
        let name = line.split(':').next().unwrap_or_default();
        line.contains(':')
            && !name.is_empty()
            && name.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    blocks(code, "struct ")
        .into_iter()
        .map(|(name, at, length)| {
            (name, at, lines[at..at + length - 1].iter().filter(field).count())
        })
        .collect()
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = ["TODO", "FIXME", "XXX", "todo!", "unimplemented!", "allow(dead_code)", "#[ignore"];
    let mut complaints = Vec::new();
    for source in sources() {
        for (i, line) in source.text.lines().enumerate() {
            for mark in marks.iter().filter(|mark| line.contains(**mark)) {
                complaints.push(format!("{}:{}: {mark}", source.path.display(), i + 1));
            }
        }
    }
    complain(&complaints);
}

#[test]
fn the_top_level_holds_the_product_only() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "build.rs",
        "clippy.toml",
        "rustfmt.toml",
        "src",
        "examples",
        "charts",
        "tests",
        "benches",
        "docs",
        "Dockerfile",
        "README.md",
        "ARCHITECTURE.md",
        "LICENSE",
        "NOTICE",
        "scripts",
        "patches",
        "target",
    ];
    for entry in fs::read_dir(root()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let known = name.starts_with('.') || allowed.contains(&name.as_str());
        assert!(known, "{name}: what is it doing at the top level?");
    }
}

#[test]
fn the_image_is_built_of_what_cargo_needs() {
    let listed = fs::read_to_string(root().join(".dockerignore")).unwrap();
    let sent: Vec<&str> = listed.lines().filter_map(|line| line.strip_prefix('!')).collect();
    let context = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for name in sent {
        let at = root().join(name);
        assert!(at.exists(), "{name}: .dockerignore lets in what is not there");
        let copied = Command::new("cp").arg("-r").args([&at, context.path()]).status();
        assert!(copied.unwrap().success(), "{name}");
    }
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(&context).args(["tree", "--locked", "--offline", "--edges", "normal"]);
    let told = tree.output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
}
