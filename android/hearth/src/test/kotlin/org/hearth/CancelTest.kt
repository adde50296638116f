package org.hearth

import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeoutOrNull
import org.hearth.ffi.CancelToken
import org.hearth.ffi.FileInfo
import org.hearth.ffi.ItemContent
import org.hearth.ffi.MediaKind
import org.hearth.ffi.NewRoom
import org.hearth.ffi.NodeException
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertInstanceOf
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.io.RandomAccessFile
import kotlin.time.Duration.Companion.seconds

/** Calling things off. */
class CancelTest {
    @Test
    fun `a file that is called off goes nowhere`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        val film = File(folder, "film").apply { RandomAccessFile(this, "rw").use { it.setLength(40L shl 20) } }
        val handle = here.timeline.sendFile(film.path, FileInfo("film", MediaKind.FILE))
        handle.cancel()
        assertInstanceOf(NodeException.Cancelled::class.java, runCatching { handle.join() }.exceptionOrNull())
        here.says("No film today")
        there.hears("No film today")
        assertFalse(there.seen.now.orEmpty().any { it.content is ItemContent.File })
        here.seen.until("the item is gone") { rows -> rows.none { it.id == handle.itemId() && it.content is ItemContent.File } }
        handle.close()
    }

    @Test
    fun `a cancelled download can be had again`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        val film = File(folder, "film").apply { RandomAccessFile(this, "rw").use { it.setLength(6L shl 20) } }
        here.timeline.sendFile(film.path, FileInfo("film", MediaKind.FILE)).close()
        val item = there.seen.until("the film") { rows -> rows.any { it.content is ItemContent.File } }.last()
        val copy = File(folder, "copy")
        val begun = CompletableDeferred<Unit>()
        val fetching = scope.launch { there.timeline.download(item.id, copy.path) { begun.complete(Unit) } }
        begun.await()
        fetching.cancelAndJoin()
        val token = CancelToken()
        val called = runCatching { there.timeline.download(item.id, copy.path, listening { token.cancel() }, token) }
        assertInstanceOf(NodeException.Cancelled::class.java, called.exceptionOrNull())
        assertFalse(copy.exists(), "half a file is none")
        assertEquals(film.length(), there.timeline.download(item.id, copy.path).toLong())
        assertEquals(film.length(), copy.length())
    }

    @Test
    fun `a flow that is collected again begins anew, at once`() = phones {
        val ana = started("ana")
        val timeline = ana.hearth.rooms.create(NewRoom(name = "Diary")).timeline()
        timeline.send("Dear diary")
        // As a screen does that is turned again and again.
        repeat(200) { round ->
            val items = withTimeoutOrNull(10.seconds) { timeline.items().first() }
            assertTrue(items?.last()?.says("Dear diary") == true, "round $round: $items")
        }
    }

    @Test
    fun `callers that are cancelled harm nobody else`() = phones {
        val ana = started("ana")
        val diary = conversation(ana.hearth.rooms.create(NewRoom(name = "Diary")))
        val senders = (1..100).map { number -> scope.async { diary.says("Number $number") } }
        senders.filterIndexed { at, _ -> at % 3 == 0 }.forEach { it.cancel() }
        senders.filterIndexed { at, _ -> at % 3 != 0 }.awaitAll()
        diary.says("The end")
        diary.hears("The end")
        val said = diary.seen.now.orEmpty().map { it.text() }.filter { it.startsWith("Number") }
        assertTrue(said.size >= 40, "$said")
        assertEquals(said.distinct(), said, "nothing twice")
    }
}
