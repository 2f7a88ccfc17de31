//! Every job file in `ops/examples` is one that the cell would take, by the parser and by the schema's names.

use std::fs;
use std::path::{Path, PathBuf};

use paceline_rules::Limits;
use paceline_scenario::read_job;
use serde_json::Value;

fn ops() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops")
}

#[test]
fn every_example_is_a_sound_job_file_with_fields_of_the_schema() {
    let schema = fs::read_to_string(ops().join("schema/job.schema.json")).expect("the schema is there");
    let schema: Value = serde_json::from_str(&schema).expect("the schema is JSON");
    let mut seen = Vec::new();
    for entry in fs::read_dir(ops().join("examples")).expect("the folder is there") {
        let path = entry.expect("readable").path();
        let text = fs::read_to_string(&path).expect("readable");
        let job = read_job(&text, &Limits::default())
            .unwrap_or_else(|faults| panic!("{}: {faults:?}", path.display()));
        assert_eq!(
            Some(job.name.as_str()),
            path.file_stem().and_then(|stem| stem.to_str()),
            "a name that is easily found"
        );
        let keys = text.lines().filter(|line| line.starts_with(|letter: char| letter.is_ascii_lowercase()));
        for key in keys.filter_map(|line| line.split(':').next()) {
            assert!(schema["properties"][key].is_object(), "{}: the schema has no {key}", path.display());
        }
        for required in schema["required"].as_array().expect("a list").iter().filter_map(Value::as_str) {
            assert!(text.contains(&format!("\n{required}:")), "{}: {required} is missing", path.display());
        }
        seen.push(job.name);
    }
    seen.sort_unstable();
    assert_eq!(seen, ["hello", "words"]);
}
