package org.hearth.sample.screens

import androidx.compose.foundation.Image
import androidx.compose.foundation.background
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.widthIn
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.foundation.shape.RoundedCornerShape
import androidx.compose.material3.LinearProgressIndicator
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.runtime.DisposableEffect
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.collectAsState
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.produceState
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.graphics.ImageBitmap
import androidx.compose.ui.unit.dp
import org.hearth.Hearth
import org.hearth.Progress
import org.hearth.items
import org.hearth.send
import org.hearth.typists
import org.hearth.ffi.FileInfo
import org.hearth.ffi.ItemContent
import org.hearth.ffi.MediaKind
import org.hearth.ffi.Reach
import org.hearth.ffi.SendState
import org.hearth.ffi.Timeline
import org.hearth.ffi.TimelineItem
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlin.time.TimeSource

private val TYPING_AGAIN = 4.seconds

/** What is said in a room, and a line to say something. */
@Composable
fun TalkScreen(hearth: Hearth, id: String, devices: Devices, errors: Errors, back: () -> Unit) = Column {
    val scope = rememberCoroutineScope()
    val room = remember(id) { hearth.rooms.get(id) }
    val timeline = remember(id) { room.timeline() }
    DisposableEffect(id) {
        onDispose {
            timeline.close()
            room.close()
        }
    }
    val items by remember(id) { timeline.items() }.collectAsState(emptyList())
    val typists by remember(id) { room.typists() }.collectAsState(emptyList())
    val title by produceState("", id) { value = errors.catching { room.info().name }.orEmpty() }
    LaunchedEffect(items.lastOrNull()?.id) { if (items.isNotEmpty()) errors.catching { timeline.markRead(false) } }

    // What was said before this phone came in, or while it was away from all who have it.
    val gap = items.firstOrNull { it.gapBefore }?.id
    LaunchedEffect(gap) { if (gap != null) errors.catching { timeline.fill(gap) } }

    Bar(title, back) { TextButton({ errors.launch(scope) { timeline.paginateBackwards(50u) } }) { Text("Older") } }
    LazyColumn(Modifier.weight(1f).fillMaxWidth().padding(horizontal = 8.dp), reverseLayout = true) {
        items(items.asReversed(), key = { it.id }) { item ->
            Item(item, timeline, devices) { errors.launch(scope) { timeline.retry(item.id) } }
        }
    }
    if (typists.isNotEmpty()) Text("${typists.joinToString { it.name }} is typing…", Modifier.padding(horizontal = 16.dp))
    Composer(
        typing = { errors.launch(scope) { room.setTyping(it) } },
        say = { errors.launch(scope) { timeline.send(it) } },
        photo = {
            devices.pickPhoto { photo ->
                errors.launch(scope) {
                    timeline.sendFd(photo.descriptor, FileInfo(photo.name, MediaKind.IMAGE, mime = photo.mime)).close()
                }
            }
        },
    )
}

@Composable
private fun Composer(typing: (Boolean) -> Unit, say: (String) -> Unit, photo: () -> Unit) =
    Row(Modifier.fillMaxWidth().padding(8.dp), verticalAlignment = Alignment.CenterVertically) {
        var text by remember { mutableStateOf("") }
        var told by remember { mutableStateOf(TimeSource.Monotonic.markNow() - TYPING_AGAIN) }
        LaunchedEffect(text) {
            // The others forget it after a while, so it is said again while the person types, and not at each letter.
            if (text.isNotEmpty() && told.elapsedNow() < TYPING_AGAIN) return@LaunchedEffect
            typing(text.isNotEmpty())
            told = TimeSource.Monotonic.markNow() - if (text.isEmpty()) TYPING_AGAIN else Duration.ZERO
        }
        TextButton(photo) { Text("Photo") }
        OutlinedTextField(text, { text = it }, Modifier.weight(1f), placeholder = { Text("Message") })
        TextButton({
            say(text)
            text = ""
        }, enabled = text.isNotBlank()) { Text("Send") }
    }

