//! SUBSCRIBE and UNSUBSCRIBE: each filter is asked for by itself and answered by itself (MQTT 5.0 sections 3.8 and 3.10).
//!
//! A filter that is none (a wildcard in the wrong place, no characters at all) is refused in its place of the SUBACK and does
//! not end the connection: the other filters of the packet are good, and a client that sees which one failed can be mended.

use crate::CONSUMER;
use crate::codec::{
    ReasonCode, RetainHandling, Subscribe, SubscribeFilter, SubscriptionOptions, Unsubscribe, Version,
};
use crate::late::{Asked, Late, SubAck};
use crate::reason::{fault, of_subscribe};
use crate::wire::Wire;
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::VecDeque;
use tidegate_message::{FilterError, QoS, TopicFilter};
use tidegate_protocol::{
    Answer, Broker, Close, Context, Refusal, RetainedDelivery, Subscribe as SubscribeRequest, Subscribed,
};

/// The reason codes of one answer; most packets have few filters.
pub(crate) type Reasons = SmallVec<[ReasonCode; 8]>;

/// What a filter of a shared subscription begins with (section 4.8.2). MQTT 3.1.1 knows no such thing, and its clients may have it.
const SHARED: &str = "$share/";

/// A filter and, where it is shared, the name of its group.
struct Target<'a> {
    share: Option<&'a str>,
    filter: TopicFilter,
}

