//! Keeps the house as `docs/` says it is: edges between crates, a word on every module, file sizes, nothing ignored.
#![allow(clippy::indexing_slicing, reason = "a test that looks where nothing is has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const SOURCE_LINES_MAX: usize = 600;
const TEST_LINES_MAX: usize = 800;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| panic!("the crate has a parent")).to_owned()
}

fn sources() -> Vec<(PathBuf, String)> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"])
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("git ls-files: {error}"));
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let files: Vec<_> = listed
        .lines()
        .filter(|line| root().join(line).exists())
        .map(|line| {
            let text = fs::read_to_string(root().join(line)).unwrap_or_else(|error| panic!("{line}: {error}"));
            (PathBuf::from(line), text)
        })
        .collect();
    assert!(files.len() > 50, "only {} source files were found", files.len());
    files
}

fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"))
}

/// Which of our crates may depend on which: `architecture.md`, *Process and code layout*.
fn allowed() -> BTreeMap<&'static str, &'static [&'static str]> {
    BTreeMap::from([
        ("kisum-events", &[] as &[_]),
        ("kisum-log", &["kisum-events"] as &[_]),
        ("kisum-domains", &["kisum-events"]),
        ("kisum-guard", &["kisum-events"]),
        ("kisum-projectors", &["kisum-events", "kisum-log", "kisum-domains"]),
        ("kisum-api", &["kisum-events", "kisum-log", "kisum-domains", "kisum-projectors", "kisum-guard"]),
        ("kisum", &["kisum-events", "kisum-log", "kisum-domains", "kisum-projectors", "kisum-guard", "kisum-api"]),
    ])
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("cargo metadata: {error}"));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("cargo metadata: {error}"))
}

/// Every package with its dependencies; `normal` leaves out those of tests.
fn dependencies(normal: bool) -> BTreeMap<String, BTreeSet<String>> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    metadata()["packages"]
        .as_array()
        .unwrap_or_else(|| panic!("cargo metadata lists packages"))
        .iter()
        .map(|package| {
            let needs = package["dependencies"].as_array().into_iter().flatten();
            let needs = needs.filter(|need| !normal || need["kind"].is_null()).map(|need| text(&need["name"]));
            (text(&package["name"]), needs.collect())
        })
        .collect()
}

#[test]
fn dependencies_point_inward() {
    let found = dependencies(true);
    for (package, may) in allowed() {
        let needs = found.get(package).unwrap_or_else(|| panic!("{package} is a package"));
        for need in needs.iter().filter(|need| *need == "kisum" || need.starts_with("kisum-")) {
            assert!(may.contains(&need.as_str()), "{package} must not depend on {need}");
        }
    }
}

#[test]
fn rules_and_vocabulary_know_no_machinery() {
    let found = dependencies(false);
    for package in ["kisum-events", "kisum-domains"] {
        for machinery in ["tokio", "sqlx", "axum", "async-nats", "redis", "jsonwebtoken", "reqwest"] {
            assert!(!found[package].contains(machinery), "{package} must not depend on {machinery}");
        }
    }
}

/// Whether a package, built by itself, has the crate `fail` in it.
fn has_fail_points(package: &str) -> bool {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--edges", "normal", "--prefix", "none", "--package", package])
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("cargo tree: {error}"));
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().any(|line| line.starts_with("fail v"))
}

#[test]
fn fail_points_are_in_tests_alone() {
    assert!(!has_fail_points("kisum") && !has_fail_points("kisum-bench"));
    assert!(has_fail_points("kisum-tests"), "the tests have none either: this looks for the wrong thing");
}

#[test]
fn every_module_opens_with_what_it_owns() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !text.starts_with("//!")).map(|(path, _)| path).collect();
    assert!(silent.is_empty(), "no //! at the top of {silent:?}");
}

#[test]
fn files_stay_readable_in_one_sitting() {
    for (path, text) in sources() {
        let max = if is_test(&path) { TEST_LINES_MAX } else { SOURCE_LINES_MAX };
        let lines = text.lines().count();
        assert!(lines <= max, "{} has {lines} lines; {max} is the most", path.display());
    }
}

#[test]
fn no_test_is_ignored() {
    let marker = concat!("#[", "ignore");
    for (path, text) in sources() {
        assert!(!text.contains(marker), "{} ignores a test", path.display());
    }
}

#[test]
fn nothing_vague_is_a_module() {
    for (path, _) in sources() {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for vague in ["utils", "util", "helpers", "helper", "common", "manager", "misc"] {
            assert_ne!(stem, vague, "{}", path.display());
        }
    }
}
