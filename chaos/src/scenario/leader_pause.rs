//! `leader-pause`: the leader is stopped for a while, its successor assigns and removes tasks, then it runs on.
//!
//! ```text
//! leader      ├──────── SIGSTOP ─────────────────────────────── SIGCONT ── names the successor ── settled ─┤
//! successor            ├─ leads ─ assigns ─ removes ──────────────────────────────────────────────────────┤
//! tasks       ├ before: run ┼ stage 0 ends ──────── stage 1: the same processes, attempt 1 ────────────────┤
//!             ├ removed: run ──────────✝ killed ──── never started again ──────────────────────────────────┤
//!                              ├ during: run ─────── the same processes, attempt 1 ────────────────────────┤
//! writes to the paused leader's own address ├······························┤ none lost, none done twice
//! ```

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use paceline_client::{Client, JobRef, v1};
use tokio::time::sleep;

use super::masters::{self, Leader};
use super::workload::{Pids, Workload};
use super::{Options, checks};
use crate::cell::DevCell;
use crate::load::Load;
use crate::record::Call;
use crate::report::{Pause, Report};
use crate::wait::{ms_since, until};

/// The names of all jobs whose calls are recorded begin so.
const PREFIX: &str = "small-";
/// From the SIGSTOP until another master leads.
const SUCCESSOR_WITHIN: Duration = Duration::from_secs(60);
/// From the SIGCONT until the old leader says who leads.
const STEPPED_DOWN_WITHIN: Duration = Duration::from_secs(60);
/// From the stop of a job until its processes are gone: the grace period and a shard that looks for the new leader.
const REMOVED_WITHIN: Duration = Duration::from_secs(120);
/// After the old leader has stepped down: what it had queued for shards would have arrived by then.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// Submissions go on for so long before and after, so that there is something to lose.
const SUBMISSIONS_AROUND: Duration = Duration::from_secs(2);
/// Stage 0 ends under the successor, stage 1 after the old leader is back.
const STAGES: u32 = 2;
/// The leader takes writes at its own address for so long before it is paused.
const WRITES_BEFORE: Duration = Duration::from_millis(200);
/// A leader that lost the leadership in that time is no leader to pause.
const LEADERS_TRIED_MAX: usize = 20;
/// Short tasks that come and go under the successor, for each long one.
const SHORT_PER_LONG: u32 = 3;

/// Runs it against a cell that brings nothing back by itself.
pub async fn run(cell: &DevCell, options: &Options, report: &mut Report) -> Result<()> {
    let client = cell.client()?;
    let load = Load::start(&client, PREFIX);
    let mut calls = Vec::new();
    sleep(SUBMISSIONS_AROUND).await;
    for number in 1..=options.runs {
        match pause_leader(cell, &client, number, options, &mut calls, report).await {
            Ok(pause) => report.pauses.push(pause),
            // What was waited for did not come: a broken promise, and no state to begin another one from.
            Err(error) => {
                report.violations.push(format!("pause {number}: {error:#}"));
                break;
            }
        }
    }
    sleep(SUBMISSIONS_AROUND).await;
    calls.extend(load.stop().await?);
    report.take_held(checks::hold_record(&client, PREFIX, &calls).await?, options.acknowledged_min);
    report.digests_equal_at = checks::compare_digests(cell, &mut report.violations).await?;
    Ok(())
}

/// The jobs of one pause.
struct Jobs {
    before: Workload,
    before_pids: Pids,
    removed: Workload,
    removed_pids: Pids,
}