/// Why a text selects nothing.
#[derive(Debug, thiserror::Error)]
enum TargetError {
    #[error("a shared subscription is `$share/`, a name without wildcards, `/` and a filter")]
    Share,
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl<'a> Target<'a> {
    fn parse(text: &'a str) -> Result<Target<'a>, TargetError> {
        let (share, filter) = match text.strip_prefix(SHARED) {
            None => (None, text),
            Some(rest) => {
                // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
                let (name, filter) = rest.split_once('/').ok_or(TargetError::Share)?;
                if name.is_empty() || name.contains(['+', '#']) {
                    return Err(TargetError::Share);
                }
                (Some(name), filter)
            }
        };
        // [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1]
        let filter = TopicFilter::parse_mqtt(filter.as_bytes())?;
        Ok(Target { share, filter })
    }
}

/// What one filter is answered: its reason code, and why where it failed.
type Verdict = (ReasonCode, Cow<'static, str>);

/// The answers of one packet.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    pub(crate) reasons: Reasons,
    /// Why the first filter failed that did; an answer has room for one sentence.
    pub(crate) detail: String,
}

impl Answers {
    /// A subscription that was made is not kept by the disk.
    pub(crate) fn refuse(&mut self, at: usize, refusal: Refusal) {
        let Some(reason) = self.reasons.get_mut(at) else { return };
        *reason = of_subscribe(refusal);
        if self.detail.is_empty() {
            self.detail = format!("filter {}: {refusal}", at + 1);
        }
    }

    fn push(&mut self, (reason, why): Verdict) {
        self.reasons.push(reason);
        if reason.is_failure() && self.detail.is_empty() {
            self.detail = format!("filter {}: {why}", self.reasons.len());
        }
    }
}

/// SUBSCRIBE. The retained messages follow the SUBACK, because deliveries begin when the machine has returned.
pub(crate) fn handle_subscribe(
    packet: &Subscribe<'_>,
    late: &mut Late,
    wire: &Wire,
    context: &mut Context<'_>,
) -> Result<(), Close> {
    let subscription_id = packet.properties.subscription_identifier();
    let (mut answers, mut awaited) = (Answers::default(), VecDeque::new());
    // [MQTT-3.8.4-5] [MQTT-3.8.4-6]
    for (at, asked) in packet.filters.iter().enumerate() {
        let (verdict, subscribed) = subscribe(&asked, subscription_id, wire.version, context.broker);
        // MQTT 3.1 sections 3.8 and 3.9: it has no word for a refusal, and the client is to be answered as if all were well.
        answers.push(match wire.version == Version::V31 && verdict.0.is_failure() {
            true => (granted(asked.options.qos_max), "".into()),
            false => verdict,
        });
        let is_awaited = |subscribed: &Subscribed| subscribed.answer == Answer::Later;
        let await_it = |Subscribed { existed, .. }| Asked { at, filter: asked.filter.into(), existed };
        awaited.extend(subscribed.filter(is_awaited).map(await_it));
    }
    if !awaited.is_empty() {
        let (version, id, refused) = (wire.version, packet.packet_id, Vec::new());
        late.suback(SubAck { version, id, answers, awaited, refused });
        return Ok(());
    }
    wire.suback(packet.packet_id, &answers.reasons, &answers.detail, context.output)
}

/// SUBACK that had to wait. What the disk does not keep is undone, because the client is told that it has no such subscription; where it had
/// another one with the same filter that is gone for good, and the connection ends instead of telling half of that.
pub(crate) fn acknowledge_late(
    suback: &SubAck,
    late: &Late,
    wire: &Wire,
    context: &mut Context<'_>,
) -> Result<(), Close> {
    // Where the client has asked for it once more meanwhile, that decides.
    for asked in suback.refused.iter().filter(|asked| !late.awaits(&asked.filter)) {
        if asked.existed {
            let detail = format!("the changed subscription to {:?} cannot be kept", asked.filter);
            return Err(fault(ReasonCode::ImplementationSpecificError, detail));
        }
        unsubscribe(&asked.filter, context.broker);
    }
    wire.suback(suback.id, &suback.answers.reasons, &suback.answers.detail, context.output)
}

/// UNSUBSCRIBE.
pub(crate) fn handle_unsubscribe(
    packet: &Unsubscribe<'_>,
    wire: &Wire,
    context: &mut Context<'_>,
) -> Result<(), Close> {
    let mut answers = Answers::default();
    // [MQTT-3.10.4-4] [MQTT-3.10.4-6]
    packet.filters.iter().for_each(|filter| answers.push(unsubscribe(filter, context.broker)));
    wire.unsuback(packet.packet_id, &answers.reasons, &answers.detail, context.output)
}

/// SUBSCRIBE, where nothing of it can be done.
pub(crate) fn refuse_subscribe(
    packet: &Subscribe<'_>,
    (reason, detail): (ReasonCode, &str),
    wire: &Wire,
    context: &mut Context<'_>,
) -> Result<(), Close> {
    let reasons: Reasons = packet.filters.iter().map(|_| reason).collect();
    wire.suback(packet.packet_id, &reasons, detail, context.output)
}

/// UNSUBSCRIBE, where nothing of it can be done.
pub(crate) fn refuse_unsubscribe(
    packet: &Unsubscribe<'_>,
    (reason, detail): (ReasonCode, &str),
    wire: &Wire,
    context: &mut Context<'_>,
) -> Result<(), Close> {
    let reasons: Reasons = packet.filters.iter().map(|_| reason).collect();
    wire.unsuback(packet.packet_id, &reasons, detail, context.output)
}

fn subscribe(
    asked: &SubscribeFilter<'_>,
    subscription_id: Option<u32>,
    version: Version,
    broker: &mut dyn Broker,
) -> (Verdict, Option<Subscribed>) {
    let target = match Target::parse(asked.filter) {
        Ok(target) => target,
        Err(error) => return ((ReasonCode::TopicFilterInvalid, error.to_string().into()), None),
    };
    match broker.subscribe(&request(&target, asked.options, subscription_id, version)) {
        // [MQTT-3.8.4-7]: the level that was asked for is granted.
        Ok(subscribed) => ((granted(asked.options.qos_max), "".into()), Some(subscribed)),
        Err(refusal) => ((of_subscribe(refusal), refusal.to_string().into()), None),
    }
}

fn request<'a>(
    target: &'a Target<'_>,
    options: SubscriptionOptions,
    subscription_id: Option<u32>,
    version: Version,
) -> SubscribeRequest<'a> {
    let retained = match options.retain_handling {
        // Section 3.8.3.1: a shared subscription gets none.
        _ if target.share.is_some() => RetainedDelivery::Never,
        // [MQTT-3.3.1-9]; in 3.1.1, which has no choice, [MQTT-3.1.1/3.8.4-3].
        RetainHandling::Send => RetainedDelivery::Always,
        // [MQTT-3.3.1-10]
        RetainHandling::SendIfNew => RetainedDelivery::WhenNew,
        // [MQTT-3.3.1-11]
        RetainHandling::DoNotSend => RetainedDelivery::Never,
    };
    SubscribeRequest {
        consumer: CONSUMER,
        share: target.share,
        filter: &target.filter,
        qos_max: options.qos_max,
        no_local: options.no_local,
        // [MQTT-3.3.1-12] [MQTT-3.3.1-13]; in 3.1.1 live messages never have the flag ([MQTT-3.1.1/3.3.1-9]).
        retain_as_published: options.retain_as_published && version == Version::V5,
        subscription_id,
        retained,
    }
}

fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}

fn unsubscribe(text: &str, broker: &mut dyn Broker) -> Verdict {
    match Target::parse(text) {
        Ok(Target { share, filter }) if broker.unsubscribe(CONSUMER, share, &filter) => {
            (ReasonCode::Success, "".into())
        }
        Ok(_) => (ReasonCode::NoSubscriptionExisted, "".into()),
        Err(error) => (ReasonCode::TopicFilterInvalid, error.to_string().into()),
    }
}
