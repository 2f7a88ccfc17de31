//! `paceline job`.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use paceline_client::{Client, JobRef, v1};
use paceline_rules::{JobSpec, Limits};
use paceline_scenario::{EXAMPLE, Fault, read_job};
use serde_json::{Value, json};

use super::{connect, logs, show, wait};
use crate::cli::{CellOptions, JobCommand, Output};
use crate::exit::{FaultyInput, InputFault};
use crate::{exit, output};

/// Largest job file that is read at all; the parser has its own limit below it.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Runs one command.
pub async fn run(command: JobCommand, options: &CellOptions) -> Result<ExitCode> {
    let format = options.output;
    match command {
        JobCommand::Init => output::print(EXAMPLE.trim_end())?,
        JobCommand::Submit { file, wait } => {
            let spec = read_file(&file)?;
            let client = connect::client(options).await?;
            return submit(&client, &spec, wait, format).await;
        }
        JobCommand::List { states } => {
            let states = states.into_iter().map(|state| v1::JobState::from(state).into()).collect();
            let request = v1::ListJobsRequest { states, retired: true, ..v1::ListJobsRequest::default() };
            let jobs = connect::client(options).await?.jobs().list(request).await?;
            let row = |job: &v1::JobStatus| {
                let tasks = job.tasks.unwrap_or_default();
                let counts = show::counts_text(&tasks);
                vec![job.name.clone(), show::uid(job.uid.as_ref()), show::job_state(job.state()), counts]
            };
            let json = json!({"jobs": jobs.iter().map(show::job_json).collect::<Vec<Value>>()});
            output::table(format, &["JOB", "UID", "STATE", "TASKS"], jobs.iter().map(row).collect(), &json)?;
        }
        JobCommand::Get { job } => {
            let job = connect::client(options).await?.jobs().get(connect::job(&job)).await?;
            print_job(format, &job, None)?;
        }
        JobCommand::Tasks { job, states } => {
            let client = connect::client(options).await?;
            let tasks = client.jobs().list_tasks(connect::job(&job), &states).await?;
            let heading = ["TASK", "STATE", "NODE", "ATTEMPT", "PID", "EXIT", "REASON"];
            let json = json!({"tasks": tasks.iter().map(show::task_json).collect::<Vec<Value>>()});
            output::table(format, &heading, tasks.iter().map(show::task_row).collect(), &json)?;
        }
        JobCommand::Logs(of) => {
            let client = connect::client(options).await?;
            logs::print(&client, of, format).await?;
        }
        JobCommand::Stop { job, wait } => {
            let client = connect::client(options).await?;
            let reply = client.jobs().stop(connect::job(&job)).await?;
            if wait {
                let ended = wait::until_ended(&client, by_uid(reply.uid.as_ref())?, format).await?;
                print_job(format, &ended, None)?;
            } else {
                let (uid, state) = (show::uid(reply.uid.as_ref()), show::job_state(reply.state()));
                output::message(
                    format,
                    &format!("job {uid} is {state}"),
                    &json!({"uid": uid, "state": state}),
                )?;
            }
        }
        JobCommand::Delete { job } => {
            let reply = connect::client(options).await?.jobs().delete(connect::job(&job)).await?;
            let uid = show::uid(reply.uid.as_ref());
            output::message(format, &format!("job {uid} is forgotten"), &json!({"uid": uid}))?;
        }
        JobCommand::Watch { job } => {
            let client = connect::client(options).await?;
            return ended(format, &wait::until_ended(&client, connect::job(&job), format).await?, None);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a job file; every fault is said with its line.
fn read_file(file: &Path) -> Result<JobSpec> {
    let mut text = String::new();
    let stdin = file == Path::new("-");
    let read = if stdin {
        std::io::stdin().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    // How much of each thing a job may have is for the cell to say; what is wrong whatever the limits is said here.
    read_job(&text, &Limits::NONE).map_err(|faults| {
        let message = format!("{} in {}:", counted(faults.0.len(), "fault"), file.display());
        let fault = |fault: Fault| InputFault {
            at: format!("{}:{}:{}", file.display(), fault.line, fault.column),
            field: fault.field,
            value: fault.value,
            expected: fault.expected,
        };
        FaultyInput { message, faults: faults.0.into_iter().map(fault).collect() }.into()
    })
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn by_uid(uid: Option<&v1::JobUid>) -> Result<JobRef> {
    Ok(JobRef::Uid((*uid.context("the reply names no job")?).into()))
}

async fn submit(client: &Client, spec: &JobSpec, wait: bool, format: Output) -> Result<ExitCode> {
    let reply = client.jobs().submit(spec).await?;
    if wait {
        let job = wait::until_ended(client, by_uid(reply.uid.as_ref())?, format).await?;
        return ended(format, &job, Some(reply.existing));
    }
    let uid = show::uid(reply.uid.as_ref());
    let verb = if reply.existing { "is there already" } else { "is submitted" };
    let text = format!("job {} {verb}: {} as {uid}", spec.name, counted(spec.tasks as usize, "task"));
    let json = json!({"name": spec.name, "uid": uid, "existing": reply.existing, "revision": reply.revision});
    output::message(format, &text, &json)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a job that has ended; the exit code says whether every task succeeded.
fn ended(format: Output, job: &v1::JobStatus, existing: Option<bool>) -> Result<ExitCode> {
    print_job(format, job, existing)?;
    let good = job.state() == v1::JobState::Succeeded;
    Ok(if good { ExitCode::SUCCESS } else { exit::job_not_succeeded() })
}

fn print_job(format: Output, job: &v1::JobStatus, existing: Option<bool>) -> Result<()> {
    let mut json = show::job_json(job);
    if let Some(existing) = existing {
        json["existing"] = existing.into();
    }
    output::fields(format, show::job_rows(job), &json)
}
