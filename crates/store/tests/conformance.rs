//! openraft's storage suite on RocksDB and files.

#[path = "support/closed.rs"]
mod closed;

use std::sync::{Arc, Mutex};

use paceline_replica::conformance;
use paceline_store::RocksDisk;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rocks_disk_passes_the_storage_suite() {
    let dirs = Arc::new(Mutex::new(Vec::new()));
    let opened = Arc::clone(&dirs);
    conformance::run(move || {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let disk = RocksDisk::open(dir.path()).expect("an empty folder opens");
        opened.lock().expect("no panic").push(dir);
        (Arc::new(disk) as _, ())
    })
    .await;
    for dir in dirs.lock().expect("no panic").iter() {
        closed::wait_closed(dir.path());
    }
}
