package org.hearth.sample.screens

import androidx.compose.foundation.Canvas
import androidx.compose.foundation.background
import androidx.compose.foundation.clickable
import androidx.compose.foundation.layout.Arrangement
import androidx.compose.foundation.layout.Column
import androidx.compose.foundation.layout.Row
import androidx.compose.foundation.layout.fillMaxSize
import androidx.compose.foundation.layout.fillMaxWidth
import androidx.compose.foundation.layout.padding
import androidx.compose.foundation.layout.size
import androidx.compose.foundation.lazy.LazyColumn
import androidx.compose.foundation.lazy.items
import androidx.compose.foundation.text.selection.SelectionContainer
import androidx.compose.material3.Button
import androidx.compose.material3.MaterialTheme
import androidx.compose.material3.OutlinedTextField
import androidx.compose.material3.Text
import androidx.compose.material3.TextButton
import androidx.compose.runtime.Composable
import androidx.compose.runtime.collectAsState
import androidx.compose.runtime.getValue
import androidx.compose.runtime.mutableStateOf
import androidx.compose.runtime.produceState
import androidx.compose.runtime.remember
import androidx.compose.runtime.rememberCoroutineScope
import androidx.compose.runtime.setValue
import androidx.compose.ui.Alignment
import androidx.compose.ui.Modifier
import androidx.compose.ui.geometry.Offset
import androidx.compose.ui.geometry.Size
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.text.style.TextOverflow
import androidx.compose.ui.unit.dp
import org.hearth.Hearth
import org.hearth.items
import org.hearth.ffi.Contact
import org.hearth.ffi.Peer
import org.hearth.ffi.QrMatrix
import org.hearth.ffi.qrMatrix

/** Our own code, a way to read another one, the people whom we know and the phones that are near. */
@Composable
fun PeopleScreen(hearth: Hearth, devices: Devices, errors: Errors, back: () -> Unit, talk: (String) -> Unit) =
    Column(Modifier.fillMaxSize()) {
        val scope = rememberCoroutineScope()
        var added by remember { mutableStateOf(0) }
        val peers by remember(hearth) { hearth.peers.items() }.collectAsState(emptyList())
        // Who is near changes with the phones, and whom we know when somebody is added.
        val contacts by produceState(emptyList<Contact>(), peers, added) {
            value = errors.catching { hearth.contacts.list() }.orEmpty()
        }
        // The address in it changes with the network.
        val uri by produceState<String?>(null, peers) { value = errors.catching { hearth.contactUri() } }
        fun add(contact: String) = errors.launch(scope) {
            hearth.contacts.add(contact.trim())
            added++
        }
        Bar("People", back) { Button({ devices.scanCode(::add) }) { Text("Scan") } }
        LazyColumn(Modifier.fillMaxWidth().padding(horizontal = 16.dp), verticalArrangement = Arrangement.spacedBy(8.dp)) {
            item { uri?.let { OwnCode(it) } }
            item { TypedContact(::add) }
            item { Heading("Contacts") }
            items(contacts.filterNot { it.blocked }, key = { it.user }) { ContactRow(it) { talk(it.user) } }
            item { Heading("Phones nearby") }
            items(peers.filter { it.connected }, key = { it.id }) { PeerRow(it) }
        }
    }

@Composable
private fun Heading(text: String) = Text(text, Modifier.padding(top = 16.dp), style = MaterialTheme.typography.titleMedium)

@Composable
private fun OwnCode(uri: String) = Column(Modifier.fillMaxWidth(), horizontalAlignment = Alignment.CenterHorizontally) {
    val code = remember(uri) { runCatching { qrMatrix(uri) }.getOrNull() }
    if (code != null) QrCode(code, Modifier.size(280.dp))
    SelectionContainer { Text(uri, style = MaterialTheme.typography.bodySmall, maxLines = 3, overflow = TextOverflow.Ellipsis) }
}

/** A QR code with the quiet zone that scanners ask for. */
@Composable
fun QrCode(code: QrMatrix, modifier: Modifier) = Canvas(modifier.background(Color.White)) {
    val (side, quiet) = code.size.toInt() to 4
    val module = size.minDimension / (side + 2 * quiet)
    code.modules.forEachIndexed { at, dark ->
        if (dark) {
            val corner = Offset((at % side + quiet) * module, (at / side + quiet) * module)
            // A little larger, so that no light line is left between two.
            drawRect(Color.Black, corner, Size(module + 0.5f, module + 0.5f))
        }
    }
}

@Composable
private fun TypedContact(add: (String) -> Unit) = Row(verticalAlignment = Alignment.CenterVertically) {
    var typed by remember { mutableStateOf("") }
    OutlinedTextField(typed, { typed = it }, Modifier.weight(1f), label = { Text("matrix:u/… of somebody") }, singleLine = true)
    TextButton({
        add(typed)
        typed = ""
    }, enabled = typed.isNotBlank()) { Text("Add") }
}

@Composable
private fun ContactRow(contact: Contact, talk: () -> Unit) =
    Row(Modifier.fillMaxWidth().clickable(onClick = talk).padding(8.dp)) {
        val name = contact.name ?: contact.user.removePrefix("@").substringBefore(':')
        Text(name, Modifier.weight(1f))
        Text(if (contact.near) "nearby" else "away", color = if (contact.near) Color(0xFF2E7D32) else Color.Gray)
    }

@Composable
private fun PeerRow(peer: Peer) = Row(Modifier.fillMaxWidth().padding(8.dp)) {
    Text(peer.id, Modifier.weight(1f), maxLines = 1, overflow = TextOverflow.Ellipsis)
    Text(listOfNotNull(peer.transport, peer.rttMs?.let { "$it ms" }).joinToString(", "), color = Color.Gray)
}
