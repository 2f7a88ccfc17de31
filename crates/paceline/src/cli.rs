//! The grammar of the command line: what there is, and who has which options. The grammar of each kind of command is in
//! a file of its own.

mod ca;
mod client;
mod roles;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use ca::CaCommand;
pub use client::{
    BrakeCommand, CellCommand, CellOptions, JobCommand, LogsArgs, MemberCommand, MemberPlace, NodeCommand,
    Output, ShardCommand,
};
pub use roles::{
    AgentArgs, DevArgs, LogFormat, LogOptions, MasterArgs, RaftTimings, RoleOptions, ShardArgs, ShardPlace,
};

/// Options that mean something only where a cell is asked.
const CLIENT_ONLY: [&str; 4] = ["cell", "timeout", "from", "stale"];
/// What asks no cell; `shard` does where it is followed by a verb.
const NO_CLIENTS: [&str; 5] = ["dev", "master", SHARD, "agent", "ca"];
const SHARD: &str = "shard";

/// Paceline: the control plane of a datacenter cell.
#[derive(Debug, Parser)]
#[command(name = "paceline", version, max_term_width = 100, after_help = crate::exit::CODES)]
pub struct Cli {
    #[command(flatten)]
    pub cell: CellOptions,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole cell on this machine.
    Dev(DevArgs),
    /// Jobs: submit, watch, read, stop.
    #[command(subcommand)]
    Job(JobCommand),
    /// Nodes: read, drain, label, remove.
    #[command(subcommand)]
    Node(NodeCommand),
    /// The cell as a whole.
    #[command(subcommand)]
    Cell(CellCommand),
    /// Run a link shard, or read and remove shards.
    #[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
    Shard(ShardArgs),
    /// Run a master.
    Master(MasterArgs),
    /// Run a node agent.
    Agent(AgentArgs),
    /// Authorities and certificates.
    #[command(subcommand)]
    Ca(CaCommand),
}

impl Cli {
    /// Reads the process's arguments; ends it where they are wrong, or where help is asked for.
    pub fn read() -> Self {
        Self::read_from(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn read_from<A: Into<OsString> + Clone>(args: impl IntoIterator<Item = A>) -> Result<Self, clap::Error> {
        let mut grammar = grammar();
        let cli = Self::from_arg_matches(&grammar.try_get_matches_from_mut(args)?)?;
        if !cli.command.asks_a_cell() && (cli.cell.from.is_some() || cli.cell.stale) {
            let message = "--from and --stale are for commands that ask a cell";
            return Err(grammar.error(ErrorKind::ArgumentConflict, message));
        }
        Ok(cli)
    }
}

impl Command {
    fn asks_a_cell(&self) -> bool {
        match self {
            Self::Job(_) | Self::Node(_) | Self::Cell(_) => true,
            Self::Shard(shard) => shard.command.is_some(),
            Self::Dev(_) | Self::Master(_) | Self::Agent(_) | Self::Ca(_) => false,
        }
    }
}

/// The grammar, with options left out of the help of commands that make nothing of them. They may stand before the
/// command as well as after it, so every command has to know them.
fn grammar() -> clap::Command {
    let mut grammar = Cli::command();
    // Hands the options of the whole line down, each command its own.
    grammar.build();
    NO_CLIENTS.iter().fold(grammar, |grammar, name| grammar.mut_subcommand(name, without_asking))
}

/// A command and its verbs without the options; verbs that ask a cell by themselves keep theirs.
fn without_asking(command: clap::Command) -> clap::Command {
    let asks = command.get_name() == SHARD;
    let command = command.mut_args(|arg| {
        let hidden = arg.is_hide_set() || CLIENT_ONLY.contains(&arg.get_id().as_str());
        arg.hide(hidden)
    });
    if asks { command } else { command.mut_subcommands(without_asking) }
}

/// Reads `NAME=VALUE`.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_holds_together() {
        Cli::command().debug_assert();
    }

