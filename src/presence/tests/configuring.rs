//! A config file that is read again, and an agent that goes for good.

use crate::model::{Folded, Health};
use crate::presence::PresenceError;

use super::house::{House, NODE, service, ttl};

#[tokio::test(start_paused = true)]
async fn the_services_are_those_of_the_file_and_what_came_by_api_stays() {
    let mut kept = service("kept");
    let before = vec![(kept.clone(), vec![ttl(60)]), (service("gone"), vec![ttl(60)])];
    let house = House::open(before).await;
    house.presence.register(service("by-api"), vec![], false).await.unwrap();
    house.presence.report("service:kept", Health::Passing, "fine".to_owned()).await.unwrap();
    kept.port = 9;
    let mut second = ttl(30);
    second.id = "second".into();
    let mut same = ttl(90);
    same.id = "service:kept".into();
    let after = vec![(kept.clone(), vec![same, second]), (service("new"), vec![])];
    house.presence.configure(after).await.unwrap();
    for (id, there) in [("kept", true), ("gone", false), ("new", true), ("by-api", true)] {
        assert_eq!(house.has(id), there, "{id}");
    }
    let state = house.state();
    let row = state.instance(&Folded::new(NODE), "kept").unwrap();
    assert_eq!(row.def.port, 9);
    assert_eq!(house.check("service:kept"), Some((Health::Passing, "fine".to_owned())));
    assert_eq!(house.status("second"), Some(Health::Critical));
    assert_eq!(house.status("service:gone"), None);
    // A check that has gone from the file goes.
    house.presence.configure(vec![(kept, vec![])]).await.unwrap();
    assert_eq!((house.status("second"), house.has("new")), (None, false));
    assert!(house.has("by-api"));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_kept_changes_nothing() {
    let house = House::open(vec![(service("a"), vec![])]).await;
    house.presence.register(service("by-api"), vec![ttl(60)], false).await.unwrap();
    let twice = vec![(service("b"), vec![]), (service("b"), vec![])];
    let mut foreign = ttl(60);
    foreign.id = "service:by-api".into();
    let reserved = vec![(service("consul"), vec![])];
    for wrong in [twice, vec![(service("b"), vec![foreign])], reserved] {
        let refused = house.presence.configure(wrong).await;
        let expected =
            matches!(refused, Err(PresenceError::Invalid { .. } | PresenceError::Reserved(_)));
        assert!(expected, "{refused:?}");
        assert!(house.has("a") && !house.has("b"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_takes_everything_along_and_promises_nothing_more() {
    let house = House::open(vec![(service("w1"), vec![])]).await;
    house.presence.register(service("w2"), vec![ttl(60)], false).await.unwrap();
    house.presence.leave().await.unwrap();
    let state = house.state();
    assert!(state.node(NODE).is_none());
    assert_eq!(state.instances("web").count(), 0);
    let late = house.presence.register(service("w3"), vec![], false).await;
    assert_eq!(late, Err(PresenceError::Stopped));
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(house.state().node(NODE).is_none(), "nothing brings it back");
}
