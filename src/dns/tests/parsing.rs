//! The reader of queries beside hickory's: whatever arrives, both see the same, and nobody panics.

use hickory_proto::op::{Edns, OpCode};
use hickory_proto::rr::{DNSClass, Record};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::dns::question::{self, Malformed};

/// A query as somebody may send it, well-formed but for what is done to it.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let label = vec(any::<u8>(), 1..20);
    let edns = proptest::option::of((any::<u16>(), prop_oneof![3 => Just(0), 1 => any::<u8>()]));
    let records = vec(vec(any::<u8>(), 1..10), 0..3);
    let head = (any::<u16>(), any::<bool>(), any::<bool>(), any::<bool>());
    let asked = (vec(label, 0..8), any::<u16>(), any::<u16>());
    (head, asked, edns, records).prop_map(|((id, rd, cd, ad), asked, edns, records)| {
        let (labels, qtype, class) = asked;
        let mut message = Message::query();
        message.metadata.id = id;
        message.metadata.recursion_desired = rd;
        message.metadata.checking_disabled = cd;
        message.metadata.authentic_data = ad;
        let labels = labels.iter().map(Vec::as_slice);
        let mut query = Query::query(Name::from_labels(labels).unwrap(), qtype.into());
        query.set_query_class(DNSClass::from(class));
        message.add_query(query);
        for label in records {
            let name = Name::from_labels([label.as_slice()]).unwrap();
            let data = hickory_proto::rr::RData::A(std::net::Ipv4Addr::LOCALHOST.into());
            message.additionals.push(Record::from_rdata(name, 1, data));
        }
        if let Some((size, version)) = edns {
            let mut edns = Edns::new();
            edns.set_max_payload(size);
            edns.set_version(version);
            message.set_edns(edns);
        }
        message.to_vec().unwrap()
    })
}

/// What befalls it on its way.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let flips = vec((any::<Index>(), any::<u8>()), 0..4);
    let cut = proptest::option::weighted(0.2, any::<Index>());
    (packet(), flips, cut, vec(any::<u8>(), 0..4)).prop_map(|(mut packet, flips, cut, tail)| {
        for (at, byte) in flips {
            let at = at.index(packet.len());
            packet[at] = byte;
        }
        if let Some(cut) = cut {
            packet.truncate(cut.index(packet.len()));
        }
        packet.extend(tail);
        packet
    })
}

/// Where both can read it, they read the same.
fn compare(packet: &[u8]) -> Result<(), TestCaseError> {
    let (ours, theirs) = (question::parse(packet), Message::from_vec(packet));
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            let asked = &theirs.queries[0];
            prop_assert_eq!(theirs.queries.len(), 1);
            prop_assert_eq!(ours.head.id, theirs.metadata.id);
            prop_assert_eq!(ours.head.recursion_desired, theirs.metadata.recursion_desired);
            prop_assert_eq!(ours.head.checking_disabled, theirs.metadata.checking_disabled);
            prop_assert_eq!(ours.question.qtype, u16::from(asked.query_type()));
            prop_assert_eq!(ours.question.qclass, u16::from(asked.query_class()));
            let mut name = Vec::new();
            for label in asked.name().iter() {
                name.push(label.len() as u8);
                name.extend(label);
            }
            name.push(0);
            prop_assert_eq!(ours.question.name, name.as_slice());
            let edns = theirs.edns.as_ref();
            prop_assert_eq!(ours.edns.is_some(), edns.is_some());
            if let (Some(ours), Some(theirs)) = (ours.edns, edns) {
                prop_assert_eq!(ours.size.max(512), theirs.max_payload());
                prop_assert_eq!(ours.version, theirs.version());
            }
        }
        // What we refuse although it can be read is one of these.
        (Err(Malformed::Silent), Ok(theirs)) => {
            prop_assert!(theirs.metadata.message_type == hickory_proto::op::MessageType::Response);
        }
        (Err(Malformed::NotImp(..)), Ok(theirs)) => {
            prop_assert_ne!(theirs.metadata.op_code, OpCode::Query);
        }
        (Err(Malformed::FormErr(_)), Ok(theirs)) => {
            let class = theirs.queries.first().map(|asked| u16::from(asked.query_class()));
            let strange = theirs.queries.len() != 1 || class == Some(0);
            let torn = torn(packet).unwrap_or(false);
            prop_assert!(strange || points(packet) || torn, "{packet:02x?}");
        }
        (_, Err(_)) => {}
    }
    Ok(())
}

