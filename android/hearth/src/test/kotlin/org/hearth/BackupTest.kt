package org.hearth

import org.hearth.ffi.NewRoom
import org.hearth.ffi.NodeException
import org.hearth.ffi.Recovered
import org.hearth.ffi.RecoveryState
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.net.URI

/** A recovery key that nobody has. */
private const val OTHER_KEY = "EsSz ykH7 LCZx 7Cae cmKD wcmY JRXi Ybtu 8iQ3 t8Ez nRwK pUY1"

/** What leads out of Hearth and back in: the backup, and the door for other Matrix clients. */
class BackupTest {
    @Test
    fun `a new phone goes on where the old one was backed up`() = phones {
        val ana = started("ana")
        val room = ana.hearth.rooms.create(NewRoom(name = "Diary"))
        conversation(room).run {
            says("Day one")
            hears("Day one")
        }
        val file = File(folder, "backup")
        assertEquals(ana.hearth.backup.export(file.path, "correct horse").toLong(), file.length())
        val before = ana.user
        ana.hearth.stop()

        val fresh = phone("ana", data = File(folder, "new phone"))
        fresh.hearth.backup.import(file.path, "correct horse")
        fresh.hearth.start()
        assertEquals(before, fresh.user)
        conversation(fresh.hearth.rooms.get(room.id())).hears("Day one")
    }

    @Test
    fun `a recovery key opens what other clients of the person find on the phone`() = phones {
        val ana = started("ana")
        val backup = ana.hearth.backup
        assertEquals(RecoveryState.Off, backup.recoveryState())
        assertTrue(runCatching { backup.recover(OTHER_KEY) }.exceptionOrNull() is NodeException.NotFound)
        conversation(ana.hearth.rooms.create(NewRoom(name = "Diary"))).run {
            says("Day one")
            hears("Day one")
        }
        val written = backup.recoveryKey()
        assertTrue(Regex("(\\w{4} ){11}\\w{4}").matches(written), "48 letters in groups of four")
        // The key of the message may be made after the recovery key was.
        eventually("the backup has the room key") { (backup.recoveryState() as RecoveryState.On).backedUp == 1uL }
        val first = backup.recoveryState() as RecoveryState.On
        assertEquals(1uL, first.total)

        val client = Client(ana.hearth.clientApi.enable(0u))
        val data = "user/${ana.user}/account_data"
        assertTrue("\"encrypted\"" in client.ask("GET", "$data/m.cross_signing.master"))
        assertTrue("\"count\":1" in client.ask("GET", "room_keys/version"))
        client.ask("DELETE", "room_keys/version/${first.version}")
        assertEquals(RecoveryState.Replaced, backup.recoveryState())
        val another = backup.recoveryKey()
        assertEquals(1uL, (backup.recoveryState() as RecoveryState.On).backedUp)

        assertEquals(Recovered(isVerified = true, roomKeys = 0uL), backup.recover(another.replace(" ", "")))
        assertTrue(runCatching { backup.recover(written) }.exceptionOrNull() is NodeException.Crypto)
        assertTrue(runCatching { backup.recover(another.dropLast(1)) }.exceptionOrNull() is NodeException.InvalidInput)
    }

    @Test
    fun `an unmodified client finds a homeserver`() = phones {
        val ana = started("ana")
        val access = ana.hearth.clientApi.enable(0u)
        val versions = URI("${access.url}/_matrix/client/versions").toURL()
        assertTrue("\"versions\"" in versions.readText())
        val client = Client(access)
        assertTrue(ana.user in client.ask("GET", "account/whoami"))
        client.ask("PUT", "profile/${ana.user}/displayname", """{"displayname":"Ana of the hills"}""")
        assertTrue("Ana of the hills" in client.ask("GET", "profile/${ana.user}"))
        assertEquals(access.url, ana.hearth.node.status().clientApiUrl)
        ana.hearth.clientApi.disable()
        assertEquals(null, ana.hearth.node.status().clientApiUrl)
        assertTrue(runCatching { versions.readText() }.isFailure)
    }
}
