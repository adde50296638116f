/*
 * Hearth in an Android app: one call in `Application.onCreate`, and the node lives as the app does.
 *
 * The process has one node. It is made here because a process that the system starts for a job or a service runs
 * `Application.onCreate` first, and because two nodes must never open the same files.
 */
package org.hearth.android

import android.app.Application
import android.app.Notification
import android.content.Context
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.flow.MutableSharedFlow
import kotlinx.coroutines.flow.SharingStarted
import kotlinx.coroutines.flow.collectLatest
import kotlinx.coroutines.flow.combine
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.shareIn
import kotlinx.coroutines.launch
import org.hearth.Hearth
import org.hearth.Lifecycle
import org.hearth.SealedSecrets
import org.hearth.addressBook
import org.hearth.fetch
import org.hearth.ffi.DiscoveryMode
import org.hearth.ffi.FetchSummary
import org.hearth.ffi.LogSink
import org.hearth.ffi.NodeConfig
import org.hearth.ffi.PowerMode
import org.hearth.followNetworks
import org.hearth.search
import java.io.File
import kotlin.time.Duration

/** The node of this process, and what keeps it going. */
class HearthAndroid private constructor(app: Application, account: String, displayName: String?, logs: LogSink?) {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)
    private val moved = MutableSharedFlow<Unit>(extraBufferCapacity = 1)
    private val radio = NsdRadio(app)

    /** The node. */
    val hearth: Hearth = run {
        val data = File(app.noBackupFilesDir, "hearth")
        val secrets = SealedSecrets(File(app.noBackupFilesDir, "hearth-keys"), AndroidKeyBox(), AndroidDisk())
        val config = NodeConfig(
            dataDir = data.path,
            account = account,
            displayName = displayName,
            deviceName = android.os.Build.MODEL,
            discovery = DiscoveryMode.PLATFORM,
        )
        Hearth(config, secrets, logs)
    }

    /** When the node runs. The activities of the app are followed already; [Lifecycle.hold] keeps it running beside them. */
    val lifecycle = Lifecycle(hearth, scope)

    /** What the notification of [HearthService] looks like. */
    @Volatile
    var serviceNotification: (Context) -> Notification = ::plainNotification

    init {
        app.registerActivityLifecycleCallbacks(ActivityWatch(lifecycle::foreground))
        scope.launch { lifecycle.running.collectLatest { running -> if (running) searchNearby() } }
        val networks = AndroidNetworks(app).networks.shareIn(scope, SharingStarted.Eagerly, replay = 1)
        scope.launch {
            followNetworks(networks) {
                hearth.networkChanged()
                moved.tryEmit(Unit)
            }
        }
        scope.launch {
            // With mobile data alone, every connection that is kept costs as much as one on Wi-Fi and more.
            combine(batterySaver(app), networks) { saver, local -> saver || local.isEmpty() }.collect(lifecycle::saving)
        }
    }

    /** For a job or a worker of the app: fetches what waits, for at most this long. [HearthFetch] calls it by itself. */
    suspend fun backgroundFetch(limit: Duration): FetchSummary =
        fetch(hearth, limit) { search(hearth.peers.addressBook(), radio, moved) }

    private suspend fun searchNearby() =
        search(hearth.peers.addressBook(), radio, moved, lifecycle.mode.map { it == PowerMode.FOREGROUND })

    companion object {
        @Volatile
        private var installed: HearthAndroid? = null

        /**
         * Makes the node of this process, which is started as soon as an activity is. [account] is chosen once and must be
         * the same ever after: lower-case letters, digits and `._=-/+`. [logs] are for a log of the app's own: to logcat
         * Hearth writes without it.
         */
        @Synchronized
        fun install(app: Application, account: String, displayName: String? = null, logs: LogSink? = null): HearthAndroid {
            return installed ?: HearthAndroid(app, account, displayName, logs).also { installed = it }
        }

        /** The node of this process, if [install] was called. */
        val current: HearthAndroid? get() = installed
    }
}
