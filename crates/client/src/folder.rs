//! The folder that a cell is found by: who serves it, and with which credentials to come.
//!
//! ```text
//! DIR/cell.json              {"api": ["127.0.0.1:7101", …], "masters": [{"id": 1, "api": "127.0.0.1:7101", …}, …],
//!                             "credentials": "credentials/operator"}
//! DIR/credentials/operator   ca.pem cert.pem key.pem; in another folder where cell.json says so
//! ```
//!
//! `paceline dev` writes and keeps it; an operator may write one by hand. Fields that are not ours are ignored.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::OpenError;

/// The description of a cell and where its credentials are.
#[derive(Clone, Debug)]
pub struct CellFolder {
    /// Addresses of masters, `host:port`; at least one.
    pub api: Vec<String>,
    /// What is known of each master; possibly nothing.
    pub masters: Vec<MasterEntry>,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`.
    pub credentials: PathBuf,
}

/// A master as `cell.json` names it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct MasterEntry {
    /// Its number: for a master that the cell began with, its Raft id.
    pub id: u64,
    /// Its name, as in its certificate.
    #[serde(default)]
    pub name: Option<String>,
    /// Where it serves, `host:port`.
    pub api: String,
}

/// What we read of `cell.json`.
#[derive(Deserialize)]
struct CellFile {
    api: Vec<String>,
    #[serde(default)]
    masters: Vec<MasterEntry>,
    /// A folder, from that of the cell.
    #[serde(default = "operator")]
    credentials: PathBuf,
}

/// Where credentials are unless `cell.json` says where.
fn operator() -> PathBuf {
    Path::new("credentials").join("operator")
}

impl CellFolder {
    /// Reads `DIR/cell.json` and takes the credentials that it names, or the operator's beside it.
    ///
    /// # Errors
    /// [`OpenError`] naming the file.
    pub fn read(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join("cell.json");
        let text = fs::read(&path).map_err(|source| OpenError::Read { path: path.clone(), source })?;
        let file: CellFile = serde_json::from_slice(&text)
            .map_err(|source| OpenError::Malformed { path: path.clone(), source })?;
        if file.api.is_empty() {
            return Err(OpenError::NoMasters { path });
        }
        let credentials = dir.join(file.credentials);
        Ok(Self { api: file.api, masters: file.masters, credentials })
    }

    /// The address of the master with this name, number or address, where the folder knows it.
    #[must_use]
    pub fn address_of(&self, master: &str) -> Option<&str> {
        let named = |entry: &&MasterEntry| {
            entry.name.as_deref() == Some(master) || entry.id.to_string() == master || entry.api == master
        };
        let known = self.masters.iter().find(named).map(|entry| entry.api.as_str());
        known.or_else(|| self.api.iter().map(String::as_str).find(|address| *address == master))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(text: &str) -> Result<CellFolder, OpenError> {
        let dir = tempfile::tempdir().expect("created");
        fs::write(dir.path().join("cell.json"), text).expect("written");
        CellFolder::read(dir.path())
    }

    #[test]
    fn a_cell_is_found_by_its_folder_and_its_masters_by_name_number_or_address() {
        let text = r#"{"api": ["h:1", "h:2"], "masters": [{"id": 2, "name": "m2", "api": "h:2", "pid": 7}],
                       "shards": []}"#;
        let cell = folder(text).expect("reads");
        assert!(cell.credentials.ends_with("credentials/operator"));
        for (master, address) in [("m2", Some("h:2")), ("2", Some("h:2")), ("h:1", Some("h:1")), ("m3", None)]
        {
            assert_eq!(cell.address_of(master), address, "{master}");
        }
    }

    #[test]
    fn credentials_are_where_the_description_says() {
        let at =
            |said: &str| folder(&format!(r#"{{"api": ["h:1"], "credentials": "{said}"}}"#)).expect("reads");
        assert!(at("credentials/user").credentials.ends_with("credentials/user"));
        assert_eq!(at("/etc/cell/ann").credentials, Path::new("/etc/cell/ann"));
    }

    #[test]
    fn a_folder_that_is_none_is_refused_by_the_name_of_its_file() {
        for (text, expected) in
            [("{}", "is not the description"), ("[", "is not the"), (r#"{"api": []}"#, "names no master")]
        {
            let error = folder(text).expect_err("refused").to_string();
            assert!(error.contains("cell.json") && error.contains(expected), "{error}");
        }
        let error = CellFolder::read(Path::new("/nonexistent")).expect_err("refused").to_string();
        assert!(error.contains("/nonexistent/cell.json"), "{error}");
    }
}
