//! Modules stand on floors: of the top-level modules of a crate none uses one that uses it,
//! directly or through others.
//!
//! It reads `use` and paths as text: `crate::…`, and `super::…` where that leads to the crate's
//! root. What the root re-exports is the module's that it comes from.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// For each module those that it uses, and a file that does.
type Uses = BTreeMap<String, BTreeMap<String, PathBuf>>;

/// A crate's modules, and what its root re-exports: name and module.
struct Root {
    modules: BTreeSet<String>,
    reexports: BTreeMap<String, String>,
}

#[test]
fn modules_of_a_crate_make_no_circle() {
    let workspace = fs::canonicalize(env!("CARGO_MANIFEST_DIR")).expect("the workspace");
    let mut complaints = Vec::new();
    let mut crates = 0;
    for entry in fs::read_dir(&workspace).expect("a folder") {
        let source = entry.expect("an entry").path().join("src");
        if !source.join("lib.rs").is_file() && !source.join("main.rs").is_file() {
            continue;
        }
        crates += 1;
        if let Some(circle) = circle(&uses(&source)) {
            let name = source.strip_prefix(&workspace).expect("below").display().to_string();
            complaints.push(format!("{name}: {circle}"));
        }
    }
    assert!(crates >= 7, "the crates are not where they should be");
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn a_circle_is_found_through_re_exports_and_super() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    };
    write("lib.rs", "mod a;\nmod b;\nmod c;\npub use c::{Thing, part::Other as Renamed};\n");
    write("a.rs", "use crate::{\n    b::{self, x},\n};\n// crate::c::y is only told of\n");
    write("b/mod.rs", "mod deep;\n");
    write("b/deep.rs", "fn f() -> crate::Renamed {}\n#[cfg(test)]\nuse crate::a;\n");
    write("c.rs", "use std::fmt;\n");
    assert_eq!(circle(&uses(folder.path())), None);
    write("c.rs", "use super::a::f;\n");
    let found = circle(&uses(folder.path())).expect("a circle");
    assert_eq!(found, "a uses b (a.rs), b uses c (b/deep.rs), c uses a (c.rs)");
}

/// What the modules below a crate's source folder use of each other.
fn uses(source: &Path) -> Uses {
    let root = ["lib.rs", "main.rs"].map(|name| source.join(name));
    let root = root.iter().find(|path| path.is_file()).expect("a root");
    let known = read_root(&code(root));
    let mut all = Uses::new();
    for path in files(source) {
        let below = path.strip_prefix(source).expect("below");
        let mut parts: Vec<String> = below
            .with_extension("")
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect();
        parts.pop_if(|last| last == "mod");
        let Some(own) = parts.first().filter(|own| known.modules.contains(*own)) else { continue };
        for name in names(&code(&path), parts.len()) {
            let module = known.reexports.get(&name).unwrap_or(&name);
            if module != own && known.modules.contains(module) {
                let used = all.entry(own.clone()).or_default();
                used.entry(module.clone()).or_insert_with(|| below.to_path_buf());
            }
        }
    }
    all
}

/// The Rust files below a folder, in order, but for tests.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            found.extend(files(&path));
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
    found
}

/// The text of a file without comments and without its tests, which may look around.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("text");
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    lines.map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The modules of a crate's root and its re-exports of their items.
fn read_root(code: &str) -> Root {
    let words = |statement: &str| -> Vec<String> {
        statement.split_whitespace().map(str::to_string).collect()
    };
    let statements: Vec<Vec<String>> = code.split([';', '}']).map(words).collect();
    let modules = statements.iter().filter_map(|words| match words.as_slice() {
        [.., word, name] if word == "mod" => Some(name.clone()),
        _ => None,
    });
    let modules: BTreeSet<String> = modules.collect();
    let mut reexports = BTreeMap::new();
    for statement in code.split(';') {
        let Some((_, tree)) = statement.split_once("use ") else { continue };
        let module: String = tree.chars().take_while(|c| is_word(*c)).collect();
        if !modules.contains(&module) {
            continue;
        }
        for item in tree.split([',', '{', '}']) {
            let item = item.rsplit("::").next().unwrap_or_default();
            let name = item.rsplit(" as ").next().unwrap_or_default().trim();
            if !name.is_empty() {
                reexports.insert(name.to_string(), module.clone());
            }
        }
    }
    reexports.retain(|name, _| !modules.contains(name));
    Root { modules, reexports }
}

/// The names that follow `crate::`, and `super::` as often as leads to the root.
fn names(code: &str, depth: usize) -> Vec<String> {
    let to_root = "super::".repeat(depth);
    let mut found = Vec::new();
    for prefix in ["crate::", to_root.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let (before, after) = (&code[..at], &code[at + prefix.len()..]);
            if before.ends_with(is_word) || before.ends_with("::") || after.starts_with("super::") {
                continue;
            }
            found.extend(first_names(after));
        }
    }
    found
}

/// The first name of a path, or those of each branch of a tree.
fn first_names(path: &str) -> Vec<String> {
    let Some(tree) = path.strip_prefix('{') else {
        return vec![path.chars().take_while(|c| is_word(*c)).collect()];
    };
    let mut names = vec![String::new()];
    let (mut depth, mut in_name) = (1, true);
    for c in tree.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => {
                names.push(String::new());
                in_name = true;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if let Some(name) = names.last_mut().filter(|_| depth == 1 && in_name) {
            match is_word(c) {
                true => name.push(c),
                false => in_name = name.is_empty(),
            }
        }
    }
    names
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The shortest circle, in words.
fn circle(uses: &Uses) -> Option<String> {
    let ways = uses.keys().filter_map(|start| way_back(uses, start));
    let shortest = ways.min_by_key(Vec::len)?;
    let steps = shortest.windows(2).filter_map(|step| {
        let [from, to] = step else { return None };
        let file = uses.get(from)?.get(to)?.display();
        Some(format!("{from} uses {to} ({file})"))
    });
    Some(steps.collect::<Vec<_>>().join(", "))
}

/// The shortest way from a module to itself.
fn way_back(uses: &Uses, start: &str) -> Option<Vec<String>> {
    let mut ways = VecDeque::from([vec![start.to_string()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in uses.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
            let mut longer = way.clone();
            longer.push(next.clone());
            if next == start {
                return Some(longer);
            }
            if seen.insert(next.clone()) {
                ways.push_back(longer);
            }
        }
    }
    None
}
