//! Tables for people: columns as wide as what stands in them.

/// A table with these heads.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heads: &[&str]) -> Self {
        Self { rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
    }

    /// Adds a row. What others chose is printed so that a terminal takes no orders from it.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        let plain = |cell: &str| match cell {
            "" => "-".to_owned(),
            cell => cell.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\""),
        };
        self.rows.push(cells.into_iter().map(|cell| plain(cell.as_ref())).collect());
    }

    /// The table, or `otherwise` if it has no rows.
    pub(super) fn or(self, otherwise: &str) -> String {
        if self.rows.len() < 2 {
            return otherwise.to_owned();
        }
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> =
            (0..columns).map(|column| cells(column).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
        let line = |row: &Vec<String>| {
            let cells: String = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect();
            format!("{}\n", cells.trim_end())
        };
        self.rows.iter().map(line).collect()
    }
}

/// A digest, as far as people need it.
pub(super) fn short(digest: &str) -> String {
    let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
    digest.chars().take(12).collect()
}
