package org.hearth

import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.runBlocking
import org.hearth.ffi.CancelToken
import org.hearth.ffi.FileInfo
import org.hearth.ffi.MediaKind
import org.hearth.ffi.NewRoom
import org.hearth.ffi.Node
import org.hearth.ffi.NodeConfig
import org.hearth.ffi.NodeException
import org.hearth.ffi.NodeState
import org.hearth.ffi.OutgoingText
import org.hearth.ffi.PlatformException
import org.hearth.ffi.SendState
import org.hearth.ffi.qrMatrix
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.io.File
import java.net.ServerSocket

/** Each kind of error that a caller can cause, caused. `Internal` is a defect of Hearth, which no caller can cause. */
class ErrorsTest {
    @Test
    fun `NotRunning, before the start, after the stop and after the wipe`() = phones {
        val ana = phone("ana")
        fails<NodeException.NotRunning> { ana.hearth.identity }
        fails<NodeException.NotRunning> { ana.hearth.rooms.create(NewRoom()) }
        fails<NodeException.NotRunning> { ana.hearth.pause() }
        fails<NodeException.NotRunning> { ana.hearth.resume() }
        ana.hearth.start()
        val timeline = ana.hearth.rooms.create(NewRoom(name = "Diary")).timeline()
        ana.hearth.stop()
        fails<NodeException.NotRunning> { timeline.send("Nobody hears this") }
        ana.hearth.panicWipe()
        fails<NodeException.NotRunning> { ana.hearth.start() }
        fails<NodeException.NotRunning> { ana.hearth.peers.list() }
    }

    @Test
    fun `Paused, and only until it goes on`() = phones {
        val ana = started("ana")
        val timeline = ana.hearth.rooms.create(NewRoom(name = "Diary")).timeline()
        ana.hearth.pause()
        fails<NodeException.Paused> { timeline.send("Too early") }
        fails<NodeException.Paused> { ana.hearth.contactUri() }
        ana.hearth.resume()
        timeline.send("Now")
    }

    @Test
    fun `InvalidInput, with a sentence that says what is wrong`() = phones {
        assertThrows<NodeException.InvalidInput> { Node.open(NodeConfig(dataDir = " ", account = "ana"), MemoryKeys()) }
        assertThrows<NodeException.InvalidInput> { qrMatrix("x".repeat(100_000)) }
        fails<NodeException.InvalidInput> { phone("Not An Account").hearth.start() }
        val ana = started("ana")
        val wrong = fails<NodeException.InvalidInput> { ana.hearth.rooms.direct("ben") }
        assertTrue("`ben`" in wrong.reason && "@ana:server" in wrong.reason, wrong.reason)
        fails<NodeException.InvalidInput> { ana.hearth.rooms.get("no room id") }
        fails<NodeException.InvalidInput> { ana.hearth.contacts.add("https://example.org") }
        fails<NodeException.InvalidInput> { ana.hearth.contacts.add(ana.hearth.contactUri()) }
        val timeline = ana.hearth.rooms.create(NewRoom(name = "Diary")).timeline()
        fails<NodeException.InvalidInput> { timeline.send("") }
        fails<NodeException.InvalidInput> { timeline.send("x".repeat(1_000_000)) }
        fails<NodeException.InvalidInput> { timeline.sendText(OutgoingText("hi", mentions = listOf("nobody"))) }
        fails<NodeException.InvalidInput> { timeline.sendFd(-1, FileInfo("x", MediaKind.FILE)) }
        val file = File(folder, "there already").apply { writeText("x") }
        fails<NodeException.InvalidInput> { ana.hearth.backup.export(file.path, "secret") }
        fails<NodeException.InvalidInput> { ana.hearth.backup.export(File(folder, "new").path, "") }
    }

    @Test
    fun `Storage, when the folder cannot be used`() = phones {
        val file = File(folder, "a file").apply { writeText("and no folder") }
        val ana = phone("ana", data = file)
        fails<NodeException.Storage> { ana.hearth.start() }
        assertEquals(NodeState.STOPPED, ana.hearth.state)
        assertTrue(file.delete())
        ana.hearth.start()
        // Two nodes cannot have the same files.
        fails<NodeException.Storage> { phone("ana", keys = ana.keys, data = ana.data).hearth.start() }
    }

    @Test
    fun `Crypto, when the keystore holds another key or the passphrase is wrong`() = phones {
        val ana = started("ana")
        val backup = File(folder, "backup")
        ana.hearth.backup.export(backup.path, "correct horse")
        fails<NodeException.Crypto> { phone("bea").hearth.backup.import(backup.path, "battery staple") }
        ana.hearth.stop()
        (ana.keys as MemoryKeys).run { secrets.replaceAll { _, secret -> secret.reversedArray() } }
        fails<NodeException.Crypto> { ana.hearth.start() }
        (ana.keys as MemoryKeys).run { secrets.replaceAll { _, _ -> ByteArray(5) } }
        fails<NodeException.Crypto> { ana.hearth.start() }
        assertEquals(NodeState.STOPPED, ana.hearth.state)
    }

