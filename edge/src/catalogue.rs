//! The table of features as `tickerml-edge features` lists it.

use std::fmt::{self, Write as _};

use serde::Serialize;
use tickerml_shared::features::{BLOCKS, Feature, Group, SELECTED, features};
use tickerml_shared::schema::schema_id;

/// Which rows of the table are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this group only.
    pub group: Option<Group>,
    /// Only what a model sees.
    pub selected: bool,
}

impl Filter {
    /// The rows, in the order of the table.
    pub fn rows(self) -> impl Iterator<Item = Feature> {
        features().filter(move |feature| {
            self.group.is_none_or(|group| group == feature.group)
                && (!self.selected || SELECTED.contains(&feature.place))
        })
    }
}

/// The group of that name.
///
/// # Errors
/// The names that exist.
pub fn group(name: &str) -> Result<Group, String> {
    let mut groups: Vec<Group> = BLOCKS.iter().map(|block| block.group).collect();
    groups.dedup();
    if let Some(group) = groups.iter().find(|group| group.name() == name) {
        return Ok(*group);
    }
    let names: Vec<_> = groups.into_iter().map(Group::name).collect();
    Err(format!(
        "{name:?} is no group of features; there are {}",
        names.join(", ")
    ))
}

/// Rows of the table.
#[derive(Clone, Debug, Serialize)]
pub struct Catalogue {
    /// The fingerprint of the whole table.
    pub schema_id: String,
    /// The rows.
    pub features: Vec<Entry>,
}

/// A row.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// Its place in the table.
    pub place: usize,
    /// Its name, with the timeframe behind it where there is one.
    pub name: String,
    /// Its unit.
    pub unit: &'static str,
    /// Its group.
    pub group: &'static str,
    /// The bars that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeframe: Option<&'static str>,
    /// Its parameters.
    pub parameters: &'static str,
    /// Where its definition comes from.
    pub source: &'static str,
    /// Its place in what a model sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected: Option<usize>,
}

impl Catalogue {
    /// These rows.
    #[must_use]
    pub fn new(filter: Filter) -> Self {
        let entry = |feature: Feature| Entry {
            place: feature.place,
            name: feature.to_string(),
            unit: feature.row.unit.name(),
            group: feature.group.name(),
            timeframe: feature.timeframe.map(|timeframe| timeframe.name()),
            parameters: feature.row.parameters,
            source: feature.row.source,
            selected: SELECTED.iter().position(|place| *place == feature.place),
        };
        Self {
            schema_id: schema_id().to_string(),
            features: filter.rows().map(entry).collect(),
        }
    }
}

/// Aligned columns.
impl fmt::Display for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = [
            "place",
            "feature",
            "unit",
            "group",
            "s",
            "parameters",
            "source",
        ];
        let mut lines = vec![head.map(str::to_owned)];
        for one in &self.features {
            lines.push([
                one.place.to_string(),
                one.name.clone(),
                one.unit.to_owned(),
                one.group.to_owned(),
                one.selected.map_or("", |_| "*").to_owned(),
                one.parameters.to_owned(),
                one.source.to_owned(),
            ]);
        }
        let widths: Vec<usize> = (0..head.len())
            .map(|column| lines.iter().map(|line| line[column].chars().count()).max())
            .map(Option::unwrap_or_default)
            .collect();
        for line in lines {
            let mut text = String::new();
            for (cell, width) in line.iter().zip(&widths) {
                write!(text, "{cell:width$}  ")?;
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        writeln!(
            f,
            "{} features; *: a model sees it ({} of them)",
            self.features.len(),
            self.features
                .iter()
                .filter(|one| one.selected.is_some())
                .count()
        )?;
        write!(f, "schema {}", self.schema_id)
    }
}
