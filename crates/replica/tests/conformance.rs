//! openraft's storage suite on the disk in memory.

use std::sync::Arc;

use paceline_replica::{MemoryDisk, conformance};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_disk_passes_the_storage_suite() {
    conformance::run(|| (Arc::new(MemoryDisk::new()) as _, ())).await;
}
