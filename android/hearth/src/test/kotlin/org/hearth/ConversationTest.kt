package org.hearth

import org.hearth.ffi.FileInfo
import org.hearth.ffi.ItemContent
import org.hearth.ffi.MediaKind
import org.hearth.ffi.NewRoom
import org.hearth.ffi.NodeState
import org.hearth.ffi.OutgoingText
import org.hearth.ffi.PowerMode
import org.hearth.ffi.PreviewKind
import org.hearth.ffi.Reach
import org.hearth.ffi.RoomStanding
import org.hearth.ffi.SendState
import org.junit.jupiter.api.Assertions.assertArrayEquals
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import java.awt.image.BufferedImage
import java.io.File
import java.util.Random
import java.util.concurrent.CopyOnWriteArrayList
import javax.imageio.ImageIO

/** Two people, from a scanned code to everything that a chat has, over real QUIC. */
class ConversationTest {
    @Test
    fun `a contact's code leads to an encrypted conversation both ways`() = phones {
        val (ana, ben) = started("ana") to started("ben")
        val uri = ben.hearth.contactUri()
        val preview = ana.hearth.contacts.preview(uri)
        assertEquals(ben.user, preview.user)
        assertTrue(preview.hasAddress && !preview.known)
        assertEquals(ben.user, ana.hearth.contacts.add(uri, "Ben of the boats"))
        eventually("ben is near") { ana.hearth.contacts.list().single().near }
        assertEquals("Ben of the boats", ana.hearth.contacts.list().single().name)

        val room = ana.hearth.rooms.direct(ben.user)
        assertEquals(room.id(), ana.hearth.rooms.direct(ben.user).id(), "there is one conversation with a person")
        val invited = ben.rooms.until("the invite") { rows -> rows.any { it.standing == RoomStanding.INVITED } }.single()
        assertEquals(ana.user, invited.invite?.by)
        val there = conversation(ben.accept(room.id()))
        val here = conversation(room)
        here.says("Is the kettle on?")
        assertEquals(ana.user, there.hears("Is the kettle on?").sender)
        there.says("It sings.")
        assertEquals("Ben", here.hears("It sings.").senderName)
        assertTrue(room.info().encrypted)
        val summary = ana.rooms.until("the last message") { rows -> rows.any { it.last?.text == "It sings." } }.single()
        assertTrue(summary.direct && summary.encrypted)
        assertEquals(PreviewKind.TEXT, summary.last?.kind)
    }

    @Test
    fun `a picture arrives as it was, with its progress and its thumbnail`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        val picture = noise(File(folder, "harbour.png"))
        val sent = CopyOnWriteArrayList<Progress>()
        val handle = here.timeline.sendFile(
            picture.path,
            FileInfo(name = "harbour.png", kind = MediaKind.IMAGE, mime = "image/png", caption = "The harbour"),
            sent::add,
        )
        val event = handle.join()
        val item = there.seen.until("the picture") { rows -> rows.any { it.content is ItemContent.File } }
            .first { it.content is ItemContent.File }
        assertEquals(event, item.eventId)
        val media = (item.content as ItemContent.File).media
        assertEquals(listOf(MediaKind.IMAGE, "harbour.png", "The harbour"), listOf(media.kind, media.name, media.caption))
        assertEquals(listOf(SIDE.toULong(), SIDE.toULong()), listOf(media.width, media.height))
        assertTrue(media.encrypted && media.hasThumbnail)
        eventually("the last word is that all is done") { sent.lastOrNull()?.fraction == 1f }
        assertEquals(picture.length(), sent.last().total)
        assertEquals(sent.sortedBy { it.done }, sent.toList(), "progress does not go back")
        assertTrue(sent.size > 2, "there was something between nothing and all: $sent")

