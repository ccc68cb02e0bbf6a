//! Secrets in lines of the file that are shown with a finding: a terminal is read by others, and a log is kept.
//!
//! Characters are replaced one by one, so that a marker below the line still stands at its place. This looks at a line as text and not as TOML,
//! since a line may be shown because it is no TOML.

/// What stands in the place of each character.
const MASK: char = '*';

/// The line without passwords: what stands between `:` and `@` in a URL, and the values of keys called `password`. Reads over the line a fixed
/// number of times, since a line may be as long as the file.
pub(crate) fn masked(line: &str) -> String {
    let mut chars: Vec<char> = line.chars().collect();
    let mut start = 0;
    while let Some(text) = chars.get_mut(start..) {
        let end = end_of_text(text, None);
        mask(text, text.get(..end).and_then(in_url));
        start += end + 1;
    }
    let mut start = 0;
    while let Some(text) = chars.get_mut(start..) {
        let Some(key) = text.windows(KEY.len()).position(|window| *window == KEY) else { break };
        let behind = key + KEY.len();
        let value = text.get(behind..).and_then(value).map(|(from, to)| (behind + from, behind + to));
        mask(text, value);
        start += value.map_or(behind, |(_, end)| end);
    }
    chars.into_iter().collect()
}

const KEY: [char; 8] = ['p', 'a', 's', 's', 'w', 'o', 'r', 'd'];

fn mask(text: &mut [char], secret: Option<(usize, usize)>) {
    let secret = secret.and_then(|(from, to)| text.get_mut(from..to));
    secret.into_iter().flatten().for_each(|c| *c = MASK);
}

/// Where the password is in a text that is a URL.
fn in_url(text: &[char]) -> Option<(usize, usize)> {
    let scheme = text.windows(3).position(|window| window == [':', '/', '/'])? + 3;
    let end = text.iter().rposition(|c| *c == '@')?;
    let colon = text.get(scheme..end)?.iter().position(|c| *c == ':')?;
    Some((scheme + colon + 1, end))
}

/// Where the value is behind the end of a key.
fn value(text: &[char]) -> Option<(usize, usize)> {
    let equals = text.iter().position(|c| !matches!(c, ' ' | '\t' | '"' | '\''))?;
    let value = text.get(equals..)?.strip_prefix(&['='])?;
    let quote = value.iter().position(|c| !matches!(c, ' ' | '\t'))?;
    let opening = value.get(quote).copied().filter(|c| matches!(c, '"' | '\''))?;
    let start = equals + 1 + quote + 1;
    Some((start, start + end_of_text(text.get(start..)?, Some(opening))))
}

/// Where a text ends: at its quote, or at the end of the line. What follows a backslash is part of it.
fn end_of_text(text: &[char], quote: Option<char>) -> usize {
    let is_end = |c: char| quote.map_or(matches!(c, '"' | '\''), |quote| c == quote);
    let mut is_escaped = false;
    let end = text.iter().position(|c| {
        let ends = !is_escaped && is_end(*c);
        is_escaped = !is_escaped && *c == '\\';
        ends
    });
    end.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown_and_nothing_moves() {
        for (line, shown) in [
            ("url = \"amqp://u:p@ss@h:5672/v\"", "url = \"amqp://u:****@h:5672/v\""),
            ("url = ['a://u:p@h', 'b://v:qr@h']", "url = ['a://u:*@h', 'b://v:**@h']"),
            ("url = \"a://u:p\\\"q@h\"", "url = \"a://u:****@h\""),
            ("url = \"a://u:p@h", "url = \"a://u:*@h"),
            ("url = \"a://user@h:5672\"", "url = \"a://user@h:5672\""),
            ("url = \"a://[::1]:5672\"", "url = \"a://[::1]:5672\""),
            ("password = 'ä\"b' # x", "password = '***' # x"),
            ("sasl = { user = 'u', password=\"p'\" }", "sasl = { user = 'u', password=\"**\" }"),
            ("\"password\" = \"open", "\"password\" = \"****"),
            ("password_file = \"central.password\"", "password_file = \"central.password\""),
            ("names = [\"password\"]", "names = [\"password\"]"),
        ] {
            assert_eq!(masked(line), shown);
        }
    }

    /// A line of a megabyte made of what is looked for: squares of its length would take hours.
    #[test]
    fn a_long_line_is_read_over_once() {
        for part in ["://u:p@", "://", "\"", "password=", "password = '", "\\\\", ":@"] {
            let line = part.repeat((1 << 20) / part.len());
            assert_eq!(masked(&line).chars().count(), line.chars().count());
        }
    }
}
