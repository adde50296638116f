package org.hearth

import org.hearth.ffi.RoomDiff
import org.hearth.ffi.RoomStanding
import org.hearth.ffi.RoomSummary
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.io.File

/** From changes to lists, and what the shared half may not know. */
class RowsTest {
    @Test
    fun `changes count in the list that the ones before have left`() {
        val rows = mutableListOf<RoomSummary>()
        rows.change(listOf(RoomDiff.Reset(listOf(row("a"), row("b")))))
        rows.change(
            listOf(
                RoomDiff.Insert(0u, row("c")),
                RoomDiff.Remove(1u),
                RoomDiff.Set(1u, row("B")),
                RoomDiff.Insert(2u, row("d")),
            ),
        )
        assertEquals(listOf("c", "B", "d"), rows.map { it.id })
        rows.change(listOf(RoomDiff.Reset(emptyList())))
        assertEquals(emptyList<RoomSummary>(), rows)
        assertThrows<IndexOutOfBoundsException> { rows.change(listOf(RoomDiff.Remove(0u))) }
    }

    @Test
    fun `only the Android half knows Android`() {
        val sources = File("src/main/kotlin/org/hearth")
        val shared = sources.listFiles { file -> file.extension == "kt" }.orEmpty()
        assertFalse(shared.isEmpty())
        for (file in shared) {
            // java.nio.file came to Android with API 26, and the library works from 24.
            val foreign = file.readLines().filter { it.startsWith("import android") || it.startsWith("import java.nio.file") }
            assertEquals(emptyList<String>(), foreign, file.name)
        }
    }

    private fun row(id: String) = RoomSummary(
        id = id, standing = RoomStanding.JOINED, invite = null, name = id, avatar = null, last = null, unread = 0uL,
        highlights = 0uL, direct = false, encrypted = true, members = 1uL,
    )
}
