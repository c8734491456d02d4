//! How large an answer may be: EDNS, truncation, configured limits.

use hickory_proto::rr::RecordType::{A, SRV, TXT};

use super::*;

/// One service with many instances, each on a node of its own.
async fn crowd(config: &Config, size: usize) -> Bed {
    uneven_crowd(config, size, |_| weighing(1, 1)).await
}

/// The same with a weight for each of them.
async fn uneven_crowd(config: &Config, size: usize, weights: fn(usize) -> Weights) -> Bed {
    let bed = Bed::empty(config);
    let mut ops = Vec::new();
    for nth in 0..size {
        let name = format!("node-{nth}");
        ops.push(CatalogOp::PutNode(node(&name, &format!("10.1.{}.{}", nth / 256, nth % 256))));
        let def = ServiceDef { weights: weights(nth), ..service("web", "web", 80) };
        ops.push(CatalogOp::PutInstance { node: Folded::new(&name), def, source: Source::Catalog });
    }
    bed.ops(ops).await;
    bed
}

#[tokio::test]
async fn an_answer_fits_what_the_client_takes() {
    let mut bed = crowd(&Config::default(), 100).await;
    for (edns, most, answers) in [
        (None, 512, 29),
        (Some(0), 512, 29),
        (Some(100), 512, 29),
        (Some(1232), 1232, 74),
        (Some(4096), 4096, 100),
    ] {
        let reply = bed.ask_by(&query("web.service.consul.", A, edns), UDP);
        assert!(reply.size <= most, "{} bytes for {edns:?}", reply.size);
        assert_eq!(reply.message.answers.len(), answers, "{edns:?}");
        assert_eq!(reply.message.metadata.truncation, answers < 100, "{edns:?}");
        assert_eq!(reply.message.edns.is_some(), edns.is_some());
    }
    let remote = Channel::Udp { most: 1232 };
    let reply = bed.ask_by(&query("web.service.consul.", A, Some(4096)), remote);
    assert!(reply.size <= 1232 && reply.message.metadata.truncation);
    let reply = bed.ask_by(&query("web.service.consul.", A, None), Channel::Tcp);
    assert_eq!(reply.message.answers.len(), 100);
    assert!(!reply.message.metadata.truncation);
}

#[tokio::test]
async fn every_size_is_kept_to_and_made_use_of() {
    let mut bed = crowd(&Config::default(), 100).await;
    let mut packet = query("web.service.consul.", A, Some(512));
    let size_at = packet.len() - 8;
    for said in [0, 1, 100, 511].into_iter().chain(512..600) {
        let room = usize::from(said).max(512);
        packet[size_at..size_at + 2].copy_from_slice(&u16::to_be_bytes(said));
        let reply = bed.ask_by(&packet, UDP);
        assert!(reply.size <= room, "{} bytes for {said}", reply.size);
        assert!(reply.size + 16 > room, "{} bytes for {said}", reply.size);
    }
}

#[tokio::test]
async fn additional_records_go_first_and_without_truncation() {
    let mut bed = crowd(&Config::default(), 9).await;
    let reply = bed.ask_by(&query("web.service.consul.", SRV, None), UDP);
    assert_eq!(reply.message.answers.len(), 9);
    assert!(reply.message.additionals.len() < 9);
    assert!(!reply.message.metadata.truncation);
    let whole = bed.ask("web.service.consul.", SRV);
    assert_eq!(whole.message.additionals.len(), 9);
}

#[tokio::test]
async fn a_huge_service_is_cut_fairly() {
    let mut bed = crowd(&Config::default(), 3000).await;
    let reply = bed.ask_by(&query("web.service.consul.", SRV, None), Channel::Tcp);
    assert!(reply.size <= 65_535 && reply.message.metadata.truncation);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..400 {
        let reply = bed.ask_by(&query("web.service.consul.", A, None), UDP);
        seen.extend(reply.answers());
    }
    // Each query shows 29 of 3000: of 11,600 draws with putting back, 2 % are never drawn.
    assert!(seen.len() > 2850, "{} of 3000 were seen", seen.len());
}

/// How often each instance comes first, and at all, in answers that have room for 29.
fn shown(bed: &mut Bed, times: usize) -> (Vec<usize>, Vec<usize>) {
    let (mut first, mut at_all) = (vec![0; 100], vec![0; 100]);
    for _ in 0..times {
        let reply = bed.ask_by(&query("web.service.consul.", A, None), UDP);
        let numbers = reply.message.answers.iter().map(|record| {
            let shown = record.data.to_string();
            shown.rsplit('.').next().unwrap().parse::<usize>().unwrap()
        });
        let numbers: Vec<usize> = numbers.collect();
        assert_eq!(numbers.len(), 29);
        first[numbers[0]] += 1;
        numbers.iter().for_each(|nth| at_all[*nth] += 1);
    }
    (first, at_all)
}

