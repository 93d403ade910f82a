//! Values that are written in more than one way: sizes, allow lists, and everything as an environment variable.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, de};

use super::address::BootstrapPeer;
use crate::config::{Codec, Election};
use crate::id::NodeId;
use crate::time::Span;
use crate::units::Tokens;

/// A number of bytes: `65536`, `"64KiB"`, `"512MiB"`, `"1GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl std::str::FromStr for ByteSize {
    type Err = String;
    fn from_str(text: &str) -> Result<ByteSize, String> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let factor: u64 = match unit.trim() {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            other => return Err(format!("`{other}` is no unit of size: B, KiB, MiB, GiB, kB, MB or GB")),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
            .map(ByteSize)
            .ok_or_else(|| format!("`{text}` is not a size such as 65536 or \"512MiB\""))
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = ByteSize;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number of bytes, or a size such as \"512MiB\"")
            }
            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }
            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<ByteSize, E> {
                u64::try_from(bytes).map(ByteSize).map_err(|_| E::custom("a size cannot be negative"))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Which programs shell jobs may run.
///
/// A list names programs: a job's command is then split into words without a shell, and its first word must be one of the
/// list, letter by letter. A name without `/` is looked up in `/usr/bin:/bin`; a path is taken as it is. `"*"` instead of a
/// list allows everything, and commands are run by `/bin/sh -c`. An allowed interpreter (`sh`, `python3`, `env`) allows
/// everything, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allow {
    /// Nothing: no shell jobs here.
    #[default]
    Nobody,
    /// These programs.
    Programs(Vec<String>),
    /// Everything, through a shell.
    Everything,
}

impl Allow {
    /// Whether there are no shell jobs here.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        *self == Allow::Nobody
    }

    fn from_list(programs: Vec<String>) -> Result<Allow, String> {
        if programs.iter().any(|p| p == "*") {
            return if programs.len() == 1 {
                Ok(Allow::Everything)
            } else {
                Err("`*` allows everything and stands alone".to_owned())
            };
        }
        if let Some(bad) = programs.iter().find(|p| p.is_empty() || p.contains(char::is_whitespace)) {
            return Err(format!("`{bad}` is not the name or path of a program"));
        }
        Ok(if programs.is_empty() { Allow::Nobody } else { Allow::Programs(programs) })
    }
}

impl<'de> Deserialize<'de> for Allow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Allow, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Allow;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of programs, or \"*\" for all")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Allow, E> {
                match text {
                    "*" => Ok(Allow::Everything),
                    _ => Err(E::custom(format!("`{text}` is neither a list of programs nor \"*\""))),
                }
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Allow, A::Error> {
                let mut programs = Vec::new();
                while let Some(program) = list.next_element()? {
                    programs.push(program);
                }
                Allow::from_list(programs).map_err(de::Error::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A value from the text of an environment variable.
pub trait FromText: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the text.
    fn from_text(text: &str) -> Result<Self, String>;
}

macro_rules! by_from_str {
    ($($type:ty),*) => {$(
        impl FromText for $type {
            fn from_text(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|e| format!("{e}"))
            }
        }
    )*};
}
by_from_str!(u16, u32, bool, IpAddr, SocketAddr, ByteSize, NodeId, BootstrapPeer);

impl FromText for String {
    fn from_text(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }
}

impl FromText for PathBuf {
    fn from_text(text: &str) -> Result<PathBuf, String> {
        Ok(text.into())
    }
}

impl FromText for Span {
    /// With a unit, or a number of seconds.
    fn from_text(text: &str) -> Result<Span, String> {
        match text.trim() {
            number if number.ends_with(|c: char| c.is_ascii_digit()) => Span::parse(&format!("{number}s")),
            with_unit => Span::parse(with_unit),
        }
    }
}

impl FromText for Tokens {
    fn from_text(text: &str) -> Result<Tokens, String> {
        let number = crate::units::parse_millionths(text.trim()).map(Tokens);
        number.ok_or_else(|| "not a number of at most six decimals, not negative".to_owned())
    }
}

macro_rules! by_name {
    ($($type:ty),*) => {$(
        impl FromText for $type {
            fn from_text(text: &str) -> Result<Self, String> {
                let name = de::value::StrDeserializer::<de::value::Error>::new(text.trim());
                <$type>::deserialize(name).map_err(|e| e.to_string())
            }
        }
    )*};
}
by_name!(Codec, Election);

impl<T: FromText> FromText for Option<T> {
    fn from_text(text: &str) -> Result<Option<T>, String> {
        T::from_text(text).map(Some)
    }
}

impl<T: FromText> FromText for Vec<T> {
    /// Separated by commas; the brackets that the file would have are allowed.
    fn from_text(text: &str) -> Result<Vec<T>, String> {
        let text = text.trim();
        let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        inner.split(',').map(str::trim).filter(|item| !item.is_empty()).map(T::from_text).collect()
    }
}

impl FromText for Allow {
    fn from_text(text: &str) -> Result<Allow, String> {
        Allow::from_list(Vec::from_text(text)?)
    }
}
