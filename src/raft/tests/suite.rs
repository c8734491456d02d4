//! openraft's own storage suite over our log and machine, a fresh directory for each test.

use std::sync::Arc;

use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::raft::ceiling::Ceiling;
use crate::raft::clock::ClusterClock;
use crate::raft::disk::{Disk, RealDisk};
use crate::raft::log_store::LogStore;
use crate::raft::machine::Machine;
use crate::raft::open::open;
use crate::raft::types::Types;
use crate::replica;
use crate::state::{LEVEL, Part};
use crate::telemetry::Metrics;

struct Fresh;

impl StoreBuilder<Types, LogStore, Machine, TempDir> for Fresh {
    async fn build(&self) -> Result<(TempDir, LogStore, Machine), StorageError<Types>> {
        let dir = super::world::dir();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let opened = open(&disk, &super::world::config(1, &dir)).unwrap();
        let (writer, _) = replica::new(Part::Server);
        let machine = Machine::new(
            writer,
            opened.snapshots,
            Arc::<ClusterClock>::default(),
            &Metrics::default(),
            Arc::new(Ceiling::new(LEVEL)),
        );
        Ok((dir, opened.log, machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openrafts_suite_passes() {
    Suite::test_all(Fresh).await.unwrap();
}
