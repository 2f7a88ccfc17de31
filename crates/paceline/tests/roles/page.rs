//! `docs/RPC.md`, read back, and held equal to the table in `identity` and to the descriptors.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use paceline_identity::{RULES, Requests, Role, Rule};

use crate::descriptors;

/// One row of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The kinds of ports that serve it.
    pub served_by: BTreeSet<String>,
    /// Who may call it.
    pub roles: BTreeSet<Role>,
}

/// The page, by path.
pub type Page = BTreeMap<String, Row>;

/// Calls that are no gRPC.
pub const PLAIN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];
/// Every kind of port.
pub const PORTS: [&str; 4] = ["master", "peer", "shard", "agent"];

/// The page as it lies in the tree.
pub fn page() -> Page {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/RPC.md");
    let (page, faults) = read(&fs::read_to_string(path).unwrap());
    assert!(faults.is_empty(), "docs/RPC.md:\n{}", faults.join("\n"));
    page
}

/// Reads the rows that begin with a path; everything else is for people only.
fn read(text: &str) -> (Page, Vec<String>) {
    let (mut page, mut faults) = (Page::new(), Vec::new());
    for line in text.lines().filter(|line| line.starts_with("| `/")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let call = cells[0].trim_matches('`').to_owned();
        match row(&cells) {
            Err(fault) => faults.push(format!("{call}: {fault}")),
            Ok(row) => {
                if page.insert(call.clone(), row).is_some() {
                    faults.push(format!("{call}: two rows"));
                }
            }
        }
    }
    (page, faults)
}

fn row(cells: &[&str]) -> Result<Row, String> {
    let [_, served_by, marks @ .., what_for] = cells else { return Err("too few cells".to_owned()) };
    if marks.len() != Role::ALL.len() {
        return Err(format!("{} cells for {} roles", marks.len(), Role::ALL.len()));
    }
    if what_for.is_empty() {
        return Err("it does not say what for".to_owned());
    }
    let served_by: BTreeSet<String> = served_by.split(", ").map(str::to_owned).collect();
    if let Some(port) = served_by.iter().find(|port| !PORTS.contains(&port.as_str())) {
        return Err(format!("`{port}` is no kind of port"));
    }
    let mut roles = BTreeSet::new();
    for (role, mark) in Role::ALL.into_iter().zip(marks) {
        match *mark {
            "yes" => drop(roles.insert(role)),
            "-" => {}
            other => return Err(format!("`{other}` for {role} is neither `yes` nor `-`")),
        }
    }
    Ok(Row { served_by, roles })
}

/// Every way in which page, table and descriptors differ.
fn differences(page: &Page, rules: &[Rule], calls: &BTreeSet<String>) -> Vec<String> {
    let mut found = Vec::new();
    let table: BTreeMap<&str, BTreeSet<Role>> =
        rules.iter().map(|rule| (rule.rpc, rule.roles.iter().copied().collect())).collect();
    for (call, roles) in &table {
        match page.get(*call) {
            None => found.push(format!("{call}: in RULES, not on the page")),
            Some(row) => {
                for role in Role::ALL {
                    match (row.roles.contains(&role), roles.contains(&role)) {
                        (true, false) => found.push(format!("{call}: the page lets {role} in, RULES do not")),
                        (false, true) => {
                            found.push(format!("{call}: RULES let {role} in, the page does not"))
                        }
                        _ => {}
                    }
                }
            }
        }
        if !calls.contains(*call) && !PLAIN.contains(call) {
            found.push(format!("{call}: in RULES, in no descriptor"));
        }
    }
    found.extend(
        page.keys()
            .filter(|call| !table.contains_key(call.as_str()))
            .map(|call| format!("{call}: on the page, not in RULES")),
    );
    found.extend(
        calls
            .iter()
            .filter(|call| !table.contains_key(call.as_str()))
            .map(|call| format!("{call}: served without a rule")),
    );
    found
}

#[test]
fn page_table_and_descriptors_say_the_same() {
    let found = differences(&page(), RULES, &descriptors::calls());
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn requests_come_as_streams_exactly_where_the_descriptors_say_so() {
    let streams: BTreeSet<String> = RULES
        .iter()
        .filter(|rule| rule.requests == Requests::Stream)
        .map(|rule| rule.rpc.to_owned())
        .collect();
    assert_eq!(streams, descriptors::streams());
}

#[test]
fn a_missing_row_an_extra_row_and_a_wrong_cell_are_each_named() {
    let (page, calls) = (page(), descriptors::calls());
    let call = "/paceline.v1.Nodes/Drain".to_owned();

    let mut missing = page.clone();
    missing.remove(&call);
    assert_eq!(differences(&missing, RULES, &calls), [format!("{call}: in RULES, not on the page")]);

    let mut extra = page.clone();
    extra.insert("/paceline.v1.Nodes/Explode".to_owned(), page[&call].clone());
    assert_eq!(differences(&extra, RULES, &calls), ["/paceline.v1.Nodes/Explode: on the page, not in RULES"]);

    let mut wrong = page.clone();
    wrong.get_mut(&call).unwrap().roles = [Role::User].into();
    assert_eq!(
        differences(&wrong, RULES, &calls),
        [
            format!("{call}: the page lets user in, RULES do not"),
            format!("{call}: RULES let operator in, the page does not")
        ]
    );

    let mut more = calls.clone();
    more.insert("/paceline.v1.Nodes/Explode".to_owned());
    assert_eq!(differences(&page, RULES, &more), ["/paceline.v1.Nodes/Explode: served without a rule"]);

    let mut fewer = calls;
    fewer.remove(&call);
    assert_eq!(differences(&page, RULES, &fewer), [format!("{call}: in RULES, in no descriptor")]);
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    for (line, fault) in [
        (
            "| `/x` | master | - | - | - | - | yes | maybe | why |",
            "/x: `maybe` for operator is neither `yes` nor `-`",
        ),
        ("| `/x` | master | - | - | - | yes | yes | why |", "/x: 5 cells for 6 roles"),
        ("| `/x` | moon | - | - | - | - | yes | yes | why |", "/x: `moon` is no kind of port"),
        ("| `/x` | master | - | - | - | - | yes | yes |  |", "/x: it does not say what for"),
    ] {
        assert_eq!(read(line).1, [fault]);
    }
}
