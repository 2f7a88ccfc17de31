//! YAML as a tree that knows where each part stands, built from the parser's events.
//!
//! Bounded in size and depth, built without recursion; scalars stay text, so that the reader of a field decides
//! what `1.50` or `no` means. Anchors, aliases and tags are refused: a job file says things once.

use saphyr_parser::{Event, Marker, Parser, ScalarStyle};

use crate::fault::{Fault, Faults};

/// Largest job file: the override limit of 1 MiB as YAML, with room for its punctuation.
const FILE_BYTES_MAX: usize = 4 << 20;
/// Deepest nesting; the deepest field of a job file is at 4.
const DEPTH_MAX: usize = 16;

/// Where something stands, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub line: usize,
    pub column: usize,
}

impl From<Marker> for At {
    fn from(marker: Marker) -> Self {
        Self { line: marker.line(), column: marker.col() + 1 }
    }
}

/// A part of the file.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub at: At,
    pub kind: Kind,
}

/// What a part is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Text; `quoted` when it can only be text, and not `null` or a number.
    Scalar {
        text: String,
        quoted: bool,
    },
    List(Vec<Node>),
    /// In the order of the file. Keys are text.
    Map(Vec<(String, At, Node)>),
}

impl Node {
    /// What the part is called in messages.
    pub fn shown(&self) -> String {
        match &self.kind {
            Kind::Scalar { text, .. } => text.clone(),
            Kind::List(items) => format!("a list of {}", items.len()),
            Kind::Map(fields) => format!("a map of {}", fields.len()),
        }
    }
}

/// A list or map that is being filled.
struct Open {
    node: Node,
    key: Option<(String, At)>,
}

/// Reads one document.
pub(crate) fn read(text: &str) -> Result<Node, Faults> {
    if text.len() > FILE_BYTES_MAX {
        let start = At { line: 1, column: 1 };
        let expected = format!("at most {FILE_BYTES_MAX} bytes");
        return Err(fault(start, &format!("{} bytes", text.len()), &expected));
    }
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| fault((*error.marker()).into(), "", &format!("YAML: {}", error.info())))?;
        builder.on(event, span.start.into())?;
    }
    builder.root.ok_or_else(|| fault(At { line: 1, column: 1 }, "", "a job, as in `name: hello`"))
}

fn fault(at: At, value: &str, expected: &str) -> Faults {
    Faults(vec![Fault {
        line: at.line,
        column: at.column,
        field: String::new(),
        value: value.to_owned(),
        expected: expected.to_owned(),
    }])
}

#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    root: Option<Node>,
}

impl Builder {
    fn on(&mut self, event: Event<'_>, at: At) -> Result<(), Faults> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => Err(fault(at, "---", "one document per file")),
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(_) => Err(fault(at, "", "no alias: write the value out")),
            Event::Scalar(_, _, anchor, _) if anchor > 0 => Err(fault(at, "", "no anchor")),
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) if anchor > 0 => {
                Err(fault(at, "", "no anchor"))
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => Err(fault(at, "", "no tag")),
            Event::Scalar(text, style, ..) => {
                let quoted = style != ScalarStyle::Plain;
                self.finish(Node { at, kind: Kind::Scalar { text: text.into_owned(), quoted } })
            }
            Event::SequenceStart(..) => self.begin(Node { at, kind: Kind::List(Vec::new()) }),
            Event::MappingStart(..) => self.begin(Node { at, kind: Kind::Map(Vec::new()) }),
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(open) => self.finish(open.node),
                None => Ok(()),
            },
        }
    }

    fn begin(&mut self, node: Node) -> Result<(), Faults> {
        if self.open.len() >= DEPTH_MAX {
            return Err(fault(node.at, "", &format!("at most {DEPTH_MAX} levels of nesting")));
        }
        self.open.push(Open { node, key: None });
        Ok(())
    }

    /// Puts a finished part where it belongs: into the list or map around it, or at the root.
    fn finish(&mut self, node: Node) -> Result<(), Faults> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.node.kind {
            Kind::List(items) => items.push(node),
            Kind::Map(fields) => match open.key.take() {
                Some((key, key_at)) => fields.push((key, key_at, node)),
                None => {
                    let Kind::Scalar { text, .. } = node.kind else {
                        return Err(fault(node.at, "", "a field name"));
                    };
                    if fields.iter().any(|(key, ..)| *key == text) {
                        return Err(fault(node.at, &text, "each field once"));
                    }
                    open.key = Some((text, node.at));
                }
            },
            Kind::Scalar { .. } => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expected(text: &str) -> String {
        read(text).expect_err("must be refused").0[0].to_string()
    }

    #[test]
    fn what_a_job_file_may_not_hold_is_refused_where_it_stands() {
        assert_eq!(expected("a: &x 1\nb: *x"), "1:4: expected no anchor");
        assert_eq!(expected("a: !!str 1"), "1:4: expected no tag");
        assert_eq!(expected("a: 1\na: 2"), "2:1: `a`: expected each field once");
        assert_eq!(expected("a: 1\n---\nb: 2"), "2:1: `---`: expected one document per file");
        assert_eq!(expected(""), "1:1: expected a job, as in `name: hello`");
        assert!(expected("a: [1").contains("YAML"));
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow() {
        assert!(expected(&"[".repeat(20)).contains("levels of nesting"));
        assert!(read(&"[".repeat(100_000)).is_err());
    }
}
