//! Running other programs: visibly and to the end, or with a deadline and their output taken.
//!
//! A failed program is an error that carries the command line. Decides nothing about what to run.

use std::ffi::OsStr;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a child with a deadline is looked at: short against any deadline here, and cheap.
const POLL: Duration = Duration::from_millis(20);

/// The command as a person would type it.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Prints the command, runs it with the terminal's streams (its stdout on our stderr, because stdout
/// belongs to results), and fails unless it succeeds.
pub fn run(command: &mut Command) -> Result<()> {
    eprintln!("$ {}", line(command));
    let status = command
        .stdout(std::io::stderr())
        .status()
        .with_context(|| format!("could not start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(())
}

/// Runs the command silently and returns its stdout; stderr is part of the error.
pub fn stdout_of(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start `{}`", line(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}\n{}", line(command), output.status, stderr.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` printed no UTF-8", line(command)))
}

/// What a bounded run gave back.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Everything it wrote to stdout.
    pub stdout: String,
}

/// Runs the command with stdout taken and stderr shown. Past `limit`, or once `interrupted` is set, the
/// child is killed and the run is an error.
pub fn run_bounded(command: &mut Command, limit: Duration, interrupted: &AtomicBool) -> Result<Finished> {
    let shown = line(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not start `{shown}`"))?;
    let mut pipe = child.stdout.take().context("the child's stdout was not piped")?;
    let reader = thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    });
    let status = wait_bounded(&mut child, limit, interrupted);
    if status.is_err() {
        // Already failing: the outcome of the clean-up cannot change that.
        let _ = child.kill();
        let _ = child.wait();
    }
    let status = status.with_context(|| format!("`{shown}`"))?;
    let stdout = match reader.join() {
        Ok(text) => text.with_context(|| format!("could not read what `{shown}` printed"))?,
        Err(_) => bail!("the reader of `{shown}` panicked"),
    };
    Ok(Finished { status, stdout })
}

/// Waits for a child up to `limit`; leaves it running when the time is over or we were interrupted.
pub fn wait_bounded(child: &mut Child, limit: Duration, interrupted: &AtomicBool) -> Result<ExitStatus> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("could not wait for a child process")? {
            return Ok(status);
        }
        // ORDERING: Relaxed, a lone flag; nothing else is published with it.
        if interrupted.load(Ordering::Relaxed) {
            bail!("interrupted");
        }
        if started.elapsed() > limit {
            bail!("not finished after {} s", limit.as_secs());
        }
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_exit_code_of_a_bounded_run_are_returned() {
        let quiet = AtomicBool::new(false);
        let finished = run_bounded(&mut shell("echo hi; exit 5"), Duration::from_secs(20), &quiet).unwrap();
        assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(5), "hi\n"));
    }

    #[test]
    fn a_child_past_its_limit_is_killed_and_named() {
        let quiet = AtomicBool::new(false);
        let error = run_bounded(&mut shell("exec sleep 60"), Duration::ZERO, &quiet).unwrap_err();
        assert!(format!("{error:#}").contains("sleep 60"), "{error:#}");
    }

    #[test]
    fn an_interrupt_ends_a_bounded_run() {
        let interrupted = AtomicBool::new(true);
        let error =
            run_bounded(&mut shell("exec sleep 60"), Duration::from_secs(60), &interrupted).unwrap_err();
        assert!(format!("{error:#}").contains("interrupted"), "{error:#}");
    }

    #[test]
    fn a_failed_command_reports_its_line_and_stderr() {
        let error = stdout_of(&mut shell("echo broken >&2; exit 3")).unwrap_err().to_string();
        assert!(error.contains("broken") && error.contains("/bin/sh"), "{error}");
    }
}
