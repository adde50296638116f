package org.hearth.sample.app

import android.app.Application
import android.app.Notification
import android.app.NotificationChannel
import android.app.NotificationManager
import android.app.PendingIntent
import android.os.Build
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.launch
import org.hearth.android.HearthAndroid
import org.hearth.android.HearthFetch
import org.hearth.ffi.Event
import org.hearth.ffi.EventKind
import org.hearth.sample.R

/** Makes the node as soon as the person has chosen a name, which is once. */
class SampleApp : Application() {
    /** Whether somebody looks at the app, and needs no notification. */
    @Volatile
    var seen = false

    private val settings by lazy { getSharedPreferences("sample", MODE_PRIVATE) }

    /** The node, or nothing while the person has no name. */
    val host: HearthAndroid? get() = HearthAndroid.current

    override fun onCreate() {
        super.onCreate()
        settings.getString(ACCOUNT, null)?.let { install(it, settings.getString(NAME, null)) }
    }

    /** The first start. */
    fun choose(account: String, name: String) {
        settings.edit().putString(ACCOUNT, account).putString(NAME, name).apply()
        install(account, name)
    }

    private fun install(account: String, name: String?) {
        val host = HearthAndroid.install(this, account, name)
        HearthFetch.schedule(this)
        MainScope().launch { host.hearth.events.collect { if (!seen) notify(it) } }
    }

    private fun notify(event: Event) {
        val notifications = getSystemService(NotificationManager::class.java)
        val builder = if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.O) {
            notifications.createNotificationChannel(
                NotificationChannel(MESSAGES, "Messages", NotificationManager.IMPORTANCE_HIGH),
            )
            Notification.Builder(this, MESSAGES)
        } else {
            @Suppress("DEPRECATION")
            Notification.Builder(this)
        }
        val (title, text) = when (val kind = event.kind) {
            is EventKind.Message -> kind.senderName to kind.text.ifEmpty { "A message" }
            is EventKind.Invited -> kind.invite.name to "asks you into ${event.roomName}"
        }
        val open = packageManager.getLaunchIntentForPackage(packageName)
        builder.setSmallIcon(R.drawable.ic_hearth).setContentTitle(title).setContentText(text).setAutoCancel(true)
            .setContentIntent(PendingIntent.getActivity(this, 0, open, PendingIntent.FLAG_IMMUTABLE))
        notifications.notify(event.room.hashCode(), builder.build())
    }

    private companion object {
        const val ACCOUNT = "account"
        const val NAME = "name"
        const val MESSAGES = "messages"
    }
}
