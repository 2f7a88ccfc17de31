//! A window of calls as a picture: when each ran, and what it said.

use std::fmt::Write as _;

use super::Model;
use super::search::Placed;

/// Columns of the picture; more do not fit beside the words.
const COLUMNS: u64 = 40;

/// One line per call, those that began earlier first.
pub(super) fn timeline<M: Model>(
    model: &M,
    calls: &[Placed<'_, M::Input, M::Output>],
    begin: u64,
    end: u64,
) -> String {
    let mut text = format!("from {begin} to {end}:\n");
    for Placed { operation, answer } in calls {
        let bar = bar(operation.invoked, answer.map(|(at, _)| at), begin, end);
        let words = model.show_call(&operation.input, answer.map(|(_, output)| output));
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {bar}  {} {}: {words}", operation.id, operation.client);
    }
    text
}

/// `├───┤` for an answered call, `├────` for one without an answer, `<` and `>` where it reaches out of the window.
fn bar(invoked: u64, answered: Option<u64>, begin: u64, end: u64) -> String {
    let length = u128::from((end - begin).max(1));
    let column = |at: u64| {
        let at = u128::from(at.clamp(begin, end) - begin);
        u64::try_from(at * u128::from(COLUMNS - 1) / length).unwrap_or(COLUMNS - 1)
    };
    let from = column(invoked);
    let to = answered.map_or(COLUMNS - 1, column).max(from);
    (0..COLUMNS)
        .map(|at| match at {
            _ if at < from || at > to => ' ',
            _ if at == from && invoked < begin => '<',
            _ if at == to && answered.is_none() => '>',
            _ if from == to => '|',
            _ if at == from => '├',
            _ if at == to => '┤',
            _ => '─',
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_when_a_call_ran() {
        let shown = |invoked, answered| bar(invoked, answered, 100, 139);
        assert_eq!(shown(100, Some(139)), format!("├{}┤", "─".repeat(38)));
        assert_eq!(shown(90, Some(101)), format!("<┤{}", " ".repeat(38)));
        assert_eq!(shown(137, None), format!("{}├─>", " ".repeat(37)));
        assert_eq!(shown(110, Some(110)).trim(), "|");
        assert_eq!(bar(5, Some(5), 5, 5).trim(), "|");
    }
}
