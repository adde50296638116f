package org.hearth

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.awaitCancellation
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.MutableSharedFlow
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.channelFlow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.launch
import kotlinx.coroutines.test.advanceTimeBy
import kotlinx.coroutines.test.runCurrent
import kotlinx.coroutines.test.runTest
import org.hearth.ffi.Announcement
import org.hearth.ffi.DiscoveryMode
import org.hearth.ffi.NodeException
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/** A network that all phones of a test are in: what one announces the others see. */
class Air {
    private val announced = MutableSharedFlow<Announcement>(replay = 64)

    inner class Radio : ServiceDiscovery {
        var searching = 0
        var announcing = 0
        var failures = 0

        override suspend fun announce(announcement: Announcement) {
            if (failures-- > 0) throw RadioException("the radio is off")
            announcing++
            try {
                announced.emit(announcement)
                awaitCancellation()
            } finally {
                announcing--
            }
        }

        override fun sightings(service: String): Flow<Sighting> = channelFlow {
            searching++
            try {
                announced.collect { seen ->
                    if (seen.service == service) send(Sighting(seen.instance, seen.properties, listOf("127.0.0.1")))
                }
            } finally {
                searching--
            }
        }
    }
}

/** Searching with the platform's radios, and changes of the network. */
@OptIn(ExperimentalCoroutinesApi::class)
class NearbyTest {
    private class Book(val name: String, var failure: NodeException? = null) : AddressBook {
        val found = mutableListOf<String>()
        var port = 1

        override suspend fun announcement(): Announcement {
            failure?.let { throw it }
            return Announcement("_hearth._udp", name, port.toUShort(), mapOf("id" to name, "quic" to "$port"))
        }

        override suspend fun found(properties: Map<String, String>, hosts: List<String>) =
            found.add("${properties["id"]}:${properties["quic"]} at ${hosts.single()}")
    }

    @Test
    fun `who does not look is seen all the same`() = runTest {
        val air = Air()
        val (ana, ben) = Book("ana") to Book("ben")
        val (radio, looking) = air.Radio() to MutableStateFlow(false)
        backgroundScope.launch { search(ana, radio, MutableSharedFlow(), looking) }
        backgroundScope.launch { search(ben, air.Radio(), MutableSharedFlow()) }
        runCurrent()
        assertEquals(listOf("ana:1 at 127.0.0.1"), ben.found)
        assertEquals(0 to 1, radio.searching to radio.announcing)
        assertEquals(emptyList<String>(), ana.found)
        looking.value = true
        runCurrent()
        assertEquals(listOf("ben:1 at 127.0.0.1"), ana.found)
        looking.value = false
        runCurrent()
        assertEquals(0 to 1, radio.searching to radio.announcing)
    }

    @Test
    fun `who searches sees the others and not itself, and again when they move`() = runTest {
        val air = Air()
        val (ana, ben) = Book("ana") to Book("ben")
        val moved = MutableSharedFlow<Unit>(extraBufferCapacity = 1)
        backgroundScope.launch { search(ana, air.Radio(), moved) }
        backgroundScope.launch { search(ben, air.Radio(), MutableSharedFlow()) }
        runCurrent()
        assertEquals(listOf("ben:1 at 127.0.0.1"), ana.found)
        assertEquals(listOf("ana:1 at 127.0.0.1"), ben.found)
        ana.port = 2
        moved.emit(Unit)
        runCurrent()
        assertEquals("ana:2 at 127.0.0.1", ben.found.last())
    }

    @Test
    fun `it waits for the node and for the radio, and leaves nothing on when it ends`() = runTest {
        val radio = Air().Radio().apply { failures = 3 }
        val book = Book("ana", NodeException.NotRunning("start it first"))
        val searching = launch { search(book, radio, MutableSharedFlow()) }
        advanceTimeBy(10.seconds)
        assertEquals(0, radio.searching)
        book.failure = null
        advanceTimeBy(10.seconds)
        assertEquals(listOf(1, 1), listOf(radio.searching, radio.announcing))
        searching.cancel()
        runCurrent()
        assertEquals(listOf(0, 0), listOf(radio.searching, radio.announcing))
    }

    @Test
    fun `a change of the network is told once, when it has settled`() = runTest {
        var changes = 0
        val networks = flow {
            emit(setOf())
            emit(setOf("wlan0 10.0.0.2"))
            delay(5.seconds) // what was there at the beginning is no change
            emit(setOf())
            delay(100.milliseconds)
            emit(setOf("wlan0 10.0.0.2"))
            delay(5.seconds) // and what was undone at once is none
            emit(setOf())
            delay(300.milliseconds)
            emit(setOf("wlan0 10.9.9.9"))
            delay(300.milliseconds)
            emit(setOf("wlan0 10.9.9.9", "eth0 10.1.1.1"))
            delay(5.seconds)
        }
        followNetworks(networks, settled = 1.seconds) {
            changes++
            throw NodeException.Paused("a pause is no reason to end")
        }
        assertEquals(1, changes)
    }

    @Test
    fun `a fetch has the search beside it`() = phones {
        val ana = phone("ana")
        val (began, ended) = CompletableDeferred<Unit>() to CompletableDeferred<Unit>()
        fetch(ana.hearth, 2.seconds) {
            try {
                began.complete(Unit)
                awaitCancellation()
            } finally {
                ended.complete(Unit)
            }
        }
        assertTrue(began.isCompleted && ended.isCompleted)
    }

    @Test
    fun `two nodes meet by what the platform found`() = phones {
        val air = Air()
        val (ana, ben) = started("ana", DiscoveryMode.PLATFORM) to started("ben", DiscoveryMode.PLATFORM)
        for (phone in listOf(ana, ben)) {
            scope.launch { search(phone.hearth.peers.addressBook(), air.Radio(), MutableSharedFlow()) }
        }
        watch(ana.hearth.peers.items()).until("ben") { list ->
            list.any { it.id == ben.hearth.identity.server && it.connected && it.transport == "quic" }
        }
        val (here, there) = talk(ana, ben)
        here.says("Found you")
        there.hears("Found you")
        assertFalse(ana.hearth.peers.found(mapOf("id" to "nonsense"), listOf("127.0.0.1")))
        assertFalse(ana.hearth.peers.found(mapOf(), listOf()))
    }

    @Test
    fun `two nodes meet by the built-in discovery`() = phones {
        val (ana, ben) = started("ana", DiscoveryMode.LOOPBACK) to started("ben", DiscoveryMode.LOOPBACK)
        val server = ben.hearth.identity.server
        watch(ana.hearth.peers.items()).until("ben") { list -> list.any { it.id == server && it.connected } }
        val port = ana.hearth.peers.announcement().port
        ana.hearth.networkChanged()
        watch(ana.hearth.peers.items()).until("ben again") { list -> list.any { it.id == server && it.connected } }
        assertTrue(port > 0u)
    }
}