        val fetched = CopyOnWriteArrayList<Progress>()
        val copy = File(folder, "copy.png")
        assertEquals(picture.length(), there.timeline.download(item.id, copy.path, fetched::add).toLong())
        assertArrayEquals(picture.readBytes(), copy.readBytes())
        eventually("the download's progress") { fetched.isNotEmpty() }
        val thumbnail = ImageIO.read(there.timeline.thumbnail(item.id).inputStream())
        assertTrue(thumbnail.width in 100 until SIDE, "a thumbnail that can be shown, of ${thumbnail.width} pixels")
        here.seen.until("the picture left") { rows -> rows.any { it.id == handle.itemId() && it.state is SendState.Sent } }
        handle.close()
    }

    @Test
    fun `who types is seen, and so is who stopped`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        val typists = watch(there.room.typists())
        here.room.setTyping(true)
        assertEquals(ana.user, typists.until("ana types") { it.isNotEmpty() }.single().user)
        here.room.setTyping(false)
        typists.until("nobody types") { it.isEmpty() }
    }

    @Test
    fun `a message says truly how far it has come`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        fun reach(text: String, reach: Reach): suspend () -> Unit = {
            here.seen.until("\"$text\" is $reach") { rows ->
                val state = rows.firstOrNull { it.says(text) }?.state as? SendState.Sent
                state?.recipients?.singleOrNull { it.user == ben.user }?.reach == reach
            }
        }
        here.says("Near")
        reach("Near", Reach.ON_THEIR_PHONE)()
        there.hears("Near")
        there.timeline.markRead(false)
        reach("Near", Reach.READ)()
        here.seen.until("ben's receipt") { rows -> rows.first { it.says("Near") }.readBy == listOf(ben.user) }

        ben.hearth.stop()
        here.says("Far")
        reach("Far", Reach.QUEUED)()
        ben.hearth.start()
        there.hears("Far")
        reach("Far", Reach.ON_THEIR_PHONE)()
    }

    @Test
    fun `the status says who is near and what waits for whom`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        val status = watch(ana.hearth.status)
        status.until("ben is near, and has everything") { it.near == 1u && it.waiting == 0uL }
        ana.hearth.setPowerMode(PowerMode.OFFLINE)
        status.until("nobody is near") { it.near == 0u && it.state == NodeState.RUNNING }
        here.says("Later, then")
        assertEquals(1u, status.until("it waits") { it.waiting > 0uL }.waitingFor)
        ana.hearth.setPowerMode(PowerMode.FOREGROUND)
        there.hears("Later, then")
        status.until("ben is back, and has it") { it.near == 1u && it.waiting == 0uL && it.waitingFor == 0u }
        ana.hearth.pause()
        status.until("it is paused") { it.state == NodeState.PAUSED && it.near == 0u }
    }

    @Test
    fun `an answer, an edit, a reaction and a deletion arrive`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        here.says("Tea at five?")
        val question = there.hears("Tea at five?")
        there.timeline.send("At six.", replyTo = question.eventId)
        val answer = here.hears("At six.")
        assertEquals("Tea at five?", answer.replyTo?.text)

        val own = there.hears("At six.")
        there.timeline.edit(own.id, OutgoingText("At half past six."))
        assertTrue(here.hears("At half past six.").edited)
        here.timeline.react(answer.id, "👍", true)
        there.seen.until("the reaction") { rows -> rows.any { row -> row.reactions.any { it.key == "👍" && !it.mine } } }
        here.timeline.redact(here.hears("Tea at five?").id, "too early")
        there.seen.until("the deletion") { rows -> rows.any { it.content is ItemContent.Redacted } }
    }

    @Test
    fun `a group of three reads along`() = phones {
        val (ana, ben) = anaAndBen()
        val chi = started("chi")
        chi.knows(ana)
        chi.knows(ben)
        val room = ana.hearth.rooms.create(NewRoom(name = "Crew", invite = listOf(ben.user, chi.user)))
        val (bens, chis) = conversation(ben.accept(room.id())) to conversation(chi.accept(room.id()))
        val anas = conversation(room)
        anas.says("All aboard?")
        bens.hears("All aboard?")
        chis.hears("All aboard?")
        chis.says("Aye.")
        anas.hears("Aye.")
        bens.hears("Aye.")
        assertEquals(3, room.members().count { it.membership == "join" })
    }

    private fun noise(file: File): File {
        val image = BufferedImage(SIDE, SIDE, BufferedImage.TYPE_INT_RGB)
        val random = Random(7)
        for (x in 0 until SIDE) for (y in 0 until SIDE) image.setRGB(x, y, random.nextInt())
        ImageIO.write(image, "png", file)
        return file
    }

    private companion object {
        /** Larger than any thumbnail. */
        const val SIDE = 900
    }
}
