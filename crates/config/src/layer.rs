//! One layer of settings (defaults, file, environment, flags) and how the layers become one.
//!
//! The merging itself is the `config` crate's. It replaces lists as a whole, which would forbid to change one field of one
//! listener from the environment; therefore lists of tables travel as tables keyed by their index and become lists again after
//! the merge.

use config::{Config as Merged, ConfigError, Map, Source, Value, ValueKind};

use crate::setting::{Kind, Section};
use crate::value::plain;

/// The settings of one layer as a tree.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer {
    pub(crate) root: Map<String, Value>,
}

impl Layer {
    /// Sets a value; the tables on the way are made.
    pub(crate) fn set(&mut self, route: &[String], value: Value) {
        set(&mut self.root, route, value);
    }
}

fn set(map: &mut Map<String, Value>, route: &[String], value: Value) {
    let Some((key, rest)) = route.split_first() else { return };
    if rest.is_empty() {
        map.insert(key.clone(), value);
        return;
    }
    let child = map.entry(key.clone()).or_insert_with(|| plain(Map::<String, Value>::new()));
    if let ValueKind::Table(child) = &mut child.kind {
        set(child, rest, value);
    }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.root.clone())
    }
}

/// The key under which the table number `index` of a list travels. Padded, so that the order of keys is the order of numbers.
pub(crate) fn index_key(index: usize) -> String {
    format!("{index:08}")
}

/// Merges the layers, the strongest last.
pub(crate) fn merge(layers: Vec<Layer>, section: &Section) -> Result<Value, ConfigError> {
    let mut builder = Merged::builder();
    for layer in layers {
        builder = builder.add_source(layer);
    }
    let mut root = builder.build()?.collect()?;
    restore_lists(section, &mut root);
    Ok(plain(root))
}

fn restore_lists(section: &Section, map: &mut Map<String, Value>) {
    for setting in section.settings {
        let Some(value) = map.get_mut(setting.key) else { continue };
        let ValueKind::Table(table) = &mut value.kind else { continue };
        match setting.kind {
            Kind::Table(section) => restore_lists(section, table),
            Kind::Tables(section) => {
                let mut items: Vec<(String, Value)> = table.drain().collect();
                items.sort_by(|one, other| one.0.cmp(&other.0));
                for (_, item) in &mut items {
                    if let ValueKind::Table(item) = &mut item.kind {
                        restore_lists(section, item);
                    }
                }
                *value = plain(items.into_iter().map(|(_, item)| item).collect::<Vec<Value>>());
            }
            _ => {}
        }
    }
}
