//! Every row there is.

mod ceilings;
mod edge;
mod memory;
mod redis;
mod reload;

use crate::row::Group;

/// All groups, in the order in which they run.
#[must_use]
pub fn all() -> Vec<Group> {
    let mut groups = memory::groups();
    groups.extend(redis::groups());
    groups.extend(reload::groups());
    groups.push(edge::group());
    groups.push(ceilings::group());
    groups
}