async fn pause_leader(
    cell: &DevCell,
    client: &Client,
    number: usize,
    options: &Options,
    calls: &mut Vec<Call>,
    report: &mut Report,
) -> Result<Pause> {
    let submit = |name: &str| {
        Workload::submit(cell, client, format!("{name}-{number}"), options.tasks, STAGES, Vec::new())
    };
    let (before, removed) = (submit("before").await?, submit("removed").await?);
    let (before_pids, removed_pids) = (before.all_running().await?, removed.all_running().await?);
    let jobs = Jobs { before, before_pids, removed, removed_pids };
    let churn = Workload::churn(cell, client, number, options).await?;
    let (old, late) = leader_with_writes(cell, client, number, calls).await?;

    let paused = Instant::now();
    old.process.pause();
    let resume = Resume(old.clone());
    let meanwhile = under_successor(cell, client, number, options, &old, &jobs, paused, report).await?;
    let left = Duration::from_secs(options.outage_seconds).saturating_sub(paused.elapsed());
    sleep(left).await;
    ensure!(old.process.is_paused(), "{} did not stay paused", old.name);
    let ms_paused = ms_since(paused);
    drop(resume);
    let resumed = Instant::now();

    let stepped_down = || has_stepped_down(cell, &old, meanwhile.revision);
    until(&format!("{} to name its successor", old.name), STEPPED_DOWN_WITHIN, stepped_down).await?;
    let ms_to_stepped_down = ms_since(resumed);
    eprintln!("pause {number}: {} stepped down {ms_to_stepped_down} ms after it was resumed", old.name);
    follows_redirect(cell, number, &old).await?;
    calls.extend(late.stop().await?);
    sleep(SETTLED_AFTER).await;
    hold(jobs, &meanwhile, report).await?;
    churn.hold(&Pids::new(), report).await?;
    let Meanwhile { successor, next_term, ms_to_successor, ms_to_next_write, ms_to_assigned, .. } = meanwhile;
    Ok(Pause {
        leader: old.name,
        term: old.term,
        successor,
        next_term,
        ms_paused,
        ms_to_successor,
        ms_to_next_write,
        ms_to_assigned,
        tasks_assigned: (options.tasks * (1 + SHORT_PER_LONG)) as usize,
        tasks_removed: options.tasks as usize,
        ms_to_stepped_down,
    })
}

/// The leader that is about to be paused, and writes that go to its own address and to no other: some are answered
/// before it is paused, some are on their way to it then, most come meanwhile.
async fn leader_with_writes(
    cell: &DevCell,
    client: &Client,
    number: usize,
    calls: &mut Vec<Call>,
) -> Result<(Leader, Load)> {
    for turn in 1..=LEADERS_TRIED_MAX {
        let leader = masters::leader(cell, client).await?;
        let there = cell.client()?.at(&leader.name).await?;
        let writes = Load::start(&there, &format!("{PREFIX}to-{}-{number}-{turn}-", leader.name));
        sleep(WRITES_BEFORE).await;
        match checks::own_status(cell, &leader.name).await {
            Ok(own) if own.leader == leader.name && own.term == leader.term => return Ok((leader, writes)),
            Ok(_) | Err(_) => eprintln!("pause {number}: {} does not lead any more; once again", leader.name),
        }
        calls.extend(writes.stop().await?);
    }
    bail!("{LEADERS_TRIED_MAX} leaders in a row did not lead for {WRITES_BEFORE:?}: the machine is too busy")
}

/// Resumes a leader, however the time with it paused ends.
struct Resume(Leader);

impl Drop for Resume {
    fn drop(&mut self) {
        self.0.process.resume();
    }
}

/// What happened while the leader was paused.
struct Meanwhile {
    during: Workload,
    during_pids: Pids,
    short: Workload,
    successor: String,
    next_term: u64,
    /// All of it was committed by then.
    revision: u64,
    ms_to_successor: u64,
    ms_to_next_write: u64,
    ms_to_assigned: u64,
}

#[expect(clippy::too_many_arguments, reason = "one step of a scenario, with everything that came before it")]
async fn under_successor(
    cell: &DevCell,
    client: &Client,
    number: usize,
    options: &Options,
    old: &Leader,
    jobs: &Jobs,
    paused: Instant,
    report: &mut Report,
) -> Result<Meanwhile> {
    let look = || another_leads(cell, old);
    let (successor, next_term) = until("a successor", SUCCESSOR_WITHIN, look).await?;
    let ms_to_successor = ms_since(paused);
    let node = cell.parts()?.agents.first().context("the cell has no agent")?.node.clone();
    checks::tiny_write(&client.within(SUCCESSOR_WITHIN), &node, number).await?;
    let ms_to_next_write = ms_since(paused);
    eprintln!("pause {number}: {} is paused, {successor} leads after {ms_to_successor} ms", old.name);

    let (long, few) = (format!("during-{number}"), format!("short-{number}"));
    let during = Workload::submit(cell, client, long, options.tasks, 1, Vec::new()).await?;
    let short = Workload::submit(cell, client, few, options.tasks * SHORT_PER_LONG, 0, Vec::new()).await?;
    client.jobs().stop(JobRef::Uid(jobs.removed.uid)).await.context("cannot stop a job")?;
    let during_pids = during.all_running().await?;
    let ms_to_assigned = ms_since(paused);
    jobs.before.end_stage(0, &jobs.before_pids).await?;
    jobs.before.ended(|index| jobs.before.marks.stage(index) == 0).await?;
    short.ended(|_| true).await?;
    let gone = || async {
        match jobs.removed_pids.values().filter(|task| task.process.runs()).count() {
            0 => Ok(()),
            left => Err(format!("{left} run")),
        }
    };
    until("the end of the removed tasks", REMOVED_WITHIN, gone).await?;
    jobs.removed.ended(|_| true).await?;
    if !old.process.is_paused() {
        report.violations.push(format!("{} did not stay paused", old.name));
    }
    let revision = client.cell().status().await?.revision;
    eprintln!("pause {number}: tasks of the successor ran after {ms_to_assigned} ms");
    Ok(Meanwhile {
        during,
        during_pids,
        short,
        successor,
        next_term,
        revision,
        ms_to_successor,
        ms_to_next_write,
        ms_to_assigned,
    })
}

