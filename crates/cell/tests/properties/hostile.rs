//! apply is total. Whatever an entry holds, nothing panics and the invariants hold.

use std::sync::Arc;

use paceline_cell::{
    Cell, Command, CommandBody, ConfigChange, Entry, JobSelector, Reply, ReportedRun, ReportedState,
    RequestId, RetiredJob, Setting,
};
use paceline_rules::{JobSpec, Override, Taint};
use paceline_types::{
    AgentInstance, Attempt, BootId, ExitStatus, FeatureLevel, Generation, IndexRange, IndexSet, JobUid,
    NodeEpoch, NodeId, Reason, Resources, Revision,
};
use proptest::prelude::*;

use crate::world;

/// Small numbers, which meet what is there, and the ends of the range.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0_u32..6, 1 => any::<u32>(), 1 => (u32::MAX - 2)..=u32::MAX]
}

fn large() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0_u64..2_000, 1 => any::<u64>(), 1 => (u64::MAX - 2)..=u64::MAX]
}

fn tasks() -> impl Strategy<Value = IndexSet> {
    let range =
        (number(), number()).prop_map(|(a, b)| IndexRange::new(a.min(b), a.max(b)).expect("in order"));
    proptest::collection::vec(range, 0..4).prop_map(|ranges| ranges.into_iter().collect())
}

fn uid() -> impl Strategy<Value = JobUid> {
    (0_u64..12, 0_u32..2).prop_map(|(revision, ordinal)| JobUid { revision: Revision(revision), ordinal })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[a-c]", 1 => any::<String>(), 1 => Just("x".repeat(300))]
}

fn spec() -> impl Strategy<Value = JobSpec> {
    let bounds = (number(), number(), proptest::option::of(number()), proptest::option::of(number()));
    (text(), bounds, large(), large(), tasks(), proptest::option::of(large())).prop_map(
        |(name, (count, attempts, running, failed), cpu, memory, tasks, over)| {
            let mut spec = JobSpec::batch(&name, count, &["/bin/true"], Resources::new(cpu, memory));
            (spec.max_attempts, spec.max_running, spec.max_failed_tasks) = (attempts, running, failed);
            let resources = over.map(|cpu| Resources::new(cpu, memory));
            spec.overrides = vec![Override { tasks, resources, ..Override::default() }];
            spec
        },
    )
}

fn observed() -> impl Strategy<Value = ReportedState> {
    let status = proptest::option::of(prop_oneof![
        (-2_i32..300).prop_map(ExitStatus::Code),
        (0_i32..127).prop_map(ExitStatus::Signal),
    ]);
    let reason = proptest::sample::select(Reason::ALL);
    let ended = (status, reason).prop_map(|(status, reason)| ReportedState::Ended { status, reason });
    prop_oneof![Just(ReportedState::Running), ended]
}

fn run() -> impl Strategy<Value = ReportedRun> {
    (uid(), number(), tasks(), observed()).prop_map(|(job, attempt, tasks, observed)| ReportedRun {
        job,
        attempt: Attempt(attempt),
        tasks,
        observed,
    })
}

fn node_body() -> impl Strategy<Value = CommandBody> {
    let name = "[a-c]".prop_map(|name| name.parse::<paceline_types::NodeName>().expect("a name"));
    (name, 0_u8..9, 0_u8..3, (large(), large()), text(), text()).prop_map(
        |(node, what, id, (cpu, memory), key, value)| match what {
            0 => CommandBody::DrainNode { node },
            1 => CommandBody::ResumeNode { node },
            2 => CommandBody::LabelNode { node, set: [(key, value)].into(), unset: vec!["a".into()] },
            3 => CommandBody::TaintNode { node, set: vec![Taint { key, value }], unset: vec!["a".into()] },
            4 => CommandBody::RemoveNode { node },
            5 => CommandBody::ReplaceNode { node },
            _ => CommandBody::RegisterNode {
                name: node,
                instance: AgentInstance([1; 16]),
                boot: BootId([id; 16]),
                capacity: Resources::new(cpu, memory),
                labels: [(key, value)].into(),
                capabilities: Vec::new(),
            },
        },
    )
}

