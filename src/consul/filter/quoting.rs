//! Takes the quotes off a text as Go's strings have them.

/// What stands between the quotes; none where an escape is no escape of Go's.
pub fn unquote(quoted: &str) -> Option<String> {
    if let Some(raw) = quoted.strip_prefix('`') {
        return Some(raw.strip_suffix('`')?.replace('\r', ""));
    }
    let inside = quoted.strip_prefix('"')?.strip_suffix('"')?;
    let mut bytes = Vec::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '\n' => return None,
            '\\' => escape(&mut chars, &mut bytes)?,
            c => push(c, &mut bytes),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn push(c: char, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape(chars: &mut std::str::Chars<'_>, bytes: &mut Vec<u8>) -> Option<()> {
    let kind = chars.next()?;
    let byte = match kind {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '"' => kind as u8,
        'x' => u8::try_from(digits(chars, 2, 16, 0)?).ok()?,
        '0'..='7' => u8::try_from(digits(chars, 2, 8, kind.to_digit(8)?)?).ok()?,
        'u' | 'U' => {
            let len = if kind == 'u' { 4 } else { 8 };
            push(char::from_u32(digits(chars, len, 16, 0)?)?, bytes);
            return Some(());
        }
        _ => return None,
    };
    bytes.push(byte);
    Some(())
}

fn digits(chars: &mut std::str::Chars<'_>, len: usize, radix: u32, first: u32) -> Option<u32> {
    (0..len).try_fold(first, |number, _| {
        number.checked_mul(radix)?.checked_add(chars.next()?.to_digit(radix)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_gos() {
        let good = [
            (r#""""#, ""),
            (r#""a\tb""#, "a\tb"),
            (r#""\x41\101\u00e9""#, "AAé"),
            ("`a\\t\r`", "a\\t"),
            (r#""\xc3\xa9""#, "é"),
        ];
        for (quoted, text) in good {
            assert_eq!(unquote(quoted).as_deref(), Some(text), "{quoted}");
        }
        for bad in [r#""\q""#, r#""\x4""#, "\"a\nb\"", r#""\ud800""#, r#""\400""#, "\"", "`"] {
            assert_eq!(unquote(bad), None, "{bad}");
        }
    }
}
