//! Starting attempts: their folders, their orders, their supervisors.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use paceline_supervisor::nursery::{Answer, ORDER_BYTES_MAX, frame};
use paceline_supervisor::{Intent, Order, UserIds, read};
use paceline_types::AttemptId;

use crate::errors::LaunchError;
use crate::process::bury;
use crate::process::nursery::{Asked, NurseryError};
use crate::process::shared::Shared;
use crate::process::sight;
use crate::process::table::{Holder, Supervisor};
use crate::runtime::{Exit, Launch};

/// An attempt's folder, before its supervisor opens it for the task's user to pass through.
const ATTEMPT_FOLDER_MODE: u32 = 0o700;

impl Shared {
    /// See [`crate::Runtime::launch_all`]: every order is on its way before the first answer is waited for.
    pub fn launch_all(&self, launches: &[Launch]) -> Vec<Result<(), LaunchError>> {
        let asked: Vec<_> = launches.iter().map(|launch| self.ask(launch)).collect();
        // The last order is mostly answered last: once it is, nobody has to be waited for again.
        let mut launched: Vec<_> = launches
            .iter()
            .zip(asked)
            .rev()
            .map(|(launch, asked)| match asked? {
                Some(asked) => self.answered(launch, asked.answer()),
                None => Ok(()),
            })
            .collect();
        launched.reverse();
        launched
    }

    /// Has one ordered; nothing when there is nothing to wait for.
    fn ask(&self, launch: &Launch) -> Result<Option<Asked>, LaunchError> {
        let folder = self.layout.attempt(&launch.attempt);
        if !self.table.begin(launch.attempt, folder.clone()) {
            return Ok(None);
        }
        self.start(launch, &folder).inspect_err(|error| {
            let may_be_on_its_way = matches!(error, LaunchError::Spawn { .. });
            self.unlaunch(&launch.attempt, !may_be_on_its_way);
        })
    }

    fn answered(&self, launch: &Launch, answer: Result<Answer, NurseryError>) -> Result<(), LaunchError> {
        let folder = self.layout.attempt(&launch.attempt);
        let nobody_has_it = matches!(answer, Err(NurseryError::Failed(_)));
        self.hand_over(launch, &folder, answer).inspect_err(|_| {
            self.discard(&launch.attempt, &folder);
            self.unlaunch(&launch.attempt, nobody_has_it);
        })
    }

    /// It was not started and never will be by this try. Its groups may wait for another attempt unless a supervisor may
    /// still have the order: that one would find the folder of the next try, and use the groups that its order names.
    fn unlaunch(&self, attempt: &AttemptId, groups_may_wait: bool) {
        self.task_uids.give_back(attempt);
        self.give_groups_back(attempt, groups_may_wait);
        self.table.remove(attempt);
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

    fn start(&self, launch: &Launch, folder: &Path) -> Result<Option<Asked>, LaunchError> {
        let attempt = launch.attempt;
        let failed = |path: &Path, source| LaunchError::Write { attempt, path: path.to_owned(), source };
        let user = self.user(launch)?;
        if !user.as_ref().is_ok_and(|user| self.spares.take(*user, folder)) {
            DirBuilder::new().mode(ATTEMPT_FOLDER_MODE).create(folder).map_err(|e| failed(folder, e))?;
        }
        self.start_in(launch, folder, user).inspect_err(|_| self.discard(&attempt, folder))
    }

    /// Takes the folder of a try that failed away as it is. To empty it here would free the name of the intent under
    /// a supervisor that comes late; from the trash it finds no way to start.
    fn discard(&self, attempt: &AttemptId, folder: &Path) {
        match fs::rename(folder, self.layout.new_trash(attempt)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%attempt, %error, "the folder of a launch that failed cannot be moved away");
            }
            _ => {}
        }
    }

    fn start_in(
        &self,
        launch: &Launch,
        folder: &Path,
        user: Result<Option<UserIds>, String>,
    ) -> Result<Option<Asked>, LaunchError> {
        let attempt = launch.attempt;
        let name = attempt.to_string();
        match user.and_then(|user| framed(&self.order(launch, folder, user)?)) {
            Ok(frame) => match self.nursery.ask(&name, &frame) {
                Ok(asked) => Ok(Some(asked)),
                Err(error) => self.hand_over(launch, folder, Err(error)).map(|()| None),
            },
            Err(message) => {
                let refused = bury::refuse(folder, &name, &message);
                let failed = |source| LaunchError::Write { attempt, path: folder.to_owned(), source };
                let exit: Exit = sight::translate(&refused.map_err(failed)?);
                self.table.ended(&attempt, &exit);
                Ok(None)
            }
        }
    }

    /// What the nursery said of the order. When nobody knows whether it was, the attempt is taken here: then it was not and
    /// never will be. Where even that does not work it counts as started, and is looked at until something is known.
    fn hand_over(
        &self,
        launch: &Launch,
        folder: &Path,
        answer: Result<Answer, NurseryError>,
    ) -> Result<(), LaunchError> {
        let supervisor = match answer {
            Ok(Answer::Taken { pid, start_ticks }) => Supervisor::Held(Holder { pid, start_ticks }),
            Ok(Answer::Theirs | Answer::Failed(_)) => self.unheard(launch, folder),
            // Who said so is gone, so that there is nothing to be kept from it: to look is enough, and a disk that is
            // full does not hinder that.
            Err(NurseryError::Failed(message)) => match read::<Intent>(folder) {
                Ok(None) => return Err(self.not_spawned(launch, io::Error::other(message))),
                Ok(Some(_)) | Err(_) => self.unheard(launch, folder),
            },
            Err(NurseryError::Unknown(source)) => match bury::take(folder, &launch.attempt.to_string()) {
                Ok(true) => return Err(self.not_spawned(launch, source)),
                Ok(false) | Err(_) => self.unheard(launch, folder),
            },
        };
        self.table.started(&launch.attempt, supervisor);
        Ok(())
    }

    /// Somebody else has it, by an order that an earlier agent left in its nursery. That may name another user.
    fn unheard(&self, launch: &Launch, folder: &Path) -> Supervisor {
        let intent = read::<Intent>(folder).ok().flatten();
        if let Some(uid) = intent.as_ref().and_then(|intent| intent.uid) {
            self.task_uids.inherit(launch.attempt, uid);
        }
        if let Some(intent) = intent {
            self.kept_groups.inherit(launch.attempt, intent.groups.unwrap_or(intent.attempt));
        }
        Supervisor::Unheard
    }

    fn not_spawned(&self, launch: &Launch, source: io::Error) -> LaunchError {
        LaunchError::Spawn { attempt: launch.attempt, supervisor: self.nursery.program().clone(), source }
    }
}

fn framed(order: &Order) -> Result<Vec<u8>, String> {
    let too_long = || format!("command and environment take more than {ORDER_BYTES_MAX} bytes as an order");
    frame(order).ok_or_else(too_long)
}

#[cfg(test)]
mod tests;
