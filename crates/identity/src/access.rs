//! Which role may call which path: the one closed table. What is not in it is refused.
//!
//! People read it as `docs/RPC.md`. Tests of the `paceline` crate hold the two equal, hold both against the
//! compiled descriptors, and call every path as every role; here the table is held free of doubles. It says who may call at all; what a caller may touch inside a call (an
//! agent its own node only) is the service's to check. A permission that depends on a pool will be an
//! additional question after this one, never a replacement.

use crate::role::Role::{self, Agent, AgentGroup, Master, Operator, Shard, User};

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `/package.Service/Method`, or the path of a plain HTTP endpoint.
    pub rpc: &'static str,
    /// Who may call it.
    pub roles: &'static [Role],
    /// How its requests come.
    pub requests: Requests,
}

/// How the requests of a path come, which decides what bounds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requests {
    /// Whole, before anything is done: the server loop bounds their time and their bytes.
    Whole,
    /// As a stream that may live for months: the service bounds it.
    Stream,
}

const PEOPLE: &[Role] = &[User, Operator];
const OPERATORS: &[Role] = &[Operator];
const MASTERS: &[Role] = &[Master];
const SHARDS: &[Role] = &[Shard];
const AGENTS: &[Role] = &[Agent, AgentGroup];
const LINKED: &[Role] = &[Agent, AgentGroup, Shard];
const ANYONE: &[Role] = &Role::ALL;

const fn rule(rpc: &'static str, roles: &'static [Role]) -> Rule {
    Rule { rpc, roles, requests: Requests::Whole }
}

const fn stream(rpc: &'static str, roles: &'static [Role]) -> Rule {
    Rule { rpc, roles, requests: Requests::Stream }
}

/// The table. Deny by default: a path that is not listed is refused for every role.
pub const RULES: &[Rule] = &[
    rule("/paceline.v1.Jobs/Submit", PEOPLE),
    rule("/paceline.v1.Jobs/Stop", PEOPLE),
    rule("/paceline.v1.Jobs/Delete", PEOPLE),
    rule("/paceline.v1.Jobs/Get", PEOPLE),
    rule("/paceline.v1.Jobs/List", PEOPLE),
    rule("/paceline.v1.Jobs/ListTasks", PEOPLE),
    rule("/paceline.v1.Jobs/Logs", PEOPLE),
    rule("/paceline.v1.Jobs/Watch", PEOPLE),
    rule("/paceline.v1.Nodes/List", PEOPLE),
    rule("/paceline.v1.Nodes/Get", PEOPLE),
    rule("/paceline.v1.Nodes/Drain", OPERATORS),
    rule("/paceline.v1.Nodes/Resume", OPERATORS),
    rule("/paceline.v1.Nodes/Label", OPERATORS),
    rule("/paceline.v1.Nodes/Taint", OPERATORS),
    rule("/paceline.v1.Nodes/Remove", OPERATORS),
    rule("/paceline.v1.Nodes/Replace", OPERATORS),
    rule("/paceline.v1.Shards/List", PEOPLE),
    rule("/paceline.v1.Shards/Remove", OPERATORS),
    rule("/paceline.v1.Cell/Status", PEOPLE),
    rule("/paceline.v1.Cell/GetConfig", PEOPLE),
    rule("/paceline.v1.Cell/SetConfig", OPERATORS),
    rule("/paceline.v1.Cell/Snapshot", OPERATORS),
    rule("/paceline.v1.Cell/TransferLeadership", OPERATORS),
    rule("/paceline.v1.Cell/ReleaseBrake", OPERATORS),
    rule("/paceline.v1.Members/List", PEOPLE),
    rule("/paceline.v1.Members/Add", OPERATORS),
    rule("/paceline.v1.Members/Replace", OPERATORS),
    rule("/paceline.v1.Members/Remove", OPERATORS),
    stream("/paceline.v1.MasterLink/Connect", SHARDS),
    stream("/paceline.v1.MasterLink/LogStream", SHARDS),
    rule("/paceline.v1.MasterDirectory/WhereIsMyShard", LINKED),
    stream("/paceline.v1.AgentLink/Connect", AGENTS),
    stream("/paceline.v1.AgentLink/LogStream", AGENTS),
    rule("/paceline.peer.v1.Raft/Handshake", MASTERS),
    rule("/paceline.peer.v1.Raft/Adopt", MASTERS),
    stream("/paceline.peer.v1.Raft/Append", MASTERS),
    rule("/paceline.peer.v1.Raft/Vote", MASTERS),
    rule("/paceline.peer.v1.Raft/Snapshot", MASTERS),
    rule("/paceline.peer.v1.Raft/TransferLeader", MASTERS),
    rule("/grpc.health.v1.Health/Check", ANYONE),
    rule("/grpc.health.v1.Health/Watch", ANYONE),
    stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", PEOPLE),
    stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", PEOPLE),
    rule("/healthz", PEOPLE),
    rule("/readyz", PEOPLE),
    rule("/metrics", PEOPLE),
];

