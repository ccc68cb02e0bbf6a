//! What people read: columns that stand below each other, and nothing in them that a terminal obeys.

use std::fmt::Display;

/// Rows below a head, each column as wide as its widest cell; numbers and text alike begin at the left.
pub(crate) fn table<const COLUMNS: usize>(
    head: [String; COLUMNS],
    rows: impl Iterator<Item = [String; COLUMNS]>,
) -> String {
    let rows: Vec<[String; COLUMNS]> =
        std::iter::once(head).chain(rows).map(|row| row.map(printable)).collect();
    let mut widths = [0; COLUMNS];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

/// Control characters and marks of direction written out: a name may come from anybody.
pub(crate) fn printable(text: String) -> String {
    text.chars()
        .flat_map(|c| if c == '"' || c == '\'' { vec![c] } else { c.escape_debug().collect() })
        .collect()
}

/// "1 message", "2 messages".
pub(crate) fn counted(count: impl Display, what: &str) -> String {
    let count = count.to_string();
    let plural = if count == "1" { "" } else { "s" };
    format!("{count} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let cells = |one: &str, two: &str| [one.to_owned(), two.to_owned()];
        let text = table(cells("queue", "bytes"), [cells("mqtt:ä\u{1b}[31m", "1")].into_iter());
        assert_eq!(text, "queue             bytes\nmqtt:ä\\u{1b}[31m  1\n");
    }
}