    fn help(line: &str) -> String {
        let asked = Cli::read_from(line.split(' ').chain(["--help"])).expect_err("help");
        assert_eq!(asked.kind(), ErrorKind::DisplayHelp, "{asked}");
        asked.to_string()
    }

    #[test]
    fn options_for_asking_a_cell_are_shown_where_a_cell_is_asked() {
        for line in ["job list", "node get", "shard list", "cell status", "job", "job logs"] {
            let help = help(&format!("paceline {line}"));
            assert!(CLIENT_ONLY.iter().all(|option| help.contains(&format!("--{option}"))), "{line}: {help}");
        }
        for line in ["dev", "master", "shard", "agent", "ca init"] {
            let help = help(&format!("paceline {line}"));
            assert!(!help.contains("--from") && !help.contains("--stale"), "{line}: {help}");
            assert!(help.contains("--output"), "{line}: {help}");
        }
    }

    #[test]
    fn options_may_stand_before_a_command_and_a_role_has_none_for_asking() {
        let read = |line: &str| Cli::read_from(line.split(' '));
        let cli = read("paceline --from m1 --stale --cell d job list").expect("before");
        assert_eq!((cli.cell.from.as_deref(), cli.cell.stale), (Some("m1"), true));
        let cli = read("paceline job list --from m1 --timeout 5").expect("after");
        assert_eq!((cli.cell.from.as_deref(), cli.cell.timeout), (Some("m1"), 5));
        let role = "shard --credentials c --listen 127.0.0.1:1 --master 127.0.0.1:2";
        assert!(read(&format!("paceline --cell d {role}")).is_ok(), "as PACELINE_CELL does");
        let refused = read(&format!("paceline --from m1 {role}")).expect_err("nothing is asked").to_string();
        assert!(refused.contains("for commands that ask a cell"), "{refused}");
        assert!(read("paceline --from m1 shard list").is_ok());
    }

    #[test]
    fn a_task_is_named_by_job_and_index() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        let Ok(Cli { command: Command::Job(JobCommand::Logs(logs)), .. }) =
            parse("paceline job logs j 3 -f --stderr --attempt 2 --tail 10")
        else {
            panic!("logs")
        };
        assert_eq!((logs.task, logs.attempt, logs.tail), (3, 2, Some(10)));
        assert!(logs.follow && logs.stderr);
        for wrong in ["job logs j", "job logs j -1", "job logs j 1 --tail 3 --offset 4"] {
            assert!(parse(&format!("paceline {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_master_has_a_raft_id_or_is_given_one_when_it_joins() {
        let role = "paceline master --credentials c --data d --api 127.0.0.1:1 --peer 127.0.0.1:2";
        let parse = |more: &str| Cli::try_parse_from(format!("{role} {more}").trim_end().split(' '));
        assert!(parse("--raft-id 3").is_ok() && parse("--join").is_ok());
        for wrong in ["", "--raft-id 0", "--raft-id 1048576", "--join --raft-id 3", "--join --bootstrap"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(Cli::try_parse_from(["paceline", "dev", "--join"]).is_err(), "only with --only");
        assert!(Cli::try_parse_from("paceline dev --only master:4 --join".split(' ')).is_ok());
    }

    #[test]
    fn a_timeout_is_between_a_second_and_a_year() {
        let parse = |seconds: &str| Cli::try_parse_from(["paceline", "cell", "status", "--timeout", seconds]);
        assert!(parse("1").is_ok() && parse("31536000").is_ok());
        for wrong in ["0", "31536001", "18446744073709551615"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shard_is_a_role_and_a_noun() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' '));
        assert!(parse("paceline shard list").is_ok());
        let role = parse("paceline shard --credentials c --listen 127.0.0.1:1 --master 127.0.0.1:2");
        let Ok(Cli {
            command: Command::Shard(ShardArgs { command: None, role: Some(_), place: Some(place) }),
            ..
        }) = role
        else {
            panic!("a role")
        };
        assert_eq!(place.masters, ["127.0.0.1:2"]);
        assert!(parse("paceline shard").is_err());
        assert!(parse("paceline shard --listen 127.0.0.1:1").is_err());
    }
}