/// Whether the question's name is compressed, which it cannot be: nothing comes before it.
fn points(packet: &[u8]) -> bool {
    let mut at = 12;
    while let Some(len) = packet.get(at).filter(|len| **len != 0) {
        if *len >= 0xc0 {
            return true;
        }
        at += usize::from(*len) + 1;
    }
    false
}

/// Whether an OPT record's options end in the middle of one (hickory leaves out that one). None
/// where no records can be found.
fn torn(packet: &[u8]) -> Option<bool> {
    let mut decoder = BinDecoder::new(packet);
    let counts: Vec<u16> =
        (0..6).filter_map(|_| Some(decoder.read_u16().ok()?.unverified())).collect();
    Query::read(&mut decoder).ok()?;
    for _ in 0..counts[3..].iter().map(|count| u32::from(*count)).sum() {
        Name::read(&mut decoder).ok()?;
        let rtype = decoder.read_u16().ok()?.unverified();
        decoder.read_slice(6).ok()?;
        let len = decoder.read_u16().ok()?.unverified();
        let mut options = decoder.read_slice(usize::from(len)).ok()?.unverified();
        while rtype == 41 && !options.is_empty() {
            let Some((head, rest)) = options.split_at_checked(4) else { return Some(true) };
            let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let Some((_, rest)) = rest.split_at_checked(len) else { return Some(true) };
            options = rest;
        }
    }
    Some(false)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn queries_are_read_as_they_were_written(packet in packet()) {
        let class = question::parse(&packet).map(|query| query.question.qclass);
        // Class 0 is nobody's.
        prop_assert!(class.is_ok() || Message::from_vec(&packet).unwrap().queries[0]
            .query_class() == DNSClass::from(0));
        compare(&packet)?;
    }

    #[test]
    fn damaged_queries_are_read_alike(packet in damaged()) {
        compare(&packet)?;
    }

    #[test]
    fn noise_is_read_alike(packet in vec(any::<u8>(), 0..80)) {
        compare(&packet)?;
    }

    #[test]
    fn options_are_read_alike(question in packet(), options in vec(any::<u8>(), 0..12)) {
        let mut packet = question[..12].to_vec();
        packet[6..].copy_from_slice(&[0, 0, 0, 0, 0, 1]);
        packet.extend([1, b'a', 0, 0, 1, 0, 1, 0, 0, 41, 16, 0, 0, 0, 0, 0, 0]);
        packet.push(options.len() as u8);
        packet.extend(options);
        compare(&packet)?;
        prop_assert_eq!(torn(&packet).unwrap(), question::parse(&packet).is_err());
    }

    #[test]
    fn whatever_arrives_is_answered_in_a_way_that_can_be_read(packet in damaged()) {
        let mut bed = Bed::empty(&Config::default());
        let (verdict, out) = bed.raw(&packet, UDP);
        if verdict != Verdict::Silent {
            let answer = Message::from_vec(&out).unwrap();
            prop_assert_eq!(answer.metadata.id.to_be_bytes(), [packet[0], packet[1]]);
            prop_assert!(out.len() <= 65_467);
        }
        let mut out = Vec::new();
        if Answerer::put_off(&packet, &mut out) {
            // Nothing is gained by having it sent to somebody else.
            prop_assert!(out.len() <= packet.len());
            prop_assert!(Message::from_vec(&out).unwrap().metadata.truncation);
        }
    }
}
