//! The page of `marlos-node`'s commands is what they print.

#[path = "../sim/tests/support/pages.rs"]
mod pages;

#[test]
fn the_page_of_the_nodes_commands_is_what_their_help_prints() {
    let head = "# Commands of marlos-node\n\nWhat `--help` prints. This page is made of the program by a test.\n";
    let commands = pages::commands(env!("CARGO_BIN_EXE_marlos-node"), "marlos-node");
    pages::is_fresh("reference-node.md", &format!("{head}{commands}"));
}
