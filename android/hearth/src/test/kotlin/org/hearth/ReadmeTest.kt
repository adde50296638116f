package org.hearth

import android.app.Application
import com.google.zxing.qrcode.decoder.Decoder
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.launch
import org.hearth.android.HearthAndroid
import org.hearth.ffi.QrMatrix
import org.hearth.ffi.RoomStanding
import org.hearth.ffi.TimelineItem
import org.hearth.ffi.qrMatrix
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.io.File
import java.util.concurrent.CopyOnWriteArrayList

// What the README says of an app, compiled and never run: it needs a phone.

class App : Application() {
    override fun onCreate() { super.onCreate(); HearthAndroid.install(this, account = "ana") }
}

fun installed(): Hearth {
    val hearth = HearthAndroid.current!!.hearth
    return hearth
}

/** The README says what is so. */
class ReadmeTest {
    @Test
    fun `from nothing to a first message`() = phones {
        val (ana, other) = started("ana") to started("ben")
        val shown = CopyOnWriteArrayList<TimelineItem>()
        firstMessage(ana.hearth, scope, other.hearth.contactUri()) { shown.clear(); shown.addAll(it) }
        eventually("ana sees what she said") { shown.any { it.says("Hello!") } }
        val invite = other.rooms.until("the invite") { rows -> rows.any { it.standing == RoomStanding.INVITED } }.single()
        val (hearth, row) = other.hearth to invite
        hearth.rooms.join(row.id)
        val there = conversation(hearth.rooms.get(row.id))
        // As a screen does that shows a gap: what was said before ben came in lies with ana until it is asked for.
        there.timeline.paginateBackwards(20u)
        there.hears("Hello!")
    }

    private suspend fun firstMessage(hearth: Hearth, scope: CoroutineScope, scanned: String, show: (List<TimelineItem>) -> Unit) {
        val code = qrMatrix(hearth.contactUri())
        val ben = hearth.contacts.add(scanned, name = "Ben")
        val timeline = hearth.rooms.direct(ben).timeline()
        scope.launch { timeline.items().collect { show(it) } }
        timeline.send("Hello!")
        assertEquals(hearth.contactUri(), scan(code), "what another phone reads out of the code")
    }

    @Test
    fun `each line of it is compiled here`() {
        val readme = File("../README.md").readText()
        val lines = readme.substringAfter("```kotlin\n").substringBefore("```").lines()
            .map { it.substringBefore(" //").trim() }.filter(String::isNotEmpty)
        assertTrue(lines.size in 5..10, "$lines")
        val here = File("src/test/kotlin/org/hearth/ReadmeTest.kt").readLines().map(String::trim)
        assertEquals(emptyList<String>(), lines - here.toSet())
        for (inline in listOf("hearth.rooms.join(row.id)")) assertTrue("`$inline`" in readme && inline in here, inline)
    }

    private fun scan(code: QrMatrix): String {
        val rows = code.modules.chunked(code.size.toInt()).map { it.toBooleanArray() }
        return Decoder().decode(rows.toTypedArray()).text
    }
}
