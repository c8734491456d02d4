//! The sections of a DNS answer: other records in them, how many they are, and as many as fit.

use super::transcript::{Answer, Block};

const TITLES: [&str; 4] = ["QUESTION", "ANSWER", "AUTHORITY", "ADDITIONAL"];
const ANSWER: usize = 1;
const ADDITIONAL: usize = 3;
/// What a client takes that says nothing about it.
const PLAIN: usize = 512;
/// Of every record: a pointer to its owner's name, type, class, TTL and length.
const HEAD: usize = 12;

/// The records of each section as text, the question first.
#[derive(Default)]
struct Sections([Vec<String>; 4]);

impl Sections {
    fn of(body: &str) -> Sections {
        let (mut sections, mut at) = (Sections::default(), 0);
        for line in body.lines() {
            match line.strip_prefix(";; ") {
                Some(title) => at = place(title),
                None => sections.0[at].push(line.to_owned()),
            }
        }
        sections
    }

    fn body(&self) -> String {
        let filled = TITLES.iter().zip(&self.0).filter(|(_, records)| !records.is_empty());
        let shown = filled.map(|(title, records)| format!(";; {title}\n{}", records.join("\n")));
        shown.collect::<Vec<_>>().join("\n")
    }
}

fn place(title: &str) -> usize {
    TITLES.iter().position(|known| *known == title).unwrap_or_else(|| panic!("section {title:?}"))
}

/// Leaves nothing in the answer but its question and `kept`: a section's title and its records,
/// behind which there may be other sections.
pub fn keep_only(answer: &mut Answer, kept: &str) {
    let mut sections = Sections::of(&answer.body);
    sections.0[1..].fill(Vec::new());
    if let Some((title, records)) = kept.split_once(' ') {
        sections.0[place(title)] = records.lines().map(str::to_owned).collect();
    }
    answer.body = sections.body();
}

/// Counts the records anew, the OPT among them.
pub fn count(answer: &mut Answer) {
    let edns = answer.headers.iter().any(|(name, value)| name == "edns" && value != "none");
    let mut counts = Sections::of(&answer.body).0.map(|records| records.len());
    counts[ADDITIONAL] += usize::from(edns);
    let counts = counts.map(|count| count.to_string()).join(" ");
    match answer.headers.iter_mut().find(|(name, _)| name == "counts") {
        Some(header) => header.1 = counts,
        None => answer.headers.push(("counts".to_owned(), counts)),
    }
}

/// The recorded answer that nothing was left out of: the one to the same question over TCP.
pub fn whole<'b>(asked: &str, blocks: &'b [Block]) -> &'b str {
    let question: Vec<&str> = asked.split(' ').take(3).collect();
    let over_tcp = format!("{} +tcp +noedns", question.join(" "));
    let found = blocks.iter().find(|block| block.asked == over_tcp);
    &found.unwrap_or_else(|| panic!("nobody asked {over_tcp}")).answer.body
}

/// How many bytes the client takes over UDP.
pub fn room(asked: &str) -> usize {
    let said = asked.split("+bufsize=").nth(1).and_then(|rest| rest.split(' ').next());
    said.map_or(PLAIN, |said| said.parse().unwrap()).max(PLAIN)
}

