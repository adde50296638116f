// The library as an AAR. `../build-aar.sh` first puts the native libraries under build/jniLibs and the bindings under
// ../build/bindings, and then calls this.
plugins {
    id("com.android.library")
    id("org.jetbrains.kotlin.android")
    `maven-publish`
}

group = "org.hearth"
version = "0.1.0"

android {
    namespace = "org.hearth"
    compileSdk = 36

    defaultConfig {
        minSdk = 24
        consumerProguardFiles("consumer-rules.pro")
    }

    sourceSets["main"].kotlin.srcDir("../build/bindings")
    sourceSets["main"].jniLibs.srcDir("build/jniLibs")

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }

    publishing {
        singleVariant("release") { withSourcesJar() }
    }
}

kotlin {
    jvmToolchain(17)
    compilerOptions { jvmTarget = org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_11 }
}

dependencies {
    api("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.10.2")
    // The AAR, because it holds JNA's own native library for each processor.
    api("net.java.dev.jna:jna:5.19.1@aar")

    testImplementation("net.java.dev.jna:jna:5.19.1")
    testImplementation("org.jetbrains.kotlinx:kotlinx-coroutines-test:1.10.2")
    testImplementation("com.google.zxing:core:3.5.3")
    testImplementation("org.junit.jupiter:junit-jupiter:5.14.4")
    testRuntimeOnly("org.junit.platform:junit-platform-launcher:1.14.4")
}

tasks.withType<Test> {
    useJUnitPlatform()
    systemProperty("jna.library.path", file("../../target/debug").path)
}

publishing {
    publications {
        register<MavenPublication>("release") {
            artifactId = "hearth"
            afterEvaluate { from(components["release"]) }
        }
    }
}
