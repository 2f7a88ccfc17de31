//! Waits until the disks of a test are closed.
//!
//! Owner threads let go of a disk a moment after their owner. RocksDB's own clean-up at the end of the process must
//! not meet a database that is being closed: it aborts then, after a test that passed.

use std::path::Path;
use std::time::{Duration, Instant};

use paceline_store::RocksDisk;

/// Far beyond any close; a disk that is still held is a bug of the test.
const WITHIN: Duration = Duration::from_secs(20);

/// Blocks until nobody holds the disk in this folder: its lock is free only after the database is closed.
pub fn wait_closed(dir: &Path) {
    let deadline = Instant::now() + WITHIN;
    while let Err(error) = RocksDisk::open(dir) {
        assert!(Instant::now() < deadline, "the disk in {} is still open: {error}", dir.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}