/// As much of a whole answer as `most` bytes hold. Chance says which records, so they are taken
/// from ours, as long as they are some of the whole ones and none of the others had room. The
/// answer's own records come first; TC says that some of them are missing.
pub fn trimmed(whole: &Answer, ours: &Answer, most: usize) -> Answer {
    let mut answer = whole.clone();
    let size = ours.headers.iter().find(|(name, _)| name == "size");
    let size = size.map_or(0, |(_, size)| size.parse().unwrap());
    let Some(room) = most.checked_sub(size) else {
        answer.status = format!("an answer of at most {most} bytes");
        return answer;
    };
    let (mut sections, chosen) = (Sections::of(&whole.body), Sections::of(&ours.body));
    let mut split = |at: usize| {
        let mut chosen = chosen.0[at].clone();
        let (kept, missing): (Vec<String>, Vec<String>) =
            sections.0[at].drain(..).partition(|record| {
                let found = chosen.iter().position(|other| other == record);
                found.map(|found| chosen.swap_remove(found)).is_some()
            });
        sections.0[at] = kept;
        missing
    };
    let (answers, additional) = (split(ANSWER), split(ADDITIONAL));
    let had_room = |missing: &[String]| missing.iter().any(|record| bytes(record) <= room);
    if had_room(&answers) || answers.is_empty() && had_room(&additional) {
        return answer;
    }
    answer.body = sections.body();
    if !answers.is_empty() {
        answer.status = answer.status.replacen(" aa", " aa tc", 1);
    }
    count(&mut answer);
    answer
}

/// What a record takes in a message, where its owner stands in it already.
fn bytes(record: &str) -> usize {
    let parts: Vec<&str> = record.split(' ').collect();
    let data = match (parts[3], &parts[4..]) {
        ("A", _) => 4,
        ("AAAA", _) => 16,
        ("SRV", [_, _, _, target]) => 6 + target.len() + 1,
        // One string: its quotes take the place of its length, and one byte more.
        ("TXT", text) => text.join(" ").len() - 1,
        other => panic!("how long is {other:?}?"),
    };
    HEAD + data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &str, size: usize, addresses: &[u8]) -> Answer {
        let records = addresses.iter().map(|nth| format!("a.consul. 0 IN A 10.0.0.{nth}"));
        let body = format!(
            ";; QUESTION\na.consul. IN A\n;; ANSWER\n{}\n;; ADDITIONAL\na.consul. 0 IN TXT \"k=v\"",
            records.collect::<Vec<_>>().join("\n")
        );
        let headers = vec![("size".to_owned(), size.to_string())];
        Answer { status: status.to_owned(), headers, body, ..Answer::default() }
    }

    #[test]
    fn nothing_may_be_missing_that_had_room() {
        let whole = answer("NOERROR qr aa rd", 0, &[1, 2, 3]);
        let is_right = |ours: &Answer, most| {
            let wanted = trimmed(&whole, ours, most);
            wanted.status == ours.status && wanted.body == ours.body
        };
        let (said, silent) = ("NOERROR qr aa tc rd", "NOERROR qr aa rd");
        assert!(is_right(&answer(silent, 100, &[1, 2, 3]), 100), "all of it");
        assert!(!is_right(&answer(silent, 101, &[1, 2, 3]), 100), "more than was taken");
        assert!(is_right(&answer(said, 85, &[1, 3]), 100), "as much as fits");
        assert!(!is_right(&answer(silent, 85, &[1, 3]), 100), "without saying so");
        assert!(!is_right(&answer(said, 84, &[1, 3]), 100), "another had room");
        assert!(!is_right(&answer(said, 85, &[1, 4]), 100), "one that there is not");
        let mut bare = answer(silent, 85, &[1, 2, 3]);
        bare.body = bare.body.split("\n;; ADD").next().unwrap().to_owned();
        assert!(is_right(&bare, 100), "no room for 16 bytes of text");
        bare.headers[0].1 = "84".to_owned();
        assert!(!is_right(&bare, 100), "room for it");
    }

    #[test]
    fn records_are_counted_with_the_opt() {
        let mut answer = answer("NOERROR", 0, &[1, 2]);
        count(&mut answer);
        assert_eq!(answer.headers[1].1, "1 2 0 1");
        answer.headers.push(("edns".to_owned(), "version 0".to_owned()));
        keep_only(&mut answer, "AUTHORITY consul. 0 IN SOA");
        count(&mut answer);
        assert_eq!(answer.body, ";; QUESTION\na.consul. IN A\n;; AUTHORITY\nconsul. 0 IN SOA");
        assert_eq!(answer.headers[1].1, "1 0 1 1");
    }
}
