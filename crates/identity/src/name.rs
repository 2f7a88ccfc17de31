//! Which texts may stand in a SAN as the cell and as the name.
//!
//! The set is narrower than what SPIFFE allows, so that a name never needs escaping in a path, a metric
//! label or a file name, and so that two different texts never mean the same peer.

use paceline_types::check_name;

use crate::role::Role;

/// A cell is one DNS label, because it is part of the DNS name that scrapers check.
pub(crate) const CELL_BYTES_MAX: usize = 63;

/// Why a text cannot be a cell, or `None` if it can.
pub(crate) fn cell_fault(cell: &str) -> Option<&'static str> {
    if cell.is_empty() || cell.len() > CELL_BYTES_MAX {
        return Some("a cell's name has 1 to 63 characters");
    }
    if !cell.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return Some("a cell's name has only lower-case letters, digits and hyphens");
    }
    if cell.starts_with('-') || cell.ends_with('-') {
        return Some("a cell's name neither starts nor ends with a hyphen");
    }
    None
}

/// Why a text cannot be the name of a peer, or `None` if it can. The rule is that of all names in a cell,
/// so that no certificate is issued which registration would refuse.
pub(crate) fn name_fault(role: Role, name: &str) -> Option<&'static str> {
    let checked = match role {
        // A prefix is good if a name can begin with it; an empty one would cover every node.
        Role::AgentGroup if !name.is_empty() => check_name("node-name prefix", &format!("{name}0")),
        _ => check_name("name", name),
    };
    checked.err().map(|error| error.expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_dns_labels() {
        for good in ["a", "prod-1", &"x".repeat(63)] {
            assert_eq!(cell_fault(good), None, "{good}");
        }
        for bad in ["", "Prod", "a.b", "a/b", "-a", "a-", "é", &"x".repeat(64)] {
            assert!(cell_fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn names_need_no_escaping_anywhere() {
        for good in ["m1", "node-7.rack_3", "10.0.0.1", &"x".repeat(63)] {
            assert_eq!(name_fault(Role::Agent, good), None, "{good}");
        }
        for bad in ["", ".", "..", "../x", "a/b", "a b", "a%2f", "-a", "a-", "A", "ü", &"x".repeat(64)] {
            assert!(name_fault(Role::Agent, bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_group_may_end_where_a_name_may_not_but_never_covers_everything() {
        assert_eq!(name_fault(Role::AgentGroup, "bench-"), None);
        for bad in ["", "-", "a/", &"x".repeat(63)] {
            assert!(name_fault(Role::AgentGroup, bad).is_some(), "{bad}");
        }
    }
}
