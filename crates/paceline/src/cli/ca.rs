//! Authorities and certificates.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum CaCommand {
    /// Create the authorities of a new cell.
    Init {
        /// The cell's name.
        #[arg(long, value_name = "NAME")]
        cell_name: String,
        /// The authorities' folder; it must not exist.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Issue a certificate that lives a year.
    Issue {
        /// The authorities' folder.
        #[arg(long)]
        dir: PathBuf,
        /// master, shard, agent, agent-group, user or operator.
        #[arg(long)]
        role: paceline_identity::Role,
        /// The name in the certificate.
        name: String,
        /// The folder for certificate, key and authority.
        #[arg(long)]
        out: PathBuf,
    },
}
