package org.hearth.sample.screens

import androidx.compose.foundation.clickable
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.material3.Badge
import androidx.compose.material3.Button
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.Switch
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.runtime.collectAsState
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.text.style.TextOverflow
import androidx.compose.ui.unit.dp
import org.hearth.Hearth
import org.hearth.items
import org.hearth.ffi.RoomStanding
import org.hearth.ffi.RoomSummary

/** The rooms, invites first. */
@Composable
fun RoomsScreen(hearth: Hearth, errors: Errors, open: (String) -> Unit, people: () -> Unit, keepOn: (Boolean) -> Unit) =
    Column(Modifier.fillMaxSize()) {
        val scope = rememberCoroutineScope()
        val rooms by remember(hearth) { hearth.rooms.items() }.collectAsState(emptyList())
        var stayOn by remember { mutableStateOf(false) }
        Bar("Rooms") { Button(people) { Text("People") } }
        LazyColumn(Modifier.weight(1f)) {
            items(rooms, key = { it.id }) { room ->
                if (room.standing == RoomStanding.INVITED) {
                    InviteRow(
                        room,
                        accept = { errors.launch(scope) { hearth.rooms.join(room.id).use { open(it.id()) } } },
                        decline = { errors.launch(scope) { hearth.rooms.get(room.id).use { it.leave() } } },
                    )
                } else {
                    RoomRow(room) { open(room.id) }
                }
            }
        }
        Row(Modifier.fillMaxWidth().padding(16.dp), verticalAlignment = Alignment.CenterVertically) {
            Text("Stay within reach when the app is closed", Modifier.weight(1f))
            Switch(stayOn, {
                stayOn = it
                keepOn(it)
            })
        }
    }

@Composable
private fun RoomRow(room: RoomSummary, open: () -> Unit) =
    Row(Modifier.fillMaxWidth().clickable(onClick = open).padding(16.dp), verticalAlignment = Alignment.CenterVertically) {
        Column(Modifier.weight(1f)) {
            Text(room.name, style = MaterialTheme.typography.titleMedium)
            val last = room.last
            if (last != null) {
                val who = if (last.mine) "You" else last.senderName
                Text("$who: ${last.text}", maxLines = 1, overflow = TextOverflow.Ellipsis)
            }
        }
        if (room.unread > 0uL) Badge { Text("${room.unread}") }
    }

@Composable
private fun InviteRow(room: RoomSummary, accept: () -> Unit, decline: () -> Unit) = Column(Modifier.padding(16.dp)) {
    val invite = room.invite
    Text("${invite?.name} asks you into ${room.name}", style = MaterialTheme.typography.titleMedium)
    // Anybody may give themselves any name, so the id is shown beside it.
    Text(invite?.by.orEmpty(), style = MaterialTheme.typography.bodySmall, maxLines = 1, overflow = TextOverflow.Ellipsis)
    Row(horizontalArrangement = Arrangement.spacedBy(8.dp)) {
        Button(accept) { Text("Accept") }
        TextButton(decline) { Text("Decline") }
    }
}
