//! The generator of the Kotlin and Swift halves of hearth-ffi: uniffi's own, as a program, in the version that the library was
//! made with.

fn main() {
    uniffi::uniffi_bindgen_main();
}
