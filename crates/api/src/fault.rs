//! What is wrong with one field of a message.

use paceline_rules::Violation;
use tonic::Status;

use crate::status::{error_detail, status_from};
use crate::v1;

/// Longest value shown, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// A field whose value no sender that follows the contract can have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` is `{value}`: expected {expected}")]
pub struct DecodeError {
    /// Path of the field in its message: `report.runs[2].tasks`.
    pub field: String,
    /// What it holds, cut to a readable length.
    pub value: String,
    /// What would be accepted.
    pub expected: String,
}

impl DecodeError {
    pub(crate) fn new(field: &str, value: impl ToString, expected: impl Into<String>) -> Self {
        let value = value.to_string().chars().take(SHOWN_CHARS_MAX).collect();
        Self { field: field.to_owned(), value, expected: expected.into() }
    }

    /// A message or oneof that must be there and is not.
    pub(crate) fn absent(field: &str) -> Self {
        Self::new(field, "absent", "it to be set")
    }

    /// A oneof that is empty: nothing was set, or a kind that only a newer sender has.
    pub(crate) fn unknown_kind(field: &str) -> Self {
        Self::new(field, "absent or of a newer kind", "a kind that this version knows")
    }

    /// Puts the path of the enclosing field before that of this one.
    #[must_use]
    pub(crate) fn within(mut self, outer: &str) -> Self {
        self.field = format!("{outer}.{}", self.field);
        self
    }
}

impl From<DecodeError> for Violation {
    fn from(fault: DecodeError) -> Self {
        Self { field: fault.field, value: fault.value, expected: fault.expected }
    }
}

impl From<DecodeError> for v1::FieldViolation {
    fn from(fault: DecodeError) -> Self {
        Self { field: fault.field, value: fault.value, expected: fault.expected }
    }
}

impl From<Violation> for v1::FieldViolation {
    fn from(violation: Violation) -> Self {
        Self { field: violation.field, value: violation.value, expected: violation.expected }
    }
}

/// As a service answers it: INVALID_ARGUMENT with the one violation.
impl From<DecodeError> for Status {
    fn from(fault: DecodeError) -> Self {
        let message = fault.to_string();
        let mut detail = error_detail(v1::ErrorCode::InvalidArgument, message);
        detail.violations.push(fault.into());
        status_from(detail)
    }
}

/// Unwraps a field that must be there.
pub(crate) fn present<T>(field: &str, value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or_else(|| DecodeError::absent(field))
}

/// Unwraps a oneof inside a message, where leaving it out would change what the message says.
pub(crate) fn known<T>(field: &str, kind: Option<T>) -> Result<T, DecodeError> {
    kind.ok_or_else(|| DecodeError::unknown_kind(field))
}

/// Converts a field, naming it where that fails.
pub(crate) fn convert<T, U>(field: &str, value: T) -> Result<U, DecodeError>
where
    U: TryFrom<T, Error = DecodeError>,
{
    U::try_from(value).map_err(|fault| fault.within(field))
}

/// Unwraps and converts a field that must be there.
pub(crate) fn required<T, U>(field: &str, value: Option<T>) -> Result<U, DecodeError>
where
    U: TryFrom<T, Error = DecodeError>,
{
    convert(field, present(field, value)?)
}

/// Converts every item of a list, naming the first that fails.
pub(crate) fn each<T, U>(field: &str, items: Vec<T>) -> Result<Vec<U>, DecodeError>
where
    U: TryFrom<T, Error = DecodeError>,
{
    let numbered = items.into_iter().enumerate();
    numbered.map(|(at, item)| U::try_from(item).map_err(|f| f.within(&format!("{field}[{at}]")))).collect()
}
