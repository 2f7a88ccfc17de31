//! Reading typed fields out of a map, collecting faults and remembering where each field stands.

use std::collections::BTreeMap;

use crate::fault::Fault;
use crate::yaml::{At, Kind, Node};

/// The fields of a job file.
pub const JOB_FIELDS: &[&str] = &[
    "name",
    "kind",
    "pool",
    "tasks",
    "run",
    "env",
    "user",
    "resources",
    "cpu_limit",
    "time_limit",
    "grace",
    "max_attempts",
    "max_running",
    "max_failed_tasks",
    "replace_after",
    "at_most_one",
    "constraints",
    "tolerations",
    "labels",
    "simulate",
    "overrides",
];

/// Fields of the design that do not act yet: refused by name, so that nobody believes that they do.
const FUTURE_FIELDS: &[&str] = &[
    "priority",
    "preemptible",
    "gang",
    "spread",
    "affinity",
    "anti_affinity",
    "distinct_hosts",
    "image",
    "runtime",
    "ports",
    "secrets",
    "after",
];

/// Faults so far and where fields stand.
#[derive(Default)]
pub(crate) struct Reader {
    pub faults: Vec<Fault>,
    /// Where each field's value stands, for faults that are found later.
    pub places: BTreeMap<String, At>,
}

impl Reader {
    pub fn fault(&mut self, at: At, field: &str, value: impl Into<String>, expected: impl Into<String>) {
        self.faults.push(Fault {
            line: at.line,
            column: at.column,
            field: field.to_owned(),
            value: value.into(),
            expected: expected.into(),
        });
    }

    /// The fields of a map; faults for anything else and for every field that is not known.
    pub fn map<'n>(&mut self, node: &'n Node, path: &str, known: &[&str]) -> Fields<'n> {
        let mut fields = Fields { path: path.to_owned(), at: node.at, values: BTreeMap::new() };
        let Kind::Map(entries) = &node.kind else {
            self.fault(node.at, path, node.shown(), format!("a map with {}", known.join(", ")));
            return fields;
        };
        for (key, at, value) in entries {
            let field = fields.path_of(key);
            self.places.insert(field.clone(), value.at);
            if known.contains(&key.as_str()) {
                fields.values.insert(key, value);
            } else if FUTURE_FIELDS.contains(&key.as_str()) {
                self.fault(*at, &field, "", "no such field: it is not supported yet");
            } else {
                self.fault(*at, &field, "", format!("one of {}", known.join(", ")));
            }
        }
        fields
    }

    pub fn text(&mut self, node: &Node, field: &str) -> Option<String> {
        match &node.kind {
            Kind::Scalar { text, .. } => Some(text.clone()),
            _ => {
                self.fault(node.at, field, node.shown(), "a text");
                None
            }
        }
    }

    /// Reads a scalar with a function that says what it expected.
    pub fn parse<T, E>(
        &mut self,
        node: &Node,
        field: &str,
        read: impl Fn(&str) -> Result<T, E>,
        expected: &str,
    ) -> Option<T> {
        let text = self.text(node, field)?;
        if let Ok(value) = read(&text) {
            return Some(value);
        }
        self.fault(node.at, field, text, expected);
        None
    }

    pub fn list<'n>(&mut self, node: &'n Node, field: &str) -> &'n [Node] {
        if let Kind::List(items) = &node.kind {
            for (at, item) in items.iter().enumerate() {
                self.places.insert(format!("{field}[{at}]"), item.at);
            }
            return items;
        }
        self.fault(node.at, field, node.shown(), "a list, as in [a, b]");
        &[]
    }

    pub fn texts(&mut self, node: &Node, field: &str) -> Vec<String> {
        let items = self.list(node, field);
        items.iter().enumerate().filter_map(|(at, item)| self.text(item, &format!("{field}[{at}]"))).collect()
    }

    pub fn pairs(&mut self, node: &Node, field: &str) -> BTreeMap<String, String> {
        let Kind::Map(entries) = &node.kind else {
            self.fault(node.at, field, node.shown(), "a map of texts, as in {NAME: value}");
            return BTreeMap::new();
        };
        let mut pairs = BTreeMap::new();
        for (key, _, value) in entries {
            let path = format!("{field}.{key}");
            self.places.insert(path.clone(), value.at);
            if let Some(text) = self.text(value, &path) {
                pairs.insert(key.clone(), text);
            }
        }
        pairs
    }
}

/// The known fields of one map.
pub(crate) struct Fields<'n> {
    path: String,
    /// Where the map stands: the place of whatever is missing from it.
    pub at: At,
    values: BTreeMap<&'n str, &'n Node>,
}

impl<'n> Fields<'n> {
    /// The full path of a field of this map.
    pub fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A field that may be left out; `null` counts as left out.
    pub fn optional(&self, key: &str) -> Option<(&'n Node, String)> {
        let node = *self.values.get(key)?;
        let null = matches!(&node.kind, Kind::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null"));
        if null { None } else { Some((node, self.path_of(key))) }
    }

    /// A field that must be there.
    pub fn required(&self, key: &str, reader: &mut Reader, expected: &str) -> Option<(&'n Node, String)> {
        let found = self.optional(key);
        if found.is_none() {
            reader.fault(self.at, &self.path_of(key), "", format!("{expected}; the field is missing"));
        }
        found
    }
}
