/*
 * The figures, printed and not judged: a machine that has other things to do would judge wrongly.
 *
 *     HEARTH_LIBRARIES=target/release android/jvm.sh org.hearth.cli.MeasureKt
 */
package org.hearth.cli

import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.runBlocking
import org.hearth.Conversation
import org.hearth.Hearth
import org.hearth.Phones
import org.hearth.items
import org.hearth.phones
import org.hearth.says
import org.hearth.send
import org.hearth.talk
import org.hearth.ffi.DiscoveryMode
import org.hearth.ffi.NewRoom
import org.hearth.ffi.NodeConfig
import org.hearth.ffi.Platform
import org.hearth.ffi.RoomDiff
import org.hearth.ffi.RoomsListener
import org.hearth.ffi.TimelineDiff
import org.hearth.ffi.TimelineListener
import org.hearth.ffi.qrMatrix
import org.hearth.ffi.version
import java.io.File
import java.util.concurrent.CountDownLatch
import java.util.concurrent.atomic.AtomicInteger

private const val ROOMS = 100
private const val STARTS = 11
private const val MESSAGES = 200
private const val ROUNDS = 2_000
private const val MEMORIES = 3
private const val ROWS = 80
private const val DIFFS = 20_000
private const val SENDS = 500

fun main(arguments: Array<String>) {
    if (arguments.isNotEmpty()) return runBlocking(Dispatchers.Default) { memory(File(arguments.single())) }
    phones {
        val ana = File(folder, "ana")
        val (config, keys) = setUp(ana)
        fill(Hearth(config, keys))
        starts(config, keys)
        inFreshProcess(ana)
        crossings(config, keys)
        messages()
    }
}

private fun setUp(folder: File): Pair<NodeConfig, Platform> =
    NodeConfig(dataDir = "$folder/data", account = "ana", discovery = DiscoveryMode.PLATFORM) to PlainFiles(File(folder, "keys"))

private suspend fun fill(hearth: Hearth) {
    hearth.start()
    repeat(ROOMS) { number -> hearth.rooms.create(NewRoom(name = "Room $number")).timeline().use { it.send("Hello $number") } }
    delay(2_000)
    hearth.stop()
    hearth.close()
}

private suspend fun starts(config: NodeConfig, keys: Platform) {
    val times = (1..STARTS).map {
        val begin = System.nanoTime()
        val hearth = Hearth(config, keys)
        hearth.start()
        val started = System.nanoTime()
        val rows = hearth.rooms.items().first()
        val end = System.nanoTime()
        check(rows.size == ROOMS) { "${rows.size} rooms" }
        hearth.stop()
        hearth.close()
        (started - begin) / 1e6 to (end - begin) / 1e6
    }
    figure("Node.open and start, $ROOMS rooms", times.map { it.first })
    figure("Node.open to the first room list in Kotlin", times.map { it.second })
}

/** What a node adds to a process is seen in one that had none before. */
private fun inFreshProcess(folder: File) {
    // A heap that is there from the beginning and does not grow, so that what grows is not the JVM's.
    val measured = line("org.hearth.cli.MeasureKt", folder.path, jvm = listOf("-Xms64m", "-Xmx64m", "-XX:+AlwaysPreTouch"))
    repeat(MEMORIES) { println(measured.read("memory ")) }
}

private suspend fun memory(folder: File) {
    suspend fun told(what: String, since: Long) = settledKb().also { println("memory %-45s %d KB".format(what, it - since)) }
    val bare = settledKb()
    version()
    val loaded = told("memory: JNA, the bindings and the library", bare)
    val (config, keys) = setUp(folder)
    val hearth = Hearth(config, keys)
    hearth.start()
    check(hearth.rooms.items().first().size == ROOMS)
    told("memory: a node with $ROOMS rooms, its list seen", loaded)
    hearth.stop()
    hearth.close()
    told("memory: what of that is left when it was stopped", loaded)
}

