//! Who a task runs as. Accounts come from `/etc/passwd` alone: no name service is asked, because that would
//! put a network between an order and its task.

use std::fs;
use std::io;

use paceline_supervisor::UserIds;

use crate::process::options::{AllowedUsers, ProcessOptions};
use crate::process::task_uids::TaskUids;
use crate::runtime::{Capability, CapabilityCode};

const PASSWD: &str = "/etc/passwd";

/// Distributions give people's accounts ids from here on.
const ORDINARY_UID_MIN: u32 = 1000;

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Account {
    name: String,
    ids: UserIds,
}

/// The node's rule for users.
pub struct Users {
    root: bool,
    own_uid: u32,
    default_user: String,
    allowed: AllowedUsers,
    task_uids: Option<TaskUids>,
}

impl Users {
    /// The rule for an agent with this user id.
    pub fn new(own_uid: u32, options: &ProcessOptions) -> Self {
        let (default_user, allowed) = (options.default_user.clone(), options.allowed_users.clone());
        Self { root: own_uid == 0, own_uid, default_user, allowed, task_uids: options.task_uids }
    }

    /// Whether tasks are kept from each other by their users.
    pub fn own_user(&self) -> Capability {
        let explanation = match self.task_uids {
            Some(range) => format!("ids {range}"),
            None => "tasks that name no user share one, so they can signal each other and read each other's files; \
                     the agent's --task-uids gives each its own"
                .to_owned(),
        };
        Capability { code: CapabilityCode::OwnUser, enforced: self.task_uids.is_some(), explanation }
    }

    /// Whether the range of user ids for tasks is this node's alone. Refused in words.
    pub fn check_task_uids(&self) -> Result<(), String> {
        let Some(range) = self.task_uids else { return Ok(()) };
        if !self.root {
            return Err(format!(
                "the agent is not root but user {}, so it cannot give them out",
                self.own_uid
            ));
        }
        let accounts = read_accounts().map_err(|e| format!("cannot read {PASSWD}: {e}"))?;
        let taken = accounts.iter().find(|account| range.contains(account.ids.uid));
        let refusal = |account: &Account| {
            Err(format!("{range} contain {}, the id of `{}` in {PASSWD}", account.ids.uid, account.name))
        };
        taken.map_or(Ok(()), refusal)
    }

    /// Whether tasks can run as somebody else.
    pub fn switches(&self) -> bool {
        self.root
    }

    /// The ids to run as; nothing: as the agent. Refused in words.
    ///
    /// # Errors
    /// When the accounts cannot be read: then nobody is refused, and nothing can be started.
    pub fn resolve(&self, wanted: Option<&str>) -> io::Result<Result<Option<UserIds>, String>> {
        if wanted.is_none() && !self.root {
            return Ok(Ok(None));
        }
        Ok(self.resolve_among(wanted, &read_accounts()?))
    }

    /// The rule in words.
    pub fn describe(&self) -> String {
        if !self.root {
            return format!("the agent is not root: every task runs as its user, id {}", self.own_uid);
        }
        let others = match &self.allowed {
            AllowedUsers::Listed(names) if names.is_empty() => "jobs may name no other".to_owned(),
            AllowedUsers::Listed(names) => format!("jobs may name {}", join(names)),
            AllowedUsers::Ordinary => format!("jobs may name users with ids from {ORDINARY_UID_MIN} on"),
            AllowedUsers::Any => "jobs may name any user, root too".to_owned(),
        };
        match self.task_uids {
            Some(range) => format!("each task runs as a user of its own, ids {range}; {others}"),
            None => format!("tasks run as `{}`; {others}", self.default_user),
        }
    }

