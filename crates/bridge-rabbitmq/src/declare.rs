//! What a bridge makes at RabbitMQ before it is used: exchanges, then queues, then what leads from the ones to the others.
//!
//! To declare something that is there as described changes nothing; something that is there otherwise is an error, which an operator
//! has to look at.

use crate::options::{Argument, Binding, Declarations, Exchange, Queue};
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use tidegate_bridge::Lost;

use crate::refusal::lost;

/// Declares everything, on a channel of its own that is closed again.
pub(crate) async fn declare(connection: &Connection, declarations: &Declarations) -> Result<(), Lost> {
    if *declarations == Declarations::default() {
        return Ok(());
    }
    let channel = connection.create_channel().await.map_err(|error| lost(&error))?;
    for exchange in &declarations.exchanges {
        declare_exchange(&channel, exchange).await?;
    }
    for queue in &declarations.queues {
        declare_queue(&channel, queue).await?;
    }
    for binding in &declarations.bindings {
        bind(&channel, binding).await?;
    }
    channel.close(200, ShortString::default()).await.map_err(|error| lost(&error))
}

async fn declare_exchange(channel: &Channel, exchange: &Exchange) -> Result<(), Lost> {
    let options = ExchangeDeclareOptions { durable: exchange.durable, ..ExchangeDeclareOptions::default() };
    let kind = ExchangeKind::Custom(short(&exchange.kind)?.to_string());
    let declaring =
        channel.exchange_declare(short(&exchange.name)?, kind, options, table(&exchange.arguments)?);
    declaring.await.map_err(|error| lost(&error))
}

async fn declare_queue(channel: &Channel, queue: &Queue) -> Result<(), Lost> {
    let options = QueueDeclareOptions { durable: queue.durable, ..QueueDeclareOptions::default() };
    let declaring = channel.queue_declare(short(&queue.name)?, options, table(&queue.arguments)?);
    declaring.await.map(drop).map_err(|error| lost(&error))
}

async fn bind(channel: &Channel, binding: &Binding) -> Result<(), Lost> {
    let (queue, exchange) = (short(&binding.queue)?, short(&binding.exchange)?);
    let arguments = table(&binding.arguments)?;
    let key = short(&binding.routing_key)?;
    let binding = channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), arguments);
    binding.await.map_err(|error| lost(&error))
}

fn table(arguments: &[(String, Argument)]) -> Result<FieldTable, Lost> {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
            Argument::Flag(flag) => AMQPValue::Boolean(*flag),
        };
        table.insert(short(name)?, value);
    }
    Ok(table)
}

/// A name that fits; the library would panic at one that does not.
pub(crate) fn short(name: &str) -> Result<ShortString, Lost> {
    ShortString::try_new(name)
        .map_err(|_| Lost::Refused(format!("the name `{name}` has more than 255 bytes")))
}
