//! Waits until the disks of a test are closed.
//!
//! Owner threads let go of a disk a moment after their owner. RocksDB's own clean-up at the end of the process must
//! not meet a database that is being closed: it aborts then, after a test that passed.

use std::path::Path;
use std::time::{Duration, Instant};

use paceline_store::{HistoryStore, RocksDisk};

/// Far beyond any close; a disk that is still held is a bug of the test.
const WITHIN: Duration = Duration::from_secs(20);

/// Blocks until nobody holds the disk or the history in this folder: the locks are free only after the databases are
/// closed.
pub fn wait_closed(dir: &Path) {
    let deadline = Instant::now() + WITHIN;
    let has_history = dir.join("history").exists();
    let open = || match RocksDisk::open(dir) {
        Ok(_) if has_history => HistoryStore::open(dir).map(drop),
        opened => opened.map(drop),
    };
    while let Err(error) = open() {
        assert!(Instant::now() < deadline, "the disk in {} is still open: {error}", dir.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}
