//! The six roles a certificate can carry. What each may call stands in `access`.

use std::fmt;
use std::str::FromStr;

/// What the holder of a certificate is. It is the middle part of the SAN and the key of the access table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A Raft replica.
    Master,
    /// A link shard.
    Shard,
    /// The daemon of one node; the certificate's name is the node's name.
    Agent,
    /// A daemon that speaks for every node whose name starts with the certificate's name.
    AgentGroup,
    /// A person or program that submits and reads jobs.
    User,
    /// A person or program that also changes nodes, shards and the cell.
    Operator,
}

/// The text was not the name of a role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{presented:?} is not a role; the roles are master, shard, agent, agent-group, user, operator")]
pub struct ParseRoleError {
    /// The text as it was given.
    pub presented: String,
}

impl Role {
    /// Every role, in declaration order.
    pub const ALL: [Role; 6] =
        [Role::Master, Role::Shard, Role::Agent, Role::AgentGroup, Role::User, Role::Operator];

    /// The word used in SANs, on the command line and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Shard => "shard",
            Role::Agent => "agent",
            Role::AgentGroup => "agent-group",
            Role::User => "user",
            Role::Operator => "operator",
        }
    }

    /// Whether processes of this role listen. Only their certificates are good for the server's side.
    pub const fn listens(self) -> bool {
        !matches!(self, Role::User | Role::Operator)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| ParseRoleError { presented: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_survives_its_own_text() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
    }

    #[test]
    fn another_spelling_is_refused_with_the_list() {
        let error = "Master".parse::<Role>().unwrap_err();
        assert!(error.to_string().contains("agent-group"), "{error}");
    }
}
