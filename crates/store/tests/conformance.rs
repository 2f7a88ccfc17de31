//! openraft's storage suite on RocksDB and files.

use std::sync::Arc;

use paceline_replica::conformance;
use paceline_store::RocksDisk;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rocks_disk_passes_the_storage_suite() {
    conformance::run(|| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let disk = RocksDisk::open(dir.path()).expect("an empty folder opens");
        (Arc::new(disk) as _, dir)
    })
    .await;
}
