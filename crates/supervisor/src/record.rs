//! The records themselves, one file each, and the text they are written in.

pub mod ended;
#[cfg(test)]
mod fuzz;
pub mod intent;
pub mod lease;
pub mod order;
pub mod running;
pub mod stop;
pub mod text;

#[cfg(test)]
pub mod testing {
    use std::path::PathBuf;

    use super::text::Fields;
    use crate::Record;

    /// An empty folder of this process.
    pub fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("paceline-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Encodes and decodes.
    pub fn round_trip<R: Record>(record: &R) -> R {
        R::decode(&Fields::parse(R::NAME, &record.encode()).unwrap()).unwrap()
    }
}
