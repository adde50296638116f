package org.hearth

import org.hearth.ffi.NewRoom
import org.hearth.ffi.NodeState
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertFalse
import org.junit.jupiter.api.Assertions.assertTrue
import org.junit.jupiter.api.Test

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

    private fun gone(phone: Phone) {
        phone.hearth.panicWipe()
        phone.hearth.panicWipe()
        assertEquals(NodeState.WIPED, phone.hearth.state)
        assertEquals(0, (phone.keys as MemoryKeys).secrets.size)
        assertEquals(emptyList<String>(), openBelow(phone.data))
        assertFalse(phone.data.walk().any { it.isFile }, phone.data.walk().joinToString())
    }
}