fn body() -> impl Strategy<Value = CommandBody> {
    let selector = || prop_oneof![text().prop_map(JobSelector::Name), uid().prop_map(JobSelector::Uid)];
    let shard = || "[a-c]".prop_map(|name| name.parse::<paceline_types::ShardName>().expect("a name"));
    let setting = (proptest::sample::select(Setting::ALL), large());
    prop_oneof![
        4 => (spec(), large()).prop_map(|(spec, submitted_unix_ms)|
            CommandBody::SubmitJob { spec: Arc::new(spec), submitted_unix_ms }),
        1 => selector().prop_map(|job| CommandBody::StopJob { job }),
        1 => selector().prop_map(|job| CommandBody::DeleteJob { job }),
        4 => node_body(),
        1 => (shard(), text()).prop_map(|(name, address)| CommandBody::RegisterShard { name, address }),
        1 => shard().prop_map(|name| CommandBody::RemoveShard { name }),
        6 => (uid(), number(), 0_u32..4, 0_u32..4, tasks()).prop_map(|(job, follows, node, epoch, tasks)|
            CommandBody::Assign {
                job, follows: Attempt(follows), node: NodeId(node), epoch: NodeEpoch(epoch), tasks,
            }),
        6 => (0_u32..4, 0_u32..4, proptest::collection::vec(run(), 0..4)).prop_map(|(node, epoch, runs)|
            CommandBody::Report { node: NodeId(node), epoch: NodeEpoch(epoch), runs }),
        1 => (large(), large()).prop_map(|(from_ms, step_ms)| CommandBody::Tick { from_ms, step_ms }),
        1 => proptest::collection::vec(uid(), 0..4).prop_map(|jobs| CommandBody::Retire { jobs }),
        1 => (proptest::collection::btree_map(setting.0, setting.1, 0..4),
              proptest::option::of(proptest::collection::vec(text(), 0..10)))
            .prop_map(|(settings, failure_domains)| CommandBody::SetConfig(ConfigChange { settings, failure_domains })),
        1 => number().prop_map(|to| CommandBody::RaiseFeatureLevel { to: FeatureLevel(to) }),
        1 => number().prop_map(|to| CommandBody::RaiseGeneration { to: Generation(to) }),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let request =
        (text(), large(), large(), large()).prop_map(|(principal, sequence, lowest_unanswered, floor)| {
            RequestId { principal, client: [0; 16], sequence, lowest_unanswered, floor: Revision(floor) }
        });
    (proptest::option::weighted(0.3, request), body()).prop_map(|(request, body)| Command { request, body })
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (large(), proptest::collection::vec(command(), 0..4));
    proptest::collection::vec(entry.prop_map(|(unix_ms, commands)| Entry { unix_ms, commands }), 1..30)
}

/// Bytes of an entry with some of them changed, put in or taken out.
fn damaged(bytes: &[u8], damage: &[(proptest::sample::Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, kind, value) in damage {
        let at = at.index(bytes.len().max(1));
        match kind {
            0 if at < bytes.len() => drop(bytes.remove(at)),
            1 => bytes.insert(at.min(bytes.len()), *value),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= *value;
                }
            }
        }
    }
    bytes
}

fn damage() -> impl Strategy<Value = Vec<(proptest::sample::Index, u8, u8)>> {
    proptest::collection::vec((any::<proptest::sample::Index>(), 0_u8..4, any::<u8>()), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_command_breaks_an_invariant(entries in entries()) {
        let mut cell = Cell::genesis("hostile");
        for entry in entries {
            let applied = cell.apply(Revision(cell.revision().0 + 1), &entry);
            prop_assert_eq!(applied.replies.len(), entry.commands.len());
            prop_assert_eq!(cell.check(), Vec::<String>::new(), "after {:?}", entry);
            for reply in applied.replies {
                prop_assert_eq!(Reply::decode(&reply.encode()), Ok(reply));
            }
        }
        let chunks = cell.snapshot_chunks().map(Ok::<_, std::convert::Infallible>);
        prop_assert_eq!(Cell::restore(chunks).expect("a whole snapshot").digest(), cell.digest());
    }

    #[test]
    fn damaged_entries_are_refused_or_harmless(history in world::history(12), damage in damage()) {
        let mut cell = Cell::genesis("damaged");
        for asked in history {
            let entry = world::entry(&cell, &asked);
            let revision = Revision(cell.revision().0 + 1);
            match Entry::decode(&damaged(&entry.encode().expect("small"), &damage)) {
                Ok(entry) => drop(cell.apply(revision, &entry)),
                Err(_) => prop_assert_eq!(cell.apply_undecodable(revision).replies.len(), 1),
            }
            prop_assert_eq!(cell.check(), Vec::<String>::new());
            world::apply(&mut cell, &entry);
        }
    }

    #[test]
    fn damaged_replies_and_jobs_are_refused_or_read(history in world::history(30), damage in damage()) {
        let mut cell = Cell::genesis("damaged");
        for asked in history {
            let entry = world::entry(&cell, &asked);
            let applied = world::apply(&mut cell, &entry);
            for reply in &applied.replies {
                let _ = Reply::decode(&damaged(&reply.encode(), &damage));
            }
            for retired in &applied.retired {
                let _ = RetiredJob::decode(&damaged(&retired.encode(), &damage));
            }
        }
    }

    #[test]
    fn random_bytes_are_no_entry_that_hurts(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(entry) = Entry::decode(&bytes) {
            let mut cell = Cell::genesis("noise");
            cell.apply(Revision(1), &entry);
            prop_assert_eq!(cell.check(), Vec::<String>::new());
        }
    }
}
