//! Golden files: one for every schema of every type, and what each must decode to.

use kisum_events::{AnyEvent, DecodeError, Encoded, Event};
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

/// One golden file: what the log has stored since the schema exists.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Golden {
    pub(crate) r#type: String,
    pub(crate) schema: u16,
    pub(crate) effect: String,
    pub(crate) data: Box<RawValue>,
    pub(crate) sealed: Option<Map<String, Value>>,
    /// In a schema that is not the newest: the stored parts of the event that it is read as today.
    becomes: Option<Becomes>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Becomes {
    data: Box<RawValue>,
    sealed: Option<Map<String, Value>>,
}

/// Type, schema, effect and stored parts of an event.
pub(crate) struct Written {
    pub(crate) event_type: &'static str,
    pub(crate) schema: u16,
    pub(crate) effect: &'static str,
    pub(crate) parts: Encoded,
}

impl Written {
    pub(crate) fn of<E: Event>(event: &E) -> Self {
        Self {
            event_type: event.event_type(),
            schema: event.schema(),
            effect: event.effect().name(),
            parts: event.encode().unwrap_or_else(|error| panic!("{}: {error}", event.event_type())),
        }
    }

    pub(crate) fn of_any(event: &AnyEvent) -> Self {
        match event {
            AnyEvent::User(event) => Self::of(event),
            AnyEvent::Session(event) => Self::of(event),
            AnyEvent::Company(event) => Self::of(event),
            AnyEvent::Membership(event) => Self::of(event),
            AnyEvent::Module(event) => Self::of(event),
            AnyEvent::Package(event) => Self::of(event),
            AnyEvent::Addon(event) => Self::of(event),
            AnyEvent::Subscription(event) => Self::of(event),
            AnyEvent::Log(event) => Self::of(event),
            AnyEvent::Keyring(event) => Self::of(event),
            AnyEvent::Staff(event) => Self::of(event),
            AnyEvent::Signin(event) => Self::of(event),
            AnyEvent::Invitation(event) => Self::of(event),
            AnyEvent::Role(event) => Self::of(event),
            AnyEvent::Delegation(event) => Self::of(event),
        }
    }
}

/// Reads what a golden file holds, with the sealed part or without, and writes it again.
type Reread = fn(&Golden, Option<&Map<String, Value>>) -> Result<Written, DecodeError>;

/// Types with their newest schemas, and the folder with their golden files.
pub(crate) struct Catalogue {
    pub(crate) folder: PathBuf,
    pub(crate) types: BTreeMap<&'static str, u16>,
    pub(crate) reread: Reread,
}

impl Catalogue {
    /// The file of the newest schema of a type.
    pub(crate) fn newest(&self, event_type: &str) -> Golden {
        let newest = self.types.get(event_type).unwrap_or_else(|| panic!("{event_type} is no type"));
        self.read(&file_name(event_type, *newest)).unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// Everything that is not as it must be; each line names a file.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut left: BTreeSet<String> = fs::read_dir(&self.folder)
            .unwrap_or_else(|error| panic!("{}: {error}", self.folder.display()))
            .map(|entry| entry.unwrap_or_else(|error| panic!("{error}")).file_name().to_string_lossy().into_owned())
            .collect();
        for (event_type, newest) in &self.types {
            for schema in 1..=*newest {
                let file = file_name(event_type, schema);
                left.remove(&file);
                if let Err(fault) = self.read(&file).and_then(|golden| self.check(&golden, event_type, schema)) {
                    faults.push(format!("{file}: {fault}"));
                }
            }
        }
        faults.extend(left.into_iter().map(|file| format!("{file}: is left over")));
        faults
    }

    fn read(&self, file: &str) -> Result<Golden, String> {
        let text = fs::read_to_string(self.folder.join(file)).map_err(|error| error.to_string())?;
        serde_json::from_str(&text).map_err(|error| error.to_string())
    }

    fn check(&self, golden: &Golden, event_type: &str, schema: u16) -> Result<(), String> {
        let newest = self.types.get(event_type).copied().unwrap_or_default();
        if (golden.r#type.as_str(), golden.schema) != (event_type, schema) {
            return Err(format!("is of type '{}' and schema {}", golden.r#type, golden.schema));
        }
        // As the bus carries it: whatever an upcaster moves, it may not require what is sealed.
        let public = (self.reread)(golden, None).map_err(|error| format!("without its sealed part: {error}"))?;
        let whole = (self.reread)(golden, golden.sealed.as_ref()).map_err(|error| error.to_string())?;
        for written in [&public, &whole] {
            if (written.event_type, written.schema) != (event_type, newest) {
                return Err(format!("is read as '{}' of schema {}", written.event_type, written.schema));
            }
        }
        let (data, sealed) = match &golden.becomes {
            None if schema == newest => (&golden.data, &golden.sealed),
            Some(becomes) if schema < newest => (&becomes.data, &becomes.sealed),
            None => return Err("does not say what it becomes".to_owned()),
            Some(_) => return Err("is of the newest schema, which becomes nothing else".to_owned()),
        };
        if (whole.parts.data.as_str(), &whole.parts.sealed) != (data.get(), sealed) {
            return Err(format!("becomes {} with {:?}", whole.parts.data, whole.parts.sealed));
        }
        Ok(())
    }
}

fn file_name(event_type: &str, schema: u16) -> String {
    match schema {
        1 => format!("{event_type}.json"),
        later => format!("{event_type}.v{later}.json"),
    }
}
