/*
 * What a person sees. Nothing here knows Android, so it compiles and runs wherever Compose does.
 */
package org.hearth.sample.screens

import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Surface
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.runtime.LaunchedEffect
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.ImageBitmap
import androidx.compose.ui.unit.dp
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.launch
import org.hearth.Hearth
import org.hearth.ffi.NodeException

/** A photo that was picked: an open file, which belongs to whoever gets this. */
class Photo(val descriptor: Int, val name: String, val mime: String?)

/** What a device has besides a screen. */
interface Devices {
    /** Reads a code with the camera. */
    fun scanCode(found: (String) -> Unit)

    /** Lets the person pick a photo. */
    fun pickPhoto(picked: (Photo) -> Unit)

    /** A picture, if these bytes are one. */
    fun decode(picture: ByteArray): ImageBitmap?
}

private sealed interface Place {
    data object Rooms : Place

    data object People : Place

    data class Talk(val room: String) : Place
}

/** The whole app. [link] is a contact that another app handed over; [keepOn] runs the foreground service. */
@Composable
fun SampleScreens(hearth: Hearth, devices: Devices, link: String?, keepOn: (Boolean) -> Unit) = MaterialTheme {
    var place by remember { mutableStateOf<Place>(Place.Rooms) }
    val errors = remember { Errors() }
    val scope = rememberCoroutineScope()
    LaunchedEffect(link) {
        if (link != null) errors.catching { hearth.contacts.add(link) }?.let { place = Place.People }
    }
    Surface(Modifier.fillMaxSize()) {
        Column(Modifier.fillMaxSize()) {
            errors.sentence?.let { Banner(it) { errors.sentence = null } }
            when (val here = place) {
                Place.Rooms -> RoomsScreen(hearth, errors, { place = Place.Talk(it) }, { place = Place.People }, keepOn)
                Place.People -> PeopleScreen(hearth, devices, errors, { place = Place.Rooms }) { user ->
                    errors.launch(scope) { place = Place.Talk(hearth.rooms.direct(user).use { it.id() }) }
                }
                is Place.Talk -> TalkScreen(hearth, here.room, devices, errors) { place = Place.Rooms }
            }
        }
    }
}

/** What went wrong last, for the person to read. */
class Errors {
    var sentence by mutableStateOf<String?>(null)

    /** Does something, and shows why it did not work if it did not. */
    suspend fun <T> catching(work: suspend () -> T): T? = try {
        work()
    } catch (cancelled: CancellationException) {
        throw cancelled
    } catch (failure: NodeException) {
        sentence = failure.message
        null
    }

    fun launch(scope: CoroutineScope, work: suspend () -> Unit) {
        scope.launch { catching(work) }
    }
}

@Composable
private fun Banner(sentence: String, close: () -> Unit) = Surface(color = MaterialTheme.colorScheme.errorContainer) {
    Row(Modifier.fillMaxWidth().padding(start = 16.dp), verticalAlignment = Alignment.CenterVertically) {
        Text(sentence, Modifier.weight(1f))
        TextButton(close) { Text("OK") }
    }
}

/** The bar at the top of a screen. */
@Composable
fun Bar(title: String, back: (() -> Unit)? = null, action: @Composable () -> Unit = {}) =
    Row(Modifier.fillMaxWidth().padding(8.dp), verticalAlignment = Alignment.CenterVertically) {
        if (back != null) TextButton(back) { Text("‹ Back") }
        Text(title, Modifier.weight(1f).padding(8.dp), style = MaterialTheme.typography.titleLarge)
        action()
    }
