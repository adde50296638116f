package org.hearth.android

import android.app.Notification
import android.app.NotificationChannel
import android.app.NotificationManager
import android.app.Service
import android.content.Context
import android.content.Intent
import android.content.pm.ServiceInfo
import android.os.Build
import android.os.IBinder

/**
 * Keeps the node running while no activity is seen, with a notification that says so.
 *
 * Of the kind `connectedDevice`: Hearth talks to phones nearby. Android 12 and later let an app start it only while the app
 * is seen, so call [start] from an activity.
 */
class HearthService : Service() {
    private var hold: AutoCloseable? = null

    override fun onStartCommand(intent: Intent?, flags: Int, startId: Int): Int {
        val host = HearthAndroid.current
        showForeground(host?.serviceNotification?.invoke(this) ?: plainNotification(this))
        if (host == null) {
            // The system brought the service back before the app had a name for its account.
            stopSelf()
            return START_NOT_STICKY
        }
        if (hold == null) hold = host.lifecycle.hold()
        return START_STICKY
    }

    override fun onDestroy() {
        hold?.close()
        hold = null
        super.onDestroy()
    }

    override fun onBind(intent: Intent?): IBinder? = null

    private fun showForeground(notification: Notification) {
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.Q) {
            startForeground(NOTIFICATION, notification, ServiceInfo.FOREGROUND_SERVICE_TYPE_CONNECTED_DEVICE)
        } else {
            startForeground(NOTIFICATION, notification)
        }
    }

    companion object {
        private const val NOTIFICATION = 0x48656172

        /** Begins to keep the node running. */
        fun start(context: Context) {
            val intent = Intent(context, HearthService::class.java)
            if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.O) {
                context.startForegroundService(intent)
            } else {
                context.startService(intent)
            }
        }

        /** Lets the node pause again when no activity is seen. */
        fun stop(context: Context) {
            context.stopService(Intent(context, HearthService::class.java))
        }
    }
}

private const val CHANNEL = "hearth"

/** A notification for an app that has none of its own. */
internal fun plainNotification(context: Context): Notification {
    val builder = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.O) {
        val channel = NotificationChannel(CHANNEL, "Within reach", NotificationManager.IMPORTANCE_LOW)
        context.getSystemService(NotificationManager::class.java).createNotificationChannel(channel)
        Notification.Builder(context, CHANNEL)
    } else {
        @Suppress("DEPRECATION")
        Notification.Builder(context)
    }
    val label = context.applicationInfo.loadLabel(context.packageManager)
    return builder.setSmallIcon(context.applicationInfo.icon).setContentTitle(label)
        .setContentText("Messages arrive while this is shown").setOngoing(true).build()
}
