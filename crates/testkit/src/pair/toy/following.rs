//! How toys follow replay rings.

use super::{Toy, World, filter};
use tidegate_message::QoS;
use tidegate_protocol::{Consume, ConsumerId, Follow, Following, Refusal, Settlement, StateDelivery};

impl Toy {
    /// Lets a new consumer follow a replay ring from now on, or from a token, with the retained state; credit for 10 deliveries.
    pub fn follow(
        &self,
        world: &mut World,
        consumer: u32,
        text: &str,
        from: Option<&str>,
    ) -> Result<Following, Refusal> {
        self.follow_with(world, consumer, text, from, |_, _| {})
    }

    /// The same with options.
    pub fn follow_with(
        &self,
        world: &mut World,
        consumer: u32,
        text: &str,
        from: Option<&str>,
        options: impl FnOnce(&mut Consume, &mut Follow<'_>) + 'static,
    ) -> Result<Following, Refusal> {
        let (filter, from, consumer) = (filter(text), from.map(str::to_owned), ConsumerId(consumer));
        self.ask(world, move |broker| {
            let mut consume = Consume { consumer, credit: 10, settlement: Settlement::Automatic };
            let (qos_max, state) = (QoS::ExactlyOnce, StateDelivery::Retained);
            let mut follow = Follow { consumer, filter: &filter, qos_max, state, from: from.as_deref() };
            options(&mut consume, &mut follow);
            broker.consume(consume)?;
            broker.follow(&follow)
        })
    }
}
