package org.hearth

import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.runBlocking
import org.hearth.cli.residentKb
import org.hearth.ffi.LogRecord
import org.hearth.ffi.LogSink
import org.hearth.ffi.NewRoom
import org.hearth.ffi.Node
import org.hearth.ffi.NodeConfig
import org.hearth.ffi.RoomDiff
import org.hearth.ffi.RoomSummary
import org.hearth.ffi.RoomsListener
import org.hearth.ffi.TimelineDiff
import org.hearth.ffi.TimelineItem
import org.hearth.ffi.TimelineListener
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.util.Collections
import java.util.concurrent.CountDownLatch
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicInteger
import kotlin.time.Duration.Companion.milliseconds

/** What an app's own code does in a listener is the app's affair, and harms nobody else. */
class ListenersTest {
    @Test
    fun `ten thousand changes through a slow listener cost no memory, and the list is right`() = phones {
        val ana = started("ana")
        val room = ana.hearth.rooms.create(NewRoom(name = "Log book", encrypted = false))
        val (rows, calls, entered) = Triple(mutableListOf<TimelineItem>(), AtomicInteger(), AtomicBoolean())
        val slow = object : TimelineListener {
            override fun onChange(diffs: List<TimelineDiff>) {
                assertFalse(entered.getAndSet(true), "one call at a time")
                Thread.sleep(200)
                synchronized(rows) { rows.change(diffs) }
                calls.incrementAndGet()
                entered.set(false)
            }
        }
        val timeline = room.timeline()
        val task = timeline.subscribe(slow)
        val slowFlow = watch(ana.hearth.rooms.items().onEach { delay(200.milliseconds) })
        val sender = room.timeline()
        val before = residentKb()
        // A hundred senders at once, because a disk that is synced once for many is quicker.
        (1..SENDERS).map { sender ->
            scope.async {
                val own = room.timeline()
                for (number in 1..CHANGES / SENDERS) own.send("$sender/$number")
                own.close()
            }
        }.awaitAll()
        sender.send("The end")
        eventually("the slow listener has the end") { synchronized(rows) { rows.lastOrNull()?.says("The end") == true } }
        val grown = residentKb() - before
        slowFlow.until("the slow flow has the end") { list -> list.single().last?.text == "The end" }
        val fresh = watch(room.timeline().items()).until("a fresh timeline") { it.isNotEmpty() }
        val ids = synchronized(rows) { rows.map { it.id } }
        assertEquals(fresh.map { it.id }, ids.takeLast(fresh.size), "the end of the list")
        assertEquals(ids.distinct(), ids)
        assertTrue(calls.get() < CHANGES / 10, "${calls.get()} calls for $CHANGES changes")
        assertTrue(grown < GROWTH_MAX_KB, "$grown KB more after $CHANGES changes")
        println("slow listener: $CHANGES changes, ${calls.get()} calls, ${ids.size} rows, $grown KB more")
        task.cancel()
        task.close()
    }

    @Test
    fun `a listener that throws gets the next batch`() = phones {
        val ana = started("ana")
        val heard = Collections.synchronizedList(mutableListOf<List<RoomDiff>>())
        val task = ana.hearth.rooms.subscribe(object : RoomsListener {
            override fun onChange(diffs: List<RoomDiff>) {
                heard.add(diffs)
                error("the app has a bug")
            }
        })
        eventually("the first batch") { heard.size == 1 }
        ana.hearth.rooms.create(NewRoom(name = "One"))
        eventually("the next batch") { heard.size >= 2 }
        ana.hearth.rooms.create(NewRoom(name = "Two"))
        val rows = mutableListOf<RoomSummary>()
        eventually("all of it") {
            rows.clear()
            synchronized(heard) { heard.forEach { rows.change(it) } }
            rows.map { it.name }.toSet() == setOf("One", "Two")
        }
        task.close()
    }

    @Test
    fun `a listener that blocks holds up nobody, not even the stop`() = phones {
        val ana = started("ana")
        val (blocked, release) = CountDownLatch(10) to CountDownLatch(1)
        val tasks = (1..10).map {
            ana.hearth.rooms.subscribe(object : RoomsListener {
                override fun onChange(diffs: List<RoomDiff>) {
                    blocked.countDown()
                    release.await()
                }
            })
        }
        blocked.await()
        val diary = conversation(ana.hearth.rooms.create(NewRoom(name = "Diary")))
        diary.says("Life goes on")
        diary.hears("Life goes on")
        ana.hearth.pause()
        ana.hearth.resume()
        diary.says("And on")
        diary.hears("And on")
        ana.hearth.stop()
        release.countDown()
        tasks.forEach { it.close() }
    }

    @Test
    fun `a listener may call the node back, and end its own subscription`() = phones {
        val ana = started("ana")
        val room = ana.hearth.rooms.create(NewRoom(name = "Echo"))
        val timeline = room.timeline()
        val answered = AtomicBoolean()
        val task = timeline.subscribe(object : TimelineListener {
            override fun onChange(diffs: List<TimelineDiff>) {
                if (answered.getAndSet(true)) return
                runBlocking {
                    timeline.send("An answer from within")
                    ana.hearth.rooms.list()
                    room.info()
                }
            }
        })
        conversation(room).hears("An answer from within")
        task.close()

        val ended = CountDownLatch(1)
        lateinit var own: org.hearth.ffi.TaskHandle
        val ready = CountDownLatch(1)
        own = ana.hearth.rooms.subscribe(object : RoomsListener {
            override fun onChange(diffs: List<RoomDiff>) {
                ready.await()
                own.cancel()
                ended.countDown()
            }
        })
        ready.countDown()
        ended.await()
        eventually("it has ended") { own.isFinished() }
        own.close()
    }

    @Test
    fun `a listener may stop the node, and the node may be let go of meanwhile`() = phones {
        val ana = started("ana")
        val stopped = CountDownLatch(1)
        val task = ana.hearth.rooms.subscribe(object : RoomsListener {
            override fun onChange(diffs: List<RoomDiff>) {
                runBlocking { ana.hearth.stop() }
                stopped.countDown()
            }
        })
        assertTrue(stopped.await(PATIENCE.inWholeSeconds, java.util.concurrent.TimeUnit.SECONDS))
        task.close()
        ana.hearth.start()
    }

    @Test
    fun `a log sink that throws or blocks slows nothing, and no body is in the log`() = phones {
        val lines = Collections.synchronizedList(mutableListOf<LogRecord>())
        val sink = object : LogSink {
            override fun log(record: LogRecord) {
                lines.add(record)
                Thread.sleep(1)
                error("the app's log is full")
            }
        }
        val config = NodeConfig(dataDir = "$folder/dora", account = "dora", logLevel = org.hearth.ffi.LogLevel.TRACE)
        val node = Node.open(config, MemoryKeys(), sink)
        node.start()
        node.rooms().use { rooms ->
            val timeline = rooms.create(NewRoom(name = "Swordfish room")).timeline()
            repeat(50) { timeline.send("the password is swordfish") }
            timeline.close()
        }
        eventually("the log speaks") { lines.isNotEmpty() }
        node.stop()
        node.close()
        synchronized(lines) { assertFalse(lines.any { "swordfish" in it.message.lowercase() }) }
    }

    private companion object {
        const val CHANGES = 10_000
        const val SENDERS = 100
        const val GROWTH_MAX_KB = 150_000L
    }
}
