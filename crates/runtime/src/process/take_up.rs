//! What an earlier agent left: attempts, orders that nobody took, cgroups of the dead.

use std::fs;
use std::path::Path;

use paceline_supervisor::{Ended, Intent, Record, read};
use paceline_types::AttemptId;

use crate::errors::OpenError;
use crate::process::bury;
use crate::process::shared::Shared;

impl Shared {
    /// Fills the table from disk, and clears what has no owner.
    pub(super) fn take_up(&self) -> Result<(), OpenError> {
        for (attempt, folder, of_this_boot) in self.layout.attempts_on_disk()? {
            if of_this_boot && self.was_never_started(&attempt, &folder)? {
                continue;
            }
            // A damaged intent says nothing, and its task goes on: at worst another gets the same user.
            let intent = read::<Intent>(&folder).ok().flatten();
            if let Some(uid) = intent.and_then(|intent| intent.uid) {
                self.task_uids.inherit(attempt, uid);
            }
            self.table.inherit(attempt, folder, of_this_boot);
        }
        self.layout.drop_empty_boots();
        self.cgroups.sweep(|name| self.lives(name));
        Ok(())
    }

    /// A folder where nobody has begun: take it, so that a supervisor on its way cannot start any more, and
    /// throw it away whole. The attempt is unknown then, and may be launched again.
    fn was_never_started(&self, attempt: &AttemptId, folder: &Path) -> Result<bool, OpenError> {
        let failed = |source| OpenError::Folder { path: folder.to_owned(), source };
        if [Intent::NAME, Ended::NAME].iter().any(|name| folder.join(name).exists()) {
            return Ok(false);
        }
        let taken = bury::take(folder, &attempt.to_string()).map_err(failed)?;
        if taken {
            fs::rename(folder, self.layout.new_trash(attempt)).map_err(failed)?;
        }
        Ok(taken)
    }

    /// Whether the groups of this name are in use by a supervisor.
    fn lives(&self, name: &str) -> bool {
        let Ok(attempt) = name.parse::<AttemptId>() else { return false };
        let Some(glance) = self.table.glance(&attempt) else { return false };
        read::<Intent>(&glance.folder).ok().flatten().is_some_and(|intent| intent.is_held(&self.boot))
    }
}
