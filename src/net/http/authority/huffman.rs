//! Decodes the strings of HTTP/2's header fields (RFC 7541, appendix B).

/// Bits of the code of each byte, and of the end of a string. The code is canonical: of two, the
/// shorter comes first, and of two as long, the lower byte's. So it follows from its lengths.
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];
const LONGEST: usize = 30;

/// The codes of one length.
#[derive(Clone, Copy)]
struct Codes {
    first: u32,
    count: u32,
    /// Of the first one's symbol among all symbols in order.
    place: usize,
}

const NONE: Codes = Codes { first: 0, count: 0, place: 0 };
const ORDERED: ([Codes; LONGEST + 1], [u16; LENGTHS.len()]) = ordered();
static CODES: [Codes; LONGEST + 1] = ORDERED.0;
static SYMBOLS: [u16; LENGTHS.len()] = ORDERED.1;

#[allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "made by the compiler"
)]
const fn ordered() -> ([Codes; LONGEST + 1], [u16; LENGTHS.len()]) {
    let (mut codes, mut symbols) = ([NONE; LONGEST + 1], [0; LENGTHS.len()]);
    let (mut code, mut place, mut length) = (0, 0, 1);
    while length <= LONGEST {
        codes[length] = Codes { first: code, count: 0, place };
        let mut symbol = 0;
        while symbol < LENGTHS.len() {
            if LENGTHS[symbol] as usize == length {
                symbols[place] = symbol as u16;
                place += 1;
                codes[length].count += 1;
            }
            symbol += 1;
        }
        code = (code + codes[length].count) << 1;
        length += 1;
    }
    (codes, symbols)
}

fn symbol(code: u32, length: usize) -> Option<u16> {
    let codes = CODES.get(length)?;
    let nth = code.checked_sub(codes.first).filter(|nth| *nth < codes.count)?;
    SYMBOLS.get(codes.place + nth as usize).copied()
}

/// None if it is no code of a text.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(bytes.len() * 8 / 5);
    let (mut code, mut length) = (0, 0);
    for byte in bytes {
        for bit in (0..8).rev() {
            code = code << 1 | u32::from(byte >> bit & 1);
            length += 1;
            if let Some(symbol) = symbol(code, length) {
                // The end of a string is never spelled out.
                text.push(u8::try_from(symbol).ok()?);
                (code, length) = (0, 0);
            }
        }
    }
    // The last byte is filled up with ones.
    (length < 8 && code == (1 << length) - 1).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let hex: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
        let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16);
        hex.chunks(2).map(|two| pair(two).unwrap()).collect()
    }

    /// The examples of RFC 7541, appendix C.4 and C.6.
    #[test]
    fn the_examples_are_read() {
        let examples = [
            ("f1e3 c2e5 f23a 6ba0 ab90 f4ff", "www.example.com"),
            ("a8eb 1064 9cbf", "no-cache"),
            ("25a8 49e9 5bb8 e8b4 bf", "custom-value"),
            ("d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff", DATE),
            ("9d29 ad17 1863 c78f 0b97 c8e9 ae82 ae43 d3", "https://www.example.com"),
            (
                "94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 \
                 3160 65c0 03ed 4ee5 b106 3d50 07",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ];
        for (hex, text) in examples {
            assert_eq!(decode(&bytes(hex)).as_deref(), Some(text.as_bytes()), "{hex}");
        }
    }

    const DATE: &str = "Mon, 21 Oct 2013 20:13:21 GMT";

    #[test]
    fn the_code_is_complete() {
        let all: u64 = LENGTHS.iter().map(|length| 1 << (LONGEST - usize::from(*length))).sum();
        assert_eq!(all, 1 << LONGEST);
    }

    #[test]
    fn what_is_no_code_is_none() {
        // Eight bits of filling, filling that is no ones, and the end of a string spelled out.
        for hex in ["f1e3 c2e5 f23a 6ba0 ab90 f4ff ff", "a8eb 1064 9cb0", "ffff ffff"] {
            assert_eq!(decode(&bytes(hex)), None, "{hex}");
        }
    }
}
