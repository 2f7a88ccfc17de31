//! What an earlier agent left: attempts, orders that nobody took, cgroups of the dead.

use std::collections::BTreeSet;
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
        let mut lives = BTreeSet::new();
        for (attempt, folder, of_this_boot) in self.layout.attempts_on_disk()? {
            if of_this_boot && self.was_never_started(&attempt, &folder)? {
                continue;
            }
            // A damaged intent says nothing, and its task goes on: at worst another gets the same user.
            let intent = read::<Intent>(&folder).ok().flatten();
            if let Some(uid) = intent.as_ref().and_then(|intent| intent.uid) {
                self.task_uids.inherit(attempt, uid);
            }
            if let Some(intent) = intent.filter(|intent| intent.is_held(&self.boot)) {
                let groups = intent.groups.unwrap_or(intent.attempt);
                self.kept_groups.inherit(attempt, groups.clone());
                lives.insert(groups);
            }
            self.table.inherit(attempt, folder, of_this_boot);
        }
        self.layout.drop_empty_boots();
        self.cgroups.sweep(|name| lives.contains(name));
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
}
