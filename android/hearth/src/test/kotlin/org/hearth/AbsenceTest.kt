package org.hearth

import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeoutOrNull
import org.hearth.cli.line
import org.hearth.ffi.DiscoveryMode
import org.hearth.ffi.EventKind
import org.hearth.ffi.NewRoom
import org.hearth.ffi.NodeState
import org.hearth.ffi.PowerMode
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.util.concurrent.CopyOnWriteArrayList
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/** Phones that are switched off, put into a pocket, or killed. */
class AbsenceTest {
    @Test
    fun `a paused phone catches up, and its flows go on by themselves`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        here.says("Before")
        there.hears("Before")
        ben.hearth.pause()
        assertEquals(NodeState.PAUSED, ben.hearth.state)
        val said = (1..20).map { "While you slept, $it" }
        said.forEach { here.says(it) }
        ben.hearth.resume()
        val all = there.seen.until("everything") { rows -> rows.any { it.says(said.last()) } }
        assertEquals(said, all.map { it.text() }.filter { it.startsWith("While") }, "all of it, once and in order")
        there.says("Awake")
        here.hears("Awake")
    }

    @Test
    fun `a phone that rests is left alone and misses nothing`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        val server = ben.hearth.identity.server
        val peers = watch(ana.hearth.peers.items())
        ben.hearth.setPowerMode(PowerMode.LOW_POWER)
        peers.until("ben rests") { all -> all.any { it.id == server && it.rests && !it.connected } }
        here.says("Are you there?")
        there.hears("Are you there?")
        peers.until("ben rests again") { all -> all.any { it.id == server && it.rests && !it.connected } }
        there.says("I was asleep")
        here.hears("I was asleep")

        // The mode is the app's, and stays while the node comes and goes.
        ben.hearth.stop()
        ben.hearth.setPowerMode(PowerMode.OFFLINE)
        ben.hearth.start()
        there.says("To nobody yet")
        assertEquals(0u, ben.hearth.node.status().near)
        ben.hearth.networkChanged()
        assertEquals(0u, ben.hearth.node.status().near)
        ben.hearth.setPowerMode(PowerMode.FOREGROUND)
        here.hears("To nobody yet")
        peers.until("ben is awake") { all -> all.any { it.id == server && !it.rests && it.connected } }
    }

    @Test
    fun `when pause returns no file is open and no socket`() = phones {
        val ana = started("ana")
        assertTrue(openBelow(ana.data).isNotEmpty())
        ana.hearth.pause()
        assertEquals(emptyList<String>(), openBelow(ana.data))
        // Another node may open the files now, and the first one may have them back after it.
        val second = phone("ana", keys = ana.keys, data = ana.data)
        second.hearth.start()
        assertEquals(ana.data, second.data)
        second.hearth.stop()
        ana.hearth.resume()
        assertEquals(ana.user, second.let { ana.hearth.identity.userId })
    }

    @Test
    fun `a background fetch brings what waits and is over in time`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        ben.hearth.pause()
        here.says("Ring ring")
        val started = System.nanoTime()
        val summary = ben.hearth.backgroundFetch(20.seconds)
        assertTrue((System.nanoTime() - started) / 1e9 < 20.0)
        assertEquals(NodeState.PAUSED, ben.hearth.state)
        assertTrue(summary.peers >= 1u && summary.received > 0uL, "$summary")
        ben.hearth.resume()
        there.hears("Ring ring")
    }

    @Test
    fun `a background fetch searches, though nobody looks`() = phones {
        val (ana, ben) = listOf("ana", "ben").map { started(it, discovery = DiscoveryMode.LOOPBACK) }
        val (here, there) = talk(ana, ben)
        listOf(ana, ben).forEach { it.hearth.setPowerMode(PowerMode.BACKGROUND) }
        ben.hearth.pause()
        // It listens elsewhere now, and neither of the two searches by itself.
        ana.hearth.networkChanged()
        here.says("I moved")
        val summary = ben.hearth.backgroundFetch(20.seconds)
        assertTrue(summary.received > 0uL, "$summary")
        ben.hearth.resume()
        there.hears("I moved")
    }

    @Test
    fun `a background fetch is over in time though more comes and comes`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, _) = talk(ana, ben)
        ben.hearth.stop()
        val chatter = scope.launch {
            while (true) {
                here.says("And another thing")
                delay(200.milliseconds)
            }
        }
        val started = System.nanoTime()
        val summary = ben.hearth.backgroundFetch(4.seconds)
        val took = (System.nanoTime() - started) / 1e9
        chatter.cancelAndJoin()
        assertEquals(NodeState.STOPPED, ben.hearth.state)
        // A machine that has other things to do may take a moment longer to close.
        assertTrue(took in 3.0..5.0, "$took s, $summary")
    }

    @Test
    fun `a cancelled caller leaves the node in one state or the other`() = phones {
        val ana = phone("ana")
        repeat(20) { round ->
            val starting = scope.launch { ana.hearth.node.start() }
            delay(round * 5L)
            starting.cancelAndJoin()
            ana.hearth.start()
            val stopping = scope.launch { ana.hearth.node.stop() }
            delay(round.toLong())
            stopping.cancelAndJoin()
            ana.hearth.stop()
            assertEquals(emptyList<String>(), openBelow(ana.data), "round $round")
        }
    }

    @Test
    fun `what a killed process was about to show is handed out again`() = phones {
        val ana = started("ana", DiscoveryMode.LOOPBACK)
        val bens = File(folder, "ben")
        val first = line("org.hearth.cli.EventsKt", bens.path)
        val ben = first.read("user ")
        eventually("ben is near") { ana.hearth.peers.list().any { it.connected } }
        val room = ana.hearth.rooms.direct(ben)
        val invite = first.read("event ")
        assertTrue(invite.contains("invite ${ana.user}"), invite)
        first.write("handled")
        first.read("handled")
        first.write("join ${room.id()}")
        first.read("joined")
        conversation(room).says("Are you there?")
        val message = first.read("event ")
        assertTrue(message.contains("message ${ana.user} Are you there?"), message)
        first.kill()

        val second = line("org.hearth.cli.EventsKt", bens.path)
        assertEquals(ben, second.read("user "))
        assertEquals(message, second.read("event "), "the same event, until it is handled")
        second.write("handled")
        second.read("handled")
        second.kill()

        val third = line("org.hearth.cli.EventsKt", bens.path)
        third.read("user ")
        conversation(room).says("And now?")
        assertTrue(third.read("event ").contains("And now?"))
        third.kill()
    }

    @Test
    fun `an event that a pause came between comes again, and the flow ends with the wipe`() = phones {
        val (ana, ben) = anaAndBen()
        val seen = CopyOnWriteArrayList<ULong>()
        val collecting = scope.launch {
            ben.hearth.events.collect { event ->
                seen += event.id
                if (seen.size == 1) ben.hearth.pause()
            }
        }
        ana.hearth.rooms.direct(ben.user)
        eventually("ben is paused") { ben.hearth.state == NodeState.PAUSED }
        // Time for the acknowledgement, which must fail: there is nothing else to see of that.
        delay(500.milliseconds)
        ben.hearth.resume()
        eventually("the event again") { seen.size == 2 }
        assertEquals(seen.first(), seen.last())
        ben.hearth.panicWipe()
        assertNotNull(withTimeoutOrNull(PATIENCE) { collecting.join() }, "the flow ends")
    }

    @Test
    fun `a flow of events acknowledges what was collected`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, _) = talk(ana, ben)
        val events = CopyOnWriteArrayList<String>()
        val collecting = scope.launch {
            ben.hearth.events.collect { event ->
                when (val kind = event.kind) {
                    is EventKind.Invited -> events += "invite by ${kind.invite.by}"
                    is EventKind.Message -> events += kind.text
                }
            }
        }
        // Not accepted: what was accepted before anybody looked is not told.
        ana.hearth.rooms.create(NewRoom(name = "Cake", invite = listOf(ben.user)))
        eventually("the invite") { events.size == 1 }
        here.says("One")
        here.says("Two")
        eventually("all events") { events.size >= 3 }
        collecting.cancelAndJoin()
        assertEquals(listOf("invite by ${ana.user}", "One", "Two"), events)
    }
}

/** The files of this process that lie below a folder. */
fun openBelow(folder: File): List<String> = File("/proc/self/fd").listFiles().orEmpty()
    .mapNotNull { runCatching { java.nio.file.Files.readSymbolicLink(it.toPath()).toString() }.getOrNull() }
    .filter { it.startsWith(folder.path) }
