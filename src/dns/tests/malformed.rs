//! Queries that are no queries: each gets the error it deserves, and nothing panics.

use hickory_proto::rr::RecordType::A;
use proptest::prelude::*;

use super::*;
use crate::dns::Rcode;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// A header with the counts given, then `rest`.
fn packet(flags: &str, counts: &str, rest: &str) -> Vec<u8> {
    hex(&format!("1234{flags}{counts}{rest}"))
}

const FOO: &str = "03666f6f046e6f646506636f6e73756c00";
const ONE: &str = "0001000000000000";
const OPT: &str = "0000290200000000000000";

fn rcode(verdict: Verdict) -> Option<Rcode> {
    match verdict {
        Verdict::Answered { rcode, .. } => Some(rcode),
        Verdict::Forward { .. } | Verdict::Outside { .. } => None,
        Verdict::Silent => None,
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_answered_as_it_deserves() {
    let mut bed = Bed::new(&Config::default()).await;
    let long_label = format!("40{}0000010001", "61".repeat(64));
    let long_name = format!("{}0000010001", format!("3f{}", "61".repeat(63)).repeat(4));
    for (title, packet, want) in [
        ("empty", Vec::new(), None),
        ("three bytes", hex("616263"), None),
        ("a response", packet("8100", ONE, &format!("{FOO}00010001")), None),
        ("no question", packet("0100", "0000000000000000", ""), Some(Rcode::FormErr)),
        ("a promised question", packet("0100", ONE, ""), Some(Rcode::FormErr)),
        (
            "two questions",
            packet("0100", "0002000000000000", &format!("{FOO}00010001{FOO}00010001")),
            Some(Rcode::FormErr),
        ),
        ("cut in the name", packet("0100", ONE, "03666f6f"), Some(Rcode::FormErr)),
        ("cut before the class", packet("0100", ONE, &format!("{FOO}0001")), Some(Rcode::FormErr)),
        (
            "trailing bytes",
            packet("0100", ONE, &format!("{FOO}0001000178797a")),
            Some(Rcode::NoError),
        ),
        ("a pointer", packet("0100", ONE, "c00c00010001"), Some(Rcode::FormErr)),
        ("a label of 64", packet("0100", ONE, &long_label), Some(Rcode::FormErr)),
        ("a name of more than 255", packet("0100", ONE, &long_name), Some(Rcode::FormErr)),
        (
            "high bytes",
            packet("0100", ONE, "03fffefd046e6f646506636f6e73756c0000010001"),
            Some(Rcode::NxDomain),
        ),
        (
            "a dot in a label",
            packet("0100", ONE, "08666f6f2e6e6f646506636f6e73756c0000010001"),
            Some(Rcode::NxDomain),
        ),
        ("class 0", packet("0100", ONE, &format!("{FOO}00010000")), Some(Rcode::FormErr)),
        ("class CH", packet("0100", ONE, &format!("{FOO}00010003")), Some(Rcode::Refused)),
        ("class ANY", packet("0100", ONE, &format!("{FOO}000100ff")), Some(Rcode::Refused)),
        ("AXFR", packet("0100", ONE, &format!("{FOO}00fc0001")), Some(Rcode::NotImp)),
        ("NOTIFY", packet("2000", ONE, &format!("{FOO}00060001")), Some(Rcode::NotImp)),
        ("UPDATE", packet("2800", ONE, &format!("{FOO}00060001")), Some(Rcode::NotImp)),
        (
            "two OPT",
            packet("0100", "0001000000000002", &format!("{FOO}00010001{OPT}{OPT}")),
            Some(Rcode::FormErr),
        ),
        (
            "a cut OPT",
            packet("0100", "0001000000000001", &format!("{FOO}00010001000029020000000000")),
            Some(Rcode::FormErr),
        ),
        (
            "EDNS version 1",
            packet("0100", "0001000000000001", &format!("{FOO}000100010000290200000100000000")),
            Some(Rcode::BadVers),
        ),
    ] {
        let (verdict, out) = bed.raw(&packet, UDP);
        assert_eq!(rcode(verdict), want, "{title}");
        let Some(want) = want else { continue };
        assert_eq!(out[..2], [0x12, 0x34], "{title}");
        let message = Message::from_vec(&out).unwrap();
        assert_eq!(u16::from(message.metadata.response_code), want as u16, "{title}");
        // What could not be read, or is no query, is not repeated.
        let bare = want == Rcode::FormErr || ["NOTIFY", "UPDATE"].contains(&title);
        assert_eq!(message.queries.is_empty(), bare, "{title}");
    }
}

#[tokio::test]
async fn every_answer_to_an_opt_has_one() {
    let mut bed = Bed::new(&Config::default()).await;
    for name in ["web.service.consul.", "nope.consul.", "example.com."] {
        let reply = bed.ask_by(&query(name, A, Some(900)), UDP);
        assert_eq!(reply.message.edns.map(|edns| edns.max_payload()), Some(900));
        assert!(bed.ask_by(&query(name, A, None), UDP).message.edns.is_none());
    }
    // The subnet comes back with scope 0.
    let subnet = "000029040000000000000b0008000700011800c00002";
    let asked = packet("0100", "0001000000000001", &format!("{FOO}00010001{subnet}"));
    let (_, out) = bed.raw(&asked, UDP);
    assert!(out.ends_with(&hex(subnet)), "{out:02x?}");
    // Of a prepared query it is all for that subnet, whether there is one or not.
    for name in [
        "\x04nope\x05query\x06consul",
        "\x04nope\x05query\x03dc1\x06consul",
        "\x04nope\x05query\x03dc1\x02dc\x06consul",
    ] {
        let name: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
        let rest = format!("{name}0000010001{subnet}");
        let (_, out) = bed.raw(&packet("0100", "0001000000000001", &rest), UDP);
        let narrow = subnet.replace("00011800", "00011818");
        assert!(out.ends_with(&hex(&narrow)), "{out:02x?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bed = Bed::empty(&Config::default());
        let (verdict, out) = bed.raw(&bytes, UDP);
        if verdict != Verdict::Silent {
            prop_assert!(Message::from_vec(&out).is_ok());
        }
    }

    #[test]
    fn any_flaw_in_a_query_is_survived(
        at in 0_usize..60,
        byte: u8,
        cut in 12_usize..60,
        name in "[a-z0-9_]{1,6}(\\.[a-z0-9_]{1,6}){0,4}",
    ) {
        let mut bed = Bed::empty(&Config::default());
        let mut packet = query(&format!("{name}.service.consul."), A, Some(1232));
        let (at, cut) = (at % packet.len(), cut.min(packet.len()));
        packet[at] = byte;
        for packet in [packet.as_slice(), &packet[..cut]] {
            let (verdict, out) = bed.raw(packet, UDP);
            if verdict != Verdict::Silent {
                prop_assert!(Message::from_vec(&out).is_ok());
                prop_assert!(out.len() <= 65_467);
            }
        }
    }
}
