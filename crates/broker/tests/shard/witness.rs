//! A connection that remembers what its deliveries carry, which the toys do not write.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;
use tidegate_protocol::{
    Authenticate, Close, Connection, Consume, ConsumerId, Context, Delivery, Encoded, Evidence, Output,
    Refusal, Refused, Reply, Settlement, Subscribe,
};
use tidegate_testkit::pair::World;
use tidegate_testkit::pair::toy::{filter, subscription};

/// What one delivery carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) payload: String,
    pub(crate) content_type: Option<String>,
    pub(crate) user: Vec<(String, String)>,
    pub(crate) expires_at: Option<Instant>,
}

/// Somebody who sees what is published to a filter.
pub(crate) struct Witness(Rc<RefCell<Vec<Seen>>>);

struct Machine {
    filter: &'static str,
    seen: Rc<RefCell<Vec<Seen>>>,
}

impl Witness {
    pub(crate) fn attach(world: &mut World, filter: &'static str) -> Witness {
        let seen = Rc::default();
        let link = world.connect(0, 0, Box::new(Machine { filter, seen: Rc::clone(&seen) }));
        world.send(&link, b"!");
        Witness(seen)
    }

    pub(crate) fn take(&self, world: &mut World) -> Vec<Seen> {
        world.run();
        std::mem::take(&mut self.0.borrow_mut())
    }
}

impl Connection for Machine {
    fn handle_bytes(&mut self, input: &[u8], context: &mut Context<'_>) -> Result<usize, Close> {
        let consumer = ConsumerId(1);
        let evidence = Evidence::Password { user: None, password: None };
        context.broker.authenticate(Authenticate { client_id: None, evidence });
        let consume = Consume { consumer, credit: 100, settlement: Settlement::Automatic };
        context.broker.consume(consume).unwrap();
        let filter = filter(self.filter);
        context.broker.subscribe(&Subscribe { consumer, ..subscription(&filter) }).unwrap();
        Ok(input.len())
    }

    fn handle_delivery(
        &mut self,
        delivery: &Delivery<'_>,
        _: &mut Encoded,
        _: &mut Output,
    ) -> Result<(), Refused> {
        let properties = delivery.properties.cloned().unwrap_or_default();
        let pair = |(name, value): &(Box<str>, Box<str>)| (name.to_string(), value.to_string());
        self.seen.borrow_mut().push(Seen {
            payload: String::from_utf8_lossy(delivery.payload).into_owned(),
            content_type: properties.content_type.map(String::from),
            user: properties.user.iter().map(pair).collect(),
            expires_at: delivery.expires_at,
        });
        Ok(())
    }

    fn handle_reply(&mut self, _: Reply, _: &mut Context<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn handle_answer(&mut self, _: Result<(), Refusal>, _: &mut Context<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn handle_timeout(&mut self, _: &mut Context<'_>) -> Result<(), Close> {
        Ok(())
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }

    fn handle_sign_of_life(&mut self, _: Instant) {}

    fn handle_close(&mut self, _: &Close, _: &mut Context<'_>) {}

    fn client_id(&self) -> Option<&str> {
        None
    }
}
