package org.hearth.android

import android.content.Context
import android.net.ConnectivityManager
import android.net.LinkProperties
import android.net.Network
import android.net.NetworkCapabilities
import android.net.NetworkRequest
import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.callbackFlow
import kotlinx.coroutines.flow.conflate

/**
 * The local networks that the phone is in. A Wi-Fi without internet counts, and is in fact the one that matters most.
 *
 * Deliberately without mobile data: nobody is near there.
 */
internal class AndroidNetworks(context: Context) {
    private val connectivity = context.getSystemService(ConnectivityManager::class.java)

    /** Each network as its interface with its addresses; begins with those that are there. */
    val networks: Flow<Set<String>> = callbackFlow {
        val known = mutableMapOf<Network, String>()
        val callback = object : ConnectivityManager.NetworkCallback() {
            override fun onLinkPropertiesChanged(network: Network, link: LinkProperties) {
                known[network] = "${link.interfaceName} ${link.linkAddresses.map { it.address.hostAddress }.sortedBy { it }}"
                trySend(known.values.toSet())
            }

            override fun onLost(network: Network) {
                known.remove(network)
                trySend(known.values.toSet())
            }
        }
        // A phone in no network gets no call at all, and must be told apart from one that gets into its first.
        trySend(emptySet())
        connectivity.registerNetworkCallback(local(), callback)
        awaitClose { connectivity.unregisterNetworkCallback(callback) }
    }.conflate()

    private fun local(): NetworkRequest = NetworkRequest.Builder()
        .removeCapability(NetworkCapabilities.NET_CAPABILITY_TRUSTED)
        .addTransportType(NetworkCapabilities.TRANSPORT_WIFI)
        .addTransportType(NetworkCapabilities.TRANSPORT_ETHERNET)
        .build()
}
