//! Every metric of every role, in one table, behind typed handles.
//!
//! A name is `paceline_PART_WHAT_UNIT`; the part and the rest are the field's path in [`Metrics`], so a
//! handle and its metric cannot drift apart. Counters are exposed with `_total` added, as OpenMetrics asks.
//! Series with labels exist from the start, at zero, so that the first event is a visible rise.

mod certificates;
mod handle;
mod label;
mod table;

use paceline_identity::{Credentials, PeerIdentity};

pub use certificates::{CERTIFICATE_WARNING_DAYS, certificate_ends_soon};
pub use handle::{Counter, Gauge, Histogram, Kind, Labelled};
pub use label::{AttemptState, CallOutcome, Direction, LabelValue, ProposalOutcome};
pub use table::{
    AgentMetrics, ApiMetrics, CellMetrics, Definition, DiskMetrics, IdentityMetrics, LinkMetrics, Metrics,
    RaftMetrics, ScheduleMetrics, TABLE,
};

impl Metrics {
    /// The registry in the OpenMetrics text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("writing to a string does not fail");
        text
    }

    /// Sets the days left of the process's certificate and warns, once a day, when they are few.
    pub fn observe_certificate(&self, credentials: &Credentials, now_unix: i64) {
        self.observe_certificates([credentials.identity()], now_unix);
    }

    /// The same for a process that shows several certificates: the metric is that of the first to end.
    pub fn observe_certificates<'a>(
        &self,
        certificates: impl IntoIterator<Item = &'a PeerIdentity>,
        now_unix: i64,
    ) {
        let days_left = certificates.into_iter().map(|certificate| {
            let days_left = certificate.days_left(now_unix);
            self.consider_certificate(&certificate.spiffe_id(), days_left);
            days_left
        });
        if let Some(first) = days_left.min() {
            self.identity.certificate_left_days.set(first);
        }
    }

    /// Counts messages of a peer whose kind only a newer version knows, and warns whenever their number has doubled.
    pub fn skipped_messages(&self, peer: &str, messages: usize) {
        if messages == 0 {
            return;
        }
        let before = self.link.skipped.value();
        self.link.skipped.add(messages as u64);
        if doubled(before, self.link.skipped.value()) {
            let skipped = self.link.skipped.value();
            tracing::warn!(
                peer,
                skipped,
                "messages of a newer kind are left out: is this process older than its peers?"
            );
        }
    }

    /// Warns, once a day, of a certificate that ends soon, whosever it is. Says whether it did.
    pub fn consider_certificate(&self, certificate: &str, days_left: i64) -> bool {
        self.warnings.consider(certificate, days_left)
    }
}

/// Whether a power of two lies above the one number and not above the other.
fn doubled(before: u64, after: u64) -> bool {
    before.checked_ilog2() < after.checked_ilog2()
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_line_of_the_table_is_exposed_with_its_help_and_nothing_else_is() {
        let text = Metrics::new().render();
        let exposed: BTreeSet<_> =
            text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
        let listed: BTreeSet<_> = TABLE.iter().map(|line| line.name).collect();
        assert_eq!(exposed, listed);
    }

    #[test]
    fn names_are_unique_and_end_in_their_unit() {
        let names: BTreeSet<_> = TABLE.iter().map(|line| line.name).collect();
        assert_eq!(names.len(), TABLE.len());
        for line in TABLE {
            assert!(line.name.starts_with("paceline_"), "{}", line.name);
            assert!(line.unit.is_none_or(|unit| line.name.ends_with(&format!("_{unit}"))), "{}", line.name);
            assert!(line.help.ends_with('.'), "{}", line.name);
            assert_eq!(line.kind == Kind::Histogram, line.unit == Some("seconds"), "{}", line.name);
        }
    }

    #[test]
    fn messages_left_out_are_counted_and_warned_of_ever_more_rarely() {
        let metrics = Metrics::new();
        for messages in [0, 1, 2, 5] {
            metrics.skipped_messages("s1", messages);
        }
        assert_eq!(metrics.link.skipped.value(), 8);
        let warned: Vec<u64> = (0..1_000).filter(|&before| doubled(before, before + 1)).collect();
        assert_eq!(warned, [0, 1, 3, 7, 15, 31, 63, 127, 255, 511]);
    }

    #[test]
    fn a_handle_moves_its_own_series() {
        let metrics = Metrics::new();
        metrics.raft.term.set(7);
        metrics.raft.log_bytes.advance_to(4096);
        metrics.raft.log_bytes.advance_to(100);
        metrics.raft.proposals.of(ProposalOutcome::Overloaded).add(3);
        metrics.api.submit_seconds.observe(Duration::from_millis(3));
        let text = metrics.render();
        for line in [
            "paceline_raft_term 7",
            "paceline_raft_log_bytes_total 4096",
            "paceline_raft_proposals_total{outcome=\"overloaded\"} 3",
            "paceline_raft_proposals_total{outcome=\"ok\"} 0",
            "paceline_api_submit_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
