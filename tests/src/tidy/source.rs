//! How the rules of the house read: the files of the repository, and Rust as text with comments and the
//! contents of literals blanked (`code_of`), so that a sentence about a banned word is not the word itself.
//! It is no parser: it finds words, `fn` bodies and test modules by their braces.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the repository.
pub(super) struct Source {
    /// Path from the root, with `/`.
    pub(super) name: String,
    pub(super) text: String,
    /// The text without comments and without the contents of literals; only for Rust.
    pub(super) code: String,
}

impl Source {
    /// The code that is shipped: without unit tests, whether they stand in the file or are the file.
    pub(super) fn shipped_code(&self) -> String {
        let is_test_file = self.name.ends_with("/tests.rs") || self.name.contains("/tests/");
        if is_test_file {
            String::new()
        } else {
            without_tests(&self.code)
        }
    }
}

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests lies in the repository")
}

pub(super) fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All files that people write here, in a fixed order.
pub(super) fn text_files() -> impl Iterator<Item = Source> {
    const EXTENSIONS: &[&str] = &[
        "rs",
        "toml",
        "md",
        "sh",
        "html",
        "css",
        "js",
        "json",
        "service",
        "Dockerfile",
        "conf",
        "yml",
        "yaml",
        "txt",
    ];
    // Recorded frames are as the venues sent them.
    const RECORDED: &str = "tests/fixtures/";
    let mut paths = Vec::new();
    walk(root(), &mut paths);
    paths.sort();
    paths.into_iter().filter_map(|path| {
        let name = path.strip_prefix(root()).ok()?.to_str()?.replace('\\', "/");
        let extension = path.extension().and_then(|extension| extension.to_str());
        let is_text = extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
            || name.starts_with("scripts/")
            || name == ".ci/run";
        if !is_text || (name.starts_with(RECORDED) && !name.ends_with(".md")) {
            return None;
        }
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{name}: {error}: write it as UTF-8"));
        let code = if name.ends_with(".rs") {
            code_of(&text)
        } else {
            String::new()
        };
        Some(Source { name, text, code })
    })
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    // What git ignores, and git itself.
    const SKIPPED: &[&str] = &[
        ".git",
        "target",
        "var",
        "node_modules",
        "__pycache__",
        "proptest-regressions",
    ];
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("a folder that opens can be listed").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_symlink() || SKIPPED.contains(&name) {
            continue;
        }
        if path.is_dir() {
            walk(&path, paths);
        } else {
            paths.push(path);
        }
    }
}

pub(super) fn rust() -> impl Iterator<Item = Source> {
    text_files().filter(|source| source.name.ends_with(".rs"))
}

/// The Rust files of the three crates that people run.
pub(super) fn products() -> impl Iterator<Item = Source> {
    rust().filter(|source| {
        ["shared/src/", "edge/src/", "trainer/src/"]
            .iter()
            .any(|room| source.name.starts_with(room))
    })
}

/// Everything that is not prose.
pub(super) fn code_files() -> impl Iterator<Item = Source> {
    text_files().filter(|source| !source.name.ends_with(".md"))
}

pub(super) fn in_rooms(name: &str, rooms: &[(&str, &str)]) -> bool {
    rooms.iter().any(|(room, _)| name.starts_with(room))
}

pub(super) fn line_of(text: &str, position: usize) -> usize {
    text.as_bytes()[..position]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count()
        + 1
}

pub(super) fn words_between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let inside = text
        .split_once(open)
        .and_then(|(_, rest)| rest.split_once(close));
    let (inside, _) = inside.unwrap_or_default();
    inside
        .split_whitespace()
        .filter(|word| *word != "\\")
        .collect()
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Where `word` stands with no letter, digit or underscore grown onto its ends.
pub(super) fn word_positions(text: &str, word: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let begins_as_word = word.bytes().next().is_some_and(is_word_byte);
    let ends_as_word = word.bytes().last().is_some_and(is_word_byte);
    text.match_indices(word)
        .map(|(position, _)| position)
        .filter(|&position| !(begins_as_word && position > 0 && is_word_byte(bytes[position - 1])))
        .filter(|&position| {
            !(ends_as_word
                && bytes
                    .get(position + word.len())
                    .copied()
                    .is_some_and(is_word_byte))
        })
        .collect()
}

/// The source with comments and the contents of literals turned into spaces, line for line.
fn code_of(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_or_comment_end(bytes, at);
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    String::from_utf8(code).expect("only whole literals and comments were blanked")
}

