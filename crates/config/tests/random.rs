//! Whatever the sources hold, loading ends with a configuration or a report, never with a panic.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stdout)]

mod common;

use std::ffi::OsString;
use std::time::SystemTime;

use common::{Folder, registry};
use tidegate_config::{Override, Sources, load};

/// xorshift64*: enough for choosing mutations, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

const PIECES: &[&str] = &[
    "=",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "\"",
    "'",
    "'''",
    "\n",
    "\r\n",
    ".",
    ",",
    "#",
    "\0",
    "\u{feff}",
    "é",
    "\u{202e}",
    "true",
    "0x",
    "1e999",
    "nan",
    "-",
    "99999999999999999999",
    "1979-05-27",
    "[[listener]]",
    "[listener]",
    "listener = 1",
    "tls = {}",
    "[listener.tls.sni]",
    "mqtt = { receive_maximum = [] }",
    "\"<protocol>\" = 1",
    "\"log.level\" = 1",
    "\"listener[1].bind\" = 1",
    "sni = [1]",
    "http = []",
    "node = ''",
    "a.b.c.d = 1",
];

fn mutate(text: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(6) {
        let at = random.below(text.len() + 1);
        let end = (at + random.below(40)).min(text.len());
        match random.below(6) {
            0 => drop(text.drain(at..end)),
            1 => drop(text.splice(at..at, random.pick(PIECES).bytes())),
            2 => drop(text.splice(at..end, random.pick(PIECES).bytes())),
            3 if at < text.len() => text[at] = random.next() as u8,
            4 => {
                let copy = text[at..end].to_vec();
                let target = random.below(text.len() + 1);
                drop(text.splice(target..target, copy));
            }
            _ => {
                let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
                let line = [*random.pick(&lines), b"\n"].concat();
                drop(text.splice(at..at, line));
            }
        }
    }
}

/// A report always prints, names an error, and keeps control characters away from the terminal.
fn load_anything(
    text: &[u8],
    environment: Vec<(OsString, OsString)>,
    overrides: Vec<Override>,
    folder: &Folder,
) -> bool {
    let (file, registry) = (Some(folder.write("gate.toml", text)), registry());
    match load(&Sources {
        file,
        embedded: tidegate_config::EMBEDDED,
        environment,
        overrides,
        registry: &registry,
        now: SystemTime::UNIX_EPOCH,
    }) {
        Ok(loaded) => {
            assert!(
                !loaded.config.listeners.is_empty()
                    && loaded.warnings.iter().all(|warning| !warning.is_error())
            );
            true
        }
        Err(report) => {
            assert!(report.diagnostics().iter().any(|found| found.is_error()));
            let printed = report.to_string();
            assert!(!printed.contains("cannot be combined"), "{printed}");
            assert!(
                printed.len() < 200_000 && printed.chars().all(|c| c == '\n' || !c.is_control()),
                "{printed}"
            );
            false
        }
    }
}

/// Mutations of the shipped example.
#[test]
fn mutated_files_never_panic() {
    let example = include_bytes!("../../../config/tidegate.toml");
    let (seed, folder) = (0x7469_6465_6761_7465, Folder::new());
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let mut accepted = 0;
    for _ in 0..3000 {
        let mut text = example.to_vec();
        mutate(&mut text, &mut random);
        accepted += usize::from(load_anything(&text, Vec::new(), Vec::new(), &folder));
    }
    // Both outcomes have to occur, otherwise the mutations test nothing.
    assert!(accepted > 0 && accepted < 3000, "{accepted} of 3000 accepted");
}

/// Bytes without any sense.
#[test]
fn random_bytes_never_panic() {
    let (seed, folder) = (0x0005_eedb_ad5e_ed00, Folder::new());
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    for _ in 0..2000 {
        let printable = random.below(2) == 0;
        let byte =
            |random: &mut Random| if printable { b' ' + random.below(95) as u8 } else { random.next() as u8 };
        let length = random.below(200);
        let text: Vec<u8> = (0..length).map(|_| byte(&mut random)).collect();
        load_anything(&text, Vec::new(), Vec::new(), &folder);
    }
}

/// Names and values of variables and flags without any sense.
#[test]
fn random_variables_never_panic() {
    let (seed, folder) = (0x00c0_ffee_0000_0001, Folder::new());
    println!("seed {seed:#x}");
    let mut random = Random(seed);
    let parts = [
        "LISTENER", "listener", "MQTT", "__", "_", ".", "[0]", "TLS", "SNI", "HTTP", "BIND", "NODE", "é",
        "\u{1b}", "=", "",
    ];
    for _ in 0..2000 {
        let name: String = (0..random.below(6)).map(|_| *random.pick(&parts)).collect();
        let value: String = (0..random.below(4)).map(|_| *random.pick(PIECES)).collect();
        let real = [
            "TIDEGATE_LISTENER__MQTT__PROTOCOLS",
            "TIDEGATE_LISTENER__WEB__MQTT__NESTED",
            "TIDEGATE_DATA_DIR",
        ];
        let environment = vec![
            (format!("TIDEGATE_{name}").into(), value.clone().into()),
            ((*random.pick(&real)).into(), value.clone().into()),
        ];
        let overrides = vec![Override::new("--set", name, value)];
        load_anything(common::LISTENER.as_bytes(), environment, overrides, &folder);
    }
}

/// Files that are large or deep in every way TOML knows: refused in time and without exhausting the stack.
#[test]
fn extreme_files_never_panic() {
    let folder = Folder::new();
    let filled = |piece: &str| piece.repeat((1 << 20) / piece.len()).into_bytes();
    let numbered: String = (0..60_000).map(|number| format!("k{number} = 1\n")).collect();
    let options: String = (0..40_000).map(|number| format!("o{number} = 1\n")).collect();
    let texts = [
        filled("[[listener]]\n"),
        filled("a."),
        filled("["),
        filled("a={"),
        filled("[a]\n"),
        filled("\n"),
        filled("x"),
        filled("\u{1b}"),
        [b"[".to_vec(), filled("a.")].concat(),
        [b"node = '".to_vec(), filled("x")[..1_000_000].to_vec(), b"'".to_vec()].concat(),
        [b"x = [".to_vec(), filled("1,")[..1_000_000].to_vec(), b"]".to_vec()].concat(),
        [common::LISTENER.as_bytes(), b"[listener.tls]\nsni = [", &filled("{},")[..900_000], b"]"].concat(),
        [common::LISTENER.replace("[\"mqtt\"]", "[").as_bytes(), &filled("'a',")[..900_000], b"]"].concat(),
        numbered.into_bytes(),
        format!("{}[listener.mqtt]\n{options}", common::LISTENER).into_bytes(),
    ];
    for text in texts {
        assert!(!load_anything(&text[..text.len().min(1 << 20)], Vec::new(), Vec::new(), &folder));
    }
}
