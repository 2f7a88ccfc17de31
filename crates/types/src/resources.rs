//! Quantities of a machine and of a task: a vector over [`ResourceKind`], whole numbers only.
//!
//! Arithmetic is checked or saturating by name; nothing wraps. Units stand in [`ResourceKind`].

use std::fmt;

/// What is counted, in the order of the vector. Append, never reorder: the order is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// Thousandths of a CPU.
    Cpu,
    /// Bytes.
    Memory,
}

impl ResourceKind {
    /// Every kind, in the order of the vector.
    pub const ALL: [Self; 2] = [Self::Cpu, Self::Memory];

    /// The word in job files, the API and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
        }
    }
}

/// How much of each kind. Zero by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resources([u64; ResourceKind::ALL.len()]);

impl Resources {
    /// Nothing of anything.
    pub const ZERO: Self = Self([0; ResourceKind::ALL.len()]);

    /// From the two kinds that every task names.
    #[must_use]
    pub const fn new(cpu_milli: u64, memory_bytes: u64) -> Self {
        Self([cpu_milli, memory_bytes])
    }

    /// Thousandths of a CPU.
    #[must_use]
    pub const fn cpu_milli(&self) -> u64 {
        self.0[ResourceKind::Cpu as usize]
    }

    /// Bytes of memory.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        self.0[ResourceKind::Memory as usize]
    }

    /// The amount of one kind.
    #[must_use]
    pub const fn of(&self, kind: ResourceKind) -> u64 {
        self.0[kind as usize]
    }

    /// The sum, or nothing where a kind overflows.
    #[must_use]
    pub fn checked_add(&self, other: &Self) -> Option<Self> {
        let mut sum = *self;
        for (mine, theirs) in sum.0.iter_mut().zip(other.0) {
            *mine = mine.checked_add(theirs)?;
        }
        Some(sum)
    }

    /// The difference, or nothing where a kind would fall below zero.
    #[must_use]
    pub fn checked_sub(&self, other: &Self) -> Option<Self> {
        let mut rest = *self;
        for (mine, theirs) in rest.0.iter_mut().zip(other.0) {
            *mine = mine.checked_sub(theirs)?;
        }
        Some(rest)
    }

    /// The difference, zero where a kind would fall below it.
    #[must_use]
    pub fn saturating_sub(&self, other: &Self) -> Self {
        let mut rest = *self;
        for (mine, theirs) in rest.0.iter_mut().zip(other.0) {
            *mine = mine.saturating_sub(theirs);
        }
        rest
    }

    /// Whether every kind of `self` is within `room`.
    #[must_use]
    pub fn fits_in(&self, room: &Self) -> bool {
        self.0.iter().zip(room.0).all(|(need, have)| *need <= have)
    }

    /// The first kind of `self` that exceeds `room`.
    #[must_use]
    pub fn first_short_of(&self, room: &Self) -> Option<ResourceKind> {
        ResourceKind::ALL.into_iter().find(|&kind| self.of(kind) > room.of(kind))
    }

    /// Whether every kind is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == Self::ZERO.0
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpu {}m memory {}", self.cpu_milli(), self.memory_bytes())
    }
}

/// Why a text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a quantity of {what}: expected {expected}")]
pub struct ParseQuantityError {
    /// The resource.
    pub what: &'static str,
    /// The text.
    pub value: String,
    /// The form that was expected.
    pub expected: &'static str,
}

/// Reads `250m`, `2` or `1.5` CPUs into thousandths.
///
/// # Errors
/// [`ParseQuantityError`] when the text has another form, is finer than a thousandth or too large.
pub fn parse_cpu_milli(text: &str) -> Result<u64, ParseQuantityError> {
    let wrong = || ParseQuantityError {
        what: "cpu",
        value: text.to_owned(),
        expected: "thousandths of a CPU as in 250m, or CPUs as in 2 or 1.5",
    };
    if let Some(milli) = text.strip_suffix('m') {
        return digits(milli).ok_or_else(wrong);
    }
    decimal(text, 3).ok_or_else(wrong)
}

/// Units of memory, longest suffix first so that `Mi` is not read as `M`-something.
const MEMORY_UNITS: [(&str, u64); 9] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("", 1),
];

/// Reads `8Mi`, `2G` or `1048576` into bytes.
///
/// # Errors
/// [`ParseQuantityError`] when the text has another form or is too large.
pub fn parse_memory_bytes(text: &str) -> Result<u64, ParseQuantityError> {
    let wrong = || ParseQuantityError {
        what: "memory",
        value: text.to_owned(),
        expected: "whole bytes, or with Ki Mi Gi Ti (1024) or k M G T (1000), as in 8Mi",
    };
    let (number, unit) = MEMORY_UNITS
        .iter()
        .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit)))
        .ok_or_else(wrong)?;
    digits(number).and_then(|n| n.checked_mul(unit)).ok_or_else(wrong)
}

/// Plain digits, no sign, no separators.
fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

/// A decimal number scaled by 10^places, without floating point.
fn decimal(text: &str, places: u32) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let missing = places.checked_sub(u32::try_from(part.len()).ok()?)?;
    let whole = digits(whole)?.checked_mul(10_u64.pow(places))?;
    whole.checked_add(digits(part)? * 10_u64.pow(missing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quantities_are_read_in_every_form() {
        for (text, milli) in [("250m", 250), ("2", 2000), ("1.5", 1500), ("0.001", 1), ("0", 0)] {
            assert_eq!(parse_cpu_milli(text), Ok(milli), "{text}");
        }
        for (text, bytes) in [("8Mi", 8 << 20), ("2G", 2_000_000_000), ("1048576", 1 << 20), ("3k", 3000)] {
            assert_eq!(parse_memory_bytes(text), Ok(bytes), "{text}");
        }
        for bad in ["", "-1", "1.0001", "1,5", "m", "1e3", "99999999999999999999"] {
            assert!(parse_cpu_milli(bad).is_err(), "{bad}");
        }
        for bad in ["", "8mi", "Mi", "1.5Gi", "99999999999999Ti"] {
            assert!(parse_memory_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_first_kind_that_is_short_is_named() {
        let room = Resources::new(1000, 10);
        assert_eq!(Resources::new(1001, 11).first_short_of(&room), Some(ResourceKind::Cpu));
        assert_eq!(Resources::new(1000, 11).first_short_of(&room), Some(ResourceKind::Memory));
        assert_eq!(Resources::new(1000, 10).first_short_of(&room), None);
    }

    proptest! {
        #[test]
        fn what_is_added_can_be_taken_away(a: u32, b: u32, c: u32, d: u32) {
            let (x, y) = (Resources::new(a.into(), b.into()), Resources::new(c.into(), d.into()));
            let sum = x.checked_add(&y).expect("32-bit amounts do not overflow");
            prop_assert_eq!(sum.checked_sub(&y), Some(x));
            prop_assert!(x.fits_in(&sum));
        }
    }
}
