//! The keys of `kind = "byzantine"`, read by the table that the behaviours themselves are in.

use marlos::time::Span;

use super::fields::{Fields, Item, Read};
use super::nodes::Names;
use super::{NodeNo, ranges};
use crate::byzantine::settings::{Key, Setting, Takes};
use crate::byzantine::{BEHAVIOURS, Behaviour, Spec};

/// Which behaviour a fault names: it decides which keys are known, so it is read first.
pub(super) fn spec_of(fault: Item<'_>) -> Read<&'static Spec> {
    let names = BEHAVIOURS.map(|spec| spec.name);
    let Some((name, value)) = fault.table()?.get_key_value("behaviour") else {
        let message = "a `byzantine` fault has no `behaviour`";
        return Err(fault.problem(message, format!("one of {}", super::diagnostic::list(names.iter().copied()))));
    };
    let item = Item { name: name.get_ref().as_ref(), value };
    Ok(BEHAVIOURS[item.one_of(&names, &[])?])
}

/// The keys of a behaviour's fault, besides its times.
pub(super) fn keys_of(spec: &Spec) -> Vec<&'static str> {
    ["nodes", "behaviour"].into_iter().chain(spec.keys.iter().map(|key| key.name)).collect()
}

/// The behaviour with what is said at its keys.
pub(super) fn read(spec: &'static Spec, fields: &Fields<'_>, names: &Names) -> Read<Behaviour> {
    let setting = |key: &Key| fields.get(key.name).map_or(Ok(key.unless_said()), |item| setting(key, item, names));
    Ok(Behaviour::new(spec, spec.keys.iter().map(setting).collect::<Read<_>>()?))
}

fn setting(key: &Key, item: Item<'_>, names: &Names) -> Read<Setting> {
    Ok(match key.takes {
        Takes::Share(_) => Setting::Share(item.percentage()?),
        Takes::Duration(_, least, most) => Setting::Duration(item.duration(least..=most)?),
        Takes::Whole(_, least, most) => Setting::Whole(item.whole(least..=most)?),
        Takes::Choice(choices) => Setting::Choice(item.one_of(choices, &[])?),
        Takes::Nodes => Setting::Nodes(names.read_list(item)?),
    })
}

/// A setting as a file has it; nothing where leaving it out says the same and nothing else does.
pub(super) fn written(key: &Key, setting: &Setting) -> Option<String> {
    let list = |nodes: &[NodeNo]| ranges(nodes).iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    Some(match setting {
        Setting::Share(share) => super::write::percentage(*share),
        Setting::Duration(span) => quoted(*span),
        Setting::Whole(number) => number.to_string(),
        Setting::Choice(at) => match key.takes {
            Takes::Choice(names) => format!("\"{}\"", names[*at]),
            Takes::Share(_) | Takes::Duration(..) | Takes::Whole(..) | Takes::Nodes => {
                unreachable!("{} takes no choice", key.name)
            }
        },
        Setting::Nodes(nodes) if nodes.is_empty() => return None,
        Setting::Nodes(nodes) => format!("[{}]", list(nodes)),
    })
}

fn quoted(span: Span) -> String {
    format!("\"{span}\"")
}

/// What a key takes and what it is unless said, for people.
pub(crate) fn described(key: &Key) -> String {
    let unless = written(key, &key.unless_said()).unwrap_or_else(|| "all that the fault does not name".to_owned());
    match key.takes {
        Takes::Choice(names) => {
            format!("{}: {}; one of {}, unless said {unless}", key.name, key.what, names.join(", "))
        }
        Takes::Duration(_, least, most) => {
            format!("{}: {}; {least} to {most}, unless said {unless}", key.name, key.what)
        }
        Takes::Whole(_, least, most) => format!("{}: {}; {least} to {most}, unless said {unless}", key.name, key.what),
        Takes::Share(_) | Takes::Nodes => format!("{}: {}; unless said {unless}", key.name, key.what),
    }
}
