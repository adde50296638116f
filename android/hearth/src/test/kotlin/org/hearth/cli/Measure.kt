/*
 * The figures, printed and not judged: a machine that has other things to do would judge wrongly.
 *
 *     HEARTH_LIBRARIES=target/release android/jvm.sh org.hearth.cli.MeasureKt
 */
package org.hearth.cli

import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import org.hearth.Conversation
import org.hearth.Hearth
import org.hearth.MemoryKeys
import org.hearth.Phones
import org.hearth.items
import org.hearth.phones
import org.hearth.says
import org.hearth.send
import org.hearth.talk
import org.hearth.ffi.DiscoveryMode
import org.hearth.ffi.NewRoom
import org.hearth.ffi.NodeConfig
import org.hearth.ffi.RoomDiff
import org.hearth.ffi.RoomsListener
import org.hearth.ffi.qrMatrix
import java.io.File
import java.util.concurrent.CountDownLatch

private const val ROOMS = 100
private const val STARTS = 11
private const val MESSAGES = 200
private const val ROUNDS = 2_000

fun main() = phones {
    val (keys, data) = MemoryKeys() to File(folder, "ana")
    val config = NodeConfig(dataDir = data.path, account = "ana", discovery = DiscoveryMode.PLATFORM)
    fill(Hearth(config, keys))
    starts(config, keys)
    memory(config, keys)
    crossings(config, keys)
    messages()
}

private suspend fun fill(hearth: Hearth) {
    hearth.start()
    repeat(ROOMS) { number -> hearth.rooms.create(NewRoom(name = "Room $number")).timeline().use { it.send("Hello $number") } }
    delay(2_000)
    hearth.stop()
    hearth.close()
}

private suspend fun starts(config: NodeConfig, keys: MemoryKeys) {
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

private suspend fun memory(config: NodeConfig, keys: MemoryKeys) {
    val before = settledKb()
    val hearth = Hearth(config, keys)
    hearth.start()
    val rows = hearth.rooms.items().first()
    val after = settledKb()
    row("memory added by a node with ${rows.size} rooms", "%d KB (VmRSS, $before to $after)".format(after - before))
    hearth.stop()
    hearth.close()
    row("the same after it was stopped", "${settledKb() - before} KB")
}

/** Rows that cross as a `Reset` of the whole list, again and again: what the border itself costs. */
private suspend fun crossings(config: NodeConfig, keys: MemoryKeys) {
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

/** Single changes, as fast as they can be made. */
private suspend fun diffs(hearth: Hearth) {
    var changes = 0
    val task = hearth.rooms.subscribe(object : RoomsListener {
        override fun onChange(diffs: List<RoomDiff>) {
            changes += diffs.size
        }
    })
    val room = hearth.rooms.create(NewRoom(name = "Busy", encrypted = false)).timeline()
    val begin = System.nanoTime()
    repeat(ROUNDS) { room.send("$it") }
    val seconds = (System.nanoTime() - begin) / 1e9
    val (sends, seen) = ROUNDS / seconds to changes / seconds
    row("changes of one room, durable, one after another", "%.0f sends/s, %.0f diffs/s".format(sends, seen))
    task.close()
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
