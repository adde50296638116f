/*
 * From changes to lists: Hearth tells of a list by what changed in it, and most apps want the list.
 *
 * Invariant: a batch is taken whole or not at all, so nobody ever sees a list between two changes of one batch.
 */
package org.hearth

import kotlinx.coroutines.channels.awaitClose
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.callbackFlow
import kotlinx.coroutines.flow.conflate
import kotlinx.coroutines.flow.emitAll
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.map
import org.hearth.ffi.RoomDiff
import org.hearth.ffi.RoomSummary
import org.hearth.ffi.TaskHandle
import org.hearth.ffi.TimelineDiff
import org.hearth.ffi.TimelineItem
import org.hearth.ffi.VerificationDiff
import org.hearth.ffi.VerificationInfo

/** Makes the changes of a batch to a list of rooms, for an app that animates them and subscribes by itself. */
@JvmName("changeRooms")
fun MutableList<RoomSummary>.change(diffs: List<RoomDiff>) = diffs.forEach { diff ->
    when (diff) {
        is RoomDiff.Reset -> become(diff.items)
        is RoomDiff.Insert -> add(diff.index.toInt(), diff.item)
        is RoomDiff.Set -> this[diff.index.toInt()] = diff.item
        is RoomDiff.Remove -> removeAt(diff.index.toInt())
    }
}

/** Makes the changes of a batch to a timeline. */
@JvmName("changeItems")
fun MutableList<TimelineItem>.change(diffs: List<TimelineDiff>) = diffs.forEach { diff ->
    when (diff) {
        is TimelineDiff.Reset -> become(diff.items)
        is TimelineDiff.Insert -> add(diff.index.toInt(), diff.item)
        is TimelineDiff.Set -> this[diff.index.toInt()] = diff.item
        is TimelineDiff.Remove -> removeAt(diff.index.toInt())
    }
}

/** Makes the changes of a batch to a list of verifications. */
@JvmName("changeVerifications")
fun MutableList<VerificationInfo>.change(diffs: List<VerificationDiff>) = diffs.forEach { diff ->
    when (diff) {
        is VerificationDiff.Reset -> become(diff.items)
        is VerificationDiff.Insert -> add(diff.index.toInt(), diff.item)
        is VerificationDiff.Set -> this[diff.index.toInt()] = diff.item
        is VerificationDiff.Remove -> removeAt(diff.index.toInt())
    }
}

private fun <T> MutableList<T>.become(items: List<T>) {
    clear()
    addAll(items)
}

/**
 * A list that a listener changes and a collector reads. The listener never waits for the collector, and nothing piles up
 * behind a slow one: it gets the list as it is when it comes back for it.
 */
internal fun <T> rows(subscribe: (change: (MutableList<T>.() -> Unit) -> Unit) -> TaskHandle): Flow<List<T>> = flow {
    val rows = mutableListOf<T>()
    val changed = signals { signal, fail ->
        subscribe { change ->
            // What is wrong with one change would be wrong with all that follow, so the collector hears of it.
            runCatching { synchronized(rows) { rows.change() } }.fold({ signal(Unit) }, fail)
        }
    }
    emitAll(changed.map { synchronized(rows) { rows.toList() } })
}

/** The newest of what a listener is told; what the collector was too slow for is left out. */
internal fun <T> newest(subscribe: (tell: (T) -> Unit) -> TaskHandle): Flow<T> = signals { signal, _ -> subscribe(signal) }

private fun <T> signals(subscribe: (signal: (T) -> Unit, fail: (Throwable) -> Unit) -> TaskHandle): Flow<T> =
    callbackFlow {
        // A value that comes after the collector has gone is nobody's.
        val task = subscribe({ trySend(it) }, { close(it) })
        awaitClose {
            task.cancel()
            task.close()
        }
    }.conflate()
