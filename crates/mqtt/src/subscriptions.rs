//! SUBSCRIBE and UNSUBSCRIBE: each filter is asked for by itself and answered by itself (MQTT 5.0 sections 3.8 and 3.10).
//!
//! A filter that is none (a wildcard in the wrong place, no characters at all) is refused in its place of the SUBACK and does
//! not end the connection: the other filters of the packet are good, and a client that sees which one failed can be mended.

use crate::CONSUMER;
use crate::codec::{
    ReasonCode, RetainHandling, Subscribe, SubscribeFilter, SubscriptionOptions, Unsubscribe,
    UnsubscribeFilters, Version,
};
use crate::reason::of_subscribe;
use crate::wire::Wire;
use smallvec::SmallVec;
use tidegate_message::{QoS, TopicFilter};
use tidegate_protocol::{Broker, Close, Context, RetainedDelivery, Subscribe as SubscribeRequest};

/// The reason codes of one answer; most packets have few filters.
type Reasons = SmallVec<[ReasonCode; 8]>;

/// What a filter of a shared subscription begins with (section 4.8.2).
const SHARED: &str = "$share/";

/// SUBSCRIBE. The retained messages follow the SUBACK, because deliveries begin when the machine has returned.
pub(crate) fn handle_subscribe(
    packet: &Subscribe<'_>,
    wire: &Wire,
    context: &mut Context<'_>,
) -> Result<(), Close> {
    let subscription_id = packet.properties.subscription_identifier();
    let subscribe = |asked: SubscribeFilter<'_>| {
        let reason = subscribe(&asked, subscription_id, wire.version, context.broker);
        // MQTT 3.1 sections 3.8 and 3.9: it has no word for a refusal, and the client is to be answered as if all were well.
        match wire.version == Version::V31 && reason.is_failure() {
            true => granted(asked.options.qos_max),
            false => reason,
        }
    };
    // [MQTT-3.8.4-5] [MQTT-3.8.4-6]
    let reasons: Reasons = packet.filters.iter().map(subscribe).collect();
    wire.suback(packet.packet_id, &reasons, context.output)
}

/// UNSUBSCRIBE.
pub(crate) fn handle_unsubscribe(
    packet: &Unsubscribe<'_>,
    wire: &Wire,
    context: &mut Context<'_>,
) -> Result<(), Close> {
    let reasons = unsubscribe_all(packet.filters, context.broker);
    // [MQTT-3.10.4-4] [MQTT-3.10.4-6]
    wire.unsuback(packet.packet_id, &reasons, context.output)
}

/// SUBSCRIBE, where nothing of it can be done.
pub(crate) fn refuse_subscribe(
    packet: &Subscribe<'_>,
    reason: ReasonCode,
    wire: &Wire,
    context: &mut Context<'_>,
) -> Result<(), Close> {
    let reasons: Reasons = packet.filters.iter().map(|_| reason).collect();
    wire.suback(packet.packet_id, &reasons, context.output)
}

/// UNSUBSCRIBE, where nothing of it can be done.
pub(crate) fn refuse_unsubscribe(
    packet: &Unsubscribe<'_>,
    reason: ReasonCode,
    wire: &Wire,
    context: &mut Context<'_>,
) -> Result<(), Close> {
    let reasons: Reasons = packet.filters.iter().map(|_| reason).collect();
    wire.unsuback(packet.packet_id, &reasons, context.output)
}

fn subscribe(
    asked: &SubscribeFilter<'_>,
    subscription_id: Option<u32>,
    version: Version,
    broker: &mut dyn Broker,
) -> ReasonCode {
    // Shared subscriptions do not exist here, which the CONNACK says as well (section 3.2.2.3.13).
    if asked.filter.starts_with(SHARED) {
        return ReasonCode::SharedSubscriptionsNotSupported;
    }
    // [MQTT-4.7.1-1] [MQTT-4.7.1-2] [MQTT-4.7.3-1]
    let Ok(filter) = TopicFilter::parse_mqtt(asked.filter.as_bytes()) else {
        return ReasonCode::TopicFilterInvalid;
    };
    match broker.subscribe(&request(&filter, asked.options, subscription_id, version)) {
        // [MQTT-3.8.4-7]: the level that was asked for is granted.
        Ok(_) => granted(asked.options.qos_max),
        Err(refusal) => of_subscribe(refusal),
    }
}

fn request(
    filter: &TopicFilter,
    options: SubscriptionOptions,
    subscription_id: Option<u32>,
    version: Version,
) -> SubscribeRequest<'_> {
    let retained = match options.retain_handling {
        // [MQTT-3.3.1-9]; in 3.1.1, which has no choice, [MQTT-3.1.1/3.8.4-3].
        RetainHandling::Send => RetainedDelivery::Always,
        // [MQTT-3.3.1-10]
        RetainHandling::SendIfNew => RetainedDelivery::WhenNew,
        // [MQTT-3.3.1-11]
        RetainHandling::DoNotSend => RetainedDelivery::Never,
    };
    SubscribeRequest {
        consumer: CONSUMER,
        share: None,
        filter,
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

fn unsubscribe_all(filters: UnsubscribeFilters<'_>, broker: &mut dyn Broker) -> Reasons {
    let unsubscribe = |text: &str| match TopicFilter::parse_mqtt(text.as_bytes()) {
        Ok(filter) if broker.unsubscribe(CONSUMER, None, &filter) => ReasonCode::Success,
        Ok(_) => ReasonCode::NoSubscriptionExisted,
        Err(_) => ReasonCode::TopicFilterInvalid,
    };
    filters.iter().map(unsubscribe).collect()
}
