/*
 * The front door: a node and all that hangs on it, under one name.
 *
 * What takes time suspends, whatever changes is a flow, and errors are `NodeException`s of a dozen kinds. Everything below
 * `org.hearth.ffi` is generated and may be used beside this.
 */
package org.hearth

import kotlinx.coroutines.NonCancellable
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.withContext
import org.hearth.ffi.Backup
import org.hearth.ffi.ClientApi
import org.hearth.ffi.Contacts
import org.hearth.ffi.Event
import org.hearth.ffi.FetchSummary
import org.hearth.ffi.Identity
import org.hearth.ffi.LogSink
import org.hearth.ffi.Node
import org.hearth.ffi.NodeConfig
import org.hearth.ffi.NodeException
import org.hearth.ffi.NodeState
import org.hearth.ffi.NodeStatus
import org.hearth.ffi.Peers
import org.hearth.ffi.Platform
import org.hearth.ffi.PowerMode
import org.hearth.ffi.Rooms
import org.hearth.ffi.StatusListener
import org.hearth.ffi.Verifications
import kotlin.time.Duration

/**
 * A Matrix homeserver with its client, in this process.
 *
 * Safe to use from any thread. Handles live as long as this does and outlive every pause of the node; what they are asked
 * meanwhile they answer with `NodeException.Paused` or `NotRunning`.
 */
class Hearth(config: NodeConfig, platform: Platform, logs: LogSink? = null) : Power, AutoCloseable {
    /** The generated half, for what has no shorter name here. */
    val node: Node = Node.open(config, platform, logs)

    /** The person's rooms. */
    val rooms: Rooms = node.rooms()

    /** The people whom the person knows. */
    val contacts: Contacts = node.contacts()

    /** The phones on the network. */
    val peers: Peers = node.peers()

    /** Verifications of people and of the person's other devices. */
    val verifications: Verifications = node.verifications()

    /** Export and import of everything, and the recovery key, by which other Matrix clients of the person read the past. */
    val backup: Backup = node.backup()

    /** The loopback Client-Server API, for unmodified Matrix clients on this phone. */
    val clientApi: ClientApi = node.clientApi()

    override val state: NodeState get() = node.state()

    /** Who the person is. The node must run. */
    val identity: Identity get() = node.identity()

    /** The person's contact as a URI, with where this phone is now. */
    suspend fun contactUri(): String = node.contactUri()

    /** How it goes with the node, and again whenever that changes. */
    val status: Flow<NodeStatus> = newest { tell ->
        node.subscribeStatus(object : StatusListener {
            override fun onStatus(status: NodeStatus) = tell(status)
        })
    }

    /**
     * What a person should be told of while the app is not looked at. Each event counts as handled when the collector comes
     * back for the next one; one that was not is handed out again, after a pause or a kill too. One collector at a time. Ends
     * when everything was wiped.
     */
    val events: Flow<Event> = flow {
        while (true) {
            val event = node.nextEvent() ?: break
            emit(event)
            try {
                node.eventHandled(event.id)
            } catch (_: NodeException.Paused) {
                continue // It comes again when the node is back.
            } catch (_: NodeException.NotRunning) {
                continue
            }
        }
    }

    // A change of state is carried through even when its caller is cancelled. The caller waits all the same, so that whoever
    // comes after it finds the node in one state or the other.

    override suspend fun start() = whole { node.start() }

    override suspend fun stop() = whole { node.stop() }

    override suspend fun pause() = whole { node.pause() }

    override suspend fun resume() = whole { node.resume() }

    override suspend fun setPowerMode(mode: PowerMode) = whole { node.setPowerMode(mode) }

    override suspend fun networkChanged() = whole { node.networkChanged() }

    override suspend fun backgroundFetch(limit: Duration): FetchSummary =
        whole { node.backgroundFetch(limit.inWholeMilliseconds.coerceAtLeast(0).toULong()) }

    /**
     * Destroys the keys, then the files, in whatever state the node is, and returns when it is done. Call it from a thread
     * that may block.
     */
    fun panicWipe() = node.panicWipe()

    /** Lets go of the node, which ends in the background. `stop` first, to know when its files are closed. */
    override fun close() {
        listOf(rooms, contacts, peers, verifications, backup, clientApi, node).forEach { it.close() }
    }

    private suspend fun <T> whole(work: suspend () -> T): T = withContext(NonCancellable) { work() }
}
