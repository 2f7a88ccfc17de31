//! Strikes at the disks of masters. What is refused for a damaged disk is the business of consensus seeds, where masters
//! can be replaced.

use super::{Fault, Kind, Target};
use crate::disk::Operation;
use crate::draw::Draw;

/// Operations of a disk within a second or so of a busy cell.
const OPERATIONS_MAX: u64 = 40;
/// Operations with which a master reads back its disk.
const RECOVERY_OPERATIONS_MAX: u64 = 10;
/// How long a follower is away, so that the others have purged what it lacks by the time it is back.
const AWAY_MS: u64 = 6_000;
/// The longest sync of a disk that is slow: some elections long.
const SYNC_MS_MAX: u64 = 1_500;

/// What one strike consists of, with delays after its beginning.
pub(super) fn strike(kind: Kind, draw: &mut Draw, masters: Vec<String>, lasts_ms: u64) -> Vec<(u64, Fault)> {
    let host = draw.one_of(&masters);
    let who = || Target::Host(host.clone());
    match kind {
        Kind::PowerAtOperation => {
            vec![(0, Fault::CutAtOperation { who: who(), operations: draw.between(1, OPERATIONS_MAX) })]
        }
        Kind::PowerInRecovery => {
            let operations = draw.between(1, RECOVERY_OPERATIONS_MAX);
            let again = Fault::CutAtOperation { who: who(), operations };
            vec![(0, Fault::PowerCut { who: who(), back_ms: lasts_ms }), (lasts_ms, again)]
        }
        Kind::PowerInInstall => {
            let away = Fault::Kill { who: who(), back_ms: AWAY_MS };
            vec![(0, away), (AWAY_MS, Fault::CutInstall { who: who(), within_ms: AWAY_MS })]
        }
        Kind::DiskError => {
            let operation = draw.one_of(&[
                Operation::WriteKeys,
                Operation::SyncKeys,
                Operation::SyncKeys,
                Operation::WriteFile,
                Operation::SyncFile,
                Operation::ChangeName,
                Operation::SyncFolder,
            ]);
            vec![(0, Fault::DiskError { who: who(), operation })]
        }
        Kind::DiskFull => {
            vec![(0, Fault::DiskFull { who: who(), nearly: draw.chance(500), for_ms: lasts_ms })]
        }
        _ => {
            let permille = draw.one_of(&[20, 200, 1_000]);
            let longest_ms = draw.between(10, SYNC_MS_MAX);
            vec![(0, Fault::SlowDisk { who: who(), permille, longest_ms, for_ms: lasts_ms })]
        }
    }
}
