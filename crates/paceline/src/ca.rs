//! `paceline ca`: authorities and certificates.

use anyhow::Result;
use paceline_identity::{Authority, CERTIFICATE_LIFE};
use serde_json::json;

use crate::cli::{CaCommand, Output};
use crate::output;

/// Runs one command.
pub fn run(command: CaCommand, format: Output) -> Result<()> {
    match command {
        CaCommand::Init { cell_name, dir } => {
            Authority::create(&dir, &cell_name)?;
            let text =
                format!("the authorities of cell {cell_name} are in {}: keep the folder safe", dir.display());
            output::message(format, &text, &json!({"cell": cell_name, "dir": dir}))
        }
        CaCommand::Issue { dir, role, name, out } => {
            let authority = Authority::load(&dir)?;
            authority.issue(role, &name, CERTIFICATE_LIFE)?.write(&out)?;
            let days = CERTIFICATE_LIFE.as_secs() / 86_400;
            let text = format!("{role} {name}: certificate and key for {days} days are in {}", out.display());
            output::message(
                format,
                &text,
                &json!({"role": role.to_string(), "name": name, "dir": out, "days": days}),
            )
        }
    }
}
