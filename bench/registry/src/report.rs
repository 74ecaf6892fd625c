//! Tables and bars for people.

/// Prints a table: the first column to the left, the others to the right.
pub fn print_table(header: &[&str], rows: &[Vec<String>]) {
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&header).chain(rows).collect();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..header.len()).map(|column| width(column).unwrap_or(0)).collect();
    for line in lines {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            text += &if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        println!("{}", text.trim_end());
    }
}

/// Prints a bar and whether this run met it. A missed bar fails nothing: the machine may have been busy.
pub fn print_bar(bar: &str, found: &str, met: bool) {
    let word = if met { "met" } else { "MISSED" };
    println!("bar: {bar}; here {found}: {word}");
}
