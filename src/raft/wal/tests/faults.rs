//! Disks that fail: nothing is acknowledged after a failed sync, and a full disk is waited out.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::super::tests::faulty::{Faulty, Shared};
use super::super::writer::Wal;
use super::*;

#[tokio::test]
async fn nothing_is_acknowledged_after_a_failed_sync() {
    let (dir, faulty) = (dir(), Arc::new(Faulty::default()));
    let (wal, _) = Wal::open(Arc::new(Shared(faulty.clone())), dir.path(), SEGMENT).unwrap();
    wal.commit(vec![entry(0, 10)]).await.unwrap();
    faulty.sync_fails.store(true, Ordering::SeqCst);
    let error = wal.commit(vec![entry(1, 10)]).await.unwrap_err();
    assert!(error.to_string().contains("injected"), "{error}");
    assert!(error.to_string().contains(".wal"), "{error}");
    faulty.sync_fails.store(false, Ordering::SeqCst);
    wal.commit(vec![entry(2, 10)]).await.unwrap_err();
    drop(wal);
    let (_, recovered) = open(&dir).unwrap();
    assert!(indexes(&recovered).len() <= 2);
}

#[tokio::test]
async fn a_full_disk_is_seen_before_it_hurts_and_waited_out() {
    let (dir, faulty) = (dir(), Arc::new(Faulty::default()));
    let (wal, _) = Wal::open(Arc::new(Shared(faulty.clone())), dir.path(), SEGMENT).unwrap();
    let pressure = wal.pressure();
    faulty.full.store(true, Ordering::SeqCst);
    let mut index = 0;
    while !pressure.is_full() {
        wal.commit(vec![entry(index, 100)]).await.unwrap();
        index += 1;
        assert!(index < 1000, "the log never says that it is full");
    }
    // There is still room for votes.
    wal.commit(vec![Record::Vote(Bytes::from_static(b"vote"))]).await.unwrap();
    faulty.full.store(false, Ordering::SeqCst);
    let deadline = Instant::now() + Duration::from_secs(10);
    while pressure.is_full() {
        assert!(Instant::now() < deadline, "the log stays full");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    wal.commit(vec![entry(index, 100)]).await.unwrap();
}

#[tokio::test]
async fn what_nobody_waits_for_is_written_all_the_same() {
    let dir = dir();
    let (wal, _) = Wal::open(Arc::new(RealDisk), dir.path(), SEGMENT).unwrap();
    wal.submit_lazily(vec![Record::Committed(Some(Position { index: 0, term: 1 }))]);
    wal.close();
    let (_, recovered) = open(&dir).unwrap();
    assert_eq!(recovered.committed, Some(Position { index: 0, term: 1 }));
    wal.commit(vec![entry(0, 1)]).await.unwrap_err();
}

#[tokio::test]
async fn what_finds_no_room_waits_for_it_and_votes_go_ahead() {
    let (dir, faulty) = (dir(), Arc::new(Faulty::default()));
    let (wal, _) = Wal::open(Arc::new(Shared(faulty.clone())), dir.path(), SEGMENT).unwrap();
    faulty.full.store(true, Ordering::SeqCst);
    // It needs a segment of its own, for which there is no room.
    let (sender, mut large) = tokio::sync::oneshot::channel();
    wal.submit(vec![entry(0, 3 * SEGMENT)], Box::new(move |result| drop(sender.send(result))));
    wal.commit(vec![Record::Vote(Bytes::from_static(b"vote"))]).await.unwrap();
    assert!(wal.pressure().is_full());
    assert!(large.try_recv().is_err(), "neither written nor failed");
    let behind = wal.commit(vec![entry(1, 10)]);
    faulty.full.store(false, Ordering::SeqCst);
    behind.await.unwrap();
    large.await.unwrap().unwrap();
    drop(wal);
    let (_, recovered) = open(&dir).unwrap();
    assert_eq!(indexes(&recovered), [0, 1]);
    assert_eq!(recovered.vote.as_deref(), Some(&b"vote"[..]));
}
