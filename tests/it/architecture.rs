//! The architecture as a test: which crate may name which, and no context names another.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Each crate and the crates of this workspace it may name. Adding a line here needs an ADR.
const ALLOWED: &[(&str, &[&str])] = &[
    ("event-schemas", &[]),
    ("event-store", &[]),
    ("domain", &["event-schemas"]),
    ("commands", &["domain", "event-schemas", "event-store"]),
    ("projections", &["event-schemas", "event-store"]),
    ("vault", &["event-schemas"]),
    ("providers", &["event-schemas", "vault"]),
    ("sagas", &["commands", "event-schemas", "event-store", "providers", "vault"]),
    ("api-kit", &["event-schemas"]),
    (
        "write-api",
        &["api-kit", "commands", "domain", "event-schemas", "providers", "sagas", "vault"],
    ),
    ("read-api", &["api-kit", "event-schemas", "projections", "search", "vault"]),
    ("search", &[]),
];

/// Crates that nobody who uses the program meets: measurements, and what tests share.
const OUTSIDE: &[&str] = &["bench", "tests/crash", "tests/database", "tests/stripe-sim"];

/// Crates whose modules are contexts that must not name each other.
const WALLED: &[&str] = &["domain", "commands", "projections", "write-api", "read-api"];

/// Rooms with a door on purpose: a checkout is a process across contexts, stock is of variants that
/// exist (ADR 0006), a cart shows what others say of its lines (ADR 0016), and what is shipped has to
/// be there (ADR 0021).
const DOORS: &[(&str, &str)] = &[
    ("commands", "cart"),
    ("commands", "checkout"),
    ("commands", "fulfilment"),
    ("commands", "inventory"),
];

/// Every context. A module of this name in a walled crate is a room with closed doors.
const CONTEXTS: &[&str] = &[
    "cart",
    "catalog",
    "inventory",
    "checkout",
    "order",
    "fulfilment",
    "payment",
    "store",
    "analytics",
    "coupon",
    "shipping",
    "tax",
];

#[test]
fn crates_depend_only_on_what_the_architecture_allows() {
    let offences = forbidden_edges(&manifests());
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn the_table_notices_a_forbidden_edge() {
    let mut manifests = manifests();
    let projections = manifests.get_mut("projections").unwrap();
    let dependencies = projections["dependencies"].as_table_mut().unwrap();
    dependencies.insert("domain".into(), toml::Value::Boolean(true));
    assert_eq!(forbidden_edges(&manifests), ["projections must not depend on domain"]);
}

#[test]
fn every_member_of_the_workspace_is_in_the_table() {
    let root: toml::Table = read(&root().join("Cargo.toml")).parse().unwrap();
    let members = root["workspace"]["members"].as_array().unwrap();
    for member in
        members.iter().filter_map(toml::Value::as_str).filter(|name| !OUTSIDE.contains(name))
    {
        assert!(ALLOWED.iter().any(|(name, _)| *name == member), "{member} is not in the table");
    }
}

#[test]
fn no_context_names_another_outside_the_sagas() {
    let mut offences = Vec::new();
    for name in WALLED {
        for file in rust_files(&root().join(name).join("src")) {
            offences.extend(doors(name, &file, &read(&file)));
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn the_wall_notices_a_door() {
    let file = root().join("domain/src/order.rs");
    let found = doors("domain", &file, "use crate::{inventory::StockItem, shared};\n");
    assert_eq!(found.len(), 1, "{found:?}");
    let found = doors("domain", &file, "fn f() { crate::payment::g() }\n");
    assert_eq!(found.len(), 1, "{found:?}");
    let found = doors("domain", &file, "use crate::catalog;\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(doors("domain", &file, "use crate::order::line;\n").is_empty());
    assert!(doors("domain", &file, "// see crate::catalog\n").is_empty());
}

fn forbidden_edges(manifests: &BTreeMap<&str, toml::Table>) -> Vec<String> {
    let mut offences = Vec::new();
    for (name, may) in ALLOWED {
        let dependencies = manifests[name].get("dependencies").and_then(toml::Value::as_table);
        for dependency in dependencies.into_iter().flat_map(toml::Table::keys) {
            let ours = ALLOWED.iter().any(|(other, _)| other == dependency);
            if ours && !may.contains(&dependency.as_str()) {
                offences.push(format!("{name} must not depend on {dependency}"));
            }
        }
    }
    offences
}

fn manifests() -> BTreeMap<&'static str, toml::Table> {
    let manifest = |name: &str| read(&root().join(name).join("Cargo.toml")).parse().unwrap();
    ALLOWED.iter().map(|(name, _)| (*name, manifest(name))).collect()
}

/// Lines of a file of one context that name another context of the same crate.
fn doors(name: &str, file: &Path, text: &str) -> Vec<String> {
    let source = root().join(name).join("src");
    let inside = file.strip_prefix(&source).unwrap();
    let own = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    let own = own.strip_suffix(".rs").unwrap_or(own);
    if !CONTEXTS.contains(&own) || DOORS.contains(&(name, own)) {
        return Vec::new();
    }
    let others = CONTEXTS.iter().filter(|context| **context != own);
    others
        .filter(|context| names(text, context))
        .map(|context| format!("{} names the context {context}", file.display()))
        .collect()
}

/// Whether code names `crate::<context>`, in a path or in a `use` group.
fn names(text: &str, context: &str) -> bool {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .flat_map(|line| line.chars().filter(|c| !c.is_whitespace()).chain([' ']))
        .collect();
    let path = format!("crate::{context}");
    let mut ends = code.match_indices(&path).map(|(at, _)| code[at + path.len()..].chars().next());
    let named = ends.any(|next| !next.is_some_and(|c| c.is_alphanumeric() || c == '_'));
    let grouped = code.split("crate::{").skip(1).any(|group| {
        let group = group.split(';').next().unwrap_or_default().replace(' ', "");
        group
            .split([',', '{', '}'])
            .any(|item| item == context || item.starts_with(&format!("{context}::")))
    });
    named || grouped
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