@Composable
private fun Item(item: TimelineItem, timeline: Timeline, devices: Devices, retry: () -> Unit) {
    val content = item.content
    val line = content.asLine()
    if (line != null) {
        Text(line, Modifier.fillMaxWidth().padding(8.dp), color = Color.Gray, style = MaterialTheme.typography.bodySmall)
        return
    }
    val (side, colour) = if (item.mine) {
        Alignment.End to MaterialTheme.colorScheme.primaryContainer
    } else {
        Alignment.Start to MaterialTheme.colorScheme.surfaceVariant
    }
    Column(Modifier.fillMaxWidth().padding(4.dp), horizontalAlignment = side) {
        Column(Modifier.widthIn(max = 320.dp).background(colour, RoundedCornerShape(12.dp)).padding(12.dp)) {
            if (!item.mine) Text(item.senderName, style = MaterialTheme.typography.labelMedium)
            item.replyTo?.let { Text("“${it.text.orEmpty()}”", color = Color.Gray) }
            when (content) {
                is ItemContent.Text -> Text(content.body + if (item.edited) " (edited)" else "")
                is ItemContent.File -> Attachment(item, content, timeline, devices)
                is ItemContent.Undecryptable -> Text(if (content.waiting) "The key is on its way…" else content.reason)
                else -> Unit
            }
            if (item.reactions.isNotEmpty()) Text(item.reactions.joinToString(" ") { "${it.key} ${it.senders.size}" })
        }
        item.state?.let { Delivery(it, retry) }
    }
}

@Composable
private fun Attachment(item: TimelineItem, content: ItemContent.File, timeline: Timeline, devices: Devices) {
    val thumbnail by produceState<ImageBitmap?>(null, item.id, item.eventId) {
        if (content.media.hasThumbnail) value = runCatching { timeline.thumbnail(item.id) }.getOrNull()?.let(devices::decode)
    }
    thumbnail?.let { Image(it, content.media.name) }
    Text(content.media.caption ?: content.media.name)
}

/** How far a message has come: what stands here is proven, and never guessed. */
@Composable
private fun Delivery(state: SendState, retry: () -> Unit) = when (state) {
    is SendState.Sending -> {
        val (done, total) = state.done to state.total
        if (done != null && total != null) {
            LinearProgressIndicator({ Progress(done.toLong(), total.toLong()).fraction }, Modifier.widthIn(max = 200.dp))
        } else {
            Small("on this phone")
        }
    }
    is SendState.Sent -> Small(state.inWords())
    is SendState.Failed -> Row(horizontalArrangement = Arrangement.End, verticalAlignment = Alignment.CenterVertically) {
        Small(state.reason)
        if (state.retryable) TextButton(retry) { Text("Try again") }
    }
}

@Composable
private fun Small(text: String) = Text(text, color = Color.Gray, style = MaterialTheme.typography.labelSmall)

/** What is true of everybody, or how many it is true of. */
private fun SendState.Sent.inWords(): String {
    if (recipients.isEmpty()) return "kept"
    fun count(vararg reaches: Reach) = recipients.count { it.reach in reaches }
    val (read, there, refused) = Triple(count(Reach.READ), count(Reach.READ, Reach.ON_THEIR_PHONE), count(Reach.REFUSED))
    return when {
        refused > 0 -> "refused by $refused"
        read == recipients.size -> "read"
        there == recipients.size -> "arrived"
        there > 0 -> "arrived at $there of ${recipients.size}"
        else -> "waits until they are near"
    }
}

/** What is shown as a line between the messages, or nothing for what is said. */
private fun ItemContent.asLine(): String? = when (this) {
    is ItemContent.Membership -> "$name: ${change.name.lowercase().replace('_', ' ')}"
    is ItemContent.State -> listOfNotNull(kind.removePrefix("m.room.").replace('_', ' '), text).joinToString(": ")
    is ItemContent.Redacted -> "A message was deleted"
    is ItemContent.Unsupported -> fallback ?: "Something that this app does not show ($kind)"
    is ItemContent.Text, is ItemContent.File, is ItemContent.Undecryptable -> null
}
