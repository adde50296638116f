package org.hearth

import org.hearth.ffi.NewRoom
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.net.URI

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
