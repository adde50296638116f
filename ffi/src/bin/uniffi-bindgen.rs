//! Generates the Kotlin and Swift halves of the surface from a built library.

fn main() {
    uniffi::uniffi_bindgen_main();
}
