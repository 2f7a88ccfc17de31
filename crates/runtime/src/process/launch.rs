//! Starting an attempt: its folder, its order, its supervisor.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use paceline_supervisor::{Order, Record, UserIds, replace};

use crate::errors::LaunchError;
use crate::process::bury;
use crate::process::shared::Shared;
use crate::process::sight;
use crate::runtime::{Exit, Launch};

/// An attempt's folder, before its supervisor opens it for the task's user to pass through.
const ATTEMPT_FOLDER_MODE: u32 = 0o700;

impl Shared {
    /// See [`crate::Runtime::launch`].
    pub fn launch(&self, launch: &Launch) -> Result<(), LaunchError> {
        let attempt = launch.attempt;
        let folder = self.layout.attempt(&attempt);
        if !self.table.begin(attempt, folder.clone()) {
            return Ok(());
        }
        let started = self.start(launch, &folder);
        if started.is_err() {
            _ = fs::remove_dir_all(&folder);
            self.task_uids.give_back(&attempt);
            self.table.remove(&attempt);
        }
        started
    }

    /// Who it runs as, or in words why this node does not allow that.
    fn user(&self, launch: &Launch) -> Result<Result<Option<UserIds>, String>, LaunchError> {
        let attempt = launch.attempt;
        if launch.user.is_none() {
            let own = self.task_uids.take(attempt);
            let own = own.map_err(|error| LaunchError::NoUid { attempt, cause: error.to_string() })?;
            if own.is_some() {
                return Ok(Ok(own));
            }
        }
        let user = self.users.resolve(launch.user.as_deref());
        user.map_err(|source| LaunchError::Accounts { attempt, source })
    }

    fn start(&self, launch: &Launch, folder: &Path) -> Result<(), LaunchError> {
        let attempt = launch.attempt;
        let failed = |path: &Path, source| LaunchError::Write { attempt, path: path.to_owned(), source };
        DirBuilder::new().mode(ATTEMPT_FOLDER_MODE).create(folder).map_err(|e| failed(folder, e))?;
        let name = attempt.to_string();
        let user = self.user(launch)?;
        let order = match user.and_then(|user| self.order(launch, folder, user)) {
            Ok(order) => order,
            Err(message) => {
                let refused = bury::refuse(folder, &name, &message);
                let exit: Exit = sight::translate(&refused.map_err(|e| failed(folder, e))?);
                self.table.ended(&attempt, &exit);
                return Ok(());
            }
        };
        replace(folder, &order).map_err(|e| failed(&folder.join(Order::NAME), e))?;
        let child = spawn_supervisor(&self.supervisor, folder, &name);
        let spawn = |source| LaunchError::Spawn { attempt, supervisor: self.supervisor.clone(), source };
        self.table.started(&attempt, child.map_err(spawn)?);
        Ok(())
    }
}

/// A supervisor inherits nothing from us but its folder.
fn spawn_supervisor(supervisor: &Path, folder: &Path, name: &str) -> io::Result<Child> {
    let mut command = Command::new(supervisor);
    command.arg(name).env_clear().current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn()
}
