package org.hearth.android

import android.util.Log
import org.hearth.ffi.LogLevel
import org.hearth.ffi.LogRecord
import org.hearth.ffi.LogSink

/**
 * Hearth's log to `android.util.Log`, for a native library that was built without logcat of its own. With the usual one each
 * line would come twice.
 */
class LogcatSink(private val tag: String = "hearth") : LogSink {
    override fun log(record: LogRecord) {
        val priority = when (record.level) {
            LogLevel.ERROR -> Log.ERROR
            LogLevel.WARN -> Log.WARN
            LogLevel.INFO -> Log.INFO
            LogLevel.DEBUG -> Log.DEBUG
            LogLevel.TRACE -> Log.VERBOSE
        }
        Log.println(priority, tag, "${record.target}: ${record.message}")
    }
}
