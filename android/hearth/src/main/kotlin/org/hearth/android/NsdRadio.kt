package org.hearth.android

import android.content.Context
import android.net.nsd.NsdManager
import android.net.nsd.NsdServiceInfo
import android.net.wifi.WifiManager
import android.os.Build
import kotlinx.coroutines.CompletableDeferred
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.callbackFlow
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeoutOrNull
import org.hearth.RadioException
import org.hearth.ServiceDiscovery
import org.hearth.Sighting
import org.hearth.ffi.Announcement
import java.net.InetAddress
import kotlin.coroutines.resume
import kotlin.coroutines.suspendCoroutine
import kotlin.time.Duration.Companion.seconds

/** Services that wait to be resolved. One network has fewer phones; what does not fit is seen again by the next search. */
private const val WAITING_MAX = 64

/** How long one service may take to be resolved, before the next one gets its turn. */
private val RESOLVED_WITHIN = 10.seconds

/**
 * NsdManager as DNS-SD. The Wi-Fi chip hands multicast to the app only while it searches: that costs battery.
 */
internal class NsdRadio(context: Context) : ServiceDiscovery {
    private val nsd = context.getSystemService(NsdManager::class.java)
    private val wifi = context.applicationContext.getSystemService(WifiManager::class.java)

    override suspend fun announce(announcement: Announcement) {
        val service = NsdServiceInfo().apply {
            serviceName = announcement.instance
            serviceType = announcement.service
            port = announcement.port.toInt()
            announcement.properties.forEach { (key, value) -> setAttribute(key, value) }
        }
        val failed = CompletableDeferred<Int>()
        val listener = Registration { failed.complete(it) }
        nsd.registerService(service, NsdManager.PROTOCOL_DNS_SD, listener)
        try {
            throw RadioException("the service could not be announced: error ${failed.await()}")
        } finally {
            ifKnown { nsd.unregisterService(listener) }
        }
    }

    override fun sightings(service: String): Flow<Sighting> = callbackFlow {
        val lock = wifi.createMulticastLock("hearth").apply { setReferenceCounted(false) }
        lock.acquire()
        val found = Channel<NsdServiceInfo>(WAITING_MAX)
        val search = Search(found = { found.trySend(it) }, failed = { close(RadioException("no search: error $it")) })
        nsd.discoverServices(service, NsdManager.PROTOCOL_DNS_SD, search)
        // Before Android 14 a phone resolves one service at a time.
        launch {
            for (info in found) {
                val resolved = withTimeoutOrNull(RESOLVED_WITHIN) { resolve(info) }
                if (resolved != null) send(resolved.sighting())
            }
        }
        awaitClose {
            ifKnown { nsd.stopServiceDiscovery(search) }
            lock.release()
        }
    }

    /** NsdManager throws when it is told to end what it has ended by itself. */
    private fun ifKnown(end: () -> Unit) {
        try {
            end()
        } catch (_: IllegalArgumentException) {
            return
        }
    }

    private suspend fun resolve(info: NsdServiceInfo): NsdServiceInfo? = suspendCoroutine { answer ->
        val listener = object : NsdManager.ResolveListener {
            override fun onServiceResolved(resolved: NsdServiceInfo) = answer.resume(resolved)

            override fun onResolveFailed(failed: NsdServiceInfo, error: Int) = answer.resume(null)
        }
        // What took its place came with Android 14, and does the same here.
        @Suppress("DEPRECATION")
        nsd.resolveService(info, listener)
    }
}

private fun NsdServiceInfo.sighting(): Sighting {
    val addresses: List<InetAddress> = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.UPSIDE_DOWN_CAKE) {
        hostAddresses
    } else {
        @Suppress("DEPRECATION")
        listOfNotNull(host)
    }
    // A link-local address says nothing without its interface, which is another one on the other phone.
    val hosts = addresses.filterNot { it.isLinkLocalAddress && it.address.size > 4 }.mapNotNull { it.hostAddress }
    val properties = attributes.mapValues { (_, value) -> value?.decodeToString().orEmpty() }
    return Sighting(serviceName, properties, hosts)
}

private class Registration(private val failed: (Int) -> Unit) : NsdManager.RegistrationListener {
    override fun onServiceRegistered(info: NsdServiceInfo) = Unit

    override fun onServiceUnregistered(info: NsdServiceInfo) = Unit

    override fun onRegistrationFailed(info: NsdServiceInfo, error: Int) = failed(error)

    override fun onUnregistrationFailed(info: NsdServiceInfo, error: Int) = Unit
}

private class Search(
    private val found: (NsdServiceInfo) -> Unit,
    private val failed: (Int) -> Unit,
) : NsdManager.DiscoveryListener {
    override fun onServiceFound(info: NsdServiceInfo) = found(info)

    override fun onStartDiscoveryFailed(service: String, error: Int) = failed(error)

    // Whoever went out of reach is noticed by the connection, and sooner.
    override fun onServiceLost(info: NsdServiceInfo) = Unit

    override fun onDiscoveryStarted(service: String) = Unit

    override fun onDiscoveryStopped(service: String) = Unit

    override fun onStopDiscoveryFailed(service: String, error: Int) = Unit
}
