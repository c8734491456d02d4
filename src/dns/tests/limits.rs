//! How large an answer may be: EDNS, truncation, configured limits.

use hickory_proto::rr::RecordType::{A, SRV};

use super::*;

/// One service with many instances, each on a node of its own.
async fn crowd(config: &Config, size: usize) -> Bed {
    let bed = Bed::empty(config);
    let mut ops = Vec::new();
    for nth in 0..size {
        let name = format!("node-{nth}");
        ops.push(CatalogOp::PutNode(node(&name, &format!("10.1.{}.{}", nth / 256, nth % 256))));
        let def = service("web", "web", 80);
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

#[tokio::test]
async fn configured_limits_give_a_subset_without_truncation() {
    let config = Config { a_record_limit: Some(5), udp_answer_limit: Some(3), ..Config::default() };
    let mut bed = crowd(&config, 100).await;
    let a = query("web.service.consul.", A, Some(4096));
    let srv = query("web.service.consul.", SRV, Some(65_000));
    for (packet, channel, want) in [(&a, UDP, 3), (&a, Channel::Tcp, 5), (&srv, UDP, 3)] {
        let reply = bed.ask_by(packet, channel);
        assert_eq!(reply.message.answers.len(), want);
        assert!(!reply.message.metadata.truncation);
    }
    let reply = bed.ask_by(&srv, UDP);
    assert_eq!(reply.message.additionals.len(), 3);
    assert_eq!(bed.ask_by(&srv, Channel::Tcp).message.answers.len(), 100);
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