/// Where the comment or literal that begins at `at` ends, or `at` if none begins there.
fn literal_or_comment_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let grown_onto_a_word = at > 0 && is_word_byte(bytes[at - 1]);
    match rest[0] {
        b'/' if rest.starts_with(b"//") => {
            at + rest
                .iter()
                .position(|byte| *byte == b'\n')
                .unwrap_or(rest.len())
        }
        b'/' if rest.starts_with(b"/*") => at + block_comment_length(rest),
        b'"' => at + quoted_length(rest, b'"'),
        b'r' if !grown_onto_a_word || bytes[at - 1] == b'b' => at + raw_string_length(rest),
        // A lifetime has no closing quote after one character.
        b'\'' if rest.get(1) == Some(&b'\\') => at + quoted_length(rest, b'\''),
        b'\'' => {
            let closing = rest.iter().take(6).skip(2).position(|byte| *byte == b'\'');
            match closing {
                Some(distance) if distance == 0 || !rest[1].is_ascii() => at + distance + 3,
                _ => at,
            }
        }
        _ => at,
    }
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of `r"…"` or `r#"…"#`, or 0 when this `r` opens no string.
fn raw_string_length(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|byte| **byte == b'#').count();
    if rest.get(1 + hashes) != Some(&b'"') {
        return 0;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = &rest[2 + hashes..];
    let end = body.windows(close.len()).position(|window| window == close);
    end.map_or(rest.len(), |end| 2 + hashes + end + close.len())
}

/// Position after the brace that closes the first one opened at or after `from`.
fn block_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code.as_bytes()[from..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return from + offset + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// The code with each `#[cfg(test)] mod …` turned into spaces.
fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut rest = code.to_owned();
    let mut from = 0;
    while let Some(found) = rest[from..].find(MARK) {
        let at = from + found;
        let after = at + MARK.len();
        from = after;
        if rest[after..].trim_start().starts_with("mod ") {
            let opens_or_ends = rest[after..].find([';', '{']).map(|offset| after + offset);
            let end = match opens_or_ends {
                Some(semicolon) if rest.as_bytes()[semicolon] == b';' => semicolon + 1,
                _ => block_end(&rest, after),
            };
            let blank: String = rest[at..end]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' })
                .collect();
            from = at + blank.len();
            rest.replace_range(at..end, &blank);
        }
    }
    rest
}

/// A function with a body.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) lines: usize,
}

pub(super) fn functions(code: &str) -> Vec<Function> {
    let bytes = code.as_bytes();
    let mut found = Vec::new();
    for at in word_positions(code, "fn") {
        let name: String = code[at + 2..]
            .trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if name.is_empty() {
            continue;
        }
        // The body opens with the first brace outside parentheses and brackets; `;` there means no body.
        let mut depth = 0_usize;
        let body = bytes[at..].iter().position(|byte| {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(byte, b'{' | b';')
        });
        let Some(body) = body
            .map(|offset| at + offset)
            .filter(|body| bytes[*body] == b'{')
        else {
            continue;
        };
        let (first, last) = (line_of(code, at), line_of(code, block_end(code, body) - 1));
        found.push(Function {
            name,
            line: first,
            lines: last - first + 1,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_told_from_what_is_said_about_it() {
        let source = concat!(
            "// a HashMap\n",
            "/* a /* nested */ HashMap */ let a = \"HashMap \\\" HashMap\";\n",
            "let b = r#\"HashMap \" HashMap\"#; let c = '\"'; let d = HashMap::new();\n",
            "fn e<'a>(f: &'a str) -> char { '\\'' } // HashMap\n",
            "let g = b\"HashMap\"; let r#type = 1;\n",
        );
        let code = code_of(source);
        assert_eq!(code.matches("HashMap").count(), 1, "{code}");
        assert_eq!(code.lines().count(), source.lines().count());
        assert!(code.contains("let d = HashMap::new();"), "{code}");
        assert!(code.contains("fn e<'a>(f: &'a str) -> char {"), "{code}");
        assert!(code.contains("let r#type = 1;"), "{code}");
    }

    #[test]
    fn unit_tests_are_cut_away_and_nothing_else() {
        let code = "#[cfg(test)]\nmod samples;\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { if x { y } }\n}\nfn c() {}\n";
        let rest = without_tests(code);
        assert!(
            rest.contains("fn a") && rest.contains("fn c") && !rest.contains("fn b"),
            "{rest}"
        );
        assert_eq!(rest.lines().count(), code.lines().count());
    }

    #[test]
    fn functions_are_measured() {
        let source = "fn a(x: [u8; 2]) -> u8\nwhere\n    u8: Copy,\n{\n    x[0]\n}\ntrait T {\n    fn b(&self);\n    fn c(&self) {\n    }\n}\n";
        let found: Vec<(String, usize, usize)> = functions(&code_of(source))
            .into_iter()
            .map(|f| (f.name, f.line, f.lines))
            .collect();
        assert_eq!(found, [("a".to_owned(), 1, 6), ("c".to_owned(), 9, 2)]);
    }

    #[test]
    fn a_word_is_found_only_as_a_word() {
        assert_eq!(word_positions("f64 f64x af64 (f64)", "f64"), [0, 15]);
        assert_eq!(word_positions("std::a no_std::b mystd::c", "std::"), [0]);
    }
}
