//! Two answers, line by line: what only one of them has.

/// Of one side; more say no more.
const LINES: usize = 40;

/// None if they are equal.
pub fn difference(title: &str, left: &[String], right: &[String]) -> Option<String> {
    if left == right {
        return None;
    }
    let mut text = format!("--- {title}\n");
    let only = |lines: &[String], other: &[String], sign: &str| -> String {
        let lines = lines.iter().filter(|line| !other.contains(line));
        lines.take(LINES).map(|line| format!("  {sign} {line}\n")).collect()
    };
    let (gone, new) = (only(left, right, "-"), only(right, left, "+"));
    if gone.is_empty() && new.is_empty() {
        text += &format!("  - {left:#?}\n  + {right:#?}\n");
    }
    text += &gone;
    text += &new;
    Some(text)
}
