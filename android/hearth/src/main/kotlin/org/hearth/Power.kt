/*
 * When the node runs, and how much it may spend: all that it can while the app is looked at, less while something holds it, and
 * nothing otherwise.
 *
 * The platform's half only says what it sees (`foreground`, `hold`, `saving`); what follows is decided here, one step after
 * another, so that it can be tested without a phone.
 */
package org.hearth

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.flow.asStateFlow
import kotlinx.coroutines.flow.collectLatest
import kotlinx.coroutines.flow.distinctUntilChanged
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.update
import kotlinx.coroutines.launch
import org.hearth.ffi.FetchSummary
import org.hearth.ffi.NodeState
import org.hearth.ffi.PowerMode
import java.util.concurrent.atomic.AtomicBoolean
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/** What can be switched on and off; [Hearth] is. */
interface Power {
    /** What the node does now. */
    val state: NodeState

    /**
     * Starts the homeserver, the client and the network, after a pause too; the first time it makes the key, the account and
     * the device. Does nothing while the node runs.
     */
    suspend fun start()

    /** Ends everything in order. */
    suspend fun stop()

    /** Ends all traffic and lets go of every file. */
    suspend fun pause()

    /** Goes on after a pause. */
    suspend fun resume()

    /** Spends more or less on being within reach; a node that does not run, once it does. */
    suspend fun setPowerMode(mode: PowerMode)

    /** Listens and connects anew. */
    suspend fun networkChanged()

    /** Wakes the node for as long as there is something to fetch, and at most this long; then leaves it as it was. */
    suspend fun backgroundFetch(limit: Duration): FetchSummary
}

/**
 * Starts, pauses and resumes a node as the app comes and goes.
 *
 * A turn of the phone ends one activity and begins another, so a pause waits for [grace], and so does whatever saves power.
 */
class Lifecycle(private val node: Power, scope: CoroutineScope, private val grace: Duration = 5.seconds) {
    private data class Wishes(
        val foreground: Boolean = false,
        val holds: Int = 0,
        val saving: Boolean = false,
        val offline: Boolean = false,
    ) {
        val run get() = foreground || holds > 0

        val mode get() = when {
            offline -> PowerMode.OFFLINE
            foreground -> PowerMode.FOREGROUND
            saving -> PowerMode.LOW_POWER
            else -> PowerMode.BACKGROUND
        }
    }

    private val wishes = MutableStateFlow(Wishes())
    private val isRunning = MutableStateFlow(false)
    private val taken = MutableStateFlow<PowerMode?>(null)
    private val lastFailure = MutableStateFlow<Exception?>(null)

    /** Whether the node was brought up by this and not put down again. */
    val running: StateFlow<Boolean> = isRunning.asStateFlow()

    /** How much the node was last told to spend; `null` before the first time. */
    val mode: StateFlow<PowerMode?> = taken.asStateFlow()

    /** Why the node could not be started or paused, until it could. It is tried again with the next wish. */
    val failure: StateFlow<Exception?> = lastFailure.asStateFlow()

    private val job: Job = scope.launch {
        launch { wishes.map { it.mode }.distinctUntilChanged().collectLatest(::spend) }
        wishes.map { it.run }.distinctUntilChanged().collectLatest { run -> if (run) up() else down() }
    }

    /** The app is looked at, or is not any more. */
    fun foreground(seen: Boolean) = wishes.update { it.copy(foreground = seen) }

    /** The battery or the data plan must last, or need not any more: then a node that is only held spends as little as it can. */
    fun saving(on: Boolean) = wishes.update { it.copy(saving = on) }

    /** Takes the node off the network, or puts it back, because the person says so. What is sent meanwhile waits. */
    fun offline(on: Boolean) = wishes.update { it.copy(offline = on) }

    /** Keeps the node running until the answer is closed: for a foreground service, or a transfer. */
    fun hold(): AutoCloseable {
        wishes.update { it.copy(holds = it.holds + 1) }
        val held = AtomicBoolean(true)
        return AutoCloseable {
            if (held.compareAndSet(true, false)) wishes.update { it.copy(holds = it.holds - 1) }
        }
    }

    /** Ends this; the node stays as it is. */
    fun end() = job.cancel()

    private suspend fun up() = attempt {
        // From a pause too, and without a look at the state: while a background fetch runs it says nothing of what follows.
        node.start()
        isRunning.value = true
    }

    private suspend fun down() {
        delay(grace)
        isRunning.value = false
        attempt { if (node.state == NodeState.RUNNING) node.pause() }
    }

    private suspend fun spend(mode: PowerMode) {
        if (taken.value == PowerMode.FOREGROUND && mode != PowerMode.OFFLINE) delay(grace)
        try {
            node.setPowerMode(mode)
        } catch (cancelled: CancellationException) {
            throw cancelled
        } catch (failure: Exception) {
            // That it works says nothing of whether the node could be started, and takes no failure away.
            lastFailure.value = failure
        }
        taken.value = mode
    }

    private suspend fun attempt(step: suspend () -> Unit) {
        try {
            step()
            lastFailure.value = null
        } catch (cancelled: CancellationException) {
            throw cancelled
        } catch (failure: Exception) {
            lastFailure.value = failure
        }
    }
}
