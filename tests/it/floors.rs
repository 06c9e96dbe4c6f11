//! The table of ARCHITECTURE.md is the law: a module imports only lower floors, and a crate is used only where the table puts it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where each module stands, and which crates belong to it, perhaps not to it alone.
struct House {
    floors: BTreeMap<String, usize>,
    crates: BTreeMap<String, Vec<String>>,
}

/// Crates that any floor but the lowest may use.
const COMMON: [&str; 8] = ["serde", "serde_json", "sha2", "base64", "arc_swap", "metrics", "tokio", "tracing"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn house() -> House {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let table = page.split("<!-- floors -->").nth(1).unwrap().split("<!-- /floors -->").next().unwrap();
    let mut house = House { floors: BTreeMap::new(), crates: BTreeMap::new() };
    for row in table.lines().filter(|row| row.starts_with("| ") && !row.starts_with("| floor")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let floor = cells[1].parse().unwrap();
        let modules: Vec<String> = names(cells[2]).collect();
        for foreign in names(cells[4]) {
            house.crates.entry(foreign).or_default().push(modules[0].clone());
        }
        house.floors.extend(modules.into_iter().map(|module| (module, floor)));
    }
    house
}

fn names(cell: &str) -> impl Iterator<Item = String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// Every source file of the host, with the module it belongs to.
fn sources() -> Vec<(String, PathBuf)> {
    let host = root().join("host/src").canonicalize().unwrap();
    let mut files = Vec::new();
    let mut folders = vec![host.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path.strip_prefix(&host).unwrap();
                let module = inside.components().next().unwrap().as_os_str().to_str().unwrap();
                files.push((module.trim_end_matches(".rs").to_owned(), path));
            }
        }
    }
    files.retain(|(module, _)| module != "lib");
    files
}

/// The code without its comments and its tests, which may reach anywhere.
fn code(path: &Path) -> String {
    if path.components().any(|part| ["tests", "tests.rs"].iter().any(|name| part.as_os_str() == *name)) {
        return String::new();
    }
    let text = fs::read_to_string(path).unwrap();
    let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    product.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// The first path segments after each `prefix` in the code, those of a group in braces included.
fn named<'a>(code: &'a str, prefix: &'a str) -> Vec<&'a str> {
    let segment = |text: &'a str| {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        Some(&text[..end]).filter(|segment| !segment.is_empty())
    };
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let (mut depth, mut start) = (0, 0);
                for (index, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth > 0 => depth -= 1,
                        ',' | '}' if depth == 0 => {
                            found.extend(segment(group[start..index].trim_start()));
                            start = index + 1;
                            if c == '}' {
                                break;
                            }
                        }
                        _ => (),
                    }
                }
            }
            None => found.extend(segment(rest)),
        }
    }
    found
}

#[test]
fn imports_are_found_in_every_form() {
    let code = "use crate::gate::{Tollgate, x}; use crate::{model::{Limit, Quota}, store, time::Clock}; foo(crate::policy::y); my_crate::no();";
    assert_eq!(named(code, "crate::"), ["gate", "model", "store", "time", "policy"]);
}

#[test]
fn the_table_knows_every_crate() {
    let manifest = fs::read_to_string(root().join("host/Cargo.toml")).unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let crates = section.lines().filter_map(|line| line.split([' ', '.']).next()).filter(|name| !name.is_empty());
    let house = house();
    for name in crates.map(|name| name.replace('-', "_")) {
        let known = house.crates.contains_key(&name) || COMMON.contains(&name.as_str());
        assert!(known, "`{name}` of host/Cargo.toml stands on no floor of ARCHITECTURE.md");
    }
}

#[test]
fn a_module_imports_only_lower_floors() {
    let house = house();
    let mut climbs = Vec::new();
    for (module, path) in sources() {
        let floor =
            *house.floors.get(&module).unwrap_or_else(|| panic!("`{module}` is not in the table of ARCHITECTURE.md"));
        let code = code(&path);
        for imported in named(&code, "crate::").into_iter().filter(|imported| *imported != module) {
            match house.floors.get(imported) {
                Some(other) if *other < floor => (),
                _ => climbs.push(format!("{}: floor {floor} imports `{imported}`", path.display())),
            }
        }
    }
    assert!(climbs.is_empty(), "imports that climb (see the table of ARCHITECTURE.md):\n{}", climbs.join("\n"));
}

#[test]
fn a_crate_is_used_only_on_its_floor() {
    let house = house();
    let mut strays = Vec::new();
    for (module, path) in sources() {
        let code = code(&path);
        for (foreign, owners) in house.crates.iter().filter(|(_, owners)| !owners.contains(&module)) {
            if !named(&code, &format!("{foreign}::")).is_empty()
                && !code.contains(&format!("mod {foreign};"))
                && !code.contains(&format!("super::{foreign}"))
            {
                strays.push(format!("{}: `{foreign}` belongs to `{}`", path.display(), owners.join("`, `")));
            }
        }
        for common in COMMON.iter().filter(|_| house.floors[&module] == 0) {
            if code.contains(&format!("{common}::")) {
                strays.push(format!("{}: floor 0 uses `{common}`", path.display()));
            }
        }
    }
    assert!(strays.is_empty(), "crates on the wrong floor (see the table of ARCHITECTURE.md):\n{}", strays.join("\n"));
}

#[test]
fn only_the_lowest_floors_are_pure() {
    for (module, path) in sources() {
        let code = code(&path);
        if house().floors[&module] < 3 {
            for impure in ["async fn", ".await", "std::fs", "std::net::Tcp", "tokio::"] {
                assert!(!code.contains(impure), "{}: `{impure}` on a pure floor", path.display());
            }
        }
    }
}

#[test]
fn what_the_sdk_shares_imports_nothing_of_the_crate() {
    let shared = ["host/src/counter/", "host/src/policy/cases/scenario/", "host/src/policy/cases/duration.rs"];
    for part in shared {
        let sources = sources().into_iter().filter(|(_, path)| path.to_string_lossy().contains(part));
        let files: Vec<PathBuf> = sources.map(|(_, path)| path).collect();
        assert!(!files.is_empty(), "nothing is in {part}");
        for path in files {
            let alone = !code(&path).contains("crate::");
            assert!(alone, "{}: it is shared with the SDK and must stand alone", path.display());
        }
    }
}
