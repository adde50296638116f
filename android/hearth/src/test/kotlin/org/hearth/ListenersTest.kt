package org.hearth

import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.onEach
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeoutOrNull
import org.hearth.cli.residentKb
import org.hearth.ffi.LogLevel
import org.hearth.ffi.LogRecord
import org.hearth.ffi.LogSink
import org.hearth.ffi.NewRoom
import org.hearth.ffi.Node
import org.hearth.ffi.NodeConfig
import org.hearth.ffi.NodeException
import org.hearth.ffi.RoomDiff
import org.hearth.ffi.RoomSummary
import org.hearth.ffi.RoomsListener
import org.hearth.ffi.TaskHandle
import org.hearth.ffi.Timeline
import org.hearth.ffi.TimelineDiff
import org.hearth.ffi.TimelineItem
import org.hearth.ffi.TimelineListener
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.util.concurrent.ConcurrentLinkedQueue
import java.util.concurrent.CopyOnWriteArrayList
import java.util.concurrent.CountDownLatch
import java.util.concurrent.TimeUnit
import java.util.concurrent.atomic.AtomicBoolean
import java.util.concurrent.atomic.AtomicInteger
import kotlin.concurrent.thread
import kotlin.random.Random
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds

/** What an app's own code does in a listener is the app's affair, and harms nobody else. */
class ListenersTest {
    @Test
    fun `ten thousand changes through a slow listener cost no memory, and the list is right`() = phones {
        val ana = started("ana")
        val room = ana.hearth.rooms.create(NewRoom(name = "Log book", encrypted = false))
        val (timelines, quick, slow) = Triple(List(2) { room.timeline() }, Log(), Log(slowness = 500.milliseconds))
        val tasks = listOf(timelines[0].subscribe(quick), timelines[1].subscribe(slow))
        val slowFlow = watch(ana.hearth.rooms.items().onEach { delay(500.milliseconds) })
        repeat(ROWS) { timelines[0].send("Entry $it") }
        val (before, started) = residentKb() to System.nanoTime()
        // A person who goes by another name changes every row that is theirs.
        while (quick.changes.get() < CHANGES) {
            ana.hearth.node.setDisplayName("Ana the ${quick.changes}th")
        }
        timelines[0].send("The end")
        eventually("the slow listener has the end") { slow.rows().lastOrNull()?.says("The end") == true }
        val (seconds, grown) = (System.nanoTime() - started) / 1e9 to residentKb() - before
        slowFlow.until("the slow flow has the end") { list -> list.single().last?.text == "The end" }
        // How far back each of them shows depends on when it was told what.
        val (one, other) = slow.rows().reversed() to quick.rows().reversed()
        assertTrue(one.size >= 50 && other.size >= 50, "${one.size} and ${other.size} rows")
        assertEquals(one.zip(other).count(), one.zip(other).takeWhile { (a, b) -> a == b }.count(), "both have the same")
        println("listeners: $quick to the quick one, $slow to the slow one, in %.1f s, $grown KB more".format(seconds))
        assertTrue(slow.resets.get() > 1, "what was too much to tell one by one is told anew: $slow")
        assertTrue(slow.changes.get() < quick.changes.get() / 2, "nothing piled up behind the slow one: $slow, $quick")
        assertTrue(grown < GROWTH_MAX_KB, "$grown KB more")
        (tasks + timelines).forEach { it.close() }
    }

    /** A timeline's listener that takes its time, and counts. */
    private class Log(private val slowness: Duration = Duration.ZERO) : TimelineListener {
        val calls = AtomicInteger()
        val changes = AtomicInteger()
        val resets = AtomicInteger()
        private val rows = mutableListOf<TimelineItem>()
        private val entered = AtomicBoolean()

        override fun onChange(diffs: List<TimelineDiff>) {
            // A listener's exception goes nowhere, so what is wrong must show in the rows.
            if (entered.getAndSet(true)) return
            Thread.sleep(slowness.inWholeMilliseconds)
            synchronized(rows) { rows.change(diffs) }
            calls.incrementAndGet()
            changes.addAndGet(diffs.size)
            resets.addAndGet(diffs.count { it is TimelineDiff.Reset })
            entered.set(false)
        }

        fun rows() = synchronized(rows) { rows.toList() }

        override fun toString() = "$changes changes in $calls calls with $resets resets"
    }

    @Test
    fun `a listener that throws gets the next batch`() = phones {
        val ana = started("ana")
        val heard = CopyOnWriteArrayList<List<RoomDiff>>()
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
            heard.forEach { rows.change(it) }
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
        lateinit var own: TaskHandle
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
        assertTrue(stopped.await(PATIENCE.inWholeSeconds, TimeUnit.SECONDS))
        task.close()
        ana.hearth.start()
    }

    @Test
    fun `a log sink that throws or blocks slows nothing, and no body is in the log`() = phones {
        val lines = CopyOnWriteArrayList<LogRecord>()
        val sink = object : LogSink {
            override fun log(record: LogRecord) {
                lines.add(record)
                Thread.sleep(1)
                error("the app's log is full")
            }
        }
        val config = NodeConfig(dataDir = "$folder/dora", account = "dora", logLevel = LogLevel.TRACE)
        Node.open(config, MemoryKeys(), sink).use { node ->
            node.start()
            node.rooms().use { rooms ->
                val task = rooms.subscribe(object : RoomsListener {
                    override fun onChange(diffs: List<RoomDiff>) = error("which Hearth logs")
                })
                val timeline = rooms.create(NewRoom(name = "Swordfish room")).timeline()
                repeat(50) { timeline.send("the password is swordfish") }
                eventually("the log speaks") { lines.count { "listener failed" in it.message } > 1 }
                timeline.close()
                task.close()
            }
            node.stop()
        }
        assertFalse(lines.any { "swordfish" in it.message.lowercase() })
        Node.open(config, MemoryKeys(), object : LogSink {
            override fun log(record: LogRecord) = Unit
        }).close()
    }

    @Test
    fun `any thread may ask anything at any time`() = phones {
        val ana = started("ana")
        val room = ana.hearth.rooms.create(NewRoom(name = "Diary"))
        val (node, timeline, failures) = Triple(ana.hearth.node, room.timeline(), ConcurrentLinkedQueue<Throwable>())
        val orders = listOf<suspend () -> Unit>(
            { node.start() },
            { node.pause() },
            { node.resume() },
            { node.stop() },
            { node.networkChanged() },
            { node.backgroundFetch(600u) },
            { timeline.send("Dear diary") },
            { ana.hearth.rooms.list() },
            { ana.hearth.rooms.items().first() },
            { node.contactUri() },
            { node.identity() },
            { node.status() },
        )
        val crowd = List(16) { at ->
            thread {
                val random = Random(at)
                repeat(40) {
                    runCatching { runBlocking { withTimeoutOrNull(300) { orders.random(random)() } } }
                        .exceptionOrNull()?.let(failures::add)
                }
            }
        }
        crowd.forEach { it.join(PATIENCE.inWholeMilliseconds) }
        assertFalse(crowd.any { it.isAlive }, "nobody waits for ever")
        val unheard = failures.filterNot { it is NodeException.NotRunning || it is NodeException.Paused }
        assertEquals(emptyList<Throwable>(), unheard)
        ana.hearth.start()
        conversation(room).run {
            says("All quiet")
            hears("All quiet")
        }
    }

    private companion object {
        const val CHANGES = 10_000
        const val ROWS = 80
        const val GROWTH_MAX_KB = 30_000L
    }
}
