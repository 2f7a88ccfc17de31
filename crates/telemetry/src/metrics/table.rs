//! The table itself. One line is one metric: handle, unit, help.

use paceline_types::TaskState;
use prometheus_client::registry::{Registry, Unit};

use super::certificates::CertificateWarnings;
use super::handle::{Counter, Gauge, Handle, Histogram, Kind, Labelled};
use super::label::{AttemptState, CallOutcome, Direction, ProposalOutcome};

/// One line of the table, for documents and dashboards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The full name; counters are exposed with `_total` after it.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// The name of its label, where it has one.
    pub label: Option<&'static str>,
    /// Its unit, which is also the end of its name; none for plain counts.
    pub unit: Option<&'static str>,
    /// What it says, in one sentence.
    pub help: &'static str,
}

/// Creates the handle and registers it under the definition's name.
fn register<H: Handle>(registry: &mut Registry, definition: &Definition) -> H {
    let (handle, metric) = H::create();
    // The library ends the help with a full stop of its own and adds the unit to the name.
    let help = definition.help.trim_end_matches('.');
    match definition.unit {
        None => registry.register(definition.name, help, metric),
        Some(unit) => {
            let stem = definition.name.trim_end_matches(unit).trim_end_matches('_');
            registry.register_with_unit(stem, help, Unit::Other(unit.to_owned()), metric);
        }
    }
    handle
}

macro_rules! table {
    ($(
        $(#[$doc:meta])*
        $part:ident: $group:ident {
            $($field:ident: $handle:ty, $unit:expr, $help:literal;)*
        }
    )*) => {
        /// The metrics of one process: one registry, with a handle for every line of [`TABLE`].
        pub struct Metrics {
            pub(super) registry: Registry,
            pub(super) warnings: CertificateWarnings,
            $($(#[$doc])* pub $part: $group,)*
        }

        $(
            $(#[$doc])*
            pub struct $group {
                $(#[doc = $help] pub $field: $handle,)*
            }
        )*

        /// Every metric that there is.
        pub const TABLE: &[Definition] = &[$($(
            Definition {
                name: concat!("paceline_", stringify!($part), "_", stringify!($field)),
                kind: <$handle as Handle>::KIND,
                label: <$handle as Handle>::LABEL,
                unit: $unit,
                help: $help,
            },
        )*)*];

        impl Metrics {
            /// All metrics, at zero.
            pub fn new() -> Self {
                let mut registry = Registry::default();
                let mut lines = TABLE.iter();
                $(let $part = $group {
                    $($field: register(&mut registry, lines.next().expect("one line for each field")),)*
                };)*
                Self { registry, warnings: CertificateWarnings::default(), $($part,)* }
            }
        }
    };
}

table! {
    /// Certificates.
    identity: IdentityMetrics {
        certificate_left_days: Gauge, Some("days"), "Days until the certificate of this process that ends first does.";
    }
    /// The disk of a master.
    disk: DiskMetrics {
        free_bytes: Gauge, Some("bytes"), "Bytes that can still be written where the data folder lies.";
        nearly_full: Gauge, None, "1 while so few are free that changes by clients are refused.";
    }
    /// The replicated log.
    raft: RaftMetrics {
        term: Gauge, None, "The current term.";
        leader: Gauge, None, "1 while this master leads and has applied an entry of its own term.";
        last_log: Gauge, None, "Revision of the last entry in the log.";
        committed: Gauge, None, "Highest committed revision known here.";
        applied: Gauge, None, "Highest revision applied here.";
        snapshot: Gauge, None, "Revision of the last snapshot.";
        log_bytes: Counter, Some("bytes"), "Bytes given to the log writer, framing included.";
        proposals: Labelled<Counter, ProposalOutcome>, None, "Proposals by how they ended; an entry of several commands is one.";
        propose_seconds: Histogram, Some("seconds"), "From a proposal to its reply.";
    }
    /// The state machine.
    cell: CellMetrics {
        applied_entries: Counter, None, "Log entries applied, those read from the disk at the start included.";
        apply_seconds: Histogram, Some("seconds"), "Time to apply one entry.";
        task_transitions: Labelled<Counter, TaskState>, None, "Task transitions by the state entered, as the applied entries tell.";
    }
    /// Scheduling, on the leader.
    schedule: ScheduleMetrics {
        passes: Counter, None, "Scheduling passes.";
        pass_seconds: Histogram, Some("seconds"), "Time of one pass.";
        assignments: Counter, None, "Tasks that were proposed to be assigned.";
        pending_tasks: Gauge, None, "Tasks that wait for a node.";
    }
    /// Links between agents, shards and the leader.
    link: LinkMetrics {
        sessions: Gauge, None, "Link sessions that are open here: of agents at a shard, of shards at the leader.";
        messages: Labelled<Counter, Direction>, None, "Link messages by direction.";
        write_offs: Counter, None, "Silent nodes that were written off by this leader.";
        tasks_lost: Counter, None, "Tasks that left silent nodes because this leader wrote them off.";
        brake: Gauge, None, "1 while the leader writes silent nodes off slowly, because many fell silent together.";
        silent_nodes: Gauge, None, "Nodes that the brake holds for silent together; 0 while it is off.";
        skipped: Counter, None, "Link messages left out because only a newer version knows their kind.";
    }
    /// An agent's attempts.
    agent: AgentMetrics {
        attempts: Labelled<Gauge, AttemptState>, None, "Attempts on this node by state.";
        launches: Counter, None, "Attempts launched.";
    }
    /// The API.
    api: ApiMetrics {
        submit_seconds: Histogram, Some("seconds"), "From a received submission to its durable answer.";
        calls: Labelled<Counter, CallOutcome>, None, "gRPC calls by how they were answered; a stream by how it began.";
    }
}
