//! Thousands of instances on one agent, and many clients at once.

use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::model::{CheckKind, Health, limits};
use crate::presence::PresenceError;

use super::house::{House, service, ttl};

const MANY: usize = 3000;

#[tokio::test(start_paused = true)]
async fn thousands_of_instances_cost_each_as_much_as_one() {
    let house = House::open(vec![]).await;
    let began = Instant::now();
    for n in 0..MANY {
        let def = service(&format!("w{n}"));
        house.presence.register(def, vec![ttl(3600)], false).await.unwrap();
    }
    let registered = began.elapsed();
    for n in 0..MANY {
        let check = format!("service:w{n}");
        house.presence.report(&check, Health::Passing, String::new()).await.unwrap();
    }
    assert_eq!(house.healthy(), MANY);
    // Were each as dear as the number of them, this would take minutes.
    let (all, limit) = (began.elapsed(), Duration::from_secs(30));
    assert!(all < limit, "registered in {registered:?}, all in {all:?}");
}

#[tokio::test(start_paused = true)]
async fn what_comes_at_once_travels_together() {
    let house = House::open(vec![]).await;
    let before = house.state().applied().index;
    let asked = (0..500).map(|n| {
        let presence = house.presence.clone();
        async move { presence.register(service(&format!("w{n}")), vec![ttl(60)], false).await }
    });
    assert!(join_all(asked).await.into_iter().all(|done| done.is_ok()));
    assert_eq!(house.state().instances("web").count(), 500);
    let entries = house.state().applied().index - before;
    assert!(entries < 100, "{entries} entries for 500 registrations");
}

#[tokio::test(start_paused = true)]
async fn wishes_for_one_instance_are_granted_in_order() {
    let house = House::open(vec![]).await;
    let presence = &house.presence;
    let mut check = crate::model::CheckDef::new("c", "c", CheckKind::Static);
    check.service_id = Some("w1".into());
    let (one, two, three, four) = tokio::join!(
        presence.register(service("w1"), vec![], false),
        presence.register_check(check.clone()),
        presence.deregister("w1"),
        presence.register_check(check),
    );
    assert_eq!((one, two, three), (Ok(()), Ok(()), Ok(())));
    assert_eq!(four, Err(PresenceError::UnknownService("w1".to_owned())));
    assert!(!house.has("w1"));
}

#[tokio::test(start_paused = true)]
async fn an_agent_runs_no_more_than_its_limit() {
    let mut services = Vec::new();
    // One place is taken by the service `consul`.
    for n in 1..limits::INSTANCES_PER_AGENT {
        services.push((service(&format!("w{n}")), vec![]));
    }
    let house = House::open(services).await;
    let full = PresenceError::Limit { what: "services", max: limits::INSTANCES_PER_AGENT };
    assert_eq!(house.presence.register(service("more"), vec![], false).await, Err(full));
    assert_eq!(house.presence.register(service("w1"), vec![], false).await, Ok(()));
}
