//! The state of every master passes its own invariants, and states of equal revisions are equal.

use super::Sight;
use crate::ledger::Ledger;

/// `Cell::check` of each, and one digest per revision.
pub fn cell_state(sight: &Sight, _ledger: &Ledger) -> Vec<String> {
    let mut wrong = Vec::new();
    for (master, cell) in &sight.states {
        wrong.extend(cell.check().into_iter().map(|what| format!("{master}: {what}")));
        let others = sight.states.iter().filter(|(_, other)| other.revision() == cell.revision());
        for (other, _) in others.filter(|(_, other)| other.digest() != cell.digest()) {
            wrong.push(format!("{master} and {other} differ at revision {}", cell.revision()));
        }
    }
    wrong
}
