//! Pages that lose their connection and go on where they were: @stomp/stompjs over WebSocket, while an MQTT client publishes.

use crate::harness::{Gateway, Program, node};

const CONFIG: &str = "
[[listener]]
name = \"mqtt\"
bind = \"127.0.0.1:0\"
protocols = [\"mqtt\"]
allow_anonymous = true

[[listener]]
name = \"web\"
bind = \"127.0.0.1:0\"
transport = \"websocket\"
protocols = [\"stomp\"]
allow_anonymous = true

[http]
bind = \"127.0.0.1:0\"

[[replay]]
topics = [\"plant/#\"]

[[replay]]
topics = [\"small/#\"]
messages = 10
";

/// Nothing is missed and nothing comes twice, with and without acknowledgements; a gap is told; what no ring holds is refused.
#[test]
fn stompjs_goes_on_where_it_was_cut() {
    let gateway = Gateway::start(CONFIG);
    let (web, mqtt) = (gateway.port("web"), gateway.port("mqtt"));
    let mut command = node("stomp_resume.js");
    command.args([format!("ws://127.0.0.1:{web}/stomp"), format!("mqtt://127.0.0.1:{mqtt}")]);
    let mut page = Program::start(&mut command);
    for check in ["cut_in_mid_stream", "cut_with_acknowledgements", "away_for_too_long", "refused"] {
        page.wait_for_line(check, |line| line == format!("ok {check}"));
    }
    page.succeed();
}