/// The master that says itself that it leads a later term. Asked one by one: a client would wait for the paused one.
async fn another_leads(cell: &DevCell, old: &Leader) -> Result<(String, u64), String> {
    let parts = cell.parts().map_err(|error| format!("{error:#}"))?;
    let mut seen = Vec::new();
    for master in parts.masters.iter().filter(|master| master.name != old.name) {
        match checks::own_status(cell, &master.name).await {
            Ok(own) if own.leader == master.name && own.term > old.term => return Ok((own.leader, own.term)),
            Ok(own) => seen.push(format!("{} sees `{}` lead term {}", master.name, own.leader, own.term)),
            Err(error) => seen.push(format!("{}: {error:#}", master.name)),
        }
    }
    Err(seen.join(", "))
}

/// Whether the old leader says itself that another one leads, and has applied what that one committed.
async fn has_stepped_down(cell: &DevCell, old: &Leader, revision: u64) -> Result<(), String> {
    let own = checks::own_status(cell, &old.name).await.map_err(|error| format!("{error:#}"))?;
    if own.leader == old.name || own.leader.is_empty() || own.term <= old.term || own.revision < revision {
        let (leader, term, at) = (own.leader, own.term, own.revision);
        return Err(format!(
            "it names `{leader}` as the leader of term {term}, at revision {at} of {revision}"
        ));
    }
    Ok(())
}

/// A client that knows the old leader only comes through: it is told the new one's address.
async fn follows_redirect(cell: &DevCell, number: usize, old: &Leader) -> Result<()> {
    let node = cell.parts()?.agents.first().context("the cell has no agent")?.node.clone();
    let client = cell.client_that_knows_only(&old.name)?.within(STEPPED_DOWN_WITHIN);
    let written = checks::tiny_write(&client, &node, number).await;
    written.with_context(|| format!("{} does not answer with the new leader's address", old.name)).map(drop)
}

/// Holds every task: those of the successor and those from before are what they were, those that were removed are gone.
async fn hold(jobs: Jobs, meanwhile: &Meanwhile, report: &mut Report) -> Result<()> {
    let Jobs { before, before_pids, removed, removed_pids } = jobs;
    let Meanwhile { during, during_pids, short, .. } = meanwhile;
    before.hold_processes(&before_pids, |stage| stage != 0, report);
    during.hold_processes(during_pids, |_| true, report);
    before.same_processes(&before_pids, |index| before.marks.stage(index) != 0).await?;
    during.same_processes(during_pids, |_| true).await?;
    before.end_stage(1, &before_pids).await?;
    during.end_stage(0, during_pids).await?;
    before.hold(&before_pids, report).await?;
    during.hold(during_pids, report).await?;
    short.hold(&Pids::new(), report).await?;
    hold_removed(&removed, &removed_pids, report).await
}

/// Tasks of a stopped job are killed in attempt 1, were started once, and none of them marked an end of its own.
async fn hold_removed(removed: &Workload, pids: &Pids, report: &mut Report) -> Result<()> {
    for task in removed.tasks().await.map_err(anyhow::Error::msg)? {
        if task.state() != v1::TaskState::Killed || task.attempt != 1 {
            let (index, state, attempt) = (task.index, task.state().as_str_name(), task.attempt);
            report.violations.push(format!("removed task {index} is {state} in attempt {attempt}"));
        }
    }
    let count = u32::try_from(pids.len()).context("a job has at most 2^32 tasks")?;
    let pid = |index: u32| pids.get(&index).map(|task| task.process.pid);
    report.violations.extend(removed.marks.hold(count, 0, pid)?);
    Ok(())
}
