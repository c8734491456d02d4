//! Host names in place of addresses: one alias at a time, and no further than an answer may cost.

use std::collections::BTreeSet;

use hickory_proto::rr::RecordType::{A, CNAME};

use super::*;
use crate::model::limits;

/// A service whose only instance stands at that address.
async fn at(bed: &Bed, name: &str, address: &str) {
    let def = ServiceDef { address: address.into(), ..service(name, name, 80) };
    bed.instance("foo", def).await;
}

#[tokio::test]
async fn names_of_ours_are_followed_three_times() {
    let mut bed = Bed::new(&Config::default()).await;
    at(&bed, "s0", "10.5.5.5").await;
    for nth in 1..=4 {
        at(&bed, &format!("s{nth}"), &format!("s{}.service.consul", nth - 1)).await;
    }
    for (nth, leads) in [(1, true), (2, true), (3, true), (4, false)] {
        let answers = bed.ask(&format!("s{nth}.service.consul."), A).answers();
        let owner = format!("s{}.service.consul. 0 IN A 10.5.5.5", nth - 1);
        assert_eq!(answers.contains(&owner), leads, "{answers:?}");
        assert_eq!(answers.len(), 1 + usize::from(leads), "{answers:?}");
    }
}

#[tokio::test]
async fn one_of_many_aliases_is_given_and_a_bounded_number_followed() {
    let mut bed = Bed::new(&Config::default()).await;
    for nth in 0..40 {
        at(&bed, &format!("t{nth}"), &format!("10.6.0.{nth}")).await;
        let address = format!("t{nth}.service.consul").into();
        let def = ServiceDef { address, ..service(&format!("wide-{nth}"), "wide", 80) };
        bed.instance("foo", def).await;
    }
    let (mut aliases, mut followed) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..1000 {
        let reply = bed.ask("wide.service.consul.", A);
        let of = |kind| reply.message.answers.iter().filter(move |r| r.record_type() == kind);
        assert_eq!(of(CNAME).count(), 1);
        aliases.extend(of(CNAME).map(Record::to_string));
        followed.extend(of(A).map(Record::to_string));
    }
    assert_eq!((aliases.len(), followed.len()), (40, limits::DNS_ALIASES));
}
