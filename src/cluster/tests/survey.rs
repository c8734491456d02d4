//! Checksums and backups that an agent without history has a server make, over a relay too.

use futures::StreamExt as _;
use zeroize::Zeroizing;

use crate::access::{AccountCommand, Denied};
use crate::cluster::{Asker, Backup, Credential, SurveyError};
use crate::state::{Command, Refusal};

use super::world::{Agent, World, until};

async fn whole(backup: Backup) -> Vec<u8> {
    let mut all = Vec::new();
    let mut pieces = backup.pieces;
    while let Some(piece) = pieces.next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(all.len() as u64, backup.len);
    all
}

/// A server, a relay and an edge in a row, and keys that weigh more than what may wait on the way.
async fn row(world: &World) -> [Agent; 3] {
    let server = Agent::start(world.server("s1", &[])).await;
    for n in 0..100 {
        // Nothing that compression makes less of.
        let value: String = (0..8192).map(|_| rand::random_range('!'..='~')).collect();
        server.put(&format!("k{n}"), &value).await;
    }
    let relay = Agent::start(world.relay("r1", &[server.addr()])).await;
    relay.synced().await;
    let edge = Agent::start(world.edge("e1", &[relay.addr()])).await;
    edge.synced().await;
    until("it follows the relay", || edge.cluster.standing().upstream == Some(relay.addr())).await;
    until("it has all of it", || edge.cluster.snapshot().revision() == 101).await;
    [server, relay, edge]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_behind_a_relay_gives_what_a_server_has() {
    let world = World::new();
    let [server, relay, edge] = row(&world).await;
    let nobody = Asker::nobody();
    for revision in [0, 50, 101] {
        let hash = server.cluster.key_hash(&nobody, revision).await.unwrap();
        assert_eq!(edge.cluster.key_hash(&nobody, revision).await, Ok(hash));
    }
    let ahead = edge.cluster.key_hash(&nobody, 102).await;
    let refused = Refusal::FutureRevision { asked: 102, current: 101 };
    assert_eq!(ahead, Err(SurveyError::Refused(refused)));
    let ours = whole(edge.cluster.back_up(&nobody).await.unwrap()).await;
    assert_eq!(ours, whole(server.cluster.back_up(&nobody).await.unwrap()).await);

    // Who has gone in the middle of it leaves a backup that is seen to be cut off.
    let mut cut = edge.cluster.back_up(&nobody).await.unwrap();
    let mut come = cut.pieces.next().await.unwrap().unwrap().len();
    relay.stop().await;
    let mut broken = false;
    while let Some(piece) = cut.pieces.next().await {
        match piece {
            Ok(piece) => come += piece.len(),
            Err(_) => broken = true,
        }
    }
    assert!(broken || (come as u64) < cut.len, "{come} of {} bytes", cut.len);
    for agent in [edge, server] {
        agent.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_judges_the_token_and_not_the_edges_word() {
    let world = World::new();
    let [server, relay, edge] = row(&world).await;
    let password = || Zeroizing::new("pw".to_owned());
    let hash = server.cluster.hash_password(password()).await.unwrap();
    for name in ["root", "bob"] {
        let add = AccountCommand::UserAdd { name: name.into(), hash: Some(hash.clone()) };
        server.cluster.propose(Command::Account(add)).await.unwrap();
    }
    let root = AccountCommand::GrantRole { user: "root".into(), role: "root".into() };
    for command in [root, AccountCommand::Enable] {
        server.cluster.propose(Command::Account(command)).await.unwrap();
    }
    until("the edge has heard", || edge.cluster.snapshot().accounts().enabled()).await;
    let asker = async |name| {
        let token = edge.cluster.login(name, password()).await.unwrap();
        edge.cluster.asker(&Credential::Token(token.into())).await.unwrap()
    };
    let (root, bob) = (asker("root").await, asker("bob").await);
    let hash = edge.cluster.key_hash(&root, 0).await.unwrap();
    assert_eq!(server.cluster.key_hash(&root, 0).await, Ok(hash));
    assert!(edge.cluster.back_up(&root).await.is_ok());
    // Root's name without its token.
    let claimed = Asker { sent: root.caller.clone(), ..root };
    for (asker, why) in
        [(Asker::nobody(), Denied::Nobody), (bob, Denied::Permission), (claimed, Denied::Token)]
    {
        let refused = SurveyError::Refused(why.into());
        assert_eq!(edge.cluster.key_hash(&asker, 0).await, Err(refused.clone()));
        let backup = edge.cluster.back_up(&asker).await;
        assert_eq!(backup.map(|backup| backup.len), Err(refused));
    }
    for agent in [edge, relay, server] {
        agent.stop().await;
    }
}
