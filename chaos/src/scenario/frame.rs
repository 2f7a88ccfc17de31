//! The frame of scenarios that inject one fault after the other: submissions go on around and through all of them, and
//! in the end everything that was acknowledged is held against the cell, and the masters against each other.
//!
//! ```text
//! submissions  ├──────────────────────────────────────────┤ record held, digests compared
//! faults          ├─ 1 ─┼─ 2 ─┼─ … (ends with the first that breaks a promise) ─┤
//! ```

use std::time::Duration;

use anyhow::Result;
use paceline_client::Client;
use tokio::time::sleep;

use super::{Options, checks};
use crate::cell::DevCell;
use crate::load::Load;
use crate::report::Report;

/// The names of the small jobs begin so.
const PREFIX: &str = "small-";
/// Submissions go on for so long before and after, so that there is something to lose.
const SUBMISSIONS_AROUND: Duration = Duration::from_secs(2);

/// Injects the fault as often as was asked for; `what` names it in the report.
pub async fn run(
    cell: &DevCell,
    options: &Options,
    report: &mut Report,
    what: &str,
    mut fault: impl AsyncFnMut(&Client, usize, &mut Report) -> Result<()>,
) -> Result<()> {
    let client = cell.client()?;
    let load = Load::start(&client, PREFIX);
    sleep(SUBMISSIONS_AROUND).await;
    for number in 1..=options.runs {
        // What was waited for did not come: a broken promise, and no state to begin another one from.
        if let Err(error) = fault(&client, number, report).await {
            report.violations.push(format!("{what} {number}: {error:#}"));
            break;
        }
    }
    sleep(SUBMISSIONS_AROUND).await;
    let calls = load.stop().await?;
    report.take_held(checks::hold_record(&client, PREFIX, &calls).await?, options.acknowledged_min);
    report.digests_equal_at = checks::compare_digests(cell, &mut report.violations).await?;
    Ok(())
}
