//! What a disk is to the simulation: opened by each life of a master, and struck by power cuts between them.

use std::sync::Arc;

use paceline_replica::{Disk, MemoryDisk};
use parking_lot::Mutex;

use crate::disk::SimDisk;
use crate::draw::Draw;

/// The disk of one master, over all of its lives.
pub trait Medium: Send + Sync {
    /// What the next life opens. Earlier openings are dead: what they still do must not reach it.
    fn begin_life(&self) -> Arc<dyn Disk>;
    /// The machine loses its power: what was not synced is at the mercy of the draw.
    fn power_cut(&self, draw: &mut Draw);
    /// The disk behind it, where it fails like a real one.
    fn disk(&self) -> Option<SimDisk> {
        None
    }
}

/// A disk that says it has synced and has not: a power cut takes everything that this life wrote. The checks must find
/// out what a cell on such disks has lost.
#[derive(Debug, Default)]
pub struct LyingMedium(Mutex<Lying>);

#[derive(Debug, Default)]
struct Lying {
    disk: MemoryDisk,
    /// As the present life found it.
    found: MemoryDisk,
}

impl Medium for LyingMedium {
    fn begin_life(&self) -> Arc<dyn Disk> {
        let mut lying = self.0.lock();
        lying.found = lying.disk.after_crash(usize::MAX);
        Arc::new(lying.disk.clone())
    }

    fn power_cut(&self, _draw: &mut Draw) {
        let mut lying = self.0.lock();
        lying.disk = lying.found.after_crash(0);
    }
}
