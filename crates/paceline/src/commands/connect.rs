//! From the command line's options to a client of the cell.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use paceline_client::{CellFolder, Client, JobRef};

use crate::cli::CellOptions;

/// The folder of `paceline dev` where nothing else is said.
const DEV_FOLDER: &str = "paceline-dev";

/// The folder that the options name, or that of a development cell here.
pub fn folder(options: &CellOptions) -> Result<PathBuf> {
    if let Some(folder) = &options.cell {
        return Ok(folder.clone());
    }
    let here = PathBuf::from(DEV_FOLDER);
    let there = here.join("cell.json").exists();
    there
        .then_some(here)
        .context("which cell? Give --cell DIR or set PACELINE_CELL to a folder with cell.json")
}

/// A client with the options' deadline, for the leader or the master that the options name.
pub async fn client(options: &CellOptions) -> Result<Client> {
    let client = Client::open(CellFolder::read(&folder(options)?)?)?;
    let client = client.within(Duration::from_secs(options.timeout));
    let client = if options.stale { client.stale() } else { client };
    Ok(match &options.from {
        Some(master) => client.at(master).await?,
        None => client,
    })
}

/// A job by uid where the text has that form, by name otherwise.
pub fn job(text: &str) -> JobRef {
    match text.parse() {
        Ok(uid) => JobRef::Uid(uid),
        Err(_) => JobRef::Name(text.to_owned()),
    }
}
