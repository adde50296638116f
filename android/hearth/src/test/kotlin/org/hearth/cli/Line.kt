/*
 * Programs of the tests, in JVMs of their own: how they are started, spoken with and killed; and what the system says of a
 * process.
 */
package org.hearth.cli

import org.hearth.PATIENCE
import java.io.File
import java.io.IOException
import java.util.concurrent.LinkedBlockingQueue
import java.util.concurrent.TimeUnit
import kotlin.concurrent.thread

/** Starts a program in a JVM with the same classes and the same library. */
fun line(main: String, vararg arguments: String, jvm: List<String> = emptyList()): Line {
    val java = File(System.getProperty("java.home"), "bin/java").path
    val classes = System.getProperty("surefire.test.class.path") ?: System.getProperty("java.class.path")
    val library = "-Djna.library.path=${System.getProperty("jna.library.path")}"
    val command = listOf(java, library) + jvm + listOf("-cp", classes, main) + arguments
    return Line(ProcessBuilder(command).redirectErrorStream(true).start())
}

/** A program that is spoken with line by line. */
class Line(private val process: Process) {
    private val said = LinkedBlockingQueue<String>()
    private val all = StringBuffer()

    init {
        thread(isDaemon = true) {
            try {
                process.inputStream.bufferedReader().forEachLine {
                    all.append(it).append('\n')
                    said.put(it)
                }
            } catch (_: IOException) {
                // Killed in the middle of a line, which is what this is for.
            }
        }
    }

    /** The rest of the next line that begins like this. */
    fun read(beginning: String): String {
        val deadline = System.nanoTime() + PATIENCE.inWholeNanoseconds
        while (true) {
            val next = said.poll(deadline - System.nanoTime(), TimeUnit.NANOSECONDS)
                ?: error("no line begins with \"$beginning\":\n$all")
            if (next.startsWith(beginning)) return next.removePrefix(beginning)
        }
    }

    fun write(line: String) = process.outputStream.run {
        write("$line\n".encodeToByteArray())
        flush()
    }

    /** Ends it as the system ends an app: without a word. */
    fun kill() {
        process.destroyForcibly().waitFor()
    }
}

private fun status(field: String): Long = File("/proc/self/status").useLines { lines ->
    lines.first { it.startsWith("$field:") }.filter(Char::isDigit).toLong()
}

/** Memory of this process that is in use, in KiB. */
fun residentKb(): Long = status("VmRSS")

/** Threads of this process. */
fun threads(): Int = status("Threads").toInt()
