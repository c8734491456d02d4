//! Writes JSON as Go does: `<`, `>`, `&` escaped, and four spaces where it is to be pretty.

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// The value's JSON. Pretty JSON ends with a newline, compact JSON does not.
pub fn to_vec<T: Serialize>(value: &T, pretty: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    if pretty {
        let indented = Escaping(PrettyFormatter::with_indent(b"    "));
        write(value, &mut Serializer::with_formatter(&mut out, indented));
        out.push(b'\n');
    } else {
        write(value, &mut Serializer::with_formatter(&mut out, Escaping(CompactFormatter)));
    }
    out
}

fn write<T: Serialize, F: Formatter>(value: &T, into: &mut Serializer<&mut Vec<u8>, F>) {
    if let Err(error) = value.serialize(into) {
        unreachable!("answers have string keys and a Vec takes all: {error}");
    }
}

/// A formatter whose strings are safe inside HTML, as those of Go's encoder are.
struct Escaping<F>(F);

impl<F: Formatter> Formatter for Escaping<F> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let bytes = fragment.as_bytes();
        let mut from = 0;
        for (at, byte) in bytes.iter().enumerate() {
            let (escape, len): (&[u8], usize) = match byte {
                b'<' => (b"\\u003c", 1),
                b'>' => (b"\\u003e", 1),
                b'&' => (b"\\u0026", 1),
                0xe2 if bytes.get(at..at + 3) == Some(b"\xe2\x80\xa8") => (b"\\u2028", 3),
                0xe2 if bytes.get(at..at + 3) == Some(b"\xe2\x80\xa9") => (b"\\u2029", 3),
                _ => continue,
            };
            writer.write_all(bytes.get(from..at).unwrap_or_default())?;
            writer.write_all(escape)?;
            from = at + len;
        }
        writer.write_all(bytes.get(from..).unwrap_or_default())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let text = String::from_utf8(to_vec(&"<&>\u{2028}é\n\"", false));
        assert_eq!(text.as_deref(), Ok("\"\\u003c\\u0026\\u003e\\u2028é\\n\\\"\""));
    }

    #[test]
    fn pretty_json_has_four_spaces_and_a_newline() {
        let rows = [BTreeMap::from([("Key", "pp")])];
        let text = String::from_utf8(to_vec(&rows, true));
        assert_eq!(text.as_deref(), Ok("[\n    {\n        \"Key\": \"pp\"\n    }\n]\n"));
        assert_eq!(to_vec::<[u8; 0]>(&[], true), b"[]\n");
    }
}
