package org.hearth

import kotlinx.coroutines.delay
import org.hearth.cli.residentKb
import org.hearth.cli.threads
import org.hearth.ffi.DiscoveryMode
import org.hearth.ffi.NewRoom
import org.hearth.ffi.Node
import org.hearth.ffi.NodeConfig
import org.hearth.ffi.RoomDiff
import org.hearth.ffi.RoomsListener
import org.hearth.ffi.TimelineDiff
import org.hearth.ffi.TimelineListener
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File

/** Nothing is left of a node that was ended, however often. */
class CyclesTest {
    /** One cycle: a node is opened, subscribed to, started, paused, resumed, stopped and let go of, on the same files. */
    @Test
    fun `whole lives leave no file handle, no thread and no memory behind`() = phones {
        val keys = MemoryKeys()
        val config = NodeConfig(dataDir = "$folder/ana", account = "ana", discovery = DiscoveryMode.PLATFORM)
        leaksNothing("open, start, pause, resume, stop, close", LIVES) {
            val node = Node.open(config, keys)
            val (rooms, task) = node.rooms().let { it to it.subscribe(DEAF) }
            node.start()
            node.pause()
            node.resume()
            node.stop()
            task.cancel()
            listOf(task, rooms, node).forEach { it.close() }
        }
    }

    /** One cycle: a node with a room, a timeline and subscriptions is paused and resumed. */
    @Test
    fun `pauses leave nothing behind`() = phones {
        val ana = started("ana")
        conversation(ana.hearth.rooms.create(NewRoom(name = "Diary"))).run {
            says("Dear diary")
            hears("Dear diary")
        }
        leaksNothing("pause, resume", PAUSES) {
            ana.hearth.pause()
            ana.hearth.resume()
        }
    }

    /** One cycle: a node is opened, its handles are taken, and it is let go of without ever being started. */
    @Test
    fun `nodes that were only opened leave nothing behind`() = phones {
        val config = NodeConfig(dataDir = "$folder/never", account = "ana")
        leaksNothing("open, subscribe, close", OPENINGS) {
            val hearth = Hearth(config, MemoryKeys())
            hearth.rooms.subscribe(DEAF).close()
            hearth.close()
        }
    }

    /** One cycle: a timeline and the room list are subscribed to and let go of, on a running node. */
    @Test
    fun `subscriptions leave nothing behind`() = phones {
        val ana = started("ana")
        val room = ana.hearth.rooms.create(NewRoom(name = "Diary"))
        room.timeline().send("Dear diary")
        leaksNothing("timeline, subscribe, cancel, close", SUBSCRIPTIONS) {
            val timeline = room.timeline()
            timeline.subscribe(object : TimelineListener {
                override fun onChange(diffs: List<TimelineDiff>) = Unit
            }).use { it.cancel() }
            ana.hearth.rooms.subscribe(DEAF).close()
            timeline.close()
        }
    }

    private suspend fun leaksNothing(what: String, times: Int, cycle: suspend () -> Unit) {
        // The first rounds fill caches, pools and the allocator's arenas, of the JVM too.
        repeat(maxOf(times / 5, 3)) { cycle() }
        val before = settled()
        val started = System.nanoTime()
        repeat(times) { cycle() }
        val each = (System.nanoTime() - started) / 1e6 / times
        eventually("$what: files and threads are back at $before, are ${now()}") {
            val now = now()
            now.files <= before.files + SLACK && now.threads <= before.threads + SLACK
        }
        val after = settled()
        println("$what: $times times, %.1f ms each, before $before, after $after".format(each))
        val grown = after.residentKb - before.residentKb
        assertTrue(grown < GROWTH_MAX_KB, "$what: $grown KB more after $times times")
    }

    private data class Held(val files: Int, val threads: Int, val residentKb: Long)

    private fun now() = Held(File("/proc/self/fd").list().orEmpty().size, threads(), residentKb())

    private suspend fun settled(): Held {
        repeat(3) {
            System.gc()
            delay(200)
        }
        return now()
    }

    private companion object {
        /** Tens of times as many show the same, and take minutes: `-Dhearth.lives=1000 -Dhearth.pauses=1000`. */
        val LIVES = System.getProperty("hearth.lives", "100").toInt()
        val PAUSES = System.getProperty("hearth.pauses", "200").toInt()
        const val OPENINGS = 1_000
        const val SUBSCRIPTIONS = 2_000

        /** Threads and files of the JVM itself come and go. */
        const val SLACK = 6
        const val GROWTH_MAX_KB = 25_000L

        val DEAF = object : RoomsListener {
            override fun onChange(diffs: List<RoomDiff>) = Unit
        }
    }
}