/** Rows that cross as a `Reset` of the whole list, again and again: what the border itself costs. */
private suspend fun crossings(config: NodeConfig, keys: Platform) {
    val hearth = Hearth(config, keys)
    hearth.start()
    hearth.rooms.items().first()
    val begin = System.nanoTime()
    var rows = 0
    val rounds = ROUNDS / 10
    repeat(rounds) {
        val done = CountDownLatch(1)
        val task = hearth.rooms.subscribe(object : RoomsListener {
            override fun onChange(diffs: List<RoomDiff>) {
                rows += (diffs.first() as? RoomDiff.Reset)?.items?.size ?: 0
                done.countDown()
            }
        })
        done.await()
        task.close()
    }
    val seconds = (System.nanoTime() - begin) / 1e9
    val list = seconds * 1e3 / rounds
    row("rows of a room list to Kotlin", "%.0f rows/s (%.2f ms for a list of $ROOMS)".format(rows / seconds, list))
    diffs(hearth)
    val calls = System.nanoTime()
    repeat(ROUNDS) { hearth.node.state() }
    row("a call that answers at once", "%.2f µs".format((System.nanoTime() - calls) / 1e3 / ROUNDS))
    val suspending = System.nanoTime()
    repeat(ROUNDS) { hearth.contactUri() }
    row("a call that suspends", "%.2f µs".format((System.nanoTime() - suspending) / 1e3 / ROUNDS))
    val codes = System.nanoTime()
    val uri = hearth.contactUri()
    repeat(100) { qrMatrix(uri) }
    row("a contact as a QR code", "%.2f ms".format((System.nanoTime() - codes) / 1e6 / 100))
    hearth.stop()
    hearth.close()
}

/** Changes one by one, as fast as they can be made: each time that a person goes by another name, each row of theirs changes. */
private suspend fun diffs(hearth: Hearth) {
    val (changes, calls) = AtomicInteger() to AtomicInteger()
    val room = hearth.rooms.create(NewRoom(name = "Busy", encrypted = false)).timeline()
    repeat(ROWS) { room.send("Row $it") }
    val task = room.subscribe(object : TimelineListener {
        override fun onChange(diffs: List<TimelineDiff>) {
            changes.addAndGet(diffs.size)
            calls.incrementAndGet()
        }
    })
    val begin = System.nanoTime()
    var names = 0
    while (changes.get() < DIFFS) hearth.node.setDisplayName("Ana the ${++names}th")
    val rate = changes.get() / ((System.nanoTime() - begin) / 1e9)
    row("diffs of a timeline to Kotlin", "%.0f diffs/s ($changes diffs in $calls batches, by $names writes)".format(rate))
    task.close()
    val sending = System.nanoTime()
    repeat(SENDS) { room.send("$it") }
    row("sendText, durable, one after another", "%.0f sends/s".format(SENDS / ((System.nanoTime() - sending) / 1e9)))
    room.close()
}

private suspend fun Phones.messages() {
    val (ana, ben) = anaAndBen()
    val (here, there) = talk(ana, ben)
    here.says("Warm up")
    there.hears("Warm up")
    suspend fun round(number: Int, from: Conversation, to: Conversation): Double {
        val begin = System.nanoTime()
        from.says("Number $number")
        to.seen.until("number $number") { rows -> rows.last().says("Number $number") }
        return (System.nanoTime() - begin) / 1e6
    }
    val times = (1..MESSAGES).map { if (it % 2 == 0) round(it, here, there) else round(it, there, here) }
    figure("sendText to the decrypted item in the other's Flow", times)
}

private fun figure(what: String, times: List<Double>) {
    val sorted = times.sorted()
    val (half, most) = sorted[sorted.size / 2] to sorted[sorted.size * 9 / 10]
    row(what, "%.1f ms p50, %.1f p90, %.1f max (%d times)".format(half, most, sorted.last(), sorted.size))
}

private fun row(what: String, figures: String) = println("%-52s %s".format(what, figures))

private suspend fun settledKb(): Long {
    repeat(3) {
        System.gc()
        delay(300)
    }
    return residentKb()
}
