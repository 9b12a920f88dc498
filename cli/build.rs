//! Rebuilds the crate when a migration is added: `sqlx::migrate!` sees new files only when it runs again.

fn main() {
    for folder in ["log", "auth", "core", "basic", "finance"] {
        println!("cargo:rerun-if-changed=../migrations/{folder}");
    }
}