#[tokio::test]
async fn nobody_is_shown_oftener_than_others() {
    let mut bed = crowd(&Config::default(), 100).await;
    let (first, at_all) = shown(&mut bed, 5000);
    // 50 and 1,450 are expected; the deviations are 7 and 32.
    assert!(first.iter().all(|times| (15..100).contains(times)), "{first:?}");
    assert!(at_all.iter().all(|times| (1290..1610).contains(times)), "{at_all:?}");
}

#[tokio::test]
async fn who_weighs_more_is_cut_less_often() {
    let weights = |nth| if nth < 10 { weighing(10, 1) } else { weighing(1, 1) };
    let mut bed = uneven_crowd(&Config::default(), 100, weights).await;
    let (first, at_all) = shown(&mut bed, 2000);
    // Ten of ten beside ninety of one: 100 of 190.
    let heavy: usize = first[..10].iter().sum();
    assert!((950..1155).contains(&heavy), "{heavy} of 2000, 1053 expected");
    assert!(at_all[..10].iter().all(|times| *times > 1800), "{at_all:?}");
    assert!(at_all[10..].iter().all(|times| (330..600).contains(times)), "{at_all:?}");
}

#[tokio::test]
async fn an_alias_says_when_what_it_leads_to_is_cut() {
    let mut bed = crowd(&Config::default(), 100).await;
    let def = ServiceDef { address: "web.service.consul".into(), ..service("far", "far", 80) };
    bed.instance("node-1", def).await;
    let asked = query("far.service.consul.", A, None);
    let reply = bed.ask_by(&asked, UDP);
    assert!(reply.size <= 512 && reply.message.metadata.truncation);
    assert!((20..30).contains(&reply.message.answers.len()));
    let reply = bed.ask_by(&asked, Channel::Tcp);
    assert_eq!(reply.message.answers.len(), 101);
    assert!(!reply.message.metadata.truncation);
}

#[test]
fn who_is_put_off_gets_no_more_than_he_sent() {
    let mut with_cookie = query("web.service.consul.", A, Some(4096));
    let last = with_cookie.len() - 1;
    with_cookie[last] = 12;
    with_cookie.extend(b"\0\x0a\0\x0812345678");
    for packet in [
        query("web.service.consul.", A, None),
        query("web.service.consul.", SRV, Some(4096)),
        with_cookie,
    ] {
        let mut out = vec![7];
        assert!(Answerer::put_off(&packet, &mut out));
        assert!(out.len() <= packet.len(), "{} for {}", out.len(), packet.len());
        let message = Message::from_vec(&out).unwrap();
        assert!(message.metadata.truncation && message.answers.is_empty());
        assert_eq!((message.metadata.id, message.queries.len()), (0x1234, 1));
    }
    // A response, noise and what is no question are not worth an answer.
    let mut response = query("web.service.consul.", A, None);
    response[2] |= 0x80;
    for packet in [response.as_slice(), &response[..20], b"GET / HTTP/1.1\r\n\r\n"] {
        assert!(!Answerer::put_off(packet, &mut Vec::new()));
    }
}

#[tokio::test]
async fn configured_limits_give_a_subset_without_truncation() {
    let config = Config { a_record_limit: Some(5), udp_answer_limit: Some(3), ..Config::default() };
    let mut bed = crowd(&config, 100).await;
    let name = "web.service.consul.";
    let [a, srv] = [A, SRV].map(|kind| query(name, kind, Some(65_000)));
    let [plain_a, plain_srv] = [A, SRV].map(|kind| query(name, kind, None));
    for (packet, channel, want) in [
        (&plain_a, UDP, 3),
        (&plain_srv, UDP, 3),
        (&query(name, A, Some(512)), UDP, 3),
        (&a, UDP, 5),
        (&a, Channel::Tcp, 5),
        (&srv, UDP, 100),
        (&srv, Channel::Tcp, 100),
    ] {
        let reply = bed.ask_by(packet, channel);
        assert_eq!(reply.message.answers.len(), want);
        assert!(!reply.message.metadata.truncation);
    }
    assert_eq!(bed.ask_by(&plain_srv, UDP).message.additionals.len(), 3);
    // It is about services: what a node says of itself is told in full.
    let mut def = node("talker", "10.0.0.1");
    def.meta = (0..5).map(|nth| (format!("k{nth}"), "v".to_owned())).collect();
    bed.ops(vec![CatalogOp::PutNode(def)]).await;
    let texts = query("talker.node.consul.", TXT, None);
    assert_eq!(bed.ask_by(&texts, UDP).message.answers.len(), 5);
}

#[tokio::test]
async fn a_far_target_is_named_in_full() {
    // Behind 16 KiB a pointer reaches no more.
    let mut bed = crowd(&Config::default(), 600).await;
    let reply = bed.ask("web.service.consul.", SRV);
    assert_eq!(reply.message.answers.len(), 600);
    assert_eq!(reply.message.additionals.len(), 600);
    assert!(reply.size > 0x4000);
}
