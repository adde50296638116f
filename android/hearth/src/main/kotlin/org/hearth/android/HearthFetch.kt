package org.hearth.android

import android.app.job.JobInfo
import android.app.job.JobParameters
import android.app.job.JobScheduler
import android.app.job.JobService
import android.content.ComponentName
import android.content.Context
import android.util.Log
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.launch
import kotlin.time.Duration
import kotlin.time.Duration.Companion.minutes
import kotlin.time.Duration.Companion.seconds

/**
 * Wakes the node from time to time, to fetch and to deliver what waits.
 *
 * Deliberately no WorkManager, which is a dependency: an app that has it calls [HearthAndroid.backgroundFetch] from a worker.
 */
class HearthFetch : JobService() {
    private val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)

    override fun onStartJob(params: JobParameters): Boolean {
        val host = HearthAndroid.current ?: return false
        scope.launch {
            // What fails now is tried again at the next time, with everything that waits until then.
            runCatching { host.backgroundFetch(LIMIT) }.onFailure { Log.w("hearth", "a background fetch failed", it) }
            jobFinished(params, false)
        }
        return true
    }

    /** The fetch ends by its own deadline, which is sooner than the system's patience. */
    override fun onStopJob(params: JobParameters): Boolean = false

    companion object {
        private const val JOB = 0x48656172
        private val LIMIT = 25.seconds

        /** Fetches about this often, and 15 minutes is the least that Android allows. Survives a restart of the app. */
        fun schedule(context: Context, every: Duration = 15.minutes) {
            val job = JobInfo.Builder(JOB, ComponentName(context, HearthFetch::class.java))
                .setPeriodic(every.inWholeMilliseconds)
                .build()
            context.getSystemService(JobScheduler::class.java).schedule(job)
        }

        /** Does not fetch any more. */
        fun cancel(context: Context) = context.getSystemService(JobScheduler::class.java).cancel(JOB)
    }
}
