//! Tells Cargo what it cannot see: the migrations are compiled into the program.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
