package org.hearth

import kotlinx.coroutines.ExperimentalCoroutinesApi
import kotlinx.coroutines.delay
import kotlinx.coroutines.test.TestScope
import kotlinx.coroutines.test.advanceTimeBy
import kotlinx.coroutines.test.runCurrent
import kotlinx.coroutines.test.runTest
import org.hearth.ffi.FetchSummary
import org.hearth.ffi.NodeException
import org.hearth.ffi.NodeState
import org.hearth.ffi.PowerMode
import org.junit.jupiter.api.Assertions.assertEquals
import org.junit.jupiter.api.Assertions.assertNotNull
import org.junit.jupiter.api.Assertions.assertNull
import org.junit.jupiter.api.Test
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/** When the node runs, with a node that only writes down what it is told. */
@OptIn(ExperimentalCoroutinesApi::class)
class PowerTest {
    private class Scripted(var failure: NodeException? = null) : Power {
        override var state = NodeState.STOPPED
        val told = mutableListOf<String>()
        val modes = mutableListOf<PowerMode>()

        private suspend fun step(name: String, to: NodeState) {
            if (state == to) return
            told += name
            delay(100)
            failure?.let { throw it }
            state = to
        }

        override suspend fun start() = step("start", NodeState.RUNNING)

        override suspend fun stop() = step("stop", NodeState.STOPPED)

        override suspend fun pause() = step("pause", NodeState.PAUSED)

        override suspend fun resume() = step("resume", NodeState.RUNNING)

        override suspend fun setPowerMode(mode: PowerMode) {
            modes += mode
            // Longer than a start takes: that it works must not hide that the start did not.
            delay(200)
        }

        override suspend fun networkChanged() = Unit

        override suspend fun backgroundFetch(limit: Duration) = FetchSummary(0u, 0uL, true)
    }

    private fun test(body: suspend TestScope.(Scripted, Lifecycle) -> Unit) = runTest {
        val node = Scripted()
        val lifecycle = Lifecycle(node, backgroundScope, grace = 5.seconds)
        body(node, lifecycle)
    }

    private fun TestScope.pass(time: Duration) {
        advanceTimeBy(time)
        runCurrent()
    }

    @Test
    fun `nothing is started for nobody`() = test { node, _ ->
        pass(60.seconds)
        assertEquals(emptyList<String>(), node.told)
    }

    @Test
    fun `it starts with the first activity, pauses after the last one and goes on`() = test { node, lifecycle ->
        lifecycle.foreground(true)
        pass(1.seconds)
        assertEquals(listOf("start"), node.told)
        assertEquals(true, lifecycle.running.value)
        lifecycle.foreground(false)
        pass(4.seconds)
        assertEquals(listOf("start"), node.told)
        pass(2.seconds)
        lifecycle.foreground(true)
        pass(1.seconds)
        assertEquals(listOf("start", "pause", "start"), node.told)
    }

    @Test
    fun `a turn of the phone pauses nothing`() = test { node, lifecycle ->
        lifecycle.foreground(true)
        repeat(10) {
            pass(3.seconds)
            lifecycle.foreground(false)
            pass(3.seconds)
            lifecycle.foreground(true)
        }
        pass(60.seconds)
        assertEquals(listOf("start"), node.told)
    }

    @Test
    fun `a hold keeps it running, and counts once however often it is closed`() = test { node, lifecycle ->
        lifecycle.foreground(true)
        pass(1.seconds)
        val (first, second) = lifecycle.hold() to lifecycle.hold()
        lifecycle.foreground(false)
        first.close()
        first.close()
        pass(60.seconds)
        assertEquals(listOf("start"), node.told)
        second.close()
        pass(60.seconds)
        assertEquals(listOf("start", "pause"), node.told)
        assertEquals(false, lifecycle.running.value)
    }

    @Test
    fun `it spends less when nobody looks, and least when the battery must last`() = test { node, lifecycle ->
        val hold = lifecycle.hold()
        pass(1.seconds)
        assertEquals(listOf(PowerMode.BACKGROUND), node.modes)
        lifecycle.foreground(true)
        lifecycle.saving(true)
        pass(60.seconds)
        assertEquals(listOf(PowerMode.BACKGROUND, PowerMode.FOREGROUND), node.modes)
        node.modes.clear()
        // A turn of the phone.
        lifecycle.foreground(false)
        pass(3.seconds)
        lifecycle.foreground(true)
        pass(60.seconds)
        assertEquals(PowerMode.FOREGROUND, node.modes.lastOrNull() ?: lifecycle.mode.value)
        assertEquals(false, PowerMode.LOW_POWER in node.modes)
        lifecycle.foreground(false)
        pass(6.seconds)
        assertEquals(PowerMode.LOW_POWER, lifecycle.mode.value)
        lifecycle.saving(false)
        pass(1.seconds)
        assertEquals(PowerMode.BACKGROUND, lifecycle.mode.value)
        hold.close()
    }

    @Test
    fun `off the network is off, whoever looks`() = test { node, lifecycle ->
        lifecycle.foreground(true)
        pass(1.seconds)
        lifecycle.offline(true)
        pass(1.seconds)
        assertEquals(PowerMode.OFFLINE, node.modes.last())
        lifecycle.foreground(false)
        lifecycle.foreground(true)
        pass(60.seconds)
        assertEquals(PowerMode.OFFLINE, node.modes.last())
        assertEquals(listOf("start"), node.told)
        lifecycle.offline(false)
        pass(1.seconds)
        assertEquals(PowerMode.FOREGROUND, node.modes.last())
    }

    @Test
    fun `what failed is said, and tried again with the next wish`() = test { node, lifecycle ->
        node.failure = NodeException.Storage("the disk is full")
        lifecycle.foreground(true)
        pass(1.seconds)
        assertNotNull(lifecycle.failure.value)
        assertEquals(false, lifecycle.running.value)
        lifecycle.foreground(false)
        pass(10.seconds)
        node.failure = null
        lifecycle.foreground(true)
        pass(1.seconds)
        assertNull(lifecycle.failure.value)
        assertEquals(listOf("start", "start"), node.told)
        assertEquals(true, lifecycle.running.value)
    }
}