    fn resolve_among(&self, wanted: Option<&str>, accounts: &[Account]) -> Result<Option<UserIds>, String> {
        let name = wanted.unwrap_or(&self.default_user);
        let account = accounts.iter().find(|account| account.name == name);
        let account = account.ok_or_else(|| format!("there is no user `{name}` on this node"))?;
        if !self.root {
            let own = account.ids.uid == self.own_uid;
            let refusal = || format!("this node cannot run tasks as `{name}`: {}", self.describe());
            return if own { Ok(None) } else { Err(refusal()) };
        }
        let default = name == self.default_user;
        let allowed = match &self.allowed {
            AllowedUsers::Listed(names) => names.contains(name),
            AllowedUsers::Ordinary => account.ids.uid >= ORDINARY_UID_MIN,
            AllowedUsers::Any => true,
        };
        if default || allowed {
            Ok(Some(account.ids))
        } else {
            Err(format!("this node does not allow the user `{name}`: {}", self.describe()))
        }
    }
}

fn join(names: &std::collections::BTreeSet<String>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn read_accounts() -> io::Result<Vec<Account>> {
    Ok(parse_accounts(&String::from_utf8_lossy(&fs::read(PASSWD)?)))
}

/// Lines of `name:password:uid:gid:…`; what has another form is passed over.
fn parse_accounts(text: &str) -> Vec<Account> {
    let account = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { name, ids: UserIds { uid, gid } })
    };
    text.lines().filter_map(account).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD_TEXT: &str = "\
root:x:0:0:root:/root:/bin/sh
postgres:x:120:121::/:/bin/false
+nis
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
ann:x:1000:1001:Ann:/srv/ann:/bin/sh
";

    fn users(own_uid: u32, allowed: AllowedUsers) -> Users {
        Users::new(own_uid, &ProcessOptions { allowed_users: allowed, ..ProcessOptions::new("c", "n") })
    }

    fn uid(users: &Users, wanted: Option<&str>) -> Result<Option<u32>, String> {
        let resolved = users.resolve_among(wanted, &parse_accounts(PASSWD_TEXT));
        resolved.map(|ids| ids.map(|ids| ids.uid))
    }

    #[test]
    fn root_runs_tasks_as_nobody_and_as_people_but_not_as_the_system() {
        let root = users(0, AllowedUsers::Ordinary);
        assert_eq!(uid(&root, None), Ok(Some(65534)));
        assert_eq!(uid(&root, Some("ann")), Ok(Some(1000)));
        for name in ["root", "postgres"] {
            assert!(uid(&root, Some(name)).unwrap_err().contains(name));
        }
        assert_eq!(uid(&root, Some("bob")), Err("there is no user `bob` on this node".into()));
    }

    #[test]
    fn a_range_that_holds_an_account_is_refused_with_its_name() {
        let own_range = |first, count| Users {
            task_uids: Some(TaskUids::new(first, count).unwrap()),
            ..users(0, AllowedUsers::Ordinary)
        };
        let refused = own_range(65_000, 1_000).check_task_uids().unwrap_err();
        assert!(refused.contains("65534") && refused.contains("nobody"), "{refused}");
        assert_eq!(own_range(3_000_000_000, 1_000).check_task_uids(), Ok(()));
    }

    #[test]
    fn a_list_allows_what_it_names_and_the_default() {
        let listed = users(0, AllowedUsers::Listed(["postgres".to_owned()].into()));
        assert_eq!(uid(&listed, Some("postgres")), Ok(Some(120)));
        assert_eq!(uid(&listed, Some("nobody")), Ok(Some(65534)));
        assert!(uid(&listed, Some("ann")).is_err());
        assert_eq!(uid(&users(0, AllowedUsers::Any), Some("root")), Ok(Some(0)));
    }

    #[test]
    fn without_root_only_the_own_user_can_be_named() {
        let ann = users(1000, AllowedUsers::Any);
        assert_eq!(uid(&ann, Some("ann")), Ok(None));
        assert!(uid(&ann, Some("nobody")).unwrap_err().contains("not root"));
        assert_eq!(ann.resolve(None).unwrap(), Ok(None));
        let range = Some(TaskUids::new(5_000, 10).unwrap());
        let refused = Users { task_uids: range, ..ann }.check_task_uids().unwrap_err();
        assert!(refused.contains("not root"), "{refused}");
    }
}
