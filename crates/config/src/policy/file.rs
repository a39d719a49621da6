//! The file as it is written; nothing in it is passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// By scope.
pub(super) type Scopes = Unique<Requirements>;

/// A whole policy.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Contents {
    pub(super) default: Requirements,
    #[serde(default)]
    transports: Unique<Scopes>,
}

impl Contents {
    pub(super) fn transport(&self, name: &str) -> Option<&BTreeMap<String, Requirements>> {
        self.transports.0.get(name).map(|scopes| &scopes.0)
    }
}

/// One requirement; the fields of those that are not verified are taken as they are.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub(super) enum Requirement {
    InsecureAcceptAnything(NoFields),
    Reject(NoFields),
    SignedBy(Value),
    SignedBaseLayer(Value),
    SigstoreSigned(Value),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFields {}

impl Requirement {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::InsecureAcceptAnything(_) => "insecureAcceptAnything",
            Self::Reject(_) => "reject",
            Self::SignedBy(_) => "signedBy",
            Self::SignedBaseLayer(_) => "signedBaseLayer",
            Self::SigstoreSigned(_) => "sigstoreSigned",
        }
    }
}

/// At least one: no requirement at all is no decision.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Vec<Requirement>")]
pub(super) struct Requirements(Vec<Requirement>);

impl TryFrom<Vec<Requirement>> for Requirements {
    type Error = &'static str;

    fn try_from(requirements: Vec<Requirement>) -> Result<Self, Self::Error> {
        if requirements.is_empty() {
            return Err("a list of requirements is empty");
        }
        Ok(Self(requirements))
    }
}

impl std::ops::Deref for Requirements {
    type Target = [Requirement];

    fn deref(&self) -> &[Requirement] {
        &self.0
    }
}

/// A map in which no key stands twice: the other one might have meant the opposite.
#[derive(Debug, Clone)]
pub(super) struct Unique<T>(BTreeMap<String, T>);

impl<T> Default for Unique<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Unique<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueVisitor(PhantomData))
    }
}

struct UniqueVisitor<T>(PhantomData<T>);

impl<'de, T: DeserializeOwned> Visitor<'de> for UniqueVisitor<T> {
    type Value = Unique<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique<T>, A::Error> {
        let mut unique = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, T>()? {
            if unique.contains_key(&key) {
                return Err(A::Error::custom(format_args!("{key:?} stands there twice")));
            }
            unique.insert(key, value);
        }
        Ok(Unique(unique))
    }
}
