package org.hearth

import org.hearth.ffi.NewRoom
import org.hearth.ffi.NodeException
import org.hearth.ffi.NodeState
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test
import org.junit.jupiter.api.assertThrows
import java.util.concurrent.CountDownLatch

/** Everything gone, in whatever state the node is. */
class WipeTest {
    @Test
    fun `running, with subscriptions open`() = phones {
        val (ana, ben) = anaAndBen()
        val (here, there) = talk(ana, ben)
        here.says("Burn this")
        there.hears("Burn this")
        gone(ana)
        ben.hearth.rooms.list()
    }

    @Test
    fun `paused`() = phones {
        val ana = started("ana")
        ana.hearth.rooms.create(NewRoom(name = "Diary"))
        ana.hearth.pause()
        gone(ana)
    }

    @Test
    fun `stopped, and never started`() = phones {
        val ana = started("ana")
        ana.hearth.stop()
        gone(ana)
        gone(phone("ben"))
    }

    @Test
    fun `the same folder is as new for another node`() = phones {
        val ana = started("ana")
        val before = ana.user
        gone(ana)
        val again = phone("ana", keys = ana.keys, data = ana.data)
        again.hearth.start()
        assertTrue(before != again.user, "another key is another person")
        assertEquals(emptyList<Any>(), again.hearth.rooms.list())
    }

    @Test
    fun `a keystore that does not answer holds nothing up but the last word`() = phones {
        val answers = CountDownLatch(1)
        val stuck = object : MemoryKeys() {
            override fun keystoreDelete(name: String) = answers.await()
        }
        val ana = phone("ana", keys = stuck)
        ana.hearth.start()
        ana.hearth.rooms.create(NewRoom(name = "Diary"))
        assertThrows<NodeException.Callback> { ana.hearth.panicWipe() }
        assertEquals(NodeState.WIPED, ana.hearth.state)
        assertFalse(ana.data.walk().any { it.isFile }, ana.data.walk().joinToString())
        answers.countDown()
    }

    private fun gone(phone: Phone) {
        phone.hearth.panicWipe()
        phone.hearth.panicWipe()
        assertEquals(NodeState.WIPED, phone.hearth.state)
        assertEquals(0, (phone.keys as MemoryKeys).secrets.size)
        assertEquals(emptyList<String>(), openBelow(phone.data))
        assertFalse(phone.data.walk().any { it.isFile }, phone.data.walk().joinToString())
    }
}
