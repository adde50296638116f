/*
 * What is subscribed to, as flows; what takes a listener, with a function instead.
 *
 * Each collector subscribes for itself when it begins and ends that when it is cancelled. A flow goes on through every pause
 * of the node; it fails only when it cannot begin.
 */
package org.hearth

import kotlinx.coroutines.flow.Flow
import org.hearth.ffi.FileInfo
import org.hearth.ffi.OutgoingText
import org.hearth.ffi.Peer
import org.hearth.ffi.Peers
import org.hearth.ffi.PeersListener
import org.hearth.ffi.ProgressListener
import org.hearth.ffi.Room
import org.hearth.ffi.RoomDiff
import org.hearth.ffi.RoomSummary
import org.hearth.ffi.Rooms
import org.hearth.ffi.RoomsListener
import org.hearth.ffi.SendHandle
import org.hearth.ffi.Timeline
import org.hearth.ffi.TimelineDiff
import org.hearth.ffi.TimelineItem
import org.hearth.ffi.TimelineListener
import org.hearth.ffi.TypingListener
import org.hearth.ffi.Typist
import org.hearth.ffi.VerificationDiff
import org.hearth.ffi.VerificationInfo
import org.hearth.ffi.VerificationListener
import org.hearth.ffi.Verifications

/** The list of rooms, and again whenever it changes. */
fun Rooms.items(): Flow<List<RoomSummary>> = rows { change ->
    subscribe(object : RoomsListener {
        override fun onChange(diffs: List<RoomDiff>) = change { change(diffs) }
    })
}

/**
 * What was said, oldest first, and again whenever it changes. One collector at a time; for another one take another timeline
 * of the room.
 */
fun Timeline.items(): Flow<List<TimelineItem>> = rows { change ->
    subscribe(object : TimelineListener {
        override fun onChange(diffs: List<TimelineDiff>) = change { change(diffs) }
    })
}

/** The verifications that are under way or just ended, and again whenever one changes. */
fun Verifications.items(): Flow<List<VerificationInfo>> = rows { change ->
    subscribe(object : VerificationListener {
        override fun onChange(diffs: List<VerificationDiff>) = change { change(diffs) }
    })
}

/** The phones on the network, and again whenever one comes or goes. */
fun Peers.items(): Flow<List<Peer>> = newest { tell ->
    subscribe(object : PeersListener {
        override fun onPeers(peers: List<Peer>) = tell(peers)
    })
}

/** Who is typing, without us, and again whenever that changes. */
fun Room.typists(): Flow<List<Typist>> = newest { tell ->
    subscribeTyping(object : TypingListener {
        override fun onTyping(typists: List<Typist>) = tell(typists)
    })
}

/** How far a file is, in bytes. The total is 0 while it is not known. */
data class Progress(val done: Long, val total: Long) {
    /** From 0 to 1. */
    val fraction: Float get() = if (total > 0) (done.toDouble() / total).coerceIn(0.0, 1.0).toFloat() else 0f
}

/** Sends a text, and answers its item's id. It is on disk and shown when this returns; the network is not waited for. */
suspend fun Timeline.send(body: String, replyTo: String? = null): String =
    sendText(OutgoingText(body = body, replyTo = replyTo))

/** Sends a file by its path; see [Timeline.sendFile]. */
suspend fun Timeline.sendFile(path: String, info: FileInfo, onProgress: (Progress) -> Unit): SendHandle =
    sendFile(path, info, listening(onProgress))

/** Sends a file by its descriptor, which is Hearth's from here on; see [Timeline.sendFd]. */
suspend fun Timeline.sendFd(fd: Int, info: FileInfo, onProgress: (Progress) -> Unit): SendHandle =
    sendFd(fd, info, listening(onProgress))

/** Fetches the file of an item to a path, and answers its size. Cancelling calls it off; another try goes on from there. */
suspend fun Timeline.download(itemId: String, to: String, onProgress: (Progress) -> Unit): ULong =
    download(itemId, to, listening(onProgress))

/** A listener that calls a function. */
fun listening(onProgress: (Progress) -> Unit): ProgressListener = object : ProgressListener {
    override fun onProgress(done: ULong, total: ULong) = onProgress(Progress(done.toLong(), total.toLong()))
}
