package org.hearth.android

import android.app.Activity
import android.app.Application
import android.os.Bundle

/**
 * Says whether an activity of the app can be seen.
 *
 * The callbacks come on the main thread, so a plain number counts. Deliberately no ProcessLifecycleOwner: this is all of it
 * that is needed, and the library stays without dependencies of its own.
 */
internal class ActivityWatch(private val seen: (Boolean) -> Unit) : Application.ActivityLifecycleCallbacks {
    private var started = 0

    override fun onActivityStarted(activity: Activity) {
        if (started++ == 0) seen(true)
    }

    override fun onActivityStopped(activity: Activity) {
        // An activity that was started before Hearth was installed stops without having been counted.
        if (started == 0) return
        if (--started == 0) seen(false)
    }

    override fun onActivityCreated(activity: Activity, savedInstanceState: Bundle?) = Unit

    override fun onActivityResumed(activity: Activity) {
        // Hearth was installed while this one was in front: by an app that asks for a name first.
        if (started == 0) onActivityStarted(activity)
    }

    override fun onActivityPaused(activity: Activity) = Unit

    override fun onActivitySaveInstanceState(activity: Activity, outState: Bundle) = Unit

    override fun onActivityDestroyed(activity: Activity) = Unit
}
