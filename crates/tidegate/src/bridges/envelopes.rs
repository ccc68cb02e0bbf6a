//! What is around the payloads of forwards and receives.

use super::kinds::wrong;
use tidegate_bridge::{CloudEvents, Envelope, Form, PayloadForm, Template, Vocabulary};
use tidegate_config::{Bridge, BridgeError, Forward, Receive};

/// What a receive expects around payloads.
pub(super) fn of_receive(receive: &Receive) -> Envelope {
    envelope(receive.payload, CloudEvents::default())
}

/// What a forward puts around payloads; which of its keys is wrong, and why, where one is.
pub(super) fn of_forward(forward: &Forward) -> Result<Envelope, (&'static str, String)> {
    let is_event = forward.payload == tidegate_config::PayloadForm::CloudEvents;
    let template = |key, text: &Option<String>| match text {
        None => Ok(None),
        Some(_) if !is_event => Err((key, "is known for `payload = \"cloudevents\"` only".to_owned())),
        Some(text) => Template::parse(text, &Vocabulary::FORWARD, Form::Text)
            .map(Some)
            .map_err(|error| (key, error.to_string())),
    };
    let source = template("event_source", &forward.event_source)?;
    let event_type = template("event_type", &forward.event_type)?;
    Ok(envelope(forward.payload, CloudEvents { source, event_type }))
}

fn envelope(form: tidegate_config::PayloadForm, events: CloudEvents) -> Envelope {
    match form {
        tidegate_config::PayloadForm::Raw => Envelope::Raw,
        tidegate_config::PayloadForm::Json => Envelope::Json { payload: PayloadForm::Text },
        tidegate_config::PayloadForm::JsonNested => Envelope::Json { payload: PayloadForm::Json },
        tidegate_config::PayloadForm::CloudEvents => Envelope::CloudEvent(events),
    }
}

/// What is wrong with the envelopes of a bridge.
pub(super) fn errors(bridge: &Bridge) -> Vec<BridgeError> {
    let forwards = bridge.forwards.iter().enumerate();
    let found = forwards.filter_map(|(index, forward)| Some((index, of_forward(forward).err()?)));
    found.map(|(index, (key, message))| wrong(format!("forward[{index}].{key}"), message)).collect()
}