    @Test
    fun `Network, when who is needed is out of reach or a port is taken`() = phones {
        val (ana, ben) = started("ana") to started("ben")
        val room = ben.hearth.rooms.create(NewRoom(name = "Far away", public = true))
        fails<NodeException.Network> { ana.hearth.rooms.join(room.id(), listOf(ben.hearth.identity.server)) }
        ServerSocket(0, 1, java.net.InetAddress.getLoopbackAddress()).use { taken ->
            fails<NodeException.Network> { ana.hearth.clientApi.enable(taken.localPort.toUShort()) }
        }
    }

    @Test
    fun `NotFound, for what is not here`() = phones {
        val ana = started("ana")
        val nowhere = ana.hearth.rooms.get("!nowhere:${ana.hearth.identity.server}")
        fails<NodeException.NotFound> { nowhere.info() }
        fails<NodeException.NotFound> { nowhere.timeline().send("Hello?") }
        fails<NodeException.NotFound> { ana.hearth.contacts.remove("@nobody:${ana.hearth.identity.server}") }
        fails<NodeException.NotFound> { ana.hearth.verifications.accept("no such thing") }
        val timeline = ana.hearth.rooms.create(NewRoom(name = "Diary")).timeline()
        fails<NodeException.NotFound> { timeline.edit("e:\$nothing", OutgoingText("something")) }
        fails<NodeException.NotFound> { timeline.download("e:\$nothing", File(folder, "x").path) }
    }

    @Test
    fun `Cancelled, when a token says so, before the work or in its midst`() = phones {
        val ana = started("ana")
        val token = CancelToken()
        token.cancel()
        token.cancel()
        val backup = File(folder, "backup")
        fails<NodeException.Cancelled> { ana.hearth.backup.export(backup.path, "correct horse", null, token) }
        assertFalse(backup.exists(), "nothing is left of it")
        ana.hearth.backup.export(backup.path, "correct horse")

        val midway = CancelToken()
        val fresh = phone("ana", data = File(folder, "new phone"))
        fails<NodeException.Cancelled> {
            fresh.hearth.backup.import(backup.path, "correct horse", listening { midway.cancel() }, midway)
        }
        assertFalse(fresh.data.exists() && fresh.data.walk().any { it.isFile })
        fresh.hearth.backup.import(backup.path, "correct horse")
        fresh.hearth.start()
        assertEquals(ana.user, fresh.user)
    }

    @Test
    fun `RateLimited, when messages come faster than they leave, and only then`() = phones {
        val ana = started("ana")
        val timeline = ana.hearth.rooms.create(NewRoom(name = "Flood", encrypted = false)).timeline()
        val flood = (1..2_000).map { scope.async { runCatching { timeline.send("Drop $it") } } }.awaitAll()
        val (kept, refused) = flood.partition { it.isSuccess }
        assertTrue(kept.size >= 1_000, "${kept.size} were kept")
        assertEquals(setOf(NodeException.RateLimited::class), refused.map { it.exceptionOrNull()!!::class }.toSet())
        eventually("there is room again") { runCatching { timeline.send("After the flood") }.isSuccess }
    }

    @Test
    fun `Forbidden, by the rules of the room`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        here.says("Mine")
        val anas = there.hears("Mine")
        fails<NodeException.Forbidden> { there.room.setName("Ben's now") }
        fails<NodeException.Forbidden> { there.room.kick(ana.user) }
        fails<NodeException.Forbidden> { there.timeline.edit(anas.id, OutgoingText("Not mine")) }
    }

    @Test
    fun `Callback, when the keystore throws, and the node starts when it does not`() = phones {
        var broken: (() -> Nothing)? = { throw PlatformException.Failed("not unlocked since the phone was started") }
        val keys = object : MemoryKeys() {
            override fun keystoreGet(name: String): ByteArray? = broken?.invoke() ?: super.keystoreGet(name)
        }
        val ana = phone("ana", keys = keys)
        val declared = fails<NodeException.Callback> { ana.hearth.start() }
        assertTrue("not unlocked" in declared.reason, declared.reason)
        broken = { error("something that nobody declared") }
        fails<NodeException.Callback> { ana.hearth.start() }
        assertEquals(NodeState.STOPPED, ana.hearth.state)
        assertFalse(ana.data.resolve("identity.key").exists() && openBelow(ana.data).isNotEmpty())
        broken = null
        ana.hearth.start()
    }

    @Test
    fun `what cannot be sent says so in its item`() = phones {
        val ana = started("ana")
        val diary = conversation(ana.hearth.rooms.create(NewRoom(name = "Diary")))
        val handle = diary.timeline.sendFile(File(folder, "missing").path, FileInfo("missing", MediaKind.FILE))
        diary.seen.until("it failed") { rows -> rows.any { it.id == handle.itemId() && it.state is SendState.Failed } }
        fails<NodeException.InvalidInput> { handle.join() }
        ana.hearth.pause()
        fails<NodeException.Paused> { handle.join() }
        ana.hearth.resume()
        fails<NodeException.InvalidInput> { handle.join() }
        handle.close()
    }

    private inline fun <reified T : Throwable> fails(crossinline work: suspend () -> Unit): T =
        assertThrows<T> { runBlocking { work() } }
}
