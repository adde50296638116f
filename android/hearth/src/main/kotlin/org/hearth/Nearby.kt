/*
 * Finding other phones with what the platform offers, and telling the node of changes of the network.
 *
 * What the platform finds goes into the same address book as what Hearth finds itself. Nothing here knows Android: the radios
 * are interfaces, and the tests have their own.
 */
package org.hearth

import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.FlowPreview
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.collectLatest
import kotlinx.coroutines.flow.debounce
import kotlinx.coroutines.flow.distinctUntilChanged
import kotlinx.coroutines.flow.drop
import kotlinx.coroutines.flow.flowOf
import kotlinx.coroutines.flow.onStart
import kotlinx.coroutines.launch
import org.hearth.ffi.Announcement
import org.hearth.ffi.FetchSummary
import org.hearth.ffi.NodeException
import org.hearth.ffi.Peers
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/** A service that was found on the network. */
data class Sighting(
    /** The instance's name. */
    val instance: String,
    /** The TXT record. */
    val properties: Map<String, String>,
    /** IP addresses of its host. */
    val hosts: List<String>,
)

/** The platform's DNS-SD: NsdManager on Android. */
interface ServiceDiscovery {
    /** Announces a service until it is cancelled. Throws when that cannot be done. */
    suspend fun announce(announcement: Announcement)

    /** The services of a type, each whenever it appears or changes. Searches only while it is collected. */
    fun sightings(service: String): Flow<Sighting>
}

/** What a search needs of a node. */
interface AddressBook {
    /** What must be announced for this node. */
    suspend fun announcement(): Announcement

    /** Takes what was found. Answers whether it was a phone that can be called. */
    suspend fun found(properties: Map<String, String>, hosts: List<String>): Boolean
}

/** A node's address book. */
fun Peers.addressBook(): AddressBook = object : AddressBook {
    override suspend fun announcement() = this@addressBook.announcement()

    override suspend fun found(properties: Map<String, String>, hosts: List<String>) =
        this@addressBook.found(properties, hosts)
}

/** How long to wait for a node that does not run yet, or a radio that refuses, before asking again. */
private val RETRY_AFTER = 500.milliseconds

/** How long a network must stay as it is before the node is told: while a phone changes networks, much comes and goes. */
private val SETTLED_AFTER = 1.seconds

/**
 * Announces a node and, while [looking] says so, searches for others, until it is cancelled. [moved] speaks whenever the node may
 * listen elsewhere than before, and is announced anew then.
 */
suspend fun search(
    book: AddressBook,
    radio: ServiceDiscovery,
    moved: Flow<Unit>,
    looking: Flow<Boolean> = flowOf(true),
) = coroutineScope {
    moved.onStart { emit(Unit) }.collectLatest {
        insist {
            val ours = book.announcement()
            coroutineScope {
                launch { insist { radio.announce(ours) } }
                looking.distinctUntilChanged().collectLatest { looks ->
                    if (!looks) return@collectLatest
                    radio.sightings(ours.service).collect { seen ->
                        if (seen.instance != ours.instance) book.found(seen.properties, seen.hosts)
                    }
                }
            }
        }
    }
}

/** Tries until it works. The node may not run yet, and the radio may be off: neither says when that changes. */
private suspend fun insist(work: suspend () -> Unit) {
    while (true) {
        try {
            return work()
        } catch (cancelled: CancellationException) {
            throw cancelled
        } catch (_: NodeException) {
            delay(RETRY_AFTER)
        } catch (_: RadioException) {
            delay(RETRY_AFTER)
        }
    }
}

/** The platform's radio could not do what it was asked. */
class RadioException(reason: String) : Exception(reason)

/**
 * Tells a node of changes of the local networks, each described in any way that differs when they do, until it is cancelled.
 * What was there at the beginning is no change, and neither is what was undone at once.
 */
@OptIn(FlowPreview::class)
suspend fun followNetworks(networks: Flow<Set<String>>, settled: Duration = SETTLED_AFTER, changed: suspend () -> Unit) =
    networks.debounce(settled).distinctUntilChanged().drop(1).collect {
        try {
            changed()
        } catch (_: NodeException) {
            // A node that does not run listens anew when it is started, and one without a network at the next change.
        }
    }

/** A background fetch, with the platform's search beside it. */
suspend fun fetch(node: Power, limit: Duration, search: suspend () -> Unit): FetchSummary = coroutineScope {
    val searching = launch { search() }
    try {
        node.backgroundFetch(limit)
    } finally {
        searching.cancel()
    }
}