/// Whether the role may call the path. The path must match a line of the table to the letter.
pub fn allowed(role: Role, path: &str) -> bool {
    roles_for(path).contains(&role)
}

/// Who may call the path; nobody, if it is not in the table.
pub fn roles_for(path: &str) -> &'static [Role] {
    rule_of(path).map_or(&[], |rule| rule.roles)
}

/// The path's line of the table.
pub fn rule_of(path: &str) -> Option<&'static Rule> {
    // Some forty short comparisons that mostly end at the length: cheaper than hashing the path.
    RULES.iter().find(|rule| rule.rpc == path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_path_and_no_role_is_listed_twice() {
        let paths: BTreeSet<_> = RULES.iter().map(|rule| rule.rpc).collect();
        assert_eq!(paths.len(), RULES.len());
        for rule in RULES {
            let roles: BTreeSet<_> = rule.roles.iter().collect();
            assert_eq!(roles.len(), rule.roles.len(), "{}", rule.rpc);
            assert!(!roles.is_empty(), "{}", rule.rpc);
        }
    }

    #[test]
    fn an_unlisted_path_is_refused_for_every_role() {
        let near_misses = [
            "",
            "/",
            "/paceline.v1.Jobs/Nope",
            "/paceline.v1.Jobs/submit",
            "/paceline.v1.Jobs/Submit/",
            "/paceline.v1.Jobs//Submit",
            "paceline.v1.Jobs/Submit",
            "/paceline.v1.Jobs/Submit?x",
            "/paceline.peer.v1.Raft/*",
            "/metrics/",
            "/healthz/../metrics",
            "/debug",
        ];
        for path in near_misses {
            for role in Role::ALL {
                assert!(!allowed(role, path), "{role} {path}");
            }
        }
    }

    #[test]
    fn only_masters_speak_raft_and_masters_call_nothing_else_of_ours() {
        for rule in RULES.iter().filter(|rule| rule.rpc.starts_with("/paceline.")) {
            let raft = rule.rpc.starts_with("/paceline.peer.v1.Raft/");
            assert_eq!(rule.roles.contains(&Master), raft, "{}", rule.rpc);
            assert!(!raft || rule.roles == MASTERS, "{}", rule.rpc);
        }
    }

    #[test]
    fn a_user_may_read_and_run_but_not_change_the_cell() {
        assert!(allowed(User, "/paceline.v1.Jobs/Submit"));
        assert!(allowed(User, "/paceline.v1.Cell/GetConfig"));
        for path in ["/paceline.v1.Cell/SetConfig", "/paceline.v1.Nodes/Drain", "/paceline.v1.Shards/Remove"]
        {
            assert!(!allowed(User, path), "{path}");
            assert!(allowed(Operator, path), "{path}");
        }
    }

    #[test]
    fn every_line_is_a_full_grpc_path_or_a_plain_one() {
        for rule in RULES {
            let parts: Vec<_> = rule.rpc.split('/').collect();
            assert!(
                matches!(parts[..], ["", service, method] if service.contains('.') && !method.is_empty())
                    || matches!(parts[..], ["", path] if !path.is_empty()),
                "{}",
                rule.rpc
            );
        }
    }
}
