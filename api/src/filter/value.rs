//! JSON as values of CEL: cheap to clone, borrowed from the event's bytes, and on the meter.

use std::sync::Arc;

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator, Sizer};
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelNull, CelString, CelUInt, Kind, LIST_TYPE, MAP_TYPE, Type,
};
use cel::common::value::{CowVal, Val};

use super::meter::Meter;

/// A JSON value.
#[derive(Clone, Debug)]
pub(super) enum Node<'v> {
    Null(CelNull),
    Bool(CelBool),
    Int(CelInt),
    Double(CelDouble),
    Text(CelString<'v>),
    List(List<'v>),
    Map(Map<'v>),
}

impl<'v> Node<'v> {
    pub(super) fn as_val<'w>(&self) -> &(dyn Val + 'w)
    where
        'v: 'w,
    {
        match self {
            Self::Null(value) => value,
            Self::Bool(value) => value,
            Self::Int(value) => value,
            Self::Double(value) => value,
            Self::Text(value) => value,
            Self::List(value) => value,
            Self::Map(value) => value,
        }
    }
}

/// A JSON array.
#[derive(Clone, Debug)]
pub(super) struct List<'v> {
    pub(super) items: Arc<[Node<'v>]>,
    pub(super) meter: &'v Meter,
}

/// A JSON object: its members in the order of their names, each name once.
#[derive(Clone, Debug)]
pub(super) struct Map<'v> {
    members: Arc<[(CelString<'v>, Node<'v>)]>,
    meter: &'v Meter,
}

impl<'v> Map<'v> {
    /// Of names that are repeated the last one counts, as in JavaScript.
    pub(super) fn new(mut members: Vec<(CelString<'v>, Node<'v>)>, meter: &'v Meter) -> Self {
        members.reverse();
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        members.dedup_by(|(later, _), (kept, _)| later == kept);
        Self { members: members.into(), meter }
    }

    fn find(&self, name: &str) -> Option<&Node<'v>> {
        let place = self.members.binary_search_by(|(key, _)| key.inner().cmp(name)).ok()?;
        Some(&self.members[place].1)
    }
}

/// What lists and maps have in common: everything but how they are looked into.
macro_rules! container {
    ($name:ident, $type:ident, $len:ident) => {
        impl Val for $name<'_> {
            fn get_type(&self) -> &Type {
                &$type
            }
            fn cel_type() -> &'static Type {
                &$type
            }
            fn as_container(&self) -> Option<&dyn Container> {
                Some(self)
            }
            fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
            where
                Self: 'w,
            {
                Some(self)
            }
            fn as_iterable<'b, 'w>(&'b self) -> Option<&'b (dyn Iterable + 'w)>
            where
                Self: 'w,
            {
                Some(self)
            }
            fn as_sizer(&self) -> Option<&dyn Sizer> {
                Some(self)
            }
            fn equals(&self, other: &dyn Val) -> bool {
                self.is_same(other)
            }
            fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
            where
                Self: 'w,
            {
                Box::new(self.clone())
            }
        }

        impl Sizer for $name<'_> {
            fn size(&self) -> CelInt {
                (self.$len.len() as i64).into()
            }
        }
    };
}

container!(List, LIST_TYPE, items);
container!(Map, MAP_TYPE, members);

impl List<'_> {
    fn is_same(&self, other: &dyn Val) -> bool {
        let (Kind::List, Some(items)) = (other.get_type().kind(), other.as_iterable()) else { return false };
        let mut others = items.iter();
        let same = self.items.iter().all(|item| {
            self.meter.charge(1) && others.next().is_some_and(|other| item.as_val().equals(other))
        });
        same && others.next().is_none()
    }
}

impl Map<'_> {
    fn is_same(&self, other: &dyn Val) -> bool {
        let (Kind::Map, Some(members), Some(sizer)) =
            (other.get_type().kind(), other.as_indexer(), other.as_sizer())
        else {
            return false;
        };
        let same = |(name, value): &(CelString<'_>, Node<'_>)| {
            self.meter.charge(1) && members.get(name).is_ok_and(|other| value.as_val().equals(other.as_ref()))
        };
        sizer.size() == self.size() && self.members.iter().all(same)
    }
}

impl Container for List<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.items.iter().any(|item| self.meter.charge(1) && item.as_val().equals(value)))
    }
}

impl Container for Map<'_> {
    fn contains(&self, key: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(key.downcast_ref::<CelString>().is_some_and(|name| self.find(name.inner()).is_some()))
    }
}

impl Indexer for List<'_> {
    fn get<'b, 'w>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        let place = place_of(index)?;
        let item = place.and_then(|place| self.items.get(place));
        item.map(|item| CowVal::Borrowed(item.as_val())).ok_or_else(|| ExecutionError::no_such_key("index"))
    }

    fn steal<'w>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'w>, ExecutionError>
    where
        Self: 'w,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

/// The place that a number names, where it can name one.
fn place_of(index: &dyn Val) -> Result<Option<usize>, ExecutionError> {
    if let Some(index) = index.downcast_ref::<CelInt>() {
        return Ok(usize::try_from(*index.inner()).ok());
    }
    if let Some(index) = index.downcast_ref::<CelUInt>() {
        return Ok(usize::try_from(*index.inner()).ok());
    }
    let got = index.get_type().name().to_owned();
    Err(ExecutionError::UnexpectedType { got, want: "int".to_owned() })
}

impl Indexer for Map<'_> {
    fn get<'b, 'w>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        let Some(name) = key.downcast_ref::<CelString>() else {
            let got = key.get_type().name().to_owned();
            return Err(ExecutionError::UnexpectedType { got, want: "string".to_owned() });
        };
        let value = self.find(name.inner()).ok_or_else(|| ExecutionError::no_such_key(name.inner()))?;
        Ok(CowVal::Borrowed(value.as_val()))
    }

    fn steal<'w>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'w>, ExecutionError>
    where
        Self: 'w,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

impl Iterable for List<'_> {
    fn iter<'b, 'w>(&'b self) -> Box<dyn Iterator<'b, 'w> + 'b>
    where
        Self: 'w,
    {
        Box::new(Turns { rest: self.items.iter(), meter: self.meter })
    }
}

impl Iterable for Map<'_> {
    fn iter<'b, 'w>(&'b self) -> Box<dyn Iterator<'b, 'w> + 'b>
    where
        Self: 'w,
    {
        Box::new(Turns { rest: self.members.iter(), meter: self.meter })
    }
}

/// The turns of a loop. They end early when the budget is spent, and then nothing that came out of them counts.
struct Turns<'b, T> {
    rest: std::slice::Iter<'b, T>,
    meter: &'b Meter,
}

impl<'b, T> Turns<'b, T> {
    fn turn(&mut self) -> Option<&'b T> {
        let next = self.rest.next()?;
        self.meter.charge_turn().then_some(next)
    }
}

impl<'b, 'v: 'w, 'w> Iterator<'b, 'w> for Turns<'b, Node<'v>> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'w)> {
        self.turn().map(Node::as_val)
    }
}

impl<'b, 'v: 'w, 'w> Iterator<'b, 'w> for Turns<'b, (CelString<'v>, Node<'v>)> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'w)> {
        self.turn().map(|(name, _)| -> &'b (dyn Val + 'w) { name })
    }
}
