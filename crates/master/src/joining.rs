//! A master that is to join a cell: it serves its peer port and waits until the masters take it in.

use std::sync::Arc;

use paceline_replica::{Disk, Execution, FatalHandler, Joining, Newcomer, format_disk_id};

use crate::config::MasterConfig;
use crate::run::MasterError;

/// Reads whose disk it is, and says how the master is taken in where it has to wait.
pub(crate) async fn prepare(
    config: &MasterConfig,
    disk: Arc<dyn Disk>,
    execution: Execution,
    fatal: FatalHandler,
) -> Result<Joining, MasterError> {
    let MasterConfig { cell, name, peer_address, api_address, .. } = config.clone();
    let who = Newcomer { cell, name, peer_address, api_address };
    let joining = Joining::prepare(disk, who.clone(), execution, fatal).await?;
    if joining.waits() {
        let Newcomer { cell, name, peer_address, api_address } = who;
        tracing::info!(
            cell,
            master = name,
            disk = format_disk_id(&joining.disk_id()),
            "waiting to be taken in: paceline cell member add {name} --peer {peer_address} --api {api_address}, or \
             member replace OLD --by {name} with the same addresses"
        );
    }
    Ok(joining)
}
