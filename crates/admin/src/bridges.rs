//! What the bridges of a gateway tell of themselves: asked for metrics and for `GET /bridges`.

use std::fmt;
use std::sync::Arc;
use tidegate_bridge::BridgeReports;
use tidegate_broker::Node;

type Tell = dyn Fn(&Node) -> BridgeReports + Send + Sync;

/// Whom to ask about the bridges of a node. It must not wait: it is asked on the thread of the HTTP port.
#[derive(Clone)]
pub struct BridgeSource(Arc<Tell>);

impl BridgeSource {
    /// Asks this.
    pub fn new(tell: impl Fn(&Node) -> BridgeReports + Send + Sync + 'static) -> BridgeSource {
        BridgeSource(Arc::new(tell))
    }

    pub(crate) fn reports(&self, node: &Node) -> BridgeReports {
        (self.0)(node)
    }
}

impl Default for BridgeSource {
    /// There are no bridges.
    fn default() -> BridgeSource {
        BridgeSource::new(|_| BridgeReports::default())
    }
}

impl fmt::Debug for BridgeSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BridgeSource")
    }
}
