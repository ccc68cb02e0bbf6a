//! The access rules of the configuration, as the broker takes them.

use std::sync::Arc;
use tidegate_broker::{AccessRule, AccessRules, Permission, RuleAction, Who};
use tidegate_config::Access;
use tidegate_message::{PatternError, TopicPattern};

/// The rules; nothing where the file has none, and then everything is allowed.
pub(crate) fn access_rules(access: &Access) -> Result<Option<Arc<AccessRules>>, PatternError> {
    let rules = access.rules.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
    Ok((!rules.is_empty()).then(|| Arc::new(AccessRules::new(rules))))
}

fn rule(written: &tidegate_config::AccessRule) -> Result<AccessRule, PatternError> {
    let boxed = |names: &[String]| names.iter().map(|name| Box::from(name.as_str())).collect();
    Ok(AccessRule {
        permission: match written.permission {
            tidegate_config::Permission::Allow => Permission::Allow,
            tidegate_config::Permission::Deny => Permission::Deny,
        },
        action: match written.action {
            tidegate_config::RuleAction::Publish => RuleAction::Publish,
            tidegate_config::RuleAction::Subscribe => RuleAction::Subscribe,
            tidegate_config::RuleAction::All => RuleAction::All,
        },
        topics: written.topics.iter().map(|text| TopicPattern::parse(text)).collect::<Result<_, _>>()?,
        who: Who {
            users: boxed(&written.users),
            anonymous: written.anonymous,
            client_ids: boxed(&written.clients),
            listeners: boxed(&written.listeners),
        },
    })
}
