//! How the library for Android is linked, whoever builds it.
//!
//! Segments are aligned to 16 KB: phones with pages of that size load nothing that is aligned to less, and the NDK's linker
//! aligns to 4 KB before its release 28. Relocations are packed, which Android understands since its version 6: half a megabyte
//! less. Functions of the same instructions are one; nothing here tells functions apart by their addresses. Deliberately absent:
//! the bindings, which are made from the finished library.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var_os("CARGO_CFG_TARGET_OS").is_some_and(|os| os == "android") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,max-page-size=16384");
        println!("cargo::rustc-cdylib-link-arg=-Wl,--pack-dyn-relocs=android");
        println!("cargo::rustc-cdylib-link-arg=-Wl,--icf=all");
    }
}
