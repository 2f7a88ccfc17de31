//! Why an agent ends before it is asked to.

use std::io;

use paceline_identity::ServeError;
use paceline_runtime::ObserveError;
use paceline_types::NodeName;

use crate::folder::FolderError;

/// Why an agent did not start, or ended. Tasks go on in every case.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The certificate is of somebody else.
    #[error("this agent is node {node} of cell {cell}, and its certificate is {presented}")]
    WrongCertificate {
        /// The configured node.
        node: NodeName,
        /// The configured cell.
        cell: String,
        /// The certificate's name.
        presented: String,
    },
    /// Nobody to dial.
    #[error("neither a shard nor a master to connect to is configured")]
    NoAddress,
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The state of attempts that were started before is not known.
    #[error(
        "cannot read what was started before. Nothing was started. Restore the file that is named below, or start \
         the agent with an empty data folder after `paceline node replace`, which ends what the cell believes to \
         run here"
    )]
    Recover(#[source] ObserveError),
    /// The port on loopback cannot be served.
    #[error("the health port cannot be served")]
    Health(#[source] io::Error),
    /// The listener for health and metrics failed.
    #[error("the listener for health and metrics failed")]
    Serve(#[from] ServeError),
}
